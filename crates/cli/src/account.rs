//! The last lines of a run: what failed and why, hints, and in two lines where the time went.
//! It does not know how the run was followed.

use crate::explain;
use crate::text::{self, Paint, count, ms};
use fanout::{Outcome, Report, RunOutcome};
use std::collections::BTreeMap;

/// At most so many failed calls are shown with their details.
const FAILURES_MAX: usize = 10;
/// At most so many lines of what a failed call said.
const DETAIL_LINES_MAX: usize = 12;
/// At most so many causes of waits are told in the last line.
const WAITS_MAX: usize = 4;
/// The chain of calls gets at least so many columns in the last line.
const CHAIN_MIN: usize = 24;
/// At most so many hints.
const HINTS_MAX: usize = 8;

/// All that is said at the end of a run, ready to print.
pub(crate) fn account(report: &Report, columns: usize, paint: Paint) -> String {
    let mut out = failures(report, paint);
    for hint in report.hints.iter().take(HINTS_MAX) {
        out.push_str(&format!("{} {}\n", paint.yellow("hint:"), text::line(hint)));
    }
    if report.hints.len() > HINTS_MAX {
        out.push_str(&format!(
            "{} {} more in the report (--report FILE)\n",
            paint.yellow("hint:"),
            report.hints.len() - HINTS_MAX
        ));
    }
    out.push_str(&format!("{}\n{}\n", outcome_line(report, paint), time_line(report, columns, paint)));
    out
}

/// What the tools of failed calls said. That the calls failed was told when it happened.
fn failures(report: &Report, paint: Paint) -> String {
    let bad: Vec<_> = report
        .calls
        .iter()
        .filter(|call| matches!(call.outcome, Outcome::Failed | Outcome::InDoubt | Outcome::Denied))
        .filter_map(|call| call.error.as_ref().map(|error| (call, error)))
        .collect();
    let mut out = String::new();
    let told: Vec<_> = bad
        .iter()
        .filter_map(|(call, error)| {
            Some((call, error.detail.as_ref()?)).filter(|(_, detail)| !error.message.contains(detail.trim()))
        })
        .collect();
    for (call, detail) in told.iter().take(FAILURES_MAX) {
        out.push_str(&format!("{} {} said:\n", paint.red("✗"), paint.bold(&text::line(&call.id))));
        out.push_str(&paint_lines(&text::block(detail, "  │ ", DETAIL_LINES_MAX), paint));
    }
    if told.len() > FAILURES_MAX {
        out.push_str(&format!(
            "{} {} more said something: --report FILE has it\n",
            paint.red("✗"),
            told.len() - FAILURES_MAX
        ));
    }
    let is_failed = report.outcome == RunOutcome::Failed;
    if let Some((_, error)) = bad.iter().find(|(_, error)| is_failed && explain::has_page(&error.code)) {
        let code = &error.code;
        out.push_str(&paint.dim(&format!("`fanout explain {code}` says what [{code}] means\n")));
    }
    out
}

fn paint_lines(block: &str, paint: Paint) -> String {
    block.lines().map(|line| paint.dim(line) + "\n").collect()
}

/// How the run ended: `✓ name: 31 succeeded, 1 skipped in 1.24s`.
fn outcome_line(report: &Report, paint: Paint) -> String {
    let mark = match report.outcome {
        RunOutcome::Succeeded => paint.green("✓"),
        RunOutcome::Failed => paint.red("✗"),
        RunOutcome::Cancelled => paint.yellow("■"),
    };
    let calls_ms = report.calls_ms;
    let how = match report.outcome {
        RunOutcome::Succeeded => "",
        RunOutcome::Failed => "failed: ",
        RunOutcome::Cancelled => "cancelled: ",
    };
    let speed = match report.speed_up {
        s if s.is_finite() && calls_ms > 0.0 => format!("; its calls took {} in sum ({s:.1}×)", ms(calls_ms)),
        _ => String::new(),
    };
    let cached = cached(report);
    format!(
        "{mark} {} {how}{} in {}{speed}{cached}",
        paint.bold(&format!("{}:", text::cut(&text::line(&report.name), 40))),
        counts(report),
        paint.bold(&ms(report.wall_ms)),
    )
}

/// `; cache: 12 hits, 3 joined, 4 misses`, where results could be handed on.
fn cached(report: &Report) -> String {
    let Some(total) = report.cache.as_ref().map(|cache| &cache.total) else { return String::new() };
    let some = [(total.hits, "hits"), (total.joined, "joined"), (total.misses, "misses"), (total.damaged, "damaged")];
    let told: Vec<String> = some.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if told.is_empty() { String::new() } else { format!("; cache: {}", told.join(", ")) }
}

/// `31 succeeded, 1 skipped`; a `foreach` call counts with its elements, not beside them.
pub(crate) fn counts(report: &Report) -> String {
    let mut by_outcome: BTreeMap<u8, (usize, &str)> = BTreeMap::new();
    for (index, call) in report.calls.iter().enumerate() {
        let prefix = format!("{}[", call.id);
        let has_elements = report.calls.get(index + 1).is_some_and(|next| next.id.starts_with(&prefix));
        if has_elements {
            continue;
        }
        let (rank, word) = match call.outcome {
            Outcome::Succeeded => (0, "succeeded"),
            Outcome::Failed => (1, "failed"),
            Outcome::InDoubt => (2, "in doubt"),
            Outcome::Denied => (3, "denied"),
            Outcome::Skipped => (4, "skipped"),
            Outcome::Cancelled => (5, "cancelled"),
        };
        by_outcome.entry(rank).or_insert((0, word)).0 += 1;
    }
    match by_outcome.is_empty() {
        true => "no calls".to_string(),
        false => {
            let reused = report.calls.iter().filter(|call| call.reused).count();
            let outcomes = by_outcome.values().map(|(n, word)| format!("{n} {word}")).collect::<Vec<_>>().join(", ");
            if reused == 0 { outcomes } else { format!("{outcomes} ({reused} handed on)") }
        }
    }
}

/// Where the time went: the critical path, and waits by cause.
fn time_line(report: &Report, columns: usize, paint: Paint) -> String {
    let path: Vec<String> = report.critical_path.iter().map(|id| text::line(id)).collect();
    // What is less than a hundredth of the whole is noise here; the report has it.
    let least = report.waits_ms.values().sum::<f64>() / 100.0;
    let mut waits: Vec<(&str, f64)> = report
        .waits_ms
        .iter()
        .map(|(cause, ms)| (cause.as_ref(), *ms))
        .filter(|(_, ms)| *ms >= least.max(0.5))
        .collect();
    waits.sort_by(|a, b| b.1.total_cmp(&a.1));
    let told = |n: usize| -> String {
        let told: Vec<String> =
            waits.iter().take(n).map(|(cause, total)| format!("{} {}", ms(*total), cause_word(cause))).collect();
        if told.is_empty() { "nothing waited".to_string() } else { format!("waited in sum {}", told.join(", ")) }
    };
    let head = format!("  critical path {}", ms(report.critical_path_ms));
    // One line: fewer causes before the chain of calls, and that before nothing.
    let columns = columns.saturating_sub(1);
    let room = |waited: &str| columns.saturating_sub(text::width(&head) + text::width(waited) + 6);
    let fits = (1..=WAITS_MAX).rev().find(|n| room(&told(*n)) >= CHAIN_MIN).unwrap_or(1);
    let waited = told(fits);
    let shown = match chain(&path, room(&waited)) {
        chain if chain.is_empty() => String::new(),
        chain => format!(" ({chain})"),
    };
    paint.dim(&text::cut(&format!("{head}{shown} · {waited}"), columns))
}

/// `a → b → c` in so many columns; calls in the middle give way to `…`.
pub(crate) fn chain(path: &[String], columns: usize) -> String {
    let whole = path.join(" → ");
    if text::width(&whole) <= columns || path.is_empty() {
        return whole;
    }
    for kept in (1..path.len()).rev() {
        let front = kept.div_ceil(2);
        let mut parts: Vec<&str> = path[..front].iter().map(String::as_str).collect();
        parts.push("…");
        parts.extend(path[path.len() - (kept - front)..].iter().map(String::as_str));
        let text = parts.join(" → ");
        if text::width(&text) <= columns {
            return text;
        }
    }
    count(path.len(), "call")
}

/// The causes of waits in a person's words.
pub(crate) fn cause_word(cause: &str) -> &str {
    match cause {
        "input" => "for results",
        "key" => "for keys",
        "limit" => "for limits",
        "rate" => "for rates",
        "backoff" => "before retries",
        "stop" => "for earlier calls to succeed",
        "other_run" => "for other runs",
        "reserved" => "behind reservations",
        "doubt" => "for answers to doubts",
        "pause" => "paused",
        "approval" => "for approval",
        "resolve" => "to be resolved",
        "elements" => "for elements",
        "cache" => "for the cache",
        other => other,
    }
}

/// An outcome as a word.
pub(crate) fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::Skipped => "skipped",
        Outcome::Cancelled => "cancelled",
        Outcome::Denied => "denied",
        Outcome::InDoubt => "in doubt",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_chains_lose_their_middle() {
        let path: Vec<String> = ["one", "two", "three", "four"].map(String::from).to_vec();
        assert_eq!(chain(&path, 80), "one → two → three → four");
        assert_eq!(chain(&path, 20), "one → two → … → four");
        assert_eq!(chain(&path, 14), "one → … → four");
        assert_eq!(chain(&path, 7), "one → …");
        assert_eq!(chain(&path, 5), "4 calls");
        assert_eq!(chain(&[], 5), "");
    }
}
