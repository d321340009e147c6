//! The table of runs: what each is called, how far it is, how many records it has.
//! It does not know what the records say.

use crate::chain::{self, Link};
use crate::error::{Result, StoreError, damaged_run, sqlite};
use fanout_core::Time;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::sync::LazyLock;

/// The number of a run in its database: the upper half of the numbers of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunNumber(pub(crate) i64);

/// A run to be begun.
#[derive(Clone, Debug, Default)]
pub struct NewRun {
    /// Its id, unique everywhere; also the name of its lock, so without `/`.
    pub id: String,
    /// The plan's name.
    pub name: String,
    /// The key under which it is started once, if it has one.
    pub key: Option<String>,
    /// A hash of the plan and its inputs.
    pub plan_hash: String,
    /// When it was created.
    pub created: Time,
    /// How many calls it has.
    pub calls: u64,
}

/// What is known of a run without reading its records.
#[derive(Clone, Debug, PartialEq)]
pub struct RunInfo {
    /// Its number in this database.
    pub run: RunNumber,
    /// Its id.
    pub id: String,
    /// The plan's name.
    pub name: String,
    /// The key under which it was started, if it had one.
    pub key: Option<String>,
    /// A hash of the plan and its inputs.
    pub plan_hash: String,
    /// How far it is.
    pub state: RunState,
    /// When it was created.
    pub created: Time,
    /// When it was last written to.
    pub updated: Time,
    /// Its calls by outcome.
    pub counts: Counts,
    /// How many records it has.
    pub records: u64,
    /// What its records and blobs take on disk.
    pub bytes: u64,
    pub(crate) head: Link,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Not ended. When nobody holds its lock, the process that ran it is gone.
    Running,
    /// Not ended, and somebody has to answer something.
    Waiting,
    /// Not ended, and nothing new starts.
    Paused,
    /// Ended: every call did.
    Succeeded,
    /// Ended: some call did not succeed.
    Failed,
    /// Ended: it was cancelled.
    Cancelled,
}

/// The calls of a run by outcome; those that have none yet are the rest of `calls`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All, elements included.
    pub calls: u64,
    /// With a result.
    pub succeeded: u64,
    /// With an error.
    pub failed: u64,
    /// Not needed or not possible.
    pub skipped: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Refused by somebody.
    pub denied: u64,
    /// Nobody knows.
    pub in_doubt: u64,
}

impl RunNumber {
    /// The number of its record `seq` in the table of records.
    pub(crate) fn record(self, seq: u64) -> i64 {
        (self.0 << 32).saturating_add_unsigned(seq)
    }
}

/// A run has at most this many records, so that their numbers do not run into those of the next.
pub(crate) const RECORDS_MAX: u64 = 1 << 32;

impl RunState {
    const ALL: [(RunState, &'static str); 6] = [
        (RunState::Running, "running"),
        (RunState::Waiting, "waiting"),
        (RunState::Paused, "paused"),
        (RunState::Succeeded, "succeeded"),
        (RunState::Failed, "failed"),
        (RunState::Cancelled, "cancelled"),
    ];

    /// As it stands in the table.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("running", |(_, word)| word)
    }

    /// Whether nothing will be added to the run.
    pub fn is_ended(self) -> bool {
        matches!(self, RunState::Succeeded | RunState::Failed | RunState::Cancelled)
    }
}

/// The columns, in the order in which rows are written and read.
const COLUMNS: [&str; 19] = [
    "run",
    "id",
    "name",
    "key",
    "plan_hash",
    "state",
    "created_ns",
    "updated_ns",
    "calls",
    "succeeded",
    "failed",
    "skipped",
    "cancelled",
    "denied",
    "in_doubt",
    "records",
    "bytes",
    "head",
    "checksum",
];

/// Those that say which run it is never change.
const FIXED: usize = 5;

static INSERT: LazyLock<String> = LazyLock::new(|| {
    let marks: Vec<String> = (1..=COLUMNS.len()).map(|number| format!("?{number}")).collect();
    format!("INSERT OR IGNORE INTO runs ({}) VALUES ({})", COLUMNS.join(", "), marks.join(", "))
});

static UPDATE: LazyLock<String> = LazyLock::new(|| {
    let set = COLUMNS.iter().enumerate().skip(FIXED).map(|(index, column)| format!("{column} = ?{}", index + 1));
    format!("UPDATE runs SET {} WHERE run = ?1", set.collect::<Vec<_>>().join(", "))
});

static SELECT: LazyLock<String> = LazyLock::new(|| format!("SELECT {} FROM runs", COLUMNS.join(", ")));

impl RunInfo {
    pub(crate) fn new(new: NewRun) -> RunInfo {
        RunInfo {
            run: RunNumber(0),
            head: chain::start(&new.id),
            id: new.id,
            name: new.name,
            key: new.key,
            plan_hash: new.plan_hash,
            state: RunState::Running,
            created: new.created,
            updated: new.created,
            counts: Counts { calls: new.calls, ..Counts::default() },
            records: 0,
            bytes: 0,
        }
    }

    /// A checksum of all that its row holds.
    fn checksum(&self) -> i64 {
        let c = &self.counts;
        let numbers = [
            self.run.0 as u64,
            self.created.0,
            self.updated.0,
            c.calls,
            c.succeeded,
            c.failed,
            c.skipped,
            c.cancelled,
            c.denied,
            c.in_doubt,
            self.records,
            self.bytes,
            self.head,
        ];
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        bytes.push(u8::from(self.key.is_some()));
        let key = self.key.as_deref().unwrap_or_default();
        for text in [&self.id, &self.name, key, &self.plan_hash, self.state.word()] {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        chain::checksum(&bytes)
    }

    /// Adds it; gives its number. `None`: its key is there already.
    pub(crate) fn insert(&mut self, to: &Connection) -> rusqlite::Result<bool> {
        let next = "SELECT coalesce(max(run), 0) + 1 FROM runs";
        self.run = RunNumber(to.prepare_cached(next)?.query_row([], |row| row.get(0))?);
        self.write(to, &INSERT).map(|rows| rows == 1)
    }

    /// Writes it over what was there.
    pub(crate) fn update(&self, to: &Connection) -> rusqlite::Result<()> {
        match self.write(to, &UPDATE)? {
            1 => Ok(()),
            rows => Err(rusqlite::Error::StatementChangedRows(rows)),
        }
    }

    fn write(&self, to: &Connection, statement: &str) -> rusqlite::Result<usize> {
        let c = &self.counts;
        to.prepare_cached(statement)?.execute(params![
            self.run.0,
            self.id,
            self.name,
            self.key,
            self.plan_hash,
            self.state.word(),
            int(self.created.0),
            int(self.updated.0),
            int(c.calls),
            int(c.succeeded),
            int(c.failed),
            int(c.skipped),
            int(c.cancelled),
            int(c.denied),
            int(c.in_doubt),
            int(self.records),
            int(self.bytes),
            int(self.head),
            self.checksum()
        ])
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<(RunInfo, i64)> {
        let number = |index: usize| row.get::<_, i64>(index).map(|number| number as u64);
        let state: String = row.get(5)?;
        let state = RunState::ALL.iter().find(|(_, word)| *word == state).map(|(state, _)| *state);
        let info = RunInfo {
            run: RunNumber(row.get(0)?),
            id: row.get(1)?,
            name: row.get(2)?,
            key: row.get(3)?,
            plan_hash: row.get(4)?,
            // A word that is none makes the checksum wrong, since `running` is another.
            state: state.unwrap_or(RunState::Running),
            created: Time(number(6)?),
            updated: Time(number(7)?),
            counts: Counts {
                calls: number(8)?,
                succeeded: number(9)?,
                failed: number(10)?,
                skipped: number(11)?,
                cancelled: number(12)?,
                denied: number(13)?,
                in_doubt: number(14)?,
            },
            records: number(15)?,
            bytes: number(16)?,
            head: number(17)?,
        };
        Ok((info, if state.is_some() { row.get(18)? } else { 0 }))
    }
}

/// Numbers of ours stay below 2^63; one from a damaged row is written back as it was.
pub(crate) fn int(number: u64) -> i64 {
    number as i64
}

/// The run with this value in this column (`id`, `key`, `run`).
pub(crate) fn find(from: &Connection, column: &str, value: &dyn rusqlite::ToSql) -> Result<Option<RunInfo>> {
    let at = |error: rusqlite::Error| sqlite("read the table of runs", &error);
    let mut statement = from.prepare_cached(&format!("{} WHERE {column} = ?1", *SELECT)).map_err(at)?;
    statement.query_row([value], RunInfo::read).optional().map_err(at)?.map(checked).transpose()
}

/// All runs, the newest first, and what of them could not be read.
pub(crate) fn all(from: &Connection) -> Result<(Vec<RunInfo>, Vec<StoreError>)> {
    let at = |error: rusqlite::Error| sqlite("read the table of runs", &error);
    let mut statement = from.prepare_cached(&format!("{} ORDER BY created_ns DESC, run DESC", *SELECT)).map_err(at)?;
    let rows = statement.query_map([], RunInfo::read).map_err(at)?;
    let (mut runs, mut damaged) = (Vec::new(), Vec::new());
    for row in rows {
        match row.map_err(at).and_then(checked) {
            Ok(run) => runs.push(run),
            Err(error) => damaged.push(error),
        }
    }
    Ok((runs, damaged))
}

fn checked((info, checksum): (RunInfo, i64)) -> Result<RunInfo> {
    if info.checksum() == checksum {
        return Ok(info);
    }
    Err(damaged_run(&info.id, "its row in the table of runs is not what was written"))
}
