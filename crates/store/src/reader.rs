//! The journal as others see it: runs and their records, checked, while somebody may be writing.
//! It does not know what a record means, and never writes.

use crate::blobs;
use crate::chain;
use crate::dir::DataDir;
use crate::error::{Result, StoreError, damaged_record, damaged_run, io, refuse, sqlite};
use crate::records::{JsonText, Record, Unpack, Unread, Value, decode};
use crate::runs::{self, RECORDS_MAX, RunInfo};
use crate::schema;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// A data directory, open for reading.
#[derive(Debug)]
pub struct Reader {
    dir: DataDir,
    connection: Connection,
    /// Where the database is a copy, since SQLite cannot read its log in a directory it may not write to.
    _copy: Option<TempDir>,
}

/// All runs of a data directory.
#[derive(Debug)]
pub struct RunList {
    /// The newest first.
    pub runs: Vec<RunInfo>,
    /// What could not be read.
    pub damaged: Vec<StoreError>,
}

impl Reader {
    /// Opens a data directory for reading; the directory and the disk may be read-only.
    ///
    /// # Errors
    /// `state_missing` when there is none; `state_newer`, `state_older`, `state_damaged`, `state_no_permission`.
    pub fn open(dir: &Path) -> Result<Reader> {
        let dir = DataDir::existing(dir)?;
        let opened = match schema::open_read(&dir.database()) {
            // Another process may be making or updating the tables just now.
            Err(error) if matches!(error.code, "state_missing" | "state_older") && dir.await_tables() => {
                schema::open_read(&dir.database())
            }
            opened => opened,
        };
        match opened {
            Ok(connection) => Ok(Reader { dir, connection, _copy: None }),
            Err(error) if matches!(error.code, "state_io" | "state_read_only" | "state_no_permission") => {
                let copy = copy(&dir)?;
                let connection = schema::open_read(&copy.path().join("journal.db"))?;
                Ok(Reader { dir, connection, _copy: Some(copy) })
            }
            Err(error) => Err(error),
        }
    }

    /// For what else is in the database.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// All runs. A run that is damaged does not hide the others.
    ///
    /// # Errors
    /// The table of runs cannot be read at all.
    pub fn runs(&self) -> Result<RunList> {
        let at = |error: rusqlite::Error| sqlite("read the journal", &error);
        let snapshot = self.connection.unchecked_transaction().map_err(at)?;
        let (runs, mut damaged) = runs::all(&snapshot)?;
        // From one run to the next, so that it takes as long as there are runs, not records.
        let numbers = "WITH RECURSIVE each(run) AS (SELECT min(first) >> 32 FROM records UNION ALL \
             SELECT (SELECT min(first) >> 32 FROM records WHERE first >= (each.run + 1) << 32) FROM each \
             WHERE run IS NOT NULL) SELECT run FROM each WHERE run IS NOT NULL";
        let mut statement = snapshot.prepare_cached(numbers).map_err(at)?;
        let recorded: rusqlite::Result<BTreeSet<i64>> =
            statement.query_map([], |row| row.get(0)).map_err(at)?.collect();
        let recorded = recorded.map_err(at)?;
        let listed: BTreeSet<i64> = runs.iter().map(|run| run.run.0).collect();
        for run in runs.iter().filter(|run| run.records > 0 && !recorded.contains(&run.run.0)) {
            damaged.push(damaged_record(&run.id, 0, "is missing, and so are all others of the run"));
        }
        if damaged.is_empty() {
            let lost = recorded.difference(&listed);
            damaged.extend(lost.map(|run| damaged_run(&format!("number {run}"), "it is not in the table of runs")));
        }
        Ok(RunList { runs, damaged })
    }

    /// The run of this id.
    ///
    /// # Errors
    /// `run_unknown`, `record_damaged`, `state_damaged`.
    pub fn run(&self, id: &str) -> Result<RunInfo> {
        runs::find(&self.connection, "id", &id)?.ok_or_else(|| refuse("run_unknown", format!("there is no run {id}")))
    }

    /// The run that was started under this key.
    ///
    /// # Errors
    /// As [`Reader::run`].
    pub fn run_of_key(&self, key: &str) -> Result<Option<RunInfo>> {
        runs::find(&self.connection, "key", &key)
    }

    /// Whether somebody has it: a process that is running it, or a copy of one that is not yet another program.
    pub fn is_held(&self, id: &str) -> bool {
        self.dir.is_locked(id)
    }

    /// What whoever has or had it left as a note ([`crate::Journal::with_note`]); empty where there is none.
    pub fn note_of(&self, id: &str) -> String {
        self.dir.note_of(id)
    }

    /// Hands over all records of a run in order, each checked, with its number.
    ///
    /// # Errors
    /// `record_damaged` with the place of the first record that is missing, changed or out of place: those before
    /// it were handed over, none behind it. `state_newer` for a record of a later version.
    pub fn replay(&self, id: &str, mut each: impl FnMut(u64, Record)) -> Result<RunInfo> {
        let at = |error: rusqlite::Error| sqlite("read the journal", &error);
        let snapshot = self.connection.unchecked_transaction().map_err(at)?;
        let info = self.run(id)?;
        let select = "SELECT first, payload, checks FROM records WHERE first >= ?1 AND first < ?2 ORDER BY first";
        let mut statement = snapshot.prepare_cached(select).map_err(at)?;
        let mut rows = statement.query([info.run.record(0), info.run.record(RECORDS_MAX)]).map_err(at)?;
        let (mut next, mut head) = (0, chain::start(id));
        loop {
            let unreadable = |error: rusqlite::Error| damaged_record(id, next, &format!("cannot be read ({error})"));
            let Some(row) = rows.next().map_err(unreadable)? else { break };
            let changed = |seq: u64| damaged_record(id, seq, "is not what was written there");
            let (Ok(ValueRef::Integer(first)), Ok(ValueRef::Text(payload)), Ok(ValueRef::Blob(checks))) =
                (row.get_ref(0), row.get_ref(1), row.get_ref(2))
            else {
                return Err(changed(next));
            };
            if first != info.run.record(next) {
                return Err(damaged_record(id, next, "is missing; a later one stands in its place"));
            }
            let mut records = Unpack::new(payload, checks, head);
            while let Some((text, link)) = records.next().map_err(|_| changed(next))? {
                if next >= info.records {
                    return Err(damaged_record(id, next, "stands behind the end of the run"));
                }
                each(next, decode(text).map_err(|unread| not_read(id, next, unread))?);
                (next, head) = (next + 1, link);
            }
        }
        if next < info.records {
            return Err(damaged_record(id, next, &format!("is missing; the run has {}", info.records)));
        }
        if head != info.head {
            return Err(damaged_run(id, "its records are not those that the table of runs speaks of"));
        }
        Ok(info)
    }

    /// The text of a value, read from its blob where it has one.
    ///
    /// # Errors
    /// `blob_damaged`, `state_no_permission`, `state_io`.
    pub fn text(&self, value: &Value) -> Result<JsonText> {
        text(&self.dir, value)
    }

    /// Looks at everything: every page, every record, every blob. Gives what is damaged.
    ///
    /// # Errors
    /// The database cannot be read at all.
    pub fn check(&self) -> Result<Vec<StoreError>> {
        let at = |error: rusqlite::Error| sqlite("check the journal", &error);
        let mut statement = self.connection.prepare("PRAGMA integrity_check(20)").map_err(at)?;
        let lines: rusqlite::Result<Vec<String>> = statement.query_map([], |row| row.get(0)).map_err(at)?.collect();
        let lines = lines.map_err(at)?;
        let RunList { runs, mut damaged } = self.runs()?;
        damaged.extend(lines.into_iter().filter(|line| line != "ok").map(|line| refuse("state_damaged", line)));
        for run in runs {
            let mut wrong = Vec::new();
            let replayed = self.replay(&run.id, |seq, mut record| {
                wrong.extend(record.fact.values_mut().filter_map(|value| match self.text(value) {
                    Ok(_) => None,
                    Err(error) => Some(damaged_record(&run.id, seq, &error.message)),
                }));
            });
            damaged.extend(replayed.err());
            damaged.append(&mut wrong);
        }
        Ok(damaged)
    }
}

fn not_read(run: &str, seq: u64, unread: Unread) -> StoreError {
    match unread {
        Unread::Malformed(what) => damaged_record(run, seq, &what),
        Unread::Newer => {
            let message = format!("run {run}, record {seq} was written by a later fanout");
            StoreError { code: "state_newer", message, ..damaged_record(run, seq, "") }
        }
    }
}

/// The text of a value, read from its blob where it has one.
pub(crate) fn text(dir: &DataDir, value: &Value) -> Result<JsonText> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Blob(blob) => {
            let wrong = |_| refuse("blob_damaged", format!("the blob {} is no JSON", blob.hash));
            let text = String::from_utf8(blobs::read(dir, blob)?).map_err(|_| wrong(()))?;
            RawValue::from_string(text).map(Arc::from).map_err(|_| wrong(()))
        }
    }
}

/// The database and its log in a directory of our own.
fn copy(dir: &DataDir) -> Result<TempDir> {
    let copy = tempfile::tempdir().map_err(|error| io("make", &std::env::temp_dir(), &error))?;
    for name in ["journal.db", "journal.db-wal"] {
        let from = dir.root().join(name);
        match std::fs::copy(&from, copy.path().join(name)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            copied => _ = copied.map_err(|error| io("read", &from, &error))?,
        }
    }
    Ok(copy)
}
