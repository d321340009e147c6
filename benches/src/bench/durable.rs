//! What it costs to remember runs, against bare SQLite writing the same bytes in as many commits; and how fast a
//! record is told again.
//! It does not know what is in the records.

use super::runner::{self, Best, inside};
use super::table::{Budget, Row, Size};
use anyhow::{Context, Result, bail, ensure};
use fanout::{Call, Durable, Engine, Native, Plan, RecordedRun, Resume, RunHandle, RunOptions, RunOutcome, Started};
use rusqlite::{Connection, params};
use serde_json::{Map, json};
use std::path::Path;
use std::time::Instant;

/// How many calls may run at once, and how many are made then.
const WIDTHS: [(u64, usize); 4] = [(1, 500), (8, 4_000), (64, 16_000), (512, 32_000)];

/// Arguments of the tool that writes a key of its own.
#[derive(serde::Deserialize, schemars::JsonSchema)]
struct KeyArgs {
    #[serde(rename = "key")]
    _key: usize,
}

pub(crate) fn rows(size: Size) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (width, calls) in WIDTHS {
        rows.push(inside(async move { width_row(size, width, calls).await })??);
    }
    rows.push(off_row(size)?);
    rows.push(replay_row(size)?);
    Ok(rows)
}

/// A run that is not durable in an engine that could remember one, against one that could not.
fn off_row(size: Size) -> Result<Row> {
    let calls = size.of(200_000);
    let (ours, peer) = inside(async move {
        let dir = tempfile::tempdir()?;
        let (with, without) = (engine(Some(dir.path()), 64)?, engine(None, 64)?);
        let (mut ours, mut peer) = (Best::new(), Best::new());
        for round in 0..size.rounds(8) * 2 {
            let (engine, best) = if round % 2 == 0 { (&with, &mut ours) } else { (&without, &mut peer) };
            let plan = plan(calls, false);
            let begun = Instant::now();
            runner::run(engine, plan).await?;
            best.ended(begun);
        }
        ensure!(with.commits() == 0, "something was remembered");
        anyhow::Ok((ours, peer))
    })??;
    let name = "calls that write, a journal there and not used";
    let (ours, peer) = (ours.per_call_us(calls), peer.per_call_us(calls));
    Ok(Row::new(name, "µs", ours, "no journal there", peer, Budget::Ratio(1.05)))
}

async fn width_row(size: Size, width: u64, calls: usize) -> Result<Row> {
    let calls = size.of(calls);
    let (mut ours, mut peer) = (Best::new(), Best::new());
    for _ in 0..size.rounds(5) {
        let dir = tempfile::tempdir()?;
        let engine = engine(Some(dir.path()), width)?;
        let before = engine.commits();
        let plan = plan(calls, false);
        let begun = Instant::now();
        let run = start(&engine, plan).await?;
        let report = run.report().await;
        ours.ended(begun);
        ensure!(report.outcome == RunOutcome::Succeeded, "the run {:?}", report.outcome);
        let commits = engine.commits() - before;
        drop((run, engine));
        let written = Written::read(dir.path())?;
        peer.ended_after(bare(&written, usize::try_from(commits)?).await?);
    }
    let name = format!("durable calls that write, {width} at a time");
    let (ours, peer) = (ours.per_call_us(calls), peer.per_call_us(calls));
    Ok(Row::new(name, "µs", ours, "bare SQLite, same bytes and commits", peer, Budget::Ratio(1.25)))
}

fn engine(state: Option<&Path>, width: u64) -> Result<Engine> {
    let mut tools = Native::new("t");
    tools.add("write", "Writes its key.", |_: KeyArgs| async { Ok(()) }).writes("db:${args.key}");
    tools
        .add("hang", "Never ends.", |(): ()| async {
            std::future::pending::<()>().await;
            Ok(())
        })
        .effects_none();
    let builder = Engine::builder().toolbox(tools.into()).limit("running", width);
    let builder = state.into_iter().fold(builder, fanout::EngineBuilder::state_dir);
    builder.build().map_err(|problems| anyhow::anyhow!("{problems:?}"))
}

fn plan(calls: usize, hangs: bool) -> Plan {
    let writes = (0..calls).map(|key| Call::new(format!("c{key}"), "t.write").args(json!({"key": key})));
    let plan = Plan::new("durable").with_calls(writes);
    if hangs { plan.call(Call::new("h", "t.hang").after([format!("c{}", calls - 1)])) } else { plan }
}

async fn start(engine: &Engine, plan: Plan) -> Result<RunHandle> {
    let durable = Durable::new(&plan, &Map::new());
    let valid = engine.validate(plan, Map::new()).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    match engine.start_durable(valid, RunOptions::default(), durable).await? {
        Started::New(run) => Ok(run),
        Started::There(info) => bail!("it is there already: {}", info.id),
    }
}

/// All that was written: records, and the plan and the report where they are too large to be among them.
struct Written {
    rows: Vec<(String, Vec<u8>)>,
    blobs: Vec<Vec<u8>>,
}

impl Written {
    fn read(state: &Path) -> Result<Written> {
        let database = Connection::open(state.join("journal.db"))?;
        let mut rows = database.prepare("SELECT payload, checks FROM records ORDER BY first")?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut names = database.prepare("SELECT hash FROM blobs ORDER BY bytes")?;
        let names = names.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        let blob = |name: &String| std::fs::read(state.join("blobs").join(&name[..2]).join(name));
        Ok(Written {
            rows: rows.collect::<rusqlite::Result<_>>()?,
            blobs: names.iter().map(blob).collect::<std::io::Result<_>>()?,
        })
    }
}

/// The same rows, in so many commits, as fast as SQLite takes them; the plan is in the first, the report in the last.
async fn bare(written: &Written, commits: usize) -> Result<std::time::Duration> {
    let dir = tempfile::tempdir()?;
    let mut database = Connection::open(dir.path().join("bare.db"))?;
    database.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    database.pragma_update(None, "synchronous", "FULL")?;
    database.execute_batch(
        "CREATE TABLE records (first INTEGER PRIMARY KEY, payload TEXT, checks BLOB) STRICT;
         CREATE TABLE blobs (value BLOB) STRICT",
    )?;
    let Written { rows, blobs } = written;
    let commits = commits.clamp(1, rows.len().max(1));
    let begun = Instant::now();
    let mut first = 0;
    for commit in 0..commits {
        let until = rows.len() * (commit + 1) / commits;
        let transaction = database.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO records VALUES (?1, ?2, ?3)")?;
            for (at, (payload, checks)) in rows[first..until].iter().enumerate() {
                insert.execute(params![i64::try_from(first + at)?, payload, checks])?;
            }
            let now =
                blobs.iter().enumerate().filter(|(at, _)| if *at == 0 { commit == 0 } else { commit == commits - 1 });
            let mut insert = transaction.prepare_cached("INSERT INTO blobs VALUES (?1)")?;
            for (_, blob) in now {
                insert.execute(params![blob])?;
            }
        }
        transaction.commit()?;
        first = until;
    }
    Ok(begun.elapsed())
}

/// A run whose engine died when all but one call had ended, gone on with by others, each with a copy of its record.
fn replay_row(size: Size) -> Result<Row> {
    let calls = size.of(100_000);
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let id = runtime.block_on(async {
        let engine = engine(Some(dir.path()), 4_096)?;
        let run = start(&engine, plan(calls, true)).await?;
        let mut events = run.events();
        while let Some(event) = events.next().await {
            if matches!(event.what, fanout::What::CallStarted { ref tool, .. } if &**tool == "t.hang") {
                break;
            }
        }
        while run.snapshot().await.context("it goes on")?.counts.succeeded < calls {
            tokio::task::yield_now().await;
        }
        let id = run.id().to_owned();
        // It dies without a word; what it holds is let go of with its threads.
        std::mem::forget(engine);
        anyhow::Ok(id)
    })?;
    runtime.shutdown_background();
    let (records, took) = inside(async move {
        let (mut records, mut took) = (0, Best::new());
        for _ in 0..size.rounds(5) {
            let copied = tempfile::tempdir()?;
            copy(dir.path(), copied.path())?;
            let engine = engine(Some(copied.path()), 4_096)?;
            let recorded = RecordedRun::read(copied.path(), &id)?;
            let plan = Plan::from_value(recorded.plan.clone()).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
            let valid = engine.validate(plan, Map::new()).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
            let begun = Instant::now();
            let run = engine.resume(&recorded, valid, Resume::default()).await?;
            took.ended(begun);
            records = recorded.info.records;
            run.cancel(fanout::Cancel::Kill);
            run.report().await;
        }
        anyhow::Ok((records, took))
    })??;
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let facts = records as f64 / took.0.as_secs_f64() / 1e6;
    Ok(Row::new("a record told again: read, checked, taken in", "M facts/s", facts, "none", 1.0, Budget::AtLeast(0.5)))
}

/// Copies what is in a directory into another.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir(&to)?;
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}
