//! PSPLIB: 48 scheduling problems with four limits, as named amounts: makespan against the best known.
//! It does not know how a schedule is made.

use crate::outcome::{Row, mean};
use anyhow::{Context, Result, ensure};
use fanout_benches::schedules::{Order, Piece, fanout_makespan, list_makespan, planner};
use fanout_benches::stage::runtime;
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;

#[derive(Deserialize)]
struct Reference {
    instance: String,
    best: f64,
    #[serde(rename = "critpath+backfill")]
    critical: f64,
    #[serde(rename = "fifo+backfill")]
    fifo: f64,
}

/// Compares with the best known makespan, and with what critical path with backfill reaches.
pub(crate) fn judge(folder: &Path) -> Result<Vec<Row>> {
    let path = folder.join("reference.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let references: Vec<Reference> = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let runtime = runtime()?;
    let _inside = runtime.enter();
    let engine = planner().map_err(anyhow::Error::msg)?;
    let mut row = Row::new("psplib_j30", "mean ≤ critical path with backfill");
    let (mut ours, mut critical, mut fifo, mut list) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for reference in &references {
        let path = folder.join(&reference.instance);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let (pieces, amounts) = read(&text).with_context(|| path.display().to_string())?;
        let own = list_makespan(&pieces, pieces.len(), &amounts, Order::CriticalPath);
        list.push(own.as_secs_f64() / reference.best);
        critical.push(reference.critical / reference.best);
        fifo.push(reference.fifo / reference.best);
        let made = fanout_makespan(&engine, &pieces, pieces.len() as u64, &amounts);
        let result = made.and_then(|makespan| {
            ours.push(makespan.as_secs_f64() / reference.best);
            let possible = makespan.as_secs_f64() >= reference.best - 1e-9;
            if possible {
                Ok(())
            } else {
                Err(format!("{makespan:?} is better than the best known, {}", reference.best))
            }
        });
        row.count(&reference.instance, result);
    }
    row.measure("makespan / best: fanout", mean(&ours));
    row.measure("critical path with backfill", mean(&critical));
    row.measure("FIFO with backfill", mean(&fifo));
    row.measure("our list scheduler by critical path", mean(&list));
    let (ours, critical) = (mean(&ours), mean(&critical));
    row.require(ours <= critical + 1e-9, || format!("mean {ours:.4}, critical path with backfill has {critical:.4}"));
    Ok(vec![row])
}

/// Reads the Patterson format: `n r`, the amounts, then per line a duration, what it uses, and its successors.
fn read(text: &str) -> Result<(Vec<Piece>, Vec<u64>)> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
    let mut next = || numbers.next().context("ends too early")?.context("not a number");
    let (count, kinds) = (next()? as usize, next()? as usize);
    let amounts = (0..kinds).map(|_| next()).collect::<Result<Vec<u64>>>()?;
    let mut pieces = vec![Piece::default(); count];
    for at in 0..count {
        pieces[at].duration = Duration::from_secs(next()?);
        pieces[at].uses = (0..kinds).map(|_| next()).collect::<Result<_>>()?;
        for _ in 0..next()? {
            let successor = next()? as usize;
            ensure!((1..=count).contains(&successor), "no such successor: {successor}");
            pieces[successor - 1].after.push(at);
        }
    }
    Ok((pieces, amounts))
}
