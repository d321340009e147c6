//! What the core keeps of a run and of a call: plain data, one state per call.
//! It does not know how states follow each other; only `Core::set` changes one.

use crate::forget::Later;
use crate::keys::{Block, Held};
use crate::policy::Rank;
use crate::pool::Pool;
use crate::types::*;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// No slot, no edge, no element, no entry of a pool.
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
    /// Somebody was asked whether it may run.
    Approval,
    /// An attempt of the leader will do for it too.
    Joined { leader: u32 },
    /// The driver looks on the disk for a result that will do.
    Looking,
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
    /// An attempt of another run holds an overlapping key.
    Hold { block: Block },
    /// A call that was passed over too often wants an overlapping key.
    Reserved,
}

/// A call, in its slot: what every call has. What only some have is in pools, so that a plan of a million calls
/// touches little memory for those that wait. The busiest come first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Call {
    pub(crate) state: State,
    pub(crate) flags: Flags,
    pub(crate) run: u32,
    /// Its class, which has its settings.
    pub(crate) class: u32,
    /// How many of its inputs have not ended.
    pub(crate) pending: u32,
    /// The first of the edges to what takes it as input.
    pub(crate) edges: u32,
    /// Counts its entries to `Ready`, to tell old notes about it from new ones.
    pub(crate) readied: u32,
    /// Its index in the run's list; for an element, its `foreach` call's.
    pub(crate) index: u32,
    pub(crate) attempt: u32,
    /// Its [`Active`], or `NONE`.
    pub(crate) active: u32,
    /// Its [`Keyed`], or `NONE`.
    pub(crate) keyed: u32,

    pub(crate) rank: Rank,
    /// Since when it waits for what it waits for now; while an attempt runs, its last sign of life.
    pub(crate) since: Time,
    /// Where what it takes begins in the run's `inputs`, and how many there are.
    pub(crate) inputs: (u32, u32),
    /// Which element, or `NONE`.
    pub(crate) element: u32,
    /// The slot of its `foreach` call, or `NONE`.
    pub(crate) parent: u32,
    /// Which of the run's `elements` are its own, or `NONE`.
    pub(crate) elements: u32,
}

/// What a call has that has claims.
#[derive(Debug, Default)]
pub(crate) struct Keyed {
    pub(crate) claims: Claims,
    /// The nodes of its claims; empty when it does not stand in line.
    pub(crate) held: SmallVec<[Held; 1]>,
}

/// What a call has that waited, is kept, or has started.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) timer: Time,
    pub(crate) attempt_started: Time,
    pub(crate) started: Time,
    pub(crate) waits: SmallVec<[Wait; 1]>,
    /// While it is kept: by whom, and its place among those kept there.
    pub(crate) kept_by: Option<CallRef>,
    pub(crate) ticket: u64,
}

impl Default for Active {
    fn default() -> Active {
        let waits = SmallVec::new();
        Active { timer: NEVER, attempt_started: NEVER, started: NEVER, waits, kept_by: None, ticket: 0 }
    }
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
    /// Its attempt started before the engine died, so that it uses no amounts.
    pub(crate) recorded: bool,
    /// It may be handed the result of another call of its identity.
    pub(crate) same: bool,
}

/// The elements of a `foreach` call.
#[derive(Debug, Default)]
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
    /// What was recorded of it is told again; then it is paused, or not, as this says.
    pub(crate) recovering: Option<bool>,
    pub(crate) cancelling: bool,
    pub(crate) deadline: Option<Time>,
    pub(crate) deadline_passed: bool,
    pub(crate) limits: Vec<LimitId>,
    /// The slots of the listed calls; where later ones are forgotten, of those it began with.
    pub(crate) listed: Vec<u32>,
    /// Where they are forgotten: the calls that were added.
    pub(crate) later: Option<Later>,
    /// The calls it began with have been listed.
    pub(crate) began: bool,
    /// What its calls take, by index in `listed`: those of one call side by side.
    pub(crate) inputs: Vec<Input>,
    /// The elements of its `foreach` calls.
    pub(crate) elements: Pool<Elements>,
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
    /// How often its call had become ready: another call in that slot later has become ready more often.
    pub(crate) readied: u32,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_call_is_small() {
        let sizes = [size_of::<Call>(), size_of::<State>(), size_of::<CallSpec>()];
        assert!(sizes[0] <= 112, "a call takes {sizes:?} bytes");
    }
}
