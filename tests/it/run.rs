//! `fanout run`: what is on standard output, and the exit codes.
//! It does not know what is said on the way.

use fanout_tests::{Ended, Folder, until};
use serde_json::json;
use std::process::Stdio;

const TOOLS: &str = "
tools:
  say: {argv: [printf, '%s', '${args.text}'], args: {text: {type: string}}, effects: none}
  json: {argv: [printf, '%s', '${args.text}'], args: {text: {type: string}}, stdout: json, effects: none}
  touch: {argv: [touch, '${args.path}'], args: {path: {type: string}}}
  break: {argv: [sh, -c, 'echo it is broken >&2; exit 3'], effects: none}
";

fn folder(plan: &str) -> Folder {
    Folder::with_plan(&format!("name: test\n{TOOLS}\n{plan}"))
}

#[test]
fn standard_output_is_the_output_and_nothing_else() {
    let folder = folder(
        "calls:
  - {id: a, tool: json, args: {text: '{\"n\": [1, 2.50]}'}}
  - {id: b, tool: say, args: {text: 'first is ${a.n[0]}'}}
output: {all: '${a}', text: '${b}'}",
    );
    let ended = folder.fanout(["run", "plan.yaml"]).with_code(0);
    assert_eq!(ended.json(), json!({"all": {"n": [1, 2.5]}, "text": "first is 1"}));
    assert_eq!(ended.stdout.lines().count(), 1, "compact on a pipe: {}", ended.stdout);
    assert!(ended.stderr.contains("critical path"), "{}", ended.stderr);
    assert!(ended.stderr.contains("2 succeeded"), "{}", ended.stderr);
}

#[test]
fn without_an_output_every_result_is_printed() {
    let folder = folder(
        "calls:
  - {id: a, tool: say, args: {text: x}}
  - {id: b, tool: say, foreach: '${inputs.list}', args: {text: '${item}'}}
  - {id: c, tool: say, args: {text: never}, when: '1 > 2'}
inputs: {list: {schema: {type: array}, default: [y, z]}}",
    );
    let ended = folder.fanout(["run", "plan.yaml"]).with_code(0);
    assert_eq!(ended.json(), json!({"a": "x", "b": ["y", "z"], "c": null}));
}

#[test]
fn a_string_can_be_printed_raw() {
    let folder = folder("calls: [{id: a, tool: say, args: {text: \"two\\nlines\"}}]\noutput: '${a}'");
    assert_eq!(folder.fanout(["run", "--raw", "plan.yaml"]).with_code(0).stdout, "two\nlines\n");
    assert_eq!(folder.fanout(["run", "plan.yaml"]).with_code(0).stdout, "\"two\\nlines\"\n");
}

#[test]
fn a_failed_call_fails_the_run_and_only_what_needs_it() {
    let folder = folder(
        "calls:
  - {id: bad, tool: break}
  - {id: needs, tool: say, args: {text: '${bad}'}}
  - {id: other, tool: say, args: {text: fine}}
  - {id: spare, tool: break, on_failure: {value: instead}}
output: {needs: '${needs}', other: '${other}', spare: '${spare}'}",
    );
    let ended = folder.fanout(["run", "plan.yaml"]).with_code(1);
    assert_eq!(ended.json(), json!({"needs": null, "other": "fine", "spare": "instead"}));
    assert!(ended.stderr.contains("it is broken"), "{}", ended.stderr);
    assert!(ended.stderr.contains("[process_exit]"), "{}", ended.stderr);
}

#[test]
fn a_plan_that_is_not_valid_starts_nothing() {
    let folder =
        folder("calls:\n  - {id: a, tool: touch, args: {path: made}}\n  - {id: b, tool: tuoch, args: {path: x}}");
    let ended = folder.fanout(["run", "plan.yaml"]).with_code(3);
    assert!(ended.stderr.contains("unknown_tool"), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    assert!(!folder.path("made").exists());
}

#[test]
fn wrong_usage_has_a_code_of_its_own() {
    let folder = folder("calls: [{id: a, tool: say, args: {text: x}}]");
    folder.fanout(["run", "--no-such-flag", "plan.yaml"]).with_code(2);
    folder.fanout(["run", "not-there.yaml"]).with_code(2);
    folder.fanout(["run", "plan.yaml", "--arg", "no value"]).with_code(2);
    folder.fanout(["run", "plan.yaml", "--limit", "running=0"]).with_code(2);
    folder.fanout(["run", "plan.yaml", "--deadline", "soon"]).with_code(2);
    folder.fanout(["run", "plan.yaml", "--report", "no/such/folder.json"]).with_code(2);
}

#[test]
fn what_cannot_be_written_is_not_lost_in_silence() {
    let folder = folder("calls: [{id: a, tool: say, args: {text: x}}]");
    folder.write("fanout.toml", "[tools.t]\nargv = ['true']");
    for (arguments, what) in [
        (&["run", "plan.yaml", "--report", "/dev/full"][..], "the report"),
        (&["run", "plan.yaml", "--events=/dev/full"], "the events"),
        (&["run", "plan.yaml"], "standard output"),
        (&["tools"], "standard output"),
    ] {
        let mut command = folder.command(arguments);
        if what == "standard output" {
            command.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
        }
        let ended = Ended::from(command.output().unwrap()).with_code(5);
        assert!(ended.stderr.contains(&format!("cannot write {what}")), "{}", ended.stderr);
    }
}

#[test]
fn what_is_written_overwrites_nothing_that_matters() {
    let folder = folder("calls: [{id: a, tool: say, args: {text: x}}]");
    folder.write("fanout.toml", "[tools.t]\nargv = ['true']");
    let plan = folder.read("plan.yaml");
    for arguments in [
        &["run", "plan.yaml", "--report", "./plan.yaml"][..],
        &["run", "plan.yaml", "--events=plan.yaml"],
        &["run", "plan.yaml", "--report", "fanout.toml"],
        &["run", "plan.yaml", "--report", "new", "--events=new"],
        &["run", "plan.yaml", "--report", "-", "--events"],
    ] {
        Ended::from(folder.command(arguments).output().unwrap()).with_code(2);
    }
    assert_eq!(folder.read("plan.yaml"), plan);
    folder.fanout(["run", "plan.yaml", "--report", "/dev/null", "--events=/dev/null"]).with_code(0);
    folder.write("old", "x".repeat(100_000));
    folder.fanout(["run", "plan.yaml", "--report", "old"]).with_code(0);
    assert!(serde_json::from_str::<serde_json::Value>(&folder.read("old")).is_ok());
    let report = folder.fanout(["run", "plan.yaml", "--report", "-"]).with_code(0).json();
    assert_eq!(report["output"], json!(null));
    assert_eq!(report["calls"][0]["result"], json!("x"));
}

#[test]
fn a_doubt_waits_for_nobody_where_nobody_can_be_asked() {
    let tool = "{argv: [sleep, '60'], timeout: 20ms, effects: {writes: [k]}}";
    let folder = Folder::with_plan(&format!("tools: {{slow: {tool}}}\ncalls: [{{id: a, tool: slow, in_doubt: ask}}]"));
    let ended = folder.fanout(["run", "plan.yaml", "--deadline", "50s"]).with_code(1);
    assert!(ended.stderr.contains("nobody can be asked here"), "{}", ended.stderr);
    assert!(ended.stderr.contains("1 in doubt"), "{}", ended.stderr);
}

#[test]
fn a_plan_without_a_name_is_called_as_its_file() {
    let folder = Folder::with_plan("calls: []");
    assert!(folder.fanout(["check", "plan.yaml"]).with_code(0).stderr.contains("plan: 0 calls, valid"));
}

#[test]
fn inputs_are_read_by_their_schema() {
    let folder = folder(
        "inputs:
  text: {schema: {type: string}}
  number: {schema: {type: integer, minimum: 1}, default: 5}
  any: {schema: {}, default: null}
calls: [{id: a, tool: say, args: {text: '${inputs.text}'}}]
output: {text: '${inputs.text}', number: '${inputs.number}', any: '${inputs.any}'}",
    );
    let ended = folder.fanout(["run", "plan.yaml", "--arg", "text=42", "--arg", "number=7", "--arg", "any=[1]"]);
    assert_eq!(ended.with_code(0).json(), json!({"text": "42", "number": 7, "any": [1]}));
    let ended = folder.fanout(["run", "plan.yaml", "--arg", "text=x", "--arg", "any=plain words"]);
    assert_eq!(ended.with_code(0).json(), json!({"text": "x", "number": 5, "any": "plain words"}));
    folder.fanout(["run", "plan.yaml"]).with_code(3);
    folder.fanout(["run", "plan.yaml", "--arg", "text=x", "--arg", "number=0"]).with_code(3);
    folder.fanout(["run", "plan.yaml", "--arg", "text=x", "--arg", "nmber=1"]).with_code(3);
}

#[test]
fn a_deadline_cancels() {
    let folder = Folder::with_plan(
        "name: slow\ntools: {slow: {argv: [sleep, '600'], effects: none}}\ncalls: [{id: a, tool: slow}]",
    );
    let ended = folder.fanout(["run", "plan.yaml", "--deadline", "200ms"]).with_code(4);
    assert!(ended.stderr.contains("cancelled"), "{}", ended.stderr);
}

#[test]
fn a_plan_can_come_from_standard_input() {
    let folder = Folder::new();
    let plan = format!("name: piped\n{TOOLS}\ncalls: [{{id: a, tool: say, args: {{text: x}}}}]");
    let ended = folder.fanout_with_stdin(["run", "-"], plan.as_bytes()).with_code(0);
    assert_eq!(ended.json(), json!({"a": "x"}));
}

#[test]
fn tools_are_found_upward_and_beside_the_plan() {
    let folder = Folder::new();
    folder.write("fanout.toml", "[tools.up]\nargv = [\"pwd\"]\neffects = \"none\"\n");
    folder.write("deep/fanout.toml", "[tools.beside]\nargv = [\"pwd\"]\neffects = \"none\"\n");
    folder.write("deep/plan.yaml", "name: t\ncalls: [{id: a, tool: up}, {id: b, tool: beside}]");
    let ended = folder.fanout(["run", "deep/plan.yaml"]).with_code(0);
    let here = folder.path("").canonicalize().unwrap().display().to_string();
    // A tool works in the folder of the file that describes it.
    assert_eq!(ended.json(), json!({"a": here, "b": format!("{here}/deep")}));
    // Named files stand instead of those found.
    folder.fanout(["run", "deep/plan.yaml", "--tools", "fanout.toml"]).with_code(3);
}

#[test]
fn a_reader_that_does_not_read_holds_nothing_up() {
    let id = "x".repeat(60);
    let list: Vec<usize> = (0..500).collect();
    let folder = folder(&format!(
        "calls:
  - {{id: {id}, tool: say, foreach: {list:?}, args: {{text: '${{index}}'}}}}
  - {{id: last, tool: touch, after: [{id}], args: {{path: done}}}}"
    ));
    // On one thread for all that runs, which must not be the one that waits for the reader.
    let mut command = folder.command(&["run", "plan.yaml"]);
    let mut child = command.env("TOKIO_WORKER_THREADS", "1").spawn().unwrap();
    until("the last call", || folder.path("done").exists());
    assert!(child.try_wait().unwrap().is_none(), "more was printed than a pipe holds");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_reader_that_goes_away_is_no_reason_to_panic() {
    let folder = folder("calls: [{id: a, tool: say, args: {text: x}}]");
    let mut child = folder.command(&["run", "plan.yaml"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut child = folder.command(&["run", "--events", "plan.yaml"]).spawn().unwrap();
    drop(child.stdout.take());
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_a_tool_says_cannot_steer_the_terminal() {
    let folder = Folder::with_plan(
        "name: \"evil \\e[2J\"
tools: {evil: {argv: [sh, -c, 'printf \"\\033]0;owned\\007 \\033[2J\" >&2; exit 1'], effects: none}}
calls: [{id: a, tool: evil}]",
    );
    let ended = folder.fanout(["run", "plan.yaml"]);
    assert!(!ended.stderr.contains('\x1b'), "{:?}", ended.stderr);
    assert!(!ended.stderr.contains('\x07'), "{:?}", ended.stderr);
}

/// Runs a command line in a terminal of its own, as `script` makes one.
fn in_a_terminal(folder: &Folder, arguments: &str, color: bool) -> String {
    let line = format!("{} {arguments}", fanout_tests::fanout().display());
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).current_dir(folder.path("")).env("TERM", "xterm").stdin(Stdio::null());
    if color {
        script.env_remove("NO_COLOR")
    } else {
        script.env("NO_COLOR", "1")
    };
    String::from_utf8_lossy(&script.output().expect("script starts").stdout).into_owned()
}

#[test]
fn a_terminal_gets_a_live_view_and_indented_output() {
    let folder = Folder::with_plan(
        "name: live
tools:
  slow: {argv: [sleep, '0.5'], effects: none}
  flaky: {argv: [sh, -c, 'exit 9'], effects: none}
calls:
  - {id: slow, tool: slow}
  - {id: spare, tool: flaky, on_failure: {value: 1}}",
    );
    let shown = in_a_terminal(&folder, "run plan.yaml", true);
    assert!(shown.contains("\x1b[?2026h") && shown.contains("▸") && shown.contains("1 running"), "{shown:?}");
    assert!(shown.contains("the plan goes on"), "{shown:?}");
    assert!(shown.contains("{\r\n  \"slow\": \"\""), "{shown:?}");
    let plain = in_a_terminal(&folder, "run plan.yaml", false);
    assert!(!plain.contains("\x1b[1m") && !plain.contains("\x1b[3"), "no colour was wanted: {plain:?}");
    assert!(!in_a_terminal(&folder, "run plan.yaml --no-progress", false).contains('\x1b'));
}
