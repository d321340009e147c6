//! Calls that coding agents emitted, replayed with results handed on, against what running them one by one reads.
//! It does not know what the calls did: a read gives how often what it reads had been written.

use crate::agent_calls::Record;
use crate::agent_effects::{Shell, conflict, declared, declared_for_call, touched};
use crate::outcome::Row;
use anyhow::Result;
use fanout::{Attempt, CacheCounts, EffectsSpec, Tool, ToolFuture, ToolOutput, Toolbox, ToolboxSpec};
use fanout_benches::stage::{all_succeeded, engine, literal_value, run, spec, validate};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// What a call touches, and whether it writes that.
type Touch = (Vec<String>, bool);

/// What was written so far, and what the calls of the current message touch.
#[derive(Clone, Default)]
struct World(Arc<Mutex<(Vec<Touch>, Vec<Touch>)>>);

/// What a call gives: of a read, how often what it reads had been written.
fn touch(written: &mut Vec<Touch>, what: &Touch) -> usize {
    let count = written.iter().filter(|other| conflict(other, what)).count();
    if what.1 {
        written.push(what.clone());
        return 0;
    }
    count
}

impl Tool for World {
    fn call(&self, attempt: Attempt) -> ToolFuture {
        let world = self.clone();
        Box::pin(async move {
            let call = attempt.id.call.strip_prefix('c').and_then(|number| number.parse::<usize>().ok());
            tokio::task::yield_now().await;
            let mut world = world.0.lock().unwrap_or_else(PoisonError::into_inner);
            let (written, calls) = &mut *world;
            let given = call.and_then(|call| calls.get(call)).map_or(0, |what| touch(written, what));
            Ok(ToolOutput::new(to_raw_value(&given).unwrap_or_default().into()))
        })
    }
}

/// All messages of each task, through one engine that hands results on.
pub(crate) async fn judge(messages: &[Vec<Record>], row: &mut Row) -> Result<()> {
    let mut tasks: BTreeMap<(&str, &str), Vec<&Vec<Record>>> = BTreeMap::new();
    for calls in messages.iter().filter(|calls| !calls.is_empty()) {
        tasks.entry((&calls[0].run, &calls[0].task)).or_default().push(calls);
    }
    let mut total = CacheCounts::default();
    for ((_, task), messages) in tasks {
        let result = replay(&messages, &mut total).await;
        row.count(task, result);
    }
    row.measure("hits", total.hits as f64);
    row.measure("joined", total.joined as f64);
    row.measure("misses", total.misses as f64);
    row.measure("dropped by writes", total.dropped as f64);
    row.require(total.hits + total.joined > 0, || "nothing was handed on".to_owned());
    Ok(())
}

async fn replay(messages: &[&Vec<Record>], total: &mut CacheCounts) -> Result<(), String> {
    let world = World::default();
    let names: BTreeSet<&str> = messages.iter().flat_map(|calls| calls.iter()).map(|call| call.tool.as_str()).collect();
    let tools = names.iter().map(|name| spec(name, json!({"type": "object"}), Some(declared(name)))).collect();
    let adapters = names.iter().map(|_| Arc::new(world.clone()) as Arc<dyn Tool>).collect();
    let engine =
        engine([Toolbox::new(ToolboxSpec { name: "agent".into(), tools, ..ToolboxSpec::default() }, adapters)])?;
    let mut truth = Vec::new();
    for calls in messages {
        let touches: Vec<Touch> =
            calls.iter().map(|call| touched(&call.tool, &call.input, Shell::ReadersTold)).collect();
        world.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone_from(&touches);
        let document: Vec<Value> = calls.iter().enumerate().map(|(at, call)| document(at, call)).collect();
        let valid = validate(&engine, &json!({"calls": document}))
            .map_err(|problems| fanout_benches::stage::told(&problems))?;
        let report = run(&engine, valid).await?;
        all_succeeded(&report)?;
        total.add(&report.cache.as_ref().map(|cache| cache.total).unwrap_or_default());
        for (what, call) in touches.iter().zip(&report.calls) {
            let expected = touch(&mut truth, what).to_string();
            let given = call.result.as_ref().map(|result| result.get());
            if given != Some(&expected) {
                let how = if call.reused { "handed" } else { "given" };
                return Err(format!("{} was {how} {given:?}, one by one it is {expected}", call.id));
            }
        }
    }
    Ok(())
}

fn document(at: usize, call: &Record) -> Value {
    let mut document = json!({"id": format!("c{at}"), "tool": call.tool, "args": literal_value(&call.input)});
    let own = declared_for_call(&call.tool, &call.input, Shell::ReadersTold);
    if let Some(EffectsSpec { reads, .. }) = &own {
        document["effects"] = json!({"reads": reads});
    }
    if own.unwrap_or_else(|| declared(&call.tool)).writes.is_empty() {
        document["cache"] = json!({"scope": "engine"});
    }
    document
}
