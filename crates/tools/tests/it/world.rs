//! What the tests stand on: attempts, tools from shell scripts, and counts of processes and descriptors.
//! It does not know what is tested.

use fanout_plan::{ArgTemplate, ProcessSpec, TextTemplate};
use fanout_tools::{
    Aborted, Attempt, AttemptId, GuardCommand, ProcessOptions, Processes, Progress, Tool, ToolError, ToolResult,
};
use serde_json::Value;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Descriptors and children are counted, so tests that make any run one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Attempts are unique in an engine; here in all of them.
static ATTEMPTS: AtomicU32 = AtomicU32::new(1);

/// Runs a test on a two-worker runtime with nothing beside it, and sees that it leaves no process and no open
/// descriptor.
pub(crate) fn alone<F: Future<Output = ()>>(test: impl FnOnce(World) -> F) {
    let _alone = turn();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let before = descriptors();
    let world = World::new(GuardKind::Program, false);
    let engine = world.processes.engine_id().to_owned();
    runtime.block_on(test(world));
    eventually("no process of the engine is left", || marked(&engine).is_empty());
    eventually("no child is left, not even a dead one", || children().is_empty());
    eventually(&format!("no more descriptors than before ({before})"), || descriptors() <= before);
}

/// Waits for this test's turn.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which guard an engine has.
#[derive(Clone, Copy)]
pub(crate) enum GuardKind {
    /// This test binary.
    Program,
    /// The shell script.
    Script,
}

/// The process tools of one engine.
pub(crate) struct World {
    pub(crate) processes: Processes,
    pub(crate) dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn new(guard: GuardKind, subreaper: bool) -> World {
        let dir = tempfile::tempdir().unwrap();
        let guard = match guard {
            GuardKind::Program => Some(this_program("killed::guard_program")),
            GuardKind::Script => None,
        };
        let options = ProcessOptions { guard, subreaper, ..ProcessOptions::new(dir.path().join("spill")) };
        World { processes: Processes::new(options), dir }
    }

    pub(crate) fn tool(&self, spec: ProcessSpec) -> Arc<dyn Tool> {
        self.processes.tool(spec)
    }

    /// A tool that runs a shell script, after `change` was made to its description.
    pub(crate) fn sh(&self, script: &str, change: impl FnOnce(&mut ProcessSpec)) -> Arc<dyn Tool> {
        let mut spec = ProcessSpec::new(argv(&["sh", "-c", &script.replace("${", "$${")]));
        spec.base_dir = self.dir.path().to_path_buf();
        spec.grace = Duration::from_millis(300);
        change(&mut spec);
        self.tool(spec)
    }

    /// How many processes of the engine live.
    pub(crate) fn marked(&self) -> usize {
        marked(self.processes.engine_id()).len()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// This test binary, started to do what one of its ignored tests does.
pub(crate) fn this_program(test: &str) -> GuardCommand {
    GuardCommand {
        program: std::env::current_exe().unwrap(),
        args: ["--exact", "--ignored", "--nocapture", test].map(String::from).to_vec(),
    }
}

/// An argv of templates.
pub(crate) fn argv(args: &[&str]) -> Vec<ArgTemplate> {
    args.iter().map(|arg| ArgTemplate::One(TextTemplate::parse(arg).unwrap())).collect()
}

/// An attempt, and the way to abort it.
pub(crate) fn attempt(args: Value, progress: Progress) -> (Attempt, Aborted) {
    let aborted = Aborted::new();
    let attempt = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
    let id = AttemptId { run: "run-1".into(), call: "call[3]".into(), attempt };
    let args = Arc::from(serde_json::value::to_raw_value(&args).unwrap());
    (Attempt { args, id, aborted: aborted.clone(), progress, peer: None }, aborted)
}

/// Runs a tool without arguments to its end.
pub(crate) async fn run(tool: &Arc<dyn Tool>) -> ToolResult {
    run_with(tool, serde_json::json!({})).await
}

/// Runs a tool to its end; none may take longer than 20 seconds.
pub(crate) async fn run_with(tool: &Arc<dyn Tool>, args: Value) -> ToolResult {
    let attempt = attempt(args, Progress::none()).0;
    tokio::time::timeout(Duration::from_secs(20), tool.call(attempt)).await.expect("the call hangs")
}

/// An attempt's progress as an event to wait for.
pub(crate) fn signs() -> (Progress, Arc<tokio::sync::Notify>) {
    let notify = Arc::new(tokio::sync::Notify::new());
    let made = Arc::clone(&notify);
    (Progress::every(Duration::ZERO, move || made.notify_one()), notify)
}

/// A result in one line.
pub(crate) fn show(result: &ToolResult) -> String {
    match result {
        Ok(output) => format!("ok {}", output.value.get()),
        Err(ToolError { class, code, reached, message, .. }) => {
            format!("{class:?} {code}, reached {reached:?}: {message}").to_lowercase()
        }
    }
}

/// The processes that bear an engine's mark.
pub(crate) fn marked(engine: &str) -> Vec<String> {
    bearing(&format!("FANOUT_ENGINE={engine}"))
}

/// The processes that have this in their environment.
pub(crate) fn bearing(mark: &str) -> Vec<String> {
    let bears = |pid: &String| {
        std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.split(|b| *b == 0).any(|entry| entry == mark.as_bytes()))
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().into_string().ok()).filter(bears).collect()
}

pub(crate) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Children of this process, dead ones too.
pub(crate) fn children() -> Vec<String> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    threads
        .flat_map(|thread| {
            let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            children.split_ascii_whitespace().map(String::from).collect::<Vec<_>>()
        })
        .collect()
}

/// Waits for something that only the kernel can tell, for ten seconds at most.
pub(crate) async fn eventually_async(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(10), "never true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The same, where blocking a thread holds up nothing that is waited for.
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(10), "never true: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
