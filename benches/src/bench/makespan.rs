//! Makespan over lower bound on real DAGs at 8 slots, with known durations.
//! It does not know how a schedule is made.

use super::table::{Budget, Row};
use anyhow::{Context, Result};
use fanout_benches::schedules::{Order, Piece, fanout_makespan, list_makespan, lower_bound, planner};
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;

const SLOTS: usize = 8;

#[derive(Deserialize)]
struct Record {
    tasks: Vec<(String, f64, Vec<usize>)>,
}

/// The mean over all DAGs; no row where they are not.
pub(crate) fn rows(data: &Path) -> Result<Vec<Row>> {
    let path = data.join("workflows/nextflow.jsonl");
    if !path.exists() {
        eprintln!("bench: makespan skipped: {} is not there", path.display());
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let runtime = fanout_benches::stage::runtime()?;
    let _inside = runtime.enter();
    let engine = planner().map_err(anyhow::Error::msg)?;
    let (mut ours, mut fifo, mut count) = (0.0, 0.0, 0.0);
    for line in text.lines() {
        let record: Record = serde_json::from_str(line).with_context(|| path.display().to_string())?;
        let piece = |(_, duration, after): (String, f64, Vec<usize>)| Piece {
            duration: Duration::from_micros((duration * 1e6).round() as u64),
            after,
            uses: Vec::new(),
        };
        let pieces: Vec<Piece> = record.tasks.into_iter().map(piece).collect();
        let bound = lower_bound(&pieces, SLOTS).as_secs_f64();
        let makespan = fanout_makespan(&engine, &pieces, SLOTS as u64, &[]).map_err(anyhow::Error::msg)?;
        ours += makespan.as_secs_f64() / bound;
        fifo += list_makespan(&pieces, SLOTS, &[], Order::Fifo).as_secs_f64() / bound;
        count += 1.0;
    }
    Ok(vec![
        Row::new(
            format!("makespan / lower bound, {count} real DAGs, {SLOTS} slots"),
            "mean",
            ours / count,
            "list scheduler, FIFO",
            fifo / count,
            Budget::AtMost(1.09),
        )
        .steady(),
    ])
}
