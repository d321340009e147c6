//! Made-up runs for the tests: every kind of fact, as text that two of them can be compared by.
//! It does not know where they are written.

use fanout_core::{AbortReason, AttemptEnd, Claim, DoubtAnswer, FailureClass, Key, Outcome, Reached, Resolution, Time};
use fanout_store::{
    ApprovalGiven, AttemptAt, Batch, Begun, CallAt, Ended, ErrorText, Fact, Finished, Journal, JsonText, NewRun,
    OwnedRun, Reader, Record, Resolved, RunStarted, StoreError, ToolIdentity, Waited,
};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

pub(crate) fn json(text: &str) -> JsonText {
    RawValue::from_string(text.to_owned()).unwrap().into()
}

/// A JSON text of more bytes than stay in the database.
pub(crate) fn large(seed: u32) -> JsonText {
    json(&format!("\"{seed:08}{}\"", "x".repeat(20_000)))
}

pub(crate) fn new_run(id: &str) -> NewRun {
    NewRun { id: id.into(), name: "a plan".into(), plan_hash: "f00d".into(), created: Time(1_000), calls: 3, key: None }
}

pub(crate) fn quiet(dir: &Path) -> Journal {
    Journal::open(dir, Box::new(|_| {})).unwrap()
}

/// Prepares a database with pages of 512 bytes: all of it can be damaged, byte by byte, in seconds.
pub(crate) fn small_pages(dir: &Path) {
    let database = rusqlite::Connection::open(dir.join("journal.db")).unwrap();
    database
        .execute_batch("PRAGMA page_size = 512; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;")
        .unwrap();
}

pub(crate) fn begin(journal: &Journal, id: &str) -> OwnedRun {
    match journal.begin(new_run(id)).unwrap() {
        Begun::New(run) => run,
        Begun::There(info) => panic!("{info:?}"),
    }
}

pub(crate) fn batch(run: &OwnedRun, facts: impl IntoIterator<Item = Fact>) -> Batch {
    let records = facts.into_iter().enumerate();
    let records = records.map(|(at, fact)| (run.number(), Record { at: Time(at as u64 * 1_000), fact })).collect();
    Batch { records, ..Batch::default() }
}

/// A record that differs from all others.
pub(crate) fn numbered(number: u32) -> Fact {
    let call = CallAt { call: number, element: None };
    Fact::Started { attempt: AttemptAt { call, attempt: 1 }, after_doubt: false }
}

/// What can be compared: the facts of a run, with their times and values in full.
pub(crate) fn facts(reader: &Reader, run: &str) -> (Vec<String>, Option<StoreError>) {
    let mut facts = Vec::new();
    let mut blobs = None;
    let replayed = reader.replay(run, |seq, record| {
        let values: Result<Vec<_>, _> = record.fact.values().map(|value| reader.text(value)).collect();
        match values {
            Ok(values) => facts.push(format!("{seq} {record:?} {values:?}")),
            Err(error) => blobs = blobs.take().or(Some(error)),
        }
    });
    (facts, replayed.err().or(blobs))
}

pub(crate) fn attempt(call: u32, element: Option<u32>, attempt: u32) -> AttemptAt {
    AttemptAt { call: CallAt { call, element }, attempt }
}

fn tool() -> ToolIdentity {
    ToolIdentity { name: "air.\"search\"".into(), hash: "abc".into(), fields: BTreeMap::new() }
}

/// One of every kind, with all that each can have.
pub(crate) fn every_kind() -> Vec<Fact> {
    let tools = vec![tool()];
    let error = || Some(Box::new(ErrorText { code: "timeout".into(), message: "a\nb".into(), detail: None }));
    let claims = [Claim { key: Key::new(["file:", "a"]), write: true }, Claim { key: Key::root(), write: false }];
    let resolved = |call, resolution| Resolved { call, resolution, args: None, error: None };
    let at = CallAt { call: 1, element: Some(2) };
    let finished = |attempt, end| Finished { attempt, end, value: None, error: None, usage: None };
    let mut facts = vec![
        Fact::RunStarted(Box::new(RunStarted {
            plan: json(r#"{"calls": [{"id": "a", "tool": "t"}]}"#).into(),
            inputs: Some(large(1).into()),
            weight: 3,
            deadline: Some(Time(u64::from(u32::MAX))),
            open: true,
            seed: u64::MAX,
            context: Some(json(r#"{"cwd": "/"}"#).into()),
            tools: tools.clone(),
        })),
        Fact::CallsAdded { calls: json("[]").into() },
        Fact::RunClosed,
        Fact::Resolved(Resolved {
            args: Some("00ff".into()),
            ..resolved(at, Resolution::Run { claims: Some(claims.into()), same: None })
        }),
        Fact::Resolved(resolved(at, Resolution::Run { claims: None, same: None })),
        Fact::Resolved(resolved(at, Resolution::Skip)),
        Fact::Resolved(resolved(at, Resolution::Elements(10_000))),
        Fact::Resolved(Resolved { error: error(), ..resolved(at, Resolution::Error) }),
        Fact::Started { attempt: attempt(0, None, 1), after_doubt: true },
        Fact::Finished(Finished {
            value: Some(json(r#"{"text": "ä\n"}"#).into()),
            usage: Some((Duration::from_millis(7), 1 << 20)),
            ..finished(attempt(0, None, 1), AttemptEnd::Succeeded)
        }),
        Fact::Finished(Finished {
            value: Some(json("null").into()),
            ..finished(attempt(0, None, 2), AttemptEnd::Succeeded)
        }),
        Fact::Finished(Finished {
            error: error(),
            ..finished(
                attempt(1, None, 1),
                AttemptEnd::Failed {
                    class: FailureClass::Transient,
                    reached: Reached::Yes,
                    retry_after: Some(Duration::from_secs(1)),
                },
            )
        }),
        Fact::Finished(finished(attempt(1, None, 2), AttemptEnd::Aborted { reached: Reached::Unknown })),
    ];
    facts.extend(decided());
    facts
}

/// What people, and time, decided.
fn decided() -> Vec<Fact> {
    let error = || Some(Box::new(ErrorText { code: "timeout".into(), message: "a\nb".into(), detail: None }));
    let tools = vec![tool()];
    let at = CallAt { call: 1, element: Some(2) };
    let resolved = |call, resolution| Resolved { call, resolution, args: None, error: None };
    vec![
        Fact::DoubtSettled {
            attempt: attempt(1, None, 2),
            answer: DoubtAnswer::Succeeded,
            value: Some(large(2).into()),
        },
        Fact::ApprovalGiven(ApprovalGiven {
            call: at,
            approved: true,
            args: Some(json("{}").into()),
            claims: None,
            error: error(),
        }),
        Fact::CancelRequested { call: Some(3), force: true },
        Fact::PauseRequested,
        Fact::ResumeRequested,
        Fact::Aborted { attempt: attempt(1, None, 2), reason: AbortReason::IdleTimeout },
        Fact::GivenUp { attempt: attempt(1, None, 2) },
        Fact::Lost { attempt: attempt(2, None, 1), answer: None, value: None },
        Fact::Lost {
            attempt: attempt(2, Some(0), 1),
            answer: Some(DoubtAnswer::Succeeded),
            value: Some(json("{}").into()),
        },
        Fact::DeadlinePassed,
        Fact::Reused { call: at, value: json("[7]").into() },
        Fact::Unanswered { call: at },
        Fact::Resolved(resolved(at, Resolution::Ask { claims: None, bound: Duration::from_secs(9) })),
        Fact::Resolved(resolved(at, Resolution::Denied)),
        Fact::Ended(Ended {
            call: at,
            outcome: Outcome::InDoubt,
            started: Some(Time(17)),
            waits: vec![Waited { cause: "key".into(), on: Some("a".into()), key: Some("db:x".into()), ns: 5 }],
        }),
        Fact::RunTaken { tools },
        Fact::RunEnded { outcome: "failed".into(), report: Some(json("[1]").into()) },
    ]
}
