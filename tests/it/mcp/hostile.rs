//! A client that means no good, before `fanout mcp` on standard input and output: what is wrong is told, the rest goes on.
//! It does not know how the gateway reads.

use fanout_tests::{Folder, bearing, until};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// The longest an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

const TOOLS: &str = r#"
[tools.say]
argv = ["printf", "%s", "${args.text}"]
args = { text = { type = "string" } }
effects = "none"

[tools.nap]
argv = ["sleep", "600"]
env = ["FANOUT_TEST_MARK"]
effects = "none"
running = 100
"#;

/// A gateway, and a client that writes whatever it likes.
pub(super) struct Wire {
    pub(super) process: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    mark: String,
    /// Where it works, kept as long as it does.
    folder: Option<Folder>,
}

impl Wire {
    fn new() -> Wire {
        let folder = Folder::new();
        folder.write("fanout.toml", TOOLS);
        let mut wire = Wire::of(&folder, folder.command(&["mcp", "--tools", "fanout.toml"]).stderr(Stdio::null()));
        wire.folder = Some(folder);
        wire
    }

    /// A client of the gateway that this starts.
    pub(super) fn of(folder: &Folder, command: &mut Command) -> Wire {
        let mark = format!("gateway-{}", folder.path("").display());
        command.env("FANOUT_TEST_MARK", &mark).stdin(Stdio::piped());
        let mut process = command.spawn().expect("fanout starts");
        let output = BufReader::new(process.stdout.take().expect("it was piped"));
        let (tell, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let input = process.stdin.take();
        let mut wire = Wire { process, input, lines, mark, folder: None };
        let about =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}});
        wire.send(json!({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": about}));
        assert!(wire.answer("hello").get("result").is_some());
        wire.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        wire
    }

    pub(super) fn send(&mut self, message: Value) {
        self.send_line(message.to_string().as_bytes());
    }

    fn send_line(&mut self, line: &[u8]) {
        let input = self.input.as_mut().expect("it is open");
        input.write_all(line).and_then(|()| input.write_all(b"\n")).and_then(|()| input.flush()).expect("it is read");
    }

    pub(super) fn call(&mut self, id: &str, tool: &str, args: Value) {
        self.send(
            json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": args}}),
        );
    }

    /// The next message.
    pub(super) fn next(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("the gateway answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"))
    }

    /// The answer to the request of this id; what comes before it is passed over.
    pub(super) fn answer(&self, id: &str) -> Value {
        loop {
            let message = self.next();
            if message["id"] == id {
                return message;
            }
        }
    }

    /// It still does its work.
    #[track_caller]
    fn works(&mut self, id: &str) {
        self.call(id, "say", json!({"text": id}));
        let answer = self.answer(id);
        assert_eq!(answer["result"]["content"][0]["text"], id, "{answer}");
    }

    /// The most memory it has had, in MiB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("there is such a line");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1_024
    }

    /// Closes its input: it ends, and nothing is left.
    pub(super) fn end(mut self) {
        drop(self.input.take());
        until("the gateway has ended", || self.process.try_wait().expect("it was started").is_some());
        until("nothing of it is left", || bearing(&format!("FANOUT_TEST_MARK={}", self.mark)) == 0);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // Gone is as good.
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

#[test]
fn what_is_no_message_is_refused_and_the_next_is_answered() {
    let mut wire = Wire::new();
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":"deep","method":"ping","params":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let bad: [&[u8]; 12] = [
        b"this is no JSON",
        b"{",
        b"",
        b"null",
        b"[]",
        b"\"text\"",
        b"\xff\xfe\x00",
        br#"{"id":"no-version","method":"ping"}"#,
        br#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
        br#"{"jsonrpc":"2.0","id":"m","method":7}"#,
        br#"[{"jsonrpc":"2.0","id":"b1","method":"ping"},{"jsonrpc":"2.0","id":"b2","method":"ping"}]"#,
        deep.as_bytes(),
    ];
    for (at, line) in bad.into_iter().enumerate() {
        wire.send_line(line);
        wire.works(&format!("after-{at}"));
    }
    wire.end();
}

#[test]
fn requests_that_make_no_sense_are_told_so() {
    let mut wire = Wire::new();
    let bad = [
        json!({"method": "no/such/method"}),
        json!({"method": "tools/call"}),
        json!({"method": "tools/call", "params": {"name": 7}}),
        json!({"method": "tools/call", "params": {"name": "say", "arguments": ["text"]}}),
        json!({"method": "tools/call", "params": {"name": "say", "arguments": {}}}),
        json!({"method": "tools/call", "params": {"name": "say", "arguments": {"text": 7}}}),
        json!({"method": "tools/call", "params": {"name": "no_such_tool", "arguments": {}}}),
        json!({"method": "tools/call", "params": {"name": "say\u{0}\u{202e}", "arguments": {"text": ""}}}),
        json!({"method": "tools/list", "params": {"cursor": "of somebody else"}}),
        json!({"method": "run_plan", "params": {}}),
    ];
    for (at, mut request) in bad.into_iter().enumerate() {
        let id = format!("bad-{at}");
        request["jsonrpc"] = json!("2.0");
        request["id"] = json!(id);
        wire.send(request.clone());
        let answer = wire.answer(&id);
        let is_told = answer.get("error").is_some() || answer["result"]["isError"] == true;
        assert!(is_told, "{request} is answered by {answer}");
    }
    // A reference is text to a tool that is called alone: nothing is filled in.
    wire.call("text", "say", json!({"text": "${inputs.secret} $${x}"}));
    assert_eq!(wire.answer("text")["result"]["content"][0]["text"], "${inputs.secret} $${x}");
    wire.works("still");
    wire.end();
}

#[test]
fn an_id_used_twice_does_not_mix_up_answers() {
    let mut wire = Wire::new();
    wire.call("twice", "nap", json!({}));
    wire.call("twice", "say", json!({"text": "second"}));
    // Whichever way it is taken, others are answered and the sleeper ends with the session.
    wire.works("other");
    wire.send(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "twice"}}));
    wire.works("last");
    wire.end();
}

#[test]
fn a_flood_that_nobody_reads_stays_within_bounds() {
    let mut wire = Wire::new();
    // More than any pipe or queue holds: what is not taken up is not read.
    let mut input = wire.input.take().expect("it is open");
    let writer = std::thread::spawn(move || {
        let text = "x".repeat(1_000);
        for at in 0..3_000 {
            let params = json!({"name": "say", "arguments": {"text": text}});
            let line = json!({"jsonrpc": "2.0", "id": format!("flood-{at}"), "method": "tools/call", "params": params});
            if writeln!(input, "{line}").is_err() {
                break;
            }
        }
        input
    });
    let mut answered = 0;
    while answered < 3_000 {
        let answer = wire.next();
        let is_one = answer["id"].as_str().is_some_and(|id| id.starts_with("flood-"));
        answered += usize::from(is_one);
    }
    wire.input = Some(writer.join().expect("it does not panic"));
    wire.works("after");
    assert!(wire.memory() < 500, "{} MiB", wire.memory());
    wire.end();
}

#[test]
fn ten_thousand_calls_at_once_are_all_answered() {
    let mut wire = Wire::new();
    let mut input = wire.input.take().expect("it is open");
    let writer = std::thread::spawn(move || {
        for at in 0..10_000 {
            let params = json!({"name": "say", "arguments": {"text": at.to_string()}});
            let line = json!({"jsonrpc": "2.0", "id": at.to_string(), "method": "tools/call", "params": params});
            writeln!(input, "{line}").expect("it is read");
        }
        input
    });
    for _ in 0..10_000 {
        let answer = wire.next();
        assert_eq!(answer["result"]["content"][0]["text"], answer["id"], "{answer}");
    }
    wire.input = Some(writer.join().expect("it does not panic"));
    assert!(wire.memory() < 500, "{} MiB", wire.memory());
    wire.end();
}

#[test]
fn an_argument_of_many_megabytes_is_refused_or_done() {
    let mut wire = Wire::new();
    for megabytes in [1, 8, 64] {
        let id = format!("giant-{megabytes}");
        wire.call(&id, "say", json!({"text": "x".repeat(megabytes << 20)}));
        let answer = wire.next();
        // A program's arguments have a bound of the system; of what is no message any more nobody knows the id.
        assert!(answer["id"] == id.as_str() || answer["id"].is_null(), "{}", answer["id"]);
        assert!(answer.get("error").is_some() || answer["result"]["isError"] == true, "{}", answer.to_string().len());
        wire.works(&format!("after-{megabytes}"));
    }
    wire.end();
}

#[test]
fn a_storm_of_cancellations_ends_what_runs() {
    let mut wire = Wire::new();
    let cancel = |id: &str| json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
    for at in 0..500 {
        let id = format!("nap-{at}");
        wire.call(&id, "nap", json!({}));
        // Before it started, while it starts, after it started; some twice, and some that never were.
        for id in [&id, &id, &format!("never-{at}")] {
            wire.send(cancel(id));
        }
    }
    wire.works("after");
    let mark = format!("FANOUT_TEST_MARK={}", wire.mark);
    until("only the gateway and its guard are left", || bearing(&mark) <= 2);
    wire.end();
}

#[test]
fn a_client_that_leaves_takes_its_calls_along() {
    let mut wire = Wire::new();
    for at in 0..20 {
        wire.call(&format!("nap-{at}"), "nap", json!({}));
    }
    wire.works("meanwhile");
    wire.end();
}
