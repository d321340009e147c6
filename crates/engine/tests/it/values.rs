//! References, expressions, lists of calls: what values calls see.
//! It does not know keys and limits.

use crate::{check, run, stubs};
use expect_test::expect;

#[tokio::test(start_paused = true)]
async fn references_keep_types_alone_and_become_text_inside() {
    let plan = r#"
name: refs
calls:
  - {id: a, tool: sleep, args: {ms: 100, value: {n: 7, list: [1, 2]}}}
  - {id: b, tool: sleep, args: {value: "${a.n}"}}
  - {id: c, tool: sleep, args: {value: "n is ${a.n}, list ${a.list}"}}
  - {id: d, tool: sleep, args: {value: "${a.list[*]}", ms: "${a.n}"}}
  - {id: e, tool: sleep, args: {value: "${a.missing}"}}
output: {n: "${b}", none: "${e}"}
"#;
    check(plan, expect![[r#"
        a      0..100 succeeded {"n":7,"list":[1,2]}
        b      100..100 succeeded 7 [input a 100]
        c      100..100 succeeded "n is 7, list [1,2]" [input a 100]
        d      100..107 succeeded [1,2] [input a 100]
        e      -..100 failed reference_not_found: `${a.missing}`: a is an object with keys n, list; there is no `missing` [input a 100]
        failed 107 of 107: a d
        output {"n":7,"none":null}"#]]).await;
}

#[tokio::test(start_paused = true)]
async fn arguments_from_references_are_checked() {
    let plan = r#"
name: types
calls:
  - {id: a, tool: sleep, args: {value: soon}}
  - {id: b, tool: sleep, args: {ms: "${a}"}}
  - {id: c, tool: sleep, args: {value: "${b}"}}
"#;
    check(
        plan,
        expect![[r#"
        a      0..0 succeeded "soon"
        b      -..0 failed arguments_invalid: ms: "soon" is not of type "integer"
        c      -..0 skipped upstream_failed: it needs the result of `b`, which has none
        failed 0 of 0: a"#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn foreach_gives_a_list_in_element_order() {
    let plan = r#"
name: lists
calls:
  - {id: ns, tool: sleep, args: {value: [30, 10, 20]}}
  - {id: xs, tool: sleep, foreach: "${ns}", args: {ms: "${item}", value: "${index}:${item}"}, when: "item > 10"}
  - {id: all, tool: sleep, args: {value: "${xs}"}}
  - {id: none, tool: sleep, foreach: [], args: {}}
  - {id: bad, tool: sleep, foreach: "${ns[0]}", args: {value: "${item}"}}
"#;
    check(
        plan,
        expect![[r#"
        ns     0..0 succeeded [30,10,20]
        xs     -..30 succeeded ["0:30",null,"2:20"] [elements 30]
        xs[0]  0..30 succeeded "0:30"
        xs[1]  -..0 skipped when_false: its `when` was false
        xs[2]  0..20 succeeded "2:20"
        all    30..30 succeeded ["0:30",null,"2:20"] [input xs 30]
        none   -..0 succeeded []
        bad    -..0 failed foreach_not_a_list: `foreach` needs a list, and got the number 30
        failed 30 of 50: ns xs[0]"#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn when_false_skips_and_so_what_needs_the_result() {
    let plan = r#"
name: whens
inputs: {go: {default: false}}
calls:
  - {id: a, tool: sleep, args: {value: 3}}
  - {id: b, tool: sleep, args: {}, when: "a > 5"}
  - {id: c, tool: sleep, args: {value: "${b}"}}
  - {id: d, tool: sleep, args: {value: 1}, after: [b], when: "outcome('b') == 'skipped' and not inputs.go"}
  - {id: e, tool: sleep, args: {}, when: "a.b.c"}
"#;
    check(
        plan,
        expect![[r#"
        a      0..0 succeeded 3
        b      -..0 skipped when_false: its `when` was false
        c      -..0 skipped upstream_failed: it needs the result of `b`, which has none
        d      0..0 succeeded 1
        e      -..0 failed condition_failed: `when: a.b.c`: undefined value
        failed 0 of 0: a"#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_when_that_is_not_about_elements_decides_about_the_list() {
    let plan = r#"
name: guards
calls:
  - {id: a, tool: sleep, args: {value: {ok: false}}}
  - {id: xs, tool: sleep, foreach: "${a.items}", args: {value: "${item}"}, when: "a.ok"}
  - {id: z, tool: sleep, args: {value: "${xs}"}}
"#;
    check(
        plan,
        expect![[r#"
        a      0..0 succeeded {"ok":false}
        xs     -..0 skipped when_false: its `when` was false
        z      -..0 skipped upstream_failed: it needs the result of `xs`, which has none
        succeeded 0 of 0: a"#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn too_many_elements_are_refused_whole() {
    let mut tools = fanout::Native::new("");
    tools.add("many", "Gives a long list.", |_: ()| async { Ok(vec![0; 10_001]) }).effects_none();
    let builder = fanout::Engine::builder().toolbox(tools.into()).toolbox(stubs::toolbox(&stubs::Store::default()));
    let plan = "name: many\ncalls:\n  - {id: a, tool: many}\n  - {id: b, tool: sleep, foreach: \"${a}\", args: {}}\n";
    let report = run(&stubs::build(builder), plan).await;
    let error = report.calls[1].error.as_ref().map(|error| format!("{}: {}", error.code, error.message));
    expect!["too_many_elements: `foreach` over 10001 elements; at most 10000 are allowed: take a slice, or group them"]
        .assert_eq(&error.unwrap_or_default());
}

#[tokio::test(start_paused = true)]
async fn a_result_that_cannot_be_looked_into_is_said_to_be_so() {
    struct Gives(String);
    impl fanout::Tool for Gives {
        fn call(&self, _: fanout::Attempt) -> fanout::ToolFuture {
            let text = self.0.clone();
            let value = serde_json::value::RawValue::from_string(text);
            Box::pin(async { Ok(fanout::ToolOutput::new(value?.into())) })
        }
    }
    let mut described = fanout::Native::new("");
    described.add("deep", "Gives deep lists.", |_: ()| async { Ok(()) }).effects_none();
    described.add("large", "Gives a large number.", |_: ()| async { Ok(()) }).effects_none();
    let mut deep: fanout::Toolbox = described.into();
    let texts = [format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)), "[1e400]".to_owned()];
    deep.tools = texts.map(|text| std::sync::Arc::new(Gives(text)) as std::sync::Arc<dyn fanout::Tool>).into();
    let builder = fanout::Engine::builder().toolbox(deep).toolbox(stubs::toolbox(&stubs::Store::default()));
    let plan = r#"
name: deep
calls:
  - {id: a, tool: deep}
  - {id: b, tool: sleep, args: {value: "${a[0]}"}}
  - {id: c, tool: large}
  - {id: d, tool: sleep, args: {value: "${c[0]}"}}
output: {failed: "${b}", there: "${c}"}
"#;
    let report = run(&stubs::build(builder), plan).await;
    assert!(report.output.is_none(), "null would say that there is no result: {:?}", report.output);
    let hint = "there is no output: the result of `c` cannot be read";
    assert!(report.hints.iter().any(|told| told.starts_with(hint)), "{:?}", report.hints);
    let errors: Vec<_> =
        report.calls.iter().map(|call| call.error.as_ref().map(|error| error.message.as_str())).collect();
    expect![[r#"[None, Some("the result of `a` is nested more than 127 levels deep, so no part of it can be referred to"), None, Some("the result of `c` cannot be read (number out of range at line 1 column 6), so no part of it can be referred to")]"#]]
    .assert_eq(&format!("{errors:?}"));
}

#[tokio::test(start_paused = true)]
async fn an_element_that_fails_fails_the_list_at_its_end() {
    let plan = r#"
name: element fails
calls:
  - {id: xs, tool: sleep, foreach: [1, "no", 3], args: {ms: "${item}"}}
  - {id: ys, tool: sleep, foreach: [1, "no", 3], args: {ms: "${item}", value: "${item}"}, on_failure: {value: -1}}
  - {id: z, tool: sleep, args: {value: "${xs}"}}
  - {id: w, tool: sleep, args: {value: "${ys}"}}
"#;
    check(plan, expect![[r#"
        xs     -..3 failed elements_failed: 1 of its elements have no result; see those that failed, or give `on_failure: {value: …}` [elements 3]
        xs[0]  0..1 succeeded null
        xs[1]  -..0 failed arguments_invalid: ms: "no" is not of type "integer"
        xs[2]  0..3 succeeded null
        ys     -..3 succeeded [1,-1,3] [elements 3]
        ys[0]  0..1 succeeded 1
        ys[1]  -..0 failed -1 arguments_invalid: ms: "no" is not of type "integer"
        ys[2]  0..3 succeeded 3
        z      -..3 skipped upstream_failed: it needs the result of `xs`, which has none [input xs 3]
        w      3..3 succeeded [1,-1,3] [input ys 3]
        failed 3 of 8: ys[2]"#]]).await;
}
