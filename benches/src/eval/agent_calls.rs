//! Calls that coding agents emitted together, replayed in scaled time against the same calls one by one.
//! It does not know what the calls did: a stub sleeps as long as the call took, scaled.

use crate::agent_cache;
use crate::agent_effects::{Shell, conflict, declared, declared_for_call, touched};
use crate::outcome::Row;
use anyhow::{Context, Result};
use fanout::{Attempt, EffectsSpec, Engine, Tool, ToolFuture, ToolOutput, Toolbox, ToolboxSpec};
use fanout_benches::stage::{all_succeeded, engine, literal_value, run, runtime, spec, validate};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How much faster than life the calls are replayed.
const FASTER: f64 = 100.0;

/// The longest a call lasts in life; a few took minutes and would be all that is measured.
const SECONDS_MAX: f64 = 10.0;

/// What the engine may take on top for each call, on a machine that does other things too.
const OVERHEAD_MAX: Duration = Duration::from_millis(1);

#[derive(Deserialize)]
pub(crate) struct Record {
    pub(crate) run: String,
    pub(crate) task: String,
    message: String,
    pub(crate) tool: String,
    t_emit: f64,
    t_result: f64,
    pub(crate) input: Value,
}

/// How long each call of the current message sleeps, and what happened: `(call, whether it began)`.
#[derive(Default)]
struct Replay {
    durations: Vec<Duration>,
    happened: Vec<(usize, bool)>,
}

#[derive(Clone, Default)]
struct Sleeper(Arc<Mutex<Replay>>);

impl Sleeper {
    fn lock(&self) -> MutexGuard<'_, Replay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps as long as the call took, noting begin and end.
    async fn sleep(&self, call: usize) {
        let duration = {
            let mut replay = self.lock();
            replay.happened.push((call, true));
            replay.durations.get(call).copied().unwrap_or_default()
        };
        tokio::time::sleep(duration).await;
        self.lock().happened.push((call, false));
    }
}

impl Tool for Sleeper {
    fn call(&self, attempt: Attempt) -> ToolFuture {
        let sleeper = self.clone();
        Box::pin(async move {
            let call = attempt.id.call.strip_prefix('c').and_then(|number| number.parse().ok());
            sleeper.sleep(call.unwrap_or(usize::MAX)).await;
            Ok(ToolOutput::new(RawValue::NULL.to_owned().into()))
        })
    }
}

/// A row per way to declare the shell.
pub(crate) fn judge(folder: &Path) -> Result<Vec<Row>> {
    let path = folder.join("calls.jsonl");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut messages: Vec<Vec<Record>> = Vec::new();
    let mut places: HashMap<(String, String, String), usize> = HashMap::new();
    for line in text.lines() {
        let record: Record = serde_json::from_str(line).with_context(|| path.display().to_string())?;
        let name = (record.run.clone(), record.task.clone(), record.message.clone());
        let place = *places.entry(name).or_insert_with(|| {
            messages.push(Vec::new());
            messages.len() - 1
        });
        messages[place].push(record);
    }
    let mut cached = Row::new("agent_calls, cache on".to_owned(), "what is handed on is what one by one reads");
    runtime()?.block_on(agent_cache::judge(&messages, &mut cached))?;
    messages.retain(|calls| calls.len() > 1);
    let mut rows = vec![cached];
    for (shell, name) in [
        (Shell::WritesAll, "Bash writes *"),
        (Shell::ReadersTold, "Bash readers told"),
        (Shell::None, "Bash effects none"),
    ] {
        let mut row = Row::new(format!("agent_calls, {name}"), "conflicts in order, no slower than one by one");
        runtime()?.block_on(replay(&messages, shell, &mut row))?;
        rows.push(row);
    }
    Ok(rows)
}

async fn replay(messages: &[Vec<Record>], shell: Shell, row: &mut Row) -> Result<()> {
    let sleeper = Sleeper::default();
    let names: BTreeSet<&str> = messages.iter().flatten().map(|call| call.tool.as_str()).collect();
    let tools = names.iter().map(|name| spec(name, json!({"type": "object"}), Some(declared(name)))).collect();
    let adapters = names.iter().map(|_| Arc::new(sleeper.clone()) as Arc<dyn Tool>).collect();
    let spec = ToolboxSpec { name: "agent".into(), tools, ..ToolboxSpec::default() };
    let engine = engine([Toolbox::new(spec, adapters)]).map_err(anyhow::Error::msg)?;
    let (mut together, mut one_by_one, mut conflicts) = (Duration::ZERO, Duration::ZERO, 0);
    for calls in messages {
        let result = message(&engine, &sleeper, calls, shell, &mut conflicts).await.map(|took| together += took);
        row.count(&calls[0].message, result);
        let begin = Instant::now();
        for call in 0..calls.len() {
            sleeper.sleep(call).await;
        }
        one_by_one += begin.elapsed();
    }
    let speed_up = one_by_one.as_secs_f64() / together.as_secs_f64();
    row.measure("speed-up", speed_up);
    row.measure("seconds together", together.as_secs_f64());
    row.measure("one by one", one_by_one.as_secs_f64());
    row.measure("calls", messages.iter().map(Vec::len).sum::<usize>() as f64);
    row.measure("conflicts kept in order", conflicts as f64);
    let calls = messages.iter().map(Vec::len).sum::<usize>();
    let most = one_by_one + OVERHEAD_MAX * u32::try_from(calls).unwrap_or(u32::MAX);
    row.require(together <= most, || format!("{together:?} together, {one_by_one:?} one by one"));
    row.note(true, || format!("times are 1/{FASTER:.0} of life; a call lasts at most {SECONDS_MAX:.0} s in life"));
    Ok(())
}

/// Replays the calls of one message and checks the order of those that conflict.
async fn message(
    engine: &Engine,
    sleeper: &Sleeper,
    calls: &[Record],
    shell: Shell,
    conflicts: &mut usize,
) -> Result<Duration, String> {
    let lasts = |call: &Record| Duration::from_secs_f64((call.t_result - call.t_emit).clamp(0.0, SECONDS_MAX) / FASTER);
    *sleeper.lock() = Replay { durations: calls.iter().map(lasts).collect(), happened: Vec::new() };
    let document: Vec<Value> = calls
        .iter()
        .enumerate()
        .map(|(at, call)| {
            let mut document = json!({"id": format!("c{at}"), "tool": call.tool, "args": literal_value(&call.input)});
            if let Some(EffectsSpec { reads, .. }) = declared_for_call(&call.tool, &call.input, shell) {
                document["effects"] = if reads.is_empty() { json!("none") } else { json!({"reads": reads}) };
            }
            document
        })
        .collect();
    let begin = Instant::now();
    let valid =
        validate(engine, &json!({"calls": document})).map_err(|problems| fanout_benches::stage::told(&problems))?;
    let report = run(engine, valid).await?;
    let took = begin.elapsed();
    all_succeeded(&report)?;
    let happened = std::mem::take(&mut sleeper.lock().happened);
    let moment = |call: usize, began: bool| happened.iter().position(|event| *event == (call, began));
    let touched: Vec<_> = calls.iter().map(|call| touched(&call.tool, &call.input, shell)).collect();
    for (second, resources) in touched.iter().enumerate() {
        for first in (0..second).filter(|first| conflict(&touched[*first], resources)) {
            *conflicts += 1;
            let (end, begin) = (moment(first, false), moment(second, true));
            if end.is_none() || begin.is_none() || end > begin {
                return Err(format!("c{first} and c{second} conflict and did not run in order: {happened:?}"));
            }
        }
    }
    Ok(took)
}
