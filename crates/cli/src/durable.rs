//! Durable runs as the command finds and loads them: where they are recorded, under which name, made from what.
//! It does not know how a run goes on, nor how it is shown.

use crate::args::{Limits, RunName, StateDir};
use crate::load::{Changes, Given, Refused};
use fanout::RecordedRun;
use fanout::state::{Reader, RunInfo, is_held};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The directory in which durable runs are recorded.
pub(crate) fn state_dir(given: &StateDir) -> Result<PathBuf, Refused> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let dir = given.dir.clone().filter(|dir| !dir.as_os_str().is_empty());
    let dir = dir
        .or_else(|| absolute("XDG_STATE_HOME").map(|dir| dir.join("fanout")))
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state/fanout")));
    let dir = dir.ok_or_else(|| "neither HOME nor XDG_STATE_HOME is set; say `--state DIR`".to_owned())?;
    Ok(std::path::absolute(dir).map_err(|error| format!("the working directory cannot be used: {error}"))?)
}

/// The run of this name: its id, the beginning of it, or `last`.
pub(crate) fn find(state: &Path, name: &RunName) -> Result<RunInfo, Refused> {
    let name = name.run.as_str();
    let reader = Reader::open(state)?;
    let mut runs = reader.runs()?;
    runs.runs.retain(|run| has_begun(&reader, run));
    if name == "last" {
        let none = || Refused::Usage(format!("there is no durable run in `{}`", state.display()));
        return runs.runs.into_iter().next().ok_or_else(none);
    }
    let mut found: Vec<RunInfo> = runs.runs.into_iter().filter(|run| run.id.starts_with(name)).collect();
    match found.len() {
        1 => Ok(found.remove(0)),
        0 if !name.is_empty() && runs.damaged.iter().any(|error| error.message.contains(name)) => Err(runs
            .damaged
            .into_iter()
            .find(|error| error.message.contains(name))
            .map_or_else(|| Refused::Usage(String::new()), Refused::from)),
        0 => Err(Refused::Usage(format!(
            "there is no run `{name}` in `{}`; `fanout runs` lists them [run_unknown]",
            state.display()
        ))),
        n => {
            let some: Vec<&str> = found.iter().take(3).map(|run| run.id.as_str()).collect();
            Err(Refused::Usage(format!("{n} runs begin with `{name}`: {} …; write more of it", some.join(", "))))
        }
    }
}

/// Whether there is anything of it: a process that died before the first record began nothing.
pub(crate) fn has_begun(reader: &Reader, run: &RunInfo) -> bool {
    run.records > 0 || is_held(reader, &run.id)
}

/// The shortest beginning of an id that names it among these, of at least eight characters.
pub(crate) fn short<'i>(id: &'i str, all: &[RunInfo]) -> &'i str {
    let is_unique = |length: &usize| all.iter().filter(|run| run.id.starts_with(&id[..*length])).count() <= 1;
    let length = (8..id.len()).find(is_unique).unwrap_or(id.len());
    id.get(..length).unwrap_or(id)
}

/// What a run records so that it can be loaded again.
pub(crate) fn context(given: &Given) -> Result<Value, Refused> {
    let not_text = |what: &str| format!("a durable run cannot record {what}: it is not text");
    let here = std::env::current_dir().map_err(|error| format!("the working directory cannot be used: {error}"))?;
    let tools: Option<Vec<&str>> = given.tools.iter().map(|file| file.to_str()).collect();
    let text = std::str::from_utf8(&given.text).map_err(|_| not_text("the plan"))?;
    let Changes { deadline, seed } = given.changes;
    Ok(json!({
        "fanout": env!("CARGO_PKG_VERSION"),
        "cwd": here.to_str().ok_or_else(|| not_text("the working directory"))?,
        "plan": given.name,
        "text": text,
        "tools": tools.ok_or_else(|| not_text("the name of a toolbox file"))?,
        "inputs": given.inputs,
        "limits": given.limits.limits,
        "deadline_ns": deadline.map(|deadline| u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX)),
        "seed": seed,
    }))
}

/// What a run was made from, and where.
pub(crate) fn recorded(run: &RecordedRun) -> Result<(Given, PathBuf), Refused> {
    let none = || format!("the run {} was not begun by this command, so it cannot be gone on with by it", run.info.id);
    let context = run.context.as_ref().ok_or_else(none)?;
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(none);
    let list = |name: &str| context[name].as_array().ok_or_else(none);
    let mut given = Given {
        name: text(&context["plan"])?,
        text: text(&context["text"])?.into_bytes(),
        tools: Vec::new(),
        inputs: Vec::new(),
        limits: Limits::default(),
        changes: Changes {
            deadline: context["deadline_ns"].as_u64().map(Duration::from_nanos),
            seed: context["seed"].as_u64(),
        },
    };
    for file in list("tools")? {
        given.tools.push(text(file)?.into());
    }
    for input in list("inputs")? {
        given.inputs.push((text(&input[0])?, text(&input[1])?));
    }
    for limit in list("limits")? {
        given.limits.limits.push((text(&limit[0])?, limit[1].as_u64().ok_or_else(none)?));
    }
    Ok((given, text(&context["cwd"])?.into()))
}
