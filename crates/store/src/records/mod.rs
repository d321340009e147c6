//! The facts a run is made of, in words of the core and with the values the engine keeps beside them.
//! It does not know how they stand on disk (`encode.rs`), nor what follows from them.

mod common;
mod encode;
mod pack;

pub(crate) use encode::{Unread, decode, encode};
pub(crate) use pack::{Pack, Unpack};

use crate::blobs::BlobRef;
use fanout_core::{
    AbortReason, AttemptEnd, AttemptRef, CallRef, Claims, DoubtAnswer, Event, Outcome, Recorded, Resolution, RunId,
    Time,
};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A value as JSON text, shared.
pub type JsonText = Arc<RawValue>;

/// A fact and when it was.
#[derive(Clone, Debug)]
pub struct Record {
    /// When, in nanoseconds since 1970: the origin of the driver's clock is chosen so.
    pub at: Time,
    /// What.
    pub fact: Fact,
}

/// What is remembered of a run, in the order in which the core was told.
#[derive(Clone, Debug)]
pub enum Fact {
    /// The run began. Always its first record.
    RunStarted(Box<RunStarted>),
    /// Calls were added, as in a plan's `calls`.
    CallsAdded {
        /// A JSON list of calls.
        calls: Value,
    },
    /// No more calls will be added.
    RunClosed,
    /// The inputs of a call were looked at.
    Resolved(Resolved),
    /// An attempt started. Of a call that is not repeatable, this is on disk before the attempt begins.
    Started {
        /// The attempt.
        attempt: AttemptAt,
        /// Whether something that overlaps its keys ended in doubt before.
        after_doubt: bool,
    },
    /// An attempt ended.
    Finished(Finished),
    /// An attempt was told to end.
    Aborted {
        /// The attempt.
        attempt: AttemptAt,
        /// Why.
        reason: AbortReason,
    },
    /// A call was handed the result of another.
    Reused {
        /// The call.
        call: CallAt,
        /// The result.
        value: Value,
    },
    /// An attempt did not heed its abort, and was given up.
    GivenUp {
        /// The attempt.
        attempt: AttemptAt,
    },
    /// The process died while an attempt ran.
    Lost {
        /// The attempt.
        attempt: AttemptAt,
        /// What somebody says about it.
        answer: Option<DoubtAnswer>,
        /// The result, where the answer is that it succeeded.
        value: Option<Value>,
    },
    /// The deadline passed; what ended because of it stands behind this.
    DeadlinePassed,
    /// Nobody answered in time for an attempt in doubt, or for a call to be approved.
    Unanswered {
        /// The call.
        call: CallAt,
    },
    /// Somebody answered for an attempt in doubt.
    DoubtSettled {
        /// The attempt.
        attempt: AttemptAt,
        /// The answer.
        answer: DoubtAnswer,
        /// The result, where the answer is that it succeeded.
        value: Option<Value>,
    },
    /// Somebody answered for a call that needs approval.
    ApprovalGiven(ApprovalGiven),
    /// The run, or one call, is to end early.
    CancelRequested {
        /// One call of the list, or all.
        call: Option<u32>,
        /// Whether what runs is aborted.
        force: bool,
    },
    /// Nothing new starts until it is resumed.
    PauseRequested,
    /// The opposite.
    ResumeRequested,
    /// A call has its outcome. It follows from what stands before; here for its account, and to check that it does.
    Ended(Ended),
    /// Another process went on with the run; these are the tools it had. What was open stands behind it as lost.
    RunTaken {
        /// As in [`RunStarted::tools`].
        tools: Vec<ToolIdentity>,
    },
    /// All calls ended.
    RunEnded {
        /// How: `succeeded`, `failed`, `cancelled`.
        outcome: String,
        /// The account of the run.
        report: Option<Value>,
    },
}

/// What a run began with: enough to translate the plan again.
#[derive(Clone, Debug)]
pub struct RunStarted {
    /// The plan as JSON.
    pub plan: Value,
    /// The values of its inputs as a JSON object.
    pub inputs: Option<Value>,
    /// Its share of the engine's limits.
    pub weight: u32,
    /// When it is cancelled, whatever is left.
    pub deadline: Option<Time>,
    /// Whether calls may be added.
    pub open: bool,
    /// Seed of the jitter of its retries.
    pub seed: u64,
    /// What whoever started it wants to find again: where the plan and the tools came from.
    pub context: Option<Value>,
    /// The tools it uses, so that one that changed since is noticed.
    pub tools: Vec<ToolIdentity>,
}

/// A tool as it was when a run used it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ToolIdentity {
    /// Its name.
    pub name: String,
    /// A hash of its definition: schemas, effects, settings, how it is called.
    pub hash: String,
    /// A hash of each of these, by name; none in records of a fanout that wrote only the first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

/// What the inputs of a call made of it.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The call.
    pub call: CallAt,
    /// What.
    pub resolution: Resolution,
    /// Its arguments as JSON, where they have to be approved: whoever answers elsewhere is shown them.
    pub args: Option<String>,
    /// What was wrong, where it is an error.
    pub error: Option<Box<ErrorText>>,
}

/// How an attempt ended, and with what.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The attempt.
    pub attempt: AttemptAt,
    /// How.
    pub end: AttemptEnd,
    /// Its result.
    pub value: Option<Value>,
    /// What went wrong.
    pub error: Option<Box<ErrorText>>,
    /// What it cost, where the kernel counted: processor time and the largest resident set in bytes.
    pub usage: Option<(Duration, u64)>,
}

/// What somebody said about a call that needs approval.
#[derive(Clone, Debug)]
pub struct ApprovalGiven {
    /// The call.
    pub call: CallAt,
    /// Whether it may run.
    pub approved: bool,
    /// The arguments, where they were edited.
    pub args: Option<Value>,
    /// Its keys, where they are others for that.
    pub claims: Option<Claims>,
    /// Why not, where somebody said so.
    pub error: Option<Box<ErrorText>>,
}

/// How a call ended, and its account.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The call.
    pub call: CallAt,
    /// How.
    pub outcome: Outcome,
    /// When its first attempt started, if one did.
    pub started: Option<Time>,
    /// What it waited for, in order.
    pub waits: Vec<Waited>,
}

/// A stretch of waiting, in words: numbers of limits and rates differ between processes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Waited {
    /// The kind of cause.
    pub cause: Cow<'static, str>,
    /// On which call, limit or rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Arc<str>>,
    /// For which key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Arc<str>>,
    /// How long, in nanoseconds.
    pub ns: u64,
}

/// What went wrong, for people and models.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ErrorText {
    /// A stable code.
    pub code: String,
    /// What, on what, why.
    pub message: String,
    /// More, such as the end of standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A call of the run whose record it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallAt {
    /// Its index in the run's list.
    pub call: u32,
    /// Its index as an element of that call.
    pub element: Option<u32>,
}

/// An attempt of the run whose record it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptAt {
    /// The call.
    pub call: CallAt,
    /// Which try, from 1.
    pub attempt: u32,
}

/// A JSON value of a record: given as text; read back as text, or as the blob that it became when it was large.
#[derive(Clone, Debug)]
pub enum Value {
    /// The text itself. On its way to disk it may have any size.
    Text(JsonText),
    /// Where the text is; `Reader::text` reads and checks it.
    Blob(BlobRef),
}

impl Value {
    /// Its length as text.
    pub fn bytes(&self) -> u64 {
        match self {
            Value::Text(text) => text.get().len() as u64,
            Value::Blob(blob) => blob.bytes,
        }
    }
}

impl From<JsonText> for Value {
    fn from(text: JsonText) -> Value {
        Value::Text(text)
    }
}

impl CallAt {
    /// The same call in a run of this number.
    pub fn of(self, run: RunId) -> CallRef {
        CallRef { run, call: self.call, element: self.element }
    }
}

impl From<CallRef> for CallAt {
    fn from(call: CallRef) -> CallAt {
        CallAt { call: call.call, element: call.element }
    }
}

impl AttemptAt {
    /// The same attempt in a run of this number.
    pub fn of(self, run: RunId) -> AttemptRef {
        AttemptRef { call: self.call.of(run), attempt: self.attempt }
    }
}

impl From<AttemptRef> for AttemptAt {
    fn from(attempt: AttemptRef) -> AttemptAt {
        AttemptAt { call: attempt.call.into(), attempt: attempt.attempt }
    }
}

impl Fact {
    /// The core's event for this fact, in a run of this number. `None` where the engine has to make it from a plan
    /// ([`Fact::RunStarted`], [`Fact::CallsAdded`]) or the core is not told.
    pub fn event(&self, run: RunId) -> Option<Event> {
        Some(match self {
            Fact::RunClosed => Event::RunClosed { run },
            Fact::Resolved(resolved) => {
                Event::Resolved { call: resolved.call.of(run), resolution: resolved.resolution.clone() }
            }
            Fact::Finished(finished) => Event::Finished { attempt: finished.attempt.of(run), end: finished.end },
            Fact::DoubtSettled { attempt, answer, .. } => {
                Event::DoubtSettled { attempt: attempt.of(run), answer: *answer }
            }
            Fact::CancelRequested { call, force } => Event::CancelRequested { run, call: *call, force: *force },
            Fact::Aborted { attempt, reason } => {
                Event::Recorded(Recorded::Aborted { attempt: attempt.of(run), reason: *reason })
            }
            Fact::Reused { call, .. } => Event::Recorded(Recorded::Reused { call: call.of(run) }),
            Fact::GivenUp { attempt } => Event::Recorded(Recorded::GivenUp { attempt: attempt.of(run) }),
            Fact::Lost { attempt, answer, .. } => {
                Event::Recorded(Recorded::Lost { attempt: attempt.of(run), answer: *answer })
            }
            Fact::DeadlinePassed => Event::DeadlinePassed { run },
            Fact::Unanswered { call } => Event::Recorded(Recorded::Unanswered { call: call.of(run) }),
            Fact::Started { attempt, .. } => Event::Recorded(Recorded::Started { attempt: attempt.of(run) }),
            Fact::ApprovalGiven(given) => Event::Resolved {
                call: given.call.of(run),
                resolution: match given.approved {
                    true => Resolution::Run { claims: given.claims.clone(), same: None },
                    false => Resolution::Denied,
                },
            },
            Fact::PauseRequested => Event::PauseRequested { run },
            Fact::ResumeRequested => Event::ResumeRequested { run },
            Fact::RunStarted(_)
            | Fact::CallsAdded { .. }
            | Fact::Ended(_)
            | Fact::RunTaken { .. }
            | Fact::RunEnded { .. } => return None,
        })
    }

    /// Its values.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        let all = match self {
            Fact::RunStarted(started) => [Some(&started.plan), started.inputs.as_ref(), started.context.as_ref()],
            Fact::CallsAdded { calls } => [Some(calls), None, None],
            Fact::Reused { value, .. } => [Some(value), None, None],
            Fact::Finished(finished) => [finished.value.as_ref(), None, None],
            Fact::DoubtSettled { value, .. } | Fact::Lost { value, .. } => [value.as_ref(), None, None],
            Fact::ApprovalGiven(given) => [given.args.as_ref(), None, None],
            Fact::RunEnded { report, .. } => [report.as_ref(), None, None],
            _ => [None, None, None],
        };
        all.into_iter().flatten()
    }

    /// Its values, to be moved into blobs where they are large.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        let all = match self {
            Fact::RunStarted(started) => [Some(&mut started.plan), started.inputs.as_mut(), started.context.as_mut()],
            Fact::CallsAdded { calls } => [Some(calls), None, None],
            Fact::Reused { value, .. } => [Some(value), None, None],
            Fact::Finished(finished) => [finished.value.as_mut(), None, None],
            Fact::DoubtSettled { value, .. } | Fact::Lost { value, .. } => [value.as_mut(), None, None],
            Fact::ApprovalGiven(given) => [given.args.as_mut(), None, None],
            Fact::RunEnded { report, .. } => [report.as_mut(), None, None],
            _ => [None, None, None],
        };
        all.into_iter().flatten()
    }

    /// The blobs it names.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &BlobRef> {
        self.values().filter_map(|value| match value {
            Value::Text(_) => None,
            Value::Blob(blob) => Some(blob),
        })
    }

    /// About how many bytes it takes while it waits to be written.
    pub(crate) fn weight(&self) -> usize {
        const WITHOUT_VALUE: usize = 128;
        let values: u64 = self.values().map(Value::bytes).sum();
        let error = match self {
            Fact::Finished(Finished { error: Some(error), .. }) => {
                error.message.len() + error.detail.as_ref().map_or(0, String::len)
            }
            _ => 0,
        };
        WITHOUT_VALUE + error + usize::try_from(values).unwrap_or(usize::MAX / 2)
    }
}
