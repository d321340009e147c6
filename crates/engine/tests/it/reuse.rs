//! Results handed on: one attempt for calls that ask the same, until something they read is written.
//! It does not know how the core finds that out.

use crate::{timeline, valid};
use expect_test::{Expect, expect};
use fanout::{Engine, Native, RunOptions, ToolError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Read {
    #[serde(rename = "key")]
    _key: String,
    #[serde(default)]
    ms: u64,
    #[serde(default)]
    fails: u32,
}

/// An engine whose `read` counts its attempts and says which it was, and whose `write` does nothing.
fn engine() -> (Engine, Arc<AtomicU32>) {
    let mut tools = Native::new("");
    let count = Arc::new(AtomicU32::new(0));
    let counted = count.clone();
    tools
        .add("read", "Reads.", move |args: Read| {
            let nth = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(Duration::from_millis(args.ms)).await;
                if nth < args.fails { Err(ToolError::permanent("not yet")) } else { Ok(nth) }
            }
        })
        .reads("db:${args.key}");
    tools.add("write", "Writes.", |_: Read| async { Ok(()) }).writes("db:${args.key}");
    (Engine::builder().toolbox(tools.into()).build().expect("good tools"), count)
}

async fn check(plan: &str, expect: Expect) {
    let (engine, count) = engine();
    let report = engine.run(valid(&engine, plan)).report().await;
    let reused: Vec<&str> = report.calls.iter().filter(|call| call.reused).map(|call| &*call.id).collect();
    let attempts = count.load(Ordering::SeqCst);
    expect.assert_eq(&format!("{}\n{attempts} attempts, reused: {}", timeline(&report), reused.join(" ")));
}

#[tokio::test(start_paused = true)]
async fn calls_that_ask_the_same_share_an_attempt_until_a_write() {
    let plan = r#"
name: shared
calls:
  - {id: a, tool: read, args: {key: x, ms: 10}, cache: true}
  - {id: b, tool: read, args: {ms: 10, key: x}, cache: true}
  - {id: c, tool: read, args: {key: x, ms: 10}, cache: true, after: [a]}
  - {id: other, tool: read, args: {key: y, ms: 10}, cache: true}
  - {id: asks, tool: read, args: {key: x, ms: 10}}
  - {id: w, tool: write, args: {key: x}}
  - {id: d, tool: read, args: {key: x, ms: 10}, cache: true}
  - {id: e, tool: read, args: {key: "x", ms: 10}, cache: true, after: [d]}
  - {id: f, tool: read, args: {key: y, ms: 10}, cache: true, after: [w]}
"#;
    check(
        plan,
        expect![[r#"
        a      0..10 succeeded 0
        b      -..10 succeeded 0 [flight a 10]
        c      -..10 succeeded 0 [input a 10]
        other  0..10 succeeded 1
        asks   0..10 succeeded 2
        w      10..10 succeeded null [key c db:x 10]
        d      10..20 succeeded 3 [key w db:x 10]
        e      -..20 succeeded 3 [input d 20]
        f      -..10 succeeded 1 [input w 10]
        succeeded 20 of 40: a w d
        4 attempts, reused: b c e f"#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn failures_are_not_handed_on_and_old_results_neither() {
    let plan = r#"
name: fresh
calls:
  - {id: a, tool: read, args: {key: x, ms: 10, fails: 1}, cache: true, on_failure: {value: 0}}
  - {id: b, tool: read, args: {key: x, ms: 10, fails: 1}, cache: true}
  - {id: c, tool: read, args: {key: x, ms: 10, fails: 1}, cache: {ttl: 1s}, after: [b]}
  - {id: nap, tool: read, args: {key: nap, ms: 2000}, after: [c]}
  - {id: d, tool: read, args: {key: x, ms: 10, fails: 1}, cache: {ttl: 1s}, after: [nap]}
"#;
    check(
        plan,
        expect![[r#"
        a      -..20 succeeded 1 [flight b 10] [flight c 10]
        b      0..10 failed tool_failed: not yet
        c      10..20 succeeded 1 [input b 10]
        nap    20..2020 succeeded 2 [input c 20]
        d      2020..2030 succeeded 3 [input nap 2020]
        failed 2030 of 2030: b c nap d
        4 attempts, reused: a"#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn between_runs_only_where_that_is_said() {
    let (engine, count) = engine();
    let run = |scope: &'static str, cache: bool| {
        let plan = format!("{{name: s, calls: [{{id: a, tool: read, args: {{key: x}}, cache: {{scope: {scope}}}}}]}}");
        let run = engine.start(valid(&engine, &plan), RunOptions { cache, ..RunOptions::default() });
        async move { run.report().await.calls[0].result.as_ref().map_or(String::new(), |result| result.to_string()) }
    };
    let mut said = Vec::new();
    for (scope, cache) in
        [("run", true), ("run", true), ("engine", true), ("engine", true), ("engine", false), ("engine", true)]
    {
        said.push(run(scope, cache).await);
    }
    assert_eq!((said.join(" "), count.load(Ordering::SeqCst)), ("0 1 2 2 3 2".to_owned(), 4));
    let write = "{name: w, calls: [{id: w, tool: write, args: {key: x}}]}";
    engine.run(valid(&engine, write)).report().await;
    assert_eq!(run("engine", true).await, "4", "a write of any run ends it");
}

#[test]
fn what_writes_is_not_handed_on() {
    let (engine, _) = tokio::runtime::Runtime::new().expect("a runtime").block_on(async { engine() });
    let plan = "{name: w, calls: [{id: w, tool: write, args: {key: x}, cache: true}]}";
    let plan = fanout::Plan::read("plan.yaml", plan.as_bytes()).expect("it can be read");
    let wrong = engine.validate(plan, serde_json::Map::new()).expect_err("it writes");
    assert_eq!(wrong[0].code, "cache_of_writer");
}
