//! Reads plans and toolbox files and builds the engine from them.
//! It does not know what is then done with the plan.

use crate::args::{Limits, Source, StateDir, ToolFiles};
use crate::diagnostics::Texts;
use crate::durable;
use fanout::plan::{DeclaredToolbox, READ_BYTES_MAX, Severity, ToolSource, ToolboxSpec, read_toolbox};
use fanout::state::CacheBounds;
use fanout::tools::{GuardCommand, Opener, ProcessOptions, Toolbox};
use fanout::{CacheScope, Catalog, CatalogTool, Diagnostic, Durable, Engine, Plan, SettingsSpec, ValidPlan};
use futures_util::future::join_all;
use serde_json::{Map, Value};
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

/// The name of toolbox files that are looked for.
const TOOLBOX_FILE: &str = "fanout.toml";

/// Why nothing can be started.
pub(crate) enum Refused {
    /// The command line, or what it names, cannot be used.
    Usage(String),
    /// What was read is not valid.
    Invalid(Vec<Diagnostic>, Texts),
    /// A durable run is there, and is not gone on with.
    There(String),
}

impl From<fanout::state::StoreError> for Refused {
    fn from(error: fanout::state::StoreError) -> Refused {
        let why = format!("{} [{}]", error.message, error.code);
        match error.code {
            "run_locked" | "run_left" | "run_changed" => Refused::There(why),
            _ => Refused::Usage(why),
        }
    }
}

impl From<String> for Refused {
    fn from(why: String) -> Refused {
        Refused::Usage(why)
    }
}

/// A plan that may run, and the engine to run it.
pub(crate) struct Loaded {
    pub(crate) engine: Engine,
    pub(crate) plan: ValidPlan,
    pub(crate) texts: Texts,
}

/// Where what outlives the process is kept.
pub(crate) enum Kept<'a> {
    /// Nowhere: nothing is run.
    Nothing,
    /// The run is recorded there.
    Run(&'a Path, CacheBounds),
    /// Results are, where a tool or call has a cache on disk; else nothing is opened.
    Results(&'a StateDir, CacheBounds),
}

impl Kept<'_> {
    /// The directory that these tools and calls need.
    fn dir(
        &self,
        plan: Option<&Plan>,
        toolboxes: &[DeclaredToolbox],
    ) -> Result<Option<(PathBuf, CacheBounds)>, Refused> {
        let on_disk =
            |settings: &SettingsSpec| settings.cache.is_some_and(|cache| cache.scope == Some(CacheScope::Disk));
        let calls = plan.into_iter().flat_map(|plan| &plan.calls);
        match self {
            Kept::Nothing => Ok(None),
            Kept::Run(dir, bounds) => Ok(Some((dir.to_path_buf(), *bounds))),
            Kept::Results(dir, bounds) => {
                let tools = toolboxes.iter().flat_map(|toolbox| &toolbox.spec.tools);
                let of_calls = calls.filter_map(|call| call.settings.as_deref());
                let wanted = tools.map(|tool| &tool.settings).chain(of_calls).any(on_disk);
                wanted.then(|| Ok((durable::state_dir(dir)?, *bounds))).transpose()
            }
        }
    }
}

/// What the command line changes of a plan.
#[derive(Default)]
pub(crate) struct Changes {
    pub(crate) deadline: Option<Duration>,
    pub(crate) seed: Option<u64>,
}

/// All that a run is made from, as the command line names it. A durable run records it, to be loaded again.
pub(crate) struct Given {
    /// The plan's file as it was named, or [`STDIN`].
    pub(crate) name: String,
    pub(crate) text: Vec<u8>,
    pub(crate) tools: Vec<PathBuf>,
    pub(crate) inputs: Vec<(String, String)>,
    pub(crate) limits: Limits,
    pub(crate) changes: Changes,
}

/// Reads a plan with its tools and checks everything. Called inside the Tokio runtime that will run it.
pub(crate) async fn load(source: &Source, changes: Changes) -> Result<Loaded, Refused> {
    Given::read(source, changes)?.load(&Kept::Nothing).await.map(|(loaded, _)| loaded)
}

impl Given {
    /// Reads the plan, and finds the tools.
    pub(crate) fn read(source: &Source, changes: Changes) -> Result<Given, Refused> {
        let (name, text) = read(&source.plan)?;
        let beside = if name == STDIN { None } else { Some(source.plan.as_path()) };
        let tools = toolbox_files(&source.tools, beside)?;
        Ok(Given { name, text, tools, inputs: source.inputs.clone(), limits: source.limits.clone(), changes })
    }

    /// The plan, read.
    pub(crate) fn plan(&self, text: &[u8]) -> Result<Plan, Vec<Diagnostic>> {
        let mut plan = Plan::read(&self.name, text)?;
        if plan.name.is_empty() {
            // What is said of the run needs a name.
            let stem = Path::new(&self.name).file_stem().filter(|_| self.name != STDIN);
            plan.name = stem.map_or("plan".into(), |stem| stem.to_string_lossy().into_owned());
        }
        plan.deadline = self.changes.deadline.or(plan.deadline);
        Ok(plan)
    }

    /// Checks everything; of a run that is recorded, also says what of it is to be.
    pub(crate) async fn load(self, kept: &Kept<'_>) -> Result<(Loaded, Option<Durable>), Refused> {
        let mut texts = Texts::default();
        texts.keep(&self.name, &self.text);
        let plan = match self.plan(&self.text) {
            Ok(plan) => plan,
            Err(problems) => return Err(Refused::Invalid(problems, texts)),
        };
        let mut toolboxes = match read_toolboxes(&self.tools, &mut texts) {
            Ok(toolboxes) => toolboxes,
            Err(Refused::Invalid(problems, _)) => return Err(Refused::Invalid(problems, texts)),
            Err(refused) => return Err(refused),
        };
        toolboxes.append(&mut plan.tools.clone());
        let dir = kept.dir(Some(&plan), &toolboxes)?;
        let names = plan.calls.iter().map(|call| call.tool.to_string()).collect::<Vec<_>>();
        let wanted = Wanted::Named(&names);
        let engine = match engine(toolboxes, wanted, &self.limits, self.changes.seed, dir).await {
            Ok(engine) => engine,
            Err(problems) => return Err(Refused::Invalid(problems, texts)),
        };
        let inputs = inputs(&plan, &self.inputs)?;
        let durable = match kept {
            Kept::Run(..) => Some(Durable::new(&plan, &inputs).context(durable::context(&self)?)),
            _ => None,
        };
        match engine.validate(plan, inputs) {
            Ok(plan) => Ok((Loaded { engine, plan, texts }, durable)),
            Err(problems) => Err(Refused::Invalid(problems, texts)),
        }
    }
}

/// An engine with the tools that are in reach without a plan. Called inside the Tokio runtime that will run it.
pub(crate) async fn load_tools(files: &ToolFiles) -> Result<Engine, Refused> {
    load_wanted(files, Wanted::All, &Limits::default(), &Kept::Nothing).await
}

/// The same for one tool: an MCP server that cannot have it is not started.
pub(crate) async fn load_tool(files: &ToolFiles, name: &str, kept: &Kept<'_>) -> Result<Engine, Refused> {
    load_wanted(files, Wanted::Named(&[name.to_owned()]), &Limits::default(), kept).await
}

/// As [`load_tools`], within these limits.
pub(crate) async fn load_tools_within(files: &ToolFiles, limits: &Limits, kept: &Kept<'_>) -> Result<Engine, Refused> {
    load_wanted(files, Wanted::All, limits, kept).await
}

async fn load_wanted(
    files: &ToolFiles,
    wanted: Wanted<'_>,
    limits: &Limits,
    kept: &Kept<'_>,
) -> Result<Engine, Refused> {
    let (toolboxes, texts) = declared(files)?;
    let dir = kept.dir(None, &toolboxes)?;
    engine(toolboxes, wanted, limits, None, dir).await.map_err(|problems| Refused::Invalid(problems, texts))
}

/// The toolboxes that are in reach without a plan, as their files declare them.
pub(crate) fn declared(files: &ToolFiles) -> Result<(Vec<DeclaredToolbox>, Texts), Refused> {
    let mut texts = Texts::default();
    let files = toolbox_files(files, None)?;
    if files.is_empty() {
        return Err(Refused::Usage(format!(
            "there is no {TOOLBOX_FILE} here or above; `fanout init` writes one, `--tools FILE` names another"
        )));
    }
    match read_toolboxes(&files, &mut texts) {
        Err(Refused::Invalid(problems, _)) => Err(Refused::Invalid(problems, texts)),
        other => Ok((other?, texts)),
    }
}

/// Which tools are needed.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// All there are; a server that cannot be had is a warning.
    All,
    /// These: servers that cannot have any of them are not started, and one that cannot be had is an error.
    Named(&'a [String]),
}

impl Wanted<'_> {
    /// Whether a toolbox can have one of them.
    fn may_be_in(self, toolbox: &DeclaredToolbox) -> bool {
        match (self, &toolbox.source) {
            (Wanted::Named(names), Some(ToolSource::Mcp(source))) => {
                names.iter().any(|name| source.may_offer(&toolbox.spec.name, name))
            }
            _ => true,
        }
    }
}

/// What opened the toolboxes of this process, until it ends.
static OPENED: Mutex<Option<Opener>> = Mutex::new(None);

/// What opens toolboxes.
pub(crate) fn opener() -> Opener {
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    let new = || {
        Opener::new(ProcessOptions {
            spill_dir: spill_dir(),
            // When this program is killed, a second one of it ends what its tools left behind.
            guard: std::env::current_exe()
                .ok()
                .map(|program| GuardCommand { program, args: vec!["__guard".to_string()] }),
            subreaper: true,
        })
    };
    opened.get_or_insert_with(new).clone()
}

/// Ends what the toolboxes of this process have running.
pub(crate) async fn close() {
    let opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(opener) = opened {
        opener.close().await;
    }
}

/// The tool of this name.
pub(crate) fn tool<'c>(catalog: &'c Catalog, name: &str) -> Result<&'c CatalogTool, Refused> {
    if let Some(id) = catalog.find(name) {
        return Ok(catalog.tool(id));
    }
    let help = catalog.nearest(name).map(|near| format!("did you mean `{near}`?"));
    let help = help.unwrap_or_else(|| "`fanout tools` lists them".to_owned());
    Err(Refused::Usage(format!("there is no tool `{name}`; {help}")))
}

/// An engine with these tools.
async fn engine(
    toolboxes: Vec<DeclaredToolbox>,
    wanted: Wanted<'_>,
    limits: &Limits,
    seed: Option<u64>,
    state: Option<(PathBuf, CacheBounds)>,
) -> Result<Engine, Vec<Diagnostic>> {
    let opener = opener();
    let mut builder = Engine::builder();
    let mut problems = Vec::new();
    // All at once: opening may mean to ask servers.
    let needed: Vec<_> = toolboxes.into_iter().filter(|toolbox| wanted.may_be_in(toolbox)).collect();
    let opened = needed.into_iter().map(|toolbox| {
        let server = matches!(toolbox.source, Some(ToolSource::Mcp(_))).then(|| toolbox.spec.name.clone());
        let opened = opener.open(toolbox);
        async move { (server, opened.await) }
    });
    for (server, opened) in join_all(opened).await {
        match (opened, server, wanted) {
            (Ok(toolbox), ..) => builder = builder.toolbox(toolbox),
            // The tools of the others are there all the same.
            (Err(mut warnings), Some(name), Wanted::All) => {
                warnings.iter_mut().for_each(|warning| warning.severity = Severity::Warning);
                builder =
                    builder.toolbox(Toolbox::new(ToolboxSpec { name, warnings, ..Default::default() }, Vec::new()));
            }
            (Err(wrong), ..) => problems.extend(wrong),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    for (name, amount) in &limits.limits {
        builder = builder.limit(name, *amount);
    }
    if let Some(seed) = seed {
        builder = builder.seed(seed);
    }
    if let Some((dir, bounds)) = state {
        builder = builder.state_dir(dir).cache_bounds(bounds);
    }
    builder.build()
}

/// Removes what large results were put into. For a program whose output does not name it, when nothing runs any more.
pub(crate) fn remove_spilled() {
    // Absent where no result was large.
    let _absent = std::fs::remove_dir_all(spill_dir());
}

/// Where results too large to be kept in memory go. They are the caller's: the output may name them. Others may write to
/// where it is made, so its name is one that nobody can have taken before.
fn spill_dir() -> PathBuf {
    static RANDOM: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));
    std::env::temp_dir().join(format!("fanout-{}-{:016x}", std::process::id(), *RANDOM))
}

/// What standard input is called in messages.
pub(crate) const STDIN: &str = "<stdin>";

/// The name and the bytes of a plan file; never much more than a plan may have.
pub(crate) fn read(path: &Path) -> Result<(String, Vec<u8>), Refused> {
    let limit = u64::try_from(READ_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        let read = std::io::stdin().lock().take(limit).read_to_end(&mut bytes);
        return match read {
            Ok(_) => Ok((STDIN.to_string(), bytes)),
            Err(error) => Err(Refused::Usage(format!("cannot read standard input: {error}"))),
        };
    }
    let name = path.display().to_string();
    match std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
        Ok(_) => Ok((name, bytes)),
        Err(error) => Err(Refused::Usage(format!("cannot read `{name}`: {error}"))),
    }
}

/// The toolbox files that count: those named, else the one beside the plan and the nearest one upward from here.
fn toolbox_files(files: &ToolFiles, plan: Option<&Path>) -> Result<Vec<PathBuf>, Refused> {
    let mut found = found_files(files, plan)?;
    found.extend(files.mcp_configs.iter().cloned());
    Ok(found)
}

fn found_files(files: &ToolFiles, plan: Option<&Path>) -> Result<Vec<PathBuf>, Refused> {
    if !files.files.is_empty() {
        return Ok(files.files.clone());
    }
    let mut found: Vec<PathBuf> = Vec::new();
    if let Some(plan) = plan {
        let beside = plan.with_file_name(TOOLBOX_FILE);
        found.extend(beside.is_file().then_some(beside));
    }
    let here = std::env::current_dir().map_err(|error| format!("the working directory cannot be used: {error}"))?;
    let mut name = PathBuf::from(TOOLBOX_FILE);
    for folder in here.ancestors() {
        if folder.join(TOOLBOX_FILE).is_file() {
            let same = |other: &PathBuf| other.canonicalize().ok() == folder.join(TOOLBOX_FILE).canonicalize().ok();
            if !found.iter().any(same) {
                found.push(name);
            }
            break;
        }
        name = Path::new("..").join(name);
    }
    Ok(found)
}

fn read_toolboxes(files: &[PathBuf], texts: &mut Texts) -> Result<Vec<DeclaredToolbox>, Refused> {
    let mut toolboxes = Vec::new();
    let mut problems = Vec::new();
    for file in files {
        let (name, bytes) = read(file)?;
        texts.keep(&name, &bytes);
        match read_toolbox(&name, &bytes) {
            Ok(more) => toolboxes.extend(more),
            Err(more) => problems.extend(more),
        }
    }
    match problems.is_empty() {
        true => Ok(toolboxes),
        false => Err(Refused::Invalid(problems, Texts::default())),
    }
}

/// The inputs given on the command line, read by the schemas the plan declares for them.
fn inputs(plan: &Plan, given: &[(String, String)]) -> Result<Map<String, Value>, Refused> {
    let mut inputs = Map::new();
    for (name, text) in given {
        let schema = plan.inputs.get(name).and_then(|input| input.schema.as_ref());
        if inputs.insert(name.clone(), value(text, schema)).is_some() {
            return Err(Refused::Usage(format!("--arg {name} is given twice")));
        }
    }
    Ok(inputs)
}

/// A value from the command line: JSON where it is JSON and the schema allows more than strings, else the text.
pub(crate) fn value(text: &str, schema: Option<&Value>) -> Value {
    let is_string = schema.and_then(|schema| schema.get("type")).is_some_and(|of| of == "string");
    match serde_json::from_str(text) {
        Ok(value) if !is_string => value,
        _ => Value::String(text.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_read_by_their_schema() {
        assert_eq!(value("42", Some(&json!({"type": "string"}))), json!("42"));
        assert_eq!(value("42", Some(&json!({"type": "integer"}))), json!(42));
        assert_eq!(value("plain", Some(&json!({"type": "integer"}))), json!("plain"));
        assert_eq!(value("[1]", None), json!([1]));
        assert_eq!(value("", None), json!(""));
    }
}
