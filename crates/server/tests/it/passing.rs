//! What is no tool: resources and prompts of the servers behind, and what they tell.
//! It does not know which server they are of.

use crate::client::{Client, text_of};
use fanout::{AnswerFuture, Engine, JsonText, Live, Native, Peer, PeerRequest, Remote, ToolError, Toolbox};
use fanout_server::{Expose, Gateway};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc};

/// A server with a resource and a prompt.
struct Behind {
    name: &'static str,
    notices: broadcast::Sender<PeerRequest>,
}

fn text(value: &Value) -> JsonText {
    serde_json::value::to_raw_value(value).expect("JSON").into()
}

impl Remote for Behind {
    fn introduction(&self) -> JsonText {
        text(&json!({"capabilities": {"resources": {"subscribe": true, "listChanged": true}, "prompts": {}}}))
    }

    fn request(&self, request: PeerRequest, peer: Option<Arc<dyn Peer>>) -> AnswerFuture {
        let params: Value = serde_json::from_str(request.params.get()).expect("JSON");
        let uri = format!("{}://one", self.name);
        let answer = match &*request.method {
            "resources/list" if params["cursor"] == "2" => {
                json!({"resources": [{"uri": format!("{}://two", self.name), "name": "two"}]})
            }
            "resources/list" => json!({"resources": [{"uri": uri, "name": "one", "more": [1]}], "nextCursor": "2"}),
            "resources/read" if params["uri"] == *uri => json!({"contents": [{"uri": uri, "text": self.name}]}),
            "prompts/list" => json!({"prompts": [{"name": "hello"}]}),
            "prompts/get" => json!({"messages": [], "got": params["name"], "answers": params["inputResponses"]}),
            "resources/subscribe" => json!({}),
            _ => {
                let whole =
                    text(&json!({"code": -32_602, "message": "Resource not found", "data": {"uri": params["uri"]}}));
                return Box::pin(async { Err(ToolError::permanent("no").whole(whole)) });
            }
        };
        assert!(peer.is_some() && params["_meta"].is_null(), "{params}");
        Box::pin(async move { Ok(text(&answer)) })
    }

    fn notices(&self) -> broadcast::Receiver<PeerRequest> {
        self.notices.subscribe()
    }
}

type Notices = broadcast::Sender<PeerRequest>;
type Updates = mpsc::Sender<Toolbox>;

fn toolbox(name: &'static str, tool: &str) -> (Toolbox, Notices, Updates) {
    let mut native = Native::new(name);
    native.add(tool, "Does nothing.", |_: Value| async { Ok(()) }).effects_none();
    let mut toolbox = Toolbox::from(native);
    let (notices, _) = broadcast::channel(8);
    let (updates, updated) = mpsc::channel(1);
    let server = Arc::new(Behind { name, notices: notices.clone() });
    toolbox.live = Some(Live { server, updates: updated });
    (toolbox, notices, updates)
}

/// A client of a gateway before these servers.
fn before(names: &[&'static str]) -> (Client, Vec<(Notices, Updates)>) {
    let mut builder = Engine::builder();
    let mut told = Vec::new();
    for name in names {
        let (toolbox, notices, updates) = toolbox(name, "nothing");
        builder = builder.toolbox(toolbox);
        told.push((notices, updates));
    }
    let engine = builder.build().expect("good toolboxes");
    (Client::of(Gateway::new(engine, Expose::All)), told)
}

async fn ask(client: &mut Client, method: &str, params: Value) -> Value {
    client.send(json!({"jsonrpc": "2.0", "id": 9, "method": method, "params": params})).await;
    client.next().await
}

#[tokio::test]
async fn one_server_is_handed_on_as_it_is() {
    let (mut client, _told) = before(&["a"]);
    client.greet(json!({})).await;
    let listed = ask(&mut client, "resources/list", json!({})).await;
    let expected = json!({"resources": [{"uri": "a://one", "name": "one", "more": [1]}], "nextCursor": "2"});
    assert_eq!(listed["result"], expected);
    let got = ask(&mut client, "prompts/get", json!({"name": "hello"})).await;
    assert_eq!(got["result"]["got"], "hello");
    let refused = ask(&mut client, "resources/read", json!({"uri": "x://y"})).await;
    assert_eq!(refused["error"], json!({"code": -32_602, "message": "Resource not found", "data": {"uri": "x://y"}}));
    assert!(text_of(&ask(&mut client, "completion/complete", json!({})).await).starts_with("-32601"));
    client.leave().await;
}

#[tokio::test]
async fn several_servers_are_told_apart_by_names_and_uris() {
    let (mut client, _told) = before(&["a", "b"]);
    client.greet(json!({})).await;
    let listed = ask(&mut client, "resources/list", json!({})).await;
    let uris: Vec<_> =
        listed["result"]["resources"].as_array().expect("a list").iter().map(|one| &one["uri"]).collect();
    assert_eq!(uris, ["a://one", "a://two", "b://one", "b://two"]);
    let read = ask(&mut client, "resources/read", json!({"uri": "b://one"})).await;
    assert_eq!(read["result"]["contents"][0]["text"], "b");
    let prompts = ask(&mut client, "prompts/list", json!({})).await;
    assert_eq!(prompts["result"]["prompts"], json!([{"name": "a.hello"}, {"name": "b.hello"}]));
    assert_eq!(ask(&mut client, "prompts/get", json!({"name": "b.hello"})).await["result"]["got"], "hello");
    assert!(text_of(&ask(&mut client, "prompts/get", json!({"name": "hello"})).await).contains("one of: a, b"));
    client.leave().await;
}

#[tokio::test]
async fn a_session_hears_what_changes_and_what_it_subscribed_to() {
    let (mut client, told) = before(&["a"]);
    client.greet(json!({})).await;
    assert_eq!(ask(&mut client, "resources/subscribe", json!({"uri": "a://one"})).await["result"], json!({}));
    let updated = |uri: &str| PeerRequest {
        method: "notifications/resources/updated".into(),
        params: text(&json!({"uri": uri})),
    };
    assert!(told[0].0.send(updated("a://two")).is_ok());
    assert!(told[0].0.send(updated("a://one")).is_ok());
    let heard = client.next().await;
    assert_eq!(
        (&heard["method"], &heard["params"]["uri"]),
        (&json!("notifications/resources/updated"), &json!("a://one"))
    );
    let (mut changed, ..) = toolbox("a", "something");
    changed.live = None;
    assert!(told[0].1.send(changed).await.is_ok());
    assert_eq!(client.next().await["method"], "notifications/tools/list_changed");
    let tools = ask(&mut client, "tools/list", json!({})).await;
    assert!(tools["result"]["tools"].as_array().expect("a list").iter().any(|tool| tool["name"] == "a.something"));
    client.leave().await;
}

#[tokio::test]
async fn a_client_of_the_newer_revision_listens_to_what_it_names() {
    let (mut client, told) = before(&["a"]);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let filter = json!({"toolsListChanged": true, "promptsListChanged": true});
    client
        .send(json!({"jsonrpc": "2.0", "id": "l", "method": "subscriptions/listen",
        "params": {"notifications": filter, "_meta": meta}}))
        .await;
    let acknowledged = client.next().await;
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
    // The prompts of the server behind do not change.
    assert_eq!(acknowledged["params"]["notifications"], json!({"toolsListChanged": true}));
    let (mut changed, ..) = toolbox("a", "something");
    changed.live = None;
    assert!(told[0].1.send(changed).await.is_ok());
    let heard = client.next().await;
    assert_eq!(heard["method"], "notifications/tools/list_changed");
    assert_eq!(heard["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "l");
    let params = json!({"name": "hello", "inputResponses": {"x": 1}, "_meta": meta});
    let got = ask(&mut client, "prompts/get", params).await;
    assert_eq!((&got["result"]["answers"], &got["result"]["resultType"]), (&json!({"x": 1}), &json!("complete")));
    let listed = ask(&mut client, "resources/list", json!({"_meta": meta})).await;
    assert_eq!((&listed["result"]["ttlMs"], &listed["result"]["cacheScope"]), (&json!(0), &json!("private")));
    client.leave().await;
}
