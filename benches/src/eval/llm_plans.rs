//! 1,971 plans written by small language models: each runs, or is refused for what is wrong with it.
//! It does not know how a plan is validated; what is wrong comes from `llm_reading`.

use crate::llm_reading::{Fault, Record, id};
use crate::outcome::Row;
use anyhow::{Context, Result};
use fanout::{Diagnostic, Engine};
use fanout_benches::stage::{Stage, all_succeeded, run, runtime, told, validate};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

/// The worlds, each with tools of its own, and the models that wrote plans for it.
const WORLDS: [&str; 2] = ["huggingface", "multimedia"];
const MODELS: [&str; 2] = ["CodeLlama-13b", "mistral-7b"];

#[derive(Deserialize)]
struct Tools {
    nodes: Vec<ToolRecord>,
}

#[derive(Deserialize)]
struct ToolRecord {
    id: String,
}

/// How the plans went.
#[derive(Default)]
struct Counts {
    ran: usize,
    refused: usize,
    unknown_tool: usize,
    arguments: usize,
    dangling: usize,
    itself: usize,
    cycle: usize,
}

/// Runs or has refused every plan.
pub(crate) fn judge(folder: &Path) -> Result<Vec<Row>> {
    let mut row = Row::new("llm_plans", "runs, or is refused for its own faults");
    let mut counts = Counts::default();
    for world in WORLDS {
        let tools: Tools = serde_json::from_str(&text(folder, &format!("data_{world}_tool_desc.json"))?)?;
        let tools: HashSet<String> = tools.nodes.into_iter().map(|tool| tool.id).collect();
        for model in MODELS {
            let name = format!("prediction_{world}_{model}_direct.json");
            let text = text(folder, &name)?;
            let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
            runtime()?.block_on(judge_file(&format!("{world} {model}"), &lines, &tools, &mut row, &mut counts))?;
        }
    }
    row.measure("ran", counts.ran as f64);
    row.measure("refused", counts.refused as f64);
    for (name, count) in [
        ("unknown tool", counts.unknown_tool),
        ("cycle", counts.cycle),
        ("self reference", counts.itself),
        ("dangling", counts.dangling),
        ("arguments", counts.arguments),
    ] {
        row.measure(name, count as f64);
    }
    Ok(vec![row])
}

fn text(folder: &Path, name: &str) -> Result<String> {
    let path = folder.join(name);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

async fn judge_file(
    name: &str,
    lines: &[&str],
    tools: &HashSet<String>,
    row: &mut Row,
    counts: &mut Counts,
) -> Result<()> {
    let stage = Stage::default();
    let schema = json!({"type": "object", "properties": {"arguments": {"type": "array"}}, "required": ["arguments"]});
    let sorted: BTreeSet<&String> = tools.iter().collect();
    let stubs = sorted.into_iter().map(|tool| (tool.clone(), schema.clone())).collect();
    let engine = stage.engine(stubs).map_err(anyhow::Error::msg)?;
    for (at, line) in lines.iter().enumerate() {
        let case = format!("{name}, line {}", at + 1);
        let Ok(record) = serde_json::from_str::<Record>(line) else {
            counts.refused += 1;
            let refused =
                refusal(|| engine.validate(fanout::Plan::read("plan.json", line.as_bytes())?, serde_json::Map::new()));
            row.count(&case, refused.map(drop));
            continue;
        };
        let faults = record.faults(tools);
        let result = if faults.is_empty() {
            counts.ran += 1;
            // In a spawned future, so that a panic ends this plan and is told.
            let (engine, stage) = (engine.clone(), stage.clone());
            let ran = tokio::spawn(async move { runs(&engine, &stage, &record).await }).await;
            ran.unwrap_or_else(|panic| Err(format!("panicked: {panic}")))
        } else {
            counts.refused += 1;
            counts.count(&faults);
            let document = record.document();
            refusal(|| validate(&engine, &document)).and_then(|problems| refused_rightly(&faults, &problems))
        };
        row.count(&case, result);
    }
    Ok(())
}

/// What a plan is refused for; an error when it is accepted or when that panics.
fn refusal(validate: impl FnOnce() -> Result<fanout::ValidPlan, Vec<Diagnostic>>) -> Result<Vec<Diagnostic>, String> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(validate)) {
        Ok(Err(problems)) => Ok(problems),
        Ok(Ok(_)) => Err("accepted in spite of its faults".to_owned()),
        Err(_) => Err("validation panicked".to_owned()),
    }
}

/// Runs a plan without faults and compares what its stubs were given with what is right.
async fn runs(engine: &Engine, stage: &Stage, record: &Record) -> Result<(), String> {
    let valid = validate(engine, &record.document()).map_err(|problems| format!("refused: {}", told(&problems)))?;
    let answers = record.answers();
    let ids: Vec<String> = (0..record.calls()).map(id).collect();
    stage.set(ids.iter().map(String::as_str).zip(&answers));
    let report = run(engine, valid).await?;
    all_succeeded(&report)?;
    let given = stage.given();
    if given.len() != ids.len() {
        return Err(format!("{} attempts for {} calls", given.len(), ids.len()));
    }
    let given: HashMap<String, Value> = given.into_iter().collect();
    for (id, right) in ids.iter().zip(record.given(&answers)) {
        match given.get(id) {
            Some(was) if *was == right => {}
            was => return Err(format!("`{id}` was given {was:?}, right is {right}")),
        }
    }
    Ok(())
}

/// Every fault is named by an error about it, and every error is about a fault.
fn refused_rightly(faults: &BTreeSet<Fault>, problems: &[Diagnostic]) -> Result<(), String> {
    for fault in faults {
        if !problems.iter().any(|problem| tells(problem, fault)) {
            return Err(format!("no message names {fault:?}: {}", told(problems)));
        }
    }
    match problems.iter().find(|problem| !faults.iter().any(|fault| tells(problem, fault))) {
        None => Ok(()),
        Some(problem) => {
            Err(format!("a fault that is none: {} ({}); faults are {faults:?}", problem.message, problem.code))
        }
    }
}

/// Whether a diagnostic is about this fault and names it.
fn tells(problem: &Diagnostic, fault: &Fault) -> bool {
    let message = &problem.message;
    match fault {
        Fault::UnknownTool(tool) => problem.code == "unknown_tool" && message.contains(&format!("`{tool}`")),
        Fault::Arguments(_) => problem.code == "bad_args" && message.contains("arguments"),
        Fault::Dangling(name) => problem.code == "unknown_reference" && message.contains(name),
        Fault::Itself(call) => problem.code == "self_reference" && words(message).any(|word| word == call),
        Fault::Cycle(calls) => {
            // The cycle is spelled out: all that it names is on a cycle.
            problem.code == "cycle"
                && message.contains('→')
                && calls.iter().any(|call| message.contains(call))
                && words(message).all(|word| !word.starts_with("node_") || calls.iter().any(|call| call == word))
        }
    }
}

fn words(message: &str) -> impl Iterator<Item = &str> {
    message.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

impl Counts {
    fn count(&mut self, faults: &BTreeSet<Fault>) {
        let any = |is: fn(&Fault) -> bool| usize::from(faults.iter().any(is));
        self.unknown_tool += any(|fault| matches!(fault, Fault::UnknownTool(_)));
        self.arguments += any(|fault| matches!(fault, Fault::Arguments(_)));
        self.dangling += any(|fault| matches!(fault, Fault::Dangling(_)));
        self.itself += any(|fault| matches!(fault, Fault::Itself(_)));
        self.cycle += any(|fault| matches!(fault, Fault::Cycle(_)));
    }
}
