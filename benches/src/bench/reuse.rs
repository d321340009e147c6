//! What a call costs that is handed a result there is: a whole run of such calls, against the same calls made.
//! It does not know how a result is found.

use super::runner::{Best, inside, run};
use super::table::{Budget, Row, Size};
use anyhow::{Result, ensure};
use fanout::{CacheScope, CacheSpec, Call, Engine, Native, Plan};
use serde_json::json;
use std::time::Instant;

/// Calls of one run, and how many different questions they ask.
const CALLS: usize = 100_000;
const QUESTIONS: usize = 10_000;

/// Arguments of the tools that answer a question.
#[derive(serde::Deserialize, schemars::JsonSchema)]
struct AskArgs {
    about: String,
}

/// A call that is handed a result from memory.
pub(crate) fn rows(size: Size) -> Result<Vec<Row>> {
    let (calls, questions) = (size.of(CALLS), size.of(QUESTIONS));
    let (ours, peer) = inside(async move {
        let engine = engine()?;
        // Every answer is there before anything is measured.
        run(&engine, plan("t.kept", questions, questions)).await?;
        let (mut ours, mut peer) = (Best::new(), Best::new());
        for _ in 0..size.rounds(5) {
            let kept = plan("t.kept", calls, questions);
            let begun = Instant::now();
            let report = run(&engine, kept).await?;
            ours.ended(begun);
            let hits = report.cache.as_ref().map_or(0, |cache| cache.total.hits);
            ensure!(hits == calls as u64, "{hits} of {calls} calls were handed a result");
            drop(report);
            let made = plan("t.made", calls, questions);
            let begun = Instant::now();
            run(&engine, made).await?;
            peer.ended(begun);
        }
        anyhow::Ok((ours, peer))
    })??;
    Ok(vec![Row::new(
        "a call that is handed a result from memory",
        "µs",
        ours.per_call_us(calls),
        "the same call, made",
        peer.per_call_us(calls),
        Budget::AtMost(2.0),
    )])
}

fn engine() -> Result<Engine> {
    let mut tools = Native::new("t");
    let answer = |args: AskArgs| async move { Ok(args.about) };
    tools
        .add("kept", "Answers, and is asked once.", answer)
        .reads("db:all")
        .cache(CacheSpec { scope: Some(CacheScope::Engine), ttl: None });
    tools.add("made", "Answers each time.", answer).reads("db:all");
    Engine::builder().toolbox(tools.into()).build().map_err(|problems| anyhow::anyhow!("{problems:?}"))
}

fn plan(tool: &str, calls: usize, questions: usize) -> Plan {
    let ask = |at: usize| Call::new(format!("c{at}"), tool).args(json!({"about": format!("q{}", at % questions)}));
    Plan::new("asks").with_calls((0..calls).map(ask))
}
