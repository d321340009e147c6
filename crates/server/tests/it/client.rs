//! A client in memory that writes lines and reads lines, and the tools it calls.
//! It does not know what is tested.

use fanout::{Approval, Engine, Native, ToolError, Toolbox};
use fanout_server::{Expose, Gateway};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf};
use tokio::task::JoinHandle;

/// What tools wrote, in the order in which they did.
pub(crate) type Written = Arc<Mutex<Vec<String>>>;

/// A client and the gateway it talks to.
pub(crate) struct Client {
    pub(crate) write: Option<WriteHalf<DuplexStream>>,
    pub(crate) lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    pub(crate) served: JoinHandle<std::io::Result<()>>,
    pub(crate) written: Written,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Put {
    key: String,
    value: String,
    #[serde(default)]
    ms: u64,
}

/// An engine with the usual tools.
pub(crate) fn engine(written: &Written) -> Engine {
    Engine::builder().toolbox(toolbox(written)).build().expect("a good toolbox")
}

/// The usual tools.
pub(crate) fn toolbox(written: &Written) -> Toolbox {
    let mut tools = Native::new("box");
    let put = {
        let written = written.clone();
        move |args: Put| {
            let written = written.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(args.ms)).await;
                written.lock().expect("no panic").push(format!("{}={}", args.key, args.value));
                Ok(json!({"put": args.value}))
            }
        }
    };
    tools.add("put", "Writes a key.", put.clone()).writes("db:${args.key}");
    tools.add("remove", "The same, destructive.", put).writes("db:${args.key}").destructive();
    let wait = |args: BTreeMap<String, u64>| async move {
        tokio::time::sleep(Duration::from_millis(args.get("ms").copied().unwrap_or(0))).await;
        Ok("waited")
    };
    tools.add("wait", "Waits.", wait).effects_none();
    let fail = |_: BTreeMap<String, u64>| async { Err::<(), _>(ToolError::permanent("it is broken")) };
    tools.add("fail", "Fails.", fail).effects_none();
    let mut tools = Toolbox::from(tools);
    for tool in tools.spec.tools.iter_mut().filter(|tool| &*tool.name == "box.remove") {
        tool.settings.approval = Some(Approval::Destructive);
    }
    tools
}

impl Client {
    /// A client of a gateway with the usual tools, greeted with these capabilities.
    pub(crate) async fn greeted(capabilities: Value) -> Client {
        let mut client = Client::new(Expose::All);
        client.greet(capabilities).await;
        client
    }

    /// Is greeted, with these capabilities.
    pub(crate) async fn greet(&mut self, capabilities: Value) {
        let info = json!({"name": "t", "version": "0"});
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": info});
        self.send(json!({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": params})).await;
        assert_eq!(self.next().await["result"]["protocolVersion"], "2025-11-25");
        self.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    }

    /// A client of a gateway with the usual tools.
    pub(crate) fn new(expose: Expose) -> Client {
        let written = Written::default();
        let gateway = Gateway::new(engine(&written), expose);
        Client { written, ..Client::of(gateway) }
    }

    /// A client of this gateway.
    pub(crate) fn of(gateway: Arc<Gateway>) -> Client {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (read, write) = tokio::io::split(theirs);
        let served = tokio::spawn(gateway.serve(read, write, std::future::pending()));
        let (read, write) = tokio::io::split(ours);
        Client { write: Some(write), lines: BufReader::new(read).lines(), served, written: Written::default() }
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.send_text(&format!("{message}\n")).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.write.as_mut().expect("not closed").write_all(text.as_bytes()).await.expect("the gateway reads");
    }

    pub(crate) async fn call(&mut self, id: u64, tool: &str, args: Value) {
        self.send(calling(id, tool, args)).await;
    }

    /// The next message of the gateway.
    pub(crate) async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(Duration::from_secs(7_200), self.lines.next_line()).await;
        let line = line.expect("in time").expect("it can be read").expect("the gateway is there");
        serde_json::from_str(&line).expect("a message is JSON")
    }

    /// The text of the answer to each of these requests, in the order in which they came.
    pub(crate) async fn answers(&mut self, count: usize) -> Vec<(u64, String)> {
        let mut answers = Vec::new();
        while answers.len() < count {
            let message = self.next().await;
            let id = message["id"].as_u64().unwrap_or_else(|| panic!("no answer: {message}"));
            answers.push((id, text_of(&message)));
        }
        answers
    }

    /// The client goes, and the gateway ends.
    pub(crate) async fn leave(mut self) -> Vec<String> {
        self.write = None;
        drop(self.lines);
        self.served.await.expect("no panic").expect("no error");
        self.written.lock().expect("no panic").clone()
    }
}

pub(crate) fn calling(id: u64, tool: &str, args: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": args}})
}

/// The text of a result, or the code of an error.
pub(crate) fn text_of(message: &Value) -> String {
    match &message["error"] {
        Value::Null => message["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned(),
        error => format!("{} {}", error["code"], error["message"].as_str().unwrap_or_default()),
    }
}
