//! The one place where facts become JSON and JSON facts: an object with a kind, a version and a time.
//! It does not know what is done with them, nor how they are kept from rotting.

use super::{
    ApprovalGiven, AttemptAt, CallAt, Ended, ErrorText, Fact, Finished, Record, Resolved, RunStarted, ToolIdentity,
    Value, Waited, common,
};
use crate::blobs::BlobRef;
use fanout_core::{
    AbortReason, AttemptEnd, Claim, Claims, DoubtAnswer, FailureClass, Key, Outcome, Reached, Resolution, Time,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// The version in which every kind is written. A kind that changes its payload gets a version of its own then;
/// what was written before is read as it was.
pub(super) const VERSION: u32 = 1;

/// Why a row gives no record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// Its kind or version is not known here.
    Newer,
    /// Its payload is not what a record of its kind has.
    Malformed(Cow<'static, str>),
}

/// A record of any kind: what a kind does not have is not written.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Payload<'a> {
    kind: &'a str,
    v: u32,
    at_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    element: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "is_false")]
    after_doubt: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolution: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    elements: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<Vec<ClaimText<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reached: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", borrow, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_blob: Option<Cow<'a, BlobRef>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Cow<'a, ErrorText>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits: Option<Cow<'a, [Waited]>>,
    #[serde(skip_serializing_if = "is_false")]
    force: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<Cow<'a, [ToolIdentity]>>,
    #[serde(skip_serializing_if = "Option::is_none", borrow, deserialize_with = "present")]
    plan: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan_blob: Option<Cow<'a, BlobRef>>,
    #[serde(skip_serializing_if = "Option::is_none", borrow, deserialize_with = "present")]
    inputs: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs_blob: Option<Cow<'a, BlobRef>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_ns: Option<u64>,
    #[serde(skip_serializing_if = "is_false")]
    open: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", borrow, deserialize_with = "present")]
    context: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_blob: Option<Cow<'a, BlobRef>>,
}

/// `read` or `write`, and the numbers of the key's prefixes.
type ClaimText<'a> = (Cow<'a, str>, Cow<'a, [u64]>);

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this shape")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A value that is there, also when it is `null`: a tool may well return that.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// Writes a record behind what is in `into`.
pub(crate) fn encode(record: &Record, into: &mut Vec<u8>) {
    if !common::encode(record, into) {
        encode_any(record, into);
    }
}

/// The same, for a record of any kind.
pub(super) fn encode_any(record: &Record, into: &mut Vec<u8>) {
    let mut payload = Payload { v: VERSION, at_ns: record.at.0, ..Payload::default() };
    payload.kind = fill(&record.fact, &mut payload);
    // Written to memory, and of texts and numbers only.
    if let Err(error) = serde_json::to_writer(into, &payload) {
        debug_assert!(false, "a record is always JSON: {error}");
    }
}

fn fill<'a>(fact: &'a Fact, to: &mut Payload<'a>) -> &'static str {
    match fact {
        Fact::RunStarted(started) => fill_started(started, to),
        Fact::CallsAdded { calls } => {
            (to.value, to.value_blob) = halves(Some(calls));
            "calls_added"
        }
        Fact::RunClosed => "run_closed",
        Fact::Resolved(resolved) => fill_resolved(resolved, to),
        Fact::Started { attempt, after_doubt } => {
            to.of_attempt(*attempt);
            to.after_doubt = *after_doubt;
            "started"
        }
        Fact::Finished(finished) => fill_finished(finished, to),
        Fact::DoubtSettled { attempt, answer, value } => {
            to.of_attempt(*attempt);
            to.answer = Some(word(&ANSWERS, *answer));
            (to.value, to.value_blob) = halves(value.as_ref());
            "doubt_settled"
        }
        Fact::Aborted { attempt, reason } => {
            to.of_attempt(*attempt);
            to.reason = Some(word(&ABORTS, *reason));
            "aborted"
        }
        Fact::Reused { call, value } => {
            to.of_call(*call);
            (to.value, to.value_blob) = halves(Some(value));
            "reused"
        }
        Fact::GivenUp { attempt } => {
            to.of_attempt(*attempt);
            "given_up"
        }
        Fact::Lost { attempt, answer, value } => {
            to.of_attempt(*attempt);
            to.answer = answer.map(|answer| word(&ANSWERS, answer));
            (to.value, to.value_blob) = halves(value.as_ref());
            "lost"
        }
        Fact::DeadlinePassed => "deadline_passed",
        Fact::Unanswered { call } => {
            to.of_call(*call);
            "unanswered"
        }
        Fact::ApprovalGiven(given) => fill_approval(given, to),
        Fact::Ended(ended) => {
            to.of_call(ended.call);
            to.outcome = Some(word(&OUTCOMES, ended.outcome));
            to.started_ns = ended.started.map(|started| started.0);
            to.waits = (!ended.waits.is_empty()).then_some(Cow::Borrowed(&ended.waits));
            "ended"
        }
        Fact::CancelRequested { call, force } => {
            (to.call, to.force) = (*call, *force);
            "cancel_requested"
        }
        Fact::PauseRequested => "pause_requested",
        Fact::ResumeRequested => "resume_requested",
        Fact::RunTaken { tools } => {
            to.tools = Some(Cow::Borrowed(tools));
            "run_taken"
        }
        Fact::RunEnded { outcome, report } => {
            to.outcome = Some(outcome);
            (to.value, to.value_blob) = halves(report.as_ref());
            "run_ended"
        }
    }
}

fn fill_started<'a>(started: &'a RunStarted, to: &mut Payload<'a>) -> &'static str {
    (to.plan, to.plan_blob) = halves(Some(&started.plan));
    (to.inputs, to.inputs_blob) = halves(started.inputs.as_ref());
    to.weight = Some(started.weight);
    to.deadline_ns = started.deadline.map(|deadline| deadline.0);
    to.open = started.open;
    to.seed = Some(started.seed);
    (to.context, to.context_blob) = halves(started.context.as_ref());
    to.tools = Some(Cow::Borrowed(&started.tools));
    "run_started"
}

fn fill_approval<'a>(given: &'a ApprovalGiven, to: &mut Payload<'a>) -> &'static str {
    to.of_call(given.call);
    to.answer = Some(if given.approved { "approved" } else { "denied" });
    (to.value, to.value_blob) = halves(given.args.as_ref());
    to.claims = given.claims.as_ref().map(|claims| claims.iter().map(claim_payload).collect());
    to.error = given.error.as_deref().map(Cow::Borrowed);
    "approval_given"
}

fn fill_resolved<'a>(resolved: &'a Resolved, to: &mut Payload<'a>) -> &'static str {
    to.of_call(resolved.call);
    to.args = resolved.args.as_deref().map(Cow::Borrowed);
    to.error = resolved.error.as_deref().map(Cow::Borrowed);
    to.resolution = Some(match &resolved.resolution {
        // What it shares with others is found out anew.
        Resolution::Run { claims, same: _ } => {
            to.claims = claims.as_ref().map(|claims| claims.iter().map(claim_payload).collect());
            "run"
        }
        Resolution::Skip => "skip",
        Resolution::Elements(elements) => {
            to.elements = Some(*elements);
            "elements"
        }
        Resolution::Error => "error",
        Resolution::Ask { claims, bound } => {
            to.claims = claims.as_ref().map(|claims| claims.iter().map(claim_payload).collect());
            to.bound_ns = Some(nanos(*bound));
            "ask"
        }
        Resolution::Denied => "denied",
    });
    "resolved"
}

fn claim_payload(claim: &Claim) -> ClaimText<'_> {
    (Cow::Borrowed(if claim.write { "write" } else { "read" }), Cow::Borrowed(&claim.key.0))
}

fn fill_finished<'a>(finished: &'a Finished, to: &mut Payload<'a>) -> &'static str {
    to.of_attempt(finished.attempt);
    (to.value, to.value_blob) = halves(finished.value.as_ref());
    to.error = finished.error.as_deref().map(Cow::Borrowed);
    if let Some((cpu, memory)) = finished.usage {
        to.cpu_ns = Some(nanos(cpu));
        to.memory_bytes_max = Some(memory);
    }
    to.end = Some(match finished.end {
        AttemptEnd::Succeeded => "succeeded",
        AttemptEnd::Failed { class, reached, retry_after } => {
            to.class = Some(word(&CLASSES, class));
            to.reached = Some(word(&REACHED, reached));
            to.retry_after_ns = retry_after.map(nanos);
            "failed"
        }
        AttemptEnd::Aborted { reached } => {
            to.reached = Some(word(&REACHED, reached));
            "aborted"
        }
    });
    "finished"
}

impl Payload<'_> {
    fn of_call(&mut self, call: CallAt) {
        (self.call, self.element) = (Some(call.call), call.element);
    }

    fn of_attempt(&mut self, attempt: AttemptAt) {
        self.of_call(attempt.call);
        self.attempt = Some(attempt.attempt);
    }
}

fn halves(value: Option<&Value>) -> (Option<&RawValue>, Option<Cow<'_, BlobRef>>) {
    match value {
        None => (None, None),
        Some(Value::Text(text)) => (Some(text), None),
        Some(Value::Blob(blob)) => (None, Some(Cow::Borrowed(blob))),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

const REACHED: [(&str, Reached); 3] = [("no", Reached::No), ("yes", Reached::Yes), ("unknown", Reached::Unknown)];
const CLASSES: [(&str, FailureClass); 2] =
    [("transient", FailureClass::Transient), ("permanent", FailureClass::Permanent)];
const ANSWERS: [(&str, DoubtAnswer); 3] =
    [("rerun", DoubtAnswer::Rerun), ("fail", DoubtAnswer::Fail), ("succeeded", DoubtAnswer::Succeeded)];
const ABORTS: [(&str, AbortReason); 5] = [
    ("timeout", AbortReason::Timeout),
    ("idle_timeout", AbortReason::IdleTimeout),
    ("stopped", AbortReason::Stopped),
    ("cancelled", AbortReason::Cancelled),
    ("deadline", AbortReason::Deadline),
];
pub(super) const OUTCOMES: [(&str, Outcome); 6] = [
    ("succeeded", Outcome::Succeeded),
    ("failed", Outcome::Failed),
    ("skipped", Outcome::Skipped),
    ("cancelled", Outcome::Cancelled),
    ("denied", Outcome::Denied),
    ("in_doubt", Outcome::InDoubt),
];

/// How a value is written.
pub(super) fn word<T: Copy + PartialEq>(words: &[(&'static str, T)], of: T) -> &'static str {
    words.iter().find(|(_, meaning)| *meaning == of).map_or("?", |(word, _)| word)
}

/// What a word means.
fn meaning<T: Copy>(words: &[(&str, T)], word: Option<&str>, field: &'static str) -> Result<T, Unread> {
    words.iter().find(|(known, _)| Some(*known) == word).map(|(_, meaning)| *meaning).ok_or(missing(field))
}

/// Reads a record.
pub(crate) fn decode(text: &[u8]) -> Result<Record, Unread> {
    common::decode(text).map_or_else(|| decode_any(text), Ok)
}

/// The same, for a record of any kind.
pub(super) fn decode_any(text: &[u8]) -> Result<Record, Unread> {
    let mut payload: Payload<'_> = match serde_json::from_slice(text) {
        Ok(payload) => payload,
        // Perhaps a later version writes other types.
        Err(error) => match serde_json::from_slice(text) {
            Ok(Version { v }) if v != VERSION => return Err(Unread::Newer),
            _ => return Err(Unread::Malformed(error.to_string().into())),
        },
    };
    if payload.v != VERSION {
        return Err(Unread::Newer);
    }
    let at = Time(payload.at_ns);
    let fact = match payload.kind {
        "run_started" => read_started(payload)?,
        "calls_added" => Fact::CallsAdded { calls: payload.value()?.ok_or(missing("value"))? },
        "run_closed" => Fact::RunClosed,
        "resolved" => read_resolved(payload)?,
        "started" => Fact::Started { attempt: payload.attempt()?, after_doubt: payload.after_doubt },
        "finished" => read_finished(payload)?,
        "doubt_settled" => {
            let answer = meaning(&ANSWERS, payload.answer, "answer")?;
            Fact::DoubtSettled { attempt: payload.attempt()?, answer, value: payload.value()? }
        }
        "approval_given" => {
            let approved = match payload.answer {
                Some("approved") => true,
                Some("denied") => false,
                _ => return Err(missing("answer")),
            };
            Fact::ApprovalGiven(ApprovalGiven {
                call: payload.call()?,
                approved,
                args: payload.value()?,
                claims: payload.claims.map(read_claims).transpose()?,
                error: payload.error.map(|error| Box::new(error.into_owned())),
            })
        }
        "cancel_requested" => Fact::CancelRequested { call: payload.call, force: payload.force },
        "pause_requested" => Fact::PauseRequested,
        "resume_requested" => Fact::ResumeRequested,
        "aborted" => Fact::Aborted { attempt: payload.attempt()?, reason: meaning(&ABORTS, payload.reason, "reason")? },
        "reused" => Fact::Reused { call: payload.call()?, value: payload.value()?.ok_or(missing("value"))? },
        "given_up" => Fact::GivenUp { attempt: payload.attempt()? },
        "lost" => {
            let answer = payload.answer.map(|answer| meaning(&ANSWERS, Some(answer), "answer")).transpose()?;
            Fact::Lost { attempt: payload.attempt()?, answer, value: payload.value()? }
        }
        "deadline_passed" => Fact::DeadlinePassed,
        "unanswered" => Fact::Unanswered { call: payload.call()? },
        "ended" => Fact::Ended(Ended {
            call: payload.call()?,
            outcome: meaning(&OUTCOMES, payload.outcome, "outcome")?,
            started: payload.started_ns.map(Time),
            waits: payload.waits.unwrap_or_default().into_owned(),
        }),
        "run_taken" => Fact::RunTaken { tools: payload.tools.ok_or(missing("tools"))?.into_owned() },
        "run_ended" => {
            Fact::RunEnded { outcome: payload.outcome.ok_or(missing("outcome"))?.to_owned(), report: payload.value()? }
        }
        _ => return Err(Unread::Newer),
    };
    Ok(Record { at, fact })
}

fn missing(field: &'static str) -> Unread {
    Unread::Malformed(format!("`{field}` is missing or wrong").into())
}

impl Payload<'_> {
    fn call(&self) -> Result<CallAt, Unread> {
        Ok(CallAt { call: self.call.ok_or(missing("call"))?, element: self.element })
    }

    fn attempt(&self) -> Result<AttemptAt, Unread> {
        Ok(AttemptAt { call: self.call()?, attempt: self.attempt.ok_or(missing("attempt"))? })
    }

    fn value(&mut self) -> Result<Option<Value>, Unread> {
        whole(self.value, self.value_blob.take())
    }

    fn reached(&self) -> Result<Reached, Unread> {
        meaning(&REACHED, self.reached, "reached")
    }
}

fn whole(text: Option<&RawValue>, blob: Option<Cow<'_, BlobRef>>) -> Result<Option<Value>, Unread> {
    match (text, blob) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(Value::Text(Arc::from(text.to_owned())))),
        (None, Some(blob)) => Ok(Some(Value::Blob(blob.into_owned()))),
        (Some(_), Some(_)) => Err(Unread::Malformed("a value stands there twice".into())),
    }
}

fn read_started(payload: Payload<'_>) -> Result<Fact, Unread> {
    Ok(Fact::RunStarted(Box::new(RunStarted {
        plan: whole(payload.plan, payload.plan_blob)?.ok_or(missing("plan"))?,
        inputs: whole(payload.inputs, payload.inputs_blob)?,
        weight: payload.weight.ok_or(missing("weight"))?,
        deadline: payload.deadline_ns.map(Time),
        open: payload.open,
        seed: payload.seed.ok_or(missing("seed"))?,
        context: whole(payload.context, payload.context_blob)?,
        tools: payload.tools.ok_or(missing("tools"))?.into_owned(),
    })))
}

fn read_resolved(payload: Payload<'_>) -> Result<Fact, Unread> {
    let call = payload.call()?;
    let resolution = match payload.resolution {
        Some("run") => Resolution::Run { claims: payload.claims.map(read_claims).transpose()?, same: None },
        Some("skip") => Resolution::Skip,
        Some("elements") => Resolution::Elements(payload.elements.ok_or(missing("elements"))?),
        Some("error") => Resolution::Error,
        Some("ask") => Resolution::Ask {
            claims: payload.claims.map(read_claims).transpose()?,
            bound: Duration::from_nanos(payload.bound_ns.ok_or(missing("bound_ns"))?),
        },
        Some("denied") => Resolution::Denied,
        _ => return Err(missing("resolution")),
    };
    let error = payload.error.map(|error| Box::new(error.into_owned()));
    Ok(Fact::Resolved(Resolved { call, resolution, args: payload.args.map(Cow::into_owned), error }))
}

fn read_claims(claims: Vec<ClaimText<'_>>) -> Result<Claims, Unread> {
    let claim = |(kind, key): ClaimText<'_>| {
        let write = match &*kind {
            "write" => true,
            "read" => false,
            _ => return Err(missing("claims")),
        };
        Ok(Claim { key: Key(key.iter().copied().collect()), write })
    };
    claims.into_iter().map(claim).collect()
}

fn read_finished(mut payload: Payload<'_>) -> Result<Fact, Unread> {
    let end = match payload.end {
        Some("succeeded") => AttemptEnd::Succeeded,
        Some("failed") => AttemptEnd::Failed {
            class: meaning(&CLASSES, payload.class, "class")?,
            reached: payload.reached()?,
            retry_after: payload.retry_after_ns.map(Duration::from_nanos),
        },
        Some("aborted") => AttemptEnd::Aborted { reached: payload.reached()? },
        _ => return Err(missing("end")),
    };
    let cpu = payload.cpu_ns.map(Duration::from_nanos);
    Ok(Fact::Finished(Finished {
        attempt: payload.attempt()?,
        end,
        value: payload.value()?,
        error: payload.error.take().map(|error| Box::new(error.into_owned())),
        usage: cpu.zip(payload.memory_bytes_max),
    }))
}
