//! The one thread that writes: all batches that wait become one transaction with one sync.
//! It does not know who waits for what; after a commit that failed it writes nothing more.

use crate::blobs::{BlobRef, INLINE_BYTES_MAX, NewBlobs};
use crate::cache::{CacheChange, CacheOwner, CacheWrite, CacheWriter};
use crate::dir::{DataDir, Locked};
use crate::error::{Result, StoreError, refuse, sqlite};
use crate::journal::{Batch, Committed, Notify, Summary};
use crate::queue::{Queue, Ticket};
use crate::records::{Pack, Record, Value, encode};
use crate::runs::{self, NewRun, RECORDS_MAX, RunInfo, RunNumber, int};
use hashbrown::HashMap;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params};
use std::sync::Arc;

/// What the writer is asked for.
pub(crate) enum Request {
    Append(Batch),
    /// Add a run; the answer says whether it is new.
    Begin(Box<NewRun>, Option<Reply<(RunInfo, bool)>>),
    /// Go on with a run.
    Take(String, Option<Reply<RunInfo>>),
    /// Nothing more will come for a run here: its lock, for when all before is on disk.
    Release(RunNumber, Locked),
}

pub(crate) type Reply<T> = Box<dyn FnOnce(Result<T>) + Send>;

impl Request {
    /// Answers that it will not be done.
    pub(crate) fn fail(self, error: &StoreError) {
        match self {
            Request::Append(_) | Request::Begin(_, None) | Request::Take(_, None) | Request::Release(..) => {}
            Request::Begin(_, Some(reply)) => reply(Err(error.clone())),
            Request::Take(_, Some(reply)) => reply(Err(error.clone())),
        }
    }
}

/// The writer's own state.
pub(crate) struct Writer {
    dir: DataDir,
    connection: Connection,
    queue: Arc<Queue<Request>>,
    notify: Notify,
    runs: HashMap<RunNumber, OpenRun>,
    /// Runs whose rows are to be written at the end of the turn.
    changed: Vec<RunNumber>,
    cache: CacheWriter,
    /// The lock by which others see that this process lives.
    owner: Option<(Arc<str>, Locked)>,
}

/// A run that gets records.
struct OpenRun {
    info: RunInfo,
    /// Whether it is among those that changed.
    changed: bool,
    /// Records of this turn that are not in a row yet.
    pack: Pack,
}

/// What is answered once the turn is on disk.
type Answers = Vec<Box<dyn FnOnce()>>;

impl Writer {
    pub(crate) fn new(dir: DataDir, connection: Connection, queue: Arc<Queue<Request>>, notify: Notify) -> Writer {
        let (runs, changed, cache) = (HashMap::new(), Vec::new(), CacheWriter::default());
        Writer { dir, connection, queue, notify, runs, changed, cache, owner: None }
    }

    pub(crate) fn run(mut self) {
        while let Some((mut requests, last)) = self.queue.take() {
            match self.turn(&mut requests) {
                Ok(answers) => {
                    self.queue.committed(last);
                    self.committed(last, answers);
                    self.let_go(requests);
                }
                Err(error) => {
                    // Not even a rollback is needed: closing the connection forgets the transaction.
                    let left = self.queue.stop(error.clone());
                    // What it has open may still be written: it lives on for others until the process ends.
                    std::mem::forget(self.owner.take());
                    requests.into_iter().chain(left).for_each(|request| request.fail(&error));
                    return (self.notify)(Committed::Stopped(error));
                }
            }
        }
        if let Some((token, _held)) = &self.owner {
            self.dir.forget_lock(token);
        }
    }

    fn committed(&mut self, last: Ticket, answers: Answers) {
        if !self.cache.evicted.is_empty() {
            (self.notify)(Committed::Evicted(std::mem::take(&mut self.cache.evicted)));
        }
        (self.notify)(Committed::UpTo(last));
        answers.into_iter().for_each(|answer| answer());
        for run in self.changed.drain(..) {
            match self.runs.get_mut(&run) {
                Some(open) if open.info.state.is_ended() => _ = self.runs.remove(&run),
                Some(open) => open.changed = false,
                None => {}
            }
        }
    }

    /// All that came for these runs is on disk: others may have them.
    fn let_go(&mut self, requests: Vec<Request>) {
        for request in requests {
            if let Request::Release(run, lock) = request {
                self.runs.remove(&run);
                drop(lock);
            }
        }
    }

    /// Writes all of these in one transaction. They are on disk when it returns.
    fn turn(&mut self, requests: &mut [Request]) -> Result<Answers> {
        // Held until the records that name the blobs are there: nothing sweeps them before.
        let _held = self.write_blobs(requests)?;
        let begin = |error: rusqlite::Error| sqlite("begin to write to the journal", &error);
        self.connection.prepare_cached("BEGIN IMMEDIATE").map_err(begin)?.execute([]).map_err(begin)?;
        let mut answers = Answers::new();
        for request in requests {
            match request {
                Request::Append(batch) => self.append(batch)?,
                Request::Begin(new, reply) => {
                    let begun = self.begin(new)?;
                    if let Some(reply) = reply.take() {
                        answers.push(Box::new(move || reply(begun)));
                    }
                }
                Request::Take(id, reply) => {
                    let taken = self.take(id);
                    if let Some(reply) = reply.take() {
                        answers.push(Box::new(move || reply(taken)));
                    }
                }
                Request::Release(..) => {}
            }
        }
        self.write_runs()?;
        let commit = |error: rusqlite::Error| sqlite("write the journal to disk", &error);
        self.connection.prepare_cached("COMMIT").map_err(commit)?.execute([]).map_err(commit)?;
        Ok(answers)
    }

    /// Writes the rows of all runs that changed.
    fn write_runs(&mut self) -> Result<()> {
        let at = |error: rusqlite::Error| sqlite("write to the table of runs", &error);
        for run in &self.changed {
            if let Some(open) = self.runs.get_mut(run) {
                open.write_pack(&self.connection)?;
                open.info.update(&self.connection).map_err(at)?;
            }
        }
        Ok(())
    }

    /// Makes blobs of all values that are too large for the database.
    fn write_blobs(&self, requests: &mut [Request]) -> Result<Option<Locked>> {
        let mut held = None;
        let mut new = NewBlobs::default();
        for request in requests {
            let Request::Append(batch) = request else { continue };
            let records = batch.records.iter_mut().flat_map(|(_, record)| record.fact.values_mut());
            for value in records {
                if let Value::Text(text) = value
                    && text.get().len() > INLINE_BYTES_MAX
                {
                    if held.is_none() {
                        held = Some(self.dir.lock_blobs(false)?);
                    }
                    let blob = new.write(&self.dir, text.get().as_bytes())?;
                    *value = Value::Blob(blob);
                }
            }
        }
        new.sync()?;
        Ok(held)
    }

    fn begin(&mut self, new: &NewRun) -> Result<Result<(RunInfo, bool)>> {
        let mut info = RunInfo::new(new.clone());
        let at = |error: rusqlite::Error| sqlite("write to the table of runs", &error);
        if info.insert(&self.connection).map_err(at)? {
            self.runs.insert(info.run, OpenRun { info: info.clone(), changed: false, pack: Pack::default() });
            return Ok(Ok((info, true)));
        }
        let there = match &new.key {
            Some(key) => runs::find(&self.connection, "key", key)?,
            None => None,
        };
        if let Some(there) = there.as_ref().filter(|there| there.records == 0)
            && let Some(_lock) = self.dir.try_lock(&there.id)?
        {
            // Its process died between taking the key and the first record: nothing of it ever began.
            self.connection.execute("DELETE FROM runs WHERE run = ?1", [there.run.0]).map_err(at)?;
            return self.begin(new);
        }
        Ok(match there {
            Some(there) if there.plan_hash == new.plan_hash => Ok((there, false)),
            Some(there) => {
                let key = new.key.as_deref().unwrap_or_default();
                Err(refuse(
                    "run_key_taken",
                    format!("the key `{key}` belongs to run {} of another plan or other inputs", there.id),
                ))
            }
            None => Err(refuse("run_locked", format!("a run with the id {} is there already", new.id))),
        })
    }

    fn take(&mut self, id: &str) -> Result<RunInfo> {
        let info = runs::find(&self.connection, "id", &id)?
            .ok_or_else(|| refuse("run_unknown", format!("there is no run {id}")))?;
        self.runs.insert(info.run, OpenRun { info: info.clone(), changed: false, pack: Pack::default() });
        Ok(info)
    }

    fn append(&mut self, batch: &Batch) -> Result<()> {
        let at = |error: rusqlite::Error| sqlite("write to the journal", &error);
        for (run, record) in &batch.records {
            let run = open(&mut self.runs, *run, &mut self.changed)?;
            run.append(record);
            for blob in record.fact.blobs() {
                run.name_blob(blob, &self.connection).map_err(at)?;
            }
            if run.pack.is_full() {
                run.write_pack(&self.connection)?;
            }
        }
        for Summary { run, state, counts, at } in &batch.summaries {
            let run = open(&mut self.runs, *run, &mut self.changed)?;
            (run.info.state, run.info.counts) = (*state, *counts);
            run.info.updated = run.info.updated.max(*at);
        }
        for change in &batch.cache {
            self.hold_owner(change)?;
            self.cache.apply(change, &self.dir, &self.connection).map_err(at)?;
        }
        Ok(())
    }

    /// Before anybody can see a write of this process, they can see that it lives.
    fn hold_owner(&mut self, change: &CacheChange) -> Result<()> {
        let CacheChange::Open(CacheWrite { owner: CacheOwner::Process(token), .. }) = change else { return Ok(()) };
        if self.owner.is_none() {
            let lock = self.dir.try_lock(token)?;
            let lock = lock.ok_or_else(|| refuse("state_io", format!("another process has the name {token}")))?;
            self.owner = Some((token.clone(), lock));
        }
        Ok(())
    }
}

/// The run, noted as changed.
fn open<'r>(
    runs: &'r mut HashMap<RunNumber, OpenRun>,
    run: RunNumber,
    changed: &mut Vec<RunNumber>,
) -> Result<&'r mut OpenRun> {
    let unknown = || refuse("run_unknown", format!("records came for run {}, which is not open here", run.0));
    let open = runs.get_mut(&run).ok_or_else(unknown)?;
    if !std::mem::replace(&mut open.changed, true) {
        changed.push(run);
    }
    Ok(open)
}

impl OpenRun {
    fn append(&mut self, record: &Record) {
        let info = &mut self.info;
        info.head = self.pack.push(info.head, |text| encode(record, text));
        info.records += 1;
        info.updated = info.updated.max(record.at);
    }

    /// The records that wait become a row.
    fn write_pack(&mut self, to: &Connection) -> Result<()> {
        if self.pack.is_empty() {
            return Ok(());
        }
        let at = |error: rusqlite::Error| sqlite("write to the journal", &error);
        let info = &mut self.info;
        if info.records > RECORDS_MAX {
            return Err(refuse(
                "state_full",
                format!("run {} has {RECORDS_MAX} records, the most there can be", info.id),
            ));
        }
        let first = info.run.record(info.records - self.pack.count());
        let (payload, checks) = self.pack.columns();
        to.prepare_cached("INSERT INTO records (first, payload, checks) VALUES (?1, ?2, ?3)")
            .and_then(|mut insert| insert.execute(params![first, Text(payload), checks]))
            .map_err(at)?;
        info.bytes += (payload.len() + checks.len()) as u64;
        self.pack.clear();
        Ok(())
    }

    fn name_blob(&mut self, blob: &BlobRef, to: &Connection) -> rusqlite::Result<()> {
        let mut statement = to.prepare_cached("INSERT OR IGNORE INTO blobs (run, hash, bytes) VALUES (?1, ?2, ?3)")?;
        if statement.execute(params![self.info.run.0, blob.hash, int(blob.bytes)])? == 1 {
            self.info.bytes += blob.bytes;
        }
        Ok(())
    }
}

/// JSON that we wrote ourselves: text without asking again whether it is UTF-8.
struct Text<'a>(&'a [u8]);

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}
