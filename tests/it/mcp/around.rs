//! What is around the gateway: files it leaves, state it shares, and what it says of servers that are not as they should be.
//! It does not know how it answers.

use super::hostile::Wire;
use fanout_tests::{Folder, PATIENCE, root, until};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::channel;

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {answer}"))
}

#[test]
fn files_of_large_results_go_with_the_gateway() {
    let folder = Folder::new();
    folder.write(
        "fanout.toml",
        "[tools.big]\nargv = [\"head\", \"-c\", \"3000000\", \"/dev/zero\"]\neffects = \"none\"\n",
    );
    std::fs::create_dir(folder.path("tmp")).expect("a folder");
    let files = || {
        let dirs = std::fs::read_dir(folder.path("tmp")).into_iter().flatten().flatten();
        dirs.flat_map(|dir| std::fs::read_dir(dir.path()).into_iter().flatten()).count()
    };
    let mut command = folder.command(&["mcp", "--tools", "fanout.toml"]);
    let mut wire = Wire::of(&folder, command.env("TMPDIR", folder.path("tmp")));
    wire.call("big", "big", json!({}));
    assert!(wire.answer("big").to_string().contains("spilled"));
    assert_eq!(files(), 1);
    wire.end();
    assert_eq!(std::fs::read_dir(folder.path("tmp")).expect("it is there").count(), 0);
}

#[test]
fn gateways_that_share_a_state_directory_see_what_the_others_wrote() {
    const TOOLS: &str = r#"
[tools.get]
argv = ["cat", "v-${args.k}"]
args = { k = { type = "string" } }
effects = { reads = ["db:${args.k}"] }
cache = { scope = "disk" }

[tools.put]
argv = ["sh", "-c", "printf %s \"$2\" > \"v-$1\"", "sh", "${args.k}", "${args.v}"]
args = { k = { type = "string" }, v = { type = "string" } }
effects = { writes = ["db:${args.k}"], idempotent = true }
"#;
    let folder = Folder::new();
    folder.write("fanout.toml", TOOLS);
    let start = || {
        let mut command = folder.command(&["mcp", "--tools", "fanout.toml"]);
        Wire::of(&folder, command.env("FANOUT_STATE", folder.path("state")).stderr(Stdio::null()))
    };
    let mut gateways = [start(), start(), start()];
    for round in 0..10 {
        for writer in 0..gateways.len() {
            let value = format!("{round} of {writer}");
            gateways[writer].call("put", "put", json!({"k": "a", "v": value}));
            assert_ne!(gateways[writer].answer("put")["result"]["isError"], true);
            for reader in &mut gateways {
                reader.call("get", "get", json!({"k": "a"}));
                assert_eq!(text(&reader.answer("get")), value);
            }
        }
    }
    let [killed, mut other, last] = gateways;
    drop(killed);
    other.call("get", "get", json!({"k": "a"}));
    assert_eq!(text(&other.answer("get")), "9 of 2");
    drop(last);
    other.end();
}

/// A gateway with these files, and what it says on standard error, line by line.
fn talking(folder: &Folder, args: &[&str]) -> (Wire, std::sync::mpsc::Receiver<String>) {
    let mut wire = Wire::of(folder, folder.command(args).stderr(Stdio::piped()));
    let said = BufReader::new(wire.process.stderr.take().expect("it was piped"));
    let (tell, lines) = channel();
    std::thread::spawn(move || said.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
    (wire, lines)
}

#[test]
fn a_server_whose_input_nobody_said_is_named_and_the_others_are_there() {
    let folder = Folder::new();
    let liar = root().join("crates/tools/tests/it/mcp/liars.py");
    let servers = json!({
        "inputs": [{"id": "api-key", "type": "promptString", "description": "The key of the shop", "password": true}],
        "servers": {
            "shop": {"command": "python3", "args": [liar, ""], "env": {"KEY": "${input:api-key}"}},
            "other": {"command": "python3", "args": [liar, ""]},
        },
    });
    folder.write(".vscode/mcp.json", servers.to_string());
    folder.write("fanout.toml", "");
    let args = ["mcp", "--tools", "fanout.toml", "--mcp-config", ".vscode/mcp.json"];
    let (mut wire, said) = talking(&folder, &args);
    wire.call("echo", "other.echo", json!({"text": "four"}));
    assert_eq!(text(&wire.answer("echo")), "4");
    let warning = std::iter::from_fn(|| said.recv_timeout(PATIENCE).ok()).find(|line| line.contains("INPUT_API_KEY"));
    let warning = warning.expect("it is said");
    assert!(warning.contains("input:api-key") && warning.contains("The key of the shop"), "{warning}");
    wire.end();
    // With the variable it is there.
    let mut command = folder.command(&args);
    let mut wire = Wire::of(&folder, command.env("INPUT_API_KEY", "k").stderr(Stdio::null()));
    wire.call("echo", "shop.echo", json!({"text": "four"}));
    assert_eq!(text(&wire.answer("echo")), "4");
    wire.end();
}

#[test]
fn a_server_that_changes_its_tools_to_what_cannot_be_is_named() {
    let folder = Folder::new();
    let liar = root().join("crates/tools/tests/it/mcp/liars.py").display().to_string();
    let server = format!(
        "[toolbox.liar]\nprefix = false\nmcp = {{ command = \"python3\", args = [{liar:?}, \"\"], env = {{ TEST_MCP_LATER = \"taken\" }} }}\n"
    );
    folder.write("fanout.toml", format!("[tools.taken]\nargv = [\"true\"]\n{server}"));
    let (mut wire, said) = talking(&folder, &["mcp", "--tools", "fanout.toml"]);
    let changed = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n";
    let answer = "{\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"good\"}]}}\n";
    wire.call("say", "say", json!({"parts": [[changed, 1], [answer, 1]]}));
    assert_eq!(text(&wire.answer("say")), "good");
    let mut lines = Vec::new();
    until("it is said", || {
        lines.extend(said.try_iter());
        lines.iter().any(|line: &String| line.contains("duplicate_tool") && line.contains("warning"))
    });
    // Those that were there are there.
    wire.call("echo", "echo", json!({"text": "four"}));
    assert_eq!(text(&wire.answer("echo")), "4");
    wire.end();
}
