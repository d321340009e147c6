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
    expect![[""]].assert_eq(&text);
    // One who comes late sees the same.
    let mut again = run.events();
    let mut count = 0;
    while again.next().await.is_some() {
        count += 1;
    }
    assert_eq!(count, next);
}

#[tokio::test(start_paused = true)]
async fn the_report_as_json() {
    let engine = stubs::engine();
    let run = engine.start(valid(&engine, PLAN), RunOptions { events: false, ..RunOptions::default() });
    let report = run.report().await;
    let json = serde_json::to_string_pretty(&*report).unwrap_or_default();
    expect![[""]].assert_eq(&json.replace(run.id(), "RUN"));
    assert!(run.events().next().await.is_none());
    let back: fanout::Report = serde_json::from_str(&json).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(back.calls.len(), report.calls.len());
}
