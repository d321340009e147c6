//! AsyncHow: 400 everyday plans with durations; with enough slots, the makespan must be the optimum.
//! It does not know how a schedule is made.

use crate::outcome::{Row, seconds};
use anyhow::{Context, Result};
use fanout::Engine;
use fanout_benches::schedules::{Piece, fanout_makespan, planner};
use fanout_benches::stage::runtime;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

#[derive(Deserialize)]
struct Record {
    id: String,
    steps: Vec<String>,
    deps: Vec<(String, String)>,
    duration_s_minmax: BTreeMap<String, [f64; 2]>,
    optimal_makespan_s_minmax: [f64; 2],
}

/// Compares the simulated makespan with the optimum, for the shortest and the longest durations.
pub(crate) fn judge(folder: &Path) -> Result<Vec<Row>> {
    let mut row = Row::new("asynchow", "makespan is the optimum in every plan");
    let runtime = runtime()?;
    let _inside = runtime.enter();
    let engine = planner().map_err(anyhow::Error::msg)?;
    for file in ["para.jsonl", "seq.jsonl"] {
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        for line in text.lines() {
            let record: Record = serde_json::from_str(line).with_context(|| path.display().to_string())?;
            let result = (0..2).try_for_each(|end| check(&engine, &record, end));
            row.count(&record.id, result);
        }
    }
    Ok(vec![row])
}

/// `end` is 0 for the shortest durations and 1 for the longest.
fn check(engine: &Engine, record: &Record, end: usize) -> Result<(), String> {
    let mut pieces = Vec::new();
    for number in 1..=record.steps.len() {
        let number = number.to_string();
        let duration = record.duration_s_minmax.get(&number).ok_or_else(|| format!("no duration of {number}"))?[end];
        let before = record.deps.iter().filter(|(_, to)| *to == number);
        let after = before.filter_map(|(from, _)| from.parse::<usize>().ok()?.checked_sub(1)).collect();
        pieces.push(Piece { duration: seconds(duration), after, uses: Vec::new() });
    }
    let makespan = fanout_makespan(engine, &pieces, pieces.len() as u64, &[])?;
    let optimum = seconds(record.optimal_makespan_s_minmax[end]);
    // The set has the optimum as a floating sum.
    if makespan.abs_diff(optimum) <= Duration::from_micros(10) {
        Ok(())
    } else {
        Err(format!("makespan {makespan:?}, optimum {optimum:?}"))
    }
}
