//! Failures, retries, timeouts, doubts: what becomes of calls that do not succeed.
//! It does not know values.

use crate::{check, run, stubs, timeline, valid};
use expect_test::expect;
use fanout::{DoubtAnswer, What};
use serde_json::json;

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
    check(plan, expect![[""]]).await;
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
    check(plan, expect![[""]]).await;
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
    check(plan, expect![[""]]).await;
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
    check(plan, expect![[""]]).await;
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
    check(plan, expect![[""]]).await;
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
    check(plan, expect![[""]]).await;
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
    expect![[""]].assert_eq(&timeline(&*run.report().await));
}
