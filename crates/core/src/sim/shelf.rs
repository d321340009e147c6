//! The disk of results in a simulated world: what is on it from life to life, what other engines write, what a look
//! finds. Beside it, what makes a result stale, however it came there.
//! It does not know the core; that nothing stale is ever found is checked here.

use super::Scheduler;
use super::book::{Stage, name};
use super::drive::{Coming, Drive};
use super::oracle::{Checked, ensure};
use super::world::MS;
use crate::Fault;
use crate::types::*;
use hashbrown::{HashMap, HashSet};

/// A result on the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    pub(super) leader: CallRef,
    pub(super) identity: Identity,
    pub(super) reads: u64,
    pub(super) value: u64,
    pub(super) given: Time,
    /// How many effects there had been when it was read.
    read_at: usize,
    /// The version of the tools it was read with.
    version: u64,
}

/// What is known of looks.
#[derive(Default)]
pub(super) struct Looks {
    /// Calls that wait for an answer.
    pub(super) open: HashSet<CallRef>,
    /// What was found for calls and just told.
    pub(super) found: HashMap<CallRef, Stored>,
}

/// A change to the disk.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Store(Stored, Stamp),
    Open(CallRef, u64),
    Close(CallRef, u64),
}

/// What another engine does: it is about to write, it writes, nothing of it will change any more.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stranger {
    Open { number: u32, writes: u64, lasts: u64 },
    Write { writes: u64 },
    Close { number: u32, writes: u64 },
}

/// The disk, as it is after all that was committed.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    entries: Vec<Stored>,
    open: Vec<(CallRef, u64)>,
    /// Writes that are open once all that was ordered is on disk.
    ordered: Vec<CallRef>,
    written: Vec<(u64, u64)>,
    generation: u64,
    /// The version of the tools in this life.
    pub(super) version: u64,
    /// What may still take effect from lives before, of runs that have not been told.
    doubts: Vec<(CallRef, u64)>,
    strangers: u32,
}

impl Shelf {
    /// A change is committed; whether a result was taken in.
    fn apply(&mut self, op: &Op, fault: Option<Fault>) -> bool {
        let (who, writes, open) = match op {
            Op::Store(stored, stamp) => {
                let reads = stored.reads;
                let since = |(at, mask): &(u64, u64)| *at > stamp.0 && mask & reads != 0;
                let came = self.written.iter().any(since) && fault != Some(Fault::StoreUnstamped);
                let is_open = self.open.iter().any(|(_, writes)| writes & reads != 0);
                if (came || is_open) && fault != Some(Fault::StoredAcrossWrite) {
                    return false;
                }
                self.entries.retain(|other| (other.identity, other.reads) != (stored.identity, reads));
                self.entries.push(*stored);
                return true;
            }
            Op::Open(who, writes) => (who, *writes, true),
            Op::Close(who, writes) => (who, *writes, false),
        };
        self.generation += 1;
        self.entries.retain(|entry| entry.reads & writes == 0);
        self.written.push((self.generation, writes));
        self.open.retain(|(other, _)| other != who);
        if open {
            self.open.push((*who, writes));
        }
        false
    }
}

impl<S: Scheduler> Drive<'_, S> {
    /// What is ordered about the disk becomes a change, in the order of all that is recorded.
    pub(super) fn remember_on_disk(&mut self, action: &Action) {
        let op = match action {
            Action::OpenWrite { call } => Op::Open(*call, self.book.find(*call).map_or(0, |c| c.writes)),
            Action::CloseWrite { call } => Op::Close(*call, self.book.find(*call).map_or(0, |c| c.writes)),
            Action::Store { call, stamp, .. } => {
                let (Some(c), Some(identity)) = (self.book.find(*call), self.identity(*call)) else { return };
                let stored = Stored {
                    leader: *call,
                    identity,
                    reads: c.reads,
                    value: c.value_now,
                    given: self.book.now,
                    read_at: c.read_at,
                    version: self.shelf.version,
                };
                Op::Store(stored, *stamp)
            }
            _ => return,
        };
        match &op {
            Op::Open(who, _) if !self.shelf.ordered.contains(who) => self.shelf.ordered.push(*who),
            Op::Close(who, _) => self.shelf.ordered.retain(|other| other != who),
            _ => {}
        }
        self.keep_op(op);
    }

    /// Checks that what may still take effect is open on the disk; the core has nothing more to order.
    pub(super) fn doubts_are_open(&self) -> Checked {
        if !self.world.disk || self.journal.as_ref().is_none_or(|j| j.has_failed() || j.tampered) {
            return Ok(());
        }
        let runs = self.book.runs.iter().filter(|r| r.added && !r.ended && !r.recovering);
        let mut calls = runs.flat_map(|r| &r.calls).flat_map(|c| std::iter::once(c).chain(&c.elements));
        let closed = calls.find(|c| c.doubt && c.writes != 0 && !self.shelf.ordered.contains(&c.who));
        closed.map_or(Ok(()), |c| Err(format!("{} is in doubt, and its write is not open on the disk", name(c.who))))
    }

    /// A change is on disk for good.
    pub(super) fn apply(&mut self, op: &Op) -> Checked {
        let taken = self.shelf.apply(op, self.fault);
        let Op::Store(stored, _) = op else { return Ok(()) };
        if !taken || self.state_only {
            return Ok(());
        }
        let say = |what: &str| format!("the result of {} is stored on disk {what}", name(stored.leader));
        let before = self.shelf.doubts.iter().all(|(_, writes)| writes & stored.reads == 0);
        ensure(before && self.book.doubts(None) & stored.reads == 0, || say("while something it read is in doubt"))
    }

    /// A call looks on the disk, now or soon; the answer takes its time.
    pub(super) fn look(&mut self, call: CallRef, look: u64) {
        let delay = self.rng.pick(&[0, 0, 1, 5]) * MS;
        self.after(delay, Coming::Look { call, look });
    }

    pub(super) fn looked(&mut self, call: CallRef, look: u64) -> Checked {
        let (Some(c), Some(identity)) = (self.book.find(call), self.identity(call)) else { return Ok(()) };
        let broken = self.journal.as_ref().is_some_and(|j| j.has_failed()) || self.rng.percent(3);
        let found = self.shelf.entries.iter().find(|e| (e.identity, e.reads) == (identity, c.reads)).copied();
        let found = found.filter(|_| !broken);
        if let Some(found) = found.filter(|_| !self.state_only && c.stage != Stage::Ended) {
            let say = |what: &str| format!("the result of {} is found on disk {what}", name(found.leader));
            let spoilt = self.book.history[found.read_at..].iter().any(|mask| mask & found.reads != 0);
            ensure(!spoilt, || say("although something it read was written since"))?;
            ensure(found.version == self.shelf.version, || say("by another version of its tool"))?;
        }
        let stamp = (!broken).then_some(Stamp(self.shelf.generation));
        let given = found.map(|found| found.given);
        let delay = self.rng.pick(&[0, 0, 1, 5]) * MS;
        self.after(delay, Coming::LookedUp { found, event: Event::LookedUp { call, look, given, stamp } });
        Ok(())
    }

    /// Other engines that share the disk.
    pub(super) fn strangers(&mut self, from: Time) {
        if !self.world.disk {
            return;
        }
        for _ in 0..self.rng.pick(&[0, 0, 1, 3, 6]) {
            let node = self.world.base.under_all(&mut self.rng);
            let (number, writes, lasts) = (self.shelf.strangers, node.mask(), self.rng.pick(&[0, 1, 4, 20]) * MS);
            self.shelf.strangers += 1;
            let at = from.0 + self.rng.below(200) * MS;
            self.later(at, Coming::Stranger(Stranger::Open { number, writes, lasts }));
        }
    }

    pub(super) fn stranger(&mut self, does: Stranger) {
        let who = |number| CallRef { run: RunId(u32::MAX), call: number, element: None };
        match does {
            Stranger::Open { number, writes, lasts } => {
                self.shelf.apply(&Op::Open(who(number), writes), None);
                self.after(lasts / 2, Coming::Stranger(Stranger::Write { writes }));
                self.after(lasts, Coming::Stranger(Stranger::Close { number, writes }));
            }
            Stranger::Write { writes } => self.book.history.push(writes),
            Stranger::Close { number, writes } => _ = self.shelf.apply(&Op::Close(who(number), writes), None),
        }
    }

    /// The engine dies: what may still take effect is not known to the next until its run has been told.
    pub(super) fn leave_doubts(&mut self, unlaunched: &[CallRef]) {
        self.shelf.ordered.clear();
        for run in self.book.runs.iter().filter(|r| r.added && !r.ended && !r.recovering) {
            let calls = run.calls.iter().flat_map(|c| std::iter::once(c).chain(&c.elements));
            let open = calls.filter(|c| c.writes != 0 && !unlaunched.contains(&c.who));
            let open = open.filter(|c| c.doubt || (c.stage == Stage::Running && c.end.is_none()));
            self.shelf.doubts.extend(open.map(|c| (c.who, c.writes)));
        }
    }

    /// What is left is on the disk.
    pub(super) fn settle_shelf(&mut self) {
        self.shelf.ordered = self.shelf.open.iter().map(|(who, _)| *who).collect();
    }

    /// A run has been told: what is in doubt of it is known again.
    pub(super) fn doubts_told(&mut self, run: RunId) {
        self.shelf.doubts.retain(|(who, _)| who.run != run);
    }
}
