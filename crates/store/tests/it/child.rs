//! What runs in a process of its own: this test binary again, told by its environment what to do.
//! It does not know why its parent wants it dead.

use crate::made::{batch, begin, large, numbered, quiet};
use fanout_core::AttemptEnd;
use fanout_store::{Committed, Fact, Finished, Journal, StoreError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;

/// Where the child writes.
const DIR: &str = "FANOUT_STORE_TEST_DIR";

/// What a child says on its standard output, so that it is not taken for what the test harness says.
pub(crate) const SAID: &str = "said: ";

/// This test binary, to run one of the functions below in `dir`.
pub(crate) fn command(name: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&format!("child::{name}"), "--exact", "--ignored", "--nocapture"]);
    command.env(DIR, dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// The same behind a shell that first does something to its process.
pub(crate) fn after_shell(first: &str, name: &str, dir: &Path) -> Command {
    let plain = command(name, dir);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{first} && exec \"$0\" \"$@\"")]).arg(plain.get_program()).args(plain.get_args());
    shell.env(DIR, dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    shell
}

fn dir() -> PathBuf {
    std::env::var_os(DIR).map(PathBuf::from).expect("run by another test only")
}

fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{SAID}{what}").and_then(|()| out.flush()).unwrap();
}

fn finished(number: u32) -> Fact {
    Fact::Finished(Finished {
        attempt: crate::made::attempt(number, None, 1),
        end: AttemptEnd::Succeeded,
        value: number.is_multiple_of(7).then(|| large(number).into()),
        error: None,
        usage: None,
    })
}

/// Appends until it is killed; says how many records are acknowledged.
#[test]
#[ignore = "run as a child by the test that kills it"]
fn writes_until_killed() {
    let (send, told) = mpsc::channel();
    let journal = Journal::open(&dir(), Box::new(move |committed| send.send(committed).unwrap())).unwrap();
    let run = if dir().join("locks/a.lock").exists() { journal.take("a", |_| Ok(())).ok() } else { None };
    let run = run.unwrap_or_else(|| begin(&journal, "a"));
    let mut appended = u32::try_from(run.info.records).unwrap();
    let mut tickets = std::collections::VecDeque::new();
    loop {
        // Some batches in flight, of different sizes.
        while tickets.len() < 4 {
            let size = 1 + appended % 5;
            let ticket = journal.append(batch(&run, (appended..appended + size).map(finished))).unwrap();
            appended += size;
            tickets.push_back((ticket, appended));
        }
        let Committed::UpTo(durable) = told.recv().unwrap() else { panic!("stopped") };
        let mut acknowledged = None;
        while let Some((ticket, records)) = tickets.front().copied().filter(|(ticket, _)| *ticket <= durable) {
            acknowledged = Some((ticket, records));
            tickets.pop_front();
        }
        if let Some((_, records)) = acknowledged {
            say(&records.to_string());
        }
    }
}

/// Appends until the disk refuses; says what was acknowledged, and what the writer says then and afterwards.
#[test]
#[ignore = "run as a child by the test that limits it"]
fn writes_until_full() {
    let journal = quiet(&dir());
    let run = begin(&journal, "a");
    let mut acknowledged = 0;
    let error: StoreError = loop {
        let appended = journal.append(batch(&run, (0..50).map(numbered))).and_then(|_| journal.flush());
        match appended {
            Ok(()) => acknowledged += 50,
            Err(error) => break error,
        }
        assert!(acknowledged < 10_000_000, "the disk is not limited");
    };
    say(&format!("{acknowledged} {} {}", error.code, journal.append(batch(&run, [numbered(0)])).unwrap_err().code));
    let begun = journal.begin(crate::made::new_run("b")).unwrap_err();
    say(&format!("{acknowledged} {} {}", error.code, begun.code));
}

/// Holds a run until its standard input ends.
#[test]
#[ignore = "run as a child by the test of the lock"]
fn holds_a_run() {
    let journal = quiet(&dir());
    let run = journal.take("a", |_| Ok(())).unwrap();
    say("held");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
    drop(run);
}

/// Opens a journal in a directory it cannot write to, and says what it is told.
#[test]
#[ignore = "run as a child by the test of the read-only disk"]
fn opens() {
    let told = Journal::open(&dir(), Box::new(|_| {})).err().map_or("opened", |error| error.code);
    let reader = fanout_store::Reader::open(&dir());
    let read = reader.map(|reader| crate::made::facts(&reader, "a"));
    let read = match read {
        Ok((facts, error)) => format!("{} {error:?}", facts.len()),
        Err(error) => format!("{error:?}"),
    };
    let code = |error: fanout_store::StoreError| error.code;
    let held = fanout_store::cache_held(&dir()).map_or_else(code, |_| "held");
    let keep = fanout_store::Keep { runs: Some(0), ..fanout_store::Keep::default() };
    let pruned = fanout_store::would_prune(&dir(), &keep, fanout_core::Time(1)).map_or_else(code, |_| "would");
    say(&format!("{told} {read} {held} {pruned}"));
}
