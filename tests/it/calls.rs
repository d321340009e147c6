//! `fanout tools`, `call`, `schema`, `completions` and `init`.
//! It does not know about plans, but for the one `init` writes.

use fanout_tests::Folder;
use serde_json::json;

const TOOLBOX: &str = r#"
[tools.join]
description = "Joins two words."
argv = ["printf", "%s-%s", "${args.a}", "${args.b}"]
args = { a = { type = "string" }, b = { type = "integer", default = 5 } }
effects = "none"

[tools.loose]
argv = ["true"]
"#;

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("fanout.toml", TOOLBOX);
    folder
}

#[test]
fn tools_are_listed_and_shown() {
    let folder = folder();
    let list = folder.fanout(["tools"]).with_code(0);
    assert!(list.stdout.contains("join") && list.stdout.contains("Joins two words."), "{}", list.stdout);
    assert!(list.stdout.contains("effects not declared"), "{}", list.stdout);
    let one = folder.fanout(["tools", "join"]).with_code(0).stdout;
    assert!(one.contains("\"integer\""), "{one}");
    let all = folder.fanout(["tools", "--json"]).with_code(0).json();
    assert_eq!(all.as_array().unwrap().len(), 2);
    let ended = folder.fanout(["tools", "jion"]).with_code(2);
    assert!(ended.stderr.contains("`join`"), "{}", ended.stderr);
}

/// Who reads the list with a program hears too what is missing in it.
#[test]
fn what_is_no_tool_is_told_beside_every_list() {
    let folder = Folder::new();
    folder.write(
        "api.yaml",
        "openapi: 3.1.0\nservers: [{url: 'https://a.example'}]\npaths: {/a: {get: {}}, /../b: {get: {}}}\n",
    );
    folder.write("fanout.toml", "[toolbox.api]\nopenapi = \"api.yaml\"\n");
    for ended in [folder.fanout(["tools"]), folder.fanout(["tools", "--json"])] {
        let ended = ended.with_code(0);
        assert!(ended.stdout.contains("get_a") && !ended.stdout.contains("get_b"), "{}", ended.stdout);
        assert!(ended.stderr.contains("openapi_left_out") && ended.stderr.contains("api.yaml:3:"), "{}", ended.stderr);
    }
}

#[test]
fn one_tool_can_be_called() {
    let folder = folder();
    assert_eq!(folder.fanout(["call", "join", "--arg", "a=x"]).with_code(0).json(), json!("x-5"));
    assert_eq!(folder.fanout(["call", "join", "--arg", "a=7", "--arg", "b=8"]).with_code(0).json(), json!("7-8"));
    assert_eq!(folder.fanout(["call", "-r", "join", "--args", r#"{"a": "y", "b": 1}"#]).with_code(0).stdout, "y-1\n");
    let ended = folder.fanout(["call", "join", "--arg", "a=x", "--arg", "b=word"]).with_code(3);
    assert!(ended.stderr.contains("[bad_args]"), "{}", ended.stderr);
    folder.fanout(["call", "join", "--args", "not json"]).with_code(2);
    // Its place in a plan that nobody wrote is not told.
    assert!(!ended.stderr.contains("calls[0]"), "{}", ended.stderr);
    let ended = folder.fanout(["call", "jion"]).with_code(2);
    assert!(ended.stderr.contains("`join`"), "{}", ended.stderr);
    folder.fanout(["call", "join", "--arg", "a=x", "--arg", "a=y"]).with_code(2);
    // What looks like a reference in an argument given here is text.
    assert_eq!(folder.fanout(["call", "join", "--arg", "a=${x}"]).with_code(0).json(), json!("${x}-5"));
}

#[test]
fn what_init_writes_runs_at_once() {
    let folder = Folder::new();
    folder.fanout(["init", "first"]).with_code(0);
    folder.fanout(["check", "first/plan.yaml"]).with_code(0);
    let output = folder.fanout(["run", "first/plan.yaml"]).with_code(0).json();
    assert_eq!(output["files"].as_array().unwrap().len(), 2, "{output}");
    assert!(folder.read("first/words.txt").contains("plan.yaml"));
    let ended = folder.fanout(["init", "first"]).with_code(2);
    assert!(ended.stderr.contains("there already"), "{}", ended.stderr);
}

#[test]
fn schemas_and_completions_are_printed() {
    let folder = Folder::new();
    for of in ["plan", "toolbox", "report", "events"] {
        let schema = folder.fanout(["schema", of]).with_code(0).json();
        jsonschema::validator_for(&schema).unwrap();
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = folder.fanout(["completions", shell]).with_code(0).stdout;
        assert!(script.contains("fanout") && script.contains("explain"), "{shell}");
        assert!(!script.contains("__guard"), "{shell}");
    }
}

#[test]
fn help_teaches() {
    let help = Folder::new().fanout(["--help"]).with_code(0).stdout;
    for word in ["Exit codes", "${files}", "fanout init", "Ctrl-C", "fanout explain"] {
        assert!(help.contains(word), "{word}: {help}");
    }
}
