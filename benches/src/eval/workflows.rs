//! Real DAGs with measured times, at 2 to 16 slots: makespan against the lower bound, beside plain list schedulers.
//! It does not know how a schedule is made.

use crate::outcome::{Row, mean, seconds};
use anyhow::{Context, Result};
use fanout_benches::schedules::{Order, Piece, fanout_makespan, list_makespan, lower_bound, planner};
use fanout_benches::stage::runtime;
use serde::Deserialize;
use std::path::Path;

/// How many calls run at once.
const SLOTS: [usize; 4] = [2, 4, 8, 16];

/// The budget of DESIGN 6 at 8 slots.
const RATIO_MAX_AT_8: f64 = 1.09;

#[derive(Deserialize)]
struct Record {
    name: String,
    tasks: Vec<(String, f64, Vec<usize>)>,
}

/// A row per number of slots.
pub(crate) fn judge(folder: &Path) -> Result<Vec<Row>> {
    let path = folder.join("nextflow.jsonl");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let records: Vec<Record> = text
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| path.display().to_string()))
        .collect::<Result<_>>()?;
    let runtime = runtime()?;
    let _inside = runtime.enter();
    let engine = planner().map_err(anyhow::Error::msg)?;
    let mut rows = Vec::new();
    for slots in SLOTS {
        let promise = if slots == 8 { "mean ≤ 1.09, ≤ list by critical path" } else { "≤ list by critical path" };
        let mut row = Row::new(format!("workflows, {slots} slots"), promise);
        let (mut ours, mut fifo, mut critical) = (Vec::new(), Vec::new(), Vec::new());
        for record in &records {
            let pieces: Vec<Piece> = record
                .tasks
                .iter()
                .map(|(_, duration, after)| Piece {
                    duration: seconds(*duration),
                    after: after.clone(),
                    uses: Vec::new(),
                })
                .collect();
            let bound = lower_bound(&pieces, slots).as_secs_f64();
            let list = |order| list_makespan(&pieces, slots, &[], order).as_secs_f64() / bound;
            fifo.push(list(Order::Fifo));
            critical.push(list(Order::CriticalPath));
            row.count(
                &record.name,
                fanout_makespan(&engine, &pieces, slots as u64, &[])
                    .map(|makespan| ours.push(makespan.as_secs_f64() / bound)),
            );
        }
        row.measure("makespan / bound: fanout", mean(&ours));
        row.measure("list FIFO", mean(&fifo));
        row.measure("list by critical path", mean(&critical));
        let worst = ours.iter().copied().fold(0.0, f64::max);
        row.measure("worst of fanout", worst);
        let (ours, critical) = (mean(&ours), mean(&critical));
        // Calls with paths of one length go in serial order here and in order of becoming ready there; neither is
        // better, and it moves the mean by some 0.0002.
        row.require(ours <= critical + 5e-4, || format!("mean {ours:.4}, the list by critical path has {critical:.4}"));
        row.require(slots != 8 || ours <= RATIO_MAX_AT_8, || format!("mean {ours:.4}, the budget is {RATIO_MAX_AT_8}"));
        rows.push(row);
    }
    Ok(rows)
}
