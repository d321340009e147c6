//! What a run that has not ended has done so far, read from its record: which calls have ended, what it waits for.
//! It does not know what the answers will be, nor whether a process runs it.

use crate::durable::{RecordedRun, damaged};
use crate::event::Outcome;
use crate::words;
use fanout_core::{AttemptEnd, Reached, Resolution};
use fanout_store::{CallAt, Fact, Reader, RunState, StoreError};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// What a run has done so far.
#[derive(Clone, Debug, Default)]
pub struct SoFar {
    /// The calls that have ended, in the order in which they did.
    pub ended: Vec<(String, Outcome)>,
    /// Attempts of which only the start is recorded: they run, or were lost with their process.
    pub started: Vec<String>,
    /// The questions that somebody has to answer.
    pub questions: Vec<Question>,
}

/// What somebody has to answer about a call.
#[derive(Clone, Debug)]
pub struct Question {
    /// The id of the call.
    pub call: String,
    /// Its tool.
    pub tool: String,
    /// Whether it may run with these arguments (absent where they are large); else what became of its attempt.
    pub approval: Option<Option<Value>>,
}

/// How far a call is.
enum Stage {
    Started,
    Asked(Option<Value>),
    Doubted,
}

impl RecordedRun {
    /// What the run has done so far.
    ///
    /// # Errors
    /// As [`RecordedRun::read`].
    pub fn so_far(&self, state: &Path) -> Result<SoFar, StoreError> {
        let reader = Reader::open(state)?;
        let (mut calls, mut wrong) = (named(&self.plan["calls"]), None);
        let mut so_far = SoFar::default();
        let mut open: BTreeMap<(u32, Option<u32>), Stage> = BTreeMap::new();
        reader.replay(&self.info.id, |_, record| match record.fact {
            Fact::CallsAdded { calls: added } => match reader.text(&added).map(|text| serde_json::from_str(text.get()))
            {
                Ok(Ok(added)) => calls.extend(named(&added)),
                Ok(Err(error)) => _ = wrong.get_or_insert(damaged(&self.info.id, &error.to_string())),
                Err(error) => _ = wrong.get_or_insert(error),
            },
            Fact::Ended(ended) => {
                open.remove(&at(ended.call));
                so_far.ended.push((id(&calls, ended.call), words::outcome(ended.outcome)));
            }
            fact => follow(&mut open, fact),
        })?;
        for ((call, element), stage) in open {
            let call = CallAt { call, element };
            let approval = match stage {
                Stage::Started => {
                    so_far.started.push(id(&calls, call));
                    continue;
                }
                Stage::Asked(args) => Some(args),
                // A failure that is followed by another attempt looks the same; nobody is asked about it.
                Stage::Doubted if self.info.state != RunState::Waiting => continue,
                Stage::Doubted => None,
            };
            let tool = calls.get(call.call as usize).map(|(_, tool)| tool.clone()).unwrap_or_default();
            so_far.questions.push(Question { call: id(&calls, call), tool, approval });
        }
        wrong.map_or(Ok(so_far), Err)
    }
}

fn follow(open: &mut BTreeMap<(u32, Option<u32>), Stage>, fact: Fact) {
    match fact {
        Fact::Resolved(resolved) => match resolved.resolution {
            Resolution::Ask { .. } => {
                let args = resolved.args.and_then(|args| serde_json::from_str(&args).ok());
                open.insert(at(resolved.call), Stage::Asked(args));
            }
            _ => _ = open.remove(&at(resolved.call)),
        },
        Fact::ApprovalGiven(given) => _ = open.remove(&at(given.call)),
        Fact::Unanswered { call } => _ = open.remove(&at(call)),
        Fact::Started { attempt, .. } => _ = open.insert(at(attempt.call), Stage::Started),
        Fact::Finished(finished) => match finished.end {
            AttemptEnd::Failed { reached: Reached::No, .. } | AttemptEnd::Aborted { reached: Reached::No } => {
                open.remove(&at(finished.attempt.call));
            }
            AttemptEnd::Succeeded => _ = open.remove(&at(finished.attempt.call)),
            _ => _ = open.insert(at(finished.attempt.call), Stage::Doubted),
        },
        Fact::GivenUp { attempt } => _ = open.insert(at(attempt.call), Stage::Doubted),
        Fact::Lost { attempt, answer: None, .. } => _ = open.insert(at(attempt.call), Stage::Doubted),
        Fact::Lost { attempt, .. } | Fact::DoubtSettled { attempt, .. } => _ = open.remove(&at(attempt.call)),
        _ => {}
    }
}

fn at(call: CallAt) -> (u32, Option<u32>) {
    (call.call, call.element)
}

/// The ids and the tools of a list of calls.
fn named(calls: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    calls.as_array().into_iter().flatten().map(|call| (text(&call["id"]), text(&call["tool"]))).collect()
}

fn id(calls: &[(String, String)], at: CallAt) -> String {
    let id = calls.get(at.call as usize).map_or("?", |(id, _)| id);
    at.element.map_or_else(|| id.to_owned(), |element| format!("{id}[{element}]"))
}
