//! Plans meant to harm: each is refused at once, by a code.
//! It does not know how the bounds are kept.

use crate::{codes, validate};
use fanout_plan::{Call, Plan};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

fn refused(file: &str, text: &[u8]) -> Vec<&'static str> {
    let started = Instant::now();
    let codes = codes(validate(file, text, Map::new()));
    assert!(started.elapsed() < Duration::from_secs(20), "{file} took {:?}", started.elapsed());
    codes
}

#[test]
fn huge_files_are_refused_at_once() {
    let text = vec![b' '; 100 << 20];
    let started = Instant::now();
    assert_eq!(codes(validate("plan.yaml", &text, Map::new())), ["too_large"]);
    assert!(started.elapsed() < Duration::from_millis(50));
}

#[test]
fn not_text() {
    assert_eq!(refused("plan.yaml", b"calls: [\xff]"), ["not_utf8"]);
    assert_eq!(refused("plan.yaml", b"calls: [\0]"), ["not_text"]);
    assert_eq!(refused("plan.json", "\u{feff}{\"calls\": [1, ]}".as_bytes()), ["bad_json"]);
    assert_eq!(refused("plan.json", b"{\"calls\": [{\"id\": \"\\ud800\"}]}"), ["bad_json"]);
    assert_eq!(refused("plan.json", b"{} {}"), ["bad_json"]);
    assert_eq!(refused("plan.json", b"{\"calls\": [1e999]}"), ["number_out_of_range"]);
}

#[test]
fn deep_documents() {
    for depth in [70, 1_000, 200_000] {
        let list = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(refused("plan.json", list.as_bytes()), ["too_deep"], "{depth}");
        let yaml = refused("plan.yaml", list.as_bytes());
        assert!(yaml == ["too_deep"] || yaml == ["bad_yaml"], "{depth}: {yaml:?}");
        let block = refused("plan.yaml", format!("{}x", "- ".repeat(depth.min(100_000))).as_bytes());
        assert!(block == ["too_deep"] || block == ["bad_yaml"], "{depth}: {block:?}");
        assert!(!refused("plan.json", "{\"a\":".repeat(depth).as_bytes()).is_empty());
    }
}

#[test]
fn aliases_that_explode() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    assert_eq!(refused("plan.yaml", bomb.as_bytes()), ["too_many_aliases"]);
    assert_eq!(refused("plan.yaml", b"calls: &a [*a]"), ["bad_yaml"]);
    let mut deep = "a0: &a0 [x]\n".to_owned();
    for level in 1..100 {
        deep.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert_eq!(refused("plan.yaml", deep.as_bytes()), ["too_deep"]);
    let fine = b"calls:\n  - {id: a, tool: any, args: &args {x: 1}}\n  - {id: b, tool: any, args: *args}\n";
    assert!(refused("plan.yaml", fine).is_empty());
}

#[test]
fn duplicate_keys() {
    assert_eq!(
        refused("plan.json", br#"{"calls": [], "calls": [], "a": {"x": 1, "x": 2}}"#),
        ["duplicate_key", "duplicate_key"]
    );
    assert_eq!(refused("plan.yaml", b"calls: []\na: {x: 1, x: 2}"), ["duplicate_key"]);
    let many: String = (0..100_000).map(|n| format!("k{}: 1\n", n % 99_999)).collect();
    assert_eq!(refused("plan.yaml", many.as_bytes()), ["duplicate_key"]);
}

#[test]
fn endless_problems_are_cut() {
    let calls: String = (0..10_000).map(|n| format!("  - {{id: c{n}, tol: x}}\n")).collect();
    let codes = refused("plan.yaml", format!("calls:\n{calls}").as_bytes());
    assert!(codes.len() <= 1_001 && codes.contains(&"too_many_problems"), "{}", codes.len());
    let unknown: String = (0..10_000).map(|n| format!("f{n}: 1\n")).collect();
    assert!(refused("plan.yaml", unknown.as_bytes()).len() <= 1_001);
}

#[test]
fn long_chains_and_circles() {
    let n = 100_000;
    let call = |i: usize, to: usize| Call::new(format!("c{i}"), "any").args(json!({"x": format!("${{c{to}}}")}));
    let run = |plan: Plan| plan.validate(&crate::catalog(), Map::new(), &BTreeMap::new());
    let forwards = Plan::new("chain")
        .with_calls((0..n).map(|i| if i + 1 == n { Call::new(format!("c{i}"), "any") } else { call(i, i + 1) }));
    let valid = run(forwards).expect("a chain is fine");
    assert_eq!(valid.order.first(), Some(&(n as u32 - 1)));
    let circle = Plan::new("circle").with_calls((0..n).map(|i| call(i, (i + 1) % n)));
    let problems = run(circle).expect_err("a circle is not");
    assert_eq!((problems.len(), problems[0].code), (1, "cycle"));
    assert!(problems[0].message.len() < 1_000, "{}", problems[0].message.len());
}

#[test]
fn values_built_deep() {
    let mut value = json!(1);
    for _ in 0..500 {
        value = json!([value]);
    }
    let plan = Plan::new("deep").call(Call::new("a", "any").args(json!({"x": value.clone()})));
    let problems = plan.validate(&crate::catalog(), Map::new(), &BTreeMap::new()).expect_err("it is too deep");
    assert_eq!(problems[0].code, "too_deep");
    assert_eq!(Plan::from_value(value).expect_err("it is too deep")[0].code, "too_deep");
}

#[test]
fn texts_full_of_references() {
    let many = "${a}".repeat(100_000);
    let started = Instant::now();
    let plan = Plan::new("x")
        .call(Call::new("a", "any"))
        .call(Call::new("b", "any").args(json!({"x": many, "y": "${".repeat(100_000), "z": "$".repeat(100_000)})));
    let problems = plan.validate(&crate::catalog(), Map::new(), &BTreeMap::new()).expect_err("one is not closed");
    assert_eq!(problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), ["bad_reference"]);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn too_many_calls() {
    let plan = Plan::new("x").with_calls((0..=fanout_plan::CALLS_MAX).map(|_| Call::new("a", "any")));
    let problems = plan.validate(&crate::catalog(), Map::new(), &BTreeMap::new()).expect_err("too many");
    assert_eq!(problems[0].code, "too_many_calls");
}

#[test]
fn schemas_are_never_fetched() {
    let toolbox =
        |schema: Value| fanout_plan::ToolboxSpec { tools: vec![crate::tool("t", schema, None)], ..Default::default() };
    let remote = json!({"type": "object", "properties": {"x": {"$ref": "http://127.0.0.1:9/schema.json"}}});
    assert_eq!(fanout_plan::Catalog::new([toolbox(remote)]).expect_err("it is remote")[0].code, "bad_schema");
    let file = json!({"$ref": "file:///etc/passwd"});
    assert_eq!(fanout_plan::Catalog::new([toolbox(file)]).expect_err("it is a file")[0].code, "bad_schema");
}

#[test]
fn advice_costs_no_more_than_the_check() {
    let n = 20_000;
    let plan = Plan::new("x")
        .with_calls((0..n).map(|i| Call::new(format!("call_{i}"), "any").args(json!({"x": format!("${{cal_{i}}}")}))));
    let problems = plan.validate(&crate::catalog(), Map::new(), &BTreeMap::new()).expect_err("nothing is there");
    assert_eq!(problems.len(), 1_001);
    // Each is compared with all ids, a million comparisons in all.
    let advised = problems.iter().filter(|problem| problem.help.as_ref().is_some_and(|help| help.contains("`call_")));
    let advised = advised.count();
    assert!((1..=1_000_000 / n + 1).contains(&advised), "{advised}");
}
