//! What waits for the writer: requests in order, tickets for batches, a bound on all of it.
//! It does not know what is in a request, nor how it is written.

use crate::error::{Result, StoreError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A batch that was appended. Batches are numbered from 1 and become durable in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub u64);

/// More than this waits only when the disk cannot keep up: then whoever appends waits too.
pub const BACKLOG_BYTES_MAX: usize = 64 << 20;

/// How long the writer looks for more before it sleeps: about as long as it takes to be woken, and as those who heard of
/// the last commit take to come with the next batch.
const LOOK_MAX: Duration = Duration::from_micros(50);

/// Requests of type `R` on their way to the one thread that takes them.
#[derive(Debug)]
pub(crate) struct Queue<R> {
    waiting: Mutex<Waiting<R>>,
    /// There is something to take, or was just now.
    any: AtomicBool,
    arrived: Condvar,
    taken: Condvar,
    /// How long to look for more before sleeping.
    look_max: Duration,
}

#[derive(Debug)]
struct Waiting<R> {
    requests: Vec<R>,
    bytes: usize,
    appended: Ticket,
    durable: Ticket,
    /// How often something became durable.
    commits: u64,
    /// How long a commit takes now, sync included.
    commit_time: Duration,
    /// The writer sleeps.
    asleep: bool,
    /// How many wait for room or for a commit.
    watching: usize,
    closed: bool,
    stopped: Option<StoreError>,
}

impl<R> Queue<R> {
    pub(crate) fn new() -> Queue<R> {
        let waiting = Waiting {
            requests: Vec::new(),
            bytes: 0,
            appended: Ticket(0),
            durable: Ticket(0),
            commits: 0,
            commit_time: Duration::ZERO,
            asleep: false,
            watching: 0,
            closed: false,
            stopped: None,
        };
        // Where there is one processor, what is looked for comes only after the looking.
        let others = std::thread::available_parallelism().is_ok_and(|count| count.get() > 1);
        Queue {
            waiting: Mutex::new(waiting),
            any: AtomicBool::new(false),
            arrived: Condvar::new(),
            taken: Condvar::new(),
            look_max: if others { LOOK_MAX } else { Duration::ZERO },
        }
    }

    /// Nothing that can panic happens while the lock is held.
    fn lock(&self) -> MutexGuard<'_, Waiting<R>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a request behind those there and gives its ticket; one with bytes waits while too many wait already.
    ///
    /// # Errors
    /// What stopped the writer, and the request.
    pub(crate) fn push(&self, request: R, bytes: usize) -> std::result::Result<Ticket, (StoreError, R)> {
        let mut waiting = self.lock();
        while bytes > 0 && waiting.bytes >= BACKLOG_BYTES_MAX && waiting.stopped.is_none() {
            waiting = self.watch(waiting);
        }
        if let Some(error) = &waiting.stopped {
            return Err((error.clone(), request));
        }
        waiting.requests.push(request);
        waiting.bytes += bytes;
        waiting.appended.0 += 1;
        let ticket = waiting.appended;
        self.any.store(true, Ordering::Release);
        if waiting.asleep {
            self.arrived.notify_one();
        }
        Ok(ticket)
    }

    /// Sleeps until something was taken or became durable. Whoever takes or commits wakes nobody where nobody sleeps.
    fn watch<'a>(&self, mut waiting: MutexGuard<'a, Waiting<R>>) -> MutexGuard<'a, Waiting<R>> {
        waiting.watching += 1;
        let mut waiting = self.taken.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        waiting.watching -= 1;
        waiting
    }

    fn wake_watching(&self, waiting: MutexGuard<'_, Waiting<R>>) {
        let anybody = waiting.watching > 0;
        drop(waiting);
        if anybody {
            self.taken.notify_all();
        }
    }

    /// Looks for something to take, for a while.
    fn look(&self) {
        let begun = Instant::now();
        while !self.any.load(Ordering::Acquire) && begun.elapsed() < self.look_max {
            std::hint::spin_loop();
        }
    }

    /// Takes all that waits, waiting for something to do; the ticket is the last one's. `None`: closed and empty.
    pub(crate) fn take(&self) -> Option<(Vec<R>, Ticket)> {
        self.look();
        let mut waiting = self.lock();
        while waiting.requests.is_empty() {
            if waiting.closed {
                return None;
            }
            waiting.asleep = true;
            waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            waiting.asleep = false;
        }
        self.any.store(false, Ordering::Release);
        waiting.bytes = 0;
        let taken = (std::mem::take(&mut waiting.requests), waiting.appended);
        self.wake_watching(waiting);
        Some(taken)
    }

    /// All up to this ticket is durable; to commit it took so long.
    pub(crate) fn committed(&self, ticket: Ticket, took: Duration) {
        let mut waiting = self.lock();
        waiting.durable = ticket;
        waiting.commits += 1;
        // Half of it is new, so that one that was slow by accident is soon forgotten.
        waiting.commit_time = (waiting.commit_time + took) / 2;
        self.wake_watching(waiting);
    }

    /// Nothing is taken any more; gives what was still waiting.
    pub(crate) fn stop(&self, error: StoreError) -> Vec<R> {
        let mut waiting = self.lock();
        waiting.stopped = Some(error);
        let left = std::mem::take(&mut waiting.requests);
        self.wake_watching(waiting);
        left
    }

    /// Nothing will be pushed any more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.any.store(true, Ordering::Release);
        self.arrived.notify_one();
    }

    /// Waits until all pushed so far is durable.
    pub(crate) fn flush(&self) -> Result<()> {
        let mut waiting = self.lock();
        let wanted = waiting.appended;
        loop {
            if waiting.durable >= wanted {
                return Ok(());
            }
            if let Some(error) = &waiting.stopped {
                return Err(error.clone());
            }
            waiting = self.watch(waiting);
        }
    }

    /// Bytes that wait.
    pub(crate) fn backlog(&self) -> usize {
        self.lock().bytes
    }

    /// Whether all pushed so far is durable.
    pub(crate) fn is_idle(&self) -> bool {
        let waiting = self.lock();
        waiting.durable >= waiting.appended
    }

    /// How long a commit takes now, if the writer has nothing to do.
    pub(crate) fn idle(&self) -> Option<Duration> {
        let waiting = self.lock();
        (waiting.durable >= waiting.appended).then_some(waiting.commit_time)
    }

    /// How often something became durable.
    pub(crate) fn commits(&self) -> u64 {
        self.lock().commits
    }

    /// The last ticket that is durable.
    pub(crate) fn durable(&self) -> Ticket {
        self.lock().durable
    }
}
