//! What is due when. Timers of calls come and go with every attempt and seldom fire, so they are forgotten lazily.
//! It does not know what firing one means.

use crate::types::{RateId, Time};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// Whose timer it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum TimerId {
    Call(u32),
    Run(u32),
    Rate(RateId),
}

/// All timers of an engine. A note is only valid while its owner still has that time; the owners keep it.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// Few, and each taken away when it no longer counts.
    rare: BTreeSet<(Time, TimerId)>,
    /// Of calls: many, valid or not.
    calls: BinaryHeap<Reverse<(Time, u32)>>,
    /// How many of `calls` are valid.
    valid: usize,
}

impl Timers {
    pub(crate) fn set_rare(&mut self, time: Time, id: TimerId) {
        self.rare.insert((time, id));
    }

    pub(crate) fn unset_rare(&mut self, time: Time, id: TimerId) {
        self.rare.remove(&(time, id));
    }

    /// The call's timer is due at `time`; it had none.
    pub(crate) fn set_call(&mut self, time: Time, slot: u32) {
        self.calls.push(Reverse((time, slot)));
        self.valid += 1;
    }

    /// The call's timer no longer counts. `is_valid` tells which notes still do; the heap stays within twice those.
    pub(crate) fn unset_call(&mut self, is_valid: impl Fn(Time, u32) -> bool) {
        self.valid -= 1;
        if self.calls.len() > 2 * self.valid + 64 {
            self.calls.retain(|Reverse((time, slot))| is_valid(*time, *slot));
        }
    }

    /// No call is left.
    pub(crate) fn forget_calls(&mut self) {
        self.calls = BinaryHeap::new();
        self.valid = 0;
    }

    /// When the first is due.
    pub(crate) fn next(&mut self, is_valid: impl Fn(Time, u32) -> bool) -> Option<Time> {
        while let Some(&Reverse((time, slot))) = self.calls.peek()
            && !is_valid(time, slot)
        {
            self.calls.pop();
        }
        let call = self.calls.peek().map(|x| x.0.0);
        let rare = self.rare.first().map(|x| x.0);
        match (call, rare) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Takes the first that is due at `now`; `next` was asked just before.
    pub(crate) fn pop(&mut self, now: Time) -> Option<TimerId> {
        if let Some(&(time, id)) = self.rare.first()
            && time <= now
            && self.calls.peek().is_none_or(|call| time <= call.0.0)
        {
            self.rare.pop_first();
            return Some(id);
        }
        let &Reverse((time, slot)) = self.calls.peek()?;
        if time > now {
            return None;
        }
        self.calls.pop();
        self.valid -= 1;
        Some(TimerId::Call(slot))
    }
}
