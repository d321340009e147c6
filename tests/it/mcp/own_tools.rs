//! The gateway's own tools, called by clients of others: the Python SDK and the Inspector's command line, in both modes.
//! It does not know how plans are run or tools found.

use super::gateway::{inspected, told, with_servers};
use fanout_tests::{Folder, peers, root};
use serde_json::{Value, json};
use std::process::Command;

/// The modes of the gateway, and a tool that only one of them lists.
const MODES: [(&str, &str); 2] = [("all", "every.get-sum"), ("find", "call_tool")];

const OWN: [&str; 6] = ["run_plan", "check_plan", "find_tools", "read_result", "run_status", "cancel_run"];

fn gateway(expose: &str) -> (Folder, Vec<String>) {
    let (folder, mut command) = with_servers(&["every", "files"]);
    let lines: Vec<Value> = (0..3_000).map(|at| json!({"at": at, "text": "some text"})).collect();
    folder.write("large.json", json!({"lines": lines}).to_string());
    command.extend(["--expose".to_owned(), expose.to_owned()]);
    (folder, command)
}

/// What came back of a call: whether it is an error, and its text.
#[track_caller]
fn answer<'a>(got: &'a Value, of: &str, is_error: bool) -> &'a str {
    let said = got[of][1].as_str().unwrap_or_else(|| panic!("no text in {of}: {}", got[of]));
    assert_eq!(got[of][0], is_error, "{of}: {said}");
    said
}

#[track_caller]
fn says(got: &Value, of: &str, is_error: bool, parts: &[&str]) {
    let said = answer(got, of, is_error);
    parts.iter().for_each(|part| assert!(said.contains(part), "{of} does not say `{part}`: {said}"));
}

#[test]
fn the_client_of_the_python_sdk_runs_plans_finds_tools_and_reads_on() {
    for (expose, listed) in MODES {
        for (mode, version) in [("auto", "2026-07-28"), ("legacy", "2025-11-25")] {
            let (folder, gateway) = gateway(expose);
            let mut client = Command::new(peers().program("python3"));
            client.arg(root().join("tests/mcp/own_tools.py")).arg(folder.path("")).arg(mode).arg("--").args(&gateway);
            let got = told(&mut client);
            assert_eq!(got["version"], version);
            let tools: Vec<&str> = got["tools"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
            let expected = OWN.iter().chain([&listed]);
            assert!(expected.clone().all(|name| tools.contains(name)), "{expose}: {tools:?}");
            assert_eq!(tools.len() > OWN.len() + 1, expose == "all", "{tools:?}");
            says(&got, "found", false, &["files.edit_file"]);
            for at in 0..20 {
                let sum = got["called"][at][1].as_str().unwrap_or_default();
                assert!(sum.contains(&(at + 1).to_string()), "{}", got["called"]);
            }
            plans(&got);
            let cut = answer(&got, "cut", false);
            assert!(cut.contains("read_result") && cut.len() < 25_000, "{} bytes", cut.len());
            assert_eq!(answer(&got, "part", false), r#"{"at":2999,"text":"some text"}"#);
            assert_eq!(answer(&got, "range", false), &cut[..10]);
            says(&got, "no_ref", true, &["there is no result `r99`"]);
        }
    }
}

/// What is said of plans.
fn plans(got: &Value) {
    says(got, "right", false, &["The plan is right: 3 calls", "both", "waits for"]);
    says(got, "wrong", true, &["every.get-sun", "every.get-sum", "unknown_reference"]);
    says(
        got,
        "ran",
        false,
        &["The run succeeded: 3 of 3 calls", "both: Echo: The sum of 1 and 2 is 3. and The sum of 20"],
    );
    let progress = got["progress"].as_array().expect("a list");
    let steps: Vec<f64> = progress.iter().filter_map(|step| step[0].as_f64()).collect();
    assert!(!steps.is_empty() && steps.is_sorted() && progress.iter().all(|step| step[1] == 3.0), "{progress:?}");
    says(got, "text", false, &["output: Echo", "and"]);
    says(got, "refused", true, &["plan_tools"]);
    says(got, "under_way", false, &["goes on", "slow"]);
    says(got, "cancelled", false, &["was cancelled"]);
    says(got, "after", true, &["was cancelled"]);
    says(got, "ended", false, &["The run succeeded", "42"]);
    for nobody in 0..2 {
        assert!(got["of_nobody"][nobody][1].as_str().is_some_and(|said| said.contains("there is no run `none`")));
        assert_eq!(got["of_nobody"][nobody][0], true);
    }
}

/// What the Inspector says of a tool's error.
const TOOL_ERROR: i32 = 5;

#[test]
fn the_inspector_calls_the_own_tools() {
    let plan = r#"plan={"calls": [{"id": "a", "tool": "every.get-sum", "args": {"a": 40, "b": 2}}]}"#;
    let cases: [(&str, &[&str], i32, &str); 7] = [
        ("run_plan", &[plan], 0, "The run succeeded: 1 of 1 calls"),
        ("check_plan", &[plan], 0, "The plan is right"),
        ("find_tools", &["query=edit a file"], 0, "files.edit_file"),
        ("call_tool", &["name=every.get-sum", r#"arguments={"a": 2, "b": 40}"#], 0, "42"),
        ("run_status", &["run=none"], TOOL_ERROR, "there is no run `none`"),
        ("cancel_run", &["run=none"], TOOL_ERROR, "there is no run `none`"),
        ("read_result", &["ref=r1"], TOOL_ERROR, "there is no result `r1`"),
    ];
    for (expose, listed) in MODES {
        let (folder, gateway) = gateway(expose);
        let (_, tools) = inspected(&folder, &gateway, &["--method", "tools/list"]);
        for name in OWN.iter().chain([&listed]) {
            assert!(tools.to_string().contains(&format!("\"{name}\"")), "{name} is not in {tools}");
        }
        // Each starts all servers, so what is the same in both modes is looked at in one.
        for (tool, args, code, expected) in cases.iter().take(if expose == "find" { cases.len() } else { 1 }) {
            let args = args.iter().flat_map(|arg| ["--tool-arg", arg]);
            let ask: Vec<&str> = ["--method", "tools/call", "--tool-name", tool].into_iter().chain(args).collect();
            let (ended, said) = inspected(&folder, &gateway, &ask);
            assert_eq!(ended, Some(*code), "{tool}: {said}");
            assert!(said["content"][0]["text"].as_str().is_some_and(|text| text.contains(expected)), "{tool}: {said}");
        }
    }
}
