//! The longest chain of calls each of which had to wait for the one before, by measured times.
//! It does not know how the calls were run.

use crate::run::{RunData, Slot};
use fanout_core::{CallRef, Cause};
use std::sync::Arc;

/// The longest chain.
pub(crate) struct Paths {
    /// The ids, first to last.
    pub(crate) chain: Vec<Arc<str>>,
    pub(crate) length_ns: u64,
}

/// No node.
const NONE: u32 = u32::MAX;

/// The longest way to the end of a call or element.
#[derive(Clone, Copy)]
struct Longest {
    ns: u64,
    /// The node before it on that way.
    before: u32,
    /// Whether the way is known. Keys that moved can make a call wait for one behind it, which must not close a ring.
    known: bool,
}

struct Search<'a> {
    run: &'a RunData,
    /// Calls first, then elements, those of one call side by side.
    longest: Vec<Longest>,
    /// Per call, the node of its first element; empty where no call has any.
    first_element: Vec<u32>,
    elements: Vec<CallRef>,
}

/// The longest chain of a run that has ended. In serial order everything a call waited for comes before it, so
/// one pass suffices.
pub(crate) fn measured(run: &RunData) -> Paths {
    let mut calls = run.slots.iter().zip(&run.plan.calls);
    if !is_ordered(run) && calls.all(|(slot, call)| call.inputs.is_empty() && slot.elements().is_none()) {
        return longest_call(run);
    }
    let (mut first_element, mut elements) = (Vec::new(), Vec::new());
    let count = u32::try_from(run.slots.len()).unwrap_or(u32::MAX);
    if run.slots.iter().any(|slot| slot.elements().is_some()) {
        for call in 0..count {
            first_element.push(count.saturating_add(u32::try_from(elements.len()).unwrap_or(u32::MAX)));
            elements.extend(run.with_elements(call).skip(1));
        }
    }
    let longest = vec![Longest { ns: 0, before: NONE, known: false }; run.slots.len() + elements.len()];
    let mut search = Search { run, longest, first_element, elements };
    let expanded = !search.elements.is_empty();
    for call in run.serial_order() {
        for element in run.with_elements(call).skip(1).take_while(|_| expanded) {
            search.visit(element);
        }
        search.visit(CallRef { run: run.id, call, element: None });
    }
    search.best()
}

/// Whether some call waited for another that is not an input of it, in this life of the run or an earlier one.
fn is_ordered(run: &RunData) -> bool {
    run.ends.ordered || !run.told_waits.is_empty()
}

/// Where no call waited for another, the longest chain is the longest call. Saves a million calls the search.
fn longest_call(run: &RunData) -> Paths {
    let started = |slot: &Slot| run.end(slot).is_some_and(|end| end.started().is_some());
    let calls = run.slots.iter().zip(&run.plan.calls).filter(|(slot, _)| started(slot));
    let longest = calls.max_by_key(|(slot, _)| slot.ran_ns);
    let (chain, length_ns) = longest.map_or((Vec::new(), 0), |(slot, call)| (vec![call.id.clone()], slot.ran_ns));
    Paths { chain, length_ns }
}

impl Search<'_> {
    fn node(&self, call: CallRef) -> usize {
        match call.element {
            None => call.call as usize,
            Some(element) => (self.first_element[call.call as usize] + element) as usize,
        }
    }

    fn call(&self, node: usize) -> CallRef {
        let call = || CallRef { run: self.run.id, call: u32::try_from(node).unwrap_or(u32::MAX), element: None };
        node.checked_sub(self.run.slots.len()).map_or_else(call, |element| self.elements[element])
    }

    fn visit(&mut self, call: CallRef) {
        let Some(slot) = self.run.slot(call) else { return };
        let parent = &self.run.slots[call.call as usize];
        let mut best = Longest { ns: 0, before: NONE, known: true };
        let expanded = call.element.is_none() && slot.elements().is_some();
        if expanded {
            for element in self.run.with_elements(call.call).skip(1) {
                best = self.better(best, element);
            }
        } else {
            for (input, _) in &self.run.call(call).inputs {
                best = self.better(best, CallRef { run: call.run, call: *input, element: None });
            }
        }
        best = self.waited(best, call, slot);
        if call.element.is_some() {
            best = self.waited(best, call, parent);
        }
        let own = if expanded { 0 } else { slot.ran_ns };
        let node = self.node(call);
        self.longest[node] = Longest { ns: best.ns.saturating_add(own), ..best };
    }

    /// The calls whose keys or success it waited for.
    fn waited(&self, mut best: Longest, call: CallRef, slot: &Slot) -> Longest {
        if !is_ordered(self.run) {
            return best;
        }
        for told in self.run.told_waits.get(&call).into_iter().flatten() {
            let ordered = matches!(&*told.cause, "key" | "stop");
            let holder = told.on.as_ref().filter(|_| ordered).and_then(|on| self.run.find(on));
            if let Some(holder) = holder.filter(|holder| *holder != call) {
                best = self.better(best, holder);
            }
        }
        for wait in self.run.waits(slot) {
            match wait.cause {
                Cause::Key { holder, .. } | Cause::OtherRun { holder, .. } | Cause::Stop(holder)
                    if holder.run == call.run && holder != call && (holder.call as usize) < self.run.slots.len() =>
                {
                    best = self.better(best, holder);
                }
                _ => {}
            }
        }
        best
    }

    fn better(&self, best: Longest, before: CallRef) -> Longest {
        let node = self.node(before);
        let way = self.longest[node];
        if way.known && (best.before == NONE || way.ns > best.ns) {
            Longest { ns: way.ns, before: u32::try_from(node).unwrap_or(NONE), known: true }
        } else {
            best
        }
    }

    fn best(&self) -> Paths {
        let Some((mut node, last)) = self.longest.iter().enumerate().max_by_key(|(_, longest)| longest.ns) else {
            return Paths { chain: Vec::new(), length_ns: 0 };
        };
        let mut chain = Vec::new();
        loop {
            let call = self.call(node);
            let expanded = call.element.is_none() && self.run.slots[call.call as usize].elements().is_some();
            let started =
                self.run.slot(call).and_then(|slot| self.run.end(slot)).is_some_and(|end| end.started().is_some());
            if started && !expanded {
                chain.push(self.run.call_id(call));
            }
            match self.longest[node].before {
                NONE => break,
                before => node = before as usize,
            }
        }
        chain.reverse();
        Paths { chain, length_ns: last.ns }
    }
}
