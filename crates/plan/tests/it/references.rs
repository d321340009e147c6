//! What references find: plan and results in, arguments out.
//! It does not know how references are read.

use crate::validate;
use expect_test::{Expect, expect};
use fanout_plan::{Call, Plan, ReferenceError, Scope, ValidPlan};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

struct Results {
    results: Vec<Option<Arc<Value>>>,
    item: Option<(Arc<Value>, usize)>,
}

impl Scope for Results {
    fn result(&self, call: u32) -> Option<&Arc<Value>> {
        self.results[call as usize].as_ref()
    }
    fn outcome(&self, call: u32) -> &str {
        if self.results[call as usize].is_some() { "succeeded" } else { "failed" }
    }
    fn item(&self) -> Option<(&Arc<Value>, usize)> {
        self.item.as_ref().map(|(item, index)| (item, *index))
    }
}

fn results() -> Results {
    let flights = json!({"best": {"id": "TP1", "price": 120.5, "null": null}, "all": [{"id": "TP1"}, {"id": "LH2", "x": "${best}"}], "odd key": true, "n": 7});
    Results { results: vec![Some(Arc::new(flights)), None], item: Some((Arc::new(json!({"id": "it", "on": true})), 3)) }
}

fn plan(call: &str) -> ValidPlan {
    let text = format!(
        "inputs: {{who: {{default: \"$${{b}} ${{x}}\"}}}}\ncalls:\n  - {{id: f, tool: any}}\n  - {{id: g, tool: any}}\n  - {{id: h, tool: any, foreach: [1], {call}}}\n"
    );
    validate("plan.yaml", text.as_bytes(), Map::new()).unwrap_or_else(|problems| panic!("{call}: {problems:?}"))
}

fn resolve(value: &str) -> Result<Value, ReferenceError> {
    plan(&format!("args: {{v: {value}}}")).calls[2].args.resolve(&results()).map(|mut args| args["v"].take())
}

fn check(values: &[&str], expected: Expect) {
    let line = |value: &&str| match resolve(value) {
        Ok(found) => format!("{value} = {found}\n"),
        Err(error) => format!("{value} ! {}: {}\n", error.code, error.message),
    };
    expected.assert_eq(&values.iter().map(line).collect::<String>());
}

#[test]
fn one_reference_keeps_its_type() {
    check(
        &[
            "'${f.best.price}'",
            "'${ f.best }'",
            "'${f.n}'",
            "'${f[\"odd key\"]}'",
            "'${f.all[-1].id}'",
            "'${f.best.null}'",
            "'${item.on}'",
            "'${index}'",
            "'${f}'",
        ],
        expect![[r#"
            '${f.best.price}' = 120.5
            '${ f.best }' = {"id":"TP1","price":120.5,"null":null}
            '${f.n}' = 7
            '${f["odd key"]}' = true
            '${f.all[-1].id}' = "LH2"
            '${f.best.null}' = null
            '${item.on}' = true
            '${index}' = 3
            '${f}' = {"best":{"id":"TP1","price":120.5,"null":null},"all":[{"id":"TP1"},{"id":"LH2","x":"${best}"}],"odd key":true,"n":7}
        "#]],
    );
}

#[test]
fn inside_a_text_it_is_text() {
    check(
        &[
            "'a ${f.best.id} b'",
            "'n=${f.n}${f.n}'",
            "'${f.best}!'",
            "'$${f.n} is $$${f.n} $'",
            "'${f.all[*].id} '",
            "'$${'",
            "'$$${f.n}'",
            "'${item} ${index}'",
            "'{\"a\": \"${f.best.null}\"}'",
        ],
        expect![[r#"
            'a ${f.best.id} b' = "a TP1 b"
            'n=${f.n}${f.n}' = "n=77"
            '${f.best}!' = "{\"id\":\"TP1\",\"price\":120.5,\"null\":null}!"
            '$${f.n} is $$${f.n} $' = "${f.n} is $${f.n} $"
            '${f.all[*].id} ' = "[\"TP1\",\"LH2\"] "
            '$${' = "${"
            '$$${f.n}' = "$${f.n}"
            '${item} ${index}' = "{\"id\":\"it\",\"on\":true} 3"
            '{"a": "${f.best.null}"}' = "{\"a\": \"null\"}"
        "#]],
    );
}

#[test]
fn lists_and_filters() {
    check(
        &[
            "'${f.all[*].id}'",
            "'${f..id}'",
            "'${f.all[0:1]}'",
            "'${f.all[?@.id == \"LH2\"].x}'",
            "'${f.none[*]}'",
            "\"${f.all[?@.id == '}'].id}\"",
            "'${f[\"best\",\"n\"]}'",
        ],
        expect![[r#"
            '${f.all[*].id}' = ["TP1","LH2"]
            '${f..id}' = ["TP1","TP1","LH2"]
            '${f.all[0:1]}' = [{"id":"TP1"}]
            '${f.all[?@.id == "LH2"].x}' = ["${best}"]
            '${f.none[*]}' = []
            "${f.all[?@.id == '}'].id}" = []
            '${f["best","n"]}' = [{"id":"TP1","price":120.5,"null":null},7]
        "#]],
    );
}

#[test]
fn what_is_not_there_is_named() {
    check(
        &[
            "'${f.foo}'",
            "'${f.best.id.x}'",
            "'${f.all[2].id}'",
            "'${f.all.id}'",
            "'x ${f.best.nope} y'",
            "'${g}'",
            "'${g.x}'",
            "'${item.id.z}'",
            "'${f.best[0]}'",
        ],
        expect![[r#"
            '${f.foo}' ! reference_not_found: `${f.foo}`: f is an object with keys best, all, odd key, n; there is no `foo`
            '${f.best.id.x}' ! reference_not_found: `${f.best.id.x}`: f.best.id is the text "TP1"; there is no `x`
            '${f.all[2].id}' ! reference_not_found: `${f.all[2].id}`: f.all is a list of 2; there is no element 2
            '${f.all.id}' ! reference_not_found: `${f.all.id}`: f.all is a list of 2; there is no `id`
            'x ${f.best.nope} y' ! reference_not_found: `${f.best.nope}`: f.best is an object with keys id, price, null; there is no `nope`
            '${g}' ! no_result: `${g}`: g has no result; its outcome is failed
            '${g.x}' ! no_result: `${g.x}`: g has no result; its outcome is failed
            '${item.id.z}' ! reference_not_found: `${item.id.z}`: item.id is the text "it"; there is no `z`
            '${f.best[0]}' ! reference_not_found: `${f.best[0]}`: f.best is an object with keys id, price, null; there is no element 0
        "#]],
    );
}

#[test]
fn results_and_inputs_are_data() {
    check(
        &["'${f.all[1].x}'", "'${inputs.who}'", "'who: ${inputs.who}'", "['${inputs.who}', {k: '${inputs.who}'}]"],
        expect![[r#"
        '${f.all[1].x}' = "${best}"
        '${inputs.who}' = "$${b} ${x}"
        'who: ${inputs.who}' = "who: $${b} ${x}"
        ['${inputs.who}', {k: '${inputs.who}'}] = ["$${b} ${x}",{"k":"$${b} ${x}"}]
    "#]],
    );
}

#[test]
fn inputs_make_calls_literal() {
    let plan = validate(
        "p.yaml",
        b"inputs: {n: {}}\ncalls: [{id: a, tool: any, args: {x: ['${inputs.n}', 'n${inputs.n}'], '${inputs.n}': 1}}]",
        Map::from_iter([("n".to_owned(), json!(5))]),
    )
    .expect("fine");
    assert_eq!(plan.calls[0].args.literal().map(|text| text.get()), Some(r#"{"x":[5,"n5"],"${inputs.n}":1}"#));
}

/// Results as the texts they came as.
struct Texts(Vec<Box<RawValue>>);

impl Scope for Texts {
    fn result(&self, _call: u32) -> Option<&Arc<Value>> {
        None
    }
    fn text(&self, call: u32) -> Option<&RawValue> {
        self.0.get(call as usize).map(|text| &**text)
    }
    fn outcome(&self, _call: u32) -> &str {
        "succeeded"
    }
    fn item(&self) -> Option<(&Arc<Value>, usize)> {
        None
    }
}

#[test]
fn whole_results_are_joined_as_texts_where_nothing_is_lost() {
    let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
    let results = [r#"{"a":[1,"} \" x"]}"#, "{ \"a\": 1 }", &deep];
    let raw = |text: &&str| RawValue::from_string((*text).to_owned()).expect("JSON");
    let scope = Texts(results.iter().map(raw).collect());
    let text = |tool: &str, args: Value| {
        let ids = ["plain", "spaced", "deep"].map(|id| Call::new(id, "any"));
        let plan = Plan::new("texts").with_calls(ids).call(Call::new("c", tool).args(args));
        let valid = plan.validate(&crate::catalog(), Map::new(), &BTreeMap::new()).expect("a valid plan");
        valid.calls[3].args.text(&scope).map_or_else(|| "filled in".to_owned(), |text| text.get().to_owned())
    };
    let any = |args: Value| text("any", args);
    expect![[r#"{"x":{"a":[1,"} \" x"]},"y":["\"",{"a":[1,"} \" x"]}]}"#]]
        .assert_eq(&any(json!({"x": "${plain}", "y": ["\"", "${plain}"]})));
    for lossy in ["${spaced}", "${deep}", "${plain.a}", "in a text: ${plain}"] {
        assert_eq!(any(json!({"x": lossy})), "filled in", "{lossy}");
    }
    assert_eq!(text("air.search", json!({"from": "${plain}", "to": "LIS"})), "filled in");
}

#[test]
fn output_has_null_for_what_is_missing() {
    let plan = validate("p.yaml", b"calls: [{id: a, tool: any}, {id: b, tool: any}]\noutput: {a: '${a.best.id}', b: '${b}', c: '${a.no}', d: 'x ${b.y}'}", Map::new()).expect("fine");
    let output = plan.output.expect("it has one").resolve_or_null(&results()).expect("it is not large");
    assert_eq!(output, json!({"a": "TP1", "b": null, "c": null, "d": "x null"}));
}

#[test]
fn what_is_filled_in_is_bounded() {
    let large = || {
        let large = json!({"text": "x".repeat(1 << 20)});
        Results { results: vec![Some(Arc::new(large)), None], item: Some((Arc::new(json!(1)), 0)) }
    };
    let fill = |args: Value| {
        let plan = plan(&format!("args: {args}"));
        plan.calls[2].args.resolve(&large()).map_or_else(|error| error.code, |_| "filled in")
    };
    assert_eq!(fill(json!({"v": "${f.text} ".repeat(60)})), "filled in");
    assert_eq!(fill(json!({"v": "${f.text} ".repeat(70)})), "filled_too_large");
    assert_eq!(fill(json!({"v": vec!["${f}"; 70]})), "filled_too_large");
    assert_eq!(fill(json!({"v": {"a": vec!["${f[*]}"; 40], "b": vec!["${f.text}"; 40]}})), "filled_too_large");
    let text = format!("calls: [{{id: f, tool: any}}, {{id: g, tool: any}}]\noutput: {}", json!(vec!["${f}"; 70]));
    let plan = validate("p.yaml", text.as_bytes(), Map::new()).expect("fine");
    let output = plan.output.expect("it has one").resolve_or_null(&large());
    assert_eq!(output.map_err(|error| error.code), Err("filled_too_large"));
    // As texts that are joined without being looked into.
    let texts = Texts(vec![RawValue::from_string(json!("x".repeat(1 << 20)).to_string()).expect("JSON")]);
    let plan = Plan::new("p").with_calls([Call::new("f", "any")]);
    let plan = plan.call(Call::new("c", "any").args(json!({"v": vec!["${f}"; 70]})));
    let plan = plan.validate(&crate::catalog(), Map::new(), &BTreeMap::new()).expect("fine");
    assert!(plan.calls[1].args.text(&texts).is_none(), "they are filled in, which tells that it is too much");
}

fn condition(text: &str) -> String {
    let plan = plan(&format!("when: {}", json!(text)));
    let when = plan.calls[2].when.as_ref().expect("it has one");
    match when.is_true(&results()) {
        Ok(is) => is.to_string(),
        Err(error) => format!("{}: {}", error.code, error.message),
    }
}

#[test]
fn conditions_look_into_results() {
    let texts = [
        "f.best.price < 300",
        "f.best.price > 300",
        "f.all | length == 2",
        "f.all[0].id == 'TP1' and f.all[-1].id == 'LH2'",
        "'best' in f",
        "f.best.null is none",
        "f['odd key']",
        "item.on and index == 3",
        "outcome('g') == 'failed' and outcome('f') == 'succeeded'",
        "inputs.who == '${b} ${x}'",
        "f.all | map(attribute='id') | list == ['TP1', 'LH2']",
        "f.all == f.all and f.best != f.all",
        "f.nope.x",
        "f.nope",
        "f.nope < 3",
        "f.nope == 3",
        "not f.nope",
        "f.nope is defined",
        "f.n + 'x'",
        "g.x",
        "range(99999) | map('string') | join | length > 0",
        "'outcome(' in 'x'",
        "f.outcome is undefined",
    ];
    let said: String = texts.iter().map(|text| format!("{text} = {}\n", condition(text))).collect();
    expect![[r#"
        f.best.price < 300 = true
        f.best.price > 300 = false
        f.all | length == 2 = true
        f.all[0].id == 'TP1' and f.all[-1].id == 'LH2' = true
        'best' in f = true
        f.best.null is none = true
        f['odd key'] = true
        item.on and index == 3 = true
        outcome('g') == 'failed' and outcome('f') == 'succeeded' = true
        inputs.who == '${b} ${x}' = false
        f.all | map(attribute='id') | list == ['TP1', 'LH2'] = true
        f.all == f.all and f.best != f.all = true
        f.nope.x = condition_failed: `when: f.nope.x`: undefined value
        f.nope = condition_failed: `when: f.nope`: it looks at something that is not there
        f.nope < 3 = condition_failed: `when: f.nope < 3`: undefined value
        f.nope == 3 = condition_failed: `when: f.nope == 3`: undefined value
        not f.nope = condition_failed: `when: not f.nope`: undefined value
        f.nope is defined = false
        f.n + 'x' = condition_failed: `when: f.n + 'x'`: invalid operation: tried to use + operator on unsupported types number and string
        g.x = condition_failed: `when: g.x`: undefined value
        range(99999) | map('string') | join | length > 0 = true
        'outcome(' in 'x' = false
        f.outcome is undefined = true
    "#]].assert_eq(&said);
}

#[test]
fn conditions_cannot_take_forever() {
    for text in ["('a' * 100000000) * 1000 == 'b'", "range(100000) | map('length') | list", "[1] * 1000000000 == 2"] {
        let started = std::time::Instant::now();
        condition(text);
        assert!(started.elapsed().as_secs() < 5, "{text} took {:?}", started.elapsed());
    }
}
