//! Removing runs: those that ended long ago, or one that nobody wants; with them the blobs that nothing names any more.
//! It does not know why a run is worth keeping; pruning keeps all that have not ended.

use crate::blobs;
use crate::dir::DataDir;
use crate::error::{Result, io, refuse, sqlite};
use crate::reader::Reader;
use crate::runs::{self, RECORDS_MAX, RunInfo};
use crate::schema;
use fanout_core::Time;
use rusqlite::{Connection, TransactionBehavior};
use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

/// Which ended runs stay. What breaks any of these goes, the oldest first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keep {
    /// Those that ended at most this long ago.
    pub age: Option<Duration>,
    /// This many of the newest.
    pub runs: Option<usize>,
    /// As many of the newest as take this many bytes, together with all that have not ended.
    pub bytes: Option<u64>,
}

/// What went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The ids of the runs, the newest first.
    pub runs: Vec<String>,
    /// Bytes of their records and blobs.
    pub bytes: u64,
    /// Blobs that no run named.
    pub blobs: u64,
}

/// Removes runs of a data directory. Runs that have not ended, that a process holds or that are damaged stay.
///
/// # Errors
/// As opening a [`crate::Journal`]; what was removed until then is gone.
pub fn prune(dir: &Path, keep: &Keep, now: Time) -> Result<Pruned> {
    let dir = DataDir::create(dir)?;
    let mut connection = schema::open_write(&dir)?;
    let mut pruned = Pruned::default();
    for run in unwanted(runs::all(&connection)?.0, keep, now) {
        // Held while it is removed: nobody reads a run that is half gone, since it goes in one transaction.
        let Some(_lock) = dir.try_lock(&run.id)? else { continue };
        remove(&run, &dir, &mut connection)?;
        pruned.bytes += run.bytes;
        pruned.runs.push(run.id);
    }
    pruned.blobs = sweep_blobs(&dir, &connection)?;
    remove_locks(&dir, &connection)?;
    shrink(&connection)?;
    Ok(pruned)
}

/// Removes one run as it was when it was looked at, whether or not it has ended.
///
/// # Errors
/// `run_locked` when a process runs it, or did since; `run_unknown`; as opening a [`crate::Journal`].
pub fn discard(dir: &Path, looked_at: &RunInfo) -> Result<Pruned> {
    let dir = DataDir::existing(dir)?;
    let mut connection = schema::open_write(&dir)?;
    let id = &looked_at.id;
    let unknown = || refuse("run_unknown", format!("there is no run {id}"));
    // Before its lock is made.
    runs::find(&connection, "id", id)?.ok_or_else(unknown)?;
    let Some(_lock) = dir.try_lock(id)? else {
        return Err(refuse("run_locked", format!("another process is running {id}")));
    };
    let run = runs::find(&connection, "id", id)?.ok_or_else(unknown)?;
    if run.records != looked_at.records {
        return Err(refuse("run_locked", format!("another process went on with {id} meanwhile; look again")));
    }
    remove(&run, &dir, &mut connection)?;
    let blobs = sweep_blobs(&dir, &connection)?;
    shrink(&connection)?;
    Ok(Pruned { runs: vec![id.clone()], bytes: looked_at.bytes, blobs })
}

/// Gives what is free back to the file system.
fn shrink(connection: &Connection) -> Result<()> {
    let at = |error: rusqlite::Error| sqlite("shrink the journal", &error);
    // It frees a page per row that is asked for.
    let mut vacuum = connection.prepare("PRAGMA incremental_vacuum").map_err(at)?;
    let mut pages = vacuum.query([]).map_err(at)?;
    while pages.next().map_err(at)?.is_some() {}
    drop(pages);
    drop(vacuum);
    connection.pragma_update_and_check(None, "wal_checkpoint", "TRUNCATE", |_| Ok(())).map_err(at)
}

/// What [`prune`] would remove: its runs and their bytes.
///
/// # Errors
/// As opening a [`crate::Reader`].
pub fn would_prune(dir: &Path, keep: &Keep, now: Time) -> Result<Pruned> {
    let unwanted = unwanted(runs::all(Reader::open(dir)?.connection())?.0, keep, now);
    let bytes = unwanted.iter().map(|run| run.bytes).sum();
    Ok(Pruned { runs: unwanted.into_iter().map(|run| run.id).collect(), bytes, blobs: 0 })
}

/// The runs that go, the newest first.
fn unwanted(mut runs: Vec<RunInfo>, keep: &Keep, now: Time) -> Vec<RunInfo> {
    runs.sort_by(|a, b| b.updated.cmp(&a.updated).then(b.run.cmp(&a.run)));
    let mut bytes: u64 = runs.iter().filter(|run| !run.state.is_ended()).map(|run| run.bytes).sum();
    runs.retain(|run| run.state.is_ended());
    let mut kept = 0;
    runs.retain(|run| {
        let stays = keep.age.is_none_or(|age| now.since(run.updated) <= age)
            && keep.runs.is_none_or(|most| kept < most)
            && keep.bytes.is_none_or(|most| bytes + run.bytes <= most);
        if stays {
            kept += 1;
            bytes += run.bytes;
        }
        !stays
    });
    runs
}

/// Removes a run whose lock is held, and then its lock.
fn remove(run: &RunInfo, dir: &DataDir, from: &mut Connection) -> Result<()> {
    let at = |error: rusqlite::Error| sqlite("remove a run", &error);
    let transaction = from.transaction_with_behavior(TransactionBehavior::Immediate).map_err(at)?;
    let records = [run.run.record(0), run.run.record(RECORDS_MAX)];
    transaction.execute("DELETE FROM records WHERE first >= ?1 AND first < ?2", records).map_err(at)?;
    for table in ["blobs", "answers", "runs"] {
        transaction.execute(&format!("DELETE FROM {table} WHERE run = ?1"), [run.run.0]).map_err(at)?;
    }
    transaction.commit().map_err(at)?;
    let lock = dir.lock_of(&run.id);
    std::fs::remove_file(&lock).map_err(|error| io("remove", &lock, &error))
}

fn sweep_blobs(dir: &DataDir, connection: &Connection) -> Result<u64> {
    // Nobody is between writing a blob and naming it while this is held.
    let _held = dir.lock_blobs(true)?;
    let at = |error: rusqlite::Error| sqlite("read the names of blobs", &error);
    let mut named = connection.prepare("SELECT 1 FROM blobs WHERE hash = ?1").map_err(at)?;
    blobs::sweep(dir, &mut |hash| named.exists([hash]).map_err(at)).map(|(files, _)| files)
}

/// Removes the locks of runs that are not there: begun and refused, or from before a crash.
fn remove_locks(dir: &DataDir, connection: &Connection) -> Result<()> {
    let at = |error: rusqlite::Error| sqlite("read the table of runs", &error);
    let folder = dir.root().join("locks");
    let mut gone = HashSet::new();
    for entry in std::fs::read_dir(&folder).map_err(|error| io("read", &folder, &error))? {
        let name = entry.map_err(|error| io("read", &folder, &error))?.file_name();
        if let Some(run) = name.to_str().and_then(|name| name.strip_suffix(".lock"))
            && !["blobs", "tables"].contains(&run)
        {
            gone.insert(run.to_owned());
        }
    }
    let mut known = connection.prepare("SELECT 1 FROM runs WHERE id = ?1").map_err(at)?;
    for run in gone {
        // Looked up while it is held: whoever begins a run holds its lock from before its row is there.
        if let Some(_lock) = dir.try_lock(&run)?
            && !known.exists([&run]).map_err(at)?
        {
            let path = dir.lock_of(&run);
            std::fs::remove_file(&path).map_err(|error| io("remove", &path, &error))?;
        }
    }
    Ok(())
}
