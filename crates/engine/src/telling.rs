//! How far the running calls of a run say they are: the latest of each, and now and then an event.
//! It does not know what calls do, nor who is behind the run.

use crate::defaults;
use crate::message::Message;
use fanout_core::RunId;
use fanout_tools::{AttemptId, Ear, Told};
use hashbrown::HashMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

/// How far a call says it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallProgress {
    /// How much is done; it only grows.
    pub done: f64,
    /// Of how much, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Arc<str>>,
}

/// What the attempts of a run told. Attempts write, the driver reads; the lock is held for a moment.
pub(crate) struct Telling {
    shared: Arc<Shared>,
    ear: Ear,
}

struct Shared {
    run: RunId,
    inbox: UnboundedSender<Message>,
    /// Anything was told: most runs never look behind the lock.
    any: AtomicBool,
    calls: Mutex<HashMap<Arc<str>, Heard>>,
}

struct Heard {
    attempt: u32,
    latest: CallProgress,
    /// When the next event is due.
    next: Instant,
}

impl Telling {
    pub(crate) fn new(run: RunId, inbox: UnboundedSender<Message>) -> Telling {
        let shared = Arc::new(Shared { run, inbox, any: AtomicBool::new(false), calls: Mutex::default() });
        let hears = shared.clone();
        Telling { shared, ear: Arc::new(move |attempt, told| hears.hear(attempt, told)) }
    }

    /// What attempts tell to.
    pub(crate) fn ear(&self) -> Ear {
        self.ear.clone()
    }

    /// What the running attempt of a call told last.
    pub(crate) fn latest(&self, call: &str, attempt: u32) -> Option<CallProgress> {
        if !self.shared.any.load(Ordering::Relaxed) {
            return None;
        }
        let calls = self.shared.lock();
        calls.get(call).filter(|heard| heard.attempt == attempt).map(|heard| heard.latest.clone())
    }

    /// The call does not run any more.
    pub(crate) fn forget(&self, call: impl FnOnce() -> Arc<str>) {
        if self.shared.any.load(Ordering::Relaxed) {
            self.shared.lock().remove(&call());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Heard>> {
        // Nothing that is done under the lock can leave half of it.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, id: &AttemptId, told: &Told) {
        let Told::Progress { done, total, message } = told else { return };
        if !done.is_finite() {
            return;
        }
        let message = message.as_ref().map(bounded);
        let latest = CallProgress { done: *done, total: total.filter(|total| total.is_finite()), message };
        let now = Instant::now();
        self.any.store(true, Ordering::Relaxed);
        let mut calls = self.lock();
        let known = calls.get(&id.call).filter(|heard| heard.attempt == id.attempt && now < heard.next);
        let next = known.map(|heard| heard.next);
        let due = next.is_none();
        let next = next.unwrap_or_else(|| now + defaults::TOLD_INTERVAL);
        calls.insert(id.call.clone(), Heard { attempt: id.attempt, latest: latest.clone(), next });
        drop(calls);
        if due {
            let (run, call, attempt) = (self.run, id.call.clone(), id.attempt);
            // Fails only when the driver is gone, and then nobody listens.
            let _ = self.inbox.send(Message::Told { run, call, attempt, progress: Box::new(latest) });
        }
    }
}

/// A message of bounded length.
fn bounded(message: &Arc<str>) -> Arc<str> {
    match message.char_indices().nth(defaults::TOLD_CHARS_MAX) {
        None => message.clone(),
        Some((end, _)) => format!("{}…", &message[..end]).into(),
    }
}
