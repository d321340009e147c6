//! The published JSON Schemas against what the readers take.
//! It does not know how the schemas are made.

use serde_json::{Value, json};
use std::path::Path;

fn accepts(schema: &Value, value: &Value) -> Result<(), String> {
    let validator = jsonschema::options().offline().build(schema).map_err(|error| error.to_string())?;
    let wrong: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

#[test]
fn every_example_fits() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = 0;
    let mut open = vec![examples];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let (schema, value) = match name {
                "fanout.toml" => (fanout_plan::toolbox_schema(), toml::from_str::<Value>(&text).expect("TOML")),
                name if name.ends_with(".yaml") && text.contains("calls:") => {
                    (fanout_plan::plan_schema(), serde_saphyr::from_str::<Value>(&text).expect("YAML"))
                }
                _ => continue,
            };
            seen += 1;
            accepts(&schema, &value).unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display()));
        }
    }
    assert!(seen > 0, "there are no examples");
}

#[test]
fn what_the_readers_take_fits() {
    let plan = json!({
        "name": "n", "description": "d", "deadline": "1m", "on_failure": "stop", "limits": {"gpu": 2, "memory": "1 GiB"},
        "inputs": {"x": {"schema": {"type": "integer"}, "default": 1, "description": "d"}},
        "calls": [
            {"id": "a", "tool": "t", "args": {"a": "${inputs.x}${b[0].y}"}, "when": "true", "after": "b", "foreach": [1], "effects": "none", "timeout": 3},
            {"id": "b", "tool": "t", "foreach": "${a}", "after": ["a"], "effects": {"reads": "x", "writes": ["y"], "idempotent": true, "destructive": false},
             "idle_timeout": "1s", "retry": {"attempts": 2, "backoff": "1s", "factor": 2, "backoff_max": 3}, "priority": "low", "uses": {"cpu": 1}, "expect": 0.5, "in_doubt": "ask", "on_failure": {"value": null}},
            {"id": "c", "tool": "t", "retry": 3, "on_failure": "fail", "when": true},
        ],
        "output": ["${a}"],
        "tools": {"t": {"argv": ["x", ["-a", "${args.a}"]], "args": {"a": {"type": "string", "optional": true}}}},
        "toolbox": {"g": {"key": "k", "running": 2, "rate": {"count": 1, "per": "1s", "burst": 2}, "tools": {"t": {"argv": ["x"], "schema": {}, "stdin": "text", "stdin_text": "x", "rate": "1/s"}}}},
    });
    accepts(&fanout_plan::plan_schema(), &plan).expect("it fits the schema");
    let read = fanout_plan::Plan::from_value(plan).expect("it is read");
    let catalog = std::sync::Arc::new(
        fanout_plan::Catalog::new(read.tools.iter().map(|toolbox| toolbox.spec.clone())).expect("its tools compile"),
    );
    let problems = read
        .validate(&catalog, Default::default(), &std::collections::BTreeMap::from([("cpu".into(), 1)]))
        .expect_err("a and b form a circle");
    assert_eq!(
        problems.iter().filter(|problem| problem.is_error()).map(|problem| problem.code).collect::<Vec<_>>(),
        ["cycle"]
    );
}

#[test]
fn what_the_readers_refuse_does_not_fit() {
    let schema = fanout_plan::plan_schema();
    for wrong in [
        json!({}),
        json!({"calls": [{"id": "a"}]}),
        json!({"calls": [{"id": "a", "tool": "t", "tol": 1}]}),
        json!({"calls": [{"id": "9", "tool": "t"}]}),
        json!({"calls": [{"id": "a", "tool": "t", "args": 5}]}),
        json!({"calls": [{"id": "a", "tool": "t", "approval": "maybe"}]}),
        json!({"calls": [], "on_failure": "panic"}),
        json!({"calls": [{"id": "a", "tool": "t", "priority": "urgent"}]}),
    ] {
        assert!(accepts(&schema, &wrong).is_err(), "{wrong}");
    }
}
