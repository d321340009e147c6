//! Both caches against one naive model: what is found, what writes drop, what has to make room.
//! It does not know how either finds its entries.

use crate::made::{json, quiet, small_pages};
use fanout_core::Time;
use fanout_store::{Batch, CacheChange, CacheEntry, CacheKey, CacheStats, DiskCache, Journal, KeyPath, MemoryCache};
use proptest::prelude::*;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

fn key(number: u32) -> CacheKey {
    CacheKey::new("tool 1", &json(&format!("{{\"n\": {number}}}"))).unwrap()
}

fn path(segments: &[&str]) -> KeyPath {
    KeyPath::new(segments.iter().copied())
}

fn entry(value: &str, reads: &[&[&str]]) -> CacheEntry {
    let reads = reads.iter().map(|segments| path(segments)).collect();
    CacheEntry { value: json(&format!("\"{value}\"")), reads, stored: Time(10), ttl: None }
}

fn change(journal: &Journal, cache: impl IntoIterator<Item = CacheChange>) {
    journal.append(Batch { cache: cache.into_iter().collect(), ..Batch::default() }).unwrap();
    journal.flush().unwrap();
}

#[derive(Clone, Debug)]
enum Op {
    Store(u32, Vec<Vec<usize>>, Option<u64>),
    Invalidate(Vec<usize>),
    Get(u32),
}

const NAMES: [&str; 6] = ["a", "b", "a-", "a.b", "ä\n\\n", ""];

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let path = || prop::collection::vec(0..NAMES.len(), 0..4);
    let op = prop_oneof![
        (0..12u32, prop::collection::vec(path(), 0..3), prop::option::of(0..20u64))
            .prop_map(|(key, reads, ttl)| Op::Store(key, reads, ttl)),
        path().prop_map(Op::Invalidate),
        (0..12u32).prop_map(Op::Get),
    ];
    prop::collection::vec(op, 1..60)
}

fn named(segments: &[usize]) -> KeyPath {
    KeyPath::new(segments.iter().map(|&index| NAMES[index]))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn both_find_what_a_model_finds(ops in ops()) {
        let dir = tempfile::tempdir().unwrap();
        let journal = quiet(dir.path());
        let (mut memory, mut disk) = (MemoryCache::new(1 << 20), DiskCache::open(dir.path()).unwrap());
        let mut model: HashMap<u32, CacheEntry> = HashMap::new();
        let mut changes = Vec::new();
        for (now, op) in ops.into_iter().enumerate() {
            let now = Time(now as u64);
            match op {
                Op::Store(number, reads, ttl) => {
                    let reads = reads.iter().map(|segments| named(segments)).collect();
                    let ttl = ttl.map(Duration::from_nanos);
                    let entry = CacheEntry { value: json(&now.0.to_string()), reads, stored: now, ttl };
                    memory.store(key(number), entry.clone());
                    changes.push(CacheChange::Store(key(number), entry.clone()));
                    model.insert(number, entry);
                }
                Op::Invalidate(segments) => {
                    let written = named(&segments);
                    memory.invalidate(&written);
                    changes.push(CacheChange::Invalidate(written.clone()));
                    model.retain(|_, entry| !entry.reads.iter().any(|read| read.overlaps(&written)));
                }
                Op::Get(number) => {
                    change(&journal, changes.drain(..));
                    let fresh = |entry: &&CacheEntry| entry.ttl.is_none_or(|ttl| now < entry.stored.after(ttl));
                    let expected = model.get(&number).filter(fresh).map(|entry| entry.value.get().to_owned());
                    let text = |hit: fanout_store::Hit| hit.value.get().to_owned();
                    prop_assert_eq!(memory.get(&key(number), now).map(text), expected.clone());
                    prop_assert_eq!(disk.get(&key(number), now).unwrap().map(text), expected);
                }
            }
        }
        prop_assert_eq!(disk.stats().unwrap().damaged, 0);
    }
}

#[test]
fn the_least_recently_used_make_room() {
    let one = entry("x", &[&["a"]]).bytes();
    let mut memory = MemoryCache::new(one * 10);
    (0..10).for_each(|number| memory.store(key(number), entry("x", &[&["a"]])));
    assert!(memory.get(&key(0), Time(0)).is_some());
    memory.store(key(10), entry("x", &[&["b"]]));
    assert!(memory.get(&key(1), Time(0)).is_none());
    assert!(memory.get(&key(0), Time(0)).is_some());
    // Too large to be worth the others.
    memory.store(key(11), entry(&"x".repeat(2_000), &[]));
    assert!(memory.get(&key(11), Time(0)).is_none());
    assert_eq!(memory.invalidate(&path(&["a"])), 9);
    let expected =
        CacheStats { entries: 1, bytes: one, hits: 2, misses: 2, evicted: 1, invalidated: 9, ..CacheStats::default() };
    assert_eq!(memory.stats(), expected);
    memory.clear();
    assert_eq!(memory.stats(), CacheStats { entries: 0, bytes: 0, ..expected });
    memory.store(key(1), entry("x", &[]));
    assert!(memory.get(&key(1), Time(0)).is_some());
}

#[test]
fn the_oldest_on_disk_make_room() {
    let dir = tempfile::tempdir().unwrap();
    let journal = quiet(dir.path());
    let aged = |number: u32| CacheEntry { stored: Time(u64::from(number)), ..entry("x", &[&["a"]]) };
    let one = aged(0).bytes();
    change(&journal, [CacheChange::Bound(one * 20)]);
    change(&journal, (0..21).map(|number| CacheChange::Store(key(number), aged(number))));
    let mut disk = DiskCache::open(dir.path()).unwrap();
    assert_eq!(disk.stats().unwrap().entries, 18);
    assert!(disk.get(&key(2), Time(0)).unwrap().is_none());
    assert!(disk.get(&key(3), Time(0)).unwrap().is_some());
    change(&journal, [CacheChange::Bound(one * 5)]);
    assert_eq!(disk.stats().unwrap().entries, 4);
    change(&journal, [CacheChange::Clear, CacheChange::Bound(1 << 20)]);
    assert_eq!(disk.stats().unwrap().entries, 0);
    change(&journal, [CacheChange::Store(key(1), entry("y", &[]))]);
    assert_eq!(disk.get(&key(1), Time(0)).unwrap().unwrap().value.get(), "\"y\"");
}

#[test]
fn another_process_sees_what_is_stored_and_what_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (quiet(dir.path()), quiet(dir.path()));
    change(&one, [CacheChange::Store(key(1), entry("x", &[&["file:", "src", "a"]]))]);
    let mut disk = DiskCache::open(dir.path()).unwrap();
    assert!(disk.get(&key(1), Time(0)).unwrap().is_some());
    change(&two, [CacheChange::Invalidate(path(&["file:", "src2"]))]);
    assert!(disk.get(&key(1), Time(0)).unwrap().is_some());
    change(&two, [CacheChange::Invalidate(path(&["file:", "src"]))]);
    assert!(disk.get(&key(1), Time(0)).unwrap().is_none());
}

/// A cache of three entries, closed.
fn small(dir: &Path) -> Vec<u8> {
    small_pages(dir);
    let journal = quiet(dir);
    let stores = [
        (1, entry("one", &[&["file:", "src", "a.rs"], &["db:", "x"]])),
        (2, entry("two", &[&["file:", "src"]])),
        (3, entry("three", &[])),
    ];
    change(&journal, stores.map(|(number, entry)| CacheChange::Store(key(number), entry)));
    drop(journal);
    std::fs::read(dir.join("journal.db")).unwrap()
}

/// An entry that rotted is none; one that a write could not drop any more is none either.
#[test]
fn a_flipped_bit_never_gives_a_wrong_hit() {
    let source = tempfile::tempdir().unwrap();
    let intact = small(source.path());
    let dir = tempfile::tempdir().unwrap();
    let mut refused = 0;
    for at in 0..intact.len() {
        let mut damaged = intact.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(dir.path().join("journal.db"), &damaged).unwrap();
        let Ok(mut disk) = DiskCache::open(dir.path()) else {
            refused += 1;
            continue;
        };
        for (number, value) in [(1, "\"one\""), (2, "\"two\""), (3, "\"three\"")] {
            match disk.get(&key(number), Time(20)) {
                Ok(Some(hit)) => assert_eq!(hit.value.get(), value, "byte {at}"),
                Ok(None) => refused += 1,
                Err(error) => assert_eq!(error.code, "state_damaged", "byte {at}: {error}"),
            }
        }
    }
    assert!(refused > 100, "{refused}");
}
