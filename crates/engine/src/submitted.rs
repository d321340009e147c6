//! One call given to an open run, and its answer (`RunHandle::submit`).
//! It does not know the run: the driver answers when the call ends.

use crate::event::Outcome;
use crate::handle::run_ended;
use crate::report::{CallError, WaitReport};
use fanout_plan::Diagnostic;
use fanout_tools::JsonText;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// How a submitted call ended.
#[derive(Clone, Debug)]
pub struct CallEnd {
    /// Its id.
    pub id: Arc<str>,
    /// How it ended.
    pub outcome: Outcome,
    /// Its result, or what it has in place of one by its `on_failure`.
    pub value: Option<JsonText>,
    /// The answer as its server wrote it, where the tool gave that: [`ToolOutput::whole`](fanout_tools::ToolOutput),
    /// or [`ToolError::whole`](fanout_tools::ToolError) of the attempt that failed last.
    pub whole: Option<JsonText>,
    /// What went wrong, or why it was skipped.
    pub error: Option<CallError>,
    /// Attempts started.
    pub attempts: u32,
    /// What it waited for, in order.
    pub waits: Vec<WaitReport>,
    /// It started after something that overlaps its keys ended in doubt.
    pub after_doubt: bool,
    /// It was handed the result of another call instead of being made.
    pub reused: bool,
}

/// Where the answer to a submitted call goes.
pub(crate) type Reply = oneshot::Sender<Result<CallEnd, Vec<Diagnostic>>>;

/// The answer to a submitted call, when it has ended. Dropping it does not cancel the call.
#[derive(Debug)]
pub struct Submitted {
    answer: oneshot::Receiver<Result<CallEnd, Vec<Diagnostic>>>,
}

impl Submitted {
    /// A place for an answer, and where it is put.
    pub(crate) fn new() -> (Reply, Submitted) {
        let (reply, answer) = oneshot::channel();
        (reply, Submitted { answer })
    }
}

impl Future for Submitted {
    type Output = Result<CallEnd, Vec<Diagnostic>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Without an answer the engine is gone, and the run with it.
        Pin::new(&mut self.answer).poll(cx).map(|answer| answer.unwrap_or_else(|_| Err(vec![run_ended()])))
    }
}
