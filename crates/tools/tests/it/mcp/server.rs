//! A server on raw JSON lines with a behaviour per tool, most of them bad. A mode of this test binary.
//! It does not know the client: nothing of the library under test is used here.

use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

/// How the server behaves as a whole, from its environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manner {
    /// Speaks 2026-07-28 and nothing older.
    pub(crate) modern: bool,
    /// Handles one request after the other.
    pub(crate) serial: bool,
    /// What it does when it starts: `exit`, `hang`, `die_of_discover`, `newest_late`, or nothing special.
    pub(crate) start: String,
    /// A file to which effects are written.
    pub(crate) log: String,
    /// So many more tools, on pages of 7.
    pub(crate) extra: u64,
}

impl Manner {
    /// As variables of its environment.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let flag = |on: bool| if on { "1" } else { "0" }.to_owned();
        [
            ("TEST_MCP_MODERN", flag(self.modern)),
            ("TEST_MCP_SERIAL", flag(self.serial)),
            ("TEST_MCP_START", self.start.clone()),
            ("TEST_MCP_LOG", self.log.clone()),
            ("TEST_MCP_EXTRA", self.extra.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    fn read() -> Option<Manner> {
        let text = |name: &str| std::env::var(name).ok();
        Some(Manner {
            modern: text("TEST_MCP_MODERN")? == "1",
            serial: text("TEST_MCP_SERIAL")? == "1",
            start: text("TEST_MCP_START")?,
            log: text("TEST_MCP_LOG")?,
            extra: text("TEST_MCP_EXTRA")?.parse().ok()?,
        })
    }
}

/// Not a test: the server.
#[test]
#[ignore = "started by other tests as their server"]
fn server_program() {
    if let Some(manner) = Manner::read() {
        Server::new(manner).run();
    }
}

struct Server {
    manner: Manner,
    cancelled: Mutex<Vec<Value>>,
    told: Condvar,
    changed: AtomicBool,
    asked: AtomicU64,
    answers: Mutex<HashMap<u64, mpsc::Sender<Value>>>,
}

impl Server {
    fn new(manner: Manner) -> Arc<Server> {
        Arc::new(Server {
            manner,
            cancelled: Mutex::default(),
            told: Condvar::new(),
            changed: AtomicBool::new(false),
            asked: AtomicU64::new(1_000),
            answers: Mutex::default(),
        })
    }

    fn run(self: Arc<Server>) {
        eprintln!("the test server has started");
        match self.manner.start.as_str() {
            "exit" => {
                eprintln!("no licence was found");
                std::process::exit(7);
            }
            "hang" => loop {
                std::thread::park();
            },
            _ => {}
        }
        for line in std::io::stdin().lock().lines() {
            let Ok(message) = serde_json::from_str::<Value>(&line.unwrap()) else { continue };
            self.log(&format!("heard {}", message["method"].as_str().unwrap_or("an answer")));
            let Some(method) = message["method"].as_str().map(str::to_owned) else {
                let id = message["id"].as_u64().unwrap_or_default();
                if let Some(waiting) = self.answers.lock().unwrap().remove(&id) {
                    let _gone = waiting.send(message.get("result").cloned().unwrap_or(message["error"].clone()));
                }
                continue;
            };
            if method == "notifications/cancelled" {
                self.cancelled.lock().unwrap().push(message["params"]["requestId"].clone());
                self.told.notify_all();
                continue;
            }
            if message.get("id").is_none() {
                continue;
            }
            let server = Arc::clone(&self);
            let work = move || server.answer(&method, &message["id"], &message["params"]);
            if self.manner.serial {
                work();
            } else {
                std::thread::spawn(work);
            }
        }
        self.log("input closed");
        if self.manner.start == "stay" {
            loop {
                std::thread::park();
            }
        }
    }

    fn log(&self, text: &str) {
        if !self.manner.log.is_empty() {
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&self.manner.log).unwrap();
            file.write_all(format!("{text}\n").as_bytes()).unwrap();
        }
    }

    /// Whether this was asked of it or of one started before it.
    fn has_heard(&self, method: &str) -> bool {
        std::fs::read_to_string(&self.manner.log).unwrap_or_default().contains(&format!("heard {method}"))
    }

    fn answer(&self, method: &str, id: &Value, params: &Value) {
        let about = json!({"name": "test-server", "version": "1.2.3"});
        let capabilities = json!({"tools": {"listChanged": true}, "resources": {}});
        match method {
            // As one that was too slow to answer: the older greeting comes, and only then it is known what it speaks.
            "server/discover" if self.manner.start == "newest_late" && !self.has_heard("initialize") => {
                error(id, -32_601, "not yet");
            }
            "initialize" if self.manner.start == "newest_late" => error(id, -32_022, "only the newest"),
            "server/discover" if self.manner.modern => {
                let result = json!({
                    "supportedVersions": ["2026-07-28"], "capabilities": capabilities, "instructions": "Be kind.",
                    "_meta": {"io.modelcontextprotocol/serverInfo": about}, "resultType": "complete",
                    "ttlMs": 0, "cacheScope": "private",
                });
                send(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
            }
            "server/discover" if self.manner.start == "die_of_discover" => std::process::exit(3),
            "initialize" if !self.manner.modern => {
                let result = json!({
                    "protocolVersion": "2025-06-18", "capabilities": capabilities, "serverInfo": about,
                    "instructions": "Be kind.",
                });
                send(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
            }
            "tools/list" => send(&json!({"jsonrpc": "2.0", "id": id, "result": self.page(params)})),
            "tools/call" => {
                let empty = json!({});
                let args = params.get("arguments").unwrap_or(&empty);
                self.call(params["name"].as_str().unwrap_or_default(), id, args, params);
            }
            "resources/read" => {
                let contents = json!({"contents": [{"uri": params["uri"], "text": "read"}]});
                send(&json!({"jsonrpc": "2.0", "id": id, "result": contents}));
            }
            "subscriptions/listen" => {
                let meta = json!({"io.modelcontextprotocol/subscriptionId": id});
                let params = json!({"notifications": params["notifications"], "_meta": meta});
                tell("notifications/subscriptions/acknowledged", &params);
            }
            _ => error(id, -32_601, "no such method"),
        }
    }

    /// One page of the list of tools.
    fn page(&self, params: &Value) -> Value {
        let from: usize = params["cursor"].as_str().map_or(0, |cursor| cursor.parse().unwrap());
        let mut tools = known();
        tools.extend((0..self.manner.extra).map(|n| tool(&format!("extra_{n}"), json!({}))));
        if self.changed.load(Ordering::SeqCst) {
            tools.push(tool("new", json!({})));
        }
        let to = (from + 7).min(tools.len());
        let mut page = json!({"tools": tools[from..to]});
        if to < tools.len() {
            page["nextCursor"] = to.to_string().into();
        }
        page
    }

    fn call(&self, name: &str, id: &Value, args: &Value, params: &Value) {
        if !self.call_well(name, id, args, params)
            && !self.call_badly(name, id, args)
            && !self.call_asking(name, id, params)
        {
            error(id, -32_602, &format!("no tool {name}"));
        }
    }

    /// Tools that do what they should; false when it is none of them.
    fn call_well(&self, name: &str, id: &Value, args: &Value, params: &Value) -> bool {
        match name {
            // As JavaScript writes a text that it cut within a character.
            "echo" if args["text"] == "cut" => {
                let message = json!({"jsonrpc": "2.0", "id": id, "result": text("HALF")}).to_string();
                raw((message.replace("HALF", "\\ud83d") + "\n").as_bytes());
            }
            "echo" => result(id, text(args["text"].as_str().unwrap_or_default())),
            "env" => {
                let all: Map<String, Value> = std::env::vars().map(|(name, value)| (name, value.into())).collect();
                let said = json!({"pid": std::process::id(), "env": all, "cwd": std::env::current_dir().unwrap()});
                result(id, json!({"content": [], "structuredContent": said}));
            }
            "structured" => {
                let value = json!({"sum": 3, "list": [1, null]});
                result(
                    id,
                    json!({"content": [{"type": "text", "text": value.to_string()}], "structuredContent": value}),
                );
            }
            "blocks" => result(
                id,
                json!({"content": [
                    {"type": "text", "text": "a picture"},
                    {"type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png"},
                    {"type": "resource", "resource": {"uri": "test://a", "mimeType": "text/plain", "text": "inside"}},
                    {"type": "resource", "resource": {"uri": "test://b", "blob": "AAEC", "mimeType": "application/x"}},
                    {"type": "resource_link", "uri": "test://c", "name": "c"},
                ]}),
            ),
            "nothing" => result(id, json!({"content": []})),
            "fail" => result(id, json!({"content": [{"type": "text", "text": "out of paper"}], "isError": true})),
            "refuse" => error(id, args["code"].as_i64().unwrap(), "refused"),
            "effect" => {
                self.log("effect");
                result(id, text("done"));
            }
            "flood" => {
                let token = &params["_meta"]["progressToken"];
                for done in 0..args["count"].as_u64().unwrap() {
                    tell("notifications/progress", &json!({"progressToken": token, "progress": done, "total": 10}));
                }
                result(id, text("done"));
            }
            "log" => {
                tell("notifications/message", &json!({"level": "info", "data": "hello"}));
                result(id, text("done"));
            }
            "big" => result(id, text(&"x".repeat(usize::try_from(args["bytes"].as_u64().unwrap()).unwrap()))),
            "change" => {
                self.changed.store(true, Ordering::SeqCst);
                for _ in 0..5 {
                    tell("notifications/tools/list_changed", &json!({}));
                }
                result(id, text("changed"));
            }
            "slow" => {
                std::thread::sleep(Duration::from_millis(args["ms"].as_u64().unwrap()));
                result(id, text("slow"));
            }
            _ => return false,
        }
        true
    }

    /// Tools that behave badly; false when it is none of them.
    fn call_badly(&self, name: &str, id: &Value, args: &Value) -> bool {
        match name {
            "forbidden" => result(id, json!({"content": [], "structuredContent": {"sum": "three"}})),
            "hang" => self.log("hangs"),
            "die_before" => std::process::exit(9),
            "die_after" => {
                self.log("effect");
                eprintln!("a bug in line 1");
                std::process::exit(9);
            }
            "twice" => {
                result(id, text("first"));
                result(id, text("second"));
            }
            "late" => {
                self.log("late");
                let mut cancelled = self.cancelled.lock().unwrap();
                while !cancelled.contains(id) {
                    cancelled = self.told.wait(cancelled).unwrap();
                }
                drop(cancelled);
                self.log("cancelled");
                std::thread::sleep(Duration::from_millis(args["ms"].as_u64().unwrap_or(0)));
                result(id, text("late"));
            }
            "noise" => {
                raw(b"Debugger attached.\n{not json\n\n[1, 2\n\"text\"\n{\"jsonrpc\":\"2.0\",\"id\":99999,\"result\":{}}\n\xff\xfe\n");
                result(id, text("after the noise"));
            }
            "pieces" => {
                let line = json!({"jsonrpc": "2.0", "id": id, "result": text("whole")}).to_string() + "\n";
                for piece in line.as_bytes().chunks(5) {
                    raw(piece);
                    std::thread::yield_now();
                }
            }
            _ => return false,
        }
        true
    }

    /// Tools that ask; false when it is none of them.
    fn call_asking(&self, name: &str, id: &Value, params: &Value) -> bool {
        let asked = |state: &str| {
            let asked = json!({"name": {"method": "elicitation/create", "params": question()}});
            json!({"resultType": "input_required", "requestState": state, "inputRequests": asked})
        };
        match name {
            "ask" if self.manner.modern => match params.get("inputResponses") {
                None => result(id, asked("s1")),
                Some(answers) => {
                    assert_eq!(params["requestState"], "s1");
                    result(id, text(&answers["name"].to_string()));
                }
            },
            "ask" => result(id, text(&self.ask("elicitation/create", &question()).to_string())),
            "ask_on" => result(id, asked("again")),
            "sample" => {
                let message = json!({"role": "user", "content": {"type": "text", "text": "?"}});
                let params = json!({"messages": [message], "maxTokens": 5});
                result(id, text(&self.ask("sampling/createMessage", &params).to_string()));
            }
            "roots" => result(id, text(&self.ask("roots/list", &json!({})).to_string())),
            "ping" => result(id, text(&self.ask("ping", &json!({})).to_string())),
            _ => return false,
        }
        true
    }

    fn ask(&self, method: &str, params: &Value) -> Value {
        let id = self.asked.fetch_add(1, Ordering::SeqCst);
        let (tell, answer) = mpsc::channel();
        self.answers.lock().unwrap().insert(id, tell);
        send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        answer.recv_timeout(Duration::from_secs(30)).unwrap()
    }
}

fn question() -> Value {
    json!({"message": "Your name?", "mode": "form", "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}})
}

/// The tools there are.
fn known() -> Vec<Value> {
    let any = json!({});
    let sum = json!({"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]});
    let mut tools: Vec<Value> = [
        "env",
        "blocks",
        "nothing",
        "fail",
        "refuse",
        "hang",
        "die_before",
        "die_after",
        "effect",
        "twice",
        "late",
        "flood",
        "log",
        "big",
        "change",
        "slow",
        "noise",
        "pieces",
        "ask",
        "ask_on",
        "sample",
        "roots",
        "ping",
    ]
    .iter()
    .map(|name| tool(name, any.clone()))
    .collect();
    tools.push(tool("echo", json!({
        "description": "Says it again.", "annotations": {"readOnlyHint": true, "destructiveHint": true, "openWorldHint": false},
        "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    })));
    tools.push(tool(
        "structured",
        json!({"outputSchema": sum, "annotations": {"idempotentHint": true, "destructiveHint": true}}),
    ));
    tools.push(tool("forbidden", json!({"outputSchema": sum, "title": "Breaks its word"})));
    tools.push(tool("bad name!", any.clone()));
    tools.push(tool("bad_name_", any.clone()));
    tools.push(tool("bad_schema", json!({"inputSchema": {"type": "nonsense"}})));
    tools.push(tool(
        "far_schema",
        json!({"inputSchema": {"type": "object", "properties": {"x": {"$ref": "https://x.test/s"}}}}),
    ));
    tools.push(json!({"name": "no_schema"}));
    tools.push(json!({"title": "no name"}));
    tools
}

fn tool(name: &str, said: Value) -> Value {
    let mut tool = json!({"name": name, "inputSchema": {"type": "object"}});
    for (name, value) in said.as_object().unwrap() {
        tool[name] = value.clone();
    }
    tool
}

fn text(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

fn result(id: &Value, value: Value) {
    send(&json!({"jsonrpc": "2.0", "id": id, "result": value}));
}

fn error(id: &Value, code: i64, message: &str) {
    send(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message, "data": {"why": 1}}}));
}

fn tell(method: &str, params: &Value) {
    send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
}

fn send(message: &Value) {
    raw((message.to_string() + "\n").as_bytes());
}

fn raw(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    // A client that is gone hears nothing.
    let _gone = out.write_all(bytes).and_then(|()| out.flush());
}
