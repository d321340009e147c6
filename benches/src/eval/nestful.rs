//! NESTFUL: 300 plans of tool calls with typed references, run on stubs made from the tools' specifications.
//! Right is what the resolver in `nestful_reading` finds: every argument, every output, value and type.

use crate::nestful_reading::{Step, converted, references, resolved};
use crate::outcome::Row;
use anyhow::{Context, Result};
use fanout_benches::stage::{Stage, all_succeeded, run, runtime, told, validate};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The parts of the set: each with plans and specifications of its own.
const PARTS: [&str; 3] = ["executable", "non-executable-glaive", "non-executable-sgd"];

/// The name of the entry that is not a call but what the plan gives back.
const OUTPUT: &str = "var_result";

#[derive(Deserialize)]
struct PlanRecord {
    output: Vec<CallRecord>,
}

#[derive(Deserialize)]
struct CallRecord {
    name: String,
    arguments: Value,
    label: Option<String>,
}

/// What a specification says of one tool: name to type record, of arguments and of fields of the result.
#[derive(Default)]
struct Specification {
    parameters: Map<String, Value>,
    fields: Map<String, Value>,
}

/// One plan as read here: its calls in order (the n-th is `var<n>`), and what it gives back.
struct Read {
    calls: Vec<(String, Value)>,
    output: Value,
    /// What each call's stub will answer.
    results: BTreeMap<usize, Value>,
}

/// Counts of what the set itself does not keep to.
#[derive(Default)]
struct Remarks {
    mislabelled: usize,
    unspecified_tools: BTreeSet<String>,
    dangling: usize,
    /// Arguments for which some plan of the set breaks its own specification: no type is demanded there.
    loosened: BTreeSet<(String, String)>,
    references: usize,
}

/// Runs every plan of the set.
pub(crate) fn judge(folder: &Path) -> Result<Vec<Row>> {
    let mut row = Row::new("nestful", "every plan runs, every reference right");
    let mut remarks = Remarks::default();
    for part in PARTS {
        let plans: Vec<PlanRecord> = read(folder, &format!("{part}-data.json"))?;
        let specifications = specifications(read(folder, &format!("{part}-spec.json"))?);
        let plans: Vec<Read> = plans.into_iter().map(|plan| understand(plan, &specifications, &mut remarks)).collect();
        runtime()?.block_on(run_part(part, &plans, &specifications, &mut row, &mut remarks))?;
    }
    row.measure("references", remarks.references as f64);
    row.note(remarks.mislabelled > 0, || {
        format!("{} plans give a label twice; the n-th call is taken for var<n> everywhere", remarks.mislabelled)
    });
    row.note(!remarks.unspecified_tools.is_empty(), || {
        format!("{} tools have no specification; their stubs take anything", remarks.unspecified_tools.len())
    });
    row.note(!remarks.loosened.is_empty(), || {
        format!("{} arguments get what their own specification forbids; those are not typed", remarks.loosened.len())
    });
    row.note(remarks.dangling > 0, || {
        format!(
            "{} plans refer to a call they do not have: refused as they should be; where only the output does, run without that entry",
            remarks.dangling
        )
    });
    Ok(vec![row])
}

fn read<T: serde::de::DeserializeOwned>(folder: &Path, name: &str) -> Result<T> {
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// Specifications by name; a tool specified twice has the arguments and fields of both.
fn specifications(records: Vec<Value>) -> BTreeMap<String, Specification> {
    let mut all: BTreeMap<String, Specification> = BTreeMap::new();
    for record in records {
        let Some(name) = record["name"].as_str() else { continue };
        let one = all.entry(name.to_owned()).or_default();
        let groups = ["query_parameters", "path_parameters", "parameters", "arguments"];
        let parameters = groups.iter().filter_map(|group| record[*group].as_object()).flatten();
        for (name, parameter) in parameters {
            one.parameters.entry(name.as_str()).or_insert_with(|| parameter.clone());
        }
        for (name, field) in record["output_parameters"].as_object().into_iter().flatten() {
            one.fields.entry(name.as_str()).or_insert_with(|| field.clone());
        }
    }
    all
}

/// Reads a plan and prepares what its stubs answer: everything specified, and whatever is referred to.
fn understand(plan: PlanRecord, specifications: &BTreeMap<String, Specification>, remarks: &mut Remarks) -> Read {
    let (last, calls): (Vec<_>, Vec<_>) = plan.output.into_iter().partition(|call| call.name == OUTPUT);
    let labels_right =
        calls.iter().enumerate().all(|(at, call)| call.label.as_deref() == Some(&format!("var{}", at + 1)[..]));
    remarks.mislabelled += usize::from(!labels_right);
    let output = last.into_iter().next().map_or(Value::Null, |last| last.arguments);
    let calls: Vec<(String, Value)> = calls.into_iter().map(|call| (call.name, call.arguments)).collect();
    let mut results: BTreeMap<usize, Value> = BTreeMap::new();
    for (at, (tool, _)) in calls.iter().enumerate() {
        let empty = Specification::default();
        let specification = specifications.get(tool).unwrap_or_else(|| {
            remarks.unspecified_tools.insert(tool.clone());
            &empty
        });
        results.insert(at + 1, object(&specification.fields, &format!("var{}", at + 1)));
    }
    for value in calls.iter().map(|(_, arguments)| arguments).chain([&output]) {
        for reference in references(value) {
            remarks.references += 1;
            if let Some(result) = results.get_mut(&reference.call) {
                ensure(result, &reference.path, &format!("var{}", reference.call));
            }
        }
    }
    Read { calls, output, results }
}

/// A result with these fields, each of its type and each with a value of its own.
fn object(fields: &Map<String, Value>, place: &str) -> Value {
    fields.iter().map(|(name, field)| (name.clone(), sample(field, &format!("{place}.{name}")))).collect()
}

/// A value of this type that tells where it stands. Texts look like references: a result is never read as a plan.
fn sample(record: &Value, place: &str) -> Value {
    let number = place.bytes().fold(7_u64, |hash, byte| (hash * 31 + u64::from(byte)) % 9_973);
    match kind(record) {
        Some("number") => json!(number as f64 + 0.25),
        Some("integer") => json!(number),
        Some("boolean") => json!(number % 2 == 0),
        Some("object") => object(record["properties"].as_object().unwrap_or(&Map::new()), place),
        Some("array") => match record.get("items") {
            Some(items) => (0..3).map(|at| sample(items, &format!("{place}[{at}]"))).collect(),
            None => json!([format!("{place}[0]"), format!("{place}[1]")]),
        },
        _ => json!(format!("{place} ${{var1}} $var1$ \"ü\"")),
    }
}

/// The JSON type a specification means: it says `Number`, `float`, `Date (yyyy-mm-dd)`, `Enum`.
fn kind(record: &Value) -> Option<&'static str> {
    let told = record.as_str().or_else(|| record.get("type")?.as_str())?.to_lowercase();
    match told.split(' ').next()? {
        "string" | "enum" | "date" | "file" => Some("string"),
        "number" | "float" => Some("number"),
        "integer" => Some("integer"),
        "boolean" => Some("boolean"),
        "array" => Some("array"),
        "object" => Some("object"),
        _ => None,
    }
}

/// Makes a place in a result exist when the specification does not tell of it.
fn ensure(value: &mut Value, path: &[Step], place: &str) {
    let Some((step, rest)) = path.split_first() else { return };
    match step {
        Step::Field(field) => {
            let place = format!("{place}.{field}");
            if !value.is_object() {
                *value = json!({});
            }
            if value.get(field).is_none() {
                value[field] = sample(&Value::Null, &place);
            }
            ensure(&mut value[field], rest, &place);
        }
        Step::Index(index) => {
            let place = format!("{place}[{index}]");
            if !value.is_array() {
                *value = json!([]);
            }
            if let Value::Array(items) = value {
                while items.len() <= *index {
                    items.push(sample(&Value::Null, &format!("{place}[{}]", items.len())));
                }
                ensure(&mut items[*index], rest, &place);
            }
        }
    }
}

/// Runs the plans of one part on one engine.
async fn run_part(
    part: &str,
    plans: &[Read],
    specifications: &BTreeMap<String, Specification>,
    row: &mut Row,
    remarks: &mut Remarks,
) -> Result<()> {
    let mut uses: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for plan in plans {
        for (tool, arguments) in &plan.calls {
            // What refers to nothing is never given to a stub: its plan is refused.
            uses.entry(tool).or_default().extend(resolved(arguments, &plan.results));
        }
    }
    let empty = Specification::default();
    let tools = uses
        .iter()
        .map(|(tool, uses)| {
            ((*tool).to_owned(), schema(tool, specifications.get(*tool).unwrap_or(&empty), uses, remarks))
        })
        .collect();
    let stage = Stage::default();
    let engine = stage.engine(tools).map_err(anyhow::Error::msg)?;
    for (at, plan) in plans.iter().enumerate() {
        row.count(&format!("{part} {at}"), check(&engine, &stage, plan, remarks).await);
    }
    Ok(())
}

/// The schema of a stub's arguments: as specified, except where uses of the set itself break it.
fn schema(tool: &str, specification: &Specification, uses: &[Value], remarks: &mut Remarks) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, parameter) in &specification.parameters {
        let Some(kind) = kind(parameter) else { continue };
        let fits = |value: &Value| match kind {
            "string" => value.is_string(),
            "number" => value.is_number(),
            "integer" => value.is_i64() || value.is_u64(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            _ => value.is_object(),
        };
        let typed = uses.iter().filter_map(|arguments| arguments.get(name)).all(fits);
        let needed = parameter["required"].as_bool() == Some(true);
        let given = uses.iter().all(|arguments| arguments.get(name).is_some());
        properties.insert(name.clone(), if typed { json!({"type": kind}) } else { json!(true) });
        if needed && given {
            required.push(json!(name));
        }
        if !typed || needed && !given {
            remarks.loosened.insert((tool.to_owned(), name.clone()));
        }
    }
    json!({"type": "object", "properties": properties, "required": required})
}

/// Runs one plan and compares all that its stubs were given, and its output, with what is right.
async fn check(engine: &fanout::Engine, stage: &Stage, plan: &Read, remarks: &mut Remarks) -> Result<(), String> {
    let mut output = plan.output.clone();
    let missing = |value: &Value| {
        let all = references(value).into_iter().filter(|reference| reference.call > plan.calls.len());
        all.map(|reference| format!("var{}", reference.call)).collect::<Vec<_>>()
    };
    let in_calls: Vec<String> = plan.calls.iter().flat_map(|(_, arguments)| missing(arguments)).collect();
    let dangling = [in_calls.clone(), missing(&output)].concat();
    if !dangling.is_empty() {
        remarks.dangling += 1;
        refused(engine, &document(plan, &output), &dangling)?;
        if !in_calls.is_empty() {
            return Ok(());
        }
        if let Some(fields) = output.as_object_mut() {
            fields.retain(|_, value| missing(value).is_empty());
        }
    }
    let valid = validate(engine, &document(plan, &output)).map_err(|problems| told(&problems))?;
    let ids: Vec<String> = plan.results.keys().map(|call| format!("var{call}")).collect();
    stage.set(ids.iter().map(String::as_str).zip(plan.results.values()));
    let report = run(engine, valid).await?;
    all_succeeded(&report)?;
    let mut given: BTreeMap<String, Value> = BTreeMap::new();
    for (call, args) in stage.given() {
        if given.insert(call.clone(), args).is_some() {
            return Err(format!("`{call}` was called twice"));
        }
    }
    for (id, (_, arguments)) in ids.iter().zip(&plan.calls) {
        let right = resolved(arguments, &plan.results)?;
        let was = given.get(id).ok_or_else(|| format!("`{id}` was not called"))?;
        if *was != right {
            return Err(format!("`{id}` was given {was}, right is {right}"));
        }
    }
    let right = resolved(&output, &plan.results)?;
    let was: Value =
        report.output.as_ref().and_then(|output| serde_json::from_str(output.get()).ok()).unwrap_or(Value::Null);
    if was == right { Ok(()) } else { Err(format!("the output is {was}, right is {right}")) }
}

/// The plan as a document of fanout's.
fn document(plan: &Read, output: &Value) -> Value {
    let call = |(at, (tool, arguments)): (usize, &(String, Value))| json!({"id": format!("var{}", at + 1), "tool": tool, "args": converted(arguments)});
    json!({"calls": plan.calls.iter().enumerate().map(call).collect::<Vec<_>>(), "output": converted(output)})
}

/// A plan that refers to what is not there must be refused by a message that names it.
fn refused(engine: &fanout::Engine, document: &Value, names: &[String]) -> Result<(), String> {
    let Err(problems) = validate(engine, document) else { return Err(format!("refers to {names:?} and was accepted")) };
    match names.iter().find(|name| !problems.iter().any(|problem| problem.message.contains(name.as_str()))) {
        None => Ok(()),
        Some(name) => Err(format!("`{name}` is not there, and no message names it: {}", told(&problems))),
    }
}
