//! What is said of plans that are wrong: each text and everything said of it.
//! It does not know how the problems are found.

use crate::said;
use expect_test::{Expect, expect};
use fanout_plan::{Catalog, EffectsSpec, Plan, ToolSpec, ToolboxSpec};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::sync::Arc;

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&said(text));
}

#[test]
fn a_plan_that_is_fine() {
    check(
        r#"
name: weekend in Lisbon
inputs: {nights: {schema: {type: integer, minimum: 1}, default: 2}}
calls:
  - {id: flights, tool: air.search, args: {from: BER, to: LIS, nights: "${inputs.nights}"}}
  - {id: fares, tool: any, foreach: "${flights[*].id}", args: {flight: "${item}", n: "${index}"}}
  - {id: pick, tool: any, args: {fares: "${fares}", note: "Weather: ${flights.summary} $${x}"}, on_failure: {value: {price: 1}}}
  - {id: hold, tool: any, args: {}, when: "pick.price < 300 and outcome('fares') == 'succeeded'", after: [flights]}
output: {trip: "${pick}", hold: "${hold.code}"}
"#,
        expect![[r#"
            fine
        "#]],
    );
}

#[test]
fn everything_at_once() {
    check(
        r#"
nmae: x
calls:
  - {id: a, tool: air.serach, args: {from: BER}}
  - {id: a, tool: air.search, args: {form: BER, nights: zero}}
  - {id: item, tool: any, args: {x: "${nobody.x}"}, timeout: soon}
  - {id: 9lives, tool: any, args: {x: "${a..[}"}, hedge: {}}
  - {id: b, tool: any, args: {x: ["${c}"]}, after: [b]}
  - {id: c, tool: any, when: "b.x <", on_failure: never}
  - {id: d, tool: any, foreach: 5, args: {x: "${item.y}"}, uses: {gpu: 1}}
  - {id: e, tool: any, args: {x: "${item}"}}
  - {tool: any}
  - just text
"#,
        expect![[r#"
            plan.yaml:2:1: error[unknown_field]: the plan has no field `nmae`
              help: did you mean `name`?
            plan.yaml:4:19: error[unknown_tool]: there is no tool `air.serach`
              help: did you mean `air.search`?
            plan.yaml:5:10: error[duplicate_id]: there is already a call `a`: the 1st in the list
              help: ids are used once, since references name calls by them
            plan.yaml:5:37: error[bad_args]: `air.search` does not take these arguments: "from" is a required property
            plan.yaml:5:38: error[bad_args]: `air.search` does not take these arguments: Additional properties are not allowed ('form' was unexpected)
              help: did you mean `from`?
            plan.yaml:5:57: error[bad_args]: `air.search` does not take these arguments: nights: "zero" is not of type "integer"
            plan.yaml:6:10: error[reserved_id]: `item` has a meaning of its own in references
              help: choose another id
            plan.yaml:6:38: error[unknown_reference]: there is no call `nobody`
            plan.yaml:6:62: error[bad_value]: `timeout` is a duration such as `2s`, `150ms`, `1m30s` or a number of seconds, not "soon"
            plan.yaml:7:10: error[bad_id]: "9lives" cannot be an id
              help: an id is a letter or `_`, then letters, digits and `_`
            plan.yaml:7:40: error[bad_path]: `${a..[}`: `..[` is not a path: must start with lowercase alpha or '_'
              help: paths are RFC 9535 (JSONPath) behind the id, such as `.a.b[0]`, `[*].id`, `["odd-name"]`
            plan.yaml:7:51: error[not_yet_supported]: `hedge` of the call `9lives` is not supported yet by this version
              help: remove it: it is refused rather than ignored
            plan.yaml:8:53: error[self_reference]: the call `b` waits for itself
            plan.yaml:9:30: error[bad_expression]: `when` is not an expression: syntax error: unexpected end of input, expected expression
            plan.yaml:9:51: error[bad_value]: `on_failure` of a call is `fail` or `{value: …}`
            plan.yaml:10:33: error[bad_foreach]: `foreach` is a list or one reference to a list, not the number 5
              help: such as `${search[*].id}`
            plan.yaml:10:66: error[unknown_limit]: the call `d` uses `gpu`, which no limit names
              help: did you mean `cpu`?
            plan.yaml:11:35: error[no_element]: `${item}`: only a call with `foreach` has `item`
            plan.yaml:12:5: error[missing_field]: the call has no `id`
            plan.yaml:13:5: error[wrong_type]: a call is an object, not a text
        "#]],
    );
}

#[test]
fn cycles_are_spelled_out() {
    check(
        r#"
calls:
  - {id: a, tool: any, args: {x: "${c}"}}
  - {id: b, tool: any, args: {x: "${a.y}"}}
  - {id: c, tool: any, after: [b]}
  - {id: d, tool: any, args: {x: "${c}"}}
"#,
        expect![[r#"
            plan.yaml:3:5: error[cycle]: these calls wait for each other: a → c → b → a
              help: each call needs the next; one of these references or `after` has to go
        "#]],
    );
}

#[test]
fn references_and_paths() {
    check(
        r#"
inputs: {city: {default: {name: LIS}}}
calls:
  - {id: flights, tool: any}
  - {id: a, tool: any, args: {x: "${flihgts.foo}"}}
  - {id: b, tool: any, args: {x: "${flights.foo-bar}", y: "${flights", z: "${}", w: "${flights foo}"}}
  - {id: c, tool: any, args: {x: "${inputs.ctiy}", y: "${inputs.city.code}", z: "${index.x}", o: "${outcome}"}}
  - {id: d, tool: any, args: {deep: {er: [1, "${flights[?@.a >]}"]}}}
  - {id: e, tool: any, foreach: "a ${flights}"}
  - {id: f, tool: any, foreach: "${inputs.city}"}
output: {x: "${nothing}", y: "${item}"}
"#,
        expect![[r#"
            plan.yaml:5:35: error[unknown_reference]: there is no call `flihgts`
              help: did you mean `flights`?
            plan.yaml:6:35: error[bad_path]: `${flights.foo-bar}`: `.foo-bar` is not a path: it is not RFC 9535
              help: paths are RFC 9535 (JSONPath) behind the id, such as `.a.b[0]`, `[*].id`, `["odd-name"]`
            plan.yaml:6:59: error[bad_reference]: `${flights` is not closed by `}`
              help: a literal `${` is written `$${`
            plan.yaml:6:76: error[bad_reference]: `${}` does not start with the id of a call; a literal `${` is written `$${`
            plan.yaml:6:86: error[bad_reference]: `${flights foo}`: behind `flights` a path starts with `.` or `[`
            plan.yaml:7:35: error[unknown_input]: `${inputs.ctiy}`: the plan has no value for an input `ctiy`
              help: did you mean `city`?
            plan.yaml:7:56: error[reference_not_found]: `${inputs.city.code}`: inputs.city is an object with the key name; there is no `code`
            plan.yaml:7:82: error[no_element]: `${index.x}`: only a call with `foreach` has `index`
            plan.yaml:7:99: error[bad_reference]: `${outcome}`: `outcome` can be asked for in `when` only, as in `outcome('id')`
            plan.yaml:8:47: error[bad_path]: `${flights[?@.a >]}`: `[?@.a >]` is not a path: in long-hand segment, expected closing ']'
              help: paths are RFC 9535 (JSONPath) behind the id, such as `.a.b[0]`, `[*].id`, `["odd-name"]`
            plan.yaml:9:33: error[bad_foreach]: `foreach` is a list or one reference to a list, not a text with references in it
              help: such as `${search[*].id}`
            plan.yaml:10:33: error[bad_foreach]: `foreach` is a list or one reference to a list, not an object with the key name
              help: such as `${search[*].id}`
            plan.yaml:11:14: error[unknown_reference]: there is no call `nothing`
            plan.yaml:11:31: error[no_element]: `${item}`: only a call with `foreach` has `item`
        "#]],
    );
}

#[test]
fn conditions() {
    check(
        r#"
calls:
  - {id: pick, tool: any}
  - {id: a, tool: any, when: "${pick.price} < 300"}
  - {id: b, tool: any, when: "pikc.price < 300"}
  - {id: c, tool: any, when: "outcome(pick) == 'failed'"}
  - {id: d, tool: any, when: "outcome('pikc') == 'failed'"}
  - {id: e, tool: any, when: "pick.x == null"}
  - {id: f, tool: any, when: "item > 3"}
  - {id: g, tool: any, when: "pick | nofilter"}
  - {id: h, tool: any, when: true}
  - {id: i, tool: any, when: "i.x"}
"#,
        expect![[r#"
            plan.yaml:4:30: error[bad_expression]: `when` is not an expression: syntax error: unexpected character
              help: names stand alone in `when`, without `${` or `{{`: `pick.price < 300`
            plan.yaml:5:31: error[unknown_reference]: there is no call `pikc`
              help: did you mean `pick`?
            plan.yaml:6:30: error[bad_expression]: `when` is not an expression: `outcome` is written with a literal id, as in `outcome('fetch') == 'failed'`
            plan.yaml:7:40: error[unknown_reference]: there is no call `pikc`
              help: did you mean `pick`?
            plan.yaml:8:41: error[bad_expression]: `null` is written `none` in an expression
            plan.yaml:9:31: error[no_element]: `item`: only a call with `foreach` has it
            plan.yaml:10:30: error[bad_expression]: `when` is not an expression: there is no filter `nofilter`
            plan.yaml:12:31: error[self_reference]: the call `i` waits for itself
        "#]],
    );
}

#[test]
fn arguments_against_the_schema() {
    check(
        r#"
calls:
  - {id: flights, tool: any}
  - {id: a, tool: air.search}
  - {id: b, tool: air.search, args: {from: BER, nights: 0, tags: [x, 7]}}
  - {id: c, tool: air.search, args: {to: "${flights}", nights: "${flights.n}"}}
  - {id: d, tool: air.search, args: {from: "${flights}", nights: "n ${flights.n}", tgas: []}}
  - {id: e, tool: air.search, args: {from: "${flights}", nights: 0, tags: ["${flights}"]}}
  - {id: f, tool: air.search, args: [BER]}
"#,
        expect![[r#"
            plan.yaml:4:5: error[bad_args]: `air.search` does not take these arguments: "from" is a required property
            plan.yaml:5:57: error[bad_args]: `air.search` does not take these arguments: nights: 0 is less than the minimum of 1
            plan.yaml:5:70: error[bad_args]: `air.search` does not take these arguments: tags.1: 7 is not of type "string"
            plan.yaml:6:37: error[bad_args]: `air.search` does not take these arguments: "from" is a required property
            plan.yaml:7:66: error[bad_args]: `air.search` does not take these arguments: nights: a text with references in it is always a string, and integer is wanted
            plan.yaml:7:84: error[bad_args]: `air.search` does not take these arguments: Additional properties are not allowed ('tgas' was unexpected)
              help: did you mean `tags`?
            plan.yaml:8:66: error[bad_args]: `air.search` does not take these arguments: nights: 0 is less than the minimum of 1
            plan.yaml:9:37: error[wrong_type]: `args` is an object, not a list
        "#]],
    );
}

#[test]
fn settings_and_limits() {
    check(
        r#"
limits: {gpu: 2, licence: 0, cpu: 64}
deadline: -1
on_failure: panic
calls:
  - {id: a, tool: any, uses: {gpu: 3}}
  - {id: b, tool: any, uses: {gup: 1}}
  - {id: c, tool: any, uses: {cpu: 5}, retry: {attempts: 0, factor: 0.5, bakcoff: 1s}}
  - {id: d, tool: any, priority: urgent, in_doubt: maybe, timeout: [1]}
  - {id: e, tool: any, uses: {gpu: -1}, retry: 0, expect: 1e400s}
  - {id: f, tool: any, effects: {writes: "db:*", raeds: []}, cache: 1h}
  - {id: g, tool: file.write, args: {path: x}, effects: {writes: ["file:${args.pth}", "x/${flights}"]}}
"#,
        expect![[r#"
            plan.yaml:2:27: error[bad_value]: the limit `licence` is 0: nothing that needs it could ever start
            plan.yaml:3:11: error[bad_value]: `deadline` is a duration such as `2s`, `150ms`, `1m30s` or a number of seconds, not -1
            plan.yaml:4:13: error[bad_value]: `on_failure` is one of `continue`, `stop`, not `panic`
            plan.yaml:6:30: error[over_limit]: the call `a` uses 3 of `gpu`, and there are only 2: it could never start
              help: use less, or raise the limit `gpu`
            plan.yaml:7:30: error[unknown_limit]: the call `b` uses `gup`, which no limit names
              help: did you mean `gpu`?
            plan.yaml:8:30: error[over_limit]: the call `c` uses 5 of `cpu`, and there are only 4: it could never start
              help: use less, or raise the limit `cpu`
            plan.yaml:8:58: error[bad_value]: `attempts` is a whole number of at least 1, not 0
            plan.yaml:8:69: error[bad_value]: `factor` is a number from 1 to 1000
            plan.yaml:8:74: error[unknown_field]: `retry` has no field `bakcoff`
              help: did you mean `backoff`?
            plan.yaml:9:34: error[bad_value]: `priority` is one of `lowest`, `low`, `normal`, `high`, `highest`, not `urgent`
            plan.yaml:9:52: error[bad_value]: `in_doubt` is one of `fail`, `rerun`, `ask`, not `maybe`
            plan.yaml:9:68: error[wrong_type]: `timeout` is a duration such as `2s` or `1m30s`, not a list
            plan.yaml:10:36: error[bad_value]: `gpu` is a whole number or a size such as `512 MiB`, not -1
            plan.yaml:10:48: error[bad_value]: `retry` is a number of attempts of at least 1, not 0
            plan.yaml:10:59: error[bad_value]: `expect` is a duration such as `2s`, `150ms`, `1m30s` or a number of seconds, not "1e400s"
            plan.yaml:11:42: error[bad_key]: `db:*`: `*` stands alone; a key covers all that begins with it, segment by segment
            plan.yaml:11:50: error[unknown_field]: `effects` has no field `raeds`
              help: did you mean `reads`?
            plan.yaml:11:69: error[wrong_type]: `cache` is true, false, or an object such as `{scope: run, ttl: 10m}`
            plan.yaml:12:87: error[bad_key]: `${flights}`: only arguments can be put in here, as in `${args.name}`
        "#]],
    );
}

#[test]
fn warnings() {
    check(
        r#"
inputs: {unused: {default: 1}}
calls:
  - {id: a, tool: bare.do}
  - {id: b, tool: file.write, args: {path: x}, retry: 3}
"#,
        expect![[r#"
            plan.yaml:2:18: warning[unused_input]: nothing uses the input `unused`
            plan.yaml:4:19: warning[undeclared_effects]: `bare.do` does not declare what it touches, so it is taken to write `bare`
              help: declare `effects` of the tool: `none`, or `reads` and `writes` of keys
            plan.yaml:5:55: warning[retry_not_repeatable]: `file.write` may write and is not declared idempotent: it is only tried again when it is proven not to have been reached
              help: declare `idempotent: true` in its `effects` if running it twice is as running it once
        "#]],
    );
}

#[test]
fn the_shape_of_the_file() {
    check(
        "[]",
        expect![[r#"
        plan.yaml:1:1: error[wrong_type]: a plan is an object, not a list
    "#]],
    );
    check(
        "",
        expect![[r#"
        plan.yaml:1:1: error[bad_yaml]: the document is empty
    "#]],
    );
    check(
        "calls: {}",
        expect![[r#"
        plan.yaml:1:8: error[wrong_type]: `calls` is a list, not an object
    "#]],
    );
    check(
        "name: x",
        expect![[r#"
        plan.yaml:1:1: error[missing_field]: the plan has no `calls`
    "#]],
    );
    check(
        "calls: []\n---\ncalls: []",
        expect![[r#"
        plan.yaml:2:1: error[bad_yaml]: there is a second document in the file
          help: one file holds one plan; remove the `---` between them
    "#]],
    );
    check(
        "calls: [}",
        expect![[r#"
        plan.yaml:1:8: error[bad_yaml]: this is not YAML: mismatched bracket '[' closed by '}'
    "#]],
    );
    check(
        "calls:\n\t- a",
        expect![[r#"
        plan.yaml:2:2: error[bad_yaml]: this is not YAML: tabs disallowed within this context (block indentation)
          help: YAML is indented by spaces; this line has a tab
    "#]],
    );
}

#[test]
fn parts_of_yaml_without_a_meaning() {
    check(
        "calls: []\ncalls: []\n",
        expect![[r#"
        plan.yaml:2:1: error[duplicate_key]: `calls` stands twice in one object
    "#]],
    );
    check(
        "calls: !plan []",
        expect![[r#"
        plan.yaml:1:14: error[bad_yaml]: tags of one's own (`!name`) mean nothing here
          help: write the value without the tag
    "#]],
    );
    check(
        "a: &a {x: 1}\ncalls:\n  - {<<: *a}",
        expect![[r#"
        plan.yaml:3:6: error[bad_yaml]: merge keys (`<<`) are not part of YAML 1.2
          help: write the fields out, or use an alias for the whole value
    "#]],
    );
    check(
        "calls:\n  - {id: a, tool: any, args: {n: 123456789012345678901234567890}}",
        expect![[r#"
        plan.yaml:2:34: error[number_out_of_range]: the number 123456789012345678901234567890 cannot be held exactly
          help: whole numbers reach from -9223372036854775808 to 18446744073709551615; write it in quotes to pass it as text
    "#]],
    );
    check(
        "calls:\n  - {id: a, tool: any, args: {n: .inf}}",
        expect![[r#"
        plan.yaml:2:34: error[number_out_of_range]: the number .inf cannot be held exactly
          help: whole numbers reach from -9223372036854775808 to 18446744073709551615; write it in quotes to pass it as text
    "#]],
    );
}

#[test]
fn json_has_places_too() {
    let text = b"{\"calls\": [\n  {\"id\": \"a\", \"tool\": \"any\", \"args\": {\"x\": \"${b}\"}},\n  {\"id\": \"\\u0062x\", \"tol\": \"any\"}\n]}";
    let problems = crate::validate("plan.json", text, serde_json::Map::new()).expect_err("it is wrong");
    let said: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
    expect![[r#"
        plan.json:2:45: error[unknown_reference]: there is no call `b`
          help: did you mean `a`?
        plan.json:3:3: error[missing_field]: the call `bx` has no `tool`
        plan.json:3:21: error[unknown_field]: the call `bx` has no field `tol`
          help: did you mean `tool`?
    "#]]
    .assert_eq(&said);
}

#[test]
fn a_key_that_siblings_in_several_directories_name_is_said_once() {
    let writes = |name: &str, dir: &str| {
        let effects = EffectsSpec { writes: vec!["file:${args.path}".into()], ..EffectsSpec::default() };
        let schema = json!({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]});
        ToolSpec { base_dir: Some(std::path::Path::new(dir).into()), ..crate::tool(name, schema, Some(effects)) }
    };
    let bare = crate::tool("two.bare", json!({"type": "object"}), None);
    let tools = vec![writes("two.a", "/a"), writes("two.b", "/b"), bare];
    let catalog =
        Catalog::new([ToolboxSpec { name: "two".into(), tools, ..ToolboxSpec::default() }]).expect("good tools");
    let plan = Plan::read("plan.yaml", b"calls: [{id: x, tool: two.bare}]").expect("a plan");
    let valid = plan.validate(&Arc::new(catalog), Map::new(), &BTreeMap::new()).expect("a valid plan");
    let message = &valid.warnings[0].message;
    assert!(message.ends_with("it is taken to write `two`, `file:`"), "{message}");
}
