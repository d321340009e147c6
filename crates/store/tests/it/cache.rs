//! The cache on disk against a naive model: what is found, what writes drop and keep out, what has to make room.
//! It does not know how it finds its entries.

use crate::made::{begin, json, quiet, small_pages};
use fanout_core::{Stamp, Time};
use fanout_store::{
    Batch, CacheBounds, CacheChange, CacheEntry, CacheKey, CacheOwner, CacheWrite, Cleared, Committed, Counts,
    DiskCache, Evicted, Journal, KeyPath, RunState, Summary, cache_clear, cache_held,
};
use proptest::prelude::*;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

fn key(number: u32) -> CacheKey {
    CacheKey::new("tool 1", &json(&format!("{{\"n\": {number}}}"))).unwrap()
}

fn path(segments: &[&str]) -> KeyPath {
    KeyPath::new(segments.iter().copied())
}

fn entry(number: u32, value: &str, reads: &[&[&str]]) -> CacheEntry {
    let reads = reads.iter().map(|segments| path(segments)).collect();
    let value = json(&format!("\"{value}\""));
    CacheEntry {
        key: key(number),
        tool: "tool".into(),
        value,
        whole: None,
        reads,
        stored: Time(10),
        stamp: Stamp(0),
        by: 1,
    }
}

fn store(entry: CacheEntry) -> CacheChange {
    CacheChange::Store(Box::new(entry))
}

fn write(owner: &Journal, call: &str, paths: &[KeyPath]) -> CacheWrite {
    CacheWrite { owner: CacheOwner::Process(owner.token().clone()), call: call.into(), paths: paths.into() }
}

fn change(journal: &Journal, cache: impl IntoIterator<Item = CacheChange>) {
    journal.append(Batch { cache: cache.into_iter().collect(), ..Batch::default() }).unwrap();
    journal.flush().unwrap();
}

fn found(disk: &mut DiskCache, number: u32) -> Option<String> {
    disk.look(&key(number)).unwrap().found.map(|found| found.value.get().to_owned())
}

fn now(disk: &mut DiskCache) -> Stamp {
    disk.look(&key(u32::MAX)).unwrap().stamp
}

#[derive(Clone, Debug)]
enum Op {
    /// What the look told that many operations ago is given back.
    Store(u32, Vec<Vec<usize>>, usize),
    Open(u8, Vec<usize>),
    Close(u8, Vec<usize>),
    Get(u32),
}

const NAMES: [&str; 7] = ["a", "b", "a-", "a.b", "ä\n\\n", "", "\u{10ffff}😀"];

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let path = || prop::collection::vec(0..NAMES.len(), 0..4);
    let op = prop_oneof![
        3 => (0..12u32, prop::collection::vec(path(), 0..3), 0..4usize)
            .prop_map(|(key, reads, ago)| Op::Store(key, reads, ago)),
        1 => (0..2u8, path()).prop_map(|(call, path)| Op::Open(call, path)),
        1 => (0..2u8, path()).prop_map(|(call, path)| Op::Close(call, path)),
        3 => (0..12u32).prop_map(Op::Get),
    ];
    prop::collection::vec(op, 1..60)
}

fn named(segments: &[usize]) -> KeyPath {
    KeyPath::new(segments.iter().map(|&index| NAMES[index]))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn it_finds_what_a_model_finds(ops in ops()) {
        let dir = tempfile::tempdir().unwrap();
        let journal = quiet(dir.path());
        let mut disk = DiskCache::open(dir.path()).unwrap();
        let mut model: HashMap<u32, CacheEntry> = HashMap::new();
        let (mut written, mut open): (Vec<KeyPath>, Vec<(u8, KeyPath)>) = (Vec::new(), Vec::new());
        let mut stamps = vec![(Stamp(0), 0)];
        for (at, op) in ops.into_iter().enumerate() {
            let over = |reads: &[KeyPath], path: &KeyPath| reads.iter().any(|read| read.overlaps(path));
            match op {
                Op::Store(number, reads, ago) => {
                    let (stamp, seen) = stamps[stamps.len() - 1 - ago.min(stamps.len() - 1)];
                    let reads: Arc<[KeyPath]> = reads.iter().map(|segments| named(segments)).collect();
                    let value = json(&at.to_string());
                    let entry = CacheEntry { value, reads: reads.clone(), stamp, ..entry(number, "", &[]) };
                    change(&journal, [store(entry.clone())]);
                    let came = written[seen..].iter().any(|path| over(&reads, path));
                    if !came && !open.iter().any(|(_, path)| over(&reads, path)) {
                        model.insert(number, entry);
                    }
                }
                Op::Open(call, segments) => {
                    let path = named(&segments);
                    change(&journal, [CacheChange::Open(write(&journal, &call.to_string(), std::slice::from_ref(&path)))]);
                    model.retain(|_, entry| !over(&entry.reads, &path));
                    written.push(path.clone());
                    open.push((call, path));
                }
                Op::Close(call, segments) => {
                    let path = named(&segments);
                    change(&journal, [CacheChange::Close(write(&journal, &call.to_string(), std::slice::from_ref(&path)))]);
                    model.retain(|_, entry| !over(&entry.reads, &path));
                    written.push(path);
                    open.retain(|(other, _)| *other != call);
                }
                Op::Get(number) => {
                    let looked = disk.look(&key(number)).unwrap();
                    prop_assert!(!looked.damaged);
                    let expected = model.get(&number).map(|entry| entry.value.get().to_owned());
                    prop_assert_eq!(looked.found.map(|found| found.value.get().to_owned()), expected);
                    stamps.push((looked.stamp, written.len()));
                }
            }
        }
        let held = cache_held(dir.path()).unwrap();
        prop_assert_eq!(held.tools.iter().map(|tool| tool.entries).sum::<u64>(), model.len() as u64);
    }
}

#[test]
fn the_oldest_make_room_for_bytes_and_for_entries() {
    let dir = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let journal = Journal::open(
        dir.path(),
        Box::new(move |committed| {
            if let Committed::Evicted(evicted) = committed {
                tell.lock().unwrap().extend(evicted);
            }
        }),
    )
    .unwrap();
    let aged = |number: u32| CacheEntry { stored: Time(u64::from(number)), ..entry(number, "x", &[&["a"]]) };
    let bound = |bytes, entries| CacheChange::Bound(CacheBounds { bytes, entries });
    let one = aged(0).bytes();
    change(&journal, [bound(one * 20, 1_000)]);
    change(&journal, (0..21).map(|number| store(aged(number))));
    let mut disk = DiskCache::open(dir.path()).unwrap();
    let entries = || cache_held(dir.path()).unwrap().tools.iter().map(|tool| tool.entries).sum::<u64>();
    assert_eq!(entries(), 18);
    assert_eq!((found(&mut disk, 2), found(&mut disk, 3)), (None, Some("\"x\"".into())));
    let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while told.lock().unwrap().len() < 3 && std::time::Instant::now() < until {
        std::thread::yield_now();
    }
    let told = std::mem::take(&mut *told.lock().unwrap());
    assert_eq!(told, vec![Evicted { by: 1, tool: "tool".into() }; 3]);
    change(&journal, [bound(one * 20, 10)]);
    assert_eq!(entries(), 9);
    change(&journal, [bound(one * 5, 10)]);
    assert_eq!(entries(), 4);
    // Too large to be worth the others; no entries at all.
    change(&journal, [store(entry(99, &"x".repeat(2_000), &[]))]);
    assert_eq!((entries(), found(&mut disk, 99)), (4, None));
    change(&journal, [bound(one * 5, 0), store(aged(50))]);
    assert_eq!(entries(), 0);
}

#[test]
fn a_write_of_another_process_drops_what_is_stored_and_keeps_out_what_was_read_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (quiet(dir.path()), quiet(dir.path()));
    let src: &[&[&str]] = &[&["file:", "src", "a"]];
    change(&one, [store(entry(1, "x", src))]);
    let mut disk = DiskCache::open(dir.path()).unwrap();
    let before = now(&mut disk);
    let other = write(&two, "w", &[path(&["file:", "src2"])]);
    change(&two, [CacheChange::Open(other.clone()), CacheChange::Close(other)]);
    assert!(found(&mut disk, 1).is_some());
    let write = write(&two, "w", &[path(&["file:", "src"])]);
    change(&two, [CacheChange::Open(write.clone())]);
    assert_eq!(found(&mut disk, 1), None);
    assert_eq!(cache_held(dir.path()).unwrap().open_writes, 1);
    // While it goes on, also what is looked for now is not stored; afterwards, nothing that was looked for before.
    let within = now(&mut disk);
    change(&one, [store(CacheEntry { stamp: within, ..entry(1, "within", src) })]);
    assert_eq!(found(&mut disk, 1), None);
    change(&two, [CacheChange::Close(write)]);
    for stamp in [before, within] {
        change(&one, [store(CacheEntry { stamp, ..entry(1, "old", src) })]);
        assert_eq!(found(&mut disk, 1), None);
    }
    let after = now(&mut disk);
    change(&one, [store(CacheEntry { stamp: after, ..entry(1, "new", src) })]);
    assert_eq!(found(&mut disk, 1), Some("\"new\"".into()));
}

#[test]
fn what_a_process_left_open_is_closed_by_who_finds_it_dead() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (quiet(dir.path()), quiet(dir.path()));
    change(&two, [CacheChange::Open(write(&two, "w", &[path(&["a"])]))]);
    let mut disk = DiskCache::open(dir.path()).unwrap();
    let attempt = |stamp| change(&one, [store(CacheEntry { stamp, ..entry(1, "x", &[&["a", "b"]]) })]);
    attempt(now(&mut disk));
    assert_eq!(found(&mut disk, 1), None);
    drop(two);
    // Whoever read before it was known that the writer is gone may have read too early.
    attempt(now(&mut disk));
    assert_eq!(found(&mut disk, 1), None);
    attempt(now(&mut disk));
    assert!(found(&mut disk, 1).is_some());
    let locks = std::fs::read_dir(dir.path().join("locks")).unwrap();
    let left: Vec<_> = locks.map(|lock| lock.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|lock| lock.starts_with("writer-")), "{left:?}");
}

#[test]
fn what_a_recorded_run_has_open_is_open_until_the_run_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let one = quiet(dir.path());
    let two = quiet(dir.path());
    let run = begin(&two, "run-1");
    let open = CacheWrite { owner: CacheOwner::Run("run-1".into()), call: "w".into(), paths: [path(&["a"])].into() };
    change(&two, [CacheChange::Open(open)]);
    let number = run.number();
    drop((run, two));
    let mut disk = DiskCache::open(dir.path()).unwrap();
    let mut attempt = |expected: bool| {
        let stamp = now(&mut disk);
        change(&one, [store(CacheEntry { stamp, ..entry(1, "x", &[&["a"]]) })]);
        assert_eq!(found(&mut disk, 1).is_some(), expected);
    };
    attempt(false);
    attempt(false);
    let two = quiet(dir.path());
    let _run = two.take("run-1", |_| Ok(())).unwrap();
    let summary = Summary { run: number, state: RunState::Failed, counts: Counts::default(), at: Time(1) };
    two.append(Batch { summaries: vec![summary], ..Batch::default() }).unwrap();
    two.flush().unwrap();
    attempt(false);
    attempt(true);
}

#[test]
fn what_was_written_long_ago_is_forgotten_on_the_safe_side() {
    let dir = tempfile::tempdir().unwrap();
    let journal = quiet(dir.path());
    let mut disk = DiskCache::open(dir.path()).unwrap();
    let before = now(&mut disk);
    let writes = (0..5_000).map(|n| write(&journal, "w", &[path(&["b", &n.to_string()])]));
    change(&journal, writes.flat_map(|w| [CacheChange::Open(w.clone()), CacheChange::Close(w)]));
    change(&journal, [store(CacheEntry { stamp: before, ..entry(1, "x", &[&["a"]]) })]);
    assert_eq!(found(&mut disk, 1), None);
    let after = now(&mut disk);
    change(&journal, [store(CacheEntry { stamp: after, ..entry(1, "x", &[&["a"]]) })]);
    assert!(found(&mut disk, 1).is_some());
    let rows: i64 = rusqlite::Connection::open(dir.path().join("journal.db"))
        .unwrap()
        .query_row("SELECT count(*) FROM cache_written", [], |row| row.get(0))
        .unwrap();
    assert!(rows <= 4_096, "{rows}");
}

#[test]
fn what_is_held_is_told_by_tool_and_cleared() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(cache_held(dir.path()).unwrap_err().code, "state_missing");
    let journal = quiet(dir.path());
    let of = |number, tool: &str| CacheEntry { tool: tool.into(), ..entry(number, "x", &[&["a"]]) };
    let one = of(0, "x").bytes();
    change(&journal, [store(of(1, "grep")), store(of(2, "read")), store(of(3, "read"))]);
    let held = cache_held(dir.path()).unwrap();
    let tools: Vec<_> = held.tools.iter().map(|tool| (&*tool.tool, tool.entries, tool.bytes)).collect();
    assert_eq!(tools, [("grep", 1, one), ("read", 2, 2 * one)]);
    assert_eq!(cache_clear(dir.path(), Some("read")).unwrap(), Cleared { entries: 2, bytes: 2 * one });
    let mut disk = DiskCache::open(dir.path()).unwrap();
    assert_eq!((found(&mut disk, 1).is_some(), found(&mut disk, 2)), (true, None));
    assert_eq!(cache_clear(dir.path(), None).unwrap().entries, 1);
    assert_eq!(cache_held(dir.path()).unwrap().tools, []);
    // The journal that was open goes on.
    change(&journal, [store(of(1, "grep"))]);
    assert!(found(&mut disk, 1).is_some());
}

/// A cache of three entries, closed.
fn small(dir: &Path) -> Vec<u8> {
    small_pages(dir);
    let journal = quiet(dir);
    let stores = [
        entry(1, "one", &[&["file:", "src", "a.rs"], &["db:", "x"]]),
        entry(2, "two", &[&["file:", "src"]]),
        entry(3, "three", &[]),
    ];
    change(&journal, stores.map(store));
    drop(journal);
    std::fs::read(dir.join("journal.db")).unwrap()
}

/// An entry that rotted is none; one that a write could not drop any more is none either.
#[test]
fn a_flipped_bit_never_gives_a_wrong_hit() {
    let source = tempfile::tempdir().unwrap();
    let intact = small(source.path());
    let dir = tempfile::tempdir().unwrap();
    let (mut refused, mut damages) = (0, 0);
    // Every few bytes: another bit of each, on every page.
    for at in (0..intact.len()).step_by(5) {
        let mut damaged = intact.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(dir.path().join("journal.db"), &damaged).unwrap();
        let Ok(mut disk) = DiskCache::open(dir.path()) else {
            refused += 1;
            continue;
        };
        for (number, value) in [(1, "\"one\""), (2, "\"two\""), (3, "\"three\"")] {
            match disk.look(&key(number)).map(|looked| (looked.found, looked.damaged)) {
                Ok((Some(found), false)) => assert_eq!(found.value.get(), value, "byte {at}"),
                Ok((None, damaged)) => {
                    refused += 1;
                    damages += usize::from(damaged);
                }
                Ok((Some(_), true)) => panic!("byte {at}: found and damaged"),
                Err(error) => assert_eq!(error.code, "state_damaged", "byte {at}: {error}"),
            }
        }
    }
    assert!(refused > 100 && damages > 5, "{refused} {damages}");
}
