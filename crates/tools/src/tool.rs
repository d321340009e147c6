//! What every adapter offers (`Tool`) and what it is given for an attempt (`Attempt`).
//! It does not know how any particular kind of tool is called.

use crate::peer::{Peer, Told};
use serde_json::value::RawValue;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// A result as JSON text, shared and parsed only when looked into.
pub type JsonText = Arc<RawValue>;

/// The future of one attempt.
pub type ToolFuture = Pin<Box<dyn Future<Output = ToolResult> + Send + 'static>>;

/// What an attempt ends with.
pub type ToolResult = Result<ToolOutput, ToolError>;

/// A way to call something: one value per tool, shared by all its attempts.
///
/// Contract: the future resolves soon after `attempt.aborted` fires, and when it resolves nothing of the attempt
/// runs any more (process trees are reaped). Dropping the future must also end the attempt, if less politely.
pub trait Tool: Send + Sync + 'static {
    /// Start one attempt. Must not block; the work is done by the future.
    fn call(&self, attempt: Attempt) -> ToolFuture;
}

/// What one attempt is given.
pub struct Attempt {
    /// The arguments, validated against the tool's schema.
    pub args: JsonText,
    /// Which call of which run and which try, for messages and for the environment of processes.
    pub id: AttemptId,
    /// Fires when the attempt is to end early.
    pub aborted: Aborted,
    /// Where signs of life go.
    pub progress: Progress,
    /// Who is behind its run, if anybody is.
    pub peer: Option<Arc<dyn Peer>>,
}

/// Whether an attempt is to end early. Cheap to clone, all clones are one; and cheap where nobody waits for it,
/// as in an attempt that ends at once.
///
/// ```
/// let aborted = fanout_tools::Aborted::new();
/// let heard = aborted.clone();
/// aborted.cancel();
/// assert!(heard.is_cancelled());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Aborted(Arc<AbortedInner>);

#[derive(Debug, Default)]
struct AbortedInner {
    /// The same as `token` knows behind a lock.
    fired: AtomicBool,
    token: CancellationToken,
}

impl Aborted {
    /// Not yet.
    pub fn new() -> Aborted {
        Aborted::default()
    }

    /// The attempt is to end early.
    pub fn cancel(&self) {
        self.0.fired.store(true, Ordering::Release);
        self.0.token.cancel();
    }

    /// Whether the attempt is to end early.
    pub fn is_cancelled(&self) -> bool {
        self.0.fired.load(Ordering::Acquire)
    }

    /// Waits until the attempt is to end early. Dropping it half way loses nothing.
    pub fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        self.0.token.cancelled()
    }

    /// A token that fires with this one and can also be fired alone, for parts of an attempt.
    pub fn child_token(&self) -> CancellationToken {
        self.0.token.child_token()
    }
}

impl Attempt {
    /// A key under which a server can tell that attempts are of one call: 64 hexadecimal digits that are the same for
    /// each attempt of a call of a run with the same arguments, and for nothing else.
    pub fn idempotency_key(&self) -> String {
        let mut hash = blake3::Hasher::new();
        for part in [&*self.id.run, &*self.id.call, self.args.get()] {
            // With their lengths, so that no two lists of parts are the same bytes.
            hash.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hash.finalize().to_hex().to_string()
    }

    /// Tells whoever is behind the run something, which is a sign of life too.
    pub fn tell(&self, told: Told) {
        self.progress.told(&self.id, &told);
        if let Some(peer) = &self.peer {
            peer.told(&self.id, told);
        }
    }
}

/// The name of an attempt, unique in the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptId {
    /// The run.
    pub run: Arc<str>,
    /// The call's id, with its index when it is an element: `fares[3]`.
    pub call: Arc<str>,
    /// Which try, from 1.
    pub attempt: u32,
}

/// Signs of life of an attempt. Cheap to clone and to call often: it only reaches the driver now and then.
#[derive(Clone)]
pub struct Progress {
    signs: Option<Arc<ProgressInner>>,
    ear: Option<Ear>,
}

/// Hears what attempts tell, whoever is behind their run. It returns at once.
pub type Ear = Arc<dyn Fn(&AttemptId, &Told) + Send + Sync>;

struct ProgressInner {
    interval_ns: u64,
    origin: std::time::Instant,
    next_ns: AtomicU64,
    notify: Box<dyn Fn() + Send + Sync>,
}

impl Progress {
    /// Nobody listens.
    pub fn none() -> Progress {
        Progress { signs: None, ear: None }
    }

    /// Calls `notify` at most once per `interval`, however often there is progress.
    pub fn every(interval: Duration, notify: impl Fn() + Send + Sync + 'static) -> Progress {
        let signs = ProgressInner {
            interval_ns: u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX),
            origin: std::time::Instant::now(),
            next_ns: AtomicU64::new(0),
            notify: Box::new(notify),
        };
        Progress { signs: Some(Arc::new(signs)), ear: None }
    }

    /// What the attempt tells is heard here too.
    #[must_use]
    pub fn heard_by(self, ear: Ear) -> Progress {
        Progress { ear: Some(ear), ..self }
    }

    /// The attempt told something, which is a sign of life too.
    pub fn told(&self, attempt: &AttemptId, told: &Told) {
        self.made();
        if let Some(ear) = &self.ear {
            ear(attempt, told);
        }
    }

    /// The attempt did something.
    pub fn made(&self) {
        let Some(inner) = &self.signs else { return };
        let now = u64::try_from(inner.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let next = inner.next_ns.load(Ordering::Relaxed);
        if now >= next
            && inner
                .next_ns
                .compare_exchange(next, now.saturating_add(inner.interval_ns), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            (inner.notify)();
        }
    }
}

/// What a tool gave back.
#[derive(Clone, Debug)]
pub struct ToolOutput {
    /// The result.
    pub value: JsonText,
    /// What the kernel counted for a process tool.
    pub usage: Option<Usage>,
    /// The answer as its server wrote it, where that is more than the value: MCP's `CallToolResult`, for a face that
    /// hands it on.
    pub whole: Option<JsonText>,
}

impl ToolOutput {
    /// A result without accounting.
    pub fn new(value: JsonText) -> ToolOutput {
        ToolOutput { value, usage: None, whole: None }
    }
}

/// What an attempt cost, as counted by the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processor time, user and system.
    pub cpu: Duration,
    /// The largest resident set, in bytes.
    pub memory_bytes_max: u64,
}

/// What went wrong in an attempt. A fact; whether it is retried is decided elsewhere.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ToolError {
    /// The kind decisions depend on.
    pub class: ErrorClass,
    /// A stable code with a page under `docs/errors/`, such as `process_exit`.
    pub code: &'static str,
    /// What, on what, why, and what to do. No secrets.
    pub message: String,
    /// When the tool asked to be tried again at the earliest.
    pub retry_after: Option<Duration>,
    /// Whether the tool can have been reached.
    pub reached: Reached,
    /// More for a person or a model, such as the end of standard error. Bounded by the adapter.
    pub detail: Option<String>,
    /// What its server answered, word for word, for a face that hands it on: MCP's `CallToolResult` that is an error or
    /// wants to know more, or the object of a JSON-RPC error.
    pub whole: Option<JsonText>,
}

/// The kinds of failure that decisions depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// May go away by itself.
    Transient,
    /// Will be the same next time.
    Permanent,
    /// It was aborted; `reached` tells whether it can have taken effect.
    Aborted,
}

/// Whether an attempt can have reached its tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// Proven not.
    No,
    /// Yes, and the tool itself told how it ended.
    Yes,
    /// Perhaps, and nobody told how it ended.
    Unknown,
}

impl ToolError {
    /// A failure that the tool itself told of and that will be the same next time; its code is `tool_failed`.
    pub fn permanent(message: impl Into<String>) -> ToolError {
        ToolError::told(ErrorClass::Permanent, message.into())
    }

    /// A failure that the tool itself told of and that may go away by itself; its code is `tool_failed`.
    ///
    /// ```
    /// use fanout_tools::ToolError;
    /// use std::time::Duration;
    /// let busy = ToolError::transient("the printer is busy").after(Duration::from_secs(2));
    /// assert_eq!(busy.retry_after, Some(Duration::from_secs(2)));
    /// ```
    pub fn transient(message: impl Into<String>) -> ToolError {
        ToolError::told(ErrorClass::Transient, message.into())
    }

    /// The same error under another code. A code is stable, in snake_case, and has a page.
    pub fn code(self, code: &'static str) -> ToolError {
        ToolError { code, ..self }
    }

    /// The same error, not to be retried before `delay` has passed.
    pub fn after(self, delay: Duration) -> ToolError {
        ToolError { retry_after: Some(delay), ..self }
    }

    /// The same error, saying whether the tool can have been reached.
    pub fn reached(self, reached: Reached) -> ToolError {
        ToolError { reached, ..self }
    }

    /// The same error with more for a person or a model to read; nothing when it is empty.
    pub fn detail(self, detail: impl Into<String>) -> ToolError {
        let detail = detail.into();
        ToolError { detail: (!detail.is_empty()).then_some(detail), ..self }
    }

    /// The same error with what its server answered, word for word.
    pub fn whole(self, whole: JsonText) -> ToolError {
        ToolError { whole: Some(whole), ..self }
    }

    /// The end of an attempt that was aborted.
    pub fn aborted(reached: Reached) -> ToolError {
        let message = match reached {
            Reached::No => "the attempt was aborted before it started",
            Reached::Yes | Reached::Unknown => "the attempt was aborted while it ran",
        };
        ToolError { class: ErrorClass::Aborted, code: "aborted", reached, ..ToolError::permanent(message) }
    }

    fn told(class: ErrorClass, message: String) -> ToolError {
        ToolError {
            class,
            code: "tool_failed",
            message,
            retry_after: None,
            reached: Reached::Yes,
            detail: None,
            whole: None,
        }
    }
}

impl From<String> for ToolError {
    fn from(message: String) -> ToolError {
        ToolError::permanent(message)
    }
}

impl From<&str> for ToolError {
    fn from(message: &str) -> ToolError {
        ToolError::permanent(message)
    }
}

impl From<std::io::Error> for ToolError {
    fn from(error: std::io::Error) -> ToolError {
        ToolError::permanent(error.to_string())
    }
}

impl From<serde_json::Error> for ToolError {
    fn from(error: serde_json::Error) -> ToolError {
        ToolError::permanent(error.to_string())
    }
}
