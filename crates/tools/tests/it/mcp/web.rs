//! Servers at a URL: every kind of answer, what is lost, what is too much, and being let in.
//! It does not know programs that are servers.

use super::{Place, call, declared, value};
use crate::http::server::read_request;
use crate::world::eventually_async;
use fanout_plan::{McpSource, ToolSource, read_toolbox};
use fanout_tools::{Opener, ToolResult, Toolbox};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// How a server at a URL behaves.
#[derive(Clone, Copy, Default)]
struct Manner {
    /// Speaks 2026-07-28; else 2025-11-25, with a session.
    modern: bool,
    /// Answers as a stream of events.
    stream: bool,
    /// Wants a token.
    guarded: bool,
    /// The tool `wide` wants a token that allows more.
    scoped: bool,
}

/// A server at a URL, with an authorisation server beside it.
struct Web {
    manner: Manner,
    origin: String,
    /// What is asked for, by what.
    heard: Mutex<Vec<String>>,
    /// Tokens that were given, with their scopes.
    tokens: Mutex<Vec<(String, String)>>,
    codes: Mutex<Vec<(String, String)>>,
    revoked: Mutex<BTreeSet<String>>,
    given: AtomicU32,
}

/// A running server; it takes nobody any more when it is dropped.
struct Served {
    web: Arc<Web>,
    accepting: tokio::task::JoinHandle<()>,
}

impl std::ops::Deref for Served {
    type Target = Web;

    fn deref(&self) -> &Web {
        &self.web
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Web {
    async fn start(manner: Manner) -> Served {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let origin = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let web = Arc::new(Web {
            manner,
            origin,
            heard: Mutex::default(),
            tokens: Mutex::default(),
            codes: Mutex::default(),
            revoked: Mutex::default(),
            given: AtomicU32::new(0),
        });
        let own = Arc::clone(&web);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let web = Arc::clone(&own);
                tokio::spawn(async move { web.serve(stream).await });
            }
        });
        Served { web, accepting }
    }

    fn heard(&self, what: &str) -> usize {
        self.heard.lock().unwrap().iter().filter(|line| line.contains(what)).count()
    }

    async fn serve(&self, mut stream: TcpStream) {
        while let Some(request) = read_request(&mut stream).await {
            let (head, body) = request.split_once("\r\n\r\n").unwrap_or((&request, ""));
            let mut words = head.split(' ');
            let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let header = |name: &str| {
                let mut lines = head.lines().filter_map(|line| line.split_once(": "));
                lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
            };
            let answer = match path.split('?').next().unwrap_or_default() {
                "/mcp" if method == "POST" => self.mcp(body, header("authorization"), header("mcp-session-id")),
                "/mcp" => self.other(method),
                _ => self.authorisation(path, body),
            };
            let Some(answer) = answer else { return };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn other(&self, method: &str) -> Option<String> {
        self.heard.lock().unwrap().push(method.to_owned());
        Some(if method == "DELETE" { json_answer("200 OK", "", &json!({})) } else { status("405 Method Not Allowed") })
    }

    /// The scopes of a token that counts.
    fn scopes(&self, header: Option<String>) -> Option<String> {
        let token = header?.strip_prefix("Bearer ")?.to_owned();
        let tokens = self.tokens.lock().unwrap();
        let revoked = self.revoked.lock().unwrap();
        tokens.iter().find(|(own, _)| *own == token && !revoked.contains(own)).map(|(_, scopes)| scopes.clone())
    }

    fn mcp(&self, body: &str, authorization: Option<String>, session: Option<String>) -> Option<String> {
        let message: Value = serde_json::from_str(body).unwrap();
        let method = message["method"].as_str().unwrap_or_default().to_owned();
        let name = message["params"]["name"].as_str().unwrap_or_default().to_owned();
        self.heard.lock().unwrap().push(format!("{method} {name} {}", session.is_some()));
        let scopes = self.scopes(authorization);
        let metadata = format!("resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\"", self.origin);
        if self.manner.guarded && scopes.is_none() {
            return Some(format!(
                "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer {metadata}, scope=\"read\"\r\nContent-Length: 0\r\n\r\n"
            ));
        }
        if self.manner.scoped && name == "wide" && !scopes.is_some_and(|scopes| scopes.contains("write")) {
            return Some(format!(
                "HTTP/1.1 403 Forbidden\r\nWWW-Authenticate: Bearer error=\"insufficient_scope\", scope=\"write\", {metadata}\r\nContent-Length: 0\r\n\r\n"
            ));
        }
        let id = message.get("id").cloned();
        let Some(id) = id else { return Some(status("202 Accepted")) };
        let capabilities = json!({"tools": {}});
        let about = json!({"name": "web", "version": "1"});
        let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
        let names = ["echo", "wide", "drop", "busy", "big", "told", "refused"];
        let result = match (method.as_str(), name.as_str()) {
            ("server/discover", _) if self.manner.modern => json!({
                "supportedVersions": ["2026-07-28"], "capabilities": capabilities, "resultType": "complete", "ttlMs": 0,
                "cacheScope": "private", "_meta": {"io.modelcontextprotocol/serverInfo": about},
            }),
            ("server/discover", _) => return Some(status("404 Not Found")),
            ("initialize", _) if !self.manner.modern => {
                let result =
                    json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": about});
                let message = json!({"jsonrpc": "2.0", "id": id, "result": result});
                return Some(json_answer("200 OK", "Mcp-Session-Id: s1\r\n", &message));
            }
            ("tools/list", _) => json!({"tools": names.map(tool)}),
            (_, "drop") => return None,
            (_, "busy") => return Some(json_answer("503 Service Unavailable", "Retry-After: 7\r\n", &json!("later"))),
            (_, "big") => json!({"content": [{"type": "text", "text": "x".repeat(3 << 20)}]}),
            (_, "refused") => {
                let error = json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32_602, "message": "no"}});
                return Some(json_answer("400 Bad Request", "", &error));
            }
            _ => json!({"content": [{"type": "text", "text": message["params"]["arguments"]["text"]}]}),
        };
        let answer = json!({"jsonrpc": "2.0", "id": id, "result": result});
        if !self.manner.stream {
            return Some(json_answer("200 OK", "", &answer));
        }
        let token = &message["params"]["_meta"]["progressToken"];
        let told = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": 1}});
        let events = format!(": hello\r\n\r\ndata: {told}\r\n\r\nevent: message\r\ndata: {answer}\r\n\r\n");
        Some(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {}\r\n\r\n{events}",
            events.len()
        ))
    }

    /// The authorisation server.
    fn authorisation(&self, path: &str, body: &str) -> Option<String> {
        self.heard.lock().unwrap().push(path.split('?').next().unwrap_or_default().to_owned());
        let origin = &self.origin;
        let field = |text: &str, name: &str| {
            let url = reqwest::Url::parse(&format!("http://x/?{text}")).unwrap();
            url.query_pairs().find(|(own, _)| own == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
        };
        let (place, query) = path.split_once('?').unwrap_or((path, ""));
        Some(match place {
            "/.well-known/oauth-protected-resource/mcp" => json_answer(
                "200 OK",
                "",
                &json!({
                    "resource": format!("{origin}/mcp"), "authorization_servers": [origin], "scopes_supported": ["read", "write"],
                }),
            ),
            "/.well-known/oauth-authorization-server" => json_answer(
                "200 OK",
                "",
                &json!({
                    "issuer": origin, "authorization_endpoint": format!("{origin}/authorize"),
                    "token_endpoint": format!("{origin}/token"), "registration_endpoint": format!("{origin}/register"),
                    "response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"],
                    "token_endpoint_auth_methods_supported": ["none"], "authorization_response_iss_parameter_supported": true,
                }),
            ),
            "/register" => {
                let asked: Value = serde_json::from_str(body).unwrap();
                let client = json!({"client_id": "registered", "redirect_uris": asked["redirect_uris"]});
                json_answer("201 Created", "", &client)
            }
            "/authorize" => {
                assert!(!field(query, "code_challenge").is_empty() && field(query, "code_challenge_method") == "S256");
                let code = format!("code{}", self.given.fetch_add(1, Ordering::SeqCst));
                self.codes.lock().unwrap().push((code.clone(), field(query, "scope")));
                let mut back = reqwest::Url::parse(&field(query, "redirect_uri")).unwrap();
                back.query_pairs_mut()
                    .append_pair("code", &code)
                    .append_pair("state", &field(query, "state"))
                    .append_pair("iss", origin);
                format!("HTTP/1.1 302 Found\r\nLocation: {back}\r\nContent-Length: 0\r\n\r\n")
            }
            "/token" => {
                let refresh = field(body, "grant_type") == "refresh_token";
                let codes = self.codes.lock().unwrap();
                let scope = codes.iter().find(|(code, _)| *code == field(body, "code")).map(|(_, scope)| scope.clone());
                let scope = if refresh { "read".to_owned() } else { scope.unwrap() };
                let token = format!("token{}", self.given.fetch_add(1, Ordering::SeqCst));
                self.tokens.lock().unwrap().push((token.clone(), scope.clone()));
                json_answer(
                    "200 OK",
                    "",
                    &json!({
                        "access_token": token, "token_type": "Bearer", "expires_in": 3600, "scope": scope, "refresh_token": "again",
                    }),
                )
            }
            _ => status("404 Not Found"),
        })
    }
}

fn status(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")
}

fn json_answer(status: &str, headers: &str, value: &Value) -> String {
    let body = value.to_string();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn source(web: &Web, more: &str) -> McpSource {
    let text = format!("[toolbox.box]\nmcp = {{ url = '{}/mcp', proxies = false{more} }}", web.origin);
    match read_toolbox("fanout.toml", text.as_bytes()).unwrap().remove(0).source {
        Some(ToolSource::Mcp(source)) => *source,
        _ => unreachable!(),
    }
}

async fn open(opener: &Opener, web: &Web) -> Result<Toolbox, Vec<fanout_plan::Diagnostic>> {
    opener.open(declared("box", source(web, ""))).await
}

fn ended(result: ToolResult) -> String {
    match result {
        Ok(output) => output.value.get().to_owned(),
        Err(error) => format!("{} {:?} {:?} {:?}", error.code, error.class, error.reached, error.retry_after),
    }
}

#[test]
fn servers_of_every_kind_are_spoken_to() {
    crate::world::alone(|_| async {
        for (modern, stream) in [(false, false), (false, true), (true, false), (true, true)] {
            let place = Place::new();
            let web = Web::start(Manner { modern, stream, ..Manner::default() }).await;
            let toolbox = open(&place.opener, &web).await.unwrap();
            assert_eq!(toolbox.spec.tools.len(), 7);
            assert_eq!(value(&toolbox, "echo", json!({"text": "hello"})).await, "hello");
            assert_eq!(value(&toolbox, "big", json!({})).await["spilled"]["bytes"], 3 << 20);
            assert_eq!(ended(call(&toolbox, "refused", json!({})).await), "mcp_error Permanent No None");
            assert_eq!(ended(call(&toolbox, "busy", json!({})).await), "http_status Transient Yes Some(7s)");
            assert_eq!(ended(call(&toolbox, "drop", json!({})).await), "http_lost Transient Unknown None");
            assert_eq!(
                value(&toolbox, "echo", json!({"text": "again"})).await,
                "again",
                "the others are not lost with it"
            );
            assert_eq!(web.heard("tools/call echo true"), if modern { 0 } else { 2 }, "in a session");
            drop(toolbox);
            place.opener.closed().await;
            eventually_async("the session is ended", || modern || web.heard("DELETE") == 1).await;
        }
    });
}

#[test]
fn requests_go_nowhere_else() {
    crate::world::alone(|_| async {
        let place = Place::new();
        let web = Web::start(Manner::default()).await;
        let mut elsewhere = source(&web, "");
        let fanout_plan::McpTransport::Http(endpoint) = &mut elsewhere.transport else { unreachable!() };
        endpoint.url = fanout_plan::McpText::literal("http://10.1.2.3/mcp");
        let refused = place.opener.open(declared("box", elsewhere)).await.err().unwrap();
        assert!(refused[0].code == "mcp_unreachable" && refused[0].message.contains("private"), "{refused:?}");
    });
}

#[test]
fn a_person_lets_fanout_in_once() {
    crate::world::alone(|_| async {
        let place = Place::new();
        let web = Web::start(Manner { modern: true, guarded: true, scoped: true, ..Manner::default() }).await;
        let tokens = place.dir.path().join("tokens");
        let alone = place.opener.clone().with_tokens(&tokens);
        let refused = open(&alone, &web).await.err().unwrap();
        assert!(refused[0].code == "mcp_login" && refused[0].message.contains("fanout tools login box"), "{refused:?}");
        // A browser that says yes.
        let asked = Arc::new(Mutex::new(Vec::new()));
        let shown = Arc::clone(&asked);
        let person = alone.clone().with_person(move |url| {
            shown.lock().unwrap().push(url.to_owned());
            let url = url.to_owned();
            tokio::spawn(async move { reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await });
        });
        let toolbox = open(&person, &web).await.unwrap();
        assert_eq!(value(&toolbox, "echo", json!({"text": "in"})).await, "in");
        assert_eq!(asked.lock().unwrap().len(), 1);
        // More is asked for when more is needed, and nothing is lost by that.
        assert_eq!(value(&toolbox, "wide", json!({"text": "wide"})).await, "wide");
        let urls = asked.lock().unwrap().clone();
        assert!(urls.len() == 2 && urls[1].contains("read") && urls[1].contains("write"), "{urls:?}");
        drop(toolbox);
        // Later nobody is needed: the token is there, and is refreshed when it does not count any more.
        let toolbox = open(&alone, &web).await.unwrap();
        assert_eq!(value(&toolbox, "echo", json!({"text": "still in"})).await, "still in");
        let all: Vec<String> = web.tokens.lock().unwrap().iter().map(|(token, _)| token.clone()).collect();
        web.revoked.lock().unwrap().extend(all);
        assert_eq!(value(&toolbox, "echo", json!({"text": "refreshed"})).await, "refreshed");
        assert_eq!(asked.lock().unwrap().len(), 2);
        let narrow = call(&toolbox, "wide", json!({})).await.unwrap_err();
        assert_eq!((narrow.code, asked.lock().unwrap().len()), ("mcp_login", 2));
        assert!(!format!("{narrow:?}").contains("token1"), "no token is told");
        drop(toolbox);
        alone.closed().await;
    });
}
