//! What the fuzz targets run, and the tests with inputs of their own.
//! It does not know where the bytes come from.

use fanout_plan::{
    ArgsView, Call, Catalog, Effects, EffectsSpec, Plan, Scope, TextTemplate, ToolSpec, ToolboxSpec, read_toolbox,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

static CATALOG: LazyLock<Arc<Catalog>> = LazyLock::new(|| {
    let schema = json!({"type": "object"});
    let tool = ToolSpec { effects: Some(EffectsSpec::default()), ..ToolSpec::native("any", schema) };
    Arc::new(Catalog::new([ToolboxSpec { tools: vec![tool], ..ToolboxSpec::default() }]).unwrap_or_default())
});

struct Results(Arc<Value>);

impl Scope for Results {
    fn result(&self, _: u32) -> Option<&Arc<Value>> {
        Some(&self.0)
    }
    fn outcome(&self, _: u32) -> &str {
        "succeeded"
    }
    fn item(&self) -> Option<(&Arc<Value>, usize)> {
        Some((&self.0, 0))
    }
}

/// Bytes as a plan in both syntaxes and as a toolbox file.
pub fn read_plan(bytes: &[u8]) {
    for name in ["plan.yaml", "plan.json", "plan"] {
        if let Ok(plan) = Plan::read(name, bytes) {
            check(plan);
        }
    }
    let _ = read_toolbox("fanout.toml", bytes);
}

/// Bytes as a text with references, a condition, a key and an argument.
pub fn references(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = TextTemplate::parse(text).map(|template| template.fill(&json!({"p": "x"})));
    let effects = EffectsSpec { writes: vec![text.to_owned()], ..EffectsSpec::default() };
    if let Ok(effects) = Effects::compile(&effects, Arc::default()) {
        effects.keys(ArgsView::Unknown, &|path| path.to_owned());
        effects.keys(ArgsView::Known(&json!({"p": ["x", "/y"]})), &|path| path.to_owned());
    }
    let plan = |call: Call| Plan::new("fuzz").call(Call::new("a", "any")).call(call);
    check(plan(Call::new("b", "any").args(json!({"x": text})).foreach(json!([1]))));
    check(plan(Call::new("b", "any").foreach(text)));
    check(plan(Call::new("b", "any").when(text)));
}

/// Validates a plan and follows everything in it.
fn check(plan: Plan) {
    let Ok(plan) = plan.validate(&CATALOG, Map::new(), &BTreeMap::new()) else { return };
    let results = Results(Arc::new(
        json!({"b": [{"x": 1, "}": {"b": "${a}"}}, {"b": "c", "d": 2, "e": [null]}], "x": 2, "q": [1, "two"]}),
    ));
    for call in &plan.calls {
        let _ = call.args.resolve(&results);
        let _ = call.foreach.as_ref().map(|list| list.resolve(&results));
        let _ = call.when.as_ref().map(|when| when.is_true(&results));
        call.effects.keys(ArgsView::Partial(&call.args), &|path| path.to_owned());
    }
    let _ = plan.output.as_ref().map(|output| output.resolve_or_null(&results));
}
