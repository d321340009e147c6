//! What a process tool costs, against `posix_spawn` and wait of the same program.
//! It does not know how the engine starts programs.

use super::runner::{Best, inside};
use super::table::{Budget, Row, Size};
use anyhow::{Context, Result};
use fanout::tools::{Opener, ProcessOptions};
use fanout::{Call, Engine, Plan};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The program, and the toolbox file that names it.
const PROGRAM: &str = "/bin/true";
const TOOLS: &str = "[tools.true]\nargv = [\"/bin/true\"]\neffects = \"none\"\n";

/// One at a time, and eight at a time.
pub(crate) fn rows(size: Size) -> Result<Vec<Row>> {
    [1, 8].into_iter().map(|at_once| row(size, at_once)).collect()
}

fn row(size: Size, at_once: usize) -> Result<Row> {
    let calls = size.of(1_000);
    let (ours, peer) = inside(async move {
        let spill = std::env::temp_dir().join("fanout-bench-spill");
        let opener = Opener::new(ProcessOptions::new(spill));
        let read = fanout::plan::read_toolbox("bench.toml", TOOLS.as_bytes())
            .map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        let mut builder = Engine::builder();
        for declared in read {
            builder = builder.toolbox(opener.open(declared).await.map_err(|problems| anyhow::anyhow!("{problems:?}"))?);
        }
        let engine = builder.build().map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        let (mut ours, mut peer) = (Best::new(), Best::new());
        for _ in 0..size.rounds(5) {
            let plan = Plan::new("processes")
                .limit("running", at_once as u64)
                .with_calls((0..calls).map(|at| Call::new(format!("c{at}"), "true")));
            let begun = Instant::now();
            super::runner::run(&engine, plan).await?;
            ours.ended(begun);
            let begun = Instant::now();
            tokio::task::spawn_blocking(move || spawn_and_wait(calls, at_once)).await??;
            peer.ended(begun);
        }
        anyhow::Ok((ours, peer))
    })??;
    Ok(Row::new(
        format!("process tool, {at_once} at a time"),
        "µs",
        ours.per_call_us(calls),
        "posix_spawn + wait",
        peer.per_call_us(calls),
        Budget::Ratio(1.15),
    ))
}

/// Starts the program so often and waits for it, on as many threads as there are to be processes at once.
/// The standard library uses `posix_spawn` here.
fn spawn_and_wait(calls: usize, at_once: usize) -> Result<()> {
    let some = |calls: usize| {
        (0..calls).try_for_each(|_| {
            let mut command = Command::new(PROGRAM);
            command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().map(drop)
        })
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..at_once).map(|_| scope.spawn(move || some(calls / at_once))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().ok().context("a thread panicked")?.context(PROGRAM))
    })
}
