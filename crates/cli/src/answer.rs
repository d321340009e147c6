//! `fanout approve` and `fanout deny`: leave answers for the process that runs a durable run, or the next that does.
//! It does not know when they are taken.

use crate::args::{ApproveArgs, DenyArgs, RunName, When};
use crate::durable;
use crate::load::Refused;
use crate::text::{self, Paint};
use fanout::state::{Answer, Reader, is_held, leave_answer, now};
use fanout::{DoubtAnswer, JsonText, RecordedRun};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::path::Path;
use std::process::ExitCode;

/// `fanout approve`.
pub(crate) fn approve(args: &ApproveArgs, color: When) -> Result<ExitCode, Refused> {
    let answer = match &args.args {
        None => Answer::Approve,
        Some(text) => {
            let wrong = |error: serde_json::Error| format!("--args is not JSON: {error}");
            let value: Value = serde_json::from_str(text).map_err(wrong)?;
            if !value.is_object() {
                return Err(Refused::Usage("--args is not a JSON object".to_owned()));
            }
            Answer::ApproveWith(RawValue::from_string(value.to_string()).map(JsonText::from).map_err(wrong)?)
        }
    };
    leave(&args.name, &args.call, &answer, "approved", color)
}

/// `fanout deny`.
pub(crate) fn deny(args: &DenyArgs, color: When) -> Result<ExitCode, Refused> {
    let reason = args.reason.as_ref().and_then(|reason| to_raw_value(reason).ok()).map(JsonText::from);
    leave(&args.name, &args.call, &Answer::Deny(reason), "denied", color)
}

/// Shows what is asked, and leaves the answer.
fn leave(name: &RunName, call: &str, answer: &Answer, word: &str, color: When) -> Result<ExitCode, Refused> {
    let paint = Paint::choose(color, text::stderr_is_terminal());
    let state = durable::state_dir(&name.state)?;
    let info = durable::find(&state, name)?;
    let questions = match info.state.is_ended() {
        true => Vec::new(),
        false => RecordedRun::read(&state, &info.id)?.so_far(&state)?.questions,
    };
    let asked = questions.iter().find(|question| question.call == call && question.approval.is_some());
    let Some(asked) = asked else {
        let open: Vec<&str> =
            questions.iter().filter(|question| question.approval.is_some()).map(|asked| asked.call.as_str()).collect();
        let help = match open.is_empty() {
            true => "nothing of it does".to_owned(),
            false => format!("these do: {}", open.join(", ")),
        };
        let message = format!("`{call}` of the run {} does not wait to be approved; {help} [not_asked]", info.id);
        return Err(Refused::Usage(message));
    };
    let mut said = format!("{} {}, with\n", paint.bold(&text::line(call)), text::line(&asked.tool));
    match &asked.approval {
        Some(Some(args)) => {
            said += &text::block(&serde_json::to_string_pretty(args).unwrap_or_default(), "    ", usize::MAX);
        }
        _ => said += "    arguments that are too large to be shown here\n",
    }
    if let Answer::ApproveWith(edited) = answer {
        let edited: Value = serde_json::from_str(edited.get()).unwrap_or_default();
        said += "instead with\n";
        said += &text::block(&serde_json::to_string_pretty(&edited).unwrap_or_default(), "    ", usize::MAX);
    }
    leave_answer(&state, &info.id, call, answer, now())?;
    said += &format!("{}{}\n", paint.bold(word), taken_by(&state, &info.id)?);
    text::say(&said);
    Ok(ExitCode::SUCCESS)
}

/// Leaves what is said of calls in doubt for the process that runs the run.
pub(crate) fn leave_doubts(state: &Path, run: &str, answers: &[(String, DoubtAnswer)]) -> Result<(), Refused> {
    for (call, answer) in answers {
        let answer = match answer {
            DoubtAnswer::Rerun => Answer::Rerun,
            DoubtAnswer::Fail => Answer::Failed,
            DoubtAnswer::Succeeded(value) => {
                let text = to_raw_value(value).map_err(|error| format!("--in-doubt {call}: {error}"))?;
                Answer::Succeeded(text.into())
            }
        };
        leave_answer(state, run, call, &answer, now())?;
    }
    text::say(&format!("left{}\n", taken_by(state, run)?));
    Ok(())
}

/// Who takes an answer that was left.
fn taken_by(state: &Path, run: &str) -> Result<String, Refused> {
    Ok(match is_held(&Reader::open(state)?, run) {
        true => "; the process that runs it takes the answer within a second".to_owned(),
        false => format!("; no process runs it now, `fanout resume {run}` goes on with it"),
    })
}
