//! How long validation takes: 1,000,000 calls without arguments, with literal ones, and with references.
//! It does not know how the calls are run. `cargo run --release -p fanout-plan --example validate`

use fanout_plan::{Call, Catalog, EffectsSpec, Plan, ToolSpec, ToolboxSpec};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

fn main() {
    let schema = json!({"type": "object", "properties": {"x": {}}});
    let tool = ToolSpec { effects: Some(EffectsSpec::default()), ..ToolSpec::native("noop", schema) };
    let toolbox = ToolboxSpec { name: "bench".into(), tools: vec![tool], ..ToolboxSpec::default() };
    let Ok(catalog) = Catalog::new([toolbox]).map(Arc::new) else { return };
    let noop: Arc<str> = "noop".into();
    let call = |n: usize| Call::new(format!("c{n}"), noop.clone());
    measure("no arguments", &catalog, (0..1_000_000).map(call));
    measure("one literal argument", &catalog, (0..1_000_000).map(|n| call(n).args(json!({"x": n}))));
    let chain = (0..1_000_000).map(|n| match n {
        0 => call(0),
        n => call(n).args(json!({"x": format!("${{c{}}}", n - 1)})),
    });
    measure("a chain of references", &catalog, chain);
}

fn measure(what: &str, catalog: &Arc<Catalog>, calls: impl Iterator<Item = Call>) {
    let plan = Plan::new("bench").with_calls(calls);
    let count = plan.calls.len();
    let started = Instant::now();
    let valid = plan.validate(catalog, Map::new(), &BTreeMap::new());
    let took = started.elapsed();
    let state = if valid.is_ok() { "valid" } else { "refused" };
    println!("{what}: {:.0} ns per call, {state}", took.as_secs_f64() * 1e9 / count as f64);
}
