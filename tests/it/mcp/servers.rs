//! Servers of others as toolboxes: listed, called alone and many at once, killed in the middle.
//! It does not know what they do beyond the answers that are looked at.

use super::{MARK, SERVERS, notes, of_this_test, served};
use fanout_tests::{Ended, Folder, peers, until};
use serde_json::{Value, json};

/// A call of each server: its tool, its arguments, and what its result has in it. `@` is the folder.
const CALLS: [(&str, &str, &str); 6] = [
    ("every.get-sum", r#"{"a": 2, "b": 40}"#, "42"),
    ("files.read_text_file", r#"{"path": "@/hello.txt"}"#, "hello, files"),
    ("graph.search_nodes", r#"{"query": "nobody"}"#, "entities"),
    ("git.git_log", r#"{"repo_path": "@/repo", "max_count": 1}"#, "the first commit"),
    ("clock.convert_time", r#"{"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}"#, "21:00"),
    ("db.read_query", r#"{"query": "SELECT 6 * 7 AS answer"}"#, "42"),
];

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("hello.txt", "hello, files\n");
    let git = |args: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.args(["-c", "user.name=T", "-c", "user.email=t@example.org"]).args(args).current_dir(folder.path("repo"));
        assert!(git.output().expect("git is there").status.success(), "git {args:?}");
    };
    folder.write("repo/a.txt", "a\n");
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "the first commit"]);
    folder
}

fn with_all(more: &str) -> Folder {
    let folder = folder();
    folder.write("fanout.toml", SERVERS.map(|served| served.written(&folder, more)).concat());
    folder
}

fn run(folder: &Folder, args: &[&str]) -> Ended {
    let mut command = folder.command(args);
    Ended::from(command.env("PATH", peers().path()).env(MARK, folder.path("")).output().expect("fanout starts"))
}

/// A plan with these calls, and what the call of an id gave.
fn write_plan(folder: &Folder, calls: &[Value]) {
    let output: serde_json::Map<_, _> = calls
        .iter()
        .map(|call| {
            (
                call["id"].as_str().expect("an id").to_owned(),
                json!(format!("${{{}}}", call["id"].as_str().expect("an id"))),
            )
        })
        .collect();
    folder.write("plan.json", json!({"name": "servers", "calls": calls, "output": output}).to_string());
}

fn report(folder: &Folder, id: &str) -> Value {
    let report: Value = serde_json::from_str(&folder.read("report.json")).expect("there is a report");
    let calls = report["calls"].as_array().expect("calls");
    calls.iter().find(|call| call["id"] == id).unwrap_or_else(|| panic!("no {id} in {report:#}")).clone()
}

#[test]
fn all_are_listed_with_what_they_say_of_their_effects() {
    let folder = with_all("");
    let listed = run(&folder, &["tools", "--json"]).with_code(0).json();
    let text = listed.to_string();
    for (tool, ..) in CALLS {
        assert!(text.contains(&format!("\"{tool}\"")), "{tool} is not in {text}");
    }
    // The servers say which of their tools only read.
    let told = run(&folder, &["tools", "files.read_text_file"]).with_code(0).stdout;
    assert!(told.contains("read-only"), "{told}");
}

#[test]
fn all_are_called_alone_and_many_at_once() {
    let folder = with_all("");
    let here = folder.path("").display().to_string();
    for many in [1, 20] {
        let calls: Vec<Value> = CALLS
            .iter()
            .flat_map(|(tool, args, _)| {
                let args: Value = serde_json::from_str(&args.replace('@', &here)).expect("JSON");
                (0..many).map(move |at| json!({"id": format!("{}_{at}", tool.replace(['.', '-'], "_")), "tool": tool, "args": args}))
            })
            .collect();
        write_plan(&folder, &calls);
        let output = run(&folder, &["run", "plan.json"]).with_code(0).json();
        for (tool, _, expected) in CALLS {
            for at in 0..many {
                let result = output[format!("{}_{at}", tool.replace(['.', '-'], "_"))].to_string();
                assert!(result.contains(expected), "{tool}: {result}");
            }
        }
    }
}

/// Runs a plan, kills the server behind `tap.py` when its `nth` call of a tool has gone by, and waits for the end.
fn killed(folder: &Folder, toolbox: &str) -> Ended {
    let mut command = folder.command(&["run", "plan.json", "--report", "report.json"]);
    let child = command.env("PATH", peers().path()).env(MARK, folder.path("")).spawn().expect("fanout starts");
    let seen =
        |notes: &[Value]| notes.iter().any(|note| note["method"] == "tools/call" && note["tool"] != "create_table");
    until("the call has reached the server", || seen(&notes(folder, toolbox)));
    let pid = notes(folder, toolbox)[0]["pid"].as_i64().expect("a process").to_string();
    assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().expect("kill is there").success());
    Ended::from(child.wait_with_output().expect("it ends"))
}

#[test]
fn a_server_killed_while_it_writes_leaves_a_doubt_and_is_started_again() {
    let folder = folder();
    folder.write("fanout.toml", served("db").tapped(&folder, "0", ""));
    // It would take minutes: nobody can be quicker than the kill.
    let slow = "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9e9) SELECT count(*) FROM n";
    write_plan(
        &folder,
        &[
            json!({"id": "table", "tool": "db.create_table", "args": {"query": "CREATE TABLE t (n INTEGER)"}}),
            json!({"id": "slow", "tool": "db.write_query", "args": {"query": slow}}),
            json!({"id": "needs", "tool": "db.read_query", "args": {"query": "SELECT ${slow}"}}),
            json!({"id": "next", "tool": "db.read_query", "args": {"query": "SELECT 6 * 7 AS answer"}}),
        ],
    );
    let ended = killed(&folder, "db");
    assert_ne!(ended.code, Some(0), "{ended:?}");
    assert_eq!(report(&folder, "slow")["outcome"], "in_doubt", "{}", report(&folder, "slow"));
    assert_eq!(report(&folder, "needs")["outcome"], "skipped");
    assert_eq!(report(&folder, "next")["outcome"], "succeeded", "{}", report(&folder, "next"));
    let started = notes(&folder, "db").iter().filter(|note| note["pid"].is_number()).count();
    assert_eq!(started, 2, "the server is started again, once");
}

#[test]
fn a_call_that_only_reads_is_made_again_when_its_server_was_killed() {
    let folder = folder();
    folder.write("fanout.toml", served("every").tapped(&folder, "0", ""));
    write_plan(
        &folder,
        &[json!({"id": "long", "tool": "every.trigger-long-running-operation", "args": {"duration": 1, "steps": 2}})],
    );
    let ended = killed(&folder, "every").with_code(0);
    assert!(ended.json()["long"].to_string().contains("completed"), "{ended:?}");
    assert_eq!(report(&folder, "long")["attempts"], 2);
    until("no server is left", || of_this_test(&folder) == 0);
}
