//! Runs that forget: what may be referred to, what the account says, and that nothing grows.
//! It does not know how calls are forgotten.

use crate::stubs;
use fanout::{Call, CallEnd, Diagnostic, Durable, Engine, Forgotten, Outcome, Plan, RunHandle, RunOptions, What};
use serde_json::{Map, json};
use std::time::{Duration, Instant};

fn open() -> RunOptions {
    RunOptions { open: true, forget: true, ..RunOptions::default() }
}

fn session(engine: &Engine, plan: Plan) -> RunHandle {
    engine.start(engine.validate(plan, Map::new()).expect("a valid plan"), open())
}

fn code(answer: Result<CallEnd, Vec<Diagnostic>>) -> (&'static str, String) {
    let problem = answer.expect_err("refused").remove(0);
    (problem.code, problem.help.unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn added_calls_refer_to_the_plan_and_to_their_list_and_are_counted() {
    let engine = stubs::engine();
    let plan = Plan::new("session")
        .call(Call::new("base", "sleep").args(json!({"ms": 5, "value": [1, 2]})))
        .output(json!("${base}"));
    let run = session(&engine, plan);
    let mut events = run.events();
    let first = run.submit(Call::new("c1", "sleep").args(json!({"ms": 20, "value": "${base[1]}"})));
    // Whether or not the other has ended and is gone.
    let too_early = run.submit(Call::new("c2", "sleep").args(json!({"value": "${c1}"})));
    let (refused, help) = code(too_early.await);
    assert_eq!(refused, "unknown_reference");
    assert!(help.contains("forgets"), "{help}");
    assert_eq!(first.await.expect("accepted").value.expect("a value").get(), "2");
    assert_eq!(code(run.submit(Call::new("c2", "sleep").args(json!({"value": "${c1}"}))).await), (refused, help));
    // Those of one list refer to each other, elements go with their call, and what fails skips what needs it.
    let list = vec![
        Call::new("each", "sleep").foreach(json!("${base}")).args(json!({"ms": 10, "value": "${item}"})),
        Call::new("all", "sleep").args(json!({"value": "${each}"})),
        Call::new("bad", "broken"),
        Call::new("needs", "sleep").args(json!({"value": "${bad}"})),
    ];
    run.add_calls(list).await.expect("valid calls");
    let clash = run.submit(Call::new("all", "sleep"));
    assert_eq!(code(clash.await).0, "duplicate_id", "while it is open");
    let last = run.submit(Call::new("last", "sleep").args(json!({"ms": 50})));
    assert_eq!(last.await.expect("accepted").outcome, Outcome::Succeeded);
    let again = run.submit(Call::new("all", "sleep").args(json!({"value": 7})));
    assert_eq!(again.await.expect("its id is free").value.expect("a value").get(), "7");
    run.close();
    let report = run.report().await;
    let ids: Vec<&str> = report.calls.iter().map(|call| &*call.id).collect();
    assert_eq!(ids, ["base"]);
    let forgotten = Forgotten { succeeded: 6, failed: 1, skipped: 1, ..Forgotten::default() };
    assert_eq!(report.forgotten, Some(forgotten));
    assert_eq!((report.calls_ms.round(), report.output.as_ref().map(|o| o.get())), (95.0, Some("[1,2]")));
    let mut ended = Vec::new();
    while let Some(event) = events.next().await {
        if let What::CallEnded { call, .. } = event.what {
            ended.push(call.to_string());
        }
    }
    assert_eq!(ended, ["base", "c1", "bad", "needs", "each[0]", "each[1]", "each", "all", "last", "all"]);
}

#[tokio::test(start_paused = true)]
async fn who_waited_for_what_is_gone_still_names_it() {
    let store = stubs::Store::default();
    let engine = stubs::engine_with(&store);
    let run = session(&engine, Plan::new("session"));
    let call = |id: &str| Call::new(id, "add").args(json!({"key": "a", "ms": 10}));
    let (first, second, third) = (run.submit(call("c1")), run.submit(call("c2")), run.submit(call("c3")));
    assert!(first.await.is_ok() && second.await.is_ok());
    let third = third.await.expect("accepted");
    let waits: Vec<(&str, &str)> =
        third.waits.iter().map(|wait| (&*wait.cause, wait.on.as_deref().unwrap_or_default())).collect();
    assert_eq!(waits, [("key", "c2")]);
    run.close();
    let report = run.report().await;
    assert_eq!(report.waits_ms.get("key").map(|ms| ms.round()), Some(30.0));
}

#[tokio::test]
async fn a_durable_run_does_not_forget() {
    let state = tempfile::tempdir().expect("a directory");
    let engine = Engine::builder().state_dir(state.path()).build().expect("an engine");
    let plan = Plan::new("session");
    let durable = Durable::new(&plan, &Map::new());
    let valid = engine.validate(plan, Map::new()).expect("a valid plan");
    let refused = engine.start_durable(valid, open(), durable).await.err().expect("refused");
    assert_eq!(refused.code, "forget_durable");
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
}

/// So many calls through one run, a few at a time, while one hangs. Gives the time of each call and the memory after.
async fn through(run: &RunHandle, from: usize, calls: usize) -> (Duration, u64) {
    let began = Instant::now();
    let mut open = std::collections::VecDeque::new();
    for at in from..from + calls {
        let args = json!({"value": format!("number {at}")});
        let call =
            if at % 2 == 0 { Call::new(format!("c{at}"), "sleep") } else { Call::new(format!("c{at}"), "vague") };
        // Settings of its own now and then, of which nothing may stay.
        let call = if at % 7 == 0 { call.timeout(Duration::from_secs(5)) } else { call };
        open.push_back(run.submit(call.args(args)));
        if open.len() > 64
            && let Some(first) = open.pop_front()
        {
            assert_eq!(first.await.expect("accepted").outcome, Outcome::Succeeded);
        }
    }
    for submitted in open {
        assert_eq!(submitted.await.expect("accepted").outcome, Outcome::Succeeded);
    }
    (began.elapsed() / u32::try_from(calls).unwrap_or(1), resident())
}

async fn flat(calls: usize) -> [(Duration, u64); 2] {
    let engine = stubs::engine();
    let run = session(&engine, Plan::new("session"));
    let hangs = run.submit(Call::new("hangs", "sleep").args(json!({"ms": 3_600_000})));
    through(&run, 0, 70_000.min(calls)).await;
    let early = through(&run, calls, calls / 10).await;
    let late = through(&run, 2 * calls, calls).await;
    run.cancel_call("hangs");
    assert_eq!(hangs.await.expect("accepted").outcome, Outcome::Cancelled);
    run.close();
    let forgotten = run.report().await.forgotten.expect("a run that forgets");
    let all = 70_000.min(calls) + calls / 10 + calls;
    assert_eq!((forgotten.succeeded, forgotten.cancelled), (all as u64, 1));
    [early, late]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_run_stays_small_while_one_call_hangs() {
    let [early, late] = flat(20_000).await;
    assert!(late.1 < early.1 + (24 << 20), "{} MiB, then {} MiB", early.1 >> 20, late.1 >> 20);
}

/// The measurement: `cargo test --release -p fanout --test it -- --ignored --nocapture a_million`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement in release; `a_long_run_stays_small_while_one_call_hangs` is the test"]
async fn a_million_calls_of_one_run() {
    let [early, late] = flat(1_000_000).await;
    let say =
        |(each, bytes): (Duration, u64)| format!("{each:?} per call, {:.1} MiB", bytes as f64 / f64::from(1 << 20));
    println!("after 170 k calls: {}; after 1.17 M: {}", say(early), say(late));
    assert!(late.1 < early.1 + (8 << 20));
    assert!(late.0 < early.0 * 3 / 2);
}
