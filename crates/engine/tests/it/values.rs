//! References, expressions, lists of calls: what values calls see.
//! It does not know keys and limits.

use crate::check;
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
    check(plan, expect![[""]]).await;
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
    check(plan, expect![[""]]).await;
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
    check(plan, expect![[""]]).await;
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
    check(plan, expect![[""]]).await;
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
    check(plan, expect![[""]]).await;
}
