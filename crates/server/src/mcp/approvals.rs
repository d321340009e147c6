//! Calls that somebody has to approve: the client is asked (`elicitation/create`), and its answer is the person's.
//! It does not know which calls need that.

use super::calls;
use super::peer::RequestPeer;
use super::session::Session;
use super::wire;
use fanout::{Approve, AttemptId, JsonText, Peer, PeerRequest, RunEvent, RunHandle, What};
use serde_json::{Value, json};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How much of the arguments a person is shown.
const ARGS_CHARS: usize = 4_000;

/// Asks the client of a run for each call that needs it, until the run ends.
pub(super) async fn answered(session: Weak<Session>, run: RunHandle) {
    let mut events = run.events();
    while let Some(RunEvent { what, .. }) = events.next().await {
        let What::ApprovalAsked { call, tool, args, destructive, within_ms } = what else { continue };
        let within = Duration::try_from_secs_f64(within_ms / 1e3).unwrap_or(Duration::MAX);
        let message = question(&tool, &args, destructive);
        // A task each: a person answers them in any order.
        tokio::spawn(ask(session.clone(), run.clone(), call, message, within));
    }
}

fn question(tool: &str, args: &Value, destructive: bool) -> String {
    let args = serde_json::to_string_pretty(args).unwrap_or_default();
    let shown: String = args.chars().take(ARGS_CHARS).collect();
    let cut = if shown.len() < args.len() { "\n… (more arguments are not shown)" } else { "" };
    let what = if destructive { "It is declared destructive. " } else { "" };
    format!("May `{tool}` run? {what}Its arguments:\n{shown}{cut}")
}

async fn ask(session: Weak<Session>, run: RunHandle, call: Arc<str>, message: String, within: Duration) {
    let Some(number) = calls::number(&call) else { return };
    let params = json!({"message": message, "requestedSchema": {"type": "object", "properties": {}}});
    let question = PeerRequest { method: "elicitation/create".into(), params: wire::text(&params) };
    let peer = RequestPeer { session, number, takes_rounds: false };
    let attempt = AttemptId { run: run.id().into(), call: call.clone(), attempt: 0 };
    let answer = tokio::time::timeout(within, peer.ask(&attempt, question)).await;
    let approve = match answer {
        Ok(Ok(answer)) if is_yes(&answer) => Approve::Yes,
        Ok(Ok(_)) => Approve::No(None),
        Ok(Err(error)) => Approve::No(Some(error.message)),
        // The engine has denied it by now.
        Err(_) => return,
    };
    // An error says that the call does not wait any more.
    let _ = run.approve(&call, approve).await;
}

fn is_yes(answer: &JsonText) -> bool {
    serde_json::from_str::<Value>(answer.get()).is_ok_and(|answer| answer["action"] == "accept")
}
