//! Process tools: programs started by an argv template, and what they share in one engine.
//! It does not know when a call is made or whether a failed one is tried again.
//!
//! ```no_run
//! use fanout_plan::{ArgTemplate, ProcessSpec, TextTemplate};
//! use fanout_tools::{ProcessOptions, Processes};
//!
//! let processes = Processes::new(ProcessOptions::new(std::env::temp_dir().join("spill")));
//! let argv = ["wc", "-l", "--", "${args.path}"].map(|arg| ArgTemplate::One(TextTemplate::parse(arg).unwrap()));
//! let tool = processes.tool(ProcessSpec::new(argv.to_vec()));
//! ```

pub(crate) mod command;
pub(crate) mod leash;
pub mod left;
pub(crate) mod output;
pub(crate) mod scan;
mod tool;

use crate::guard::Guard;
use crate::tool::{AttemptId, Tool};
use fanout_plan::ProcessSpec;
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};
use scan::{Mark, bearers, end_all, for_each};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// How long killed processes may take to be gone before they are left to the guard.
const SWEEP_BOUND: Duration = Duration::from_secs(5);
/// How soon after the end of a call what left its process group behind its back is looked for. One look serves all
/// calls that end in between, so that the cost of a call doesn't grow with the number of processes of the machine.
const SWEEP_DELAY: Duration = Duration::from_millis(200);

/// How the process tools of one engine behave together.
#[derive(Clone, Debug)]
pub struct ProcessOptions {
    /// Where results over their inline limit go; made when first needed. Files there belong to the embedder.
    pub spill_dir: PathBuf,
    /// The program that ends what is left when this process dies; absent, a shell script does it.
    pub guard: Option<GuardCommand>,
    /// Make this process adopt what its tools leave behind, so that a daemon is noticed, and ended, before its
    /// call ends, instead of a moment later; and one that shed its mark too, at the end of the engine. Every child
    /// that the main thread of the process starts by itself is then taken for left behind as well, reaped and
    /// ended: for programs that are an engine and nothing else.
    pub subreaper: bool,
}

impl ProcessOptions {
    /// The defaults: guarded by a shell script, no subreaper.
    pub fn new(spill_dir: impl Into<PathBuf>) -> ProcessOptions {
        ProcessOptions { spill_dir: spill_dir.into(), guard: None, subreaper: false }
    }
}

/// A program that calls [`crate::guard::main`]. The engine's id is appended to `args`.
#[derive(Clone, Debug)]
pub struct GuardCommand {
    /// The program, usually the running one, as an absolute path.
    pub program: PathBuf,
    /// Its arguments before the engine's id.
    pub args: Vec<String>,
}

/// What the process tools of one engine share: its mark, its guard, its spill directory. Cheap to clone. Dropping
/// the last one ends everything its tools left behind, and blocks for a few milliseconds.
#[derive(Clone)]
pub struct Processes(Arc<Inner>);

struct Inner {
    engine: Arc<str>,
    options: ProcessOptions,
    /// Whether orphans come to us.
    adopts: bool,
    guard: Mutex<Option<Guard>>,
    live: Mutex<Live>,
    sweep_due: AtomicBool,
    /// The largest resident set of this process that was ever seen, in bytes.
    own_memory_bytes: AtomicU64,
}

/// What runs now.
#[derive(Default)]
struct Live {
    attempts: HashSet<(Arc<str>, Arc<str>, u32)>,
    leaders: HashSet<i32>,
    /// Between the decision to spawn and the entry in `leaders`.
    spawning: usize,
}

impl Processes {
    /// For one engine. Starts nothing yet.
    pub fn new(options: ProcessOptions) -> Processes {
        let engine = left::engine_name().into();
        let adopts = options.subreaper && set_child_subreaper(Some(getpid())).is_ok();
        Processes(Arc::new(Inner {
            engine,
            options,
            adopts,
            guard: Mutex::default(),
            live: Mutex::default(),
            sweep_due: AtomicBool::new(false),
            own_memory_bytes: AtomicU64::new(0),
        }))
    }

    /// The mark that every process of this engine bears in its environment as `FANOUT_ENGINE`.
    pub fn engine_id(&self) -> &str {
        &self.0.engine
    }

    /// Where results over their inline limit go.
    pub fn spill_dir(&self) -> &Path {
        &self.0.options.spill_dir
    }

    /// A tool that starts programs as `spec` says.
    pub fn tool(&self, spec: ProcessSpec) -> Arc<dyn Tool> {
        Arc::new(tool::ProcessTool::new(spec, self.clone()))
    }

    /// Kills everything that bears this engine's mark, whatever attempt it belongs to, and waits until it is gone.
    /// Blocks for some milliseconds. Returns how many processes could not be ended.
    pub fn end_everything(&self) -> usize {
        self.0.end_everything()
    }

    /// Sees to it that a guard stands. Cheap when it does.
    pub(crate) fn ensure_guard(&self) -> std::io::Result<()> {
        let mut guard = lock(&self.0.guard);
        if guard.as_mut().is_none_or(|guard| !guard.stands()) {
            *guard = Some(Guard::start(self.0.options.guard.as_ref(), &self.0.engine)?);
        }
        Ok(())
    }

    /// The mark of one attempt.
    fn mark(&self, id: &AttemptId) -> Mark {
        Mark::engine(&self.0.engine)
            .and("FANOUT_RUN", &id.run)
            .and("FANOUT_CALL", &id.call)
            .and("FANOUT_ATTEMPT", &id.attempt.to_string())
    }

    /// Looks, some time from now, for processes of attempts that have ended.
    fn sweep_soon(&self) {
        if self.0.sweep_due.swap(true, Ordering::Relaxed) {
            return;
        }
        // Weak: an engine that ends looks by itself.
        let due = SweepDue(Arc::downgrade(&self.0));
        tokio::spawn(async move {
            tokio::time::sleep(SWEEP_DELAY).await;
            let sweep = move || {
                if let Some(inner) = due.0.upgrade() {
                    drop(due);
                    end_all(|| inner.bearers_of_ended(), SWEEP_BOUND);
                }
            };
            // Cancelled only with the runtime; then the end of the engine does it.
            let _cancelled = tokio::task::spawn_blocking(sweep).await;
        });
    }
}

/// A look around that is due; another can be once this is dropped, also when the runtime dropped it.
struct SweepDue(Weak<Inner>);

impl Drop for SweepDue {
    fn drop(&mut self) {
        if let Some(inner) = self.0.upgrade() {
            inner.sweep_due.store(false, Ordering::Relaxed);
        }
    }
}

impl Inner {
    fn end_everything(&self) -> usize {
        let mark = Mark::engine(&self.engine);
        let left = end_all(|| bearers(&mark), SWEEP_BOUND).len();
        // What shed its mark came to us all the same.
        left + if self.adopts { end_all(|| self.adopted(), SWEEP_BOUND).len() } else { 0 }
    }

    /// Processes that bear this engine's mark and that of no live attempt.
    fn bearers_of_ended(&self) -> Vec<i32> {
        let mut found = Vec::new();
        for_each(|pid, environ| {
            if environ.get("FANOUT_ENGINE") != Some(self.engine.as_bytes()) {
                return;
            }
            let text = |name| environ.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
            let attempt = (|| {
                Some((text("FANOUT_RUN")?.into(), text("FANOUT_CALL")?.into(), text("FANOUT_ATTEMPT")?.parse().ok()?))
            })();
            // Looked up after the environment was read: whatever was alive then is entered by now.
            if attempt.is_none_or(|attempt| !lock(&self.live).attempts.contains(&attempt)) {
                found.push(pid);
            }
        });
        found
    }

    /// Children that came to us because their parents are gone. Reaps those that are dead.
    fn adopted(&self) -> Vec<i32> {
        let me = getpid().as_raw_nonzero();
        let guard = lock(&self.guard).as_ref().map(Guard::pid);
        let live = lock(&self.live);
        // Orphans come to the first thread of the process.
        let Ok(children) = std::fs::read_to_string(format!("/proc/self/task/{me}/children")) else { return Vec::new() };
        children
            .split_ascii_whitespace()
            .filter_map(|pid| pid.parse::<i32>().ok())
            .filter(|pid| !live.leaders.contains(pid) && guard.is_none_or(|guard| i64::from(guard) != i64::from(*pid)))
            // A child being spawned just now would look adopted; it must not be reaped here.
            .filter(|pid| live.spawning > 0 || !reap(*pid))
            .collect()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if lock(&self.guard).is_none() {
            // No program was ever started.
            return;
        }
        // The guard keeps its place meanwhile, so that it isn't taken for something left behind.
        let left = self.end_everything();
        if let Some(guard) = lock(&self.guard).take() {
            guard.dismiss(left == 0);
        }
    }
}

/// Reaps a dead child; false when it lives.
fn reap(pid: i32) -> bool {
    let Some(pid) = Pid::from_raw(pid) else { return true };
    !matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None))
}

/// Nothing that can panic runs under these locks, so a poisoned one is as good as another.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
