//! What a waiting call costs in memory, counted by the allocator.
//! It does not know what the bytes are.

use super::allocator;
use super::runner::inside;
use super::table::{Budget, Row, Size};
use anyhow::{Result, ensure};
use fanout::{Call, Engine, Native, Plan};
use std::sync::Arc;
use tokio::sync::{Notify, Semaphore};

/// Calls that wait for one that does not end, against tasks that wait for a notification.
pub(crate) fn rows(size: Size) -> Result<Vec<Row>> {
    let calls = size.of(1_000_000);
    let (ours, peer) = inside(async move {
        // The peer first: an engine that ends frees memory for a while.
        let peer = waiting_futures(calls).await;
        anyhow::Ok((waiting_calls(calls).await?, peer))
    })??;
    Ok(vec![Row::new(
        format!("memory per waiting call, {calls} calls"),
        "B",
        ours,
        "a spawned future that waits",
        peer,
        Budget::AtMost(600.0),
    )])
}

async fn waiting_calls(calls: usize) -> Result<f64> {
    let (began, end) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let mut tools = Native::new("t");
    let hold = (began.clone(), end.clone());
    tools
        .add("hold", "Ends when it is told to.", move |(): ()| {
            let (began, end) = hold.clone();
            async move {
                began.notify_one();
                // The semaphore is never closed.
                let _ = end.acquire().await;
                Ok(())
            }
        })
        .effects_none();
    tools.add("noop", "Does nothing.", |(): ()| async { Ok(()) }).effects_none();
    let engine = Engine::builder().toolbox(tools.into()).build().map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    allocator::start();
    let waiting = (1..calls).map(|at| Call::new(format!("c{at}"), "t.noop").after(["hold"]));
    let plan = Plan::new("waiting").call(Call::new("hold", "t.hold")).with_calls(waiting);
    let valid = engine.validate(plan, serde_json::Map::new()).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let run = engine.run(valid);
    began.notified().await;
    // The driver answers when it has done what it had to do.
    let snapshot = run.snapshot().await;
    let bytes = allocator::live_bytes();
    allocator::stop();
    ensure!(snapshot.is_some(), "the run has ended before it was measured");
    end.add_permits(1);
    let report = run.report().await;
    ensure!(report.calls.len() == calls, "{} calls in the report", report.calls.len());
    Ok(bytes as f64 / calls as f64)
}

async fn waiting_futures(calls: usize) -> f64 {
    let end = Arc::new(Notify::new());
    allocator::start();
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..calls {
        let end = end.clone();
        set.spawn(async move { end.notified().await });
    }
    let bytes = allocator::live_bytes();
    allocator::stop();
    set.abort_all();
    while set.join_next().await.is_some() {}
    bytes as f64 / calls as f64
}
