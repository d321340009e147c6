//! What a call really does: its decision, keys, value and effect as pure functions of what it was given; and the
//! sequential run that every parallel run must equal.
//! It does not know the core, time or order of events.

use super::book::{Book, Call, Effect, Run};
use super::cells::{Node, Touch, masks};
use super::rng::{Rng, mix};
use super::world::CallPlan;
use crate::types::*;
use smallvec::SmallVec;

/// The simulated store of one run: a value per leaf.
pub(super) type Store = [u64; 64];

/// What the inputs of a call make of it.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Decision {
    Run(SmallVec<[Touch; 2]>),
    Skip,
    Elements(u32),
    Error,
}

/// A number for all that a call was given: who it is and the values of its inputs.
pub(super) fn given(run_seed: u64, call: u32, values: impl Iterator<Item = u64>) -> u64 {
    values.fold(mix(run_seed, u64::from(call)), mix)
}

/// The same for one element.
pub(super) fn given_element(given: u64, element: u32) -> u64 {
    mix(given, u64::from(element) + 77)
}

/// What the call is to do, given its inputs; `again` counts how often its keys were asked for anew.
pub(super) fn decide(plan: &CallPlan, given: u64, is_element: bool, again: u32) -> Decision {
    let mut rng = Rng::new(given);
    let fails = plan.error > 0 && rng.percent(plan.error);
    if let (Some(most), false) = (plan.foreach, is_element) {
        if fails && rng.percent(30) {
            return Decision::Error;
        }
        if plan.when < 100 && rng.percent(20) {
            return Decision::Skip;
        }
        return Decision::Elements(u32::try_from(rng.below(most + 1)).unwrap_or(0));
    }
    if fails {
        return Decision::Error;
    }
    if rng.below(100) >= plan.when {
        return Decision::Skip;
    }
    let mut touches: SmallVec<[Touch; 2]> = plan.announced.clone();
    if plan.narrow > 0 {
        touches = touches.iter().flat_map(|t| narrower(*t, plan.narrow, &mut rng)).collect();
    }
    for _ in 0..again {
        touches = touches.iter().flat_map(|t| narrower(*t, 1, &mut rng)).collect();
    }
    Decision::Run(touches)
}

/// One claim, known better: usually one node under it, sometimes two (a list gives a key each), rarely none.
fn narrower(t: Touch, levels: u64, rng: &mut Rng) -> SmallVec<[Touch; 2]> {
    let many = rng.pick(&[1, 1, 1, 1, 1, 1, 2, 0]);
    let deeper = rng.between(0, levels);
    let mut out: SmallVec<[Touch; 2]> = SmallVec::new();
    for _ in 0..many {
        let write = t.write && rng.percent(95);
        out.push(Touch { node: Node::under(t.node, rng, deeper, 4), write });
    }
    out
}

/// The value an attempt gives and writes, from what it was given and reads.
pub(super) fn value(plan: &CallPlan, given: u64, (reads, writes): (u64, u64), store: &Store) -> u64 {
    // An idempotent call must not depend on what it writes, or running it twice would differ from once.
    let mut mask = if plan.settings.repeatable { reads & !writes } else { reads | writes };
    let told = plan.same.map_or(given, |(tool, args)| mix(tool, args));
    let mut value = mix(told, 3);
    while mask != 0 {
        value = mix(value, store[mask.trailing_zeros() as usize]);
        mask &= mask - 1;
    }
    value
}

pub(super) fn write(store: &mut Store, mut mask: u64, value: u64) {
    while mask != 0 {
        let leaf = mask.trailing_zeros() as usize;
        store[leaf] = mix(value, leaf as u64);
        mask &= mask - 1;
    }
}

/// What stands for the result of a failed call that has a value to go on with.
pub(super) fn fallback(given: u64) -> u64 {
    mix(given, 0xfa11)
}

/// The result of a `foreach` call.
pub(super) fn list(given: u64, values: impl Iterator<Item = Option<u64>>) -> u64 {
    values.fold(given, |a, v| mix(a, v.unwrap_or(0)))
}

/// Runs the calls of a run one by one in serial order, as far as they took effect, and compares.
pub(super) fn compare(book: &Book<'_>, run: &Run) -> Result<(), String> {
    let mut store: Store = [0; 64];
    let mut results: Vec<Option<u64>> = vec![None; run.calls.len()];
    for &index in &run.serial {
        let call = &run.calls[index as usize];
        let plan = &book.world.runs[run.index].calls[index as usize];
        let values =
            plan.inputs.iter().filter(|i| i.kind == InputKind::Result).map(|i| results[i.call as usize].unwrap_or(0));
        let given = given(run.seed, index, values);
        let complete = plan.inputs.iter().all(|i| i.kind == InputKind::Outcome || results[i.call as usize].is_some());
        if !complete && (call.attempts > 0 || call.value.is_some() || !call.elements.is_empty()) {
            return Err(format!("call {index} ran although, one by one, an input of it has no result"));
        }
        for c in std::iter::once(call).chain(&call.elements) {
            let known = c.effects.iter().filter(|e| e.took).count();
            let all = book.ledger.as_ref().and_then(|l| l.get(&c.who)).map_or(0, |&n| n as usize);
            if book.ledger.is_some() && !plan.settings.repeatable && all != known {
                return Err(format!("{} took effect {all} times, and {known} are known of", c.name()));
            }
        }
        let result = if call.expanded {
            let mut values = Vec::new();
            if decide(plan, given, false, 0) != Decision::Elements(u32::try_from(call.elements.len()).unwrap_or(0)) {
                return Err(format!(
                    "call {index} has {} elements, one by one it has another number",
                    call.elements.len()
                ));
            }
            for (element, i) in call.elements.iter().zip(0..) {
                values.push(replay(plan, element, given_element(given, i), true, &mut store)?);
            }
            match call.outcome {
                Some((Outcome::Succeeded, _)) => Some(list(given, values.into_iter())),
                _ => call.value.map(|_| fallback(given)),
            }
        } else {
            replay(plan, call, given, false, &mut store)?
        };
        if result != call.value {
            return Err(format!("the result of call {index} is not the one of running one by one"));
        }
        results[index as usize] = result;
    }
    match (0..64).find(|&leaf| store[leaf] != run.store[leaf]) {
        Some(leaf) => Err(format!("leaf {leaf} of the store is not what running one by one leaves")),
        None => Ok(()),
    }
}

fn replay(
    plan: &CallPlan,
    call: &Call,
    given: u64,
    is_element: bool,
    store: &mut Store,
) -> Result<Option<u64>, String> {
    let name = call.name();
    let decision = decide(plan, given, is_element, call.rekeys);
    let (outcome, reason) = call.outcome.ok_or_else(|| format!("{name} has no outcome"))?;
    match (&decision, reason) {
        (Decision::Skip, Reason::When) | (Decision::Error, Reason::Unresolved) => return Ok(finish(call, given, None)),
        (_, Reason::When | Reason::Unresolved) => {
            return Err(format!("{name} ended {outcome:?} by {reason:?}, one by one it would have {decision:?}"));
        }
        (Decision::Run(_), _) => {}
        _ if call.attempts > 0 => return Err(format!("{name} ran, one by one it would have {decision:?}")),
        _ => {}
    }
    let mut last = None;
    for &Effect { took, again, .. } in &call.effects {
        let Decision::Run(touches) = decide(plan, given, is_element, again) else { break };
        let masks = masks(&touches);
        let value = value(plan, given, masks, store);
        if took {
            write(store, masks.1, value);
        }
        last = Some(value);
    }
    if reason == Reason::Reused
        && let Decision::Run(touches) = &decision
    {
        // What a run with a store of its own has read is taken as it is; `handed` checks that it could be handed.
        let foreign = call.handed.is_some_and(|(leader, _)| leader.run != call.who.run);
        last = if foreign { call.value } else { Some(value(plan, given, masks(touches), store)) };
    }
    Ok(finish(call, given, last))
}

/// What the call leaves for others, given how it ended.
fn finish(call: &Call, given: u64, last: Option<u64>) -> Option<u64> {
    match call.outcome {
        Some((Outcome::Succeeded, _)) => last,
        _ => call.value.map(|_| fallback(given)),
    }
}
