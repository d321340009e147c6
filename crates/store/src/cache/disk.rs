//! The cache on disk: tables beside the journal's, written by its writer, read by anyone.
//! It does not know what the processes beside it have in memory.

use super::{CacheChange, CacheEntry, CacheKey, CacheStats, Hit, KeyPath};
use crate::chain;
use crate::dir::DataDir;
use crate::error::{Result, sqlite};
use crate::runs::int;
use crate::schema;
use fanout_core::Time;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::value::RawValue;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Bytes kept on disk where nothing else is said.
const BYTES_MAX: u64 = 256 << 20;

/// Applies changes, on the writer's thread, inside its transaction.
#[derive(Debug)]
pub(crate) struct CacheWriter {
    bytes_max: u64,
    /// Kept now; not known before the first result is stored, and wrong by what other processes do since.
    bytes: Option<u64>,
}

impl Default for CacheWriter {
    fn default() -> CacheWriter {
        CacheWriter { bytes_max: BYTES_MAX, bytes: None }
    }
}

impl CacheWriter {
    pub(crate) fn apply(&mut self, change: &CacheChange, to: &Connection) -> rusqlite::Result<()> {
        match change {
            CacheChange::Store(key, entry) => self.store(key, entry, to),
            CacheChange::Invalidate(path) => self.invalidate(path, to),
            CacheChange::Bound(bytes) => {
                self.bytes_max = *bytes;
                self.bytes = Some(kept(to)?);
                self.evict(to)
            }
            CacheChange::Clear => {
                self.bytes = Some(0);
                to.execute_batch("DELETE FROM cache; DELETE FROM cache_reads")
            }
        }
    }

    fn store(&mut self, key: &CacheKey, entry: &CacheEntry, to: &Connection) -> rusqlite::Result<()> {
        let before = match self.bytes {
            Some(bytes) => bytes,
            None => kept(to)?,
        };
        let mut freed = 0;
        remove(&key.0, to, &mut freed)?;
        self.bytes = Some(before.saturating_sub(freed));
        if entry.bytes() > self.bytes_max / 8 {
            return Ok(());
        }
        for path in &entry.reads {
            to.prepare_cached("INSERT OR IGNORE INTO cache_reads (path, entry) VALUES (?1, ?2)")?
                .execute(params![path.as_str(), key.0])?;
        }
        let (ttl, reads) = (entry.ttl.map(nanos), reads_text(&entry.reads));
        let checksum = checksum(key, entry.value.get(), int(entry.stored.0), ttl, &reads);
        to.prepare_cached(
            "INSERT INTO cache (entry, value, bytes, stored_ns, ttl_ns, reads, checksum) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            key.0,
            entry.value.get(),
            int(entry.bytes()),
            int(entry.stored.0),
            ttl,
            reads,
            checksum
        ])?;
        self.bytes = self.bytes.map(|bytes| bytes + entry.bytes());
        self.evict(to)
    }

    fn invalidate(&mut self, written: &KeyPath, to: &Connection) -> rusqlite::Result<()> {
        let mut dropped: Vec<Vec<u8>> = Vec::new();
        {
            let mut at = to.prepare_cached("SELECT entry FROM cache_reads WHERE path = ?1")?;
            for path in written.covering() {
                for entry in at.query_map([path], |row| row.get(0))? {
                    dropped.push(entry?);
                }
            }
            // What begins with `…/` stands before `…0`, the character behind `/`.
            let end = written.as_str().strip_suffix('/').map_or("\u{10ffff}".to_owned(), |path| format!("{path}0"));
            let mut below = to.prepare_cached("SELECT entry FROM cache_reads WHERE path > ?1 AND path < ?2")?;
            for entry in below.query_map([written.as_str(), &end], |row| row.get(0))? {
                dropped.push(entry?);
            }
        }
        let mut freed = 0;
        dropped.iter().try_for_each(|entry| remove(entry, to, &mut freed))?;
        self.bytes = self.bytes.map(|bytes| bytes.saturating_sub(freed));
        Ok(())
    }

    /// The oldest go until nine tenths of the bound are left.
    fn evict(&mut self, to: &Connection) -> rusqlite::Result<()> {
        if self.bytes.is_none_or(|bytes| bytes <= self.bytes_max) {
            return Ok(());
        }
        let mut bytes = kept(to)?;
        while bytes > self.bytes_max / 10 * 9 {
            let oldest = "SELECT entry FROM cache ORDER BY stored_ns, entry LIMIT 1";
            let oldest: Option<Vec<u8>> = to.prepare_cached(oldest)?.query_row([], |row| row.get(0)).optional()?;
            let Some(oldest) = oldest else { break };
            let mut freed = 0;
            remove(&oldest, to, &mut freed)?;
            bytes = bytes.saturating_sub(freed);
        }
        self.bytes = Some(bytes);
        Ok(())
    }
}

fn kept(from: &Connection) -> rusqlite::Result<u64> {
    from.prepare_cached("SELECT coalesce(sum(bytes), 0) FROM cache")?
        .query_row([], |row| row.get::<_, i64>(0))
        .map(|bytes| u64::try_from(bytes).unwrap_or(0))
}

fn remove(entry: &[u8], from: &Connection, freed: &mut u64) -> rusqlite::Result<()> {
    let bytes: Option<i64> = from
        .prepare_cached("DELETE FROM cache WHERE entry = ?1 RETURNING bytes")?
        .query_row([entry], |row| row.get(0))
        .optional()?;
    *freed += bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0);
    from.prepare_cached("DELETE FROM cache_reads WHERE entry = ?1")?.execute([entry]).map(|_| ())
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// The paths in one text, each on its line; a line end inside one cannot make a path of another entry.
fn reads_text(reads: &[KeyPath]) -> String {
    reads.iter().map(|path| path.as_str().replace('\\', "\\\\").replace('\n', "\\n") + "\n").collect()
}

fn reads_of(text: &str) -> impl Iterator<Item = String> {
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

fn checksum(key: &CacheKey, value: &str, stored: i64, ttl: Option<i64>, reads: &str) -> i64 {
    let mut bytes = key.0.to_vec();
    bytes.extend_from_slice(&stored.to_le_bytes());
    bytes.extend_from_slice(&ttl.unwrap_or(-1).to_le_bytes());
    bytes.extend_from_slice(&(reads.len() as u64).to_le_bytes());
    bytes.extend_from_slice(reads.as_bytes());
    bytes.extend_from_slice(value.as_bytes());
    chain::checksum(&bytes)
}

/// The cache on disk, open for lookups. It is changed by [`CacheChange`]s in the batches of a journal.
#[derive(Debug)]
pub struct DiskCache {
    connection: Connection,
    stats: CacheStats,
}

struct Row {
    value: String,
    stored: i64,
    ttl: Option<i64>,
    reads: String,
    checksum: i64,
}

impl DiskCache {
    /// Opens the cache of a data directory, which a [`crate::Journal`] has made.
    ///
    /// # Errors
    /// As `Reader::open`.
    pub fn open(dir: &Path) -> Result<DiskCache> {
        let connection = schema::open_read(&DataDir::existing(dir)?.database())?;
        Ok(DiskCache { connection, stats: CacheStats::default() })
    }

    /// The result kept under this key, unless it is too old now. An entry that is not what was stored is none.
    /// Reads a few pages of a file.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn get(&mut self, key: &CacheKey, now: Time) -> Result<Option<Hit>> {
        let row = self.row(key).map_err(|error| sqlite("look into the cache", &error))?;
        let Some(row) = row else {
            self.stats.misses += 1;
            return Ok(None);
        };
        let intact = checksum(key, &row.value, row.stored, row.ttl, &row.reads) == row.checksum
            && self.is_found_by(key, &row.reads).map_err(|error| sqlite("look into the cache", &error))?;
        let value = if intact { RawValue::from_string(row.value).ok() } else { None };
        let Some(value) = value else {
            self.stats.misses += 1;
            self.stats.damaged += 1;
            return Ok(None);
        };
        let ttl = row.ttl.and_then(|ttl| u64::try_from(ttl).ok()).map(Duration::from_nanos);
        let entry = CacheEntry { value: Arc::from(value), reads: [].into(), stored: Time(row.stored as u64), ttl };
        if entry.is_stale(now) {
            self.stats.misses += 1;
            self.stats.stale += 1;
            return Ok(None);
        }
        self.stats.hits += 1;
        Ok(Some(Hit { value: entry.value, stored: entry.stored }))
    }

    fn row(&self, key: &CacheKey) -> rusqlite::Result<Option<Row>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT value, stored_ns, ttl_ns, reads, checksum FROM cache WHERE entry = ?1")?;
        let row = statement.query_row([key.0], |row| {
            Ok(Row {
                value: row.get(0)?,
                stored: row.get(1)?,
                ttl: row.get(2)?,
                reads: row.get(3)?,
                checksum: row.get(4)?,
            })
        });
        row.optional()
    }

    /// Whether a write to what the entry read would find it.
    fn is_found_by(&self, key: &CacheKey, reads: &str) -> rusqlite::Result<bool> {
        let mut statement =
            self.connection.prepare_cached("SELECT 1 FROM cache_reads WHERE path = ?1 AND entry = ?2")?;
        for path in reads_of(reads) {
            if !statement.exists(params![path, key.0])? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What it holds, and what the lookups made here found.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn stats(&self) -> Result<CacheStats> {
        let at = |error: rusqlite::Error| sqlite("look into the cache", &error);
        let (entries, bytes): (i64, i64) = self
            .connection
            .query_row("SELECT count(*), coalesce(sum(bytes), 0) FROM cache", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(at)?;
        Ok(CacheStats { entries: entries.max(0) as u64, bytes: bytes.max(0) as u64, ..self.stats })
    }
}
