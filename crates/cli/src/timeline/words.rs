//! What the timeline says of calls, waits and outcomes, and the marks of outcomes.
//! It does not know where that stands.

use super::layout::{CallRow, Fold};
use super::stretches::{Stretch, What, sane};
use super::xml::escape;
use crate::account::cause_word;
pub(crate) use crate::account::outcome_word as outcome;
use crate::text::{count, ms};
use fanout::{CallReport, Outcome, RunOutcome, WaitReport};

/// The waits told of one call; the report has all.
const WAITS_MAX: usize = 8;

/// The outcome of a run as one of its calls'.
pub(crate) fn of_run(outcome: RunOutcome) -> Outcome {
    match outcome {
        RunOutcome::Succeeded => Outcome::Succeeded,
        RunOutcome::Failed => Outcome::Failed,
        RunOutcome::Cancelled => Outcome::Cancelled,
    }
}

/// All outcomes with their marks, the worst first: the id of the mark, its shape around 0, its colour.
pub(crate) const MARKS: [(Outcome, &str, &str, &str); 6] = [
    (Outcome::Failed, "o-failed", "M-3.5-3.5 3.5 3.5M3.5-3.5-3.5 3.5", "bad"),
    (Outcome::InDoubt, "o-doubt", "M-2.6-2.2A2.6 2.6 0 1 1 .8.1Q0 .6 0 1.6M0 4.2V4.3", "bad"),
    (Outcome::Denied, "o-denied", "M4 0A4 4 0 1 1-4 0A4 4 0 1 1 4 0M-2.8 2.8 2.8-2.8", "bad"),
    (Outcome::Cancelled, "o-cancelled", "M-3-3H3V3H-3Z", "ink"),
    (Outcome::Skipped, "o-skipped", "M-4 0H-1.5M1.5 0H4", "dim"),
    (Outcome::Succeeded, "o-succeeded", "M-4 .3-1.2 3.2 4-3.2", "teal"),
];

/// The id of the mark of an outcome.
pub(crate) fn mark(outcome: Outcome) -> &'static str {
    MARKS.iter().find(|mark| mark.0 == outcome).map_or("o-succeeded", |mark| mark.1)
}

/// Everything about a call, in lines: escaped.
pub(crate) fn about_call(row: &CallRow<'_>) -> String {
    let call = row.call;
    let mut lines = vec![format!("{} · {}", escape(&call.id), escape(&call.tool))];
    let mut ended = outcome(call.outcome).to_owned();
    if call.started_ms.is_some() {
        ended.push_str(&format!(" · ran {}", ms(row.ran_ms)));
        if call.attempts > 1 {
            ended.push_str(&format!(" in {}", count(call.attempts as usize, "attempt")));
        }
        ended.push_str(&format!(", from {}", ms(sane(call.started_ms.unwrap_or(0.0)))));
    }
    if row.elements > 0 {
        ended.push_str(&format!(" · {}", count(row.elements, "element")));
    }
    lines.push(ended);
    if row.is_critical {
        lines.push("on the critical path".into());
    }
    lines.extend(call.waits.iter().filter(|wait| sane(wait.ms) >= 0.001).take(WAITS_MAX).map(waited));
    if call.after_doubt {
        lines.push("started after something that overlaps its keys ended in doubt".into());
    }
    lines.extend(error(call));
    lines.join("\n")
}

fn error(call: &CallReport) -> Option<String> {
    let error = call.error.as_ref()?;
    Some(format!("[{}] {}", escape(&error.code), escape(&error.message)))
}

/// `waited 20ms for keys: edits[3], file:/a`.
pub(crate) fn waited(wait: &WaitReport) -> String {
    let on: Vec<String> = [&wait.on, &wait.key].into_iter().flatten().map(|text| escape(text)).collect();
    let colon = if on.is_empty() { "" } else { ": " };
    let word = cause_word(&wait.cause);
    let lead = if word == "paused" { "" } else { "waited " };
    format!("{lead}{} {}{colon}{}", ms(sane(wait.ms)), escape(word), on.join(", "))
}

/// About one stretch: escaped.
pub(crate) fn about_stretch(stretch: &Stretch<'_>, attempts: u32) -> String {
    match &stretch.what {
        What::Wait(wait) => waited(&WaitReport { ms: stretch.ms(), ..(*wait).clone() }),
        What::Attempt { number, outcome: how, code } => {
            let which = if attempts > 1 { format!("attempt {number} ") } else { String::new() };
            let code = code.map_or_else(String::new, |code| format!(" [{}]", escape(code)));
            format!("{which}{}{code}: {}, from {}", outcome(*how), ms(stretch.ms()), ms(stretch.from))
        }
    }
}

/// About calls that share a row: escaped.
pub(crate) fn about_fold(fold: &Fold<'_>) -> String {
    let most = fold.running.iter().copied().fold(0.0, f64::max);
    let ended: Vec<String> = fold.outcomes.iter().map(|(how, count)| format!("{count} {}", outcome(*how))).collect();
    format!(
        "{} to {}\n{}: {}\nup to {most:.1} at once",
        escape(fold.first),
        escape(fold.last),
        count(fold.calls, "call"),
        ended.join(", ")
    )
}
