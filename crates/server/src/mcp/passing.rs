//! What is no tool (resources, prompts, completions) is handed to the server behind it, and its answer handed back.
//! It does not know what is in either: several servers are told apart by names and URIs.

use super::client::{Asker, Level};
use super::peer::RequestPeer;
use super::results;
use super::session::{Answering, Session};
use super::wire::{self, RpcError};
use fanout::{JsonText, Peer, PeerRequest, Remote, ToolError};
use rmcp::model::ErrorCode;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A server that is asked for more pages than this is not asked on.
const PAGES_MAX: usize = 100;
/// What is nobody's call has this long.
const REQUEST_MAX: Duration = Duration::from_secs(15 * 60);

/// The servers behind, by the names of their toolboxes.
pub(super) type Servers = BTreeMap<Arc<str>, Arc<dyn Remote>>;

/// A request for the servers behind.
struct Passing {
    servers: Servers,
    method: String,
    params: Map<String, Value>,
    peer: Arc<dyn Peer>,
    modern: bool,
}

/// Whether this is a method for the servers behind.
pub(super) fn is_passed(method: &str, modern: bool) -> bool {
    match method {
        "resources/list"
        | "resources/templates/list"
        | "resources/read"
        | "prompts/list"
        | "prompts/get"
        | "completion/complete" => true,
        "resources/subscribe" | "resources/unsubscribe" => !modern,
        _ => false,
    }
}

/// Hands a request on.
pub(super) fn pass(
    session: &Arc<Session>,
    number: u64,
    method: &str,
    params: Option<&JsonText>,
    asker: &Asker,
) -> Result<Answering, RpcError> {
    let mut params: Map<String, Value> = match params {
        None => Map::new(),
        Some(params) => serde_json::from_str(params.get()).map_err(|error| RpcError::params(error.to_string()))?,
    };
    // Who asks is told by the peer; the rest of it is between the client and this server.
    params.remove("_meta");
    let uri = params.get("uri").and_then(Value::as_str).map(str::to_owned);
    let peer = RequestPeer { session: Arc::downgrade(session), number, takes_rounds: asker.modern };
    let servers = session.gateway.engine.servers();
    let passing = Passing { servers, method: method.to_owned(), params, peer: Arc::new(peer), modern: asker.modern };
    let session = Arc::clone(session);
    Ok(Box::pin(async move {
        let method = passing.method.clone();
        let answer = tokio::time::timeout(REQUEST_MAX, passing.answer()).await;
        let answer = answer.unwrap_or_else(|_| {
            Err(RpcError::new(ErrorCode::INTERNAL_ERROR, "the server did not answer in 15 minutes"))
        });
        match (&*method, &answer, uri) {
            ("resources/subscribe", Ok(_), Some(uri)) => session.subscribe(uri),
            ("resources/unsubscribe", Ok(_), Some(uri)) => session.unsubscribe(&uri),
            _ => {}
        }
        answer
    }))
}

impl Passing {
    async fn answer(mut self) -> Result<JsonText, RpcError> {
        let listed = match &*self.method {
            "resources/list" => Some("resources"),
            "resources/templates/list" => Some("resourceTemplates"),
            "prompts/list" => Some("prompts"),
            _ => None,
        };
        let needed = match &*self.method {
            "prompts/list" | "prompts/get" => "prompts",
            "completion/complete" => "completions",
            _ => "resources",
        };
        self.servers.retain(|_, server| capability(server, needed).is_some());
        let several = self.servers.len() > 1;
        let answer = match (listed, several) {
            (_, false) => match self.servers.values().next() {
                Some(server) => self.request(server, self.params.clone()).await?,
                None => {
                    return listed.map_or_else(
                        || Err(RpcError::no_method(&self.method)),
                        |field| Ok(self.dated(wire::text(&json!({field: []})))),
                    );
                }
            },
            (Some(field), true) => wire::text(&json!({field: self.all(field).await?})),
            (None, true) => self.routed().await?,
        };
        Ok(self.dated(answer))
    }

    /// The answer as the revision of the client has it.
    fn dated(&self, answer: JsonText) -> JsonText {
        const CACHED: &[(&str, &str)] =
            &[("resultType", "\"complete\""), ("ttlMs", "0"), ("cacheScope", "\"private\"")];
        let cached = !matches!(&*self.method, "prompts/get" | "completion/complete");
        if self.modern && cached && !answer.get().contains("\"input_required\"") {
            return results::with_fields(&answer, CACHED, false);
        }
        results::dated(&answer, self.modern)
    }

    async fn request(&self, server: &Arc<dyn Remote>, params: Map<String, Value>) -> Result<JsonText, RpcError> {
        let request = PeerRequest { method: self.method.as_str().into(), params: wire::text(&params) };
        server.request(request, Some(self.peer.clone())).await.map_err(|error| rpc_error(&error))
    }

    /// What all servers list. One that cannot be asked leaves the others theirs.
    async fn all(&self, field: &str) -> Result<Vec<Value>, RpcError> {
        let pages = self.servers.iter().map(|(name, server)| self.list(name, server, field));
        let lists = futures_util::future::join_all(pages).await;
        if let Some(Err(error)) = lists.iter().find(|_| lists.iter().all(Result::is_err)) {
            return Err(error.clone());
        }
        Ok(lists.into_iter().flatten().flatten().collect())
    }

    async fn list(&self, name: &str, server: &Arc<dyn Remote>, field: &str) -> Result<Vec<Value>, RpcError> {
        let mut all = Vec::new();
        let mut params = Map::new();
        for _ in 0..PAGES_MAX {
            let page = self.request(server, params.clone()).await?;
            let mut page: Value = serde_json::from_str(page.get()).unwrap_or_default();
            let items = page.get_mut(field).and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
            all.extend(items.into_iter().map(|mut item| {
                if field == "prompts"
                    && let Some(own) = item.get("name").and_then(Value::as_str)
                {
                    item["name"] = format!("{name}.{own}").into();
                }
                item
            }));
            match page.get("nextCursor").filter(|cursor| cursor.is_string()) {
                Some(cursor) => _ = params.insert("cursor".to_owned(), cursor.clone()),
                None => break,
            }
        }
        Ok(all)
    }

    /// The answer of the one server of several that is meant.
    async fn routed(&self) -> Result<JsonText, RpcError> {
        let mut params = self.params.clone();
        let reference = params.get("ref").cloned().unwrap_or_default();
        let uri = params.get("uri").or(reference.get("uri")).and_then(Value::as_str).map(str::to_owned);
        if let Some(uri) = uri {
            return self.by_uri(&uri).await;
        }
        let name = params.get("name").or(reference.get("name")).and_then(Value::as_str).unwrap_or_default();
        let meant = self.servers.iter().filter_map(|(server, remote)| {
            let own = name.strip_prefix(&**server)?.strip_prefix('.')?;
            Some((server.len(), own, remote))
        });
        let Some((_, own, server)) = meant.max_by_key(|(length, ..)| *length) else {
            let names: Vec<&str> = self.servers.keys().map(|name| &**name).collect();
            let message =
                format!("there is no prompt `{}`; names begin with one of: {}", wire::shown(name), names.join(", "));
            return Err(RpcError::params(message));
        };
        let own: Value = own.into();
        match params.get_mut("ref") {
            Some(reference) => reference["name"] = own,
            None => _ = params.insert("name".to_owned(), own),
        }
        self.request(server, params).await
    }

    /// A server that knows a resource is found by asking: reading one that is not there does nothing.
    async fn by_uri(&self, uri: &str) -> Result<JsonText, RpcError> {
        let mut refusal = None;
        for server in self.servers.values() {
            let read = match &*self.method {
                // Only a server that has it is to be asked to watch it.
                "resources/subscribe" | "resources/unsubscribe" => self.has(server, uri).await,
                _ => true,
            };
            if read {
                match self.request(server, self.params.clone()).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => _ = refusal.get_or_insert(error),
                }
            }
        }
        Err(refusal.unwrap_or_else(|| RpcError::params("Resource not found").with_data(json!({"uri": uri}))))
    }

    async fn has(&self, server: &Arc<dyn Remote>, uri: &str) -> bool {
        let params = wire::text(&json!({"uri": uri}));
        let request = PeerRequest { method: "resources/read".into(), params };
        server.request(request, Some(self.peer.clone())).await.is_ok()
    }
}

/// What a server said that it can do.
pub(super) fn capability(server: &Arc<dyn Remote>, name: &str) -> Option<Value> {
    let said: Value = serde_json::from_str(server.introduction().get()).ok()?;
    said.get("capabilities")?.get(name).filter(|value| !value.is_null()).cloned()
}

/// What all servers together can do, beside what the gateway can.
pub(super) fn capabilities(servers: &Servers) -> Map<String, Value> {
    let mut all =
        Map::from_iter([("tools".to_owned(), json!({"listChanged": true})), ("logging".to_owned(), json!({}))]);
    for name in ["resources", "prompts", "completions"] {
        let mut found = None::<Map<String, Value>>;
        for said in servers.values().filter_map(|server| capability(server, name)) {
            let found = found.get_or_insert_default();
            for flag in ["subscribe", "listChanged"] {
                if said.get(flag).is_some_and(|value| value == true) {
                    found.insert(flag.to_owned(), true.into());
                }
            }
        }
        all.extend(found.map(|found| (name.to_owned(), found.into())));
    }
    all
}

/// Tells all servers which log messages are wanted. Those that do not know how are left.
pub(super) fn set_level(servers: Servers, level: Level) {
    for server in servers.into_values().filter(|server| capability(server, "logging").is_some()) {
        let params = wire::text(&json!({"level": level.name()}));
        let request = server.request(PeerRequest { method: "logging/setLevel".into(), params }, None);
        tokio::spawn(tokio::time::timeout(Duration::from_secs(10), request));
    }
}

/// What a server refused, in its words where it had some.
fn rpc_error(error: &ToolError) -> RpcError {
    let told = error.whole.as_ref().and_then(|whole| serde_json::from_str(whole.get()).ok());
    told.unwrap_or_else(|| RpcError::new(ErrorCode::INTERNAL_ERROR, format!("{} [{}]", error.message, error.code)))
}
