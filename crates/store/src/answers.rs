//! Answers to the questions of a run that come from another process than the one that runs it.
//! It does not know what was asked, nor what comes of an answer.

use crate::dir::DataDir;
use crate::error::{Result, refuse, sqlite};
use crate::records::JsonText;
use crate::runs::{self, int};
use crate::schema;
use fanout_core::Time;
use rusqlite::{Connection, TransactionBehavior, params};
use serde_json::value::RawValue;
use std::path::Path;

/// What somebody says about a call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It may run.
    Approve,
    /// It may run, with these arguments.
    ApproveWith(JsonText),
    /// It may not run; perhaps with a reason, a JSON text.
    Deny(Option<JsonText>),
    /// Its attempt in doubt is to be followed by another.
    Rerun,
    /// Its attempt in doubt counts as failed.
    Failed,
    /// Its attempt in doubt took effect, with this result.
    Succeeded(JsonText),
}

impl Answer {
    fn parts(&self) -> (&'static str, Option<&str>) {
        match self {
            Answer::Approve => ("approve", None),
            Answer::ApproveWith(args) => ("approve_with", Some(args.get())),
            Answer::Deny(reason) => ("deny", reason.as_ref().map(|reason| reason.get())),
            Answer::Rerun => ("rerun", None),
            Answer::Failed => ("failed", None),
            Answer::Succeeded(value) => ("succeeded", Some(value.get())),
        }
    }

    fn read(word: &str, value: Option<String>) -> Option<Answer> {
        let value = match value {
            None => None,
            Some(text) => Some(JsonText::from(RawValue::from_string(text).ok()?)),
        };
        Some(match (word, value) {
            ("approve", None) => Answer::Approve,
            ("approve_with", Some(args)) => Answer::ApproveWith(args),
            ("deny", reason) => Answer::Deny(reason),
            ("rerun", None) => Answer::Rerun,
            ("failed", None) => Answer::Failed,
            ("succeeded", Some(value)) => Answer::Succeeded(value),
            _ => return None,
        })
    }
}

/// Leaves an answer for the process that runs this run, or the next that does. A later answer for the same call
/// takes the place of an earlier one that was not taken yet.
///
/// # Errors
/// `run_unknown`; `run_ended` when nothing is asked any more; as [`Journal::open`](crate::Journal::open).
pub fn leave_answer(dir: &Path, run: &str, call: &str, answer: &Answer, at: Time) -> Result<()> {
    let failed = |error: rusqlite::Error| sqlite("leave an answer", &error);
    let connection = schema::open_write(&DataDir::existing(dir)?)?;
    let info = known(&connection, run)?;
    if info.state.is_ended() {
        return Err(refuse("run_ended", format!("the run {run} has ended: it asks for nothing any more")));
    }
    let (word, value) = answer.parts();
    let insert = "INSERT OR REPLACE INTO answers (run, call, answer, value, at_ns) VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.execute(insert, params![info.run.0, call, word, value, int(at.0)]).map_err(failed)?;
    Ok(())
}

/// Takes the answers that were left for a run, by call. Each is given once.
///
/// # Errors
/// `run_unknown`; as [`Journal::open`](crate::Journal::open).
pub fn take_answers(dir: &Path, run: &str) -> Result<Vec<(String, Answer)>> {
    let failed = |error: rusqlite::Error| sqlite("take the answers", &error);
    let mut connection = schema::open_write(&DataDir::existing(dir)?)?;
    let number = known(&connection, run)?.run.0;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let taken = {
        let mut statement =
            transaction.prepare("DELETE FROM answers WHERE run = ?1 RETURNING call, answer, value").map_err(failed)?;
        let rows = statement
            .query_map([number], |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?)))
            .map_err(failed)?;
        rows.collect::<rusqlite::Result<Vec<(String, String, Option<String>)>>>().map_err(failed)?
    };
    transaction.commit().map_err(failed)?;
    // An answer that cannot be read is none: the question is still there to be answered.
    Ok(taken.into_iter().filter_map(|(call, word, value)| Some((call, Answer::read(&word, value)?))).collect())
}

fn known(connection: &Connection, run: &str) -> Result<runs::RunInfo> {
    runs::find(connection, "id", &run)?.ok_or_else(|| refuse("run_unknown", format!("there is no run {run}")))
}
