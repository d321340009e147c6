//! Results on a disk that engines share and outlive: when a call looks there, what is stored, and when it must be known
//! there that something is written.
//! It does not know the disk. That is the driver's; it notices there what other engines write.
//!
//! A call looks when it is ready to start, as it would for a result in memory, and again only when a result of its
//! identity was stored by this engine since. What it is told then (a [`Stamp`]) goes with the result it stores, so that
//! a write between the look and the store is noticed whoever made it. A write is *open* on the disk from before each
//! attempt starts until nothing of the call can take effect any more.

use crate::call::State;
use crate::core::Core;
use crate::fault::Fault;
use crate::keys::NumberMap;
use crate::policy;
use crate::types::*;

/// What is known of the disk.
#[derive(Debug, Default)]
pub(crate) struct OnDisk {
    pub(crate) on: bool,
    looks: u64,
    /// The questions of calls that wait for an answer, by slot; never iterated.
    asked: NumberMap<u32, u64>,
    /// What calls were told that found nothing, by slot; never iterated.
    looked: NumberMap<u32, Looked>,
}

#[derive(Clone, Copy, Debug)]
struct Looked {
    /// The last entry there was when it asked.
    before: u64,
    stamp: Option<Stamp>,
}

impl OnDisk {
    /// Whether there may be something on the disk that was not there when the call looked; `stored` is what this engine
    /// stored of its identity.
    pub(crate) fn wants_look(&self, slot: u32, stored: impl FnOnce() -> Option<u64>) -> bool {
        match self.looked.get(&slot) {
            None => true,
            Some(looked) => stored().is_some_and(|entry| entry > looked.before),
        }
    }

    /// An attempt of a call is over: what its look told, which counts for that attempt.
    pub(crate) fn landed(&mut self, slot: u32) -> Option<Stamp> {
        if self.looked.is_empty() { None } else { self.looked.remove(&slot)?.stamp }
    }

    /// A call has ended.
    pub(crate) fn forget(&mut self, slot: u32) {
        self.asked.remove(&slot);
        self.looked.remove(&slot);
    }
}

impl Core {
    /// A call that is ready to start looks on the disk first.
    pub(crate) fn look(&mut self, slot: u32) {
        if matches!(self.call(slot).state, State::Ready { .. }) {
            let cause = self.ready_cause(slot).unwrap_or(Cause::Resolve);
            self.account(slot, cause);
        }
        let before = self.results.last_entry();
        let disk = &mut self.results.disk;
        disk.looks += 1;
        let look = disk.looks;
        disk.asked.insert(slot, look);
        disk.looked.insert(slot, Looked { before, stamp: None });
        let call = self.call_ref(slot);
        self.actions.push_back(Action::Look { call, look });
        self.set(slot, State::Looking);
    }

    /// The driver looked. What was asked for a call that has ended since is ignored.
    pub(crate) fn looked_up(&mut self, call: CallRef, look: u64, given: Option<Time>, stamp: Option<Stamp>) {
        let Some(slot) = self.find(call) else { return };
        if self.call(slot).state != State::Looking || self.results.disk.asked.get(&slot) != Some(&look) {
            return;
        }
        self.results.disk.asked.remove(&slot);
        self.account(slot, Cause::Look);
        let run = self.run_at(self.call(slot).run);
        let (paused, ttl) = (run.paused, self.settings(slot).reuse.and_then(|reuse| reuse.ttl));
        let fresh = |given: Time| policy::is_fresh(ttl, given, self.now) || self.planted.is(Fault::OldFoundOnDisk);
        if given.is_some_and(fresh) && !paused {
            return self.hand_on(slot, Source::Disk);
        }
        if paused {
            // It looks again when it is picked.
            self.results.disk.looked.remove(&slot);
        } else if let Some(looked) = self.results.disk.looked.get_mut(&slot) {
            looked.stamp = stamp;
        }
        match self.planted.is(Fault::LookedBeforeTurn) {
            true => self.take_turn(slot),
            false => self.get_ready(slot),
        }
    }

    /// An attempt that writes is about to start. While a record is told, what is on the disk went there with it.
    pub(crate) fn open_write(&mut self, slot: u32) {
        if self.is_noted_on_disk(slot) && !self.planted.is(Fault::DiskWriteKeeps) {
            let call = self.call_ref(slot);
            self.actions.push_back(Action::OpenWrite { call });
        }
    }

    /// An attempt that may have written is over. Where it may still take effect, the write stays open.
    pub(crate) fn close_write(&mut self, slot: u32) {
        let over = !self.is_doubted(slot) || self.planted.is(Fault::DoubtClosedOnDisk);
        if self.is_noted_on_disk(slot) && over {
            let call = self.call_ref(slot);
            self.actions.push_back(Action::CloseWrite { call });
        }
    }

    fn is_noted_on_disk(&self, slot: u32) -> bool {
        self.results.disk.on
            && self.claims(slot).iter().any(|claim| claim.write)
            && self.run_at(self.call(slot).run).recovering.is_none()
    }
}
