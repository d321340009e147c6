//! A server for a face that hands on what is no tool: resources, prompts, completions, and what it tells.
//! It does not know what is asked of it.

use super::direct::Request;
use super::ledger::Caller;
use super::link::Ended;
use super::relay::Relayed;
use super::server::Server;
use super::words::refused;
use crate::peer::{AnswerFuture, Peer, PeerRequest};
use crate::remote::Remote;
use crate::tool::{AttemptId, JsonText, Progress, Reached, ToolError};
use rmcp::model::{ClientRequest, CustomRequest};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// A server, and what it said of itself when it was first connected to.
struct Elsewhere {
    server: Arc<Server>,
    introduction: JsonText,
}

/// What a toolbox has of its server.
pub(super) fn remote(server: Arc<Server>, introduction: JsonText) -> Arc<dyn Remote> {
    Arc::new(Elsewhere { server, introduction })
}

impl Remote for Elsewhere {
    fn introduction(&self) -> JsonText {
        self.introduction.clone()
    }

    fn request(&self, request: PeerRequest, peer: Option<Arc<dyn Peer>>) -> AnswerFuture {
        let server = Arc::clone(&self.server);
        Box::pin(async move {
            let params = serde_json::from_str(request.params.get())
                .map_err(|error| ToolError::permanent(error.to_string()).code("args_mismatch").reached(Reached::No))?;
            let link = server.link().await?;
            if link.is_modern()
                && let Some(answer) = translated(&server, &request)
            {
                return Ok(answer);
            }
            let id = AttemptId { run: "mcp".into(), call: request.method.clone(), attempt: 0 };
            let relayed = peer.as_ref().and_then(|peer| peer.relayed(&id)).filter(|_| link.is_modern());
            let meta = relayed.map(|relayed| Relayed::of(&relayed).meta(&server));
            let caller = Caller { id, progress: Progress::none(), peer, meta };
            let request = ClientRequest::CustomRequest(CustomRequest::new(request.method.to_string(), params));
            let answered = link.exchange(Request::Other(Box::new(request)), caller, None, Duration::ZERO).await;
            answered.map_err(|ended| match ended {
                Ended::Rpc(error) => refused(&server.name, &error),
                Ended::Failed(error) => error,
            })
        })
    }

    fn notices(&self) -> broadcast::Receiver<PeerRequest> {
        self.server.notices.subscribe()
    }
}

/// What clients of older protocols ask for, and what the newest has other ways for.
fn translated(server: &Arc<Server>, request: &PeerRequest) -> Option<JsonText> {
    #[derive(serde::Deserialize)]
    struct Asked {
        uri: Option<String>,
        level: Option<String>,
    }
    let asked: Asked = serde_json::from_str(request.params.get()).ok()?;
    match &*request.method {
        "resources/subscribe" => server.subscribe(asked.uri?, true),
        "resources/unsubscribe" => server.subscribe(asked.uri?, false),
        "logging/setLevel" => server.set_level(asked.level?),
        _ => return None,
    }
    serde_json::value::to_raw_value(&serde_json::json!({})).ok().map(Into::into)
}
