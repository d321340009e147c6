//! BFCL: 440 turns of several independent calls; the accepted answers are run on stubs with the turn's own schemas.
//! It does not know JSON Schema: whether an answer fits its schema is judged by a few lines here.

use crate::outcome::Row;
use anyhow::{Context, Result};
use fanout_benches::stage::{Stage, all_succeeded, literal_value, run, runtime, told, validate};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::Path;

/// The files; the accepted answers of each are in `possible_answer_` and its name.
const FILES: [&str; 4] = [
    "BFCL_v4_live_parallel.json",
    "BFCL_v4_live_parallel_multiple.json",
    "BFCL_v4_parallel.json",
    "BFCL_v4_parallel_multiple.json",
];

#[derive(Deserialize)]
struct Question {
    id: String,
    function: Value,
}

#[derive(Deserialize)]
struct Answer {
    id: String,
    ground_truth: Vec<Map<String, Value>>,
}

/// A turn: the functions it may use, by name with the schema as it stands, and the calls it should make.
struct Turn {
    functions: Vec<(String, Value)>,
    calls: Vec<(String, Value)>,
}

/// Runs every turn.
pub(crate) fn judge(folder: &Path) -> Result<Vec<Row>> {
    let mut row = Row::new("bfcl_parallel", "every turn validates and runs, in call order");
    let mut widened = Vec::new();
    let mut calls = 0;
    for file in FILES {
        let questions: Vec<Question> = lines(folder, file)?;
        let answers: Vec<Answer> = lines(folder, &format!("possible_answer_{file}"))?;
        let mut answers: HashMap<String, Answer> =
            answers.into_iter().map(|answer| (answer.id.clone(), answer)).collect();
        runtime()?.block_on(async {
            for question in questions {
                let result = match answers.remove(&question.id) {
                    None => Err("no answer".to_owned()),
                    Some(answer) => {
                        let turn = turn(&question, &answer);
                        calls += turn.calls.len();
                        check(&question.id, turn, &mut widened).await
                    }
                };
                row.count(&question.id, result);
            }
        });
    }
    row.measure("calls", calls as f64);
    row.note(!widened.is_empty(), || {
        format!(
            "{} arguments break the schema of their own turn ({}): refused as they should be, then run untyped",
            widened.len(),
            widened.join(", ")
        )
    });
    Ok(vec![row])
}

fn lines<T: serde::de::DeserializeOwned>(folder: &Path, name: &str) -> Result<Vec<T>> {
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| serde_json::from_str(line).with_context(|| path.display().to_string())).collect()
}

fn turn(question: &Question, answer: &Answer) -> Turn {
    let functions = match &question.function {
        Value::Array(functions) => functions.clone(),
        one => vec![one.clone()],
    };
    let functions: Vec<(String, Value)> = functions
        .iter()
        .filter_map(|function| Some((function["name"].as_str()?.to_owned(), function["parameters"].clone())))
        .collect();
    let calls = answer.ground_truth.iter().flatten().map(|(name, accepted)| {
        let schema = functions.iter().find(|(function, _)| function == name).map(|(_, schema)| schema);
        (name.clone(), arguments(accepted, schema))
    });
    Turn { calls: calls.collect(), functions: functions.clone() }
}

/// The arguments: of each the first accepted value, where `""` means that an optional one is left out.
fn arguments(accepted: &Value, schema: Option<&Value>) -> Value {
    let required = |name: &str| {
        let required = schema.and_then(|schema| schema["required"].as_array());
        required.is_some_and(|required| required.iter().any(|one| one == name))
    };
    let fields = accepted.as_object().into_iter().flatten();
    let chosen = fields.filter_map(|(name, values)| {
        let first = values.as_array()?.first()?;
        (first != "" || required(name)).then(|| (name.clone(), chosen(first)))
    });
    Value::Object(chosen.collect())
}

/// Inside an accepted value, objects give accepted values again.
fn chosen(value: &Value) -> Value {
    match value {
        Value::Object(fields) if fields.values().all(Value::is_array) => {
            let fields = fields.iter().filter_map(|(name, values)| Some((name, values.as_array()?.first()?)));
            Value::Object(
                fields.filter(|(_, first)| *first != "").map(|(name, first)| (name.clone(), chosen(first))).collect(),
            )
        }
        Value::Array(items) => items.iter().map(chosen).collect(),
        other => other.clone(),
    }
}

/// The schema as JSON Schema names types: `dict`, `float`, `tuple` and `any` are Python's words.
fn json_schema(schema: &Value) -> Value {
    let Some(fields) = schema.as_object() else { return schema.clone() };
    let mut made = Map::new();
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("type", Value::String(kind)) => match kind.as_str() {
                "dict" => drop(made.insert(name.clone(), json!("object"))),
                "float" => drop(made.insert(name.clone(), json!("number"))),
                "tuple" => drop(made.insert(name.clone(), json!("array"))),
                "any" => {}
                _ => drop(made.insert(name.clone(), value.clone())),
            },
            ("properties", Value::Object(properties)) => {
                let properties = properties.iter().map(|(name, schema)| (name.clone(), json_schema(schema)));
                made.insert(name.clone(), Value::Object(properties.collect()));
            }
            ("items", schema) => drop(made.insert(name.clone(), json_schema(schema))),
            ("optional", _) => {}
            _ => drop(made.insert(name.clone(), value.clone())),
        }
    }
    Value::Object(made)
}

/// Which argument does not fit its schema, if one does not.
fn misfit(arguments: &Value, schema: &Value) -> Option<String> {
    let given = arguments.as_object()?;
    given.iter().find(|(name, value)| !fits(value, &schema["properties"][name.as_str()])).map(|(name, _)| name.clone())
}

fn fits(value: &Value, schema: &Value) -> bool {
    let typed = match schema["type"].as_str() {
        Some("string") => value.is_string(),
        Some("float" | "number") => value.is_number(),
        Some("integer") => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        Some("boolean") => value.is_boolean(),
        Some("array" | "tuple") => value.is_array(),
        Some("dict" | "object") => value.is_object(),
        _ => true,
    };
    let among = schema["enum"].as_array().is_none_or(|values| values.contains(value));
    let inside = match value {
        Value::Array(items) => items.iter().all(|item| fits(item, &schema["items"])),
        Value::Object(fields) => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            fields.iter().all(|(name, value)| fits(value, &schema["properties"][name.as_str()]))
                && required.into_iter().all(|name| fields.contains_key(name))
        }
        _ => true,
    };
    typed && among && inside
}

/// Validates and runs a turn. An answer that breaks its schema must be refused first, by a message that names it.
async fn check(id: &str, mut turn: Turn, widened: &mut Vec<String>) -> Result<(), String> {
    let stage = Stage::default();
    let document = document(&turn);
    for (name, arguments) in &turn.calls {
        let Some((_, schema)) = turn.functions.iter_mut().find(|(function, _)| function == name) else {
            return Err(format!("answers with `{name}`, which the turn does not have"));
        };
        while let Some(argument) = misfit(arguments, schema) {
            let strict = stage.engine(vec![(name.clone(), json_schema(schema))])?;
            let one = json!({"calls": [{"id": "c0", "tool": name, "args": literal_value(arguments)}]});
            match validate(&strict, &one) {
                Ok(_) => return Err(format!("`{argument}` breaks its schema and was accepted")),
                Err(problems) if !problems.iter().any(|problem| problem.path.contains(&argument)) => {
                    return Err(format!(
                        "`{argument}` breaks its schema, and no problem is there: {}",
                        told(&problems)
                    ));
                }
                Err(_) => widened.push(format!("`{argument}` of {id}")),
            }
            schema["properties"][argument.as_str()] = json!({});
        }
    }
    let functions = turn.functions.iter().map(|(name, schema)| (name.clone(), json_schema(schema))).collect();
    let engine = stage.engine(functions)?;
    let valid = validate(&engine, &document).map_err(|problems| told(&problems))?;
    let ids: Vec<String> = (0..turn.calls.len()).map(|at| format!("c{at}")).collect();
    let answers: Vec<Value> = (0..turn.calls.len()).map(|at| json!({"answer": at})).collect();
    stage.set(ids.iter().map(String::as_str).zip(&answers));
    let report = run(&engine, valid).await?;
    all_succeeded(&report)?;
    let given: HashMap<String, Value> = stage.given().into_iter().collect();
    if report.calls.len() != turn.calls.len() {
        return Err(format!("{} answers for {} calls", report.calls.len(), turn.calls.len()));
    }
    for (((call, (tool, arguments)), id), answer) in report.calls.iter().zip(&turn.calls).zip(&ids).zip(&answers) {
        let result: Option<Value> = call.result.as_ref().and_then(|result| serde_json::from_str(result.get()).ok());
        if *call.id != **id || *call.tool != **tool || result.as_ref() != Some(answer) {
            return Err(format!("the answer in the place of `{id}` is {} of `{}`", call.id, call.tool));
        }
        match given.get(id) {
            Some(given) if given == arguments => {}
            given => return Err(format!("`{id}` was given {given:?}, right is {arguments}")),
        }
    }
    Ok(())
}

fn document(turn: &Turn) -> Value {
    let call = |(at, (tool, arguments)): (usize, &(String, Value))| json!({"id": format!("c{at}"), "tool": tool, "args": literal_value(arguments)});
    json!({"calls": turn.calls.iter().enumerate().map(call).collect::<Vec<_>>()})
}
