//! Calls submitted one by one to an open run: their order, their answers, what goes with an answer.
//! It does not know who submits them.

use crate::stubs;
use fanout::tools::{Attempt, Tool, ToolFuture, ToolOutput};
use fanout::{
    CacheScope, CacheSpec, Call, CallEnd, Diagnostic, Engine, Outcome, Plan, RunHandle, RunOptions, Submitted, Toolbox,
};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::Instant;

fn session(engine: &Engine) -> RunHandle {
    let empty = engine.validate(Plan::new("session"), serde_json::Map::new()).expect("a plan without calls");
    engine.start(empty, RunOptions { open: true, ..RunOptions::default() })
}

/// An answer in a line: id, outcome, value, error, waits, and when it came.
async fn line(began: Instant, submitted: Submitted) -> String {
    let end: CallEnd = submitted.await.unwrap_or_else(|wrong| panic!("{wrong:#?}"));
    let outcome = format!("{:?}", end.outcome).to_lowercase();
    let value = end.value.as_ref().map_or("-", |value| value.get());
    let error = end.error.map_or("-".to_owned(), |error| error.code.into_owned());
    let waits: Vec<String> = end
        .waits
        .iter()
        .filter(|wait| wait.ms >= 0.5)
        .map(|wait| format!("{} {}", wait.cause, wait.on.as_deref().unwrap_or_default()))
        .collect();
    let at = began.elapsed().as_millis();
    format!("{} {outcome} {value} {error} x{} {waits:?} at {at}", end.id, end.attempts)
}

#[tokio::test(start_paused = true)]
async fn answers_come_when_calls_end_and_conflicts_keep_the_order_of_submission() {
    let engine = stubs::engine();
    let run = session(&engine);
    let began = Instant::now();
    let call = |id: &str, key: &str, ms: u64| Call::new(id, "add").args(json!({"key": key, "ms": ms}));
    let calls = [call("c1", "a", 30), call("c2", "a", 10), call("c3", "b", 5), call("c4", "a", 5)];
    let submitted = calls.map(|call| run.submit(call));
    let skipped = run.submit(Call::new("c5", "sleep").args(json!({"value": "${c6}"})));
    let lines: Vec<String> =
        futures_util::future::join_all(submitted.into_iter().map(|submitted| line(began, submitted))).await;
    assert_eq!(
        lines,
        [
            "c1 succeeded 1 - x1 [] at 30",
            "c2 succeeded 2 - x1 [\"key c1\"] at 40",
            "c3 succeeded 1 - x1 [] at 5",
            "c4 succeeded 3 - x1 [\"key c2\"] at 45"
        ]
    );
    assert_eq!(skipped.await.expect_err("refers forwards")[0].code, "unknown_reference");
    run.close();
    assert_eq!(run.report().await.calls.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_called_is_refused_and_leaves_nothing() {
    let engine = stubs::engine();
    let run = session(&engine);
    let code = |answer: Result<CallEnd, Vec<Diagnostic>>| answer.expect_err("refused")[0].code;
    assert_eq!(code(run.submit(Call::new("c1", "slep")).await), "unknown_tool");
    assert_eq!(code(run.submit(Call::new("c1", "add").args(json!({"ms": 1}))).await), "bad_args");
    let first = run.submit(Call::new("c1", "broken"));
    assert_eq!(code(run.submit(Call::new("c1", "broken")).await), "duplicate_id");
    let end = first.await.expect("accepted");
    assert_eq!((end.outcome, end.error.map(|error| error.code)), (Outcome::Failed, Some("tool_failed".into())));
    run.close();
    assert_eq!(code(run.submit(Call::new("c2", "broken")).await), "run_ended");
    assert_eq!(run.report().await.calls.len(), 1);
    assert_eq!(code(run.submit(Call::new("c2", "broken")).await), "run_ended");
}

#[tokio::test(start_paused = true)]
async fn dropping_an_answer_does_not_cancel_its_call_and_cancelling_answers() {
    let store = stubs::Store::default();
    let engine = stubs::engine_with(&store);
    let run = session(&engine);
    drop(run.submit(Call::new("c1", "add").args(json!({"key": "a"}))));
    let hanging = run.submit(Call::new("c2", "sleep").args(json!({"ms": 60_000})));
    let after = run.submit(Call::new("c3", "add").args(json!({"key": "a"})));
    assert_eq!(after.await.expect("accepted").value.expect("a value").get(), "2");
    run.cancel_call("c2");
    assert_eq!(hanging.await.expect("accepted").outcome, Outcome::Cancelled);
    // The engine's end is an answer too.
    let last = run.submit(Call::new("c4", "sleep").args(json!({"ms": 60_000})));
    drop(engine);
    assert_eq!(last.await.expect("accepted").outcome, Outcome::Cancelled);
}

/// Gives the number of its attempt, and a whole answer around it.
struct Wrapping(Arc<AtomicU32>);

impl Tool for Wrapping {
    fn call(&self, _attempt: Attempt) -> ToolFuture {
        let count = self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let text = |value: serde_json::Value| serde_json::value::to_raw_value(&value).expect("JSON").into();
            let mut output = ToolOutput::new(text(json!(count)));
            output.whole = Some(text(json!({"content": [], "structuredContent": count})));
            Ok(output)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn the_whole_answer_goes_with_a_result_that_is_handed_on() {
    let mut boxed: Toolbox = {
        let mut native = fanout::Native::new("far");
        native.add("wrap", "Wraps.", |_: serde_json::Value| async { Ok(()) }).reads("db:x");
        native.into()
    };
    let count = Arc::new(AtomicU32::new(0));
    boxed.tools = vec![Arc::new(Wrapping(count.clone()))];
    let engine = stubs::build(Engine::builder().toolbox(boxed));
    let run = session(&engine);
    let cached = |id: &str| {
        let spec = CacheSpec { scope: Some(CacheScope::Run), ttl: None };
        Call::new(id, "far.wrap").set(|settings| settings.cache = Some(spec))
    };
    // The second joins the flight of the first; the third comes later.
    let (first, second) = (run.submit(cached("c1")), run.submit(cached("c2")));
    let mut ends = vec![first.await.expect("accepted"), second.await.expect("accepted")];
    ends.push(run.submit(cached("c3")).await.expect("accepted"));
    assert_eq!(count.load(Ordering::SeqCst), 1);
    for (end, reused) in ends.iter().zip([false, true, true]) {
        assert_eq!(end.value.as_ref().map(|value| value.get()), Some("0"), "{}", end.id);
        let whole = end.whole.as_ref().map(|whole| whole.get());
        assert_eq!((whole, end.reused), (Some(r#"{"content":[],"structuredContent":0}"#), reused), "{}", end.id);
    }
}

/// Fails with what its server said, word for word.
struct Refusing;

impl Tool for Refusing {
    fn call(&self, _attempt: Attempt) -> ToolFuture {
        let whole = serde_json::value::to_raw_value(&json!({"isError": true, "content": []})).expect("JSON");
        Box::pin(async move { Err(fanout::ToolError::permanent("no").whole(whole.into())) })
    }
}

#[tokio::test(start_paused = true)]
async fn the_whole_answer_goes_with_a_failure_too() {
    let mut boxed: Toolbox = {
        let mut native = fanout::Native::new("far");
        native.add("refuse", "Refuses.", |_: serde_json::Value| async { Ok(()) }).reads("db:x");
        native.into()
    };
    boxed.tools = vec![Arc::new(Refusing)];
    let engine = stubs::build(Engine::builder().toolbox(boxed));
    let end = session(&engine).submit(Call::new("c1", "far.refuse")).await.expect("accepted");
    assert_eq!(end.outcome, Outcome::Failed);
    assert_eq!(end.whole.expect("what it said").get(), r#"{"isError":true,"content":[]}"#);
}
