//! `fanout runs` with `prune` and `discard`, and `fanout report`: what is recorded of durable runs.
//! It does not know how they are run.

use crate::account::account;
use crate::args::{PruneArgs, ReportArgs, RunName, RunsArgs, RunsCommand, When};
use crate::load::Refused;
use crate::targets::Files;
use crate::text::{self, Paint};
use crate::{durable, run};
use fanout::state::{Keep, Reader, RunInfo, RunState, discard, is_held, now, prune, would_prune};
use fanout::{RecordedRun, SoFar};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Questions of a run that are named in a table.
const QUESTIONS_MAX: usize = 4;

/// `fanout runs`.
pub(crate) fn main(args: &RunsArgs, color: When) -> Result<ExitCode, Refused> {
    match &args.command {
        Some(RunsCommand::Prune(args)) => return prune_runs(args),
        Some(RunsCommand::Discard(name)) => return discard_run(name),
        None => {}
    }
    let state = durable::state_dir(&args.state)?;
    let terminal = std::io::stdout().is_terminal();
    let paint = Paint::choose(color, terminal);
    let runs = match Reader::open(&state) {
        Err(error) if error.code == "state_missing" => Vec::new(),
        opened => {
            let reader = opened?;
            let list = reader.runs()?;
            for damaged in &list.damaged {
                text::say(&format!("{} {} [{}]\n", paint.red("damaged:"), text::line(&damaged.message), damaged.code));
            }
            list.runs
                .into_iter()
                .filter(|run| durable::has_begun(&reader, run))
                .map(|run| Listed::look(&state, &reader, run))
                .collect()
        }
    };
    if args.json {
        let list: Vec<Value> = runs.iter().map(Listed::as_json).collect();
        text::print(&(serde_json::to_string_pretty(&list).unwrap_or_default() + "\n"));
    } else if runs.is_empty() {
        text::say(&format!("no durable runs in `{}`; `fanout run --durable PLAN` starts one\n", state.display()));
    } else {
        text::print(&table(&runs, paint));
    }
    Ok(ExitCode::SUCCESS)
}

/// A run, and what it is doing.
struct Listed {
    info: RunInfo,
    held: bool,
    so_far: SoFar,
}

impl Listed {
    fn look(state: &Path, reader: &Reader, info: RunInfo) -> Listed {
        let held = !info.state.is_ended() && is_held(reader, &info.id);
        // A run that cannot be read is still in the list; `fanout report` says what is wrong with it.
        let so_far = |info: &RunInfo| RecordedRun::read(state, &info.id)?.so_far(state);
        let waits = info.state == RunState::Waiting;
        let so_far = if waits { so_far(&info).unwrap_or_default() } else { SoFar::default() };
        Listed { info, held, so_far }
    }

    /// `interrupted`: it has not ended, and no process runs it.
    fn word(&self) -> &'static str {
        match self.info.state {
            RunState::Running | RunState::Paused if !self.held => "interrupted",
            state => state.word(),
        }
    }

    /// How many calls have ended.
    fn ended(&self) -> u64 {
        let c = &self.info.counts;
        c.succeeded + c.failed + c.skipped + c.cancelled + c.denied + c.in_doubt
    }

    fn calls(&self) -> String {
        text::count(usize::try_from(self.info.counts.calls).unwrap_or(usize::MAX), "call")
    }

    fn as_json(&self) -> Value {
        let info = &self.info;
        let c = &info.counts;
        json!({
            "run": info.id, "name": info.name, "key": info.key, "state": self.word(), "held": self.held,
            "created_ms": info.created.0 / 1_000_000, "updated_ms": info.updated.0 / 1_000_000,
            "calls": {
                "all": c.calls, "ended": self.ended(), "succeeded": c.succeeded, "failed": c.failed,
                "skipped": c.skipped, "cancelled": c.cancelled, "denied": c.denied, "in_doubt": c.in_doubt,
            },
            "bytes": info.bytes,
            "waits_for": questions(&self.so_far),
        })
    }
}

fn questions(so_far: &SoFar) -> Vec<Value> {
    let one = |question: &fanout::Question| match &question.approval {
        Some(args) => json!({"call": question.call, "tool": question.tool, "about": "approval", "args": args}),
        None => json!({"call": question.call, "tool": question.tool, "about": "doubt"}),
    };
    so_far.questions.iter().map(one).collect()
}

fn table(runs: &[Listed], paint: Paint) -> String {
    let infos: Vec<RunInfo> = runs.iter().map(|run| run.info.clone()).collect();
    let mut rows: Vec<[String; 6]> = vec![["run", "name", "state", "started", "calls", ""].map(str::to_owned)];
    for run in runs {
        let some = run.so_far.questions.iter().take(QUESTIONS_MAX).map(|question| match question.approval {
            Some(_) => format!("approve {}", text::line(&question.call)),
            None => format!("in doubt {}", text::line(&question.call)),
        });
        let mut note: Vec<String> = some.collect();
        note.extend((run.info.state == RunState::Waiting && !run.held).then(|| "no process runs it".to_owned()));
        note.extend(run.info.key.as_ref().map(|key| format!("key {}", text::line(key))));
        rows.push([
            durable::short(&run.info.id, &infos).to_owned(),
            text::cut(&text::line(&run.info.name), 30),
            run.word().to_owned(),
            format!("{} ago", ago(now().since(run.info.created))),
            format!("{}/{}", run.ended(), run.info.counts.calls),
            note.join(", "),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| text::width(&row[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut out = String::new();
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row.iter().take(5).zip(&widths).map(|(cell, width)| text::pad(cell, *width)).collect();
        let state = match row[2].as_str() {
            "failed" => paint.red(&cells[2]),
            "succeeded" => paint.green(&cells[2]),
            "interrupted" | "waiting" | "cancelled" => paint.yellow(&cells[2]),
            _ => cells[2].clone(),
        };
        let line = format!("{}  {}  {state}  {}  {}  {}", cells[0], cells[1], cells[3], cells[4], row[5]);
        out += &match index {
            0 => paint.dim(line.trim_end()),
            _ => line.trim_end().to_owned(),
        };
        out.push('\n');
    }
    out
}

/// `3s`, `12min`, `5h`, `40d`: about how long.
fn ago(time: Duration) -> String {
    match time.as_secs() {
        s @ 0..120 => format!("{s}s"),
        s @ 120..7_200 => format!("{}min", s / 60),
        s @ 7_200..172_800 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

fn prune_runs(args: &PruneArgs) -> Result<ExitCode, Refused> {
    let state = durable::state_dir(&args.state)?;
    let keep = Keep { age: args.older_than, runs: args.keep, bytes: args.max_size };
    // Where nothing is, nothing is made.
    drop(Reader::open(&state)?);
    let pruned = if args.dry_run { would_prune(&state, &keep, now())? } else { prune(&state, &keep, now())? };
    for run in &pruned.runs {
        text::print(&format!("{run}\n"));
    }
    let verb = if args.dry_run { "would go" } else { "removed" };
    let kib = pruned.bytes.div_ceil(1024);
    text::say(&format!("{verb}: {}, {kib} KiB\n", text::count(pruned.runs.len(), "run")));
    Ok(ExitCode::SUCCESS)
}

fn discard_run(name: &RunName) -> Result<ExitCode, Refused> {
    let state = durable::state_dir(&name.state)?;
    let info = durable::find(&state, name)?;
    // A run whose record is damaged can go too.
    let so_far = RecordedRun::read(&state, &info.id).and_then(|run| run.so_far(&state));
    let removed = discard(&state, &info)?;
    match &so_far {
        Ok(so_far) => {
            // Nobody will ask about these again.
            let doubted = so_far.questions.iter().filter(|question| question.approval.is_none());
            for call in so_far.started.iter().chain(doubted.map(|question| &question.call)) {
                text::say(&format!("  {}  had started; nobody knows whether it took effect\n", text::line(call)));
            }
        }
        Err(error) => text::say(&format!("  which calls had started is not known: {}\n", text::line(&error.message))),
    }
    let run = Listed { info, held: false, so_far: SoFar::default() };
    text::print(&format!("{}\n", run.info.id));
    let kib = removed.bytes.div_ceil(1024);
    text::say(&format!("removed: {} of {} had ended, {kib} KiB\n", run.ended(), run.calls()));
    Ok(ExitCode::SUCCESS)
}

/// `fanout report`.
pub(crate) fn report(args: &ReportArgs, color: When) -> Result<ExitCode, Refused> {
    let state = durable::state_dir(&args.name.state)?;
    let info = durable::find(&state, &args.name)?;
    let as_json = args.json || args.output.is_some();
    let to = Files::read(std::iter::empty()).open("-o", args.output.as_deref())?;
    if info.state.is_ended() {
        let report = run::stored(&state, &info.id)?;
        if as_json {
            let to = to.unwrap_or_else(|| Box::new(std::io::stdout()));
            run::write_report(to, &report).unwrap_or_else(|error| text::lose("the report", &error));
        } else {
            let terminal = std::io::stdout().is_terminal();
            let columns = if terminal { text::terminal_size().1 } else { 4_096 };
            text::print(&account(&report, columns, Paint::choose(color, terminal)));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let so_far = RecordedRun::read(&state, &info.id).and_then(|run| run.so_far(&state))?;
    let held = is_held(&Reader::open(&state)?, &info.id);
    let listed = Listed { info, held, so_far };
    match to {
        _ if !as_json => text::print(&unfinished(&listed)),
        None => text::print(&(serde_json::to_string_pretty(&unfinished_json(&listed)).unwrap_or_default() + "\n")),
        Some(mut to) => {
            let written =
                serde_json::to_writer_pretty(&mut to, &unfinished_json(&listed)).map_err(std::io::Error::from);
            written.and_then(|()| to.write_all(b"\n")).unwrap_or_else(|error| text::lose("the report", &error));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is known of a run that has not ended.
fn unfinished(run: &Listed) -> String {
    let mut out = format!("{}: {}, {} of {} ended\n", text::line(&run.info.name), run.word(), run.ended(), run.calls());
    for (call, outcome) in &run.so_far.ended {
        out += &format!("  {}  {}\n", text::line(call), crate::follow::outcome_word(*outcome));
    }
    for call in &run.so_far.started {
        let word = if run.held { "is running" } else { "had started; nobody knows how it ended" };
        out += &format!("  {}  {word}\n", text::line(call));
    }
    for question in &run.so_far.questions {
        let about = match question.approval {
            Some(_) => "waits to be approved: `fanout approve` or `fanout deny`",
            None => "is in doubt: `fanout resume --in-doubt`",
        };
        out += &format!("  {}  {about}\n", text::line(&question.call));
    }
    if !run.held {
        let id = &run.info.id;
        out += &format!(
            "no process runs it; `fanout resume {id}` goes on with it, `fanout runs discard {id}` removes it\n"
        );
    }
    out
}

fn unfinished_json(run: &Listed) -> Value {
    let mut json = run.as_json();
    let ended: Vec<Value> =
        run.so_far.ended.iter().map(|(call, outcome)| json!({"id": call, "outcome": outcome})).collect();
    json["ended"] = Value::Array(ended);
    json["started"] = json!(run.so_far.started);
    json
}
