//! Who is behind a run while its tools work (`Peer`): told of their progress, asked what they want to know.
//! It does not know what a question is about: it hands texts on.

use crate::tool::{AttemptId, JsonText, ToolError};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// The future of an answer.
pub type AnswerFuture = Pin<Box<dyn Future<Output = Result<JsonText, ToolError>> + Send + 'static>>;

/// Whoever is behind a run: a person at a terminal, or the client of a server that runs plans for it.
///
/// Methods are called from within attempts: they return at once, and what takes time is in the future.
pub trait Peer: Send + Sync + 'static {
    /// An attempt told something. Hears it in the order it was told.
    fn told(&self, attempt: &AttemptId, told: Told);

    /// An attempt asks something and waits for the answer; dropping the future takes the question back. An error
    /// says that there is no answer, and is what the asking tool gets.
    fn ask(&self, attempt: &AttemptId, question: PeerRequest) -> AnswerFuture;

    /// What the client behind the call sent along for a server that speaks its language: an object that may have
    /// `capabilities` and `logLevel`, as MCP's clients declare them with each request, and `rounds`, where the client
    /// answers what a server asks with another call: an object with its `inputResponses` and `requestState`, if any.
    /// With `rounds` nothing is asked here: an attempt whose server wants to know more ends with the code
    /// `input_required` and the server's result as its `whole`.
    fn relayed(&self, attempt: &AttemptId) -> Option<JsonText> {
        let _ = attempt;
        None
    }
}

/// What a tool tells while it works.
#[derive(Clone, Debug)]
pub enum Told {
    /// How far it is.
    Progress {
        /// How much is done; it only grows.
        done: f64,
        /// Of how much, if that is known.
        total: Option<f64>,
        /// In words.
        message: Option<Arc<str>>,
    },
    /// A message for a log, as the object that MCP's `notifications/message` has as its parameters.
    Log(JsonText),
}

/// What a tool asks while it works: a request as MCP's servers send them to clients.
#[derive(Clone, Debug)]
pub struct PeerRequest {
    /// Such as `elicitation/create`, `sampling/createMessage`, `roots/list`.
    pub method: Arc<str>,
    /// Its parameters; the answer is the result that the method has.
    pub params: JsonText,
}
