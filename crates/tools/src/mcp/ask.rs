//! What servers ask of their client while they work: handed to whoever is behind the call, declined where nobody is.
//! It does not know what is asked.

use super::ledger::{Caller, Ledger};
use super::stdio::number;
use crate::peer::PeerRequest;
use crate::tool::ToolError;
use rmcp::model::{
    ClientCapabilities, ClientConfig, ClientResult, CustomResult, ElicitationCapability, Extensions,
    FormElicitationCapability, Implementation, ProtocolVersion, ServerNotification, ServerRequest,
    UrlElicitationCapability,
};
use rmcp::service::{InboundStreamOrigin, NotificationContext, RequestContext, Service};
use rmcp::{ErrorData, RoleClient};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a question waits for whoever is asked; a person may have gone.
const ANSWER_MAX: Duration = Duration::from_secs(60 * 60);

/// Our side of a connection.
pub(super) struct Ours {
    pub(super) ledger: Arc<Ledger>,
}

impl Service<RoleClient> for Ours {
    async fn handle_request(
        &self,
        request: ServerRequest,
        context: RequestContext<RoleClient>,
    ) -> Result<ClientResult, ErrorData> {
        let (method, params) = match &request {
            ServerRequest::PingRequest(_) => return Ok(ClientResult::empty(())),
            ServerRequest::CreateMessageRequest(request) => ("sampling/createMessage", params(&request.params)?),
            ServerRequest::ElicitRequest(request) => ("elicitation/create", params(&request.params)?),
            ServerRequest::ListRootsRequest(_) => ("roots/list", json!({})),
            ServerRequest::CustomRequest(request) => {
                return Err(ErrorData::new(
                    rmcp::model::ErrorCode::METHOD_NOT_FOUND,
                    format!("`{}` is not known here", super::shown(&request.method, 60)),
                    None,
                ));
            }
            _ => return Err(ErrorData::new(rmcp::model::ErrorCode::METHOD_NOT_FOUND, "not known here", None)),
        };
        let caller = self.caller(&context.extensions);
        let answer = tokio::select! {
            answer = ask(caller.as_ref(), method, &params) => answer,
            // The server takes the question back.
            () = context.ct.cancelled() => return Err(ErrorData::internal_error("taken back", None)),
        };
        match answer {
            Some(answer) => Ok(ClientResult::CustomResult(CustomResult::new(answer))),
            None => Err(ErrorData::new(rmcp::model::ErrorCode(-1), "nobody is there who could answer", None)),
        }
    }

    async fn handle_notification(
        &self,
        _notification: ServerNotification,
        _context: NotificationContext<RoleClient>,
    ) -> Result<(), ErrorData> {
        // What is told has been heard on its way here.
        Ok(())
    }

    fn get_info(&self) -> ClientConfig {
        config()
    }
}

impl Ours {
    /// For whom a server asks: of which request the stream says, else by what is in flight.
    fn caller(&self, extensions: &Extensions) -> Option<Caller> {
        match extensions.get::<InboundStreamOrigin>() {
            Some(InboundStreamOrigin::OutboundRequest(id)) => {
                number(id).and_then(|id| self.ledger.find(id)).map(|slot| slot.caller.clone())
            }
            _ => self.ledger.asking(),
        }
    }
}

/// Asks whoever is behind a call; without anybody, what the protocol has for that. `None`: there is nothing to say.
pub(super) async fn ask(caller: Option<&Caller>, method: &str, params: &Value) -> Option<Value> {
    let answered = match caller.and_then(|caller| Some((caller, caller.peer.as_ref()?))) {
        Some((caller, peer)) => {
            // A question is a sign of life, however long its answer takes.
            caller.progress.made();
            let params = serde_json::value::to_raw_value(params).ok()?.into();
            let question = peer.ask(&caller.id, PeerRequest { method: method.into(), params });
            let answer = timeout(ANSWER_MAX, alive(caller, question)).await.ok();
            answer.and_then(Result::ok).and_then(|answer| serde_json::from_str(answer.get()).ok())
        }
        None => None,
    };
    answered.or_else(|| match method {
        "elicitation/create" => Some(json!({"action": "decline"})),
        "roots/list" => Some(json!({"roots": []})),
        _ => None,
    })
}

/// While an answer is waited for the call is not silent: it is not the server's fault.
async fn alive(caller: &Caller, question: crate::peer::AnswerFuture) -> Result<crate::tool::JsonText, ToolError> {
    let mut question = question;
    loop {
        match timeout(Duration::from_secs(1), &mut question).await {
            Ok(answer) => return answer,
            Err(_) => caller.progress.made(),
        }
    }
}

fn params(params: &impl Serialize) -> Result<Value, ErrorData> {
    serde_json::to_value(params).map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

/// What fanout says of itself to servers.
#[expect(deprecated, reason = "sampling and roots are deprecated, and servers of older versions use them")]
pub(super) fn config() -> ClientConfig {
    let mut capabilities = ClientCapabilities::builder().enable_roots().enable_sampling().enable_elicitation().build();
    capabilities.elicitation = Some(
        ElicitationCapability::new()
            .with_form(FormElicitationCapability::default())
            .with_url(UrlElicitationCapability::default()),
    );
    ClientConfig::new(capabilities, Implementation::new("fanout", env!("CARGO_PKG_VERSION")))
        .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
}
