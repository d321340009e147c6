//! What a reader of events sees, and what the report says, as JSON.
//! It does not know why.

use crate::{stubs, valid};
use expect_test::expect;
use fanout::{Engine, RunOptions, What};
use std::sync::Arc;
use std::time::Duration;

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

/// Tells its progress a hundred times, one every millisecond, then waits until it is let go.
struct Chatty(Arc<tokio::sync::Notify>);

impl fanout::Tool for Chatty {
    fn call(&self, attempt: fanout::Attempt) -> fanout::ToolFuture {
        let go = self.0.clone();
        Box::pin(async move {
            let long: Arc<str> = "x".repeat(10_000).into();
            for done in 0..100 {
                tokio::time::sleep(Duration::from_millis(4)).await;
                let message = Some(if done == 50 { long.clone() } else { format!("part {done}").into() });
                attempt.tell(fanout::Told::Progress { done: f64::from(done), total: Some(100.0), message });
            }
            attempt.tell(fanout::Told::Progress { done: f64::NAN, total: None, message: None });
            go.notified().await;
            Ok(fanout::ToolOutput::new(serde_json::value::to_raw_value("done").expect("JSON").into()))
        })
    }
}

/// Counts what it is told.
#[derive(Default)]
struct Counting(std::sync::atomic::AtomicUsize);

impl fanout::Peer for Counting {
    fn told(&self, _attempt: &fanout::AttemptId, _told: fanout::Told) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }

    fn ask(&self, _attempt: &fanout::AttemptId, _question: fanout::PeerRequest) -> fanout::AnswerFuture {
        Box::pin(async { Err(fanout::ToolError::permanent("nobody")) })
    }
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_now_and_then_and_the_latest_is_in_snapshots() {
    let go = Arc::new(tokio::sync::Notify::new());
    let mut native = fanout::Native::new("");
    native.add("chatty", "Chats.", |_: serde_json::Value| async { Ok(()) }).effects_none();
    let mut toolbox: fanout::Toolbox = native.into();
    toolbox.tools = vec![Arc::new(Chatty(go.clone()))];
    let engine = stubs::build(Engine::builder().toolbox(toolbox));
    for peer in [None, Some(Arc::new(Counting::default()))] {
        let plan = valid(&engine, "{name: chat, calls: [{id: c, tool: chatty, foreach: [1]}]}");
        let heard: Option<Arc<dyn fanout::Peer>> = peer.clone().map(|peer| peer as _);
        let run = engine.start(plan, fanout::RunOptions { peer: heard, ..fanout::RunOptions::default() });
        let mut events = run.events();
        tokio::time::sleep(Duration::from_millis(450)).await;
        let latest = run.snapshot().await.expect("it runs").running.remove(0).progress.expect("it told");
        assert_eq!((latest.done, latest.message.as_deref()), (99.0, Some("part 99")));
        go.notify_one();
        let mut told = Vec::new();
        while let Some(event) = events.next().await {
            if let What::CallProgressed { call, attempt, progress } = event.what {
                assert_eq!((&*call, attempt, progress.total), ("c[0]", 1, Some(100.0)));
                assert!(progress.message.is_none_or(|message| message.chars().count() <= 501));
                told.push(progress.done);
            }
        }
        assert_eq!(told, [0.0, 25.0, 50.0, 75.0]);
        let of_peer = peer.map(|peer| peer.0.load(std::sync::atomic::Ordering::SeqCst));
        assert!(of_peer.is_none_or(|told| told == 101), "{of_peer:?}: a peer hears all");
    }
}
