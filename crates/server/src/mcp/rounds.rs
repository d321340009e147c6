//! Questions to a client that is asked by results: a call waits while they are with the client, and goes on with the
//! request that brings the answers.
//! It does not know what is asked, nor what the call does.

use super::client::{Asker, Round};
use super::http::new_token;
use super::peer::{ANSWER_MAX, nobody};
use super::session::{Answering, Session};
use super::wire::{self, RpcError};
use fanout::{AnswerFuture, JsonText, PeerRequest};
use hashbrown::HashMap;
use rmcp::model::ErrorCode;
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

/// So many calls of a session wait for answers at once.
const HELD_MAX: usize = 1_000;
/// So much is asked in one result; the rest comes with the next.
const ASKED_MAX: usize = 100;
/// How states of ours begin, to be told from those of servers behind.
pub(super) const STATE: &str = "fanout:";

/// What one call wants to know of its client.
pub(super) struct Rounds {
    /// The request that began the call: what was sent with it belongs to the call in every round.
    pub(super) first: Arc<Asker>,
    asked: Mutex<Questions>,
    came: Notify,
}

#[derive(Default)]
struct Questions {
    last: u64,
    open: Vec<Question>,
}

struct Question {
    number: u64,
    asked: PeerRequest,
    answer: oneshot::Sender<JsonText>,
}

impl Rounds {
    /// Nothing is asked yet.
    pub(super) fn new(first: &Arc<Asker>) -> Arc<Rounds> {
        Arc::new(Rounds { first: first.clone(), asked: Mutex::default(), came: Notify::new() })
    }

    fn questions(&self) -> MutexGuard<'_, Questions> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks with the next result of the call; the answer comes with a later request.
    pub(super) fn ask(self: Arc<Rounds>, question: PeerRequest) -> AnswerFuture {
        let (sender, answer) = oneshot::channel();
        let mut questions = self.questions();
        questions.last += 1;
        let number = questions.last;
        questions.open.push(Question { number, asked: question, answer: sender });
        drop(questions);
        self.came.notify_one();
        let open = TakenBack { rounds: self, number };
        Box::pin(async move {
            let answer = tokio::time::timeout(ANSWER_MAX, answer).await;
            drop(open);
            match answer {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(_)) => Err(nobody("the client is gone")),
                Err(_) => Err(nobody("the client did not answer in an hour")),
            }
        })
    }

    /// Waits until something is asked.
    async fn something(&self) {
        while self.questions().open.is_empty() {
            self.came.notified().await;
        }
    }

    /// What is asked, by its key.
    fn requests(&self) -> Map<String, Value> {
        let params = |asked: &PeerRequest| serde_json::from_str::<Value>(asked.params.get()).unwrap_or_default();
        let request = |asked: &PeerRequest| json!({"method": &*asked.method, "params": params(asked)});
        let questions = self.questions();
        let asked = questions.open.iter().take(ASKED_MAX);
        asked.map(|question| (key(question.number), request(&question.asked))).collect()
    }

    /// Hands the answers to who asked; what has none is asked again.
    fn answer(&self, answers: &Map<String, Value>) {
        let mut questions = self.questions();
        let (answered, open) =
            std::mem::take(&mut questions.open).into_iter().partition(|one| answers.contains_key(&key(one.number)));
        questions.open = open;
        let answered: Vec<Question> = answered;
        drop(questions);
        for Question { number, answer, .. } in answered {
            // Fails only when nobody waits for it any more.
            let _ = answer.send(wire::text(&answers[&key(number)]));
        }
    }
}

fn key(number: u64) -> String {
    format!("fanout-{number}")
}

/// A question that nobody waits for any more is not asked.
struct TakenBack {
    rounds: Arc<Rounds>,
    number: u64,
}

impl Drop for TakenBack {
    fn drop(&mut self) {
        self.rounds.questions().open.retain(|question| question.number != self.number);
    }
}

/// A call under way, and what it was called with.
pub(super) struct Called {
    /// The number of the request that began it.
    pub(super) number: u64,
    /// It is a call of the session's run.
    pub(super) in_run: bool,
    pub(super) rounds: Arc<Rounds>,
    pub(super) name: String,
    pub(super) arguments: Map<String, Value>,
    /// What comes of it.
    pub(super) work: Answering,
    pub(super) session: Weak<Session>,
}

impl Drop for Called {
    fn drop(&mut self) {
        if let Some(session) = self.session.upgrade() {
            session.is_over(self.number);
        }
    }
}

/// The calls of a session that wait for their client, by the state that the client was given.
#[derive(Default)]
pub(super) struct Held(HashMap<String, (Called, AbortHandle)>);

impl Held {
    /// A state for one more call to go on by.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn new_state(&self) -> Result<String, String> {
        if self.0.len() >= HELD_MAX {
            return Err(format!("{HELD_MAX} calls wait for answers; answer some of them first"));
        }
        let token = new_token().map_err(|error| format!("no state can be made: {error}"))?;
        Ok(format!("{STATE}{token}"))
    }

    /// Takes in a call.
    pub(super) fn put(&mut self, state: &str, called: Called) {
        let (session, name) = (called.session.clone(), state.to_owned());
        let ends = tokio::spawn(async move {
            tokio::time::sleep(ANSWER_MAX).await;
            if let Some(session) = session.upgrade() {
                session.let_go(&name);
            }
        });
        self.0.insert(state.to_owned(), (called, ends.abort_handle()));
    }

    /// Takes out the call of a state.
    pub(super) fn take(&mut self, state: &str) -> Option<Called> {
        let (called, ends) = self.0.remove(state)?;
        ends.abort();
        Some(called)
    }

    /// Takes out the call that a request goes on with.
    ///
    /// # Errors
    /// Why there is none.
    fn take_for(&mut self, state: &str, name: &str, arguments: &Map<String, Value>) -> Result<Called, RpcError> {
        let is_it = |called: &Called| called.name == name && called.arguments == *arguments;
        match self.0.get(state) {
            Some((called, _)) if !is_it(called) => {
                Err(RpcError::params("this `requestState` is of a call of another tool, or with other arguments"))
            }
            _ => self.take(state).ok_or_else(|| {
                RpcError::params(
                    "no call waits for these answers: they have come before, or an hour has passed; call the tool \
                     again without `requestState`",
                )
            }),
        }
    }

    /// Nobody will come for any of them.
    pub(super) fn clear(&mut self) -> Vec<Called> {
        let ended = |(called, ends): (Called, AbortHandle)| {
            ends.abort();
            called
        };
        self.0.drain().map(|(_, held)| ended(held)).collect()
    }
}

/// What answers the request that a call is under way for: its result, or what it wants to know.
pub(super) fn follow(session: &Arc<Session>, mut called: Called) -> Answering {
    let session = Arc::clone(session);
    Box::pin(async move {
        tokio::select! {
            biased;
            answer = &mut called.work => return answer,
            () = called.rounds.something() => {}
        }
        let requests = called.rounds.requests();
        let state = session.hold(called).map_err(|why| RpcError::new(ErrorCode(-32_000), why))?;
        Ok(wire::text(&json!({"resultType": "input_required", "inputRequests": requests, "requestState": state})))
    })
}

/// Goes on with a call by a request that brings answers.
///
/// # Errors
/// What to answer where no such call waits.
pub(super) fn resume(
    session: &Arc<Session>,
    number: u64,
    round: &Round,
    name: &str,
    arguments: &Map<String, Value>,
) -> Result<Answering, RpcError> {
    let called = session.take_held(number, |held| held.take_for(&round.state, name, arguments))?;
    let answers = round.responses.as_ref().and_then(|text| serde_json::from_str(text.get()).ok()).unwrap_or_default();
    called.rounds.answer(&answers);
    Ok(follow(session, called))
}
