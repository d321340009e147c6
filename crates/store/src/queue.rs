//! What waits for the writer: requests in order, tickets for batches, a bound on all of it.
//! It does not know what is in a request, nor how it is written.

use crate::error::{Result, StoreError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A batch that was appended. Batches are numbered from 1 and become durable in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub u64);

/// More than this waits only when the disk cannot keep up: then whoever appends waits too.
pub const BACKLOG_BYTES_MAX: usize = 64 << 20;

/// How often the writer looks for more before it sleeps: about a hundred microseconds, as long as it takes those who heard
/// of the last commit to be woken and to come with the next batch.
const LOOKS_MAX: u32 = 2_500;

/// Requests of type `R` on their way to the one thread that takes them.
#[derive(Debug)]
pub(crate) struct Queue<R> {
    waiting: Mutex<Waiting<R>>,
    /// There is something to take, or was just now.
    any: AtomicBool,
    arrived: Condvar,
    taken: Condvar,
    /// How often to look for more before sleeping.
    looks_max: u32,
}

#[derive(Debug)]
struct Waiting<R> {
    requests: Vec<R>,
    bytes: usize,
    appended: Ticket,
    durable: Ticket,
    /// How often something became durable.
    commits: u64,
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
            looks_max: if others { LOOKS_MAX } else { 0 },
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
        // Who is woken while the lock is held only waits for it.
        let asleep = waiting.asleep;
        drop(waiting);
        if asleep {
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
        for _ in 0..self.looks_max {
            if self.any.load(Ordering::Acquire) {
                return;
            }
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

    /// All up to this ticket is durable.
    pub(crate) fn committed(&self, ticket: Ticket) {
        let mut waiting = self.lock();
        waiting.durable = ticket;
        waiting.commits += 1;
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

    /// How often something became durable.
    pub(crate) fn commits(&self) -> u64 {
        self.lock().commits
    }

    /// The last ticket that is durable.
    pub(crate) fn durable(&self) -> Ticket {
        self.lock().durable
    }
}
