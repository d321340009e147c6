//! Calls that somebody has to approve: asked, answered, edited, denied, unanswered, unattended.
//! It does not know who answers on a terminal.

use crate::{stubs, timeline, valid};
use expect_test::{Expect, expect};
use fanout::{Approve, RunOptions, What};
use serde_json::json;
use std::time::Duration;

/// Runs a plan, answering each question after 10 ms as `answer` says; `None`: not at all.
async fn check(plan: &str, answer: impl Fn(&str) -> Option<Approve>, expect: Expect) {
    let engine = stubs::engine();
    let run = engine.run(valid(&engine, plan));
    let mut events = run.events();
    let mut said = String::new();
    while let Some(event) = events.next().await {
        match event.what {
            What::ApprovalAsked { call, tool, args, destructive, .. } => {
                said += &format!("{call}: {tool} {args}{}\n", if destructive { " destroys" } else { "" });
                let Some(answer) = answer(&call) else { continue };
                tokio::time::sleep(Duration::from_millis(10)).await;
                if let Err(error) = run.approve(&call, answer).await {
                    said += &format!("{call}: {}: {}\n", error.code, error.message);
                    run.approve(&call, Approve::Yes).await.expect("the question is still open");
                }
            }
            What::ApprovalGiven { call, edited } => said += &format!("{call} approved, edited: {edited}\n"),
            _ => {}
        }
    }
    assert_eq!(run.approve("a", Approve::Yes).await.expect_err("it is over").code, "not_asked");
    expect.assert_eq(&(said + &timeline(&*run.report().await)));
}

#[tokio::test(start_paused = true)]
async fn a_call_keeps_its_place_while_it_is_asked_for() {
    let plan = r#"
name: approvals
calls:
  - {id: a, tool: add, args: {key: x, ms: 5}, approval: always}
  - {id: b, tool: add, args: {key: x, ms: 5}}
  - {id: c, tool: add, args: {key: y, ms: 5}}
  - {id: d, tool: sleep, args: {value: "${a}"}, approval: never}
"#;
    check(
        plan,
        |_| Some(Approve::Yes),
        expect![[r#"
            a: add {"key":"x","ms":5}
            a approved, edited: false
            a      10..15 succeeded 1 [approval 10]
            b      15..20 succeeded 2 [key a db:x 15]
            c      0..5 succeeded 1
            d      15..15 succeeded 1 [input a 15]
            succeeded 20 of 15: a b"#]],
    )
    .await;
    check(
        plan,
        |_| Some(Approve::No(Some("too dear".into()))),
        expect![[r#"
            a: add {"key":"x","ms":5}
            a      -..10 denied denied: refused: too dear [approval 10]
            b      10..15 succeeded 1 [key a db:x 10]
            c      0..5 succeeded 1
            d      -..10 skipped upstream_failed: it needs the result of `a`, which has none [input a 10]
            failed 15 of 10: c"#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn arguments_may_be_edited_within_the_keys_that_are_held() {
    let plan = r#"
name: edits
calls:
  - {id: a, tool: add, args: {key: x, ms: 5}, approval: always}
  - {id: b, tool: add, foreach: [{k: u}, {k: v}], args: {key: "${item.k}", ms: 5}, approval: always}
"#;
    let edit = |call: &str| {
        Some(match call {
            "a" => Approve::With(json!({"key": "x", "ms": 50})),
            "b[0]" => Approve::With(json!({"key": "z", "ms": 5})),
            _ => Approve::With(json!({"kee": "v"})),
        })
    };
    check(plan, edit, expect![[r#"
        a: add {"key":"x","ms":5}
        b[0]: add {"key":"u","ms":5}
        b[0]: key_outside_prefix: its key `db:z` lies outside what its effects announced before its arguments were known (db:u); a path that leaves a directory by `..` or a link needs a key that covers where it leads
        b[1]: add {"key":"v","ms":5}
        b[1]: arguments_invalid: "key" is a required property
        a approved, edited: true
        b[0] approved, edited: false
        b[1] approved, edited: false
        a      10..60 succeeded 1 [approval 10]
        b      -..35 succeeded [1,1] [elements 35]
        b[0]   20..25 succeeded 1 [approval 20]
        b[1]   30..35 succeeded 1 [approval 30]
        succeeded 60 of 60: a"#]]).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_answers() {
    let plan = r#"
name: silence
calls:
  - {id: a, tool: add, args: {key: x, ms: 5}, approval: always, approval_timeout: 2s, on_failure: {value: 0}}
  - {id: b, tool: sleep, args: {value: "${a}"}}
"#;
    check(
        plan,
        |_| None,
        expect![[r#"
        a: add {"key":"x","ms":5}
        a      -..2000 denied 0 denied: nobody approved it in time [approval 2000]
        b      2000..2000 succeeded 0 [input a 2000]
        succeeded 2000 of 0: b"#]],
    )
    .await;
    let engine = stubs::engine();
    let run = engine.start(valid(&engine, plan), RunOptions { attended: false, ..RunOptions::default() });
    expect![[r#"
        a      -..0 denied 0 denied: it needs an approval, and nobody can be asked here
        b      0..0 succeeded 0
        succeeded 0 of 0: b"#]]
    .assert_eq(&timeline(&*run.report().await));
}

#[tokio::test(start_paused = true)]
async fn only_what_destroys() {
    let plan = r#"
name: destructive
calls:
  - {id: a, tool: add, args: {key: x, ms: 5}, approval: destructive}
  - {id: b, tool: add, args: {key: y, ms: 5}, approval: destructive, effects: {writes: ["db:y"], destructive: true}}
"#;
    check(
        plan,
        |_| Some(Approve::Yes),
        expect![[r#"
        b: add {"key":"y","ms":5} destroys
        b approved, edited: false
        a      0..5 succeeded 1
        b      10..15 succeeded 1 [approval 10]
        succeeded 15 of 10: b"#]],
    )
    .await;
}
