//! What the client behind a call sends along for a server that speaks its language (`Relayed`).
//! It does not know the client.

use super::server::Server;
use crate::tool::JsonText;
use rmcp::model::{InputResponses, RequestMetaObject};
use serde::Deserialize;
use serde_json::Value;

/// Names in `_meta` of requests.
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";

/// What was sent along.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Relayed {
    capabilities: Option<Value>,
    log_level: Option<Value>,
    /// The client answers by another call what the server asks.
    pub(super) rounds: Option<Rounds>,
}

/// Its answers so far.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Rounds {
    pub(super) input_responses: Option<InputResponses>,
    pub(super) request_state: Option<String>,
}

impl Relayed {
    /// What a text says; nothing where it is none.
    pub(super) fn of(text: &JsonText) -> Relayed {
        serde_json::from_str(text.get()).unwrap_or_default()
    }

    /// What goes along with a request.
    pub(super) fn meta(&self, server: &Server) -> RequestMetaObject {
        let mut meta = RequestMetaObject::new();
        if let Some(capabilities) = &self.capabilities {
            meta.insert(CAPABILITIES.to_owned(), capabilities.clone());
        }
        if let Some(level) = self.log_level.clone().or_else(|| server.level().map(Value::from)) {
            meta.insert(LOG_LEVEL.to_owned(), level);
        }
        meta
    }
}
