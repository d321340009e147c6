//! What is written for programs: events, reports and plans in the forms that `fanout schema` publishes.
//! It does not know who reads them.

use fanout_tests::{Folder, root};
use serde_json::Value;

const PLAN: &str = "name: formats
tools:
  say: {argv: [printf, '%s', '${args.text}'], args: {text: {type: string}}, effects: none}
  flaky: {argv: [sh, -c, '[ \"$FANOUT_ATTEMPT\" = 2 ]'], effects: none, transient: [1], retry: {attempts: 2, backoff: 1ms}}
  break: {argv: ['false'], effects: none}
  lines: {argv: [seq, '3'], stdout: lines, effects: none}
calls:
  - {id: a, tool: say, args: {text: x}}
  - {id: b, tool: flaky}
  - {id: c, tool: break}
  - {id: d, tool: say, args: {text: '${c}'}}
  - {id: n, tool: lines}
  - {id: e, tool: say, foreach: '${n}', args: {text: '${item}'}}
output: '${e}'
";

fn schema(of: &str) -> jsonschema::Validator {
    let schema = Folder::new().fanout(["schema", of]).with_code(0).json();
    jsonschema::validator_for(&schema).unwrap()
}

#[track_caller]
fn fits(schema: &jsonschema::Validator, value: &Value) {
    let problems: Vec<String> = schema.iter_errors(value).map(|e| e.to_string()).collect();
    assert!(problems.is_empty(), "{problems:#?} in {value:#}");
}

#[test]
fn events_are_lines_of_json_as_their_schema_says() {
    let folder = Folder::with_plan(PLAN);
    folder.fanout(["run", "plan.yaml", "--events=events.jsonl"]).with_code(1);
    let schema = schema("events");
    let events: Vec<Value> = folder.read("events.jsonl").lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    for (index, event) in events.iter().enumerate() {
        fits(&schema, event);
        assert_eq!(event["v"], 1);
        assert_eq!(event["seq"], index, "no gap");
    }
    let count = |name: &str| events.iter().filter(|e| e["type"] == name).count();
    assert_eq!((count("run_started"), count("run_ended"), count("call_retried"), count("call_expanded")), (1, 1, 1, 1));
    // Every start is before its end, and every call ends once.
    assert_eq!(events.iter().filter(|e| e["type"] == "call_ended" && e["call"] == "b").count(), 1);
    let place = |name: &str, call: &str| events.iter().position(|e| e["type"] == name && e["call"] == call).unwrap();
    assert!(place("call_started", "a") < place("call_ended", "a"));
}

#[test]
fn events_on_standard_output_are_alone_there() {
    let ended = Folder::with_plan(PLAN).fanout(["run", "--events", "plan.yaml"]).with_code(1);
    for line in ended.stdout.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert!(event["type"].is_string(), "{line}");
    }
    assert!(ended.stdout.lines().last().unwrap().contains("run_ended"));
}

#[test]
fn the_report_is_as_its_schema_says() {
    let folder = Folder::with_plan(PLAN);
    folder.fanout(["run", "plan.yaml", "--report", "report.json"]).with_code(1);
    let report: Value = serde_json::from_str(&folder.read("report.json")).unwrap();
    fits(&schema("report"), &report);
    let ids: Vec<&str> = report["calls"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a", "b", "c", "d", "n", "e", "e[0]", "e[1]", "e[2]"], "in call order");
    assert_eq!(report["outcome"], "failed");
    assert_eq!(report["calls"][1]["attempts"], 2);
    assert_eq!(report["calls"][3]["outcome"], "skipped");
    let number = |name: &str| report[name].as_f64().unwrap();
    assert!(number("critical_path_ms") <= number("wall_ms") + 1.0, "{report:#}");
    assert!((number("speed_up") - number("calls_ms") / number("wall_ms")).abs() < 0.05, "{report:#}");
}

#[test]
fn the_examples_are_as_the_schemas_say() {
    let (plan, toolbox) = (schema("plan"), schema("toolbox"));
    for example in ["repo-report", "lisbon", "lost-update", "orders", "pets"] {
        let folder = root().join("examples").join(example);
        let text = std::fs::read_to_string(folder.join("plan.yaml")).unwrap();
        fits(&plan, &serde_saphyr::from_str::<Value>(&text).unwrap());
        if let Ok(text) = std::fs::read_to_string(folder.join("fanout.toml")) {
            fits(&toolbox, &toml::from_str::<Value>(&text).unwrap());
        }
    }
    assert!(!plan.is_valid(&serde_json::json!({"name": "x", "call": []})), "an unknown field");
}

#[test]
fn the_schedule_is_shown_as_text_graph_and_json() {
    let folder = Folder::with_plan(
        "name: schedule
tools:
  edit: {argv: ['true'], args: {path: {type: string}}, effects: {writes: ['file:${args.path}']}, expect: 1s}
calls:
  - {id: a, tool: edit, args: {path: /x}}
  - {id: b, tool: edit, args: {path: /x}}
  - {id: c, tool: edit, args: {path: /y}}
  - {id: d, tool: edit, args: {path: /z}, after: [b]}",
    );
    let text = folder.fanout(["plan", "plan.yaml"]).with_code(0).stdout;
    assert!(text.contains("file:/x after a"), "{text}");
    assert!(text.contains("critical path"), "{text}");
    let dot = folder.fanout(["plan", "plan.yaml", "--format", "dot"]).with_code(0).stdout;
    assert!(dot.starts_with("digraph") && dot.contains("\"a\" -> \"b\""), "{dot}");
    let json = folder.fanout(["plan", "plan.yaml", "--format", "json"]).with_code(0).json();
    assert_eq!(json["makespan_ms"], 3000.0, "{json:#}");
    assert_eq!(json["critical_path"], serde_json::json!(["a", "b", "d"]), "{json:#}");
}
