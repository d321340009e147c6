//! What the cache on disk holds, for people, and its clearing by them.
//! It does not know what is looked up.

use crate::dir::DataDir;
use crate::error::{Result, sqlite};
use crate::reader::Reader;
use crate::schema;
use fanout_core::Time;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// What is in the cache on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheHeld {
    /// By tool, by name.
    pub tools: Vec<ToolHeld>,
    /// Writes that go on, or of which nobody knows whether they took effect: nothing that overlaps them is kept.
    pub open_writes: u64,
}

/// What is kept of one tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolHeld {
    /// Its name.
    pub tool: String,
    /// Results.
    pub entries: u64,
    /// About how many bytes they take.
    pub bytes: u64,
    /// When the oldest and the newest were given.
    pub given: (Time, Time),
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Results.
    pub entries: u64,
    /// About how many bytes they took.
    pub bytes: u64,
}

/// What the cache of a data directory holds.
///
/// # Errors
/// As `Reader::open`.
pub fn cache_held(dir: &Path) -> Result<CacheHeld> {
    held(Reader::open(dir)?.connection()).map_err(|error| sqlite("look into the cache", &error))
}

fn held(from: &Connection) -> rusqlite::Result<CacheHeld> {
    let sql =
        "SELECT tool, count(*), sum(bytes), min(stored_ns), max(stored_ns) FROM cache GROUP BY tool ORDER BY tool";
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    let mut statement = from.prepare(sql)?;
    let tools = statement.query_map([], |row| {
        Ok(ToolHeld {
            tool: row.get(0)?,
            entries: number(row.get(1)?),
            bytes: number(row.get(2)?),
            given: (Time(number(row.get(3)?)), Time(number(row.get(4)?))),
        })
    })?;
    let tools = tools.collect::<rusqlite::Result<_>>()?;
    let writes = "SELECT count(*) FROM (SELECT DISTINCT owner, call FROM cache_open)";
    let open_writes = from.query_row(writes, [], |row| row.get(0).map(number))?;
    Ok(CacheHeld { tools, open_writes })
}

/// Removes all results, or those of one tool. Whoever runs meanwhile finds nothing, and stores anew.
///
/// # Errors
/// `state_missing` where nothing was ever kept; the database cannot be written.
pub fn cache_clear(dir: &Path, tool: Option<&str>) -> Result<Cleared> {
    let dir = DataDir::existing(dir)?;
    let mut connection = schema::open_write(&dir)?;
    clear(&mut connection, tool).map_err(|error| sqlite("clear the cache", &error))
}

fn clear(connection: &mut Connection, tool: Option<&str>) -> rusqlite::Result<Cleared> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let of = "FROM cache WHERE ?1 IS NULL OR tool = ?1";
    let (entries, bytes): (i64, i64) =
        transaction.query_row(&format!("SELECT count(*), coalesce(sum(bytes), 0) {of}"), [tool], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    transaction.execute(&format!("DELETE FROM cache_reads WHERE entry IN (SELECT entry {of})"), [tool])?;
    transaction.execute(&format!("DELETE {of}"), [tool])?;
    // As it is, not as it was counted: whatever was wrong with the count is right from here on.
    transaction.execute(
        "UPDATE cache_state SET bytes = (SELECT coalesce(sum(bytes), 0) FROM cache), entries = (SELECT count(*) FROM cache)",
        [],
    )?;
    transaction.commit()?;
    connection.execute_batch("PRAGMA incremental_vacuum")?;
    Ok(Cleared { entries: entries.max(0) as u64, bytes: bytes.max(0) as u64 })
}
