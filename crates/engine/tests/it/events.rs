//! What a reader of events sees, and what the report says, as JSON.
//! It does not know why.

use crate::{stubs, valid};
use expect_test::expect;
use fanout::RunOptions;

const PLAN: &str = r#"
name: seen
calls:
  - {id: a, tool: flaky, args: {times: 1, ms: 10, retry_after_ms: 100}}
  - {id: b, tool: sleep, foreach: [1, 2], args: {value: "${item}"}, after: [a]}
  - {id: c, tool: broken}
  - {id: d, tool: sleep, args: {value: "${c}"}}
output: "${b}"
"#;

#[tokio::test(start_paused = true)]
async fn events_come_in_order_and_without_gaps() {
    let engine = stubs::engine();
    let run = engine.run(valid(&engine, PLAN));
    let mut events = run.events();
    let mut text = String::new();
    let mut next = 0;
    while let Some(event) = events.next().await {
        assert_eq!(event.seq, next);
        next += 1;
        let json = serde_json::to_string(&event).unwrap_or_default();
        text += &json.replace(run.id(), "RUN");
        text.push('\n');
    }
    expect![[r#"
        {"v":1,"seq":0,"at_ms":0.0,"type":"run_started","run":"RUN","name":"seen","calls":4}
        {"v":1,"seq":1,"at_ms":0.0,"type":"call_started","call":"a","tool":"flaky","attempt":1}
        {"v":1,"seq":2,"at_ms":0.0,"type":"call_started","call":"c","tool":"broken","attempt":1}
        {"v":1,"seq":3,"at_ms":0.0,"type":"call_ended","call":"c","outcome":"failed","code":"tool_failed","message":"it is broken","ran_ms":0.0,"waited_ms":0.0}
        {"v":1,"seq":4,"at_ms":0.0,"type":"call_ended","call":"d","outcome":"skipped","code":"upstream_failed","message":"it needs the result of `c`, which has none","ran_ms":0.0,"waited_ms":0.0}
        {"v":1,"seq":5,"at_ms":10.0,"type":"call_retried","call":"a","attempt":1,"code":"tool_failed","message":"no luck this time","delay_ms":100.339652}
        {"v":1,"seq":6,"at_ms":111.0,"type":"call_started","call":"a","tool":"flaky","attempt":2}
        {"v":1,"seq":7,"at_ms":121.0,"type":"call_ended","call":"a","outcome":"succeeded","ran_ms":121.0,"waited_ms":0.0}
        {"v":1,"seq":8,"at_ms":121.0,"type":"call_expanded","call":"b","elements":2}
        {"v":1,"seq":9,"at_ms":121.0,"type":"call_started","call":"b[0]","tool":"sleep","attempt":1}
        {"v":1,"seq":10,"at_ms":121.0,"type":"call_started","call":"b[1]","tool":"sleep","attempt":1}
        {"v":1,"seq":11,"at_ms":121.0,"type":"call_ended","call":"b[0]","outcome":"succeeded","ran_ms":0.0,"waited_ms":121.0}
        {"v":1,"seq":12,"at_ms":121.0,"type":"call_ended","call":"b[1]","outcome":"succeeded","ran_ms":0.0,"waited_ms":121.0}
        {"v":1,"seq":13,"at_ms":121.0,"type":"call_ended","call":"b","outcome":"succeeded","ran_ms":0.0,"waited_ms":121.0}
        {"v":1,"seq":14,"at_ms":121.0,"type":"run_ended","outcome":"failed"}
    "#]].assert_eq(&text);
    // One who comes late sees the same.
    let mut again = run.events();
    let mut count = 0;
    while again.next().await.is_some() {
        count += 1;
    }
    assert_eq!(count, next);
}

#[tokio::test(start_paused = true)]
#[expect(clippy::too_many_lines, reason = "most of them are the expected report")]
async fn the_report_as_json() {
    let engine = stubs::engine();
    let run = engine.start(valid(&engine, PLAN), RunOptions { events: false, ..RunOptions::default() });
    let report = run.report().await;
    let json = serde_json::to_string_pretty(&*report).unwrap_or_default();
    expect![[r#"
        {
          "v": 1,
          "run": "RUN",
          "name": "seen",
          "outcome": "failed",
          "wall_ms": 121.0,
          "calls_ms": 20.0,
          "critical_path": [
            "a",
            "b[1]"
          ],
          "critical_path_ms": 20.0,
          "speed_up": 0.1652892561983471,
          "waits_ms": {
            "backoff": 100.339652,
            "input": 121.0,
            "resolve": 0.660348
          },
          "calls": [
            {
              "id": "a",
              "tool": "flaky",
              "outcome": "succeeded",
              "result": "at last",
              "attempts": 2,
              "attempt_times": [
                {
                  "started_ms": 0.0,
                  "ended_ms": 10.0,
                  "code": "tool_failed"
                },
                {
                  "started_ms": 111.0,
                  "ended_ms": 121.0
                }
              ],
              "started_ms": 0.0,
              "ended_ms": 121.0,
              "waits": [
                {
                  "cause": "backoff",
                  "ms": 100.339652
                },
                {
                  "cause": "resolve",
                  "ms": 0.660348
                }
              ]
            },
            {
              "id": "b",
              "tool": "sleep",
              "outcome": "succeeded",
              "result": [1,2],
              "attempts": 0,
              "ended_ms": 121.0,
              "waits": [
                {
                  "cause": "input",
                  "on": "a",
                  "ms": 121.0
                }
              ]
            },
            {
              "id": "b[0]",
              "tool": "sleep",
              "outcome": "succeeded",
              "result": 1,
              "attempts": 1,
              "started_ms": 121.0,
              "ended_ms": 121.0,
              "waits": []
            },
            {
              "id": "b[1]",
              "tool": "sleep",
              "outcome": "succeeded",
              "result": 2,
              "attempts": 1,
              "started_ms": 121.0,
              "ended_ms": 121.0,
              "waits": []
            },
            {
              "id": "c",
              "tool": "broken",
              "outcome": "failed",
              "error": {
                "code": "tool_failed",
                "message": "it is broken"
              },
              "attempts": 1,
              "started_ms": 0.0,
              "ended_ms": 0.0,
              "waits": []
            },
            {
              "id": "d",
              "tool": "sleep",
              "outcome": "skipped",
              "error": {
                "code": "upstream_failed",
                "message": "it needs the result of `c`, which has none"
              },
              "attempts": 0,
              "ended_ms": 0.0,
              "waits": []
            }
          ],
          "output": [1,2],
          "hints": []
        }"#]]
    .assert_eq(&json.replace(run.id(), "RUN"));
    assert!(run.events().next().await.is_none());
    let back: fanout::Report = serde_json::from_str(&json).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(back.calls.len(), report.calls.len());
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_a_timeout_says_timeout() {
    let engine = stubs::engine();
    let plan = "
name: slow
calls:
  - {id: a, tool: sleep, args: {ms: 60000}, timeout: 1s, retry: {attempts: 2, backoff: 0}}
";
    let run = engine.run(valid(&engine, plan));
    let mut events = run.events();
    let mut retries = Vec::new();
    while let Some(event) = events.next().await {
        if let fanout::What::CallRetried { code, message, .. } = event.what {
            retries.push(format!("{code}: {message}"));
        }
    }
    assert_eq!(retries, ["timeout: the attempt lasted longer than its `timeout`"]);
}
