//! What is left of the calls that a run forgot: counts and sums for its account, and the names of the latest.
//! It does not know when a call may be forgotten: the core says so.

use crate::ended::{self, Totals};
use crate::hints::Costs;
use crate::report::Forgotten;
use crate::run::{RunData, Slot, ms};
use crate::tables::Tables;
use fanout_core::{CallRef, Outcome, Time};
use fanout_plan::{ToolId, ValidCall};
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::Arc;

/// Calls whose names are still known after they were forgotten, for those that have waited for them.
const NAMES_MAX: usize = 1_024;

/// Room that is kept though few calls are open.
const SPARE_MAX: usize = 1_024;

/// The calls added to a run that forgets, and what is left of those that are gone.
pub(crate) struct Later {
    calls: HashMap<u32, Box<LaterCall>>,
    /// The index of the next call.
    next: u32,
    /// There but while a call is taken out.
    left: Option<Box<Left>>,
}

/// A call that was added to a run that forgets.
pub(crate) struct LaterCall {
    pub(crate) valid: ValidCall,
    pub(crate) slot: Slot,
    pub(crate) listed: Time,
}

/// What is left of calls that are gone.
#[derive(Default)]
pub(crate) struct Left {
    by_outcome: [u64; 6],
    pub(crate) ran_ns: u64,
    pub(crate) waits: Totals,
    pub(crate) costs: Costs,
    names: HashMap<u32, (Arc<str>, ToolId)>,
    latest: VecDeque<u32>,
}

impl Later {
    /// Of a run that begins with this many calls, which stay.
    pub(crate) fn new(first: usize) -> Later {
        Later { calls: HashMap::new(), next: u32::try_from(first).unwrap_or(u32::MAX), left: Some(Box::default()) }
    }

    /// The index of the next call.
    pub(crate) fn next(&self) -> u32 {
        self.next
    }

    pub(crate) fn get(&self, index: u32) -> Option<&LaterCall> {
        self.calls.get(&index).map(|call| &**call)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut LaterCall> {
        self.calls.get_mut(&index).map(|call| &mut **call)
    }

    pub(crate) fn push(&mut self, call: LaterCall) {
        self.calls.insert(self.next, Box::new(call));
        self.next += 1;
    }

    fn remove(&mut self, index: u32) -> Option<Box<LaterCall>> {
        let gone = self.calls.remove(&index);
        if self.calls.capacity() > SPARE_MAX && self.calls.len() < self.calls.capacity() / 8 {
            self.calls.shrink_to(2 * self.calls.len());
        }
        gone
    }

    /// The id and the tool of a call that is gone, if it is not long ago.
    pub(crate) fn gone(&self, index: u32) -> Option<(&Arc<str>, ToolId)> {
        self.left.as_ref()?.names.get(&index).map(|(name, tool)| (name, *tool))
    }

    /// What is left of calls that are gone.
    pub(crate) fn take_left(&mut self) -> Option<Box<Left>> {
        self.left.take()
    }
}

impl Left {
    /// How many ended how.
    pub(crate) fn counts(&self) -> Forgotten {
        let count = |of: Outcome| self.by_outcome[of as usize];
        Forgotten {
            succeeded: count(Outcome::Succeeded),
            failed: count(Outcome::Failed),
            skipped: count(Outcome::Skipped),
            cancelled: count(Outcome::Cancelled),
            denied: count(Outcome::Denied),
            in_doubt: count(Outcome::InDoubt),
        }
    }

    fn name(&mut self, index: u32, name: Arc<str>, tool: ToolId) {
        if self.latest.len() >= NAMES_MAX
            && let Some(oldest) = self.latest.pop_front()
        {
            self.names.remove(&oldest);
        }
        self.names.insert(index, (name, tool));
        self.latest.push_back(index);
    }
}

/// Forgets a call that was added, with its elements, but for what the account of the run needs.
pub(crate) fn forget(run: &mut RunData, tables: &Tables, index: u32) {
    let Some(mut left) = run.later.as_mut().and_then(|later| later.left.take()) else { return };
    let whole: SmallVec<[CallRef; 1]> = run.with_elements(index).collect();
    for &call in &whole {
        let Some(slot) = run.slot(call) else { continue };
        left.ran_ns = left.ran_ns.saturating_add(slot.ran_ns);
        if let Some(end) = run.end(slot) {
            let expanded = call.element.is_none() && slot.elements().is_some();
            left.by_outcome[end.outcome as usize] += u64::from(!expanded);
            run.ends.waits(end).for_each(|wait| left.waits.add(ended::kind(run.id, wait.cause), ms(wait.ns)));
        }
        left.costs.note(run, tables, call);
    }
    for call in whole {
        if let Some(place) = run.slot_mut(call).and_then(|slot| slot.end.take()) {
            run.ends.remove(place);
        }
        run.breaks.forget(call);
        run.reused.remove(&call);
    }
    let gone = run.later.as_mut().and_then(|later| later.remove(index));
    if let Some(gone) = gone {
        run.plan.forget(&gone.valid.id);
        left.name(index, gone.valid.id, gone.valid.tool);
    }
    if let Some(later) = &mut run.later {
        later.left = Some(left);
    }
}
