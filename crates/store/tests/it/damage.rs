//! Journals that were cut or whose bits flipped, at every byte: a prefix is read, or the place is told.
//! It does not know which byte means what.

use crate::made::{attempt, batch, begin, facts, large, numbered, quiet, small_pages};
use fanout_core::AttemptEnd;
use fanout_store::{Fact, Finished, Reader, StoreError};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What was written, as it reads when nothing is wrong.
struct Written {
    dir: TempDir,
    runs: Vec<(&'static str, Vec<String>)>,
}

/// Two runs of eight records. `open`: the log is still there, as after a kill.
fn written(open: bool) -> Written {
    written_with(open, false)
}

/// The same; `blob`: the first run has one more record, with a blob.
fn written_with(open: bool, blob: bool) -> Written {
    let source = tempfile::tempdir().unwrap();
    let dir = tempfile::tempdir().unwrap();
    small_pages(source.path());
    let journal = quiet(source.path());
    let runs = ["first", "second"].map(|id| begin(&journal, id));
    for number in 0..2 {
        for run in &runs {
            journal.append(batch(run, [0, 50, 100, 150].map(|more| numbered(number + more)))).unwrap();
            journal.flush().unwrap();
        }
    }
    let value = Some(large(5).into());
    let finished =
        Finished { attempt: attempt(0, None, 1), end: AttemptEnd::Succeeded, value, error: None, usage: None };
    if blob {
        journal.append(batch(&runs[0], [Fact::Finished(finished)])).unwrap();
    }
    journal.flush().unwrap();
    let reader = Reader::open(source.path()).unwrap();
    let expected = ["first", "second"].map(|id| (id, facts(&reader, id).0)).to_vec();
    assert_eq!((expected[0].1.len(), expected[1].1.len()), (8 + usize::from(blob), 8));
    drop(reader);
    let copy = |dir: &Path| {
        for name in ["journal.db", "journal.db-wal"] {
            let bytes = std::fs::read(source.path().join(name)).unwrap_or_default();
            std::fs::write(dir.join(name), bytes).unwrap();
        }
        let blobs = std::process::Command::new("cp").arg("-r").arg(source.path().join("blobs")).arg(dir).status();
        assert!(blobs.unwrap().success());
    };
    if open {
        copy(dir.path());
        drop(journal);
    } else {
        drop(journal);
        copy(dir.path());
        std::fs::remove_file(dir.path().join("journal.db-wal")).unwrap();
    }
    Written { dir, runs: expected }
}

impl Written {
    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What is left: for each run how many of its records, and what was told. Fails when anything is wrong.
    fn look(&self, what: &str) -> (Vec<usize>, Vec<StoreError>) {
        // Made anew by the next reader.
        let _ = std::fs::remove_file(self.file("journal.db-shm"));
        let reader = match Reader::open(self.dir.path()) {
            Ok(reader) => reader,
            Err(error) => return (vec![0, 0], vec![error]),
        };
        let (mut counts, mut errors) = (Vec::new(), Vec::new());
        match reader.runs() {
            Ok(list) => errors.extend(list.damaged),
            Err(error) => errors.push(error),
        }
        for (id, expected) in &self.runs {
            let (found, error) = facts(&reader, id);
            assert!(expected.starts_with(&found), "{what}, run {id}: {found:?}");
            counts.push(found.len());
            errors.extend(error);
        }
        (counts, errors)
    }

    fn whole(&self) -> Vec<usize> {
        self.runs.iter().map(|(_, facts)| facts.len()).collect()
    }
}

#[test]
fn a_log_cut_at_any_byte_gives_a_prefix() {
    let written = written(true);
    let log = std::fs::read(written.file("journal.db-wal")).unwrap();
    assert!(log.len() > 20_000, "{}", log.len());
    let mut before = written.whole().iter().sum();
    let file = std::fs::OpenOptions::new().write(true).open(written.file("journal.db-wal")).unwrap();
    for length in (0..log.len()).rev() {
        file.set_len(length as u64).unwrap();
        let (counts, errors) = written.look(&format!("cut at {length}"));
        let count: usize = counts.iter().sum();
        assert!(count <= before, "cut at {length}: {count} records, {before} one byte before");
        before = count;
        // Runs that are not begun yet are not known; a prefix of commits has nothing else to tell.
        let unexpected = errors.iter().find(|error| error.code != "run_unknown" && count > 0);
        assert_eq!(unexpected, None, "cut at {length}");
    }
    assert_eq!(before, 0);
    std::fs::write(written.file("journal.db-wal"), &log).unwrap();
    assert_eq!(written.look("whole").0, written.whole());
}

#[test]
fn a_flipped_bit_in_the_log_gives_a_prefix_or_is_told() {
    let written = written(true);
    let log = std::fs::read(written.file("journal.db-wal")).unwrap();
    flip_each(&written, "journal.db-wal", &log);
}

#[test]
fn a_flipped_bit_in_the_database_gives_all_or_is_told() {
    let written = written(false);
    let database = std::fs::read(written.file("journal.db")).unwrap();
    let told = flip_each(&written, "journal.db", &database);
    assert!(told > 500, "{told}");
}

/// Flips one bit of each byte and looks; gives how often it was told.
fn flip_each(written: &Written, name: &str, intact: &[u8]) -> usize {
    let mut told = 0;
    for at in 0..intact.len() {
        let mut damaged = intact.to_vec();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(written.file(name), &damaged).unwrap();
        let (counts, errors) = written.look(&format!("{name}: byte {at}"));
        if name == "journal.db" && counts != written.whole() {
            assert!(!errors.is_empty(), "byte {at}: {counts:?} records and not a word");
        }
        for error in &errors {
            let known = [
                "state_damaged",
                "state_newer",
                "state_older",
                // Where the tables are only in the log, and nothing of it counts.
                "state_missing",
                "record_damaged",
                "run_unknown",
                "state_io",
            ];
            assert!(known.contains(&error.code), "byte {at}: {error:?}");
            assert!(error.code != "record_damaged" || error.place.is_some(), "byte {at}: {error:?}");
        }
        told += usize::from(!errors.is_empty());
    }
    std::fs::write(written.file(name), intact).unwrap();
    let (counts, errors) = written.look("intact again");
    assert_eq!((counts, errors), (written.whole(), Vec::new()));
    told
}

#[test]
fn a_blob_that_changed_is_told_with_its_place() {
    let written = written_with(false, true);
    let folder = std::fs::read_dir(written.file("blobs")).unwrap().next().unwrap().unwrap().path();
    let blob = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let intact = std::fs::read(&blob).unwrap();
    let look = |what: &str| {
        let (counts, errors) = written.look(what);
        assert_eq!(errors.iter().map(|error| error.code).collect::<Vec<_>>(), ["blob_damaged"], "{what}");
        assert_eq!(counts, [8, 8], "{what}");
    };
    for at in (0..intact.len()).step_by(101) {
        let mut damaged = intact.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&blob, &damaged).unwrap();
        look(&format!("byte {at}"));
        std::fs::write(&blob, &intact[..at]).unwrap();
        look(&format!("cut at {at}"));
    }
    let checked = Reader::open(written.dir.path()).unwrap().check().unwrap();
    assert_eq!(checked[0].place.as_ref().map(|place| (&*place.run, place.seq)), Some(("first", Some(8))));
    std::fs::remove_file(&blob).unwrap();
    look("gone");
    // Written again by whoever has the same value: then it is there for both.
    let journal = quiet(written.dir.path());
    let run = begin(&journal, "third");
    let value = Some(large(5).into());
    let finished =
        Finished { attempt: attempt(0, None, 1), end: AttemptEnd::Succeeded, value, error: None, usage: None };
    journal.append(batch(&run, [Fact::Finished(finished)])).unwrap();
    journal.flush().unwrap();
    assert_eq!(written.look("written again"), (vec![9, 8], Vec::new()));
}

#[test]
fn records_that_are_missing_or_swapped_are_told_with_their_place() {
    // Run 1 has two rows, of the records from 0 and from 4 on; so has run 2.
    let row = |run: u64, seq: u64| (run << 32) + seq;
    let (a0, a4, b4) = (row(1, 0), row(1, 4), row(2, 4));
    let cases = [
        (format!("DELETE FROM records WHERE first = {a0}"), 0, "is missing"),
        (format!("DELETE FROM records WHERE first = {a4}"), 4, "is missing"),
        (format!("UPDATE records SET first = first + 1 WHERE first = {a4}"), 4, "is missing"),
        (
            format!(
                "UPDATE records SET payload = (SELECT payload FROM records WHERE first = {b4}),
                  checks = (SELECT checks FROM records WHERE first = {b4}) WHERE first = {a4}"
            ),
            4,
            "not what was",
        ),
        (
            format!("UPDATE records SET payload = replace(payload, 'call\":50', 'call\":51') WHERE first = {a0}"),
            1,
            "not what",
        ),
        (format!("UPDATE records SET payload = json_remove(payload, '$[2]') WHERE first = {a4}"), 5, "not what was"),
        (format!("UPDATE records SET checks = substr(checks, 1, 24) WHERE first = {a0}"), 2, "not what was"),
        (format!("UPDATE records SET checks = zeroblob(48) WHERE first = {a4}"), 4, "not what was"),
        (format!("UPDATE records SET payload = 7 WHERE first = {a4}"), 4, "not what was"),
        (
            format!("INSERT INTO records SELECT {a0} + 8, payload, checks FROM records WHERE first = {a4}"),
            8,
            "not what",
        ),
        (format!("UPDATE records SET payload = payload || ' ' WHERE first = {a4}"), 8, "not what was"),
    ];
    for (sql, seq, message) in cases {
        let written = written(false);
        let connection = rusqlite::Connection::open(written.file("journal.db")).unwrap();
        connection.execute_batch(&sql).unwrap();
        drop(connection);
        let (counts, errors) = written.look(&sql);
        let [error] = &errors[..] else { panic!("{sql}: {errors:?}") };
        assert_eq!((error.code, error.place.as_ref().and_then(|place| place.seq)), ("record_damaged", Some(seq)));
        assert!(error.message.contains(message), "{sql}: {error}");
        assert_eq!(counts, [usize::try_from(seq).unwrap(), 8], "{sql}");
    }
    let run_rows = [
        ("UPDATE runs SET records = 2 WHERE run = 1", vec!["record_damaged", "record_damaged"]),
        ("UPDATE runs SET state = 'succeeded' WHERE run = 1", vec!["record_damaged", "record_damaged"]),
        ("DELETE FROM runs WHERE run = 1", vec!["record_damaged", "run_unknown"]),
    ];
    for (sql, codes) in run_rows {
        let written = written(false);
        rusqlite::Connection::open(written.file("journal.db")).unwrap().execute_batch(sql).unwrap();
        let (counts, errors) = written.look(sql);
        assert_eq!(errors.iter().map(|error| error.code).collect::<Vec<_>>(), codes, "{sql}");
        assert_eq!(counts, [0, 8], "{sql}");
    }
}
