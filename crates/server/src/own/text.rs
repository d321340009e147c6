//! What models are told about plans and runs, as text: problems, schedules, progress, the end.
//! It does not know how runs go on.

use super::kept::Kept;
use super::large;
use fanout::{CallReport, Diagnostic, Outcome, Report, RunOutcome, Schedule, Snapshot};
use std::fmt::Write as _;
use std::time::Duration;

/// At most so many lines of one kind.
const LINES_MAX: usize = 100;
/// At most so many problems are told at once.
const PROBLEMS_MAX: usize = 20;
/// Where every result is given, each has at least this many characters.
const RESULT_CHARS_MIN: usize = 500;

/// Everything that is wrong with a plan, and what was probably meant.
pub(super) fn problems(problems: &[Diagnostic], advice: &[String]) -> String {
    let mut text = String::new();
    for problem in problems.iter().take(PROBLEMS_MAX) {
        let _ = writeln!(text, "{problem}");
    }
    if problems.len() > PROBLEMS_MAX {
        let _ = writeln!(text, "… and {} more", problems.len() - PROBLEMS_MAX);
    }
    for line in advice {
        let _ = writeln!(text, "hint: {line}");
    }
    text.truncate(text.trim_end().len());
    text
}

/// What would run when.
pub(super) fn schedule(schedule: &Schedule) -> String {
    let mut text = format!(
        "The plan is right: {} calls, about {} in parallel, {} one by one; critical path {}.\n",
        schedule.calls.len(),
        duration(schedule.makespan),
        duration(schedule.calls_total),
        schedule.critical_path.join(" → ")
    );
    for call in schedule.calls.iter().take(LINES_MAX) {
        let _ = write!(text, "- {} ({}) at {}", call.id, call.tool, duration(call.start));
        for (at, wait) in call.waits_for.iter().enumerate() {
            let on = wait.on.as_deref().unwrap_or("");
            let key = wait.key.as_ref().map(|key| format!(", key {key}")).unwrap_or_default();
            let _ = write!(text, "{} {on} ({}{key})", if at == 0 { ", waits for" } else { "," }, wait.cause);
        }
        text.push('\n');
    }
    more(&mut text, schedule.calls.len());
    text.push_str("(Durations of calls nobody knows are guesses.)");
    text
}

/// How a run is doing that has not ended.
pub(super) fn under_way(id: &str, snapshot: &Snapshot) -> String {
    let counts = snapshot.counts;
    let mut text = format!(
        "The run {id} goes on after {}: {} of {} calls have ended ({} succeeded, {} failed, {} skipped, {} cancelled), \
         {} running, {} waiting.\n",
        duration(snapshot.elapsed),
        counts.succeeded + counts.failed + counts.skipped + counts.cancelled,
        counts.total,
        counts.succeeded,
        counts.failed,
        counts.skipped,
        counts.cancelled,
        counts.running,
        counts.waiting
    );
    for call in snapshot.running.iter().take(LINES_MAX) {
        let _ = writeln!(
            text,
            "- {} ({}) runs for {}, attempt {}",
            call.id,
            call.tool,
            duration(call.elapsed),
            call.attempt
        );
    }
    for call in snapshot.waiting.iter().take(LINES_MAX) {
        let on = call.on.as_ref().map(|on| format!(" on {on}")).unwrap_or_default();
        let key = call.key.as_ref().map(|key| format!(" for the key {key}")).unwrap_or_default();
        let _ = writeln!(text, "- {} waits {} ({}){on}{key}", call.id, duration(call.since), call.cause);
    }
    let _ = write!(text, "Ask run_status {{\"run\": \"{id}\", \"wait_seconds\": 50}} for its end, or cancel_run it.");
    text
}

/// How a run ended, and what it gave.
pub(super) fn report(report: &Report, chars_max: usize, kept: &mut Kept) -> String {
    let mut text = summary(report);
    match &report.output {
        Some(output) => {
            let _ = writeln!(text, "output: {}", large::text_of(output, chars_max, kept));
        }
        None => results(&mut text, report, chars_max, kept),
    }
    let bad: Vec<&CallReport> = report.calls.iter().filter(|call| call.outcome != Outcome::Succeeded).collect();
    for call in bad.iter().take(LINES_MAX) {
        let _ = write!(text, "- {} ({}) {}", call.id, call.tool, outcome(call.outcome));
        if let Some(error) = &call.error {
            let _ = write!(text, ": {}", large::error_text(error));
        }
        text.push('\n');
    }
    more(&mut text, bad.len());
    for hint in &report.hints {
        let _ = writeln!(text, "hint: {hint}");
    }
    text.truncate(text.trim_end().len());
    text
}

fn summary(report: &Report) -> String {
    let ms = |ms: f64| duration(Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default());
    let succeeded = report.calls.iter().filter(|call| call.outcome == Outcome::Succeeded).count();
    let how = match report.outcome {
        RunOutcome::Succeeded => "succeeded",
        RunOutcome::Failed => "failed",
        RunOutcome::Cancelled => "was cancelled",
    };
    format!(
        "The run {how}: {succeeded} of {} calls succeeded, in {} (its calls took {} in sum).\n",
        report.calls.len(),
        ms(report.wall_ms),
        ms(report.calls_ms)
    )
}

/// Every result, those of elements in the list of their call.
fn results(text: &mut String, report: &Report, chars_max: usize, kept: &mut Kept) {
    let given: Vec<&CallReport> =
        report.calls.iter().filter(|call| call.result.is_some() && !call.id.ends_with(']')).collect();
    let each = (chars_max / given.len().max(1)).max(RESULT_CHARS_MIN).min(chars_max);
    for call in given.iter().take(LINES_MAX) {
        let Some(result) = &call.result else { continue };
        let _ = writeln!(text, "{}: {}", call.id, large::text_of(result, each, kept));
    }
    if given.len() > LINES_MAX {
        let _ = writeln!(text, "… and {} more results: say in `output` which you want", given.len() - LINES_MAX);
    }
}

fn more(text: &mut String, count: usize) {
    if count > LINES_MAX {
        let _ = writeln!(text, "… and {} more", count - LINES_MAX);
    }
}

/// Whether a run is to be told as an error: nothing of what was wanted can be relied on without looking.
pub(super) fn is_bad(report: &Report) -> bool {
    report.outcome != RunOutcome::Succeeded
}

/// An outcome in words.
pub(super) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::Skipped => "was skipped",
        Outcome::Cancelled => "was cancelled",
        Outcome::Denied => "was denied",
        Outcome::InDoubt => "is in doubt",
    }
}

/// A duration for reading.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds >= 120.0 {
        format!("{:.1} min", seconds / 60.0)
    } else if seconds >= 1.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{:.0} ms", seconds * 1e3)
    }
}
