//! Calls that somebody has to approve: whoever is behind the call is asked by elicitation, and that answer counts.
//! It does not know which calls need that, nor how a question travels.

use fanout::{Approve, AttemptId, JsonText, Peer, PeerRequest, RunEvent, RunHandle, What};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How much of the arguments a person is shown.
const ARGS_CHARS: usize = 4_000;

/// Asks whoever is behind a run about each call that needs it, until the run ends. Where nobody can answer, the call is
/// denied.
pub(crate) async fn follow(run: RunHandle, peer: Arc<dyn Peer>) {
    let mut events = run.events();
    while let Some(RunEvent { what, .. }) = events.next().await {
        let What::ApprovalAsked { call, tool, args, destructive, within_ms } = what else { continue };
        let within = Duration::try_from_secs_f64(within_ms / 1e3).unwrap_or(Duration::MAX);
        // Each by itself: a person answers them in any order.
        if let Some(question) = question(&tool, &args, destructive) {
            tokio::spawn(ask(run.clone(), peer.clone(), call, question, within));
        }
    }
}

async fn ask(run: RunHandle, peer: Arc<dyn Peer>, call: Arc<str>, question: PeerRequest, within: Duration) {
    let attempt = AttemptId { run: run.id().into(), call: call.clone(), attempt: 0 };
    let answer = match tokio::time::timeout(within, peer.ask(&attempt, question)).await {
        Ok(Ok(answer)) if is_yes(&answer) => Approve::Yes,
        Ok(Ok(_)) => Approve::No(None),
        Ok(Err(error)) => Approve::No(Some(error.message)),
        // The engine has denied it by now.
        Err(_) => return,
    };
    // An error says that the call does not wait any more.
    let _ = run.approve(&call, answer).await;
}

fn question(tool: &str, args: &Value, destructive: bool) -> Option<PeerRequest> {
    let args = serde_json::to_string_pretty(args).unwrap_or_default();
    let shown: String = args.chars().take(ARGS_CHARS).collect();
    let cut = if shown.len() < args.len() { "\n… (more arguments are not shown)" } else { "" };
    let what = if destructive { "It is declared destructive. " } else { "" };
    let message = format!("May `{tool}` run? {what}Its arguments:\n{shown}{cut}");
    let params = json!({"message": message, "requestedSchema": {"type": "object", "properties": {}}});
    let params: JsonText = serde_json::value::to_raw_value(&params).ok()?.into();
    Some(PeerRequest { method: "elicitation/create".into(), params })
}

fn is_yes(answer: &JsonText) -> bool {
    serde_json::from_str::<Value>(answer.get()).is_ok_and(|answer| answer["action"] == "accept")
}
