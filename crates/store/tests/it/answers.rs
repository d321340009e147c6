//! Answers that one process leaves for another.
//! It does not know what was asked.

use crate::made::{begin, json, quiet};
use fanout_core::Time;
use fanout_store::{Answer, Batch, Counts, RunState, Summary, leave_answer, take_answers};

#[test]
fn an_answer_is_given_once_and_the_latest_counts() {
    let dir = tempfile::tempdir().unwrap();
    let journal = quiet(dir.path());
    let run = begin(&journal, "a");
    let leave = |call, answer| leave_answer(dir.path(), "a", call, &answer, Time(5));
    leave("hold", Answer::Approve).unwrap();
    leave("hold", Answer::Deny(Some(json("\"too dear\"")))).unwrap();
    leave("fares[3]", Answer::ApproveWith(json("{\"x\":1}"))).unwrap();
    leave("pay", Answer::Succeeded(json("null"))).unwrap();
    let taken: Vec<String> =
        take_answers(dir.path(), "a").unwrap().into_iter().map(|(call, answer)| format!("{call} {answer:?}")).collect();
    assert_eq!(
        taken,
        [
            "fares[3] ApproveWith(RawValue({\"x\":1}))",
            "hold Deny(Some(RawValue(\"too dear\")))",
            "pay Succeeded(RawValue(null))"
        ]
    );
    assert!(take_answers(dir.path(), "a").unwrap().is_empty());
    assert_eq!(leave_answer(dir.path(), "b", "hold", &Answer::Approve, Time(5)).unwrap_err().code, "run_unknown");
    let ended = Summary { run: run.number(), state: RunState::Failed, counts: Counts::default(), at: Time(9) };
    journal.append(Batch { summaries: vec![ended], ..Batch::default() }).unwrap();
    journal.flush().unwrap();
    assert_eq!(leave("hold", Answer::Approve).unwrap_err().code, "run_ended");
}
