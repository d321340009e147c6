//! How the rows run plans: an engine at its defaults, with validation, report and one reader of events.
//! It does not know the plans.

use anyhow::{Context, Result, ensure};
use fanout::{Engine, Native, Plan, Report, RunOutcome};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Arguments of the tools that touch a row of a table.
#[derive(serde::Deserialize, schemars::JsonSchema)]
struct RowArgs {
    #[serde(rename = "id")]
    _id: String,
}

/// Arguments of the tool that counts.
#[derive(serde::Deserialize, schemars::JsonSchema)]
struct CountArgs {
    n: usize,
}

/// Arguments of the tool that takes anything.
#[derive(serde::Deserialize, schemars::JsonSchema)]
struct TakeArgs {
    #[serde(rename = "x")]
    _x: serde_json::Value,
}

/// An engine at its defaults with native tools that do nothing.
pub(crate) fn engine() -> Result<Engine> {
    let mut tools = Native::new("t");
    tools.add("noop", "Does nothing.", |(): ()| async { Ok(()) }).effects_none();
    tools.add("take", "Takes a value.", |_: TakeArgs| async { Ok(()) }).effects_none();
    tools.add("read", "Reads the one key.", |(): ()| async { Ok(()) }).reads("db:one");
    tools.add("write", "Writes the one key.", |(): ()| async { Ok(()) }).writes("db:one");
    tools.add("row", "Writes the key that it is told.", |_: RowArgs| async { Ok(()) }).writes("db:rows/${args.id}");
    tools
        .add("ids", "Gives n names.", |args: CountArgs| async move {
            Ok((0..args.n).map(|at| at.to_string()).collect::<Vec<_>>())
        })
        .effects_none();
    Engine::builder().toolbox(tools.into()).build().map_err(|problems| anyhow::anyhow!("{problems:?}"))
}

/// Validates and runs a plan, reading its events, and checks that every call succeeded.
pub(crate) async fn run(engine: &Engine, plan: Plan) -> Result<Arc<Report>> {
    let valid = match engine.validate(plan, serde_json::Map::new()) {
        Ok(valid) => valid,
        Err(problems) => anyhow::bail!("{:?}", problems.first()),
    };
    let run = engine.run(valid);
    let mut events = run.events();
    let reader = tokio::spawn(async move {
        let mut read: u64 = 0;
        while events.next().await.is_some() {
            read += 1;
        }
        read
    });
    let report = run.report().await;
    ensure!(reader.await? > 0, "no event was read");
    ensure!(report.outcome == RunOutcome::Succeeded, "the run {:?}", report.outcome);
    Ok(report)
}

/// Runs a future as a task of a runtime with two workers.
pub(crate) fn inside<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    Ok(runtime.block_on(async { tokio::spawn(future).await })?)
}

/// The best of some durations.
#[derive(Clone, Copy)]
pub(crate) struct Best(pub(crate) Duration);

impl Best {
    /// Nothing measured yet.
    pub(crate) fn new() -> Best {
        Best(Duration::MAX)
    }

    /// One more measurement, begun at this moment and ended now.
    pub(crate) fn ended(&mut self, begun: Instant) {
        self.0 = self.0.min(begun.elapsed());
    }

    /// One more measurement, of this length.
    pub(crate) fn ended_after(&mut self, took: Duration) {
        self.0 = self.0.min(took);
    }

    /// Microseconds per call.
    pub(crate) fn per_call_us(self, calls: usize) -> f64 {
        self.0.as_secs_f64() * 1e6 / calls.max(1) as f64
    }
}

/// The peer of calls that need not wait for each other: as many futures that do nothing, in a `JoinSet`.
pub(crate) async fn join_set(calls: usize) {
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..calls {
        set.spawn(async {});
    }
    while set.join_next().await.is_some() {}
}

/// The peer of calls that wait for one another: each future spawned when the one before has ended.
pub(crate) async fn one_by_one(calls: usize) {
    for _ in 0..calls {
        // A future that does nothing does not panic.
        let _ = tokio::spawn(async {}).await;
    }
}

/// What a process has in memory: its number, or `self`.
pub(crate) fn resident_mib(process: &str) -> Result<f64> {
    let statm = std::fs::read_to_string(format!("/proc/{process}/statm"))?;
    let pages: u32 = statm.split_ascii_whitespace().nth(1).context("statm has no second field")?.parse()?;
    Ok(f64::from(pages) * 4_096.0 / f64::from(1 << 20))
}
