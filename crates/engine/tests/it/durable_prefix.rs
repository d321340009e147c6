//! A record that ends anywhere: whatever a crash left of it, its run goes on, and everything is asked once.
//! It does not know what the core allows a record to say; the core's simulation tries that.

use crate::durable::{World, begun, continued, shape};
use fanout::{Approve, DoubtAnswer, RecordedRun, Report, Resume, RunHandle, What};
use fanout_store::{Batch, Begun, Journal, NewRun, Reader, Record};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const PLAN: &str = r#"
name: asks
calls:
  - {id: a, tool: write, args: {what: a}, in_doubt: ask}
  - {id: b, tool: read, args: {what: b}}
  - {id: w, tool: write, args: {what: "w${a}"}, approval: always, in_doubt: ask}
  - {id: all, tool: write, foreach: "${b}", args: {what: "${item}"}, approval: always, in_doubt: ask}
  - {id: h, tool: lose, args: {what: "h${b[0]}"}, in_doubt: ask}
  - {id: no, tool: write, args: {what: no}, when: "h == 'x'"}
  - {id: c, tool: write, args: {what: "c${w}${h}"}, after: [no, all], in_doubt: ask}
output: "${c}"
"#;

/// Answers all that is asked; says how often what was asked.
async fn answered(run: &RunHandle) -> (Arc<Report>, BTreeMap<String, u32>) {
    let mut asked = BTreeMap::new();
    let mut events = run.events();
    while let Some(event) = events.next().await {
        match event.what {
            What::ApprovalAsked { call, args, .. } => {
                *asked.entry(call.to_string()).or_default() += 1;
                let what = args["what"].as_str().expect("a text").to_owned();
                run.approve(&call, Approve::With(serde_json::json!({"what": what}))).await.expect("it was asked");
            }
            What::CallDoubted { call, .. } => {
                *asked.entry(format!("{call}?")).or_default() += 1;
                run.settle(&call, DoubtAnswer::Rerun);
            }
            _ => {}
        }
    }
    (run.report().await, asked)
}

/// The first records of a run, as those of another one.
fn begun_with(state: &Path, id: &str, records: &[Record]) {
    let journal = Journal::open(state, Box::new(|_| {})).expect("a journal");
    let new = NewRun { id: id.into(), name: "asks".into(), ..NewRun::default() };
    let Ok(Begun::New(run)) = journal.begin(new) else { panic!("it is new") };
    let records = records.iter().map(|record| (run.number(), record.clone())).collect();
    journal.append(Batch { records, ..Batch::default() }).expect("it is written");
    journal.flush().expect("it is on disk");
}

fn records(state: &Path, id: &str) -> Vec<Record> {
    let mut records = Vec::new();
    Reader::open(state).expect("it is there").replay(id, |_, record| records.push(record)).expect("it can be read");
    records
}

#[tokio::test]
async fn a_record_that_ends_anywhere_goes_on_and_asks_once() {
    let (world, dir) = (World::default(), tempfile::tempdir().expect("a folder"));
    world.hangs.store(1, Ordering::SeqCst);
    let engine = world.engine(dir.path());
    let first = begun(&engine, PLAN).await;
    let (report, asked) = answered(&first).await;
    let whole = shape(&report);
    assert_eq!(asked, ["w", "all[0]", "all[1]", "h?"].map(|call| (call.to_owned(), 1)).into());
    let all = records(dir.path(), first.id());
    assert!(all.len() > 30, "{}", all.len());
    for count in 1..=all.len() {
        let id = format!("prefix-{count}");
        begun_with(dir.path(), &id, &all[..count]);
        let recorded = RecordedRun::read(dir.path(), &id).expect("it can be read");
        let run = continued(&engine, &recorded, Resume::default()).await;
        let going = tokio::time::timeout(Duration::from_secs(10), answered(&run));
        let (report, asked) = going.await.unwrap_or_else(|_| panic!("{count} does not end"));
        assert!(asked.values().all(|times| *times == 1), "{count}: {asked:?}");
        assert_eq!(plain(&shape(&report)), plain(&whole), "after {count} records: {:?}", all[count - 1]);
    }
}

/// Without how often each was tried, and what came after a doubt of another life.
fn plain(shape: &str) -> String {
    shape.replace(" after doubt", "").replace(" x2", "").replace(" x3", "")
}
