//! Clients over HTTP: who may ask, sessions, single requests of the newer revision.
//! It does not know what calls do.

use crate::client::{Written, engine, toolbox};
use fanout::Engine;
use fanout_server::{Expose, Gateway};
use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A gateway that listens.
struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
    written: Written,
}

/// What came back.
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Served {
    async fn new(token: Option<&str>) -> Served {
        let written = Written::default();
        Served::of(engine(&written), written, token).await
    }

    async fn of(engine: Engine, written: Written, token: Option<&str>) -> Served {
        let gateway = Gateway::new(engine, Expose::All);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let token = token.map(str::to_owned);
        let serving = tokio::spawn(gateway.serve_http(listener, token, async { _ = stopped.await }));
        Served { address, stop, serving, written }
    }

    async fn end(self) -> Vec<String> {
        self.stop.send(()).expect("it still serves");
        self.serving.await.expect("no panic").expect("no error");
        self.written.lock().expect("no panic").clone()
    }

    async fn begin(&self, method: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        let mut text = format!("{method} /mcp HTTP/1.0\r\nContent-Length: {}\r\n", body.len());
        let host = self.address.to_string();
        let usual =
            [("Host", &*host), ("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")];
        let usual = usual.iter().filter(|(name, _)| !headers.iter().any(|(given, _)| given == name));
        for (name, value) in usual.chain(headers) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{text}\r\n{body}").as_bytes()).await.expect("it reads");
        stream
    }

    async fn ask(&self, method: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut stream = self.begin(method, headers, body).await;
        let mut bytes = Vec::new();
        tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes))
            .await
            .expect("in time")
            .expect("an answer");
        let text = String::from_utf8(bytes).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Reply { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// A request of the newer revision.
    async fn modern(&self, method: &str, mut params: Value, headers: &[(&str, &str)]) -> Reply {
        params["_meta"] = meta();
        let name = params["name"].as_str().map(str::to_owned);
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let mut all = vec![("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", method)];
        all.extend(name.as_deref().map(|name| ("Mcp-Name", name)));
        all.retain(|(name, _)| !headers.iter().any(|(given, _)| given == name));
        all.extend(headers);
        self.ask("POST", &all, &body).await
    }
}

fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

fn greeting() -> String {
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}});
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).to_string()
}

#[tokio::test]
async fn only_who_has_the_token_may_ask_and_no_page_of_somebody_else() {
    let served = Served::new(Some("a token of the test")).await;
    let right = ("Authorization", "Bearer a token of the test");
    let port = served.address.port();
    let (local, evil) = (format!("localhost:{port}"), format!("evil.example:{port}"));
    let origin = format!("http://localhost:{port}");
    let cases: &[(&[(&str, &str)], u16)] = &[
        (&[], 401),
        (&[("Authorization", "Bearer another token..")], 401),
        (&[("Authorization", "Bearer a token of the tes")], 401),
        (&[right], 200),
        (&[right, ("Host", &local)], 200),
        (&[right, ("Host", &evil)], 403),
        (&[right, ("Origin", "https://evil.example")], 403),
        (&[right, ("Origin", "null")], 403),
        (&[right, ("Origin", &origin)], 200),
        (&[right, ("Content-Type", "text/plain")], 415),
        (&[right, ("Accept", "application/json")], 406),
    ];
    for (headers, status) in cases {
        assert_eq!(served.ask("POST", headers, &greeting()).await.status, *status, "{headers:?}");
    }
    served.end().await;
}

#[tokio::test]
async fn a_session_begins_with_a_greeting_and_ends_when_it_is_told_to() {
    let served = Served::new(None).await;
    let reply = served.ask("POST", &[], &greeting()).await;
    let id = reply.head.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).expect("an id").to_owned();
    assert_eq!(reply.json()["result"]["protocolVersion"], "2025-11-25");
    let list = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#;
    assert_eq!(served.ask("POST", &[], list).await.status, 400);
    assert_eq!(served.ask("POST", &[("Mcp-Session-Id", "another")], list).await.status, 404);
    assert_eq!(
        served.ask("POST", &[("Mcp-Session-Id", &id), ("MCP-Protocol-Version", "1999")], list).await.status,
        400
    );
    let session = [("Mcp-Session-Id", &*id)];
    assert!(served.ask("POST", &session, list).await.json()["result"]["tools"].is_array());
    let told = served.ask("POST", &session, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    assert_eq!((told.status, &*told.body), (202, ""));
    assert_eq!(served.ask("PUT", &session, "").await.status, 405);
    // What runs ends with the session.
    let slow = r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"box.put","arguments":{"key":"a","value":"x","ms":600000}}}"#;
    let running = served.begin("POST", &session, slow).await;
    let wait = r#"{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"box.wait","arguments":{}}}"#;
    assert_eq!(served.ask("POST", &session, wait).await.json()["result"]["content"][0]["text"], "waited");
    assert_eq!(served.ask("DELETE", &session, "").await.status, 204);
    assert_eq!(served.ask("POST", &session, list).await.status, 404);
    drop(running);
    assert!(served.end().await.is_empty());
}

/// Time goes on by itself when nothing else does.
#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_goes_on_is_closed_and_a_stream_stays() {
    let served = Served::new(Some("a token of the test")).await;
    for begun in ["", "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "] {
        let mut stream = TcpStream::connect(served.address).await.expect("it listens");
        stream.write_all(begun.as_bytes()).await.expect("it reads");
        let closed = tokio::time::timeout(Duration::from_secs(300), stream.read_to_end(&mut Vec::new())).await;
        assert!(closed.is_ok(), "after {begun:?}");
    }
    let right = ("Authorization", "Bearer a token of the test");
    let reply = served.ask("POST", &[right], &greeting()).await;
    let id = reply.head.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).expect("an id").to_owned();
    let mut stream = served.begin("GET", &[right, ("Mcp-Session-Id", &id)], "").await;
    let mut piece = [0; 1_024];
    let began = tokio::time::Instant::now();
    while began.elapsed() < Duration::from_secs(600) {
        assert_ne!(stream.read(&mut piece).await.expect("it stays"), 0, "after {:?}", began.elapsed());
    }
    drop(stream);
    served.end().await;
}

#[tokio::test]
async fn sessions_that_were_left_make_room_for_others_and_those_at_work_do_not() {
    let served = Served::new(None).await;
    let begin = async || {
        let reply = served.ask("POST", &[], &greeting()).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.head.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).expect("an id").to_owned()
    };
    let (busy, left, used) = (begin().await, begin().await, begin().await);
    let slow = r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"box.put","arguments":{"key":"a","value":"x","ms":600000}}}"#;
    let running = served.begin("POST", &[("Mcp-Session-Id", &busy)], slow).await;
    let list = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#;
    let status = async |id: &str| served.ask("POST", &[("Mcp-Session-Id", id)], list).await.status;
    assert_eq!((status(&busy).await, status(&used).await), (200, 200));
    for _ in 0..998 {
        begin().await;
    }
    assert_eq!((status(&left).await, status(&busy).await, status(&used).await), (404, 200, 200));
    drop(running);
    served.end().await;
}

#[tokio::test]
async fn the_newer_revision_needs_no_session_and_says_everything_twice() {
    let served = Served::new(None).await;
    let put = json!({"name": "box.put", "arguments": {"key": "a", "value": "x"}});
    let reply = served.modern("tools/call", put.clone(), &[]).await;
    assert_eq!((reply.status, &reply.json()["result"]["structuredContent"]), (200, &json!({"put": "x"})));
    let code = |reply: &Reply| (reply.status, reply.json()["error"]["code"].as_i64().unwrap_or_default());
    for (name, value) in [
        ("MCP-Protocol-Version", "2025-11-25"),
        ("MCP-Protocol-Version", "2099-01-01"),
        ("Mcp-Method", "tools/list"),
        ("Mcp-Name", "box.get"),
    ] {
        let reply = served.modern("tools/call", put.clone(), &[(name, value)]).await;
        assert_eq!((code(&reply), &reply.json()["id"]), ((400, -32_020), &json!(1)), "{name}");
    }
    for method in ["initialize", "ping", "nonsense"] {
        assert_eq!(code(&served.modern(method, json!({}), &[]).await), (404, -32_601), "{method}");
    }
    let headers = [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/list")];
    let bare = served.ask("POST", &headers, r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{}}"#).await;
    assert_eq!((code(&bare), &bare.json()["id"]), ((400, -32_602), &json!(7)));
    let unknown = served
        .ask(
            "POST",
            &[("MCP-Protocol-Version", "2099-01-01")],
            &json!({"jsonrpc": "2.0", "id": 1,
        "method": "tools/list", "params": {"_meta": {"io.modelcontextprotocol/protocolVersion": "2099-01-01",
        "io.modelcontextprotocol/clientCapabilities": {}}}})
            .to_string(),
        )
        .await;
    assert_eq!((code(&unknown), &unknown.json()["error"]["data"]["requested"]), ((400, -32_022), &json!("2099-01-01")));
    assert_eq!(served.ask("GET", &[], "").await.status, 405);
    assert_eq!(served.end().await, ["a=x"]);
}

/// Names and values.
type Headers = &'static [(&'static str, &'static str)];

/// Arguments that a tool wants in headers too, for what stands between and reads no bodies.
#[tokio::test]
async fn arguments_that_are_wanted_in_headers_agree_with_them() {
    let written = Written::default();
    let mut tools = toolbox(&written);
    let schema = &mut tools.spec.tools.iter_mut().find(|tool| &*tool.name == "box.put").expect("there").args_schema;
    for (argument, header) in [("key", "Key"), ("ms", "Wait")] {
        schema["properties"][argument]["x-mcp-header"] = header.into();
    }
    schema["properties"]["more"] =
        json!({"type": "object", "properties": {"in": {"type": "boolean", "x-mcp-header": "Inside"}}});
    let engine = Engine::builder().toolbox(tools).build().expect("a good toolbox");
    let served = Served::of(engine, written, None).await;
    let put = |more: Value| {
        let mut arguments = json!({"key": "a", "value": "x"});
        more.as_object().expect("an object").iter().for_each(|(name, value)| arguments[name] = value.clone());
        json!({"name": "box.put", "arguments": arguments})
    };
    const KEY: (&str, &str) = ("Mcp-Param-Key", "a");
    const WAIT: (&str, &str) = ("Mcp-Param-Wait", "1");
    let cases: [(Value, Headers, u16); 10] = [
        (json!({}), &[KEY], 200),
        (json!({"ms": 1}), &[KEY, WAIT], 200),
        (json!({"more": {"in": true}}), &[KEY, ("Mcp-Param-Inside", "true")], 200),
        (json!({"key": "ä"}), &[("Mcp-Param-Key", "=?base64?w6Q=?=")], 200),
        (json!({}), &[], 400),
        (json!({}), &[("Mcp-Param-Key", "b")], 400),
        (json!({}), &[("Mcp-Param-Key", "=?base64?****?=")], 400),
        (json!({}), &[KEY, WAIT], 400),
        (json!({"ms": 1}), &[KEY], 400),
        (json!({"more": {"in": true}}), &[KEY, ("Mcp-Param-Inside", "false")], 400),
    ];
    for (more, headers, status) in cases {
        let reply = served.modern("tools/call", put(more.clone()), headers).await;
        assert_eq!(reply.status, status, "{more} {headers:?}: {}", reply.body);
        if status == 400 {
            let error = &reply.json()["error"];
            assert!(
                error["code"] == -32_020 && error["message"].as_str().is_some_and(|said| said.contains("Mcp-Param-"))
            );
        }
    }
    let listed = served.modern("tools/list", json!({}), &[]).await.json();
    let tools = listed["result"]["tools"].as_array().expect("a list");
    let put = tools.iter().find(|tool| tool["name"] == "box.put").expect("it is listed");
    assert_eq!(put["inputSchema"]["properties"]["key"]["x-mcp-header"], "Key");
    assert_eq!(served.end().await.len(), 4, "only the right ones took effect");
}

#[tokio::test]
async fn a_request_of_the_newer_revision_ends_with_its_connection() {
    let served = Served::new(None).await;
    let params = |value: &str, ms: u64| json!({"name": "box.put", "arguments": {"key": "a", "value": value, "ms": ms}, "_meta": meta()});
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params("slow", 600_000)}).to_string();
    let headers = [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", "box.put")];
    let slow = served.begin("POST", &headers, &body).await;
    {
        let behind = served.modern("tools/call", params("behind", 0), &[]);
        tokio::pin!(behind);
        // It stands behind the slow one, of which nobody wants the answer any more.
        assert!(tokio::time::timeout(Duration::from_millis(300), &mut behind).await.is_err());
        drop(slow);
        assert_eq!(behind.await.status, 200);
    }
    assert_eq!(served.end().await, ["a=behind"]);
}

#[tokio::test]
async fn the_official_client_calls_over_http() {
    let served = Served::new(None).await;
    let url = format!("http://{}/mcp", served.address);
    // Its HTTP library wants one, also for plain HTTP. Fails where there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let transport = rmcp::transport::StreamableHttpClientTransport::from_uri(url);
    let client = ().serve(transport).await.expect("greeted");
    let mut call = CallToolRequestParams::new("box.put");
    call.arguments = json!({"key": "a", "value": "x"}).as_object().cloned();
    let result = client.call_tool(call).await.expect("called");
    assert_eq!(result.structured_content, Some(json!({"put": "x"})));
    client.cancel().await.expect("closed");
    served.end().await;
}
