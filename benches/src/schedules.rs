//! Schedules: how long fanout would take for calls of known duration, and how long a plain list scheduler takes.
//! It does not know where the calls come from. The list scheduler shares no code with the product.

use crate::stage::{engine, spec, told};
use fanout::{Attempt, Call, EffectsSpec, Engine, Plan, Tool, ToolFuture, ToolOutput, Toolbox, ToolboxSpec};
use serde_json::json;
use serde_json::value::RawValue;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

/// A call of known duration.
#[derive(Clone, Debug, Default)]
pub struct Piece {
    /// How long it lasts.
    pub duration: Duration,
    /// The calls that must have ended before it starts.
    pub after: Vec<usize>,
    /// What it holds of each amount.
    pub uses: Vec<u64>,
}

/// In which order a list scheduler looks at what is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// What became ready first.
    Fifo,
    /// What has the longest way to the end before it.
    CriticalPath,
}

/// An engine with one tool, `piece`, that is never called.
///
/// # Errors
/// When the engine cannot be built.
pub fn planner() -> Result<Engine, String> {
    struct Nothing;
    impl Tool for Nothing {
        fn call(&self, _: Attempt) -> ToolFuture {
            Box::pin(async { Ok(ToolOutput::new(RawValue::NULL.to_owned().into())) })
        }
    }
    let tools = vec![spec("piece", json!({"type": "object"}), Some(EffectsSpec::default()))];
    let spec = ToolboxSpec { name: "pieces".into(), tools, ..ToolboxSpec::default() };
    engine([Toolbox::new(spec, vec![Arc::new(Nothing)])])
}

/// How long fanout would take: the makespan that `fanout plan` shows, with so many slots and amounts.
///
/// # Errors
/// A plan that does not validate, or a schedule that starts something too early or holds more than there is.
pub fn fanout_makespan(engine: &Engine, pieces: &[Piece], running: u64, amounts: &[u64]) -> Result<Duration, String> {
    let mut plan = Plan::new("pieces").limit("running", running);
    for (at, amount) in amounts.iter().enumerate() {
        plan = plan.limit(format!("amount_{at}"), *amount);
    }
    for (at, piece) in pieces.iter().enumerate() {
        let mut call = Call::new(format!("p{at}"), "piece").expect(piece.duration);
        call = call.after(piece.after.iter().map(|before| format!("p{before}")));
        for (at, amount) in piece.uses.iter().enumerate().filter(|(_, amount)| **amount > 0) {
            call = call.uses(format!("amount_{at}"), *amount);
        }
        plan = plan.call(call);
    }
    let valid = engine.validate(plan, serde_json::Map::new()).map_err(|problems| told(&problems))?;
    let schedule = engine.schedule(&valid);
    legal(pieces, running, amounts, &schedule)?;
    Ok(schedule.makespan)
}

/// Whether a schedule starts nothing too early and never holds more than there is.
fn legal(pieces: &[Piece], running: u64, amounts: &[u64], schedule: &fanout::Schedule) -> Result<(), String> {
    let spans: BTreeMap<&str, (Duration, Duration)> =
        schedule.calls.iter().map(|call| (&*call.id, (call.start, call.end))).collect();
    let span =
        |at: usize| spans.get(&*format!("p{at}")).copied().ok_or_else(|| format!("p{at} is not in the schedule"));
    // Ends come before starts of the same moment.
    let mut changes: Vec<(Duration, bool, usize)> = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let (start, end) = span(at)?;
        if end - start != piece.duration {
            return Err(format!("p{at} lasts {:?}, not {:?}", end - start, piece.duration));
        }
        for before in &piece.after {
            if span(*before)?.1 > start {
                return Err(format!("p{at} starts before p{before} has ended"));
            }
        }
        if piece.duration > Duration::ZERO {
            changes.extend([(start, true, at), (end, false, at)]);
        }
    }
    changes.sort_unstable();
    let (mut slots, mut held) = (0, vec![0; amounts.len()]);
    for (moment, starts, at) in changes {
        let uses = pieces[at].uses.iter().copied().chain(std::iter::repeat(0));
        for (held, amount) in held.iter_mut().zip(uses) {
            *held = if starts { *held + amount } else { *held - amount };
        }
        slots = if starts { slots + 1 } else { slots - 1 };
        if slots > running || held.iter().zip(amounts).any(|(held, amount)| held > amount) {
            return Err(format!("more is held than there is at {moment:?}"));
        }
    }
    Ok(())
}

/// How long a plain list scheduler takes: at each end, whatever is ready and fits starts, in this order.
pub fn list_makespan(pieces: &[Piece], running: usize, amounts: &[u64], order: Order) -> Duration {
    let ways = ways(pieces);
    let mut after = vec![Vec::new(); pieces.len()];
    let mut missing: Vec<usize> = pieces.iter().map(|piece| piece.after.len()).collect();
    for (at, piece) in pieces.iter().enumerate() {
        for before in &piece.after {
            after[*before].push(at);
        }
    }
    let rank = |at: usize, became: usize| match order {
        Order::Fifo => (Reverse(Duration::ZERO), became, at),
        Order::CriticalPath => (Reverse(ways[at]), became, at),
    };
    let mut became = 0;
    let mut ready: Vec<_> = (0..pieces.len()).filter(|at| missing[*at] == 0).map(|at| rank(at, 0)).collect();
    let mut free = amounts.to_vec();
    let mut ends: BinaryHeap<Reverse<(Duration, usize)>> = BinaryHeap::new();
    let mut now = Duration::ZERO;
    loop {
        ready.sort_unstable();
        ready.retain(|&(.., at)| {
            let uses = &pieces[at].uses;
            let fits = ends.len() < running && uses.iter().zip(&free).all(|(needs, free)| needs <= free);
            if fits {
                free.iter_mut().zip(uses).for_each(|(free, needs)| *free -= needs);
                ends.push(Reverse((now + pieces[at].duration, at)));
            }
            !fits
        });
        let Some(Reverse((next, _))) = ends.peek().copied() else { return now };
        now = next;
        while let Some(Reverse((end, at))) = ends.peek().copied()
            && end == now
        {
            ends.pop();
            free.iter_mut().zip(&pieces[at].uses).for_each(|(free, needs)| *free += needs);
            for &next in &after[at] {
                missing[next] -= 1;
                if missing[next] == 0 {
                    became += 1;
                    ready.push(rank(next, became));
                }
            }
        }
    }
}

/// Of each call, the longest way from its start to the end of all.
fn ways(pieces: &[Piece]) -> Vec<Duration> {
    let mut ways = vec![Duration::ZERO; pieces.len()];
    // The number of rounds is bounded by the longest chain; these graphs are small.
    loop {
        let mut changed = false;
        for at in 0..pieces.len() {
            let own = ways[at].max(pieces[at].duration);
            changed |= own != ways[at];
            ways[at] = own;
            for before in &pieces[at].after {
                let way = pieces[*before].duration + ways[at];
                if way > ways[*before] {
                    ways[*before] = way;
                    changed = true;
                }
            }
        }
        if !changed {
            return ways;
        }
    }
}

/// No schedule is shorter: the longest chain, or the work divided by the slots.
pub fn lower_bound(pieces: &[Piece], running: usize) -> Duration {
    let work: Duration = pieces.iter().map(|piece| piece.duration).sum();
    let chain = ways(pieces).into_iter().max().unwrap_or_default();
    chain.max(work.div_f64(running as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(seconds: u64, after: &[usize], uses: &[u64]) -> Piece {
        Piece { duration: Duration::from_secs(seconds), after: after.to_vec(), uses: uses.to_vec() }
    }

    #[test]
    fn the_list_scheduler_keeps_order_and_limits() {
        let chain = [piece(1, &[], &[]), piece(2, &[0], &[]), piece(3, &[1], &[])];
        assert_eq!(list_makespan(&chain, 8, &[], Order::Fifo), Duration::from_secs(6));
        let wide = [piece(4, &[], &[1]), piece(4, &[], &[1]), piece(4, &[], &[1])];
        assert_eq!(list_makespan(&wide, 2, &[], Order::Fifo), Duration::from_secs(8));
        assert_eq!(list_makespan(&wide, 3, &[1], Order::Fifo), Duration::from_secs(12));
        // Two slots: taking the long chain first saves its second part.
        let late = [piece(2, &[], &[]), piece(2, &[], &[]), piece(2, &[], &[]), piece(4, &[2], &[])];
        assert_eq!(list_makespan(&late, 2, &[], Order::Fifo), Duration::from_secs(8));
        assert_eq!(list_makespan(&late, 2, &[], Order::CriticalPath), Duration::from_secs(6));
        assert_eq!(lower_bound(&late, 2), Duration::from_secs(6));
    }
}
