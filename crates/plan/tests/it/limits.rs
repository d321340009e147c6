//! Settings of calls over those of tools, inputs, and calls added to a run.
//! It does not know how they are used.

use crate::{catalog, codes, validate};
use fanout_plan::{Call, Needs, Plan, Priority};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn settings_are_shared() {
    let text = "calls:\n  - {id: a, tool: any}\n  - {id: b, tool: any}\n  - {id: c, tool: any, timeout: 2s, priority: high, uses: {cpu: 2}}\n  - {id: d, tool: any, timeout: 2s, priority: high, uses: {cpu: 2}}\n";
    let plan = validate("p.yaml", text.as_bytes(), Map::new()).expect("fine");
    assert!(Arc::ptr_eq(&plan.calls[0].settings, &plan.calls[1].settings));
    assert!(Arc::ptr_eq(&plan.calls[2].settings, &plan.calls[3].settings));
    assert!(Arc::ptr_eq(&plan.calls[0].effects, &plan.calls[3].effects));
    let settings = &plan.calls[2].settings;
    assert_eq!(
        (settings.timeout, settings.priority, settings.uses["cpu"]),
        (Some(Duration::from_secs(2)), Some(Priority::High), 2)
    );
}

#[test]
fn inputs_are_checked() {
    let text = b"inputs: {n: {schema: {type: integer}, default: 3}, who: {}}\ncalls: [{id: a, tool: any, args: {x: '${inputs.n}', y: '${inputs.who}'}}]";
    let given = |pairs: &[(&str, serde_json::Value)]| {
        codes(validate("p.yaml", text, pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()))
    };
    assert_eq!(given(&[("who", json!("me"))]), [""; 0]);
    assert_eq!(given(&[("who", json!("me")), ("n", json!("3"))]), ["bad_input"]);
    assert_eq!(given(&[("hwo", json!("me"))]), ["unknown_input", "missing_input", "unknown_input"]);
}

#[test]
fn edges_are_what_is_referred_to() {
    let text = b"calls: [{id: a, tool: any}, {id: b, tool: any}, {id: c, tool: any, after: [a, b], args: {x: '${b} ${b.y}'}, when: \"outcome('a') == 'failed'\"}]";
    let plan = validate("p.yaml", text, Map::new()).expect("fine");
    let mut inputs = plan.calls[2].inputs.to_vec();
    inputs.sort_by_key(|(call, _)| *call);
    assert_eq!(inputs, [(0, Needs::Outcome), (1, Needs::Result)]);
}

#[test]
fn calls_added_to_a_run_refer_backwards() {
    let plan = Plan::new("open").call(Call::new("a", "any"));
    let mut plan = plan.validate(&catalog(), Map::new(), &BTreeMap::new()).expect("fine");
    let refer = |id: &str, to: &str| Call::new(id, "any").args(json!({"x": format!("${{{to}}}")}));
    let added = plan.extend(vec![refer("b", "a"), refer("c", "b")]).expect("fine");
    assert_eq!(added[1].inputs[..], [(1, Needs::Result)]);
    let wrong = |plan: &mut fanout_plan::ValidPlan, calls| {
        plan.extend(calls)
            .expect_err("wrong")
            .iter()
            .map(|problem| (problem.code, problem.path.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        wrong(&mut plan, vec![refer("d", "e"), Call::new("e", "any")]),
        [("forward_reference", "calls[0].args.x".to_owned())]
    );
    assert_eq!(wrong(&mut plan, vec![Call::new("a", "any")]), [("duplicate_id", "calls[0].id".to_owned())]);
    let added = plan.extend(vec![Call::new("e", "any"), refer("d", "e")]).expect("what failed is not known");
    assert_eq!(added[1].inputs[..], [(3, Needs::Result)]);
    assert_eq!((plan.find("d"), plan.find("zz")), (Some(4), None));
}
