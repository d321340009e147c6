//! Plans are written in the form they are read in.
//! It does not know what they mean.

use fanout_plan::Plan;

#[test]
fn a_plan_is_read_again_as_it_was_written() {
    let text = r#"
name: all of it
description: every field there is
inputs: {nights: {description: how long, schema: {type: integer}, default: 2}, who: {}}
limits: {running: 4, memory: 1 GiB}
deadline: 1h30m
on_failure: stop
calls:
  - {id: a, tool: t}
  - {id: b, tool: t, args: {x: "${a}", y: [1, {z: null}]}, when: "a > 1", after: [a], priority: high}
  - id: c
    tool: t
    foreach: "${a[*]}"
    on_failure: {value: null}
    timeout: 150ms
    idle_timeout: 2s
    retry: {attempts: 3, backoff: 10ms, factor: 1.5, backoff_max: 1s}
    uses: {gpu: 2}
    expect: 3s
    in_doubt: ask
    approval: destructive
    approval_timeout: 5m
    effects: {reads: ["file:x"], writes: ["db:y/${args.z}"], idempotent: true}
  - {id: d, tool: t, effects: none, retry: 2, in_doubt: rerun, approval: never}
output: {all: "${c}", some: ["${d}"]}
"#;
    let plan = Plan::read("plan.yaml", text.as_bytes()).expect("it can be read");
    let written = plan.to_value();
    let again = Plan::from_value(written.clone()).expect("what is written can be read");
    // Everything but where it came from.
    let shown = |plan: &Plan| format!("{:#?}", (&plan.inputs, &plan.calls, &plan.limits, &plan.output));
    assert_eq!(shown(&again), shown(&plan));
    assert_eq!((again.deadline, again.on_failure, &again.name), (plan.deadline, plan.on_failure, &plan.name));
    assert_eq!(again.to_value(), written);
    // Each field of a file is in what was written; else one that is forgotten would not be noticed here.
    let fields = |value: &serde_json::Value| value.as_object().map_or(0, serde_json::Map::len);
    assert_eq!((fields(&written), fields(&written["calls"][2])), (8, 13), "{written:#}");
}
