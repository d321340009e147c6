//! When calls paused between attempts: behind one that failed or is in doubt, until the next starts.
//! It does not know why; calls that ran in one piece are not in it, so that they cost nothing.

use fanout_core::{CallRef, Time};
use hashbrown::HashMap;
use std::borrow::Cow;

/// Breaks kept per call. A call that is tried for ever must not fill the memory; what comes later stays unsaid.
pub(crate) const BREAKS_MAX: usize = 1_000;

/// A pause of a call.
pub(crate) struct Break {
    /// When the attempt before it ended.
    pub(crate) began: Time,
    /// When the attempt behind it started, if one did.
    pub(crate) over: Option<Time>,
    /// What went wrong with the attempt before it.
    pub(crate) code: Option<Cow<'static, str>>,
}

/// The pauses of the calls of a run, in order.
#[derive(Default)]
pub(crate) struct Breaks {
    calls: HashMap<CallRef, Vec<Break>>,
}

impl Breaks {
    /// An attempt of the call ended, and the call did not.
    pub(crate) fn begin(&mut self, call: CallRef, now: Time, code: Option<Cow<'static, str>>) {
        let breaks = self.calls.entry(call).or_default();
        if breaks.len() < BREAKS_MAX {
            breaks.push(Break { began: now, over: None, code });
        }
    }

    /// The next attempt of the call starts.
    pub(crate) fn over(&mut self, call: CallRef, now: Time) {
        if let Some(last) = self.calls.get_mut(&call).and_then(|breaks| breaks.last_mut()) {
            last.over.get_or_insert(now);
        }
    }

    /// Nobody will ask about this call.
    pub(crate) fn forget(&mut self, call: CallRef) {
        if !self.calls.is_empty() {
            self.calls.remove(&call);
        }
    }

    /// The pauses of a call.
    pub(crate) fn of(&self, call: CallRef) -> &[Break] {
        self.calls.get(&call).map_or(&[], Vec::as_slice)
    }
}
