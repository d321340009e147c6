//! Clients of others before `fanout mcp`: the Inspector's command line and the Python SDK.
//! It does not know how the gateway works.

use super::served;
use fanout_tests::{Folder, PATIENCE, fanout, peers, root};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

/// A folder with three servers behind a toolbox file, and the command of the gateway before them.
fn gateway() -> (Folder, Vec<String>) {
    with_servers(&["every", "files", "git"])
}

/// The same with these servers.
pub(super) fn with_servers(servers: &[&str]) -> (Folder, Vec<String>) {
    let folder = Folder::new();
    let tools: String = servers.iter().map(|name| served(name).written(&folder, "")).collect();
    folder.write("fanout.toml", tools);
    let file = folder.path("fanout.toml").display().to_string();
    let command = vec![fanout().display().to_string(), "mcp".to_owned(), "--tools".to_owned(), file];
    (folder, command)
}

/// What a program of others says when its work is done.
pub(super) fn told(program: &mut Command) -> Value {
    let (code, told) = ended(program);
    assert_eq!(code, Some(0), "{told}");
    told
}

/// With which code it ends, and what it says.
fn ended(program: &mut Command) -> (Option<i32>, Value) {
    let ended = program.env("PATH", peers().path()).output().expect("it starts");
    let (told, complained) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    let json = told.find('{').map(|begin| &told[begin..]).unwrap_or_default();
    let json = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error} in:\n{told}\n{complained}"));
    (ended.status.code(), json)
}

fn inspector(folder: &Folder, gateway: &[String], ask: &[&str]) -> Value {
    let (code, told) = inspected(folder, gateway, ask);
    assert_eq!(code, Some(0), "{told}");
    told
}

/// What the Inspector's command line says, and the code it ends with.
pub(super) fn inspected(folder: &Folder, gateway: &[String], ask: &[&str]) -> (Option<i32>, Value) {
    let mut inspector = Command::new(peers().program("mcp-inspector"));
    // It keeps a file of servers; several at once do not share one.
    inspector.env("MCP_CATALOG_PATH", folder.path("catalog.json"));
    ended(inspector.arg("--cli").args(gateway).args(ask).current_dir(folder.path("")))
}

#[test]
fn the_inspector_lists_and_calls() {
    let (folder, gateway) = gateway();
    let listed = inspector(&folder, &gateway, &["--method", "tools/list"]);
    let tools = listed["tools"].as_array().expect("tools");
    let names: Vec<&str> = tools.iter().filter_map(|tool| tool["name"].as_str()).collect();
    for name in ["every.get-sum", "files.edit_file", "git.git_log"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    let ask = ["--method", "tools/call", "--tool-name", "every.get-sum", "--tool-arg", "a=2", "--tool-arg", "b=40"];
    let sum = inspector(&folder, &gateway, &ask);
    assert!(sum["content"][0]["text"].as_str().is_some_and(|text| text.contains("42")), "{sum}");
}

#[test]
fn the_client_of_the_python_sdk_finds_all_it_expects() {
    let (folder, gateway) = gateway();
    let mut client = Command::new(peers().program("python3"));
    client.arg(root().join("tests/mcp/client.py")).arg(folder.path("")).arg("--").args(&gateway);
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=T", "-c", "user.email=t@example.org"]).args(args).current_dir(folder.path(""));
        assert!(git.output().expect("git is there").status.success(), "git {args:?}");
    };
    git(&["init", "-q"]);
    git(&["commit", "-q", "--allow-empty", "-m", "the first commit"]);
    let got = told(&mut client);
    assert_eq!(got["version"], "2026-07-28");
    for at in 0..50 {
        assert!(got["sums"][at].as_str().is_some_and(|text| text.contains(&format!("{}", at + 1))), "{}", got["sums"]);
    }
    let text = |field: &str| got[field].to_string();
    assert!(text("log").contains("the first commit"), "{}", text("log"));
    assert_eq!(got["image"], serde_json::json!(["text", "image", "text"]));
    assert!(got["structured"]["temperature"].is_number(), "{}", text("structured"));
    assert!(text("long").contains("completed") && text("progress").len() > 2, "{}", text("progress"));
    let progress: Vec<f64> = got["progress"].as_array().expect("a list").iter().filter_map(Value::as_f64).collect();
    assert!(progress.len() >= 2 && progress.is_sorted(), "{progress:?}");
    assert!(got["absent"][0] == true && text("absent").contains("ENOENT"), "{}", text("absent"));
    assert!(got["unknown"][0] == true && text("unknown").contains("no-such-tool"), "{}", text("unknown"));
}

/// Clients that run on Node have sockets where others have pipes. More than fits in either goes both ways.
#[test]
fn clients_are_answered_whole_on_pipes_and_on_sockets() {
    let folder = Folder::new();
    folder.write("fanout.toml", "[tools.nothing]\nargv = [\"true\"]\n");
    let id = "x".repeat(1 << 20);
    let ask = format!("{{\"jsonrpc\":\"2.0\",\"id\":\"{id}\",\"method\":\"ping\"}}\n");
    let expected = format!("{{\"jsonrpc\":\"2.0\",\"id\":\"{id}\",\"result\":{{}}}}\n");
    let answered = |mut input: Box<dyn Write>, output: Box<dyn Read>| {
        input.write_all(ask.as_bytes()).expect("it reads");
        let mut line = String::new();
        let mut output = BufReader::new(output);
        output.read_line(&mut line).expect("it writes");
        assert!(line == expected, "{} bytes of {}", line.len(), expected.len());
    };

    let mut pipes = folder.command(&["mcp"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let (input, output) = (pipes.stdin.take().expect("a pipe"), pipes.stdout.take().expect("a pipe"));
    answered(Box::new(input), Box::new(output));
    assert!(pipes.wait().expect("it ends with its client").success());

    let (ours, theirs) = UnixStream::pair().expect("sockets");
    let mut command = folder.command(&["mcp"]);
    command.stdin(OwnedFd::from(theirs.try_clone().expect("a socket"))).stdout(OwnedFd::from(theirs));
    let mut sockets = command.spawn().expect("it starts");
    drop(command);
    ours.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    answered(Box::new(ours.try_clone().expect("a socket")), Box::new(ours.try_clone().expect("a socket")));
    drop(ours);
    assert!(sockets.wait().expect("it ends with its client").success());
}
