//! `tools/call`: a tool of the engine becomes a call of the client's run, an own tool is called as it is.
//! It does not know when a call starts, nor how its answer travels.

use super::client::Asker;
use super::listing::CALL_TOOL;
use super::peer::RequestPeer;
use super::results;
use super::rounds::{self, Called};
use super::session::{Answering, Session};
use super::wire::{self, RpcError};
use crate::own::Asked;
use fanout::{Call, JsonText, Peer};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The parameters of `tools/call`, and the arguments of `call_tool`.
#[derive(Deserialize)]
struct Calling {
    name: String,
    #[serde(default)]
    arguments: Option<Map<String, Value>>,
}

/// The id that the call for a request has in its run.
pub(super) fn name(number: u64) -> String {
    format!("c{number}")
}

/// The request that a call of this id is for.
pub(super) fn number(call: &str) -> Option<u64> {
    call.strip_prefix('c')?.parse().ok()
}

/// Begins a call: when this returns, it has its place.
pub(super) fn call(
    session: &Arc<Session>,
    number: u64,
    params: Option<&JsonText>,
    asker: &Arc<Asker>,
) -> Result<Answering, RpcError> {
    let params = params.map_or("{}", |params| params.get());
    let mut calling: Calling = serde_json::from_str(params)
        .map_err(|error| RpcError::params(format!("this is no call of a tool: {error}")))?;
    let gateway = &session.gateway;
    if calling.name == CALL_TOOL && gateway.finds() {
        let inner = Value::Object(calling.arguments.unwrap_or_default());
        calling = serde_json::from_value(inner).map_err(|error| {
            RpcError::params(format!("`{CALL_TOOL}` needs the `name` of a tool and its `arguments`: {error}"))
        })?;
    }
    let Calling { name, arguments } = calling;
    let arguments = arguments.unwrap_or_default();
    if let Some(round) = &asker.round {
        return rounds::resume(session, number, round, &name, &arguments);
    }
    if gateway.is_own(&name) {
        let work = |name, arguments| own(session, number, name, arguments, asker.modern);
        return Ok(asking(session, number, asker, (name, arguments), false, work));
    }
    let catalog = gateway.engine.catalog();
    if catalog.find(&name).is_none() {
        let near = catalog.nearest(&name).map(|near| format!("; did you mean `{near}`?"));
        let shown = wire::shown(&name);
        return Err(RpcError::params(format!("Unknown tool: `{shown}`{}", near.unwrap_or_default())));
    }
    let work = |name, arguments| submit(session, number, name, arguments, asker.modern);
    Ok(asking(session, number, asker, (name, arguments), true, work))
}

/// Begins what answers a call; of a client that is asked by results, so that it can be asked.
fn asking(
    session: &Arc<Session>,
    number: u64,
    asker: &Arc<Asker>,
    (name, arguments): (String, Map<String, Value>),
    in_run: bool,
    work: impl FnOnce(String, Map<String, Value>) -> Answering,
) -> Answering {
    if !asker.takes_rounds() {
        return work(name, arguments);
    }
    // Before it begins: it may ask at once.
    let rounds = session.begin_rounds(number, asker);
    let work = work(name.clone(), arguments.clone());
    rounds::follow(session, Called { number, in_run, rounds, name, arguments, work, session: Arc::downgrade(session) })
}

/// A call of a tool of the engine, which has its place when this returns.
fn submit(session: &Arc<Session>, number: u64, name: String, arguments: Map<String, Value>, modern: bool) -> Answering {
    let mut arguments = Value::Object(arguments);
    literal(&mut arguments);
    let call = Call::new(self::name(number).as_str(), name.as_str()).args(arguments);
    let submitted = session.submit(number, call);
    let (own, client) = (session.gateway.own.clone(), session.id.clone());
    Box::pin(async move {
        match submitted.await {
            Ok(end) => match own.shortened(&client, &name, &end) {
                Some(answer) => Ok(results::answered(answer, modern)),
                None => results::ended(&end, modern),
            },
            Err(problems) => Ok(results::refused(&problems, modern)),
        }
    })
}

fn own(session: &Arc<Session>, number: u64, name: String, arguments: Map<String, Value>, modern: bool) -> Answering {
    let peer: Arc<dyn Peer> = Arc::new(RequestPeer { session: Arc::downgrade(session), number, takes_rounds: false });
    let asked = Asked { session: session.id.clone(), peer: Some(peer) };
    let own = session.gateway.own.clone();
    Box::pin(async move {
        let answer = own.call(&name, arguments, asked).await;
        let answer = answer.ok_or_else(|| RpcError::params(format!("Unknown tool: `{}`", wire::shown(&name))))?;
        Ok(results::answered(answer, modern))
    })
}

/// Nothing in a value is read as a reference: what a client sends is data.
fn literal(value: &mut Value) {
    match value {
        Value::String(text) if text.contains("${") => *text = text.replace("${", "$${"),
        Value::Array(items) => items.iter_mut().for_each(literal),
        Value::Object(map) => map.values_mut().for_each(literal),
        _ => {}
    }
}
