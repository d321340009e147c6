//! Toolbox files: what they declare, what is wrong with them, and what argvs become.
//! It does not know how a process is started.

use expect_test::{Expect, expect};
use fanout_plan::{AdapterSpec, ArgTemplate, Plan, ProcessSpec, Stdin, Stdout, TextTemplate, read_toolbox};
use serde_json::{Value, json};
use std::time::Duration;

const FULL: &str = r#"
[tools.count_lines]
description = "Counts the lines of a file."
argv = ["wc", "-l", "--", "${args.path}"]
args = { path = { type = "string" }, author = { type = "string", optional = true }, n = { type="integer", default = 5 } }
result = { type = "string" }
stdin = "lines"
stdin_text = "${args.path}"
stdout = "json"
cwd = "."
env = ["PATH", "HOME"]
set = { LC_ALL = "C", P = "${args.path}" }
success = [0, 1]
transient = [75]
output_max = "64 MiB"
inline_max = 1024
grace = "5s"
effects = { reads = ["file:${args.path}"], idempotent = true }
timeout = "30s"
retry = { attempts = 3, backoff = "200ms", factor = 2.0, backoff_max = "30s" }
priority = "high"
uses = { cpu = 1, memory = "512 MiB" }
expect = "2s"
in_doubt = "rerun"
running = 4
rate = "10/s"

[toolbox.git]
key = "repo"
running = 8
rate = { count = 100, per = "1m", burst = 3 }
[toolbox.git.tools.log]
argv = ["git", "log", ["--author", "${args.author}"]]
schema = { type = "object" }
effects = "none"
"#;

#[test]
fn a_whole_file() {
    let boxes = read_toolbox("/etc/x/fanout.toml", FULL.as_bytes()).expect("it is fine");
    let (local, git) = (&boxes[0], &boxes[1]);
    assert_eq!(
        (&*local.spec.name, &*local.spec.tools[0].name, &*git.spec.tools[0].name),
        ("local", "count_lines", "git.log")
    );
    let tool = &local.spec.tools[0];
    assert_eq!(tool.args_schema["required"], json!(["path"]));
    assert_eq!((tool.running_max, tool.rate.map(|rate| rate.count)), (Some(4), Some(10)));
    assert_eq!((tool.settings.uses["memory"], tool.settings.timeout), (512 << 20, Some(Duration::from_secs(30))));
    let AdapterSpec::Process(process) = &local.adapters[0] else { panic!("it is a process") };
    assert_eq!((process.base_dir.to_str(), process.stdout, process.inline_max), (Some("/etc/x"), Stdout::Json, 1024));
    assert!(matches!(&process.stdin, Stdin::Lines(text) if text.source() == "${args.path}"));
    assert_eq!((git.spec.key.as_deref(), git.spec.rate.and_then(|rate| rate.burst)), (Some("repo"), Some(3)));
    assert_eq!(git.spec.tools[0].effects, Some(Default::default()));
    let sent: ProcessSpec =
        serde_json::from_str(&serde_json::to_string(process).expect("it can be sent")).expect("and read");
    assert_eq!(sent, **process);
}

#[test]
fn a_plan_carries_tools_of_the_same_shape() {
    let text = "tools:\n  wc: {argv: [wc, '${args.p}'], args: {p: {type: string}}, effects: none}\ncalls: [{id: a, tool: wc, args: {p: x}}]";
    let plan = Plan::read("dir/plan.yaml", text.as_bytes()).expect("it is fine");
    let AdapterSpec::Process(process) = &plan.tools[0].adapters[0] else { panic!("it is a process") };
    assert_eq!((&*plan.tools[0].spec.name, process.base_dir.to_str()), ("plan", Some("dir")));
}

fn wrong(text: &str, expected: Expect) {
    let problems = read_toolbox("fanout.toml", text.as_bytes()).expect_err("it is wrong");
    expected.assert_eq(&problems.iter().map(|problem| format!("{problem}\n")).collect::<String>());
}

#[test]
fn everything_wrong_at_once() {
    wrong(
        r#"
[tools.a]
argv = "wc -l"
agrs = {}
[tools."b c"]
argv = ["wc", "${args.path}", ["-x", "${args.pth}"], "${path}"]
args = { path = { type = "strin" }, x = 5 }
effects = { reads = ["file:${args.pat}"] }
stdin = "text"
stdout = "xml"
success = [256]
rate = "often"
approval = "maybe"
[tools.c]
set = { "A=B" = "x" }
[toolbox.t]
mcp = "x"
kye = "repo"
"#,
        expect![[r#"
            fanout.toml:3:8: error[wrong_type]: `argv` is a list such as ["wc", "-l"], not a text
              help: no shell reads it: program and arguments are written apart
            fanout.toml:4:1: error[unknown_field]: the tool `a` has no field `agrs`
              help: did you mean `args`?
            fanout.toml:5:8: error[bad_name]: the tool `b c` cannot be named so
              help: use letters, digits, `_`, `-` and `.`
            fanout.toml:6:38: error[bad_template]: `${args.pth}` uses the argument `pth`, which the tool does not have
              help: did you mean `path`?
            fanout.toml:6:54: error[bad_template]: `${path}`: only arguments can be put in here, as in `${args.name}`
            fanout.toml:7:8: error[bad_schema]: this JSON Schema does not compile: "strin" is not valid under any of the schemas listed in the 'anyOf' keyword
            fanout.toml:7:41: error[wrong_type]: an argument is an object such as { type = "string" }, not a number
            fanout.toml:8:22: error[bad_key]: `file:${args.pat}` uses the argument `pat`, which the tool does not have
              help: did you mean `path`?
            fanout.toml:9:9: error[missing_field]: `stdin` of this kind needs `stdin_text`
              help: such as stdin_text = "${args.body}"
            fanout.toml:10:10: error[bad_value]: `stdout` is one of `text`, `json`, `lines`, not `xml`
            fanout.toml:11:12: error[bad_value]: an exit code is a whole number from 0 to 255
            fanout.toml:12:8: error[bad_value]: `rate` is written as `10/s`, `100/min` or `1000/h`, not `often`
            fanout.toml:13:12: error[bad_value]: `approval` is one of `always`, `destructive`, `never`, not `maybe`
            fanout.toml:14:1: error[missing_field]: the tool `c` has neither `argv` nor `url`
              help: a program has `argv = ["wc", "-l"]`, a request `url = "https://…"`
            fanout.toml:15:17: error[bad_value]: "A=B" cannot be the name of an environment variable
            fanout.toml:17:7: error[wrong_type]: `mcp` is an object, not a text
            fanout.toml:18:1: error[unknown_field]: a toolbox with `mcp` has no field `kye`
              help: did you mean `key`?
        "#]],
    );
}

#[test]
fn syntax() {
    wrong(
        "[tools.a\nargv = 1",
        expect![[r#"
        fanout.toml:1:9: error[bad_toml]: this is not TOML: unclosed table, expected `]`
    "#]],
    );
    wrong(
        "a = 1\na = 2\n",
        expect![[r#"
        fanout.toml:2:1: error[duplicate_key]: this is not TOML: duplicate key
    "#]],
    );
    wrong(
        "[tools]\nn = 99999999999999999999",
        expect![[r#"
        fanout.toml:2:5: error[number_out_of_range]: the number 99999999999999999999 cannot be held exactly
          help: whole numbers reach from -9223372036854775808 to 18446744073709551615; write it in quotes to pass it as text
    "#]],
    );
}

fn expand(argv: &[Value], args: Value) -> String {
    let text = |value: &Value| TextTemplate::parse(value.as_str().expect("a text")).expect("a template");
    let element = |value: &Value| match value {
        Value::Array(list) => ArgTemplate::Optional(list.iter().map(text).collect()),
        value => ArgTemplate::One(text(value)),
    };
    let spec = ProcessSpec {
        defaults: serde_json::Map::from_iter([("n".to_owned(), json!(5))]),
        ..ProcessSpec::new(argv.iter().map(element).collect())
    };
    match spec.expand_argv(&spec.with_defaults(&args)) {
        Ok(argv) => format!("{argv:?}"),
        Err(error) => format!("{}: {}", error.code, error.message),
    }
}

#[test]
fn argvs() {
    let argv = [
        json!("git"),
        json!("-n${args.n}"),
        json!(["--author", "${args.who}"]),
        json!("--"),
        json!("${args.xs}"),
        json!("$${HOME};${args.o}"),
    ];
    expect![[r#"
        ["git", "-n5", "--", "a", "b c", "3", "${HOME};{\"k\":1}"]
        ["git", "-n1", "--author", "me; you", "--", "${HOME};`rm -rf`"]
        argument_missing: "$${HOME};${args.o}" needs an argument that is null
        argument_nul: the argument "a\0b" holds a NUL byte, which no program can be given"#]]
    .assert_eq(
        &[
            json!({"xs": ["a", "b c", 3], "o": {"k": 1}}),
            json!({"xs": [], "o": "`rm -rf`", "who": "me; you", "n": 1}),
            json!({"xs": "one", "o": null}),
            json!({"xs": "a\u{0}b", "o": true, "who": null}),
        ]
        .map(|args| expand(&argv, args))
        .join("\n"),
    );
}
