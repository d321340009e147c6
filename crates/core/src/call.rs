//! What the core keeps of a run and of a call: plain data, one state per call.
//! It does not know how states follow each other; only `Core::set` changes one.

use crate::keys::{Block, Held};
use crate::policy::Rank;
use crate::types::*;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// No slot, no edge, no element.
pub(crate) const NONE: u32 = u32::MAX;
/// No moment.
pub(crate) const NEVER: Time = Time(u64::MAX);

/// Where a call is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Some input has not ended.
    Inputs,
    /// The driver resolves it.
    Resolving { again: bool },
    /// An earlier call holds an overlapping key.
    Ordered { block: Block },
    /// `on_failure: stop`: an earlier call has not succeeded yet.
    Gated,
    /// It may start as soon as it fits.
    Ready { kept: Kept },
    /// An attempt runs.
    Running,
    /// An attempt was told to end.
    Aborting { reason: AbortReason },
    /// Between two attempts.
    Backoff,
    /// An attempt is in doubt and somebody was asked.
    Doubt,
    /// A `foreach` call waits for its elements.
    Elements,
    /// It has its outcome.
    Ended,
}

/// What keeps a single ready call out of its class's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Nothing: it is in the queue.
    Not,
    /// An attempt of another run holds an overlapping key; the ticket is its place among those waiting there.
    Hold { block: Block, ticket: u64, holder: CallRef },
    /// A call that was passed over too often wants an overlapping key.
    Reserved { by: CallRef },
}

/// A call, in its slot. Laid out by what is looked at together: 64 bytes each, the busiest first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Call {
    pub(crate) state: State,
    pub(crate) run: u32,
    pub(crate) class: u32,
    /// How many of its inputs have not ended.
    pub(crate) pending: u32,
    /// The first of the edges to what takes it as input.
    pub(crate) edges: u32,
    /// Counts its entries to `Ready`, to tell old notes about it from new ones.
    pub(crate) readied: u32,
    /// Its index in the run's list; for an element, its `foreach` call's.
    pub(crate) index: u32,

    pub(crate) rank: Rank,
    pub(crate) settings: Arc<Settings>,
    /// Since when it waits for what it waits for now; while an attempt runs, its last sign of life.
    pub(crate) since: Time,
    pub(crate) timer: Time,
    /// Which element, or `NONE`.
    pub(crate) element: u32,
    pub(crate) attempt: u32,
    /// The slot of its `foreach` call, or `NONE`.
    pub(crate) parent: u32,
    pub(crate) flags: Flags,

    /// The nodes of its claims; empty when it does not stand in line.
    pub(crate) held: SmallVec<[Held; 1]>,
    pub(crate) waits: Vec<Wait>,
    pub(crate) claims: Claims,

    /// What it takes, by index in the run's list.
    pub(crate) inputs: SmallVec<[Input; 2]>,
    pub(crate) elements: Option<Box<Elements>>,
    pub(crate) attempt_started: Time,
    pub(crate) started: Time,
}

/// What is true of a call.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts")]
pub(crate) struct Flags {
    pub(crate) foreach: bool,
    pub(crate) resolve: bool,
    /// It ended with a result, or a value in its place.
    pub(crate) has_result: bool,
    /// It ended in a way that `on_failure: stop` goes on after.
    pub(crate) good: bool,
    /// It waited for a key since its keys were named.
    pub(crate) waited_key: bool,
    /// An element whose keys are not in line yet: its parent keeps the place.
    pub(crate) unplaced: bool,
    /// Its attempt holds its keys against other runs.
    pub(crate) holding: bool,
    /// Its attempt uses amounts lent by the parent of its run.
    pub(crate) borrowing: bool,
    /// Somebody cancelled it.
    pub(crate) cancelled: bool,
    /// Nobody knows whether its last attempt took effect, and another is to follow.
    pub(crate) doubtful: bool,
}

/// The elements of a `foreach` call.
#[derive(Debug)]
pub(crate) struct Elements {
    pub(crate) slots: Vec<u32>,
    pub(crate) unplaced: u32,
    pub(crate) open: u32,
    pub(crate) without_result: u32,
    pub(crate) cancelled: u32,
}

/// An edge from a call to one that takes it as input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    pub(crate) to: u32,
    pub(crate) next: u32,
    pub(crate) kind: InputKind,
}

/// A run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: RunId,
    pub(crate) weight: u32,
    pub(crate) seed: u64,
    pub(crate) open: bool,
    pub(crate) paused: bool,
    pub(crate) cancelling: bool,
    pub(crate) deadline: Option<Time>,
    pub(crate) deadline_passed: bool,
    pub(crate) limits: Vec<LimitId>,
    /// The slots of the listed calls.
    pub(crate) listed: Vec<u32>,
    pub(crate) edges: Vec<Edge>,
    pub(crate) open_calls: u32,
    /// Virtual time of the fair queueing between runs.
    pub(crate) service: u64,
    pub(crate) ready: u32,
    /// Its classes by the address of their settings, which the class keeps alive; never iterated.
    pub(crate) class_of: HashMap<usize, u32>,
    pub(crate) classes: Vec<u32>,
    pub(crate) gate: Option<Gate>,
    /// What overlaps one of these starts after a doubt.
    pub(crate) doubts: Vec<Claims>,
    pub(crate) lender: Option<Lender>,
}

/// The attempt inside which a run was started.
#[derive(Debug)]
pub(crate) struct Lender {
    pub(crate) slot: u32,
    pub(crate) attempt: u32,
    pub(crate) run: u32,
    pub(crate) needs: Box<[(LimitId, u64)]>,
    /// Whether a call of the run uses the amounts now.
    pub(crate) lent: bool,
}

/// `on_failure: stop`: which calls have not succeeded yet, and who waits for that.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    pub(crate) open: BTreeMap<u64, u32>,
    pub(crate) waiting: BTreeMap<u64, u32>,
    /// The earliest failure.
    pub(crate) failed: Option<(u64, u32)>,
}

impl Call {
    /// Its place in the serial order of the run.
    pub(crate) fn order(&self) -> u64 {
        self.rank.order
    }

    /// Whether an attempt is under way.
    pub(crate) fn in_flight(&self) -> bool {
        matches!(self.state, State::Running | State::Aborting { .. })
    }

    pub(crate) fn writes(&self) -> bool {
        self.claims.iter().any(|c| c.write)
    }

    /// Notes that it waited for `cause` until now.
    pub(crate) fn account(&mut self, cause: Cause, now: Time) {
        if now <= self.since {
            return;
        }
        let duration = now.since(self.since);
        self.since = now;
        if self.waits.is_empty() {
            // Most calls wait for one thing.
            self.waits.reserve_exact(1);
        }
        self.waits.push(Wait { cause, duration });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_call_is_small() {
        let sizes = [size_of::<Call>(), size_of::<State>(), size_of::<CallSpec>()];
        assert!(sizes[0] <= 240, "a call takes {sizes:?} bytes");
    }
}
