//! What servers tell outside any request, and changes of the tools: told to all clients that want to hear of it.
//! It does not know what a client does then.

use super::Gateway;
use super::client::{Asker, Level};
use super::hello;
use super::passing;
use super::session::{Answering, Session};
use super::wire::{self, RpcError};
use fanout::{Engine, JsonText, PeerRequest, Remote};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::{AbortHandle, JoinSet};

/// Who does not listen fast enough misses the oldest of more than these.
const KEPT: usize = 1_024;
const TOOLS_CHANGED: &str = "notifications/tools/list_changed";
const PROMPTS_CHANGED: &str = "notifications/prompts/list_changed";
const RESOURCES_CHANGED: &str = "notifications/resources/list_changed";
const UPDATED: &str = "notifications/resources/updated";
const LOGGED: &str = "notifications/message";

/// Where all notices come together.
pub(super) struct Notices {
    sender: broadcast::Sender<PeerRequest>,
    gathering: AbortHandle,
}

impl Notices {
    /// Of this engine, from now on.
    pub(super) fn of(engine: &Engine) -> Notices {
        let (sender, _) = broadcast::channel(KEPT);
        let gathering = tokio::spawn(gather(engine.clone(), sender.clone())).abort_handle();
        Notices { sender, gathering }
    }

    fn listen(&self) -> broadcast::Receiver<PeerRequest> {
        self.sender.subscribe()
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        self.gathering.abort();
    }
}

/// Hears the engine and each of its servers, also those that come later.
async fn gather(engine: Engine, to: broadcast::Sender<PeerRequest>) {
    let mut changes = engine.catalog_changes();
    let mut known: BTreeMap<Arc<str>, (Arc<dyn Remote>, AbortHandle)> = BTreeMap::new();
    let mut heard = JoinSet::new();
    loop {
        let servers = engine.servers();
        known.retain(|name, (server, hearing)| {
            let stays = servers.get(name).is_some_and(|now| Arc::ptr_eq(now, server));
            if !stays {
                hearing.abort();
            }
            stays
        });
        for (name, server) in servers {
            known.entry(name).or_insert_with(|| {
                let hearing = heard.spawn(hear(server.notices(), to.clone()));
                (server, hearing)
            });
        }
        while heard.try_join_next().is_some() {}
        if changes.changed().await.is_err() {
            return;
        }
        // Fails only when nobody listens.
        let _ = to.send(PeerRequest { method: TOOLS_CHANGED.into(), params: wire::text(&json!({})) });
    }
}

async fn hear(mut notices: broadcast::Receiver<PeerRequest>, to: broadcast::Sender<PeerRequest>) {
    loop {
        match notices.recv().await {
            // The engine tells of its tools when it has taken the change in.
            Ok(notice) if &*notice.method == TOOLS_CHANGED => {}
            Ok(notice) => _ = to.send(notice),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// Tells a client of a session what it wants to hear, until it has gone.
pub(super) fn follow(session: &Arc<Session>) -> AbortHandle {
    let mut notices = session.gateway.notices.listen();
    let session: Weak<Session> = Arc::downgrade(session);
    let following = tokio::spawn(async move {
        loop {
            let notice = match notices.recv().await {
                Ok(notice) => notice,
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            };
            let Some(session) = session.upgrade() else { return };
            let wanted = match &*notice.method {
                TOOLS_CHANGED | PROMPTS_CHANGED | RESOURCES_CHANGED => true,
                UPDATED => uri(&notice.params).is_some_and(|uri| session.has_subscribed(&uri)),
                LOGGED => is_grave(&notice.params, session.level()),
                _ => false,
            };
            if wanted {
                session.announce(&notice.method, notice.params.get());
            }
        }
    });
    following.abort_handle()
}

fn uri(params: &JsonText) -> Option<String> {
    let params: Value = serde_json::from_str(params.get()).ok()?;
    params.get("uri")?.as_str().map(str::to_owned)
}

fn is_grave(params: &JsonText, wanted: Option<Level>) -> bool {
    let params: Value = serde_json::from_str(params.get()).unwrap_or_default();
    let level = params["level"].as_str().and_then(Level::read);
    level.zip(wanted).is_none_or(|(level, wanted)| level >= wanted)
}

/// What a client of the newer revision wants to hear of.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Filter {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tools_list_changed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    prompts_list_changed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    resources_list_changed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resource_subscriptions: Vec<String>,
}

/// More resources than this are not watched for one request.
const WATCHED_MAX: usize = 1_000;

impl Filter {
    /// As far as the servers behind tell of it.
    fn accepted(self, gateway: &Gateway) -> Filter {
        let can = passing::capabilities(&gateway.engine.servers());
        let flag = |name: &str, flag: &str| can.get(name).is_some_and(|value| value[flag] == true);
        let watched = if flag("resources", "subscribe") { self.resource_subscriptions } else { Vec::new() };
        Filter {
            tools_list_changed: self.tools_list_changed,
            prompts_list_changed: self.prompts_list_changed && flag("prompts", "listChanged"),
            resources_list_changed: self.resources_list_changed && flag("resources", "listChanged"),
            resource_subscriptions: watched.into_iter().take(WATCHED_MAX).collect(),
        }
    }

    fn wants(&self, notice: &PeerRequest) -> bool {
        match &*notice.method {
            TOOLS_CHANGED => self.tools_list_changed,
            PROMPTS_CHANGED => self.prompts_list_changed,
            RESOURCES_CHANGED => self.resources_list_changed,
            UPDATED => uri(&notice.params).is_some_and(|uri| self.resource_subscriptions.contains(&uri)),
            _ => false,
        }
    }
}

/// `subscriptions/listen`: answered when nothing more can come.
pub(super) fn listen(
    session: &Arc<Session>,
    number: u64,
    params: Option<&JsonText>,
    asker: &Arc<Asker>,
) -> Result<Answering, RpcError> {
    #[derive(Deserialize)]
    struct Listening {
        #[serde(default)]
        notifications: Filter,
    }
    let params = params.map_or("{}", |params| params.get());
    let Listening { notifications } =
        serde_json::from_str(params).map_err(|error| RpcError::params(error.to_string()))?;
    let gateway = session.gateway.clone();
    let filter = notifications.accepted(&gateway);
    let mut notices = gateway.notices.listen();
    let id = session.id_of(number).unwrap_or_else(|| "null".into());
    let id: Value = serde_json::from_str(&id).unwrap_or_default();
    let asker = asker.clone();
    let watching = Watching { gateway: gateway.clone(), uris: filter.resource_subscriptions.clone() };
    Ok(Box::pin(async move {
        watching.ask("resources/subscribe");
        let marked = |params: Value| {
            let mut params = if let Value::Object(params) = params { params } else { Map::new() };
            let meta = params.entry("_meta").or_insert_with(|| json!({}));
            meta["io.modelcontextprotocol/subscriptionId"] = id.clone();
            Value::Object(params).to_string()
        };
        let accepted = marked(json!({"notifications": filter}));
        asker.outlet.send(wire::notification("notifications/subscriptions/acknowledged", &accepted)).await;
        loop {
            match notices.recv().await {
                Ok(notice) if filter.wants(&notice) => {
                    let params = marked(serde_json::from_str(notice.params.get()).unwrap_or_default());
                    asker.outlet.send(wire::notification(&notice.method, &params)).await;
                }
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            }
        }
        let meta = json!({"io.modelcontextprotocol/subscriptionId": id, "io.modelcontextprotocol/serverInfo": hello::server_info()});
        Ok(wire::text(&json!({"resultType": "complete", "_meta": meta})))
    }))
}

/// Resources that the servers behind watch for a client; no more when it is dropped.
struct Watching {
    gateway: Arc<Gateway>,
    uris: Vec<String>,
}

impl Watching {
    fn ask(&self, method: &'static str) {
        let servers = self.gateway.engine.servers();
        for server in servers.into_values().filter(|server| passing::capability(server, "resources").is_some()) {
            for uri in &self.uris {
                let params = wire::text(&json!({"uri": uri}));
                // One that does not have it says so, and that is all.
                tokio::spawn(server.request(PeerRequest { method: method.into(), params }, None));
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.ask("resources/unsubscribe");
    }
}
