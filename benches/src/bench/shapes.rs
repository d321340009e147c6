//! The shapes that break schedulers: each against a peer, and against itself at a tenth of the size.
//! It does not know which part of a scheduler a shape breaks.

use super::runner::{Best, engine, inside, join_set, one_by_one, run};
use super::table::{Budget, Row, Size};
use anyhow::Result;
use fanout::{Call, Engine, Plan};
use futures_util::future::try_join_all;
use serde_json::json;
use std::time::Instant;

/// A call of a large plan may cost this much more than one of a plan a tenth as large: caches, and logarithms.
const GROWTH_MAX: f64 = 2.0;

/// A shape of plans.
pub(crate) struct Shape {
    /// Its name, as `--only` takes it.
    pub(crate) name: &'static str,
    /// Its size where the budgets are about it.
    size: usize,
    /// How many things of one kind a plan of this size has: calls, or, where each has many, what they wait for.
    count: fn(usize) -> usize,
    /// What a thing is called.
    thing: &'static str,
    /// The plans that run at once.
    plans: fn(usize) -> Vec<Plan>,
    /// Whether the calls run one after the other, and so does the peer.
    serial: bool,
}

/// All of them.
pub(crate) static SHAPES: [Shape; 7] = [
    Shape {
        name: "dense",
        size: 2_000,
        count: |n| n * (n - 1) / 2,
        thing: "edge",
        plans: |n| vec![dense(n)],
        serial: true,
    },
    Shape { name: "wide", size: 100_000, count: |n| n + 1, thing: "call", plans: |n| vec![wide(n)], serial: false },
    Shape { name: "long", size: 100_000, count: |n| n, thing: "call", plans: |n| vec![long(n)], serial: true },
    Shape { name: "one-key", size: 100_000, count: |n| n, thing: "call", plans: |n| vec![one_key(n)], serial: true },
    Shape {
        name: "unresolved",
        size: 100_000,
        count: |n| n + 1,
        thing: "call",
        plans: |n| vec![unresolved(n)],
        serial: false,
    },
    Shape {
        name: "alternations",
        size: 1_000,
        count: |n| n * 101,
        thing: "call",
        plans: |n| vec![alternations(n)],
        serial: false,
    },
    Shape {
        name: "many-runs",
        size: 1_000,
        count: |n| n * 100,
        thing: "call",
        plans: |n| (0..n).map(|_| flat(100)).collect(),
        serial: false,
    },
];

impl Shape {
    /// Measures the shape, its peer, and the shape at a tenth.
    pub(crate) fn rows(&'static self, size: Size) -> Result<Vec<Row>> {
        let n = size.of(self.size);
        let tenth = n / 10;
        let (full, small, peer) = inside(async move {
            let engine = engine()?;
            let (mut full, mut small, mut peer) = (Best::new(), Best::new(), Best::new());
            for _ in 0..size.rounds(3) {
                self.measure(&engine, n, &mut full).await?;
                // The small one is over soon; more rounds make it as sure as the large one.
                for _ in 0..size.rounds(5) {
                    self.measure(&engine, tenth, &mut small).await?;
                }
                let calls = if self.thing == "call" { (self.count)(n) } else { n };
                let begun = Instant::now();
                match self.serial {
                    true => one_by_one(calls).await,
                    false => join_set(calls).await,
                }
                peer.ended(begun);
            }
            anyhow::Ok((full, small, peer))
        })??;
        let things = (self.count)(n);
        let calls = if self.thing == "call" { things } else { n };
        let against = if self.serial { "tokio::spawn(f).await" } else { "JoinSet of no-op futures" };
        let name = format!("{} {n}", self.name);
        let (ours, peer) = (full.per_call_us(calls), peer.per_call_us(calls));
        let (large, small) = (full.per_call_us(things), small.per_call_us((self.count)(tenth)));
        Ok(vec![
            Row::new(format!("{name}: per call"), "µs", ours, against, peer, Budget::None),
            Row::new(
                format!("{name}: per {}, growth from {tenth}", self.thing),
                "µs",
                large,
                &format!("{} {tenth}", self.name),
                small,
                Budget::Ratio(GROWTH_MAX),
            ),
        ])
    }

    async fn measure(&self, engine: &Engine, n: usize, best: &mut Best) -> Result<()> {
        let plans = (self.plans)(n);
        let begun = Instant::now();
        let reports = try_join_all(plans.into_iter().map(|plan| run(engine, plan))).await?;
        best.ended(begun);
        drop(reports);
        Ok(())
    }
}

fn noop(at: usize) -> Call {
    Call::new(format!("c{at}"), "t.noop")
}

/// Each call after all before.
fn dense(n: usize) -> Plan {
    Plan::new("dense").with_calls((0..n).map(|at| noop(at).after((0..at).map(|before| format!("c{before}")))))
}

/// Many calls after one.
fn wide(n: usize) -> Plan {
    Plan::new("wide").call(Call::new("first", "t.noop")).with_calls((0..n).map(|at| noop(at).after(["first"])))
}

/// Each call after the one before.
fn long(n: usize) -> Plan {
    Plan::new("long").call(noop(0)).with_calls((1..n).map(|at| noop(at).after([format!("c{}", at - 1)])))
}

/// All write the same key.
fn one_key(n: usize) -> Plan {
    Plan::new("one key").with_calls((0..n).map(|at| Call::new(format!("c{at}"), "t.write")))
}

/// What each writes is in the result of one call.
fn unresolved(n: usize) -> Plan {
    let row = |at: usize| Call::new(format!("c{at}"), "t.row").args(json!({"id": format!("${{ids[{at}]}}")}));
    Plan::new("unresolved").call(Call::new("ids", "t.ids").args(json!({"n": n}))).with_calls((0..n).map(row))
}

/// A hundred readers and a writer, over and over.
fn alternations(n: usize) -> Plan {
    let tool = |at: usize| if at % 101 == 100 { "t.write" } else { "t.read" };
    Plan::new("alternations").with_calls((0..n * 101).map(|at| Call::new(format!("c{at}"), tool(at))))
}

/// Calls that need nothing of each other.
fn flat(n: usize) -> Plan {
    Plan::new("flat").with_calls((0..n).map(noop))
}
