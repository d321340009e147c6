//! Pruning: which runs go, and that nothing else does.
//! It does not know any clock: the time is an argument.

use crate::made::{batch, begin, facts, large, numbered, quiet};
use fanout_core::{AttemptEnd, Time};
use fanout_store::{Batch, Counts, Fact, Finished, Journal, Keep, OwnedRun, Reader, RunState, Summary, discard, prune};
use std::path::Path;
use std::time::Duration;

const DAY: u64 = 86_400_000_000_000;

fn end(journal: &Journal, run: &OwnedRun, day: u64, blob: u32) {
    let value = Fact::Finished(Finished {
        attempt: crate::made::attempt(0, None, 1),
        end: AttemptEnd::Succeeded,
        value: Some(large(blob).into()),
        error: None,
        usage: None,
    });
    let (run_number, at) = (run.number(), Time(day * DAY));
    let summary = Summary { run: run_number, state: RunState::Succeeded, counts: Counts::default(), at };
    journal.append(Batch { summaries: vec![summary], ..batch(run, [numbered(1), value]) }).unwrap();
}

/// Five runs that ended on days 1 to 5, two that did not, one that ended and is still held. Two share a blob.
fn made(dir: &Path) -> (Journal, Vec<OwnedRun>) {
    let journal = quiet(dir);
    let mut held = Vec::new();
    for day in 1..=5 {
        let run = begin(&journal, &format!("day{day}"));
        end(&journal, &run, day, u32::try_from(day / 2).unwrap());
    }
    let open = begin(&journal, "open");
    journal.append(batch(&open, [numbered(1)])).unwrap();
    held.push(begin(&journal, "running"));
    let ended = begin(&journal, "held");
    end(&journal, &ended, 1, 99);
    held.push(ended);
    journal.flush().unwrap();
    (journal, held)
}

fn left(dir: &Path) -> Vec<String> {
    let reader = Reader::open(dir).unwrap();
    assert_eq!(reader.check().unwrap(), []);
    let mut left: Vec<String> = reader.runs().unwrap().runs.into_iter().map(|run| run.id).collect();
    left.sort();
    for run in &left {
        assert_eq!(facts(&reader, run).1, None);
    }
    left
}

fn blobs(dir: &Path) -> usize {
    let folders = std::fs::read_dir(dir.join("blobs")).unwrap();
    folders.map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
}

#[test]
fn the_oldest_go_by_age_by_count_and_by_bytes() {
    let now = Time(6 * DAY);
    let by_age = Keep { age: Some(Duration::from_nanos(3 * DAY)), ..Keep::default() };
    let by_count = Keep { runs: Some(3), ..Keep::default() };
    let by_bytes = Keep { bytes: Some(65_000), ..Keep::default() };
    for keep in [by_age, by_count, by_bytes] {
        let dir = tempfile::tempdir().unwrap();
        let (journal, held) = made(dir.path());
        assert_eq!(blobs(dir.path()), 4);
        let pruned = prune(dir.path(), &keep, now).unwrap();
        assert_eq!(pruned.runs, ["day2", "day1"], "{keep:?}");
        assert!(pruned.bytes > 40_000, "{pruned:?}");
        assert_eq!(left(dir.path()), ["day3", "day4", "day5", "held", "open", "running"]);
        // That of day 1 is gone; that of day 2 is also day 3's.
        assert_eq!((pruned.blobs, blobs(dir.path())), (1, 3));
        // The writer beside it goes on.
        journal.append(batch(&held[0], [numbered(1)])).unwrap();
        journal.flush().unwrap();
    }
}

#[test]
fn everything_that_ended_goes_and_the_disk_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, held) = made(dir.path());
    for round in 0..20 {
        let run = begin(&journal, &format!("more{round}"));
        journal.append(batch(&run, (0..500).map(numbered))).unwrap();
        end(&journal, &run, 2, round);
    }
    journal.flush().unwrap();
    drop((held, journal));
    let before = std::fs::metadata(dir.path().join("journal.db")).unwrap().len();
    let pruned = prune(dir.path(), &Keep { runs: Some(0), ..Keep::default() }, Time(9 * DAY)).unwrap();
    assert_eq!(pruned.runs.len(), 26);
    assert_eq!(left(dir.path()), ["open", "running"]);
    assert_eq!(blobs(dir.path()), 0);
    let after = std::fs::metadata(dir.path().join("journal.db")).unwrap().len();
    assert!(after < before / 4, "{before} {after}");
    let locks = std::fs::read_dir(dir.path().join("locks")).unwrap().count();
    assert_eq!(locks, 4, "two runs, and the locks on blobs and tables");
    assert_eq!(prune(dir.path(), &Keep::default(), Time(9 * DAY)).unwrap().runs, Vec::<String>::new());
}

#[test]
fn what_a_crash_left_beside_the_blobs_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    drop(made(dir.path()));
    let folder = dir.path().join("blobs/ab");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(".new-x"), "half").unwrap();
    std::fs::write(folder.join("ab".repeat(32)), "not named").unwrap();
    std::fs::write(folder.join("README"), "somebody's own").unwrap();
    assert_eq!(prune(dir.path(), &Keep::default(), Time(0)).unwrap().blobs, 2);
    assert!(folder.join("README").exists());
    left(dir.path());
}

#[test]
fn one_run_is_discarded_as_it_was_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, held) = made(dir.path());
    let look = |id: &str| Reader::open(dir.path()).unwrap().run(id).unwrap();
    let running = look("running");
    assert_eq!(discard(dir.path(), &running).unwrap_err().code, "run_locked");
    journal.append(batch(&held[0], [numbered(1)])).unwrap();
    journal.flush().unwrap();
    drop(held);
    assert_eq!(discard(dir.path(), &running).unwrap_err().code, "run_locked", "it went on since");
    let before = left(dir.path());
    assert_eq!(discard(dir.path(), &look("running")).unwrap().runs, ["running"]);
    assert_eq!(discard(dir.path(), &look("open")).unwrap().blobs, 0);
    // Its blob goes with it; one that another run names stays.
    let blobs_before = blobs(dir.path());
    assert_eq!((discard(dir.path(), &look("held")).unwrap().blobs, blobs(dir.path())), (1, blobs_before - 1));
    assert_eq!(discard(dir.path(), &look("day2")).unwrap().blobs, 0);
    let gone = ["running", "open", "held", "day2"];
    let stay: Vec<String> = before.into_iter().filter(|run| !gone.contains(&run.as_str())).collect();
    assert_eq!(left(dir.path()), stay);
    assert_eq!(discard(dir.path(), &running).unwrap_err().code, "run_unknown");
    assert!(!dir.path().join("locks/running.lock").exists());
}
