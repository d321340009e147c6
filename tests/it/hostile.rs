//! Plans and processes that mean no good: each ends with a clear error whose code has a page, nothing is left.
//! It does not know where the limits are set.

use fanout_tests::{Ended, Folder, bearing, root, until};
use serde_json::Value;
use std::fmt::Write as _;

/// Checks that a plan is refused with one of these codes and that the code has a page.
#[track_caller]
fn refused(folder: &Folder, plan: &str, codes: &[&str]) -> Ended {
    let ended = folder.fanout(["check", "--json", plan]).with_code(3);
    let problems = ended.json();
    let given: Vec<&str> = problems.as_array().unwrap().iter().filter_map(|p| p["code"].as_str()).collect();
    assert!(given.iter().any(|code| codes.contains(code)), "{codes:?} expected: {}", cut(&ended.stdout));
    for code in given {
        assert!(root().join(format!("docs/errors/{code}.md")).exists(), "{code} has no page");
    }
    assert!(folder.fanout(["run", plan]).with_code(3).stdout.is_empty());
    ended
}

fn cut(text: &str) -> String {
    text.chars().take(2000).collect()
}

#[test]
fn plans_that_go_in_circles() {
    let tools = "tools: {t: {argv: [echo, '${args.x}'], args: {x: {type: string}}, effects: none}}";
    let mut calls = String::new();
    for i in 0..1000 {
        let _ = writeln!(calls, "  - {{id: c{i}, tool: t, args: {{x: '${{c{}}}'}}}}", (i + 1) % 1000);
    }
    refused(&Folder::with_plan(&format!("name: c\n{tools}\ncalls:\n{calls}")), "plan.yaml", &["cycle"]);
    let own = format!("name: c\n{tools}\ncalls: [{{id: a, tool: t, args: {{x: '${{a}}'}}}}]");
    refused(&Folder::with_plan(&own), "plan.yaml", &["self_reference"]);
}

#[test]
fn plans_that_are_too_deep() {
    let folder = Folder::new();
    folder.write("deep.json", "[".repeat(1_000_000));
    refused(&folder, "deep.json", &["too_deep", "bad_json"]);
    folder.write("deep.yaml", format!("name: x\ncalls: {}", "[".repeat(1_000_000)));
    refused(&folder, "deep.yaml", &["too_deep", "bad_yaml"]);
    folder.write("object.json", format!("{{\"name\": {}", "{\"a\":".repeat(500_000)));
    refused(&folder, "object.json", &["too_deep", "bad_json"]);
    let indented: String = (0..5_000).fold(String::new(), |mut text, depth| {
        let _ = writeln!(text, "{}a:", " ".repeat(depth));
        text
    });
    folder.write("indented.yaml", indented);
    refused(&folder, "indented.yaml", &["too_deep", "bad_yaml", "too_large"]);
}

#[test]
fn plans_of_a_hundred_megabytes() {
    let folder = Folder::new();
    folder.write("big.yaml", format!("name: {}\ncalls: []\n", "x".repeat(100_000_000)));
    refused(&folder, "big.yaml", &["too_large"]);
    folder.write("big.json", format!("{{\"name\": \"{}\", \"calls\": []}}", "x".repeat(100_000_000)));
    refused(&folder, "big.json", &["too_large"]);
}

#[test]
fn plans_that_are_not_text() {
    let folder = Folder::new();
    folder.write("bytes.yaml", b"name: \xff\xfe\ncalls: []\n");
    refused(&folder, "bytes.yaml", &["not_utf8"]);
    folder.write("bytes.json", b"{\"name\": \"\xc3\x28\"}");
    refused(&folder, "bytes.json", &["not_utf8"]);
    folder.write("zeros.yaml", [0; 10_000]);
    refused(&folder, "zeros.yaml", &["not_utf8", "not_text", "bad_yaml"]);
    folder.write("empty.yaml", "");
    refused(&folder, "empty.yaml", &["wrong_type", "missing_field", "bad_yaml", "empty_plan"]);
}

#[test]
fn plans_with_a_key_twice() {
    let folder = Folder::with_plan("name: a\nname: b\ncalls: []\n");
    refused(&folder, "plan.yaml", &["duplicate_key"]);
    folder.write("twice.json", "{\"name\": \"a\", \"calls\": [], \"calls\": []}");
    refused(&folder, "twice.json", &["duplicate_key"]);
}

#[test]
fn plans_with_aliases_that_explode() {
    let mut bomb = String::from("name: bomb\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let item = format!("*a{}", i - 1);
        let _ = writeln!(bomb, "a{i}: &a{i} [{}]", vec![item; 10].join(", "));
    }
    refused(&Folder::with_plan(&bomb), "plan.yaml", &["too_many_aliases", "bad_yaml"]);
}

/// Runs a plan of one hostile process beside a good one; gives the report's account of the hostile one.
fn beside_a_good_one(mark: &str, tool: &str) -> Value {
    let folder = Folder::with_plan(&format!(
        "name: hostile
tools:
  bad: {{{tool}, set: {{MARK: {mark}}}, effects: none, grace: 100ms}}
  good: {{argv: [echo, fine], effects: none}}
calls:
  - {{id: bad, tool: bad}}
  - {{id: good, tool: good}}"
    ));
    let ended = folder.fanout(["run", "plan.yaml", "--report", "report.json", "--deadline", "50s"]).with_code(1);
    assert_eq!(ended.json()["good"], "fine");
    assert_eq!(bearing(&format!("MARK={mark}")), 0, "processes are left");
    let report: Value = serde_json::from_str(&folder.read("report.json")).unwrap();
    let error = &report["calls"][0]["error"];
    let code = error["code"].as_str().unwrap();
    assert!(root().join(format!("docs/errors/{code}.md")).exists(), "{code} has no page");
    assert!(!error["message"].as_str().unwrap().is_empty());
    report["calls"][0].clone()
}

#[test]
fn a_process_that_floods() {
    let call = beside_a_good_one("flood_1", "argv: ['yes'], output_max: 1 MiB");
    assert_eq!(call["outcome"], "failed", "{call}");
    // Also what is only thrown away has to be read, or it would block.
    beside_a_good_one("flood_2", "argv: [sh, -c, 'yes >&2'], timeout: 500ms");
}

#[test]
fn a_process_that_never_ends() {
    let call = beside_a_good_one("never_1", "argv: [sleep, '600'], timeout: 200ms");
    assert_eq!(call["error"]["code"], "timeout", "{call}");
    let call = beside_a_good_one("never_2", "argv: [sleep, '600'], idle_timeout: 200ms");
    assert_eq!(call["error"]["code"], "idle_timeout", "{call}");
}

#[test]
fn a_process_that_ignores_polite_ends() {
    beside_a_good_one("rude_1", "argv: [sh, -c, 'trap \"\" TERM INT HUP; while :; do sleep 1; done'], timeout: 300ms");
}

#[test]
fn a_process_that_leaves_others() {
    // In its group, out of its group, and twice forked: the call ends by its timeout or at once, and all are gone.
    beside_a_good_one("forks_1", "argv: [sh, -c, 'sleep 600 & setsid sleep 600 & (setsid sleep 600 &) ; exit 7']");
    beside_a_good_one("forks_2", "argv: [sh, -c, 'setsid sleep 600 & sleep 600'], timeout: 300ms");
}

#[test]
fn a_process_that_dies_by_a_signal() {
    let call = beside_a_good_one("signal_1", "argv: [sh, -c, 'kill -SEGV $$$$']");
    assert_eq!(call["outcome"], "failed", "{call}");
}

#[test]
fn a_process_that_prints_half_a_json() {
    let call = beside_a_good_one("half_1", "argv: [printf, '{\"a\": [1, 2'], stdout: json");
    assert_eq!(call["outcome"], "failed", "{call}");
    beside_a_good_one("half_2", "argv: [printf, '\\377\\376'], stdout: json");
}

#[test]
fn a_process_that_is_not_there() {
    let call = beside_a_good_one("missing_1", "argv: [no-such-program-anywhere]");
    assert!(call["error"]["message"].as_str().unwrap().contains("no-such-program-anywhere"), "{call}");
}

#[test]
fn a_process_that_does_not_listen() {
    let folder = Folder::with_plan(
        "name: deaf
tools: {deaf: {argv: ['true'], args: {text: {type: string}}, stdin: text, stdin_text: '${args.text}', effects: none}}
inputs: {text: {schema: {type: string}}}
calls: [{id: a, tool: deaf, args: {text: '${inputs.text}'}}]",
    );
    // More than a pipe holds: the writer would block for ever, or die by SIGPIPE.
    let text = format!("text={}", "x".repeat(100_000));
    folder.fanout(["run", "plan.yaml", "--arg", &text]).with_code(0);
}

#[test]
fn nothing_stays_in_the_temporary_folder() {
    let folder = Folder::with_plan("name: t\ntools: {t: {argv: [echo, x], effects: none}}\ncalls: [{id: a, tool: t}]");
    folder.write("tmp/.keep", "");
    let mut command = folder.command(&["run", "plan.yaml"]);
    let ended = Ended::from(command.env("TMPDIR", folder.path("tmp")).output().unwrap()).with_code(0);
    assert_eq!(ended.json()["a"], "x");
    until("the guard is gone", || bearing(&format!("TMPDIR={}", folder.path("tmp").display())) == 0);
    let left: Vec<_> = std::fs::read_dir(folder.path("tmp")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, [".keep"]);
}

#[test]
fn no_descriptor_stays_open() {
    let folder = Folder::with_plan(
        "
name: descriptors
tools:
  count: {argv: [sh, -c, 'ls /proc/$PPID/fd | wc -l'], stdout: json, effects: none}
  numbers: {argv: [seq, '60'], stdout: lines, effects: none}
  good: {argv: [cat], stdin: json, args: {n: {}}, effects: none}
  bad: {argv: [sh, -c, 'exit 3'], stdin: json, args: {n: {}}, effects: none}
  gone: {argv: [no_such_program], args: {n: {}}, effects: none}
  large: {argv: [seq, '1000'], inline_max: 100, args: {n: {}}, effects: none}
  flood: {argv: ['yes'], output_max: 10 KiB, args: {n: {}}, effects: none}
  slow: {argv: [sleep, '60'], timeout: 10ms, retry: 1, args: {n: {}}, effects: none}
  leaves: {argv: [sh, -c, 'sleep 60 & exit 0'], args: {n: {}}, effects: none}
calls:
  - {id: before, tool: count}
  - {id: numbers, tool: numbers, after: [before]}
  - {id: good, tool: good, foreach: '${numbers}', args: {n: '${item}'}}
  - {id: bad, tool: bad, foreach: '${numbers}', args: {n: '${item}'}}
  - {id: gone, tool: gone, foreach: '${numbers}', args: {n: '${item}'}}
  - {id: large, tool: large, foreach: '${numbers}', args: {n: '${item}'}}
  - {id: flood, tool: flood, foreach: '${numbers[0:10]}', args: {n: '${item}'}}
  - {id: slow, tool: slow, foreach: '${numbers}', args: {n: '${item}'}}
  - {id: leaves, tool: leaves, foreach: '${numbers[0:10]}', args: {n: '${item}'}}
  - {id: during, tool: count, after: [bad], foreach: '${numbers}'}
  - {id: last, tool: count, after: [good, bad, gone, large, flood, slow, leaves, during]}
output: {before: '${before}', during: '${during}', last: '${last}'}
",
    );
    folder.write("tmp/.keep", "");
    let mut command = folder.command(&["run", "plan.yaml", "--limit", "running=6"]);
    let counted = Ended::from(command.env("TMPDIR", folder.path("tmp")).output().unwrap()).with_code(1).json();
    let count = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("counts of descriptors: {counted}"));
    let before = count(&counted["before"]);
    assert!(before > 5, "{before} are too few to have been fanout's");
    // What the runtime opens once, such as its link to a helper, may come later than the first call.
    assert!(count(&counted["last"]) <= before + 4, "{counted}");
    // A running call has its three pipes and a handle of its process.
    let most = counted["during"].as_array().unwrap().iter().map(count).max().unwrap();
    assert!(most <= before + 6 * 8, "{counted}");
}
