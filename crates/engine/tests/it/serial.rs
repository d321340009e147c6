//! Keys and limits: what runs beside what, and that no update is lost.
//! It does not know failures.

use crate::stubs::{self, Store};
use crate::{check, run, timeline, valid};
use expect_test::expect;
use fanout::{Call, Engine, Plan};
use serde_json::json;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn calls_on_one_key_run_in_order_and_others_beside() {
    let plan = r#"
name: keys
calls:
  - {id: a, tool: add, args: {key: x, ms: 30}}
  - {id: b, tool: get, args: {key: x}}
  - {id: c, tool: get, args: {key: x, ms: 20}}
  - {id: d, tool: add, args: {key: x}}
  - {id: e, tool: add, args: {key: y}}
"#;
    check(
        plan,
        expect![[r#"
            a      0..30 succeeded 1
            b      30..40 succeeded 1 [key a db:x 30]
            c      30..50 succeeded 1 [key a db:x 30]
            d      50..60 succeeded 2 [key a db:x 30] [key c db:x 20]
            e      0..10 succeeded 1
            succeeded 60 of 80: a c d"#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_key_not_known_yet_holds_back_all_it_could_be() {
    let plan = r#"
name: unknown
calls:
  - {id: k, tool: sleep, args: {ms: 20, value: x}}
  - {id: a, tool: add, args: {key: "${k}"}}
  - {id: b, tool: get, args: {key: y}}
  - {id: c, tool: get, args: {key: x}}
"#;
    check(
        plan,
        expect![[r#"
        k      0..20 succeeded "x"
        a      20..30 succeeded 1 [input k 20]
        b      20..30 succeeded 0 [key a db:y 20]
        c      30..40 succeeded 1 [key a db:x 30]
        succeeded 40 of 50: k a c"#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn undeclared_tools_run_one_by_one_and_the_report_says_so() {
    let plan = r#"
name: vague
calls:
  - {id: a, tool: vague, args: {ms: 10}}
  - {id: b, tool: vague, args: {ms: 10}}
  - {id: c, tool: sleep, args: {ms: 10}}
"#;
    check(plan, expect![[r#"
        a      0..10 succeeded null
        b      10..20 succeeded null [key a * 10]
        c      0..10 succeeded null
        succeeded 20 of 30: a b
        hint `vague` does not declare its effects, so 1 call waited 10.0ms to run one by one: declare `.effects_none()` if it touches nothing, or what it touches, such as `.reads("db:orders")`"#]]).await;
}

#[tokio::test(start_paused = true)]
async fn limits_of_plan_and_call_hold() {
    let plan = r#"
name: limits
limits: {running: 2, gpu: 1}
calls:
  - {id: a, tool: sleep, args: {ms: 10}, uses: {gpu: 1}}
  - {id: b, tool: sleep, args: {ms: 10}, uses: {gpu: 1}}
  - {id: c, tool: sleep, args: {ms: 10}}
  - {id: d, tool: sleep, args: {ms: 10}, priority: high}
"#;
    check(
        plan,
        expect![[r#"
        a      0..10 succeeded null
        b      10..20 succeeded null [limit plan running 10]
        c      10..20 succeeded null [limit plan running 10]
        d      0..10 succeeded null
        succeeded 20 of 40: d"#]],
    )
    .await;
}

fn edits(tool: &str) -> Plan {
    let mut plan = Plan::new("edits");
    for index in 0..50 {
        plan = plan.call(Call::new(format!("one{index}"), tool).args(json!({"key": "one"})));
        plan = plan.call(Call::new(format!("each{index}"), tool).args(json!({"key": format!("k{index}")})));
    }
    plan
}

async fn edited(tool: &str) -> (i64, usize, f64) {
    let store = Store::default();
    let engine = stubs::build(Engine::builder().toolbox(stubs::toolbox(&store)).limit("running", 200));
    let valid = engine.validate(edits(tool), serde_json::Map::new()).unwrap_or_else(|wrong| panic!("{wrong:#?}"));
    let report = engine.run(valid).report().await;
    let store = store.lock().map(|store| store.clone()).unwrap_or_default();
    let others = store.iter().filter(|(key, count)| *key != "one" && **count == 1).count();
    (store["one"], others, report.wall_ms)
}

#[tokio::test(start_paused = true)]
async fn no_update_is_lost() {
    let (one, others, wall_ms) = edited("add").await;
    assert_eq!((one, others), (50, 50));
    // The fifty on one key take 10 ms each; the other fifty ran beside them.
    assert!((500.0..520.0).contains(&wall_ms), "{wall_ms}");
}

#[tokio::test(start_paused = true)]
async fn false_declarations_lose_updates() {
    let (one, others, wall_ms) = edited("lie").await;
    assert_eq!(others, 50);
    assert!(one < 50 && wall_ms < 100.0, "{one} {wall_ms}");
}

#[tokio::test(start_paused = true)]
async fn the_schedule_tells_what_would_run_when() {
    let engine = stubs::engine();
    let plan = r#"
name: schedule
calls:
  - {id: k, tool: sleep, args: {value: x}, expect: 2s}
  - {id: a, tool: add, args: {key: "${k}"}}
  - {id: b, tool: get, args: {key: y}}
  - {id: c, tool: sleep, foreach: [1, 2], args: {value: "${item}"}}
  - {id: d, tool: sleep, foreach: "${k}", args: {value: "${item}"}, after: [b]}
"#;
    let schedule = engine.schedule(&valid(&engine, plan));
    let mut text = String::new();
    for call in &schedule.calls {
        let keys: Vec<_> =
            call.keys.iter().map(|key| format!("{}{}", if key.write { "!" } else { "" }, key.key)).collect();
        let waits: Vec<_> =
            call.waits_for.iter().map(|wait| format!("{} {}", wait.cause, wait.on.as_deref().unwrap_or(""))).collect();
        text += &format!("{} {:?}..{:?} {keys:?} {waits:?}\n", call.id, call.start, call.end);
    }
    assert_eq!(schedule.makespan, Duration::from_secs(5));
    text += &format!("{:?} {}", schedule.critical_path_length, schedule.critical_path.join(" "));
    expect![[r#"
        k 0ns..2s [] []
        a 2s..3s ["!db:…"] ["input k"]
        b 3s..4s ["db:y"] ["key a"]
        c 0ns..1s [] []
        c[0] 0ns..1s [] []
        c[1] 0ns..1s [] []
        d 4s..5s [] ["input k", "after b"]
        d[*] 4s..5s [] []
        5s k a b d[*]"#]]
    .assert_eq(&text);
}

#[tokio::test(start_paused = true)]
async fn a_run_inside_a_call_borrows_its_slot_and_keys() {
    let store = Store::default();
    let mut outer = fanout::Native::new("");
    outer
        .add("nested", "Runs a plan inside.", |_: ()| async {
            let engine = Engine::current().ok_or("no engine")?;
            let report = run(
                &engine,
                "name: inner\ncalls:\n  - {id: x, tool: add, args: {key: k}}\n  - {id: y, tool: get, args: {key: k}}\n",
            )
            .await;
            Ok(timeline(&report))
        })
        .writes("db:k");
    let builder = Engine::builder().toolbox(stubs::toolbox(&store)).toolbox(outer.into()).limit("running", 1);
    let engine = stubs::build(builder);
    let plan = "name: outer\ncalls:\n  - {id: a, tool: nested}\n  - {id: b, tool: get, args: {key: k}}\n";
    let report = run(&engine, plan).await;
    let inner = report.calls[0].result.as_ref().map(|result| result.get().replace("\\n", "\n")).unwrap_or_default();
    expect![[r#"
        "x      0..10 succeeded 1
        y      10..20 succeeded 1 [key x db:k 10]
        succeeded 20 of 20: x y"
        a      0..20 succeeded "x      0..10 succeeded 1\ny      10..20 succeeded 1 [key x db:k 10]\nsucceeded 20 of 20: x y"
        b      20..30 succeeded 1 [key a db:k 20]
        succeeded 30 of 30: a b"#]].assert_eq(&format!("{inner}\n{}", timeline(&report)));
}
