//! What a call costs: a million at once, one behind the other, one alone.
//! It does not know where the time goes.

use super::runner::{Best, engine, inside, join_set, one_by_one, run};
use super::table::{Budget, Row, Size};
use anyhow::Result;
use fanout::{Call, Plan};
use serde_json::json;
use std::time::{Duration, Instant};

/// Many calls that need nothing of each other, against a `JoinSet`.
pub(crate) fn independent(size: Size) -> Result<Vec<Row>> {
    let calls = size.of(1_000_000);
    let (ours, peer) = inside(async move {
        let engine = engine()?;
        let (mut ours, mut peer) = (Best::new(), Best::new());
        for _ in 0..size.rounds(3) {
            let plan = Plan::new("noop").with_calls((0..calls).map(|at| Call::new(format!("c{at}"), "t.noop")));
            let begun = Instant::now();
            let report = run(&engine, plan).await?;
            ours.ended(begun);
            drop(report);
            let begun = Instant::now();
            join_set(calls).await;
            peer.ended(begun);
        }
        anyhow::Ok((ours, peer))
    })??;
    Ok(vec![Row::new(
        format!("{calls} independent no-op calls, per call"),
        "µs",
        ours.per_call_us(calls),
        "JoinSet of no-op futures",
        peer.per_call_us(calls),
        Budget::Ratio(1.5),
    )])
}

/// Calls each of which waits for the one before, against spawn and await.
pub(crate) fn chain(size: Size) -> Result<Vec<Row>> {
    let calls = size.of(100_000);
    let (after, reference, peer) = inside(async move {
        let engine = engine()?;
        let (mut after, mut reference, mut peer) = (Best::new(), Best::new(), Best::new());
        for _ in 0..size.rounds(3) {
            let begin = Plan::new("chain").call(Call::new("c0", "t.noop"));
            let link = |at: usize| Call::new(format!("c{at}"), "t.noop").after([format!("c{}", at - 1)]);
            let plan = begin.clone().with_calls((1..calls).map(link));
            let begun = Instant::now();
            run(&engine, plan).await?;
            after.ended(begun);
            let link =
                |at: usize| Call::new(format!("c{at}"), "t.take").args(json!({"x": format!("${{c{}}}", at - 1)}));
            let plan = begin.with_calls((1..calls).map(link));
            let begun = Instant::now();
            run(&engine, plan).await?;
            reference.ended(begun);
            let begun = Instant::now();
            one_by_one(calls).await;
            peer.ended(begun);
        }
        anyhow::Ok((after, reference, peer))
    })??;
    let row = |name: &str, ours: Best| {
        let name = format!("chain of {calls} no-op calls, {name}, per level");
        let (ours, peer) = (ours.per_call_us(calls), peer.per_call_us(calls));
        Row::new(name, "µs", ours, "tokio::spawn(f).await", peer, Budget::Ratio(2.0))
    };
    Ok(vec![row("after", after), row("by reference", reference)])
}

/// One call on an engine that does nothing else, against one spawned future.
pub(crate) fn one_call(size: Size) -> Result<Vec<Row>> {
    let times = size.of(20_000);
    let (ours, peer) = inside(async move {
        let engine = engine()?;
        let mut ours = Vec::with_capacity(times);
        let mut peer = Vec::with_capacity(times);
        for _ in 0..times {
            let plan = Plan::new("one").call(Call::new("c", "t.noop"));
            let begun = Instant::now();
            run(&engine, plan).await?;
            ours.push(begun.elapsed());
            let begun = Instant::now();
            one_by_one(1).await;
            peer.push(begun.elapsed());
        }
        anyhow::Ok((median(ours), median(peer)))
    })??;
    let name = "one no-op call on an idle engine, p50";
    Ok(vec![Row::new(name, "µs", ours, "tokio::spawn(f).await", peer, Budget::AtMost(30.0))])
}

/// The median in microseconds.
fn median(mut durations: Vec<Duration>) -> f64 {
    durations.sort_unstable();
    durations.get(durations.len() / 2).map_or(0.0, |median| median.as_secs_f64() * 1e6)
}
