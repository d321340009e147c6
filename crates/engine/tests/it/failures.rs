//! Failures, retries, timeouts, doubts: what becomes of calls that do not succeed.
//! It does not know values.

use crate::{check, run, stubs, timeline, valid};
use expect_test::expect;
use fanout::{Attempt, DoubtAnswer, Engine, Native, Tool, ToolError, ToolFuture, Toolbox, What};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_failure_skips_what_needs_it_and_nothing_else() {
    let plan = r#"
name: isolated
calls:
  - {id: a, tool: broken}
  - {id: b, tool: sleep, args: {value: "${a}"}}
  - {id: c, tool: sleep, args: {ms: 5, value: 1}}
  - {id: d, tool: broken, on_failure: {value: {n: 4}}}
  - {id: e, tool: sleep, args: {value: "${d.n}"}}
  - {id: f, tool: panics}
"#;
    check(
        plan,
        expect![[r#"
        a      0..0 failed tool_failed: it is broken
        b      -..0 skipped upstream_failed: it needs the result of `a`, which has none
        c      0..5 succeeded 1
        d      0..0 failed {"n":4} tool_failed: it is broken
        e      0..0 succeeded 4
        f      0..0 failed tool_panicked: the tool panicked: what a pity; this is a fault in the tool
        failed 5 of 5: c"#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_has_a_value_does_not_fail_the_run() {
    let plan = r#"
name: valued
calls:
  - {id: d, tool: broken, on_failure: {value: 4}}
  - {id: e, tool: sleep, args: {value: "${d}"}}
output: "${d}"
"#;
    check(
        plan,
        expect![[r#"
        d      0..0 failed 4 tool_failed: it is broken
        e      0..0 succeeded 4
        succeeded 0 of 0: d e
        output 4"#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn retries_wait_longer_each_time() {
    let plan = r#"
name: retries
calls:
  - {id: a, tool: flaky, args: {times: 3, ms: 10}, retry: {attempts: 5, backoff: 100ms, factor: 2}}
"#;
    let report = run(&stubs::engine(), plan).await;
    let call = &report.calls[0];
    assert_eq!((call.attempts, call.result.as_ref().map(|result| result.get())), (4, Some("\"at last\"")));
    let backoff: f64 = call.waits.iter().filter(|wait| wait.cause == "backoff").map(|wait| wait.ms).sum();
    // 100 + 200 + 400 with jitter.
    assert!((300.0..=1_100.0).contains(&backoff), "{backoff}");
    assert!((report.calls_ms - 40.0).abs() < 1e-6, "{}", report.calls_ms);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured() {
    let plan = r#"
name: after
calls:
  - {id: a, tool: flaky, args: {times: 1, retry_after_ms: 5000}}
"#;
    check(
        plan,
        expect![[r#"
        a      0..5000 succeeded x2 "at last" [backoff 5000]
        succeeded 5000 of 0: a"#]],
    )
    .await;
}

/// A server cannot hold up a run for as long as it likes; a person can let it.
#[tokio::test(start_paused = true)]
async fn a_tool_that_asks_for_too_long_a_wait_is_not_waited_for() {
    let plan = |more: &str| {
        format!("name: long\ncalls: [{{id: a, tool: flaky, args: {{times: 1, retry_after_ms: 3600000}}{more}}}]")
    };
    check(
        &plan(""),
        expect![[r#"
            a      0..0 failed tool_failed: no luck this time
            failed 0 of 0: a"#]],
    )
    .await;
    check(
        &plan(", retry: {backoff_max: 2h}"),
        expect![[r#"
            a      0..3600000 succeeded x2 "at last" [backoff 3600000]
            succeeded 3600000 of 0: a"#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn timeouts_end_attempts() {
    let plan = r#"
name: timeouts
calls:
  - {id: a, tool: sleep, args: {ms: 60000}, timeout: 1s, retry: {attempts: 1}}
  - {id: b, tool: silent, args: {signs: 3}, idle_timeout: 250ms, retry: {attempts: 1}}
  - {id: c, tool: add, args: {key: x, ms: 60000}, timeout: 2s}
  - {id: d, tool: get, args: {key: x}}
"#;
    check(plan, expect![[r#"
        a      0..1000 failed timeout: the attempt lasted longer than its `timeout`
        b      0..350 failed idle_timeout: the attempt was silent for longer than its `idle_timeout`
        c      0..2000 indoubt timeout: the attempt lasted longer than its `timeout`; nobody knows whether it took effect
        d      2000..2010 succeeded after doubt 0 [key c db:x 2000]
        failed 2010 of 3360: c d"#]]).await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_cancels_the_run() {
    let plan = r#"
name: deadline
deadline: 1s
calls:
  - {id: a, tool: sleep, args: {ms: 60000}}
  - {id: b, tool: sleep, args: {value: "${a}"}}
"#;
    check(
        plan,
        expect![[r#"
        a      0..1000 cancelled deadline_passed: the `deadline` of the run passed
        b      -..1000 cancelled deadline_passed: the `deadline` of the run passed [input a 1000]
        cancelled 1000 of 1000: a"#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn stop_holds_writes_until_all_before_succeeded() {
    let plan = r#"
name: stop
on_failure: stop
calls:
  - {id: a, tool: add, args: {key: x, ms: 50}}
  - {id: b, tool: get, args: {key: y, ms: 10}}
  - {id: c, tool: add, args: {key: y}}
  - {id: d, tool: broken}
  - {id: e, tool: add, args: {key: z}}
"#;
    check(
        plan,
        expect![[r#"
        a      0..50 succeeded 1
        b      0..10 succeeded 0
        c      50..60 succeeded 1 [key b db:y 10] [stop a 40]
        d      0..0 failed tool_failed: it is broken
        e      -..0 skipped run_stopped: the plan says `on_failure: stop`, and `d` did not succeed
        failed 60 of 70: a c"#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_doubt_can_be_rerun_or_asked_about() {
    let plan = r#"
name: doubts
calls:
  - {id: a, tool: add, args: {key: x, ms: 60000}, timeout: 1s, in_doubt: rerun, retry: {attempts: 2}}
  - {id: b, tool: add, args: {key: y, ms: 60000}, timeout: 1s, in_doubt: ask}
  - {id: c, tool: sleep, args: {value: "${b}"}}
"#;
    let engine = stubs::engine();
    let run = engine.run(valid(&engine, plan));
    let mut events = run.events();
    while let Some(event) = events.next().await {
        if let What::CallDoubted { call, .. } = event.what {
            run.settle(&call, DoubtAnswer::Succeeded(json!({"sure": true})));
        }
    }
    expect![[r#"
        a      0..2101 indoubt x2 timeout: the attempt lasted longer than its `timeout`; nobody knows whether it took effect [backoff 100] [resolve 1]
        b      0..1000 succeeded {"sure":true}
        c      1000..1000 succeeded {"sure":true} [input b 1000]
        failed 2101 of 3000: a"#]].assert_eq(&timeline(&*run.report().await));
}

/// A writing tool that does not heed its abort for a minute.
fn stubborn(store: &stubs::Store) -> fanout::Engine {
    struct Stubborn;
    impl Tool for Stubborn {
        fn call(&self, _: Attempt) -> ToolFuture {
            Box::pin(async {
                tokio::time::sleep(Duration::from_secs(60)).await;
                Err(ToolError::permanent("too late"))
            })
        }
    }
    let mut described = Native::new("");
    described
        .add("stubborn", "Does not stop.", |_: ()| async { Ok(()) })
        .writes("db:x")
        .timeout(Duration::from_secs(1));
    let mut toolbox: Toolbox = described.into();
    toolbox.tools = vec![Arc::new(Stubborn)];
    stubs::build(Engine::builder().toolbox(toolbox).toolbox(stubs::toolbox(store)))
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_does_not_heed_its_abort_is_given_up_after_a_grace_and_keeps_its_keys_so_long() {
    let plan = r#"
name: stubborn
calls:
  - {id: a, tool: stubborn}
  - {id: b, tool: get, args: {key: x}}
"#;
    let report = run(&stubborn(&stubs::Store::default()), plan).await;
    expect![[r#"
        a      0..31000 indoubt timeout: the attempt lasted longer than its `timeout`; nobody knows whether it took effect
        b      31000..31010 succeeded after doubt 0 [key a db:x 31000]
        failed 31010 of 31010: a b"#]].assert_eq(&timeline(&report));
}
