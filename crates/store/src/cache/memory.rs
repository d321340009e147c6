//! The cache in memory: bounded by bytes, the least recently used go first, found by what they read.
//! It does not know of other processes, nor of any disk.

use super::{CacheEntry, CacheKey, CacheStats, Hit, KeyPath};
use fanout_core::Time;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Results kept in memory, owned by one loop.
///
/// ```
/// use fanout_core::Time;
/// use fanout_store::{CacheEntry, CacheKey, KeyPath, MemoryCache};
/// # let json = |text: &str| serde_json::value::RawValue::from_string(text.into()).unwrap();
/// let mut cache = MemoryCache::new(1 << 20);
/// let key = CacheKey::new("read_file 1", &json(r#"{"path": "/src/a.rs"}"#)).unwrap();
/// let reads = [KeyPath::new(["file:", "src", "a.rs"])].into();
/// cache.store(key, CacheEntry { value: json(r#""text""#).into(), reads, stored: Time(0), ttl: None });
/// assert!(cache.get(&key, Time(1)).is_some());
/// assert_eq!(cache.invalidate(&KeyPath::new(["file:", "src"])), 1);
/// assert!(cache.get(&key, Time(2)).is_none());
/// ```
#[derive(Debug)]
pub struct MemoryCache {
    bytes_max: u64,
    by_key: HashMap<CacheKey, u32>,
    by_path: BTreeMap<KeyPath, BTreeSet<u32>>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// The ends of the list by use.
    newest: u32,
    oldest: u32,
    stats: CacheStats,
}

#[derive(Debug)]
struct Slot {
    /// Absent in a free one.
    kept: Option<(CacheKey, CacheEntry)>,
    newer: u32,
    older: u32,
}

const NONE: u32 = u32::MAX;

impl MemoryCache {
    /// A cache of at most this many bytes. A result that takes more than an eighth of it is not kept.
    pub fn new(bytes_max: u64) -> MemoryCache {
        MemoryCache {
            bytes_max,
            by_key: HashMap::new(),
            by_path: BTreeMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            stats: CacheStats::default(),
        }
    }

    /// The result kept under this key, unless it is too old now.
    pub fn get(&mut self, key: &CacheKey, now: Time) -> Option<Hit> {
        let found = self.by_key.get(key).copied();
        let Some((slot, (_, entry))) = found.and_then(|slot| Some((slot, self.slots[slot as usize].kept.as_ref()?)))
        else {
            self.stats.misses += 1;
            return None;
        };
        if entry.is_stale(now) {
            self.stats.misses += 1;
            self.stats.stale += 1;
            self.remove(slot);
            return None;
        }
        let hit = Hit { value: entry.value.clone(), stored: entry.stored };
        self.stats.hits += 1;
        if self.newest != slot {
            self.unlink(slot);
            self.link(slot);
        }
        Some(hit)
    }

    /// Keeps a result, in place of one with the same key; the least recently used make room.
    pub fn store(&mut self, key: CacheKey, entry: CacheEntry) {
        if let Some(&slot) = self.by_key.get(&key) {
            self.remove(slot);
        }
        let bytes = entry.bytes();
        if bytes > self.bytes_max / 8 {
            return;
        }
        while self.stats.bytes + bytes > self.bytes_max && self.oldest != NONE {
            self.remove(self.oldest);
            self.stats.evicted += 1;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { kept: None, newer: NONE, older: NONE });
            u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
        });
        for path in &entry.reads {
            self.by_path.entry(path.clone()).or_default().insert(slot);
        }
        self.by_key.insert(key, slot);
        self.slots[slot as usize].kept = Some((key, entry));
        self.link(slot);
        self.stats.bytes += bytes;
        self.stats.entries += 1;
    }

    /// Drops all results that read a key overlapping this one; gives how many. Costs what it drops, and a lookup
    /// per segment.
    pub fn invalidate(&mut self, written: &KeyPath) -> usize {
        let mut dropped: Vec<u32> = Vec::new();
        for path in written.covering() {
            dropped.extend(self.by_path.get(path).into_iter().flatten());
        }
        let below = self.by_path.range::<str, _>((Bound::Excluded(written.as_str()), Bound::Unbounded));
        let below = below.take_while(|(path, _)| path.as_str().starts_with(written.as_str()));
        dropped.extend(below.flat_map(|(_, slots)| slots));
        let before = self.stats.entries;
        dropped.into_iter().for_each(|slot| self.remove(slot));
        let count = before - self.stats.entries;
        self.stats.invalidated += count;
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// Drops everything; what was counted stays.
    pub fn clear(&mut self) {
        let stats = CacheStats { entries: 0, bytes: 0, ..self.stats };
        *self = MemoryCache { stats, ..MemoryCache::new(self.bytes_max) };
    }

    /// What it holds and did.
    pub fn stats(&self) -> CacheStats {
        self.stats
    }

    fn remove(&mut self, slot: u32) {
        let Some((key, entry)) = self.slots[slot as usize].kept.take() else { return };
        self.unlink(slot);
        self.by_key.remove(&key);
        for path in &entry.reads {
            if let Some(slots) = self.by_path.get_mut(path) {
                slots.remove(&slot);
                if slots.is_empty() {
                    self.by_path.remove(path);
                }
            }
        }
        self.stats.bytes -= entry.bytes();
        self.stats.entries -= 1;
        self.free.push(slot);
    }

    fn link(&mut self, slot: u32) {
        let before = std::mem::replace(&mut self.newest, slot);
        (self.slots[slot as usize].newer, self.slots[slot as usize].older) = (NONE, before);
        match self.slots.get_mut(before as usize) {
            Some(before) => before.newer = slot,
            None => self.oldest = slot,
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Slot { newer, older, .. } = self.slots[slot as usize];
        match self.slots.get_mut(newer as usize) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        match self.slots.get_mut(older as usize) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
    }
}
