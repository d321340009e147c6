//! Runs as wholes: cancelling, pausing, adding calls, several at once, the end of the engine.
//! It does not know single calls.

use crate::{stubs, timeline, valid};
use expect_test::expect;
use fanout::{Call, Cancel, Engine, EventStream, Plan, RunHandle, RunOptions, RunOutcome, What};
use serde_json::json;

const LONG: &str = r#"
name: long
limits: {running: 1}
calls:
  - {id: a, tool: sleep, args: {ms: 1000}}
  - {id: b, tool: sleep, args: {ms: 1000}}
"#;

/// Waits for the first event that fits.
async fn until(events: &mut EventStream, fits: impl Fn(&What) -> bool) {
    while let Some(event) = events.next().await {
        if fits(&event.what) {
            return;
        }
    }
    panic!("the run ended before");
}

async fn started(run: &RunHandle) {
    until(&mut run.events(), |what| matches!(what, What::CallStarted { .. })).await;
}

#[tokio::test(start_paused = true)]
async fn drain_lets_what_runs_end_and_kill_does_not() {
    let engine = stubs::engine();
    for (how, expect) in [
        (
            Cancel::Drain,
            expect![[r#"
        a      0..1000 succeeded null
        b      -..0 cancelled cancelled: it was cancelled
        cancelled 1000 of 1000: a"#]],
        ),
        (
            Cancel::Kill,
            expect![[r#"
                a      0..0 cancelled cancelled: it was cancelled
                b      -..0 cancelled cancelled: it was cancelled
                cancelled 0 of 0: a"#]],
        ),
    ] {
        let run = engine.run(valid(&engine, LONG));
        started(&run).await;
        run.cancel(how);
        expect.assert_eq(&timeline(&*run.report().await));
    }
}

#[tokio::test(start_paused = true)]
async fn one_call_can_be_cancelled() {
    let engine = stubs::engine();
    let run = engine.run(valid(&engine, LONG));
    started(&run).await;
    run.cancel_call("b");
    run.cancel_call("nobody");
    expect![[r#"
        a      0..1000 succeeded null
        b      -..0 cancelled cancelled: it was cancelled
        cancelled 1000 of 1000: a"#]]
    .assert_eq(&timeline(&*run.report().await));
}

#[tokio::test(start_paused = true)]
async fn a_paused_run_starts_nothing_until_resumed() {
    let engine = stubs::engine();
    let run = engine.run(valid(&engine, LONG));
    started(&run).await;
    run.pause();
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let snapshot = run.snapshot().await.unwrap_or_default();
    assert!(snapshot.paused);
    assert_eq!((snapshot.counts.succeeded, snapshot.counts.waiting, snapshot.waiting.len()), (1, 1, 1));
    assert_eq!(snapshot.waiting[0].cause, "pause");
    run.resume();
    expect![[r#"
        a      0..1000 succeeded null
        b      5000..6000 succeeded null [pause 5000]
        succeeded 6000 of 2000: b"#]]
    .assert_eq(&timeline(&*run.report().await));
    assert!(run.snapshot().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn calls_can_be_added_to_an_open_run() {
    let engine = stubs::engine();
    let plan = valid(&engine, "name: open\ncalls:\n  - {id: a, tool: sleep, args: {ms: 10, value: 5}}\n");
    let run = engine.start(plan, RunOptions { open: true, ..RunOptions::default() });
    let more = vec![Call::new("b", "sleep").args(json!({"value": "${a}", "ms": 7}))];
    assert!(run.add_calls(more).await.is_ok());
    let wrong = run.add_calls(vec![Call::new("b", "slep").args(json!({"value": "${zzz}"}))]).await;
    let codes: Vec<_> = wrong.err().into_iter().flatten().map(|problem| problem.code).collect();
    expect!["duplicate_id unknown_tool unknown_reference"].assert_eq(&codes.join(" "));
    run.close();
    expect![[r#"
        a      0..10 succeeded 5
        b      10..17 succeeded 5 [input a 10]
        succeeded 17 of 17: a b"#]]
    .assert_eq(&timeline(&*run.report().await));
    let late = run.add_calls(vec![Call::new("c", "sleep")]).await;
    assert_eq!(late.err().map(|problems| problems[0].code), Some("run_ended"));
}

#[tokio::test(start_paused = true)]
async fn an_empty_run_ends_at_once() {
    let engine = stubs::engine();
    let valid =
        engine.validate(Plan::new("empty"), serde_json::Map::new()).unwrap_or_else(|wrong| panic!("{wrong:#?}"));
    assert_eq!(engine.run(valid).report().await.outcome, RunOutcome::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn runs_share_the_engine_by_weight() {
    let engine = stubs::build(Engine::builder().toolbox(stubs::toolbox(&stubs::Store::default())).limit("running", 4));
    let plan = |name: &str| {
        let calls = (0..60).map(|index| Call::new(format!("c{index}"), "sleep").args(json!({"ms": 10})));
        let plan = Plan::new(name).with_calls(calls);
        engine.validate(plan, serde_json::Map::new()).unwrap_or_else(|wrong| panic!("{wrong:#?}"))
    };
    let heavy = engine.start(plan("heavy"), RunOptions { weight: 3, ..RunOptions::default() });
    let light = engine.start(plan("light"), RunOptions::default());
    let (heavy, light) = (heavy.report().await, light.report().await);
    // While both run, three of four slots are the heavy one's: it ends after 60/3 rounds.
    assert!((190.0..=230.0).contains(&heavy.wall_ms), "{}", heavy.wall_ms);
    assert!((295.0..=310.0).contains(&light.wall_ms), "{}", light.wall_ms);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_engine_ends_its_runs() {
    let engine = stubs::engine();
    let run = engine.run(valid(&engine, LONG));
    started(&run).await;
    drop(engine);
    let report = run.report().await;
    assert_eq!((report.outcome, report.calls.len()), (RunOutcome::Cancelled, 2));
}

#[tokio::test(start_paused = true)]
async fn dropping_a_handle_does_not() {
    let engine = stubs::engine();
    let run = engine.run(valid(&engine, LONG));
    let mut events = run.events();
    drop(run);
    until(&mut events, |what| matches!(what, What::RunEnded { outcome: RunOutcome::Succeeded })).await;
}
