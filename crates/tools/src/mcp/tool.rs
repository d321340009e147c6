//! One tool of a server: its calls, with the questions the server asks in between.
//! It does not know why an attempt is aborted or whether another follows.

use super::answer::{self, Bounds, Called};
use super::ask::ask;
use super::direct::{Calling, Request, not_an_object};
use super::ledger::Caller;
use super::link::Ended;
use super::relay::Relayed;
use super::server::{END_GRACE, Server, spill_dir};
use super::words::{bad_answer, refused};
use crate::tool::{Attempt, JsonText, Reached, Tool, ToolError, ToolFuture, ToolResult};
use rmcp::model::InputResponses;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A server that asks on and on is not answered more often than this.
const ROUNDS_MAX: usize = 10;
/// It asks no more than this at once.
const QUESTIONS_MAX: usize = 64;
/// Reading an answer of more bytes than this would hold up others.
const LARGE_BYTES: usize = 256 << 10;

/// A tool of a server.
pub(super) struct McpTool {
    pub(super) server: Arc<Server>,
    /// What the server calls it.
    pub(super) own: Arc<str>,
    /// What plans call it.
    pub(super) name: Arc<str>,
    /// It writes nothing: nothing is to be waited for when it is aborted.
    pub(super) read_only: bool,
}

impl Tool for McpTool {
    fn call(&self, attempt: Attempt) -> ToolFuture {
        let call = Call {
            server: Arc::clone(&self.server),
            own: Arc::clone(&self.own),
            name: Arc::clone(&self.name),
            grace: if self.read_only { Duration::ZERO } else { END_GRACE },
        };
        Box::pin(call.run(attempt))
    }
}

/// One call.
struct Call {
    server: Arc<Server>,
    own: Arc<str>,
    name: Arc<str>,
    grace: Duration,
}

/// What a server asks before it goes on.
#[derive(Deserialize)]
struct Question {
    method: String,
    #[serde(default)]
    params: Value,
}

impl Call {
    async fn run(self, attempt: Attempt) -> ToolResult {
        if attempt.aborted.is_cancelled() {
            return Err(ToolError::aborted(Reached::No));
        }
        if !attempt.args.get().starts_with('{') {
            return Err(not_an_object("it is none"));
        }
        let link = tokio::select! {
            biased;
            () = attempt.aborted.cancelled() => return Err(ToolError::aborted(Reached::No)),
            link = self.server.link() => link?,
        };
        let mut caller = Caller::of(&attempt);
        let (name, args) = (Arc::clone(&self.own), attempt.args.clone());
        let mut calling = Calling { name, args, input_responses: None, request_state: None };
        let mut relays = false;
        if link.is_modern() {
            let relayed = attempt.peer.as_ref().and_then(|peer| peer.relayed(&attempt.id));
            let relayed = relayed.map(|text| Relayed::of(&text)).unwrap_or_default();
            caller.meta = Some(relayed.meta(&self.server));
            if let Some(rounds) = relayed.rounds {
                relays = true;
                (calling.input_responses, calling.request_state) = (rounds.input_responses, rounds.request_state);
            }
        }
        for _ in 0..ROUNDS_MAX {
            let request = Request::Call(calling.clone());
            let answered = link.exchange(request, caller.clone(), Some(&attempt.aborted), self.grace).await;
            let whole = answered.map_err(|ended| match ended {
                Ended::Rpc(error) => refused(&self.server.name, &error),
                Ended::Failed(error) => error,
            })?;
            let called = answer::read(&self.server.name, &whole)?;
            match called.result_type.as_deref() {
                Some("input_required") if relays => {
                    let message = format!("`{}` wants to know something first", self.name);
                    return Err(ToolError::permanent(message).code("input_required").whole(whole.clone()));
                }
                Some("input_required") => {
                    let asked = called.input_requests.map(|raw| serde_json::from_str(raw.get())).transpose();
                    let asked = asked.map_err(|error| bad_answer(&self.server.name, &error.to_string()))?;
                    calling.request_state = called.request_state;
                    calling.input_responses = Some(self.asked(&attempt, &caller, asked.unwrap_or_default()).await?);
                }
                Some("task") => return Err(bad_answer(&self.server.name, "a task, which it was not asked for")),
                _ if whole.get().len() <= LARGE_BYTES => return self.result(&whole, &called),
                _ => {
                    drop(called);
                    let read = move || self.result(&whole, &answer::read(&self.server.name, &whole)?);
                    return match tokio::task::spawn_blocking(read).await {
                        Ok(result) => result,
                        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
                    };
                }
            }
        }
        let message = format!("`{}` asked more than {ROUNDS_MAX} times before it did anything", self.name);
        Err(ToolError::permanent(message).code("mcp_no_answer").reached(Reached::Yes))
    }

    /// Asks whoever is behind the call what the server wants to know.
    async fn asked(
        &self,
        attempt: &Attempt,
        caller: &Caller,
        asked: BTreeMap<String, Question>,
    ) -> Result<InputResponses, ToolError> {
        if asked.len() > QUESTIONS_MAX {
            return Err(bad_answer(&self.server.name, &format!("more than {QUESTIONS_MAX} questions at once")));
        }
        let mut answers = InputResponses::new();
        for (name, Question { method, params }) in asked {
            let answer = tokio::select! {
                biased;
                // The round before has ended: nothing of it runs any more.
                () = attempt.aborted.cancelled() => return Err(ToolError::aborted(Reached::Yes)),
                answer = ask(Some(caller), &method, &params) => answer,
            };
            let Some(answer) = answer else {
                let method = super::shown(&method, 60);
                let message = format!("`{}` wants to know something (`{method}`), and nobody can answer", self.name);
                return Err(ToolError::permanent(message).code("mcp_no_answer").reached(Reached::Yes));
            };
            answers.insert(name, answer);
        }
        Ok(answers)
    }

    fn result(&self, whole: &JsonText, called: &Called<'_>) -> ToolResult {
        let Call { server, name, .. } = self;
        let spill_dir = spill_dir(server);
        let (inline_max, output_max) = (server.source.inline_max, server.source.output_max);
        let bounds = Bounds { inline_max, output_max, spill_dir: &spill_dir };
        answer::result(&server.name, name, whole, called, &bounds)
    }
}
