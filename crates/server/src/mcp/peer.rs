//! The client behind a call, for tools that tell and ask while they work.
//! It does not know what is told or asked.

use super::calls;
use super::client::Level;
use super::session::Session;
use super::wire;
use fanout::{AnswerFuture, AttemptId, JsonText, Peer, PeerRequest, Told, ToolError};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A question to a client waits this long for its answer: there may be a person behind it.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(60 * 60);

/// The client, for the calls of its run.
pub(super) struct RunPeer(pub(super) Weak<Session>);

impl Peer for RunPeer {
    fn told(&self, attempt: &AttemptId, told: Told) {
        if let Some((session, number)) = self.request(attempt) {
            tell(&session, number, told);
        }
    }

    fn ask(&self, attempt: &AttemptId, question: PeerRequest) -> AnswerFuture {
        match self.request(attempt) {
            Some((session, number)) => ask(&session, number, question),
            None => Box::pin(async { Err(nobody("the client is gone")) }),
        }
    }

    fn relayed(&self, attempt: &AttemptId) -> Option<JsonText> {
        let (session, number) = self.request(attempt)?;
        // What was sent along with the request that began the call.
        let first = session.rounds(number).map(|rounds| rounds.first.clone());
        Some(first.or_else(|| session.asker(number))?.relayed(session.level()))
    }
}

impl RunPeer {
    /// Which request an attempt is of.
    fn request(&self, attempt: &AttemptId) -> Option<(Arc<Session>, u64)> {
        Some((self.0.upgrade()?, calls::number(&attempt.call)?))
    }
}

/// The client, for all that is done for one of its requests.
pub(super) struct RequestPeer {
    pub(super) session: Weak<Session>,
    pub(super) number: u64,
    /// The answer to what is asked can come with another request: what is asked is then the result of this one.
    pub(super) takes_rounds: bool,
}

impl Peer for RequestPeer {
    fn told(&self, _attempt: &AttemptId, told: Told) {
        if let Some(session) = self.session.upgrade() {
            tell(&session, self.number, told);
        }
    }

    fn ask(&self, _attempt: &AttemptId, question: PeerRequest) -> AnswerFuture {
        match self.session.upgrade() {
            Some(session) => ask(&session, self.number, question),
            None => Box::pin(async { Err(nobody("the client is gone")) }),
        }
    }

    fn relayed(&self, _attempt: &AttemptId) -> Option<JsonText> {
        let session = self.session.upgrade()?;
        let relayed = session.asker(self.number)?.relayed(session.level());
        if self.takes_rounds {
            return Some(relayed);
        }
        let mut relayed: Value = serde_json::from_str(relayed.get()).ok()?;
        relayed.as_object_mut()?.remove("rounds");
        Some(wire::text(&relayed))
    }
}

fn tell(session: &Session, number: u64, told: Told) {
    let Some(asker) = session.asker(number) else { return };
    match told {
        Told::Progress { done, total, message } => {
            let Some(token) = &asker.token else { return };
            // Another attempt, or another call of the same plan, may begin anew; a client only hears of more.
            if !session.is_farther(number, done) {
                return;
            }
            let mut params = json!({"progressToken": token, "progress": done});
            if let Some(total) = total {
                params["total"] = total.into();
            }
            if let Some(message) = message {
                params["message"] = (&*message).into();
            }
            asker.outlet.offer(wire::notification("notifications/progress", &params.to_string()));
        }
        Told::Log(params) => {
            let wanted = if asker.modern { asker.level } else { session.level().or(Level::read("debug")) };
            let level = serde_json::from_str::<Logged>(params.get()).ok().and_then(|logged| Level::read(&logged.level));
            if wanted.is_some_and(|wanted| level.is_none_or(|level| level >= wanted)) {
                asker.outlet.offer(wire::notification("notifications/message", params.get()));
            }
        }
    }
}

#[derive(Deserialize)]
struct Logged {
    #[serde(default)]
    level: String,
}

fn ask(session: &Arc<Session>, number: u64, question: PeerRequest) -> AnswerFuture {
    let session = Arc::clone(session);
    Box::pin(async move {
        let rounds = session.rounds(number);
        let first = rounds.as_ref().map(|rounds| rounds.first.clone());
        let asker = first.or_else(|| session.asker(number));
        let Some(asker) = asker else { return Err(nobody("its request has ended")) };
        let needed = match &*question.method {
            "elicitation/create" => "elicitation",
            "sampling/createMessage" => "sampling",
            "roots/list" => "roots",
            other => return Err(nobody(&format!("there is no question `{}`", wire::shown(other)))),
        };
        if !asker.can(needed) {
            return Err(nobody(&format!("the client did not say that it has `{needed}`")));
        }
        if let Some(rounds) = rounds {
            return rounds.ask(question).await;
        }
        if asker.modern {
            return Err(nobody("a client of its revision of MCP is asked by results, and this request gives none"));
        }
        let (id, answer) = session.question();
        let asked = Asked { session: session.clone(), asker: asker.clone(), id };
        asker.outlet.send(wire::request(&id.to_string(), &question.method, question.params.get())).await;
        let answer = tokio::time::timeout(ANSWER_MAX, answer).await;
        match answer {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(error))) => {
                Err(nobody(&format!("the client refused ({}): {}", error.code, wire::shown(&error.message))))
            }
            Ok(Err(_)) => Err(nobody("the client is gone")),
            Err(_) => {
                drop(asked);
                Err(nobody("the client did not answer in an hour"))
            }
        }
    })
}

/// A question without an answer; taken back when it is dropped.
struct Asked {
    session: Arc<Session>,
    asker: Arc<super::client::Asker>,
    id: u64,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.session.take_back(self.id) {
            let params = json!({"requestId": self.id, "reason": "nobody waits for the answer any more"});
            self.asker.outlet.offer(wire::notification("notifications/cancelled", &params.to_string()));
        }
    }
}

/// There is no answer.
pub(super) fn nobody(why: &str) -> ToolError {
    ToolError::permanent(format!("nobody answered: {why}")).code("mcp_no_answer")
}
