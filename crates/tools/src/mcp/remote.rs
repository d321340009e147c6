//! A server for a face that hands on what is no tool: resources, prompts, completions, and what it tells.
//! It does not know what is asked of it.

use super::ledger::Caller;
use super::link::Ended;
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
            let caller = Caller {
                id: AttemptId { run: "mcp".into(), call: request.method.clone(), attempt: 0 },
                progress: Progress::none(),
                peer,
            };
            let request = ClientRequest::CustomRequest(CustomRequest::new(request.method.to_string(), params));
            let answered = link.exchange(request, caller, None, Duration::ZERO).await;
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
