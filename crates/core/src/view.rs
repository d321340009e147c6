//! What a screen may see: the state of every call and what it waits for.
//! It does not change anything.

use crate::call::{Kept, State};
use crate::core::Core;
use crate::types::*;

/// A look at the core.
#[derive(Clone, Copy, Debug)]
pub struct View<'a>(&'a Core);

/// A call as a screen sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallView {
    /// The call.
    pub call: CallRef,
    /// What it is doing.
    pub state: CallState,
    /// What it waits for, when it does.
    pub cause: Option<Cause>,
    /// Since when it waits or runs.
    pub since: Time,
    /// Attempts started.
    pub attempt: u32,
}

/// What a call is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallState {
    /// It waits; the cause says for what.
    Waiting,
    /// An attempt runs.
    Running,
    /// An attempt was told to end.
    Aborting,
    /// It has its outcome.
    Ended,
}

impl Core {
    /// A look at what there is.
    pub fn view(&self) -> View<'_> {
        View(self)
    }

    /// What a call waits for; `None` when it runs, has ended, or may start at the next [`Core::poll_action`].
    pub(crate) fn cause(&self, slot: u32) -> Option<Cause> {
        let call = self.call(slot);
        match call.state {
            State::Inputs => {
                let run = self.run_at(call.run);
                let open =
                    |input: &&Input| run.slot_of(input.call).is_some_and(|from| self.call(from).state != State::Ended);
                // Between the end of the last input and its consequences, none is open.
                let inputs = self.inputs(slot);
                let input = inputs.iter().find(open).or(inputs.last());
                input.map(|input| Cause::Input(input.call))
            }
            State::Resolving { .. } => Some(Cause::Resolve),
            State::Ordered { block } => {
                // Between the end of the last that stood before it and what follows from that, none does.
                let left = || self.keys.woken.iter().rev().find(|woken| woken.0 == slot).map(|woken| woken.1);
                let first = || self.is_before(block.holder, slot).then_some(block.holder);
                let holder = self.keys.holder(block, call.run).or_else(first).or_else(left)?;
                Some(Cause::Key { holder: self.call_ref(holder), claim: block.claim })
            }
            State::Gated => {
                let gate = self.run_at(call.run).gate.as_ref()?;
                let failed = || {
                    let (_, index) = gate.failed?;
                    Some(CallRef { run: self.run_at(call.run).id, call: index, element: None })
                };
                let before = gate.open.range(..call.order()).next().map(|(_, &first)| self.call_ref(first));
                before.or_else(failed).map(Cause::Stop)
            }
            State::Ready { kept: Kept::Not | Kept::Hold { .. } | Kept::Reserved } => self.ready_cause(slot),
            State::Backoff => Some(Cause::Backoff),
            State::Doubt => Some(Cause::Doubt),
            State::Approval => Some(Cause::Approval),
            State::Elements => Some(Cause::Elements),
            State::Joined { leader } => Some(Cause::Flight(self.call_ref(leader))),
            State::Looking => Some(Cause::Look),
            State::Running | State::Aborting { .. } | State::Ended => None,
        }
    }

    fn call_view(&self, slot: u32) -> CallView {
        let call = self.call(slot);
        let (state, since) = match call.state {
            State::Running => (CallState::Running, self.attempt_started(slot)),
            State::Aborting { .. } => (CallState::Aborting, self.attempt_started(slot)),
            State::Ended => (CallState::Ended, call.since),
            _ => (CallState::Waiting, call.since),
        };
        CallView { call: self.call_ref(slot), state, cause: self.cause(slot), since, attempt: call.attempt }
    }
}

impl<'a> View<'a> {
    /// The calls of a run in list order, elements behind their `foreach` call; empty when the run is not there.
    /// Costs as much as the run has calls: for screens, not for decisions.
    pub fn calls(self, run: RunId) -> impl Iterator<Item = CallView> + 'a {
        let core = self.0;
        let listed = core.runs.get(&run).into_iter().flat_map(move |&slot| core.run_at(slot).slots());
        listed.flat_map(move |slot| {
            let elements = core.elements(slot).map(|e| e.slots.as_slice()).unwrap_or_default();
            std::iter::once(slot).chain(elements.iter().copied()).map(move |slot| core.call_view(slot))
        })
    }

    /// One call.
    pub fn call(self, call: CallRef) -> Option<CallView> {
        self.0.find(call).map(|slot| self.0.call_view(slot))
    }
}
