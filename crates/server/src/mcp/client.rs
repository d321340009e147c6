//! Who sent a request (`Asker`): the revision it speaks, what it can be asked, where its answer goes.
//! It does not know what was requested.

use super::outlet::Outlet;
use super::rounds;
use super::wire::{self, RpcError};
use fanout::JsonText;
use rmcp::model::{ErrorCode, ProtocolVersion};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;

/// The keys that clients of the newer revision put into the `_meta` of each request.
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";

#[derive(Deserialize, Default)]
pub(super) struct Meta<'a> {
    #[serde(rename = "io.modelcontextprotocol/protocolVersion", default)]
    pub(super) version: Option<Value>,
    #[serde(borrow, rename = "io.modelcontextprotocol/clientCapabilities", default)]
    pub(super) capabilities: Option<&'a RawValue>,
    #[serde(rename = "io.modelcontextprotocol/logLevel", default)]
    level: Option<String>,
    #[serde(borrow, rename = "progressToken", default)]
    token: Option<&'a RawValue>,
}

/// The parameters of any request, as far as they say who asks.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Asking<'a> {
    #[serde(borrow, rename = "_meta", default)]
    meta: Meta<'a>,
    #[serde(borrow, default)]
    input_responses: Option<&'a RawValue>,
    #[serde(borrow, default)]
    request_state: Option<&'a RawValue>,
}

/// What a client said of itself when it was greeted, by the revisions that have a greeting.
#[derive(Clone)]
pub(super) struct Greeted {
    pub(super) capabilities: Arc<Value>,
}

/// What goes on with a call that waits for its client.
pub(super) struct Round {
    pub(super) state: String,
    pub(super) responses: Option<JsonText>,
}

/// Who sent a request.
pub(super) struct Asker {
    /// It speaks 2026-07-28 or later: without sessions, asked by results.
    pub(super) modern: bool,
    /// What it can be asked.
    pub(super) capabilities: Arc<Value>,
    /// The least level of log messages it wants; `None`: none with the newer revision, else those of its session.
    pub(super) level: Option<Level>,
    /// With what its progress is to be told.
    pub(super) token: Option<JsonText>,
    /// Answers to what was asked by the result of an earlier call.
    pub(super) input_responses: Option<JsonText>,
    /// What that result said to send along.
    pub(super) request_state: Option<JsonText>,
    /// The same, where it was this gateway that asked.
    pub(super) round: Option<Round>,
    /// Where the answer and what belongs to it go.
    pub(super) outlet: Outlet,
}

impl Asker {
    /// Reads who asks from what a request says itself, else from the greeting.
    ///
    /// # Errors
    /// What to answer: nobody was greeted and the request does not say who asks, or in a revision not known here.
    pub(super) fn read(
        params: Option<&JsonText>,
        greeted: Option<&Greeted>,
        outlet: Outlet,
    ) -> Result<Asker, RpcError> {
        let params = params.map_or("{}", |params| params.get());
        let asking: Asking<'_> = serde_json::from_str(params)
            .map_err(|error| RpcError::params(format!("these parameters cannot be read: {error}")))?;
        let owned = |raw: Option<&RawValue>| raw.map(|raw| JsonText::from(raw.to_owned()));
        let mut asker = Asker {
            modern: false,
            capabilities: Arc::default(),
            level: None,
            token: owned(
                asking
                    .meta
                    .token
                    .filter(|token| token.get().starts_with(['"', '-']) || token.get().parse::<f64>().is_ok()),
            ),
            input_responses: owned(asking.input_responses),
            request_state: owned(asking.request_state),
            round: None,
            outlet,
        };
        let state = asker.request_state.as_ref().and_then(|text| serde_json::from_str::<String>(text.get()).ok());
        if let Some(state) = state.filter(|state| state.starts_with(rounds::STATE)) {
            // Servers behind are not to see what was asked by another.
            asker.request_state = None;
            asker.round = Some(Round { state, responses: asker.input_responses.take() });
        }
        let version = asking.meta.version.as_ref();
        match (version, greeted) {
            (None, Some(greeted)) => asker.capabilities = greeted.capabilities.clone(),
            (Some(Value::String(version)), _) => {
                supported(version)?;
                asker.modern = is_modern(version);
                let capabilities = asking.meta.capabilities.and_then(|raw| serde_json::from_str(raw.get()).ok());
                match (capabilities.filter(Value::is_object), greeted) {
                    (Some(capabilities), _) => asker.capabilities = Arc::new(capabilities),
                    (None, Some(greeted)) if !asker.modern => asker.capabilities = greeted.capabilities.clone(),
                    (None, _) => return Err(missing(&[CAPABILITIES_KEY])),
                }
                asker.level = asking.meta.level.as_deref().and_then(Level::read);
            }
            (None, None) if asking.meta.capabilities.is_some() => return Err(missing(&[VERSION_KEY])),
            (_, _) => return Err(missing(&[VERSION_KEY, CAPABILITIES_KEY])),
        }
        Ok(asker)
    }

    /// Whether it said that it can do this, such as `elicitation`.
    pub(super) fn can(&self, what: &str) -> bool {
        self.capabilities.get(what).is_some_and(|value| !value.is_null())
    }

    /// Whether it can be asked anything by the results of its calls.
    pub(super) fn takes_rounds(&self) -> bool {
        self.modern && ["elicitation", "sampling", "roots"].iter().any(|what| self.can(what))
    }

    /// What a server of its revision is to be told of it.
    pub(super) fn relayed(&self, level: Option<Level>) -> JsonText {
        let mut relayed = json!({"capabilities": *self.capabilities});
        if let Some(level) = self.level.or(level) {
            relayed["logLevel"] = level.name().into();
        }
        if self.modern {
            let part = |text: &Option<JsonText>| text.as_ref().and_then(|text| serde_json::from_str(text.get()).ok());
            let mut rounds = serde_json::Map::new();
            rounds.extend(part(&self.input_responses).map(|value: Value| ("inputResponses".to_owned(), value)));
            rounds.extend(part(&self.request_state).map(|value: Value| ("requestState".to_owned(), value)));
            relayed["rounds"] = rounds.into();
        }
        wire::text(&relayed)
    }
}

/// The revision that a request names itself.
pub(super) fn named_version(params: Option<&JsonText>) -> Option<String> {
    let asking: Asking<'_> = serde_json::from_str(params?.get()).ok()?;
    asking.meta.version?.as_str().map(str::to_owned)
}

fn missing(keys: &[&str]) -> RpcError {
    RpcError::params(format!(
        "this request does not say who asks: `_meta` needs {}, or `initialize` comes first",
        keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" and ")
    ))
}

/// Whether a revision has no sessions and no greeting.
pub(super) fn is_modern(version: &str) -> bool {
    version >= ProtocolVersion::NO_INITIALIZE.as_str()
}

/// All revisions that are spoken here, oldest first.
pub(super) fn versions() -> Vec<&'static str> {
    ProtocolVersion::KNOWN_VERSIONS.iter().map(ProtocolVersion::as_str).collect()
}

/// Refuses a revision that is not spoken here.
pub(super) fn supported(version: &str) -> Result<(), RpcError> {
    if versions().contains(&version) {
        return Ok(());
    }
    let message = format!("revision `{}` of MCP is not spoken here", wire::shown(version));
    Err(RpcError::new(ErrorCode::UNSUPPORTED_PROTOCOL_VERSION, message)
        .with_data(json!({"supported": versions(), "requested": version})))
}

/// How grave a log message is, by RFC 5424.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Level(u8);

impl Level {
    const NAMES: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

    pub(super) fn read(name: &str) -> Option<Level> {
        Level::NAMES.iter().position(|known| *known == name).and_then(|at| u8::try_from(at).ok()).map(Level)
    }

    pub(super) fn name(self) -> &'static str {
        Level::NAMES[usize::from(self.0)]
    }
}
