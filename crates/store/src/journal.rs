//! The journal as a process that runs plans holds it: begins and takes over runs, appends batches of records.
//! It does not know how they are written (`writer.rs`); it never waits for the disk unless it says so.

use crate::cache::{CacheChange, Evicted, cache_used};
use crate::dir::{DataDir, Locked};
use crate::error::{Result, StoreError, io, refuse, sqlite};
use crate::queue::{Queue, Ticket};
use crate::records::Record;
use crate::runs::{Counts, NewRun, RunInfo, RunNumber, RunState};
use crate::schema;
use crate::writer::{Reply, Request, Writer};
use fanout_core::Time;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

/// What one turn of a driver wants remembered, of any runs: it becomes durable as a whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Records, in order.
    pub records: Vec<(RunNumber, Record)>,
    /// How far runs are now.
    pub summaries: Vec<Summary>,
    /// Changes to the cache on disk, in order.
    pub cache: Vec<CacheChange>,
}

/// How far a run is. After one with a state that is ended, the run gets no records.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// The run.
    pub run: RunNumber,
    /// How far.
    pub state: RunState,
    /// Its calls by outcome.
    pub counts: Counts,
    /// When that was so.
    pub at: Time,
}

impl Batch {
    /// Whether nothing is to be remembered.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.summaries.is_empty() && self.cache.is_empty()
    }

    fn weight(&self) -> usize {
        let records: usize = self.records.iter().map(|(_, record)| record.fact.weight()).sum();
        let cache: usize = self.cache.iter().map(CacheChange::weight).sum();
        records + cache + self.summaries.len() * 64
    }
}

/// What the writer tells, from its own thread, once per commit.
#[derive(Clone, Debug)]
pub enum Committed {
    /// All batches up to this one are on disk.
    UpTo(Ticket),
    /// In a commit told next, results on disk had to make room.
    Evicted(Vec<Evicted>),
    /// A commit failed. Nothing behind the last `UpTo` counts, and nothing more will be written.
    Stopped(StoreError),
}

/// Is told of every commit. It runs on the writer's thread: it sends a message and returns.
pub type Notify = Box<dyn Fn(Committed) + Send>;

/// A run that this process may write to, and nobody else. Others may go on with it when it is dropped and all that
/// was appended for it is on disk, or cannot get there any more.
pub struct OwnedRun {
    /// What is known of it.
    pub info: RunInfo,
    lock: Option<Locked>,
    queue: Arc<Queue<Request>>,
}

impl OwnedRun {
    /// Its number, for [`Batch`].
    pub fn number(&self) -> RunNumber {
        self.info.run
    }

    /// Lets others have it at once. All that was appended for it is on disk: else what is written later would stand
    /// among the records of whoever goes on with it.
    pub fn release(mut self) {
        self.lock = None;
    }
}

impl std::fmt::Debug for OwnedRun {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("OwnedRun").field(&self.info).finish()
    }
}

impl Drop for OwnedRun {
    fn drop(&mut self) {
        let Some(lock) = self.lock.take() else { return };
        if self.queue.is_idle() {
            return;
        }
        // Refused when the writer writes nothing more: then the lock goes here.
        let _ = self.queue.push(Request::Release(self.info.run, lock), 0);
    }
}

/// What became of a run that was to be begun.
#[derive(Debug)]
pub enum Begun {
    /// It is new.
    New(OwnedRun),
    /// Its key was used before for the same plan: this is that run.
    There(RunInfo),
}

/// The journal of a data directory, open for writing. Any number of processes may have it open.
///
/// Dropping it writes what was appended before it returns.
pub struct Journal {
    dir: DataDir,
    queue: Arc<Queue<Request>>,
    writer: Option<JoinHandle<()>>,
    token: Arc<str>,
    /// What is left in the file of the lock of each run.
    note: String,
    cache_used: bool,
}

impl Journal {
    /// Opens the journal in this directory, making both if they are not there, and starts its writer.
    ///
    /// # Errors
    /// The directory cannot be made or written to (`state_no_permission`, `state_read_only`, `state_full`,
    /// `state_io`); what is there was written by a later version (`state_newer`) or is damaged (`state_damaged`).
    ///
    /// ```
    /// use fanout_core::Time;
    /// use fanout_store::{Batch, Begun, Fact, Journal, NewRun, Reader, Record};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let journal = Journal::open(dir.path(), Box::new(|_| {}))?;
    /// let new = NewRun { id: "0190-a".into(), plan_hash: "f00".into(), ..NewRun::default() };
    /// let Begun::New(run) = journal.begin(new)? else { panic!("it has no key") };
    /// let record = Record { at: Time(1), fact: Fact::RunClosed };
    /// journal.append(Batch { records: vec![(run.number(), record)], ..Batch::default() })?;
    /// journal.flush()?;
    ///
    /// let mut facts = Vec::new();
    /// Reader::open(dir.path())?.replay("0190-a", |_, record| facts.push(record.fact))?;
    /// assert!(matches!(facts[..], [Fact::RunClosed]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(dir: &Path, notify: Notify) -> Result<Journal> {
        let dir = DataDir::create(dir)?;
        let connection = schema::open_write(&dir)?;
        let cache_used = cache_used(&connection).map_err(|error| sqlite("look into the cache", &error))?;
        let queue = Arc::new(Queue::new());
        let writer = Writer::new(dir.clone(), connection, queue.clone(), notify);
        let thread = std::thread::Builder::new().name("fanout-journal".into()).spawn(move || writer.run());
        let thread = thread.map_err(|error| refuse("state_io", format!("cannot start the writer: {error}")))?;
        Ok(Journal { dir, queue, writer: Some(thread), token: token(), note: String::new(), cache_used })
    }

    /// The same, leaving this note with each run that it has: whoever goes on with the run is given it.
    #[must_use]
    pub fn with_note(mut self, note: String) -> Journal {
        self.note = note;
        self
    }

    /// Whether anything had been kept in the cache of this directory when it was opened, or could have been.
    pub fn cache_used(&self) -> bool {
        self.cache_used
    }

    /// A name for this process in the cache on disk ([`crate::CacheOwner::Process`]). Others can tell whether it lives
    /// from its first open write on.
    pub fn token(&self) -> &Arc<str> {
        &self.token
    }

    /// Adds a run, waiting until it is on disk.
    ///
    /// # Errors
    /// `run_key_taken` when its key was used for another plan; what stopped the writer.
    pub fn begin(&self, new: NewRun) -> Result<Begun> {
        let (send, receive) = mpsc::sync_channel(1);
        self.begin_then(new, move |begun| _ = send.send(begun));
        receive.recv().unwrap_or_else(|_| Err(gone()))
    }

    /// As [`Journal::begin`], but the answer is given to `reply`, from the writer's thread.
    pub fn begin_then(&self, new: NewRun, reply: impl FnOnce(Result<Begun>) + Send + 'static) {
        match self.locked(&new.id).and_then(|lock| self.leave_note(&new.id, &lock).map(|()| lock)) {
            Err(error) => reply(Err(error)),
            Ok(lock) => {
                let queue = self.queue.clone();
                let reply = move |answer: Result<(RunInfo, bool)>| {
                    reply(answer.map(|(info, is_new)| match is_new {
                        true => Begun::New(OwnedRun { info, lock: Some(lock), queue }),
                        false => Begun::There(info),
                    }));
                };
                self.request(Request::Begin(Box::new(new), Some(Box::new(reply))));
            }
        }
    }

    /// Takes a run over to go on with it, after `prepare` has seen to what whoever had it last left behind: it is
    /// given their note, and nobody else has the run meanwhile. Its records are read by a `Reader`.
    ///
    /// # Errors
    /// `run_locked` when a process that lives has it; what `prepare` says; `run_unknown`; `record_damaged`.
    pub fn take(&self, id: &str, prepare: impl FnOnce(&str) -> Result<()>) -> Result<OwnedRun> {
        let lock = self.locked(id)?;
        // Ours only when theirs is done with: whoever comes after us, if we die before, has to see to it too.
        prepare(&lock.note())?;
        self.leave_note(id, &lock)?;
        let (send, receive) = mpsc::sync_channel(1);
        let reply: Reply<RunInfo> = Box::new(move |info| _ = send.send(info));
        self.request(Request::Take(id.into(), Some(reply)));
        let info = receive.recv().unwrap_or_else(|_| Err(gone()))?;
        Ok(OwnedRun { info, lock: Some(lock), queue: self.queue.clone() })
    }

    /// What whoever has or had a run left as a note; empty where there is none.
    pub fn note_of(&self, id: &str) -> String {
        self.dir.note_of(id)
    }

    fn leave_note(&self, id: &str, lock: &Locked) -> Result<()> {
        lock.leave_note(&self.note).map_err(|error| io("write to", &self.dir.lock_of(id), &error))
    }

    fn locked(&self, id: &str) -> Result<Locked> {
        if id.is_empty() || id.starts_with('.') || id.contains(['/', '\0']) {
            return Err(refuse("run_unknown", format!("`{id}` is no id of a run")));
        }
        let held = || refuse("run_locked", format!("another process is running {id}"));
        self.dir.try_lock(id)?.ok_or_else(held)
    }

    fn request(&self, request: Request) {
        if let Err((error, request)) = self.queue.push(request, 0) {
            request.fail(&error);
        }
    }

    /// Appends a batch and gives its ticket. It waits only when the disk is far behind
    /// ([`Journal::backlog_bytes`] over 64 MiB).
    ///
    /// # Errors
    /// What stopped the writer: after a commit that failed nothing more is taken.
    pub fn append(&self, batch: Batch) -> Result<Ticket> {
        let weight = batch.weight();
        self.queue.push(Request::Append(batch), weight).map_err(|(error, _)| error)
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.root()
    }

    /// Waits until all that was appended is on disk.
    ///
    /// # Errors
    /// What stopped the writer.
    pub fn flush(&self) -> Result<()> {
        self.queue.flush()
    }

    /// Whether all that was appended is on disk.
    pub fn is_idle(&self) -> bool {
        self.queue.is_idle()
    }

    /// About how many bytes wait to be written.
    pub fn backlog_bytes(&self) -> usize {
        self.queue.backlog()
    }

    /// How many commits were made.
    pub fn commits(&self) -> u64 {
        self.queue.commits()
    }

    /// All batches up to this one are on disk.
    pub fn durable(&self) -> Ticket {
        self.queue.durable()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has told so; nobody is left to tell.
            let _ = writer.join();
        }
        // What is let go now goes at once.
        drop(self.queue.stop(gone()));
    }
}

/// A name that no other journal has, of this process or another.
fn token() -> Arc<str> {
    static OPENED: AtomicU64 = AtomicU64::new(0);
    let random = RandomState::new().hash_one(0);
    format!("writer-{}-{random:x}-{}", std::process::id(), OPENED.fetch_add(1, Ordering::Relaxed)).into()
}

fn gone() -> StoreError {
    refuse("state_io", "the writer of the journal is gone")
}
