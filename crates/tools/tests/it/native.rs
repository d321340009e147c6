//! What is special to native tools: typed arguments, schemas, panics, the cost of a call.
//! It does not know plans.

use crate::world::{alone, attempt, run_with, show};
use expect_test::expect;
use fanout_tools::{Native, Progress, Reached, Tool, ToolError, Toolbox};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Add {
    /// The first.
    x: i64,
    #[serde(default)]
    y: i64,
}

fn math() -> Toolbox {
    let mut math = Native::new("math");
    math.add("add", "adds two numbers", |a: Add| async move { Ok(a.x + a.y) }).effects_none();
    math.add("nothing", "does nothing", |(): ()| async move { Ok(()) }).reads("a").writes("b").idempotent();
    math.add("fails", "fails", |(): ()| async move {
        std::fs::read("/does/not/exist")?;
        Ok(())
    });
    math.add("panics", "panics", |(): ()| async move {
        assert_eq!(1 + 1, 3, "arithmetic");
        Ok(())
    });
    math.add("panics_early", "panics before its future is there", |add: Add| {
        assert!(add.x > 0, "{} is not positive", add.x);
        async move { Ok(()) }
    });
    math.add("unwritable", "gives what is no JSON", |(): ()| async move {
        Ok(std::collections::BTreeMap::from([(vec![1], 2)]))
    });
    math.into()
}

fn tool(name: &str) -> Arc<dyn Tool> {
    let math = math();
    let at = math.spec.tools.iter().position(|tool| *tool.name == *format!("math.{name}")).unwrap();
    Arc::clone(&math.tools[at])
}

#[test]
fn ends_are_told() {
    alone(|_world| async {
        let mut ends = String::new();
        for (name, args) in [
            ("add", json!({"x": 2, "y": 3})),
            ("add", json!({"x": 2})),
            ("add", json!({"x": "2"})),
            ("nothing", json!({})),
            ("fails", json!({})),
            ("panics_early", json!({"x": -1})),
            ("unwritable", json!({})),
        ] {
            ends += &format!("{name} {args}: {}\n", show(&run_with(&tool(name), args.clone()).await));
        }
        expect![[r#"
            add {"x":2,"y":3}: ok 5
            add {"x":2}: ok 2
            add {"x":"2"}: permanent args_mismatch, reached no: the arguments fit the tool's schema but not its rust type: invalid type: string "2", expected i64 at line 1 column 8; make the type and its schema agree
            nothing {}: ok null
            fails {}: permanent tool_failed, reached yes: no such file or directory (os error 2)
            panics_early {"x":-1}: permanent tool_panicked, reached unknown: the tool panicked: -1 is not positive; this is a fault in the tool
            unwritable {}: permanent result_not_json, reached yes: the tool's result cannot be written as json: key must be a string; return a type that can
        "#]]
        .assert_eq(&ends);
        let panicked = run_with(&tool("panics"), json!({})).await.unwrap_err();
        assert_eq!((panicked.code, panicked.reached), ("tool_panicked", Reached::Unknown));
    });
}

#[test]
fn the_schema_comes_from_the_type() {
    let math = math();
    let number = |more: serde_json::Value| {
        let mut schema = json!({"type": "integer", "format": "int64"});
        schema.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        schema
    };
    let add = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Add",
        "type": "object",
        "properties": {"x": number(json!({"description": "The first."})), "y": number(json!({"default": 0}))},
        "required": ["x"],
    });
    assert_eq!(math.spec.tools[0].args_schema, add);
    assert_eq!(math.spec.tools[1].args_schema, json!({"type": "object", "additionalProperties": false}));
    let effects: Vec<_> = math.spec.tools.iter().take(3).map(|tool| tool.effects.clone()).collect();
    expect![[r#"[Some(EffectsSpec { reads: [], writes: [], idempotent: false, destructive: false }), Some(EffectsSpec { reads: ["a"], writes: ["b"], idempotent: true, destructive: false }), None]"#]]
        .assert_eq(&format!("{effects:?}"));
}

#[test]
fn a_blocking_tool_that_waits_for_a_thread_never_runs_once_aborted() {
    let _alone = crate::world::turn();
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let mut native = Native::new("");
        native.add_blocking("never", "must not run", |_, (): ()| -> Result<(), ToolError> { unreachable!("it ran") });
        let tool = Arc::clone(&Toolbox::from(native).tools[0]);
        let (free, taken) = std::sync::mpsc::channel::<()>();
        let holder = tokio::task::spawn_blocking(move || taken.recv());
        let (attempt, aborted) = attempt(json!({}), Progress::none());
        let end = tokio::spawn(tool.call(attempt));
        tokio::task::yield_now().await;
        aborted.cancel();
        let end = end.await.unwrap();
        assert_eq!(end.unwrap_err().reached, Reached::No);
        free.send(()).unwrap();
        holder.await.unwrap().unwrap();
    });
}

#[test]
#[ignore = "measures; run it alone with --release"]
fn cost_of_a_call() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for name in ["nothing", "add"] {
        let tool = tool(name);
        let n = 1_000_000_u32;
        let began = std::time::Instant::now();
        runtime.block_on(async {
            for _ in 0..n {
                let (attempt, _) = attempt(json!({"x": 1}), Progress::none());
                tool.call(attempt).await.unwrap();
            }
        });
        let with = began.elapsed();
        let began = std::time::Instant::now();
        for _ in 0..n {
            std::hint::black_box(attempt(json!({"x": 1}), Progress::none()));
        }
        let per_call: Duration = (with - began.elapsed()) / n;
        eprintln!("{name}: {per_call:?} per call");
    }
}
