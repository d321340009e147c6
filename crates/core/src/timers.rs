//! What is due when: one ordered set of timers, each at most once.
//! It does not know what firing one means.

use crate::call::NEVER;
use crate::types::{RateId, Time};
use hashbrown::HashMap;
use std::collections::BTreeSet;

/// Whose timer it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum TimerId {
    Call(u32),
    Run(u32),
    Rate(RateId),
}

/// All timers of an engine.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Time, TimerId)>,
    /// When each of them is due; looked up only.
    at: HashMap<TimerId, Time>,
}

impl Timers {
    /// Sets a timer anew; [`NEVER`] takes it away.
    pub(crate) fn set(&mut self, time: Time, id: TimerId) {
        let old = if time == NEVER { self.at.remove(&id) } else { self.at.insert(id, time) };
        if old == Some(time) {
            return;
        }
        if let Some(old) = old {
            self.due.remove(&(old, id));
        }
        if time != NEVER {
            self.due.insert((time, id));
        }
    }

    /// When the first is due.
    pub(crate) fn next(&self) -> Option<Time> {
        self.due.first().map(|x| x.0)
    }

    /// Takes the first that is due at `now`.
    pub(crate) fn pop(&mut self, now: Time) -> Option<TimerId> {
        let &(time, id) = self.due.first()?;
        if time > now {
            return None;
        }
        self.due.pop_first();
        self.at.remove(&id);
        Some(id)
    }
}
