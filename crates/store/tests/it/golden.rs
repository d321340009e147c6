//! Journals written by released versions, which every later version reads.
//! It does not know how they were written; `UPDATE_GOLDEN=1` adds one for a new version of the tables.

use crate::made::{batch, begin, every_kind, facts, new_run, numbered, quiet};
use fanout_core::{Stamp, Time};
use fanout_store::{
    Batch, Begun, CacheChange, CacheEntry, CacheKey, Counts, DiskCache, KeyPath, NewRun, Reader, RunState,
    SCHEMA_VERSION, Summary,
};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// One run with every kind of fact, one that ended, one with a key, and a cached result.
fn write(dir: &Path) {
    let journal = quiet(dir);
    let run = begin(&journal, "every-kind");
    journal.append(batch(&run, every_kind())).unwrap();
    let ended = begin(&journal, "ended");
    let counts = Counts { calls: 1, succeeded: 1, ..Counts::default() };
    let summary = Summary { run: ended.number(), state: RunState::Succeeded, counts, at: Time(9_000) };
    journal.append(Batch { summaries: vec![summary], ..batch(&ended, [numbered(1)]) }).unwrap();
    let keyed = NewRun { key: Some("nightly".into()), ..new_run("keyed") };
    assert!(matches!(journal.begin(keyed).unwrap(), Begun::New(_)));
    let reads = [KeyPath::new(["file:", "src"])].into();
    let key = CacheKey::new("tool 1", &crate::made::json("{}")).unwrap();
    let (value, tool) = (crate::made::json("42"), "tool".into());
    let entry = CacheEntry { key, tool, value, whole: None, reads, stored: Time(7), stamp: Stamp(0), by: 0 };
    journal.append(Batch { cache: vec![CacheChange::Store(entry.into())], ..Batch::default() }).unwrap();
    journal.flush().unwrap();
}

/// All that can be read of a data directory.
fn text(dir: &Path) -> String {
    let reader = Reader::open(dir).unwrap();
    let mut text = String::new();
    let list = reader.runs().unwrap();
    assert_eq!(list.damaged, []);
    for run in list.runs {
        writeln!(text, "{} {:?} {:?} {:?} {:?}", run.id, run.key, run.state, run.counts, run.updated).unwrap();
        let (facts, error) = facts(&reader, &run.id);
        assert_eq!(error, None);
        for fact in facts {
            // Large values by their length: they are made of one letter.
            let fact = fact.replace(&"x".repeat(20_000), "(20,000 times x)");
            writeln!(text, "  {fact}").unwrap();
        }
    }
    let cached = CacheKey::new("tool 1", &crate::made::json("{}")).unwrap();
    let looked = DiskCache::open(dir).unwrap().look(&cached).unwrap();
    writeln!(text, "cached {:?}", looked.found.map(|found| (found.value.get().to_owned(), found.stored))).unwrap();
    text
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
}

#[test]
fn journals_of_all_versions_are_read() {
    for version in 1..=SCHEMA_VERSION {
        let kept = golden().join(format!("v{version}"));
        if !kept.exists() && std::env::var_os("UPDATE_GOLDEN").is_some() && version == SCHEMA_VERSION {
            write(&kept);
            std::fs::remove_dir_all(kept.join("locks")).unwrap();
            std::fs::write(golden().join(format!("v{version}.txt")), text(&kept)).unwrap();
            // Made by the reader.
            for name in ["journal.db-wal", "journal.db-shm"] {
                std::fs::remove_file(kept.join(name)).unwrap();
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let copied = dir.path().join("data");
        copy(&kept, &copied);
        // Opened for writing first: older versions are migrated by that.
        drop(quiet(&copied));
        let expected = std::fs::read_to_string(golden().join(format!("v{version}.txt"))).unwrap();
        assert_eq!(text(&copied), expected, "version {version}");
        assert_eq!(Reader::open(&copied).unwrap().check().unwrap(), []);
    }
}

/// Whoever changes what is written must see it here, and add a version.
#[test]
fn what_is_written_now_reads_like_the_newest_of_them() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let expected = std::fs::read_to_string(golden().join(format!("v{SCHEMA_VERSION}.txt"))).unwrap();
    assert_eq!(text(dir.path()), expected);
}
