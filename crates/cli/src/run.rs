//! `fanout run`, `resume` and `call`: runs to the end, prints what it gave, and says how it went.
//! It does not know how a run is followed on the screen.

use crate::account::account;
use crate::args::{CallArgs, Outputs, ResumeArgs, RunArgs, When};
use crate::ask::Asker;
use crate::changed::{self, Changed};
use crate::follow::{Followed, Following, Progress, Signals, follow};
use crate::load::{self, Changes, Given, Kept, Loaded, Refused};
use crate::peer::{Heard, Terminal};
use crate::targets::Targets;
use crate::text::{self, Paint};
use crate::{answer, diagnostics, durable, exit, json, pictures, targets};
use fanout::state::{CacheBounds, Reader, is_held};
use fanout::{
    Call, Diagnostic, DoubtAnswer, Durable, Engine, Outcome, Peer, Plan, RecordedRun, Report, Resume, RunHandle,
    RunOptions, RunOutcome, Started, ValidPlan,
};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashSet};
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// `fanout run`.
pub(crate) async fn run(args: &RunArgs, color: When) -> Result<ExitCode, Refused> {
    let paint = Paint::choose(color, text::stderr_is_terminal());
    let deadline = args.deadline.as_deref().map(deadline).transpose()?;
    let state = match args.durable || args.key.is_some() {
        true => Some(durable::state_dir(&args.state)?),
        false => None,
    };
    let given = Given::read(&args.source, Changes { deadline, seed: args.seed })?;
    let bounds = args.cache.bounds();
    let kept = state.as_deref().map_or(Kept::Results(&args.state, bounds), |state| Kept::Run(state, bounds));
    let (Loaded { engine, plan, texts }, record) = given.load(&kept).await?;
    if !plan.warnings.is_empty() {
        text::say(&diagnostics::render(&plan.warnings, &texts, text::terminal_size().1, paint));
    }
    let targets = targets::open(&args.outputs, texts.names())?;
    drop(texts);
    let shown = Shown::new(&plan, &args.outputs, targets, paint, state);
    let signals = Signals::listen()?;
    let (Some(record), Some(state)) = (record, shown.state.clone()) else {
        let attended = shown.asker.is_some();
        let options = RunOptions { attended, cache: !args.no_cache, peer: shown.peer(), ..RunOptions::default() };
        let run = engine.start(plan, options);
        return Ok(shown.follow(signals, run, engine).await);
    };
    let record = args.key.iter().fold(record, Durable::key);
    let options = RunOptions { cache: !args.no_cache, peer: shown.peer(), ..RunOptions::default() };
    match engine.start_durable(plan, options, record).await? {
        Started::New(run) => {
            text::say(&paint.dim(&format!("run {}\n", run.id())));
            Ok(shown.follow(signals, run, engine).await)
        }
        Started::There(info) => {
            let id = &info.id;
            if info.state.is_ended() {
                text::say(&paint.dim(&format!("run {id} has ended; this is what it gave\n")));
                return shown.tell(&state, id);
            }
            Err(Refused::There(match is_held(&Reader::open(&state)?, id) {
                true => format!("the run of this key is there and goes on in another process: {id}"),
                false => format!("the run of this key was interrupted; `fanout resume {id}` goes on with it"),
            }))
        }
    }
}

/// `fanout resume`.
pub(crate) async fn resume(args: &ResumeArgs, color: When) -> Result<ExitCode, Refused> {
    let paint = Paint::choose(color, text::stderr_is_terminal());
    let state = durable::state_dir(&args.name.state)?;
    let info = durable::find(&state, &args.name)?;
    let recorded = RecordedRun::read(&state, &info.id)?;
    let (given, dir) = durable::recorded(&recorded)?;
    // From where it began, all names mean what they meant; those of this command line are made to stay as they are.
    let outputs = targets::absolute(&args.outputs)?;
    std::env::set_current_dir(&dir)
        .map_err(|error| format!("the run began in `{}`, which cannot be used: {error}", dir.display()))?;
    if info.state.is_ended() {
        let targets = targets::open(&outputs, std::iter::empty())?;
        let has_output = !recorded.plan["output"].is_null();
        let forgiven = HashSet::new();
        let shown =
            Shown { outputs: &outputs, targets, paint, has_output, forgiven, asker: None, behind: None, state: None };
        text::say(&paint.dim(&format!("run {} has ended; this is what it gave\n", info.id)));
        return shown.tell(&state, &info.id);
    }
    let (file, of_plan) = (given.name.clone(), changed::of_plan(&given));
    let loaded = given.load(&Kept::Run(&state, args.cache.bounds())).await;
    if !args.changed {
        // Where the recorded plan does not fit the tools any more, that is no news to who changed both.
        let of_tools = loaded.as_ref().map(|(there, _)| there.engine.changed_tools(&recorded, &there.plan));
        if let Some(changed) = Changed::new(&info.id, &file, of_plan, of_tools.unwrap_or_default()) {
            if args.json {
                text::print(&(serde_json::to_string_pretty(&changed.as_json()).unwrap_or_default() + "\n"));
            }
            return Err(Refused::There(changed.to_string()));
        }
    }
    let (Loaded { engine, plan, texts }, _) = loaded?;
    let in_doubt: BTreeMap<String, DoubtAnswer> = args.in_doubt.iter().cloned().collect();
    let is_call = |name: &str| plan.calls.iter().any(|call| Some(&*call.id) == name.split('[').next());
    if let Some(unknown) = in_doubt.keys().find(|name| !is_call(name)) {
        return Err(Refused::Usage(format!("--in-doubt {unknown}: the plan has no call of this name")));
    }
    let targets = targets::open(&outputs, texts.names())?;
    drop(texts);
    let shown = Shown::new(&plan, &outputs, targets, paint, Some(state.clone()));
    let signals = Signals::listen()?;
    let how = Resume { changed: args.changed, in_doubt, unattended: false, peer: shown.peer() };
    match engine.resume(&recorded, plan, how).await {
        Ok(run) => {
            // The process that ran it may have paused it before it went.
            run.resume();
            Ok(shown.follow(signals, run, engine).await)
        }
        Err(error) if error.code == "run_locked" && !args.in_doubt.is_empty() => {
            answer::leave_doubts(&state, &info.id, &args.in_doubt)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(error.into()),
    }
}

/// How a run is shown, and where what it gives goes.
struct Shown<'a> {
    outputs: &'a Outputs,
    targets: Targets,
    paint: Paint,
    has_output: bool,
    /// The calls that have a value to go on with when they fail.
    forgiven: HashSet<Arc<str>>,
    asker: Option<Asker>,
    /// What is behind the run, and what is heard from there.
    behind: Option<(Arc<Terminal>, Heard)>,
    /// Where it is recorded, if it is.
    state: Option<PathBuf>,
}

impl<'a> Shown<'a> {
    fn new(
        plan: &ValidPlan,
        outputs: &'a Outputs,
        targets: Targets,
        paint: Paint,
        state: Option<PathBuf>,
    ) -> Shown<'a> {
        let forgiving = plan.calls.iter().filter(|call| call.on_failure_value.is_some());
        let forgiven = forgiving.map(|call| call.id.clone()).collect();
        let has_output = plan.output.is_some();
        let asker = Asker::new(paint);
        let behind = Some(Terminal::new(asker.is_some()));
        Shown { outputs, targets, paint, has_output, forgiven, asker, behind, state }
    }

    /// What is behind the run.
    fn peer(&self) -> Option<Arc<dyn Peer>> {
        Some(self.behind.as_ref()?.0.clone())
    }

    /// Follows the run to its end.
    async fn follow(mut self, signals: Signals, run: RunHandle, engine: Engine) -> ExitCode {
        let progress = match () {
            () if self.outputs.no_progress => Progress::Failures,
            () if text::stderr_is_terminal() && !text::is_dumb() => Progress::Live,
            () => Progress::Lines,
        };
        let (_, heard) = self.behind.take().unwrap_or_else(|| Terminal::new(false));
        let how = Following {
            progress,
            paint: self.paint,
            forgiven: std::mem::take(&mut self.forgiven),
            events_to: self.targets.events.take(),
            asker: self.asker.take(),
            heard,
            catalog: engine.catalog().clone(),
            state: self.state.take(),
        };
        let Followed { report, killed_by } = follow(signals, run, how).await;
        let problems: Vec<Diagnostic> = engine.toolbox_problems().into_values().flatten().collect();
        if !problems.is_empty() {
            crate::say_problems(&diagnostics::of_change(&problems), &diagnostics::Texts::default(), self.paint);
        }
        // From here on nothing of it runs; what is left behind is ended before the account, not after.
        drop(engine);
        self.end(&report, killed_by)
    }

    /// Tells of a run that had ended before.
    fn tell(self, state: &Path, id: &str) -> Result<ExitCode, Refused> {
        Ok(self.end(&stored(state, id)?, None))
    }

    /// The end of a run: what it gave, and how it went.
    fn end(self, report: &Report, killed_by: Option<u8>) -> ExitCode {
        if !self.targets.on_stdout {
            print_output(&output(report, self.has_output), self.outputs.raw);
        }
        text::say(&account(report, text::terminal_size().1, self.paint));
        if let Some(to) = self.targets.report {
            write_report(to, report).unwrap_or_else(|error| text::lose("the report", &error));
        }
        pictures::write(self.targets.timeline, self.targets.trace, report);
        exit_code(report, killed_by)
    }
}

/// The account of a run that has ended.
pub(crate) fn stored(state: &Path, id: &str) -> Result<Report, Refused> {
    let none = || Refused::Usage(format!("the account of the run {id} was not recorded"));
    let text = RecordedRun::report(state, id)?.ok_or_else(none)?;
    serde_json::from_str(text.get())
        .map_err(|error| Refused::Usage(format!("the account of the run {id} cannot be read: {error}")))
}

fn deadline(text: &str) -> Result<std::time::Duration, Refused> {
    fanout::plan::read_duration(text)
        .ok_or_else(|| Refused::Usage(format!("--deadline {text}: write a time such as 90s, 10m or 1h30m")))
}

/// `fanout call`: a plan of one call.
pub(crate) async fn call(args: &CallArgs, color: When) -> Result<ExitCode, Refused> {
    let paint = Paint::choose(color, text::stderr_is_terminal());
    let engine = load::load_tool(&args.tools, &args.tool, &Kept::Results(&args.state, CacheBounds::default())).await?;
    let schema = Some(load::tool(&engine.catalog(), &args.tool)?.spec.args_schema.clone());
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
    // What is given here is data: nothing in it refers to anything.
    let plan =
        Plan::new(args.tool.as_str()).call(Call::new("result", args.tool.as_str()).args(literal(Value::Object(given))));
    let valid = engine.validate(plan, Map::new()).map_err(invalid)?;
    let progress = if text::stderr_is_terminal() && !text::is_dumb() { Progress::Live } else { Progress::Failures };
    let asker = Asker::new(paint);
    let (terminal, heard) = Terminal::new(asker.is_some());
    let options = RunOptions { attended: asker.is_some(), peer: Some(terminal), ..RunOptions::default() };
    let signals = Signals::listen()?;
    let run = engine.start(valid, options);
    let (forgiven, catalog) = (HashSet::new(), engine.catalog().clone());
    let how = Following { progress, paint, forgiven, events_to: None, asker, heard, catalog, state: None };
    let Followed { report, killed_by } = follow(signals, run, how).await;
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

pub(crate) fn write_report(to: Box<dyn Write + Send>, report: &Report) -> std::io::Result<()> {
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
pub(crate) fn exit_code(report: &Report, killed_by: Option<u8>) -> ExitCode {
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
