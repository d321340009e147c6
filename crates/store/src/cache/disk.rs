//! Looking into the cache on disk, from a connection of its own: what is there, and how far the cache is.
//! It does not know how anything comes there (`writer.rs`), nor how old a result may be.

use super::writer::{checksum, reads_of, stamp};
use super::{CacheKey, Found, Looked};
use crate::dir::DataDir;
use crate::error::{Result, sqlite};
use crate::schema;
use fanout_core::Time;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::value::RawValue;
use std::path::Path;
use std::sync::Arc;

/// The cache on disk, open for looks. It is changed by [`super::CacheChange`]s in the batches of a journal.
#[derive(Debug)]
pub struct DiskCache {
    connection: Connection,
}

struct Row {
    tool: String,
    value: String,
    whole: Option<String>,
    stored: i64,
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
        Ok(DiskCache { connection })
    }

    /// The result kept under this key, and how far the cache is: both as of one moment. An entry that is not what was
    /// stored, or that a write would not find, is none. Reads a few pages of a file.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn look(&mut self, key: &CacheKey) -> Result<Looked> {
        self.look_at(key).map_err(|error| sqlite("look into the cache", &error))
    }

    fn look_at(&mut self, key: &CacheKey) -> rusqlite::Result<Looked> {
        let moment = self.connection.transaction()?;
        let stamp = stamp(&moment)?;
        let row = row(&moment, key)?;
        let intact = |row: &Row| -> rusqlite::Result<bool> {
            let sum = checksum(key, &row.tool, &row.value, row.whole.as_deref(), row.stored, &row.reads);
            Ok(sum == row.checksum && is_found_by(&moment, key, &row.reads)?)
        };
        let Some(row) = row else { return Ok(Looked { stamp, found: None, damaged: false }) };
        let found = if intact(&row)? { found(row) } else { None };
        Ok(Looked { stamp, damaged: found.is_none(), found })
    }
}

fn found(row: Row) -> Option<Found> {
    let text = |text: String| RawValue::from_string(text).ok().map(Arc::from);
    let whole = match row.whole {
        Some(whole) => Some(text(whole)?),
        None => None,
    };
    Some(Found { value: text(row.value)?, whole, stored: Time(u64::try_from(row.stored).ok()?) })
}

fn row(from: &Connection, key: &CacheKey) -> rusqlite::Result<Option<Row>> {
    let sql = "SELECT tool, value, whole, stored_ns, reads, checksum FROM cache WHERE entry = ?1";
    from.prepare_cached(sql)?
        .query_row([key.0], |row| {
            Ok(Row {
                tool: row.get(0)?,
                value: row.get(1)?,
                whole: row.get(2)?,
                stored: row.get(3)?,
                reads: row.get(4)?,
                checksum: row.get(5)?,
            })
        })
        .optional()
}

/// Whether a write to what the entry read would find it.
fn is_found_by(from: &Connection, key: &CacheKey, reads: &str) -> rusqlite::Result<bool> {
    let mut statement = from.prepare_cached("SELECT 1 FROM cache_reads WHERE path = ?1 AND entry = ?2")?;
    for path in reads_of(reads) {
        if !statement.exists(params![path, key.0])? {
            return Ok(false);
        }
    }
    Ok(true)
}
