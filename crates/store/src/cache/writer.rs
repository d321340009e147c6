//! Changes to the cache on disk, applied by the journal's writer inside its transactions.
//! It does not know what the processes beside it do; all that must be known of them is in the tables.
//!
//! All transactions that write follow one another, whichever process makes them. So a write that was opened is seen by
//! every result that is stored later, and drops every one that was stored before.

use super::{CacheBounds, CacheChange, CacheEntry, CacheKey, CacheOwner, CacheWrite, Evicted, KeyPath};
use crate::chain;
use crate::dir::DataDir;
use crate::runs::int;
use fanout_core::Stamp;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;

/// Paths of which is known when they were written last. Of what was written before all these, nothing is: then a result
/// that was looked for before that is not stored, which is a loss and no mistake.
const WRITTEN_MAX: i64 = 4_096;

/// Applies changes, on the writer's thread, inside its transaction.
#[derive(Debug, Default)]
pub(crate) struct CacheWriter {
    bounds: CacheBounds,
    /// What had to make room in this transaction.
    pub(crate) evicted: Vec<Evicted>,
}

/// What the tables say of themselves.
struct State {
    generation: i64,
    floor: i64,
    bytes: i64,
    entries: i64,
}

impl State {
    fn read(from: &Connection) -> rusqlite::Result<State> {
        from.prepare_cached("SELECT generation, floor, bytes, entries FROM cache_state")?.query_row([], |row| {
            Ok(State { generation: row.get(0)?, floor: row.get(1)?, bytes: row.get(2)?, entries: row.get(3)? })
        })
    }

    fn write(&self, to: &Connection) -> rusqlite::Result<()> {
        let sql = "UPDATE cache_state SET generation = ?1, floor = ?2, bytes = ?3, entries = ?4";
        to.prepare_cached(sql)?.execute(params![self.generation, self.floor, self.bytes, self.entries]).map(|_| ())
    }

    /// Takes an entry out; gives its tool if it was there.
    fn remove(&mut self, entry: &[u8], from: &Connection) -> rusqlite::Result<Option<String>> {
        let mut delete = from.prepare_cached("DELETE FROM cache WHERE entry = ?1 RETURNING bytes, tool")?;
        let gone: Option<(i64, String)> = delete.query_row([entry], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        from.prepare_cached("DELETE FROM cache_reads WHERE entry = ?1")?.execute([entry])?;
        Ok(gone.map(|(bytes, tool)| {
            self.bytes = self.bytes.saturating_sub(bytes).max(0);
            self.entries = (self.entries - 1).max(0);
            tool
        }))
    }
}

/// Whether anything was ever kept, or kept out.
pub(crate) fn cache_used(from: &Connection) -> rusqlite::Result<bool> {
    State::read(from).map(|state| state.generation > 0 || state.entries > 0)
}

/// The current generation, for a look.
pub(super) fn stamp(from: &Connection) -> rusqlite::Result<Stamp> {
    State::read(from).map(|state| Stamp(u64::try_from(state.generation).unwrap_or(0)))
}

impl CacheWriter {
    pub(crate) fn apply(&mut self, change: &CacheChange, dir: &DataDir, to: &Connection) -> rusqlite::Result<()> {
        let mut state = State::read(to)?;
        match change {
            CacheChange::Store(entry) => self.store(entry, dir, to, &mut state)?,
            CacheChange::Open(write) => {
                written(&write.paths, &mut state, to)?;
                let owner = owner_text(&write.owner);
                for path in write.paths.iter() {
                    to.prepare_cached("INSERT OR IGNORE INTO cache_open (owner, call, path) VALUES (?1, ?2, ?3)")?
                        .execute(params![owner, write.call, path.as_str()])?;
                }
            }
            CacheChange::Close(write) => close(write, &mut state, to)?,
            CacheChange::Remove(CacheKey(key)) => _ = state.remove(key, to)?,
            CacheChange::Bound(bounds) => {
                self.bounds = *bounds;
                self.evict(u32::MAX, &mut state, to)?;
            }
        }
        state.write(to)
    }

    fn store(&mut self, entry: &CacheEntry, dir: &DataDir, to: &Connection, state: &mut State) -> rusqlite::Result<()> {
        if entry.bytes() > self.bounds.bytes / 8 || self.bounds.entries == 0 {
            return Ok(());
        }
        let is_open = is_open(&entry.reads, dir, state, to)?;
        if is_open || is_written_since(&entry.reads, entry.stamp, state, to)? {
            return Ok(());
        }
        state.remove(&entry.key.0, to)?;
        for path in entry.reads.iter() {
            to.prepare_cached("INSERT OR IGNORE INTO cache_reads (path, entry) VALUES (?1, ?2)")?
                .execute(params![path.as_str(), entry.key.0])?;
        }
        let (reads, stored, bytes) = (reads_text(&entry.reads), int(entry.stored.0), int(entry.bytes()));
        let whole = entry.whole.as_ref().map(|whole| whole.get());
        let checksum = checksum(&entry.key, &entry.tool, entry.value.get(), whole, stored, &reads);
        to.prepare_cached(
            "INSERT INTO cache (entry, tool, value, whole, bytes, stored_ns, reads, checksum) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            entry.key.0,
            entry.tool,
            entry.value.get(),
            whole,
            bytes,
            stored,
            reads,
            checksum
        ])?;
        state.bytes += bytes;
        state.entries += 1;
        self.evict(entry.by, state, to)
    }

    /// The oldest go until nine tenths of the bounds are left.
    fn evict(&mut self, by: u32, state: &mut State, to: &Connection) -> rusqlite::Result<()> {
        let (bytes, entries) = (int(self.bounds.bytes), int(self.bounds.entries));
        if state.bytes <= bytes && state.entries <= entries {
            return Ok(());
        }
        while state.bytes > bytes / 10 * 9 || state.entries > entries - entries / 10 {
            let oldest = "SELECT entry FROM cache ORDER BY stored_ns, entry LIMIT 1";
            let oldest: Option<Vec<u8>> = to.prepare_cached(oldest)?.query_row([], |row| row.get(0)).optional()?;
            let Some(oldest) = oldest else {
                (state.bytes, state.entries) = (0, 0);
                break;
            };
            if let Some(tool) = state.remove(&oldest, to)? {
                self.evicted.push(Evicted { by, tool: tool.into() });
            }
        }
        Ok(())
    }
}

/// These paths are written: what read something that overlaps is gone, and what was looked for before is not stored.
fn written(paths: &[KeyPath], state: &mut State, to: &Connection) -> rusqlite::Result<()> {
    state.generation += 1;
    for path in paths {
        for entry in overlapping("SELECT entry FROM cache_reads", path, to, |row| row.get::<_, Vec<u8>>(0))? {
            state.remove(&entry, to)?;
        }
        to.prepare_cached("INSERT OR REPLACE INTO cache_written (path, generation) VALUES (?1, ?2)")?
            .execute(params![path.as_str(), state.generation])?;
    }
    // The least that is forgotten is what was written first. Rows with one generation go together.
    let last = "SELECT generation FROM cache_written ORDER BY generation DESC LIMIT 1 OFFSET ?1";
    let last: Option<i64> = to.prepare_cached(last)?.query_row([WRITTEN_MAX], |row| row.get(0)).optional()?;
    if let Some(last) = last {
        to.prepare_cached("DELETE FROM cache_written WHERE generation <= ?1")?.execute([last])?;
        state.floor = state.floor.max(last);
    }
    Ok(())
}

fn close(write: &CacheWrite, state: &mut State, to: &Connection) -> rusqlite::Result<()> {
    written(&write.paths, state, to)?;
    to.prepare_cached("DELETE FROM cache_open WHERE owner = ?1 AND call = ?2")?
        .execute(params![owner_text(&write.owner), write.call])
        .map(|_| ())
}

/// Whether something that overlaps is being written. What the dead have left open is closed first: they write no more.
fn is_open(reads: &[KeyPath], dir: &DataDir, state: &mut State, to: &Connection) -> rusqlite::Result<bool> {
    let mut owners = BTreeSet::new();
    for path in reads {
        owners.extend(overlapping("SELECT owner FROM cache_open", path, to, |row| row.get::<_, String>(0))?);
    }
    let any = !owners.is_empty();
    for owner in owners {
        if !lives(&owner, dir, to)? {
            let mut paths = to.prepare_cached("DELETE FROM cache_open WHERE owner = ?1 RETURNING path")?;
            let paths: Vec<KeyPath> = paths
                .query_map([&owner], |row| row.get::<_, String>(0).map(|path| KeyPath(path.into())))?
                .collect::<rusqlite::Result<_>>()?;
            written(&paths, state, to)?;
            if let Some(process) = owner.strip_prefix(PROCESS) {
                dir.forget_lock(process);
            }
        }
    }
    Ok(any)
}

const PROCESS: &str = "process ";
const RUN: &str = "run ";

fn owner_text(owner: &CacheOwner) -> String {
    match owner {
        CacheOwner::Process(token) => format!("{PROCESS}{token}"),
        CacheOwner::Run(id) => format!("{RUN}{id}"),
    }
}

fn lives(owner: &str, dir: &DataDir, to: &Connection) -> rusqlite::Result<bool> {
    match (owner.strip_prefix(PROCESS), owner.strip_prefix(RUN)) {
        (Some(process), _) => Ok(dir.is_locked(process)),
        (_, Some(run)) => to
            .prepare_cached("SELECT 1 FROM runs WHERE id = ?1 AND state NOT IN ('succeeded', 'failed', 'cancelled')")?
            .exists([run]),
        _ => Ok(true),
    }
}

fn is_written_since(reads: &[KeyPath], stamp: Stamp, state: &State, to: &Connection) -> rusqlite::Result<bool> {
    let stamp = int(stamp.0);
    if reads.is_empty() {
        return Ok(false);
    }
    if stamp < state.floor {
        return Ok(true);
    }
    for path in reads {
        let found = overlapping("SELECT generation FROM cache_written", path, to, |row| row.get::<_, i64>(0))?;
        if found.iter().any(|generation| *generation > stamp) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The rows of a table with a path that covers this one or is covered by it.
fn overlapping<T>(
    select: &str,
    path: &KeyPath,
    from: &Connection,
    row: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let mut found = Vec::new();
    let mut at = from.prepare_cached(&format!("{select} WHERE path = ?1"))?;
    for path in path.covering() {
        for one in at.query_map([path], &row)? {
            found.push(one?);
        }
    }
    let mut below = from.prepare_cached(&format!("{select} WHERE path > ?1 AND path < ?2"))?;
    for one in below.query_map(params![path.as_str(), path.below_end()], &row)? {
        found.push(one?);
    }
    Ok(found)
}

/// The paths in one text, each on its line; a line end inside one cannot make a path of another entry.
fn reads_text(reads: &[KeyPath]) -> String {
    reads.iter().map(|path| path.as_str().replace('\\', "\\\\").replace('\n', "\\n") + "\n").collect()
}

pub(super) fn reads_of(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(|line| {
        let mut path = String::with_capacity(line.len());
        let mut characters = line.chars();
        while let Some(c) = characters.next() {
            path.push(match c {
                '\\' if characters.next() == Some('n') => '\n',
                c => c,
            });
        }
        path
    })
}

pub(super) fn checksum(key: &CacheKey, tool: &str, value: &str, whole: Option<&str>, stored: i64, reads: &str) -> i64 {
    let mut bytes = key.0.to_vec();
    bytes.extend_from_slice(&stored.to_le_bytes());
    bytes.push(u8::from(whole.is_some()));
    for text in [tool, reads, value, whole.unwrap_or_default()] {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    chain::checksum(&bytes)
}
