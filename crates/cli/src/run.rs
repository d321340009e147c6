//! `fanout run` and `fanout call`: runs to the end, prints what it gave, and says how it went.
//! It does not know how a run is followed on the screen.

use crate::account::account;
use crate::args::{CallArgs, Limits, RunArgs, When};
use crate::follow::{Followed, Progress, follow};
use crate::load::{self, Changes, Loaded, Refused};
use crate::text::{self, Paint};
use crate::{diagnostics, exit, json, targets};
use fanout::{Call, Diagnostic, Outcome, Plan, Report, RunOutcome};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::io::{BufWriter, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

/// `fanout run`.
pub(crate) async fn run(args: &RunArgs, color: When) -> Result<ExitCode, Refused> {
    let paint = Paint::choose(color, text::stderr_is_terminal());
    let deadline = args.deadline.as_deref().map(deadline).transpose()?;
    let Loaded { engine, plan, texts } = load::load(&args.source, &Changes { deadline, seed: args.seed })?;
    let (_, columns) = text::terminal_size();
    if !plan.warnings.is_empty() {
        text::say(&diagnostics::render(&plan.warnings, &texts, columns, paint));
    }
    let targets = targets::open(args, texts.names())?;
    drop(texts);
    let progress = match () {
        () if args.no_progress => Progress::Failures,
        () if text::stderr_is_terminal() && !text::is_dumb() => Progress::Live,
        () => Progress::Lines,
    };
    let has_output = plan.output.is_some();
    let forgiven =
        plan.calls.iter().filter(|call| call.on_failure_value.is_some()).map(|call| call.id.clone()).collect();
    let followed = follow(|| engine.run(plan), progress, paint, forgiven, targets.events).await;
    let Followed { report, killed_by } = followed.map_err(|error| format!("cannot listen to signals: {error}"))?;
    // From here on nothing of it runs; what is left behind is ended before the account, not after.
    drop(engine);
    if !targets.on_stdout {
        print_output(&output(&report, has_output), args.raw);
    }
    text::say(&account(&report, columns, paint));
    if let Some(to) = targets.report {
        write_report(to, &report).unwrap_or_else(|error| text::lose("the report", &error));
    }
    Ok(exit_code(&report, killed_by))
}

fn deadline(text: &str) -> Result<std::time::Duration, Refused> {
    fanout::plan::read_duration(text)
        .ok_or_else(|| Refused::Usage(format!("--deadline {text}: write a time such as 90s, 10m or 1h30m")))
}

/// `fanout call`: a plan of one call.
pub(crate) async fn call(args: &CallArgs, color: When) -> Result<ExitCode, Refused> {
    let paint = Paint::choose(color, text::stderr_is_terminal());
    let (toolboxes, catalog) = load::load_tools(&args.tools)?;
    let schema = Some(load::tool(&catalog, &args.tool)?.spec.args_schema.clone());
    let mut given = match &args.args {
        None => Map::new(),
        Some(text) => serde_json::from_str(text).map_err(|error| format!("--args is not a JSON object: {error}"))?,
    };
    for (name, text) in &args.arg {
        let property = schema.as_ref().and_then(|schema| schema.get("properties")?.get(name));
        if given.insert(name.clone(), load::value(text, property)).is_some() {
            return Err(Refused::Usage(format!("the argument `{name}` is given twice")));
        }
    }
    let invalid = |problems| Refused::Invalid(told(problems), diagnostics::Texts::default());
    let engine = load::engine(toolboxes, &Limits::default(), None).map_err(invalid)?;
    // What is given here is data: nothing in it refers to anything.
    let plan =
        Plan::new(args.tool.as_str()).call(Call::new("result", args.tool.as_str()).args(literal(Value::Object(given))));
    let valid = engine.validate(plan, Map::new()).map_err(invalid)?;
    let progress = if text::stderr_is_terminal() && !text::is_dumb() { Progress::Live } else { Progress::Failures };
    let followed = follow(|| engine.run(valid), progress, paint, HashSet::new(), None).await;
    let Followed { report, killed_by } = followed.map_err(|error| format!("cannot listen to signals: {error}"))?;
    drop(engine);
    match report.calls.first().and_then(|call| call.result.as_ref()) {
        Some(result) => print_output(result.get(), args.raw),
        None => text::say(&account(&report, text::terminal_size().1, paint)),
    }
    Ok(exit_code(&report, killed_by))
}

/// Problems of a call that stands in no plan: their places in one would say nothing.
fn told(problems: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let place = |path: &str| path.strip_prefix("calls[0].args.").unwrap_or_default().to_owned();
    problems.into_iter().map(|problem| Diagnostic { path: place(&problem.path), ..problem }).collect()
}

/// A value in which nothing is read as a reference.
fn literal(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace("${", "$${")),
        Value::Array(items) => Value::Array(items.into_iter().map(literal).collect()),
        Value::Object(map) => Value::Object(map.into_iter().map(|(name, value)| (name, literal(value))).collect()),
        other => other,
    }
}

fn write_report(to: Box<dyn Write + Send>, report: &Report) -> std::io::Result<()> {
    let mut writer = BufWriter::new(to);
    serde_json::to_writer_pretty(&mut writer, report)?;
    writer.write_all(b"\n")?;
    writer.flush()
}

/// The plan's output; where it has none, all results by id.
fn output(report: &Report, has_output: bool) -> String {
    match (&report.output, has_output) {
        (Some(output), _) => output.get().to_string(),
        (None, true) => "null".to_string(),
        (None, false) => {
            // Elements are in the results of their `foreach` calls. Ids have no brackets of their own.
            let calls = report.calls.iter().filter(|call| !call.id.contains('['));
            let null = || RawValue::from_string("null".to_string()).map(Arc::from);
            let results: Vec<(&str, Option<Arc<RawValue>>)> =
                calls.map(|call| (call.id.as_ref(), call.result.clone().or_else(|| null().ok()))).collect();
            object(&results)
        }
    }
}

/// An object of ready values.
fn object(entries: &[(&str, Option<Arc<RawValue>>)]) -> String {
    let entries: Vec<String> = entries
        .iter()
        .map(|(name, value)| format!("{}:{}", Value::from(*name), value.as_ref().map_or("null", |v| v.get())))
        .collect();
    format!("{{{}}}", entries.join(","))
}

fn print_output(output: &str, raw: bool) {
    let terminal = std::io::stdout().is_terminal();
    let string = if raw { serde_json::from_str::<String>(output).ok() } else { None };
    let text = match string {
        Some(string) if terminal => text::block(&string, "", usize::MAX),
        Some(string) => string + "\n",
        None if terminal => json::pretty(output) + "\n",
        None => json::compact(output) + "\n",
    };
    text::print(&text);
}

/// What the exit code says of a run.
fn exit_code(report: &Report, killed_by: Option<u8>) -> ExitCode {
    let unfinished = report.calls.iter().any(|call| call.outcome == Outcome::Cancelled);
    match (killed_by, report.outcome) {
        (Some(number), RunOutcome::Cancelled) => ExitCode::from(128 + number),
        (Some(number), _) if unfinished => ExitCode::from(128 + number),
        (_, RunOutcome::Succeeded) => ExitCode::SUCCESS,
        (_, RunOutcome::Failed) => ExitCode::from(exit::FAILED),
        (_, RunOutcome::Cancelled) => ExitCode::from(exit::CANCELLED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_given_to_a_call_is_not_read_as_references() {
        assert_eq!(literal(json!({"a": ["${x}", 1]})), json!({"a": ["$${x}", 1]}));
    }
}
