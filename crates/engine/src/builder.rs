//! Building an engine: toolboxes, limits, seed.
//! It does not know plans or runs.

use crate::defaults;
use crate::driver::Driver;
use crate::handle::{DRIVEN, Engine, EngineInner};
use crate::message::Message;
use crate::tables::{BoxLimits, Tables};
use crate::toolboxes::Toolboxes;
use fanout_plan::{Catalog, Diagnostic, Severity};
use fanout_store::{CacheBounds, Journal};
use fanout_tools::Toolbox;
use fanout_tools::process::left;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use tokio::sync::mpsc::UnboundedSender;

/// Collects what an [`Engine`] is built from.
#[must_use]
pub struct EngineBuilder {
    toolboxes: Vec<Toolbox>,
    limits: BTreeMap<String, u64>,
    seed: Option<u64>,
    base_dir: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    cache_bounds: CacheBounds,
}

impl EngineBuilder {
    pub(crate) fn new() -> EngineBuilder {
        EngineBuilder {
            toolboxes: Vec::new(),
            limits: BTreeMap::new(),
            seed: None,
            base_dir: None,
            state_dir: None,
            cache_bounds: CacheBounds::default(),
        }
    }

    /// Adds the tools of a toolbox.
    pub fn toolbox(mut self, toolbox: Toolbox) -> EngineBuilder {
        self.toolboxes.push(toolbox);
        self
    }

    /// Sets a named amount that attempts of all runs share. `running` is how many attempts run at once (default
    /// 64); `cpu` (cores, default: those of the machine) and `memory` (bytes, default: those of the machine)
    /// count what calls say they use.
    pub fn limit(mut self, name: impl Into<String>, amount: u64) -> EngineBuilder {
        self.limits.insert(name.into(), amount);
        self
    }

    /// Seeds the jitter of retries, for runs that can be repeated exactly. Default: random.
    pub fn seed(mut self, seed: u64) -> EngineBuilder {
        self.seed = Some(seed);
        self
    }

    /// What relative paths in `file:` keys are relative to. Default: the working directory.
    pub fn base_dir(mut self, path: impl Into<PathBuf>) -> EngineBuilder {
        self.base_dir = Some(path.into());
        self
    }

    /// Where durable runs are recorded ([`Engine::start_durable`]), and results kept whose `cache` has the scope `disk`;
    /// made when it is not there. Without one, nothing is recorded, and the scope `disk` is that of the engine.
    pub fn state_dir(mut self, path: impl Into<PathBuf>) -> EngineBuilder {
        self.state_dir = Some(path.into());
        self
    }

    /// How much is kept of results on disk; the oldest go. Default: 256 MiB and 100,000 results.
    pub fn cache_bounds(mut self, bounds: CacheBounds) -> EngineBuilder {
        self.cache_bounds = bounds;
        self
    }

    /// Builds the engine and starts its driver as a task of the Tokio runtime it is called in.
    ///
    /// # Errors
    /// All that is wrong with the toolboxes and limits: a tool named twice, a schema that does not compile, a bad
    /// key template, a limit of zero, a base directory that does not exist.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn build(self) -> Result<Engine, Vec<Diagnostic>> {
        let mut amounts = machine();
        amounts.extend(self.limits);
        let mut problems: Vec<Diagnostic> = amounts
            .iter()
            .filter(|(_, amount)| **amount == 0)
            .map(|(name, _)| {
                problem(
                    "limit_zero",
                    format!("the limit `{name}` is 0, so nothing that needs it could ever run"),
                    "leave it out, or make it 1 or more",
                )
            })
            .collect();
        let dir = self.base_dir.unwrap_or_else(|| PathBuf::from("."));
        let base_dir = std::fs::canonicalize(&dir).unwrap_or_else(|error| {
            problems.push(problem(
                "base_dir_missing",
                format!("the base directory `{}` cannot be used: {error}", dir.display()),
                "give a directory that exists",
            ));
            PathBuf::from("/")
        });
        let (mut specs, mut tools, mut live) = (Vec::new(), Vec::new(), Vec::new());
        for toolbox in self.toolboxes {
            live.extend(toolbox.live.map(|live| (toolbox.spec.name.clone(), live)));
            tools.extend(toolbox.tools);
            specs.push(toolbox.spec);
        }
        let limits: Vec<BoxLimits> = specs.iter().map(BoxLimits::from).collect();
        let catalog = match Catalog::new(specs) {
            Ok(catalog) if problems.is_empty() => Arc::new(catalog),
            Ok(_) => return Err(problems),
            Err(more) => {
                problems.extend(more);
                return Err(problems);
            }
        };
        let tables = Arc::new(Tables::new(catalog, &limits, amounts, base_dir));
        let (inbox, taken) = tokio::sync::mpsc::unbounded_channel();
        let seed = self.seed.unwrap_or_else(random);
        let journal = self.state_dir.as_deref().map(|dir| open_journal(dir, inbox.clone())).transpose()?;
        let inner = Arc::new_cyclic(|engine| {
            let kept = (journal.clone(), self.cache_bounds);
            let driver = Driver::new(tables.clone(), tools, taken, inbox.clone(), engine.clone(), kept);
            tokio::spawn(DRIVEN.scope(engine.clone(), driver.drive()));
            let (amounts, toolboxes) = (tables.amounts.clone(), Toolboxes::new(tables));
            EngineInner { inbox, toolboxes, amounts, seed, runs: AtomicU32::new(0), journal }
        });
        for (name, live) in live {
            inner.toolboxes.serve(Arc::downgrade(&inner), name, live);
        }
        Ok(Engine { inner })
    }
}

/// Opens the journal; what it commits is told to the driver.
fn open_journal(dir: &Path, inbox: UnboundedSender<Message>) -> Result<Arc<Journal>, Vec<Diagnostic>> {
    let notify = Box::new(move |committed| {
        // Fails only when the driver is gone, and then nobody waits.
        let _ = inbox.send(Message::Committed(committed));
    });
    match Journal::open(dir, notify) {
        Ok(journal) => Ok(Arc::new(journal.with_note(left::note()))),
        Err(error) => Err(vec![Diagnostic::error(error.code, error.message)]),
    }
}

/// The amounts every engine has, as this machine suggests them.
fn machine() -> BTreeMap<String, u64> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    BTreeMap::from([
        ("running".to_owned(), defaults::RUNNING),
        ("cpu".to_owned(), cores),
        ("memory".to_owned(), memory_bytes()),
    ])
}

/// The memory of the machine as Linux tells it; where it does not, 8 GiB.
fn memory_bytes() -> u64 {
    let told = || {
        let text = std::fs::read_to_string("/proc/meminfo").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
    };
    told().filter(|bytes| *bytes > 0).unwrap_or(8 << 30)
}

/// Sixty-four bits that differ from process to process.
fn random() -> u64 {
    uuid::Uuid::now_v7().as_u64_pair().1
}

fn problem(code: &'static str, message: String, help: &str) -> Diagnostic {
    Diagnostic {
        code,
        severity: Severity::Error,
        message,
        place: None,
        help: Some(help.to_owned()),
        path: String::new(),
    }
}
