//! What the timeline of a run shows: a row per call in serial order, or, of many calls, rows that hold many.
//! It does not know sizes, colours or formats.

use super::stretches::{self, Stretch, What, ran_ms, sane};
use fanout::{CallReport, Outcome, Report};
use std::collections::{HashMap, HashSet};

/// More calls than this and not every one gets a row of its own.
const ROWS_MAX: usize = 600;
/// Then so many have one at most: those on the critical path, those that failed, those that were retried, and calls
/// of the plan before elements.
const KEPT_MAX: usize = 200;
/// And the others share about so many.
const FOLDS: usize = 100;
/// The stretches that are drawn, in a row and in all: of a thousand attempts the last are one.
const STRETCHES_MAX: usize = 120;
const STRETCHES_ALL: usize = 12_000;
/// The parts in which the time of a shared row is counted.
pub(crate) const PARTS: usize = 160;

/// The picture of a run.
pub(crate) struct Layout<'r> {
    pub(crate) report: &'r Report,
    /// The time the axis shows.
    pub(crate) span_ms: f64,
    pub(crate) rows: Vec<Row<'r>>,
    /// The critical path as indexes of rows; calls without a row of their own are left out.
    pub(crate) path: Vec<usize>,
    /// Calls that share a row.
    pub(crate) folded: usize,
    /// The attempts of the run one after the other: id and milliseconds. Empty where there are too many to be seen.
    pub(crate) one_by_one: Vec<(&'r str, f64)>,
}

/// A row.
pub(crate) enum Row<'r> {
    Call(CallRow<'r>),
    Fold(Fold<'r>),
}

/// The row of one call.
pub(crate) struct CallRow<'r> {
    pub(crate) call: &'r CallReport,
    pub(crate) is_element: bool,
    pub(crate) is_critical: bool,
    /// The elements it has.
    pub(crate) elements: usize,
    pub(crate) stretches: Vec<Stretch<'r>>,
    /// Attempts that are not drawn one by one, behind the stretches: how many, from when on.
    pub(crate) more: Option<(usize, f64)>,
    pub(crate) ran_ms: f64,
}

/// A row that calls share.
pub(crate) struct Fold<'r> {
    pub(crate) calls: usize,
    /// The `foreach` call, where all are elements of one.
    pub(crate) parent: Option<&'r str>,
    pub(crate) first: &'r str,
    pub(crate) last: &'r str,
    /// How many ended how, in the order in which they are met.
    pub(crate) outcomes: Vec<(Outcome, usize)>,
    /// How many ran at once on average, in each of [`PARTS`] parts of the time.
    pub(crate) running: Vec<f64>,
}

/// The call that an id names an element of.
pub(crate) fn parent(id: &str) -> Option<&str> {
    let (parent, index) = id.strip_suffix(']')?.split_once('[')?;
    index.bytes().all(|digit| digit.is_ascii_digit()).then_some(parent)
}

/// Lays out the picture of a run.
pub(crate) fn layout(report: &Report) -> Layout<'_> {
    let ends = report.calls.iter().map(|call| sane(call.ended_ms));
    let span_ms = ends.fold(sane(report.wall_ms), f64::max);
    let critical: HashSet<&str> = report.critical_path.iter().map(|id| &**id).collect();
    let mut elements: HashMap<&str, usize> = HashMap::new();
    for parent in report.calls.iter().filter_map(|call| parent(&call.id)) {
        *elements.entry(parent).or_default() += 1;
    }
    let kept = kept(report, &critical);
    let rows = kept.iter().filter(|kept| **kept).count();
    let drawn = (STRETCHES_ALL / rows.max(1)).clamp(1, STRETCHES_MAX);
    let mut rows = Vec::new();
    let mut fold: Vec<&CallReport> = Vec::new();
    let folded = kept.iter().filter(|kept| !**kept).count();
    let share = folded.div_ceil(FOLDS).max(2);
    for (call, kept) in report.calls.iter().zip(kept) {
        if kept || fold.len() == share {
            rows.extend(folded_row(&mut fold, span_ms, &critical));
        }
        if kept {
            let elements = elements.get(&*call.id).copied().unwrap_or(0);
            rows.push(call_row(call, critical.contains(&*call.id), elements, drawn));
        } else {
            fold.push(call);
        }
    }
    rows.extend(folded_row(&mut fold, span_ms, &critical));
    let places: HashMap<&str, usize> = rows.iter().enumerate().filter_map(|(at, row)| Some((row.id()?, at))).collect();
    let path = report.critical_path.iter().filter_map(|id| places.get(&**id).copied()).collect();
    Layout { report, span_ms, rows, path, folded, one_by_one: one_by_one(report) }
}

impl Row<'_> {
    /// The id of the call, if it is one call's.
    fn id(&self) -> Option<&str> {
        match self {
            Row::Call(row) => Some(&row.call.id),
            Row::Fold(_) => None,
        }
    }
}

/// Which calls have a row of their own.
fn kept(report: &Report, critical: &HashSet<&str>) -> Vec<bool> {
    let calls = &report.calls;
    if calls.len() <= ROWS_MAX {
        return vec![true; calls.len()];
    }
    let rank = |call: &CallReport| match call.outcome {
        _ if critical.contains(&*call.id) => 0,
        Outcome::Failed | Outcome::InDoubt | Outcome::Denied => 1,
        Outcome::Succeeded | Outcome::Cancelled if call.attempts > 1 => 2,
        _ if parent(&call.id).is_none() => 3,
        _ => 4,
    };
    let ranks: Vec<u8> = calls.iter().map(rank).collect();
    let mut kept = vec![false; calls.len()];
    let mut room = KEPT_MAX;
    for rank in 0..4 {
        let of_rank: Vec<usize> = (0..calls.len()).filter(|&at| ranks[at] == rank).collect();
        // Of alike calls without news either all or none: a few of them would say nothing.
        if rank == 3 && of_rank.len() > room {
            break;
        }
        for at in of_rank.into_iter().take(room) {
            kept[at] = true;
            room -= 1;
        }
    }
    kept
}

fn call_row(call: &CallReport, is_critical: bool, elements: usize, drawn: usize) -> Row<'_> {
    let mut stretches = stretches::of(call);
    let ran_ms = ran_ms(&stretches);
    let is_attempt = |one: &Stretch<'_>| matches!(one.what, What::Attempt { .. });
    let mut more = None;
    if stretches.len() > drawn {
        let rest = stretches.split_off(drawn - 1);
        more = rest.first().map(|first| (rest.iter().filter(|one| is_attempt(one)).count(), first.from));
    }
    let is_element = parent(&call.id).is_some();
    Row::Call(CallRow { call, is_element, is_critical, elements, stretches, more, ran_ms })
}

/// The row of the calls gathered; one alone has its own.
fn folded_row<'r>(calls: &mut Vec<&'r CallReport>, span_ms: f64, critical: &HashSet<&str>) -> Option<Row<'r>> {
    let calls = std::mem::take(calls);
    let (first, last) = (*calls.first()?, *calls.last()?);
    if calls.len() == 1 {
        return Some(call_row(first, critical.contains(&*first.id), 0, STRETCHES_MAX));
    }
    let of = parent(&first.id);
    let parent = of.filter(|_| calls.iter().all(|call| parent(&call.id) == of));
    let mut outcomes: Vec<(Outcome, usize)> = Vec::new();
    let mut running = vec![0.0; PARTS];
    for call in &calls {
        match outcomes.iter_mut().find(|(outcome, _)| *outcome == call.outcome) {
            Some((_, count)) => *count += 1,
            None => outcomes.push((call.outcome, 1)),
        }
        for one in stretches::of(call) {
            if matches!(one.what, What::Attempt { .. }) {
                spread(&mut running, one.from / span_ms.max(1e-9), one.to / span_ms.max(1e-9));
            }
        }
    }
    Some(Row::Fold(Fold { calls: calls.len(), parent, first: &first.id, last: &last.id, outcomes, running }))
}

/// Adds to each part how much of it lies between two places, given as fractions of the whole.
fn spread(parts: &mut [f64], from: f64, to: f64) {
    let count = parts.len() as f64;
    let (from, to) = (from.clamp(0.0, 1.0) * count, to.clamp(0.0, 1.0) * count);
    for (at, part) in parts.iter_mut().enumerate().skip(from as usize) {
        let overlap = to.min(at as f64 + 1.0) - from.max(at as f64);
        if overlap <= 0.0 {
            break;
        }
        *part += overlap;
    }
}

/// The most attempts whose borders can be seen in one bar.
const PIECES_MAX: usize = 120;

fn one_by_one(report: &Report) -> Vec<(&str, f64)> {
    let ran = report.calls.iter().filter(|call| call.started_ms.is_some()).count();
    if ran > PIECES_MAX {
        return Vec::new();
    }
    let pieces = report.calls.iter().map(|call| (&*call.id, ran_ms(&stretches::of(call))));
    pieces.filter(|(_, ms)| *ms > 0.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};
    use std::fmt::Write;

    fn report(calls: Vec<Value>, path: &[&str]) -> Report {
        let report = json!({"v": 1, "run": "r", "name": "n", "outcome": "succeeded", "wall_ms": 100.0, "calls_ms": 1.0,
            "critical_path": path, "critical_path_ms": 1.0, "speed_up": 1.0, "waits_ms": {}, "hints": [], "calls": calls});
        serde_json::from_str(&report.to_string()).expect("a report")
    }

    fn call(id: &str, started: f64, ended: f64) -> Value {
        json!({"id": id, "tool": "t", "outcome": "succeeded", "attempts": 1, "started_ms": started, "ended_ms": ended,
            "waits": [{"cause": "limit", "ms": started}]})
    }

    fn check(report: &Report, expected: &Expect) {
        let layout = layout(report);
        let mut told = format!("{} ms, {} folded, path {:?}\n", layout.span_ms, layout.folded, layout.path);
        for row in &layout.rows {
            let _ = match row {
                Row::Call(row) => writeln!(
                    told,
                    "{}{}{} ×{} {:?} more {:?}",
                    if row.is_critical { "*" } else { " " },
                    if row.is_element { "  " } else { "" },
                    row.call.id,
                    row.elements,
                    row.stretches.iter().map(|one| (one.from, one.to)).collect::<Vec<_>>(),
                    row.more
                ),
                Row::Fold(fold) => {
                    let most = fold.running.iter().copied().fold(0.0, f64::max);
                    let Fold { calls, parent, first, last, outcomes, .. } = fold;
                    writeln!(told, "{calls} of {parent:?}: {first} to {last}, {outcomes:?}, at most {most:.1}")
                }
            };
        }
        expected.assert_eq(&told);
    }

    #[test]
    fn a_few_calls_have_a_row_each() {
        let calls = vec![
            call("a", 0.0, 40.0),
            json!({"id": "b", "tool": "t", "outcome": "succeeded", "attempts": 0, "ended_ms": 120.0,
                "waits": [{"cause": "input", "on": "a", "ms": 40.0}, {"cause": "elements", "ms": 80.0}]}),
            call("b[0]", 40.0, 80.0),
            call("b[1]", 80.0, 120.0),
        ];
        check(
            &report(calls, &["a", "b[1]"]),
            &expect![[r#"
                120 ms, 0 folded, path [0, 3]
                *a ×0 [(0.0, 40.0)] more None
                 b ×2 [(0.0, 40.0), (40.0, 120.0)] more None
                   b[0] ×0 [(0.0, 40.0), (40.0, 80.0)] more None
                *  b[1] ×0 [(0.0, 80.0), (80.0, 120.0)] more None
            "#]],
        );
    }

    #[test]
    fn of_many_calls_those_with_news_have_a_row_and_the_others_share() {
        let mut calls = vec![call("all", 0.0, 100.0)];
        for index in 0..3_000u32 {
            let started = f64::from(index) / 30.0 - 0.01 * f64::from(index % 2);
            let mut one = call(&format!("all[{index}]"), started.max(0.0), f64::from(index) / 30.0 + 0.03);
            if index == 1_500 {
                one["outcome"] = json!("failed");
            }
            calls.push(one);
        }
        let report = report(calls, &["all[2999]"]);
        let layout = layout(&report);
        assert!(layout.rows.len() < ROWS_MAX, "{}", layout.rows.len());
        let own: Vec<&str> = layout.rows.iter().filter_map(Row::id).collect();
        assert_eq!(own, ["all", "all[1500]", "all[2999]"]);
        let shared: usize = layout.rows.iter().map(|row| if let Row::Fold(fold) = row { fold.calls } else { 1 }).sum();
        assert_eq!(shared, report.calls.len());
        assert_eq!(layout.folded, report.calls.len() - own.len());
    }

    #[test]
    fn ten_thousand_calls_of_a_plan_share_rows() {
        let calls = (0..10_000).map(|index| call(&format!("c{index}"), 10.0, 20.0)).collect();
        let report = report(calls, &["c5"]);
        let layout = layout(&report);
        assert!(layout.rows.len() <= FOLDS + 4, "{}", layout.rows.len());
        let Some(Row::Fold(fold)) = layout.rows.last() else { panic!("a shared row") };
        assert!(fold.parent.is_none() && (fold.running[PARTS / 8] - fold.calls as f64).abs() < 1e-6);
    }

    #[test]
    fn a_call_that_is_tried_for_ever_is_not_drawn_for_ever() {
        let times: Vec<Value> = (0..1_000).map(|n| json!({"started_ms": n * 10, "ended_ms": n * 10 + 5})).collect();
        let tried = json!({"id": "a", "tool": "t", "outcome": "failed", "attempts": 1000, "started_ms": 0,
            "ended_ms": 9995, "attempt_times": times, "waits": [{"cause": "backoff", "ms": 4995}]});
        let report = report(vec![tried], &[]);
        let layout = layout(&report);
        let [Row::Call(row)] = &layout.rows[..] else { panic!("one row") };
        assert_eq!(row.stretches.len(), STRETCHES_MAX - 1);
        assert_eq!(row.more, Some((940, 595.0)));
        assert!((row.ran_ms - 5_000.0).abs() < 1e-6);
    }
}
