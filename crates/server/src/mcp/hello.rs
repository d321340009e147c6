//! How client and gateway get to know each other: `initialize`, and `server/discover` of the newer revision.
//! It does not know what comes after.

use super::Gateway;
use super::client::{self, Greeted};
use super::passing;
use super::session::Session;
use super::wire::{self, RpcError};
use fanout::JsonText;
use rmcp::model::ProtocolVersion;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Initialize {
    protocol_version: String,
    #[serde(default)]
    capabilities: Value,
}

/// Greets a client of a revision with sessions: in its own where that is spoken here, else in the newest that is.
pub(super) fn initialize(session: &Arc<Session>, params: Option<&JsonText>) -> Result<JsonText, RpcError> {
    let params = params.map_or("{}", |params| params.get());
    let Initialize { protocol_version, capabilities } =
        serde_json::from_str(params).map_err(|error| RpcError::params(format!("this is no greeting: {error}")))?;
    let spoken = client::supported(&protocol_version).is_ok() && !client::is_modern(&protocol_version);
    let version = if spoken { &*protocol_version } else { ProtocolVersion::LATEST_WITH_INITIALIZE.as_str() };
    session.greet(Greeted { capabilities: Arc::new(capabilities) });
    let mut result = json!({
        "protocolVersion": version,
        "capabilities": passing::capabilities(&session.gateway.engine.servers()),
        "serverInfo": server_info(),
    });
    result["instructions"] = instructions(&session.gateway).into();
    Ok(wire::text(&result))
}

/// What a client of the newer revision asks first.
pub(super) fn discover(gateway: &Gateway) -> JsonText {
    wire::text(&json!({
        "resultType": "complete",
        "supportedVersions": client::versions(),
        "capabilities": passing::capabilities(&gateway.engine.servers()),
        "instructions": instructions(gateway),
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {"io.modelcontextprotocol/serverInfo": server_info()},
    }))
}

/// Who answers here.
pub(super) fn server_info() -> Value {
    json!({"name": "fanout", "title": "fanout", "version": env!("CARGO_PKG_VERSION")})
}

/// What a model is told of all tools together.
fn instructions(gateway: &Gateway) -> String {
    let mut text = String::from(
        "Calls sent at once run in parallel; those that touch the same thing keep the order they were sent in. ",
    );
    if gateway.is_own("run_plan") {
        text.push_str("For several calls that use each other's results, send one plan to `run_plan`. ");
    }
    if gateway.finds() {
        text.push_str("Few tools are listed: `find_tools` finds the others, `call_tool` calls one. ");
    }
    let servers = gateway.engine.servers();
    if let [server] = &servers.values().collect::<Vec<_>>()[..] {
        let said: Value = serde_json::from_str(server.introduction().get()).unwrap_or_default();
        text.push_str(said["instructions"].as_str().unwrap_or_default());
    }
    text.trim_end().to_owned()
}
