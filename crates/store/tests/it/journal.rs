//! Writing and reading: records of many runs, blobs, keys, locks, readers beside a writer.
//! It does not know what happens when the disk fails (`disk.rs`, `damage.rs`).

use crate::made::{batch, begin, every_kind, facts, json, large, new_run, numbered, quiet};
use fanout_core::{AttemptEnd, Time};
use fanout_store::{
    Batch, Begun, Committed, Counts, Fact, Finished, Journal, NewRun, Reader, RunState, Summary, Ticket, ToolIdentity,
    Value,
};
use std::sync::mpsc;
use std::time::{Duration, Instant};

#[test]
fn every_kind_of_fact_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let journal = quiet(dir.path());
    let run = begin(&journal, "a");
    journal.append(batch(&run, every_kind())).unwrap();
    journal.flush().unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let (found, error) = facts(&reader, "a");
    assert_eq!(error, None);
    let expected = every_kind();
    assert_eq!(found.len(), expected.len());
    for (seq, (found, fact)) in found.iter().zip(&expected).enumerate() {
        let fact = format!("{fact:?}");
        let is_large = fact.len() > 20_000;
        assert!(is_large || found.contains(&fact), "{seq}: {found}\n{fact}");
    }
    assert_eq!(found.iter().filter(|fact| fact.contains(large(1).get()) || fact.contains(large(2).get())).count(), 2);
    assert_eq!(reader.check().unwrap(), []);
    let info = reader.run("a").unwrap();
    assert_eq!((info.records, info.state), (expected.len() as u64, RunState::Running));
    assert!(info.bytes > 40_000, "{info:?}");
}

#[test]
fn what_a_tool_was_comes_back_field_by_field() {
    let dir = tempfile::tempdir().unwrap();
    let journal = quiet(dir.path());
    let run = begin(&journal, "a");
    let fields = [("args", "1"), ("timeout", "2")].map(|(name, hash)| (name.to_owned(), hash.to_owned())).into();
    let tools = vec![ToolIdentity { name: "pay".into(), hash: "abc".into(), fields }];
    journal.append(batch(&run, [Fact::RunTaken { tools: tools.clone() }])).unwrap();
    journal.flush().unwrap();
    let mut found = Vec::new();
    let replayed = Reader::open(dir.path()).unwrap().replay("a", |_, record| match record.fact {
        Fact::RunTaken { tools } => found = tools,
        other => panic!("{other:?}"),
    });
    replayed.unwrap();
    assert_eq!(found, tools);
}

#[test]
fn each_commit_is_told_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (send, told) = mpsc::channel();
    let journal = Journal::open(dir.path(), Box::new(move |committed| send.send(committed).unwrap())).unwrap();
    let runs = ["a", "b", "c"].map(|id| begin(&journal, id));
    let mut last = Ticket::default();
    for number in 0..300 {
        let ticket = journal.append(batch(&runs[number as usize % 3], [numbered(number)])).unwrap();
        assert!(ticket > last);
        last = ticket;
    }
    let mut before = Ticket::default();
    while before < last {
        let Committed::UpTo(ticket) = told.recv().unwrap() else { panic!("stopped") };
        assert!(ticket > before);
        before = ticket;
        // What was told is there for others.
        let records: u64 = Reader::open(dir.path()).unwrap().runs().unwrap().runs.iter().map(|run| run.records).sum();
        assert!(records + 3 >= ticket.0, "{records} {ticket:?}");
    }
    assert_eq!(journal.durable(), last);
    assert_eq!(journal.backlog_bytes(), 0);
    drop(journal);
    let reader = Reader::open(dir.path()).unwrap();
    for run in ["a", "b", "c"] {
        assert_eq!(facts(&reader, run).0.len(), 100);
    }
}

#[test]
fn a_run_goes_on_where_another_left_it() {
    let dir = tempfile::tempdir().unwrap();
    for part in 0..3 {
        let journal = quiet(dir.path());
        let run = if part == 0 { begin(&journal, "a") } else { journal.take("a", |_| Ok(())).unwrap() };
        assert_eq!(run.info.records, part * 2);
        journal.append(batch(&run, [numbered(1), numbered(2)])).unwrap();
    }
    let (found, error) = facts(&Reader::open(dir.path()).unwrap(), "a");
    assert_eq!((found.len(), error), (6, None));
}

#[test]
fn one_process_at_a_time_has_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (quiet(dir.path()), quiet(dir.path()));
    let run = begin(&one, "a");
    assert_eq!(two.take("a", |_| Ok(())).unwrap_err().code, "run_locked");
    assert!(Reader::open(dir.path()).unwrap().is_held("a"));
    drop(run);
    assert!(!Reader::open(dir.path()).unwrap().is_held("a"));
    let run = two.take("a", |_| Ok(())).unwrap();
    assert_eq!(one.take("a", |_| Ok(())).unwrap_err().code, "run_locked");
    two.append(batch(&run, [numbered(1)])).unwrap();
    two.flush().unwrap();
    assert_eq!(two.take("nothing", |_| Ok(())).unwrap_err().code, "run_unknown");
    assert_eq!(two.take("../a", |_| Ok(())).unwrap_err().code, "run_unknown");
}

#[test]
fn a_run_is_let_go_when_all_of_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (quiet(dir.path()), quiet(dir.path()));
    let run = begin(&one, "a");
    let busy = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
    busy.execute_batch("BEGIN IMMEDIATE").unwrap();
    one.append(batch(&run, [numbered(1), numbered(2)])).unwrap();
    drop(run);
    assert!(Reader::open(dir.path()).unwrap().is_held("a"), "its records wait to be written");
    busy.execute_batch("COMMIT").unwrap();
    one.flush().unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    let run = loop {
        match two.take("a", |_| Ok(())) {
            Err(error) if error.code == "run_locked" && Instant::now() < until => std::thread::yield_now(),
            taken => break taken.unwrap(),
        }
    };
    assert_eq!(run.info.records, 2);
    two.append(batch(&run, [numbered(3)])).unwrap();
    two.flush().unwrap();
    // Who knows that all is on disk need not wait for others whose records are not.
    run.release();
    let taken = one.take("a", |_| Ok(())).unwrap();
    assert_eq!((taken.info.records, facts(&Reader::open(dir.path()).unwrap(), "a").1), (3, None));
}

#[test]
fn a_reader_waits_while_the_tables_are_made() {
    let made = tempfile::tempdir().unwrap();
    drop(quiet(made.path()));
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        std::fs::create_dir(file("locks")).unwrap();
        let making = std::fs::File::create(file("locks/tables.lock")).unwrap();
        making.lock().unwrap();
        std::fs::write(file("journal.db"), "").unwrap();
        let path = dir.path().to_path_buf();
        let reader = std::thread::spawn(move || Reader::open(&path)?.runs().map(|list| list.runs.len()));
        std::fs::copy(made.path().join("journal.db"), file("made.db")).unwrap();
        std::fs::rename(file("made.db"), file("journal.db")).unwrap();
        drop(making);
        assert_eq!(reader.join().unwrap(), Ok(0));
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("journal.db"), "").unwrap();
    assert_eq!(Reader::open(dir.path()).unwrap_err().code, "state_missing", "nobody makes them");
}

#[test]
fn a_key_starts_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (quiet(dir.path()), quiet(dir.path()));
    let keyed = |id: &str, plan: &str| NewRun { key: Some("K".into()), plan_hash: plan.into(), ..new_run(id) };
    let Begun::New(first) = one.begin(keyed("a", "p")).unwrap() else { panic!("there") };
    let Begun::There(info) = two.begin(keyed("b", "p")).unwrap() else { panic!("new") };
    assert_eq!(info.id, first.info.id);
    assert_eq!(two.begin(keyed("c", "q")).unwrap_err().code, "run_key_taken");
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(reader.run_of_key("K").unwrap().unwrap().id, "a");
    assert_eq!(reader.run_of_key("L").unwrap(), None);
    assert_eq!(reader.runs().unwrap().runs.len(), 1);
    // The writer that refused goes on.
    begin(&two, "d");
}

#[test]
fn summaries_are_what_the_list_of_runs_shows() {
    let dir = tempfile::tempdir().unwrap();
    let journal = quiet(dir.path());
    let run = begin(&journal, "a");
    let counts = Counts { calls: 3, succeeded: 1, failed: 1, in_doubt: 1, ..Counts::default() };
    let summary = Summary { run: run.number(), state: RunState::Failed, counts, at: Time(5_000) };
    journal.append(Batch { summaries: vec![summary], ..batch(&run, [numbered(1)]) }).unwrap();
    journal.flush().unwrap();
    let info = Reader::open(dir.path()).unwrap().run("a").unwrap();
    assert_eq!((info.state, info.counts, info.updated), (RunState::Failed, counts, Time(5_000)));
    // A run that ended gets no records: that is a mistake of the caller, and stops the writer.
    journal.append(batch(&run, [numbered(2)])).unwrap();
    assert_eq!(journal.flush().unwrap_err().code, "run_unknown");
    assert_eq!(journal.append(Batch::default()).unwrap_err().code, "run_unknown");
}

#[test]
fn equal_large_values_are_one_blob() {
    let dir = tempfile::tempdir().unwrap();
    let journal = quiet(dir.path());
    let run = begin(&journal, "a");
    let finished = |value| {
        Fact::Finished(Finished {
            attempt: crate::made::attempt(0, None, 1),
            end: AttemptEnd::Succeeded,
            value: Some(Value::Text(value)),
            error: None,
            usage: None,
        })
    };
    journal.append(batch(&run, [finished(large(1)), finished(large(1)), finished(large(2))])).unwrap();
    journal.append(batch(&run, [finished(large(1)), finished(json("1"))])).unwrap();
    journal.flush().unwrap();
    let info = Reader::open(dir.path()).unwrap().run("a").unwrap();
    assert!((40_000..42_000).contains(&info.bytes), "{info:?}");
}

#[test]
fn a_directory_without_a_journal_is_said_to_be_so() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Reader::open(dir.path()).unwrap_err().code, "state_missing");
    std::fs::write(
        dir.path().join("journal.db"),
        "not a database, but long enough to be looked at by SQLite".repeat(9),
    )
    .unwrap();
    assert_eq!(Reader::open(dir.path()).unwrap_err().code, "state_damaged");
    assert_eq!(Journal::open(dir.path(), Box::new(|_| {})).err().unwrap().code, "state_damaged");
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert_eq!(Journal::open(&dir.path().join("file"), Box::new(|_| {})).err().unwrap().code, "state_io");
}
