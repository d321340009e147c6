//! Processes that are killed while they write or hold a run.
//! It does not know in which line of the writer they die: chance decides.

use crate::child::{SAID, command};
use crate::made::{begin, facts, quiet};
use fanout_store::Reader;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// How often the writer is killed.
const KILLS: u32 = 40;

#[test]
fn what_was_acknowledged_is_there_after_every_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..KILLS {
        let mut child = command("writes_until_killed", dir.path()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // After one acknowledgement, or ten, or none that is read.
        let wanted = round % 11;
        let mut read = 0;
        while read < wanted {
            let line = lines.next().expect("the child lives until it is killed").unwrap();
            if let Some(said) = line.split(SAID).nth(1) {
                acknowledged = said.parse().unwrap();
                read += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            // The last line may be cut: it is no longer a whole number of records then.
            if let Some(records) = line.split(SAID).nth(1).and_then(|said| said.parse::<usize>().ok()) {
                acknowledged = acknowledged.max(records);
            }
        }
        if acknowledged == 0 {
            continue;
        }
        let reader = Reader::open(dir.path()).unwrap();
        let (found, error) = facts(&reader, "a");
        assert_eq!(error, None, "round {round}");
        assert!(found.len() >= acknowledged, "round {round}: {} of {acknowledged}", found.len());
        for (seq, fact) in found.iter().enumerate() {
            assert!(fact.contains(&format!("call: {seq},")), "{fact}");
        }
        assert_eq!(reader.runs().unwrap().damaged, []);
        assert!(!reader.is_held("a"));
    }
    assert!(acknowledged > 100, "{acknowledged}");
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(reader.check().unwrap(), []);
}

#[test]
fn a_killed_process_lets_go_of_its_run() {
    let dir = tempfile::tempdir().unwrap();
    let journal = quiet(dir.path());
    drop(begin(&journal, "a"));
    let mut child = command("holds_a_run", dir.path()).stdin(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("held")));
    let reader = Reader::open(dir.path()).unwrap();
    assert!(reader.is_held("a"));
    assert_eq!(journal.take("a", |_| Ok(())).unwrap_err().code, "run_locked");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!reader.is_held("a"));
    journal.take("a", |_| Ok(())).unwrap();
}
