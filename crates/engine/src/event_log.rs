//! The events of a run, kept in a bounded buffer that any number of readers follow at their own pace.
//! It does not know who drives the run; a slow reader costs the run nothing.

use crate::event::{EVENTS_VERSION, Outcome, RunEvent, What};
use crate::run::ms;
use fanout_core::{CallRef, RunId};
use fanout_plan::{Catalog, ToolId};
use futures_util::Stream;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Batches smaller than this are joined, unless a reader is at them.
const BATCH_MIN: usize = 256;

/// The newest events of one run. The driver appends batches, readers share them; the lock is held for a moment.
///
/// Events are kept small, and without the names in them: a reader makes [`RunEvent`]s of them, so that the driver
/// pays neither for the words nor for counting who has them.
pub(crate) struct EventLog {
    inner: Mutex<Inner>,
    capacity: usize,
    /// The ids of the calls that the run began with.
    ids: Arc<Vec<Arc<str>>>,
    catalog: Arc<Catalog>,
}

#[derive(Default)]
struct Inner {
    /// The kept events, oldest first, without a gap.
    batches: VecDeque<Batch>,
    /// The number of the next event.
    next_seq: u64,
    /// The ids of calls that were added to the run.
    added: Vec<Arc<str>>,
    /// The tools that calls were added of since.
    newer: Option<Arc<Catalog>>,
    /// Nothing will follow.
    ended: bool,
    /// Readers that found nothing.
    waiting: Vec<Waker>,
}

#[derive(Clone)]
struct Batch {
    first_seq: u64,
    events: Arc<Vec<Noted>>,
}

impl Batch {
    fn end_seq(&self) -> u64 {
        self.first_seq + self.events.len() as u64
    }
}

/// An event as the driver notes it.
#[derive(Debug)]
pub(crate) struct Noted {
    /// Nanoseconds since the run began.
    pub(crate) at_ns: u64,
    pub(crate) what: Happened,
}

/// What happened: the two events that every call has, and all others.
#[derive(Debug)]
pub(crate) enum Happened {
    Started { call: Name, tool: ToolId, attempt: u32, after_doubt: bool },
    Ended { call: Name, outcome: Outcome, error: Option<Box<Told>>, ran_ns: u64, waited_ns: u64 },
    Other(Box<What>),
}

impl Happened {
    /// The same in the words of the public API.
    fn what(&self, id: impl Fn(Name) -> Arc<str>, name: impl Fn(ToolId) -> Arc<str>) -> What {
        match self {
            Happened::Started { call, tool, attempt, after_doubt } => {
                What::CallStarted { call: id(*call), tool: name(*tool), attempt: *attempt, after_doubt: *after_doubt }
            }
            Happened::Ended { call, outcome, error, ran_ns, waited_ns } => What::CallEnded {
                call: id(*call),
                outcome: *outcome,
                code: error.as_ref().map(|error| error.code.to_string()),
                message: error.as_ref().map(|error| error.message.clone()),
                ran_ms: ms(*ran_ns),
                waited_ms: ms(*waited_ns),
            },
            Happened::Other(what) => (**what).clone(),
        }
    }

    /// The same with the names in it, for a log that does not know them.
    pub(crate) fn named(self, id: impl Fn(Name) -> Arc<str>, catalog: &Catalog) -> Happened {
        match self {
            Happened::Other(what) => Happened::Other(what),
            named => Happened::Other(Box::new(named.what(id, |tool| catalog.tool(tool).spec.name.clone()))),
        }
    }
}

/// The code and the message of an error.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
}

/// A call or element by its numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    call: u32,
    /// `NO_ELEMENT` for the call itself.
    element: u32,
}

const NO_ELEMENT: u32 = u32::MAX;

impl Name {
    /// The call of this run.
    pub(crate) fn of_run(self, run: RunId) -> CallRef {
        CallRef { run, call: self.call, element: (self.element != NO_ELEMENT).then_some(self.element) }
    }
}

impl From<CallRef> for Name {
    fn from(call: CallRef) -> Name {
        Name { call: call.call, element: call.element.unwrap_or(NO_ELEMENT) }
    }
}

impl EventLog {
    pub(crate) fn new(capacity: usize, ids: Arc<Vec<Arc<str>>>, catalog: Arc<Catalog>) -> EventLog {
        EventLog { inner: Mutex::default(), capacity, ids, catalog }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while the lock is held cannot leave the buffer half changed in a way readers would mind.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next calls of the run have these ids.
    pub(crate) fn name(&self, ids: impl Iterator<Item = Arc<str>>) {
        self.lock().added.extend(ids);
    }

    /// The next calls of the run are of these tools, among which those known so far have the same numbers.
    pub(crate) fn use_catalog(&self, catalog: Arc<Catalog>) {
        self.lock().newer = Some(catalog);
    }

    /// Appends `events` (leaving it empty), dropping the oldest over the capacity, and wakes the readers.
    pub(crate) fn append(&self, events: &mut Vec<Noted>) {
        if events.is_empty() {
            return;
        }
        let mut inner = self.lock();
        inner.push(events);
        let oldest = inner.oldest(self.capacity);
        let dropped = inner.batches.partition_point(|batch| batch.end_seq() <= oldest);
        let dropped: Vec<Batch> = inner.batches.drain(..dropped).collect();
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        drop(dropped);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Nothing will follow.
    pub(crate) fn end(&self) {
        let mut inner = self.lock();
        inner.ended = true;
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        waiting.into_iter().for_each(Waker::wake);
    }

    fn id(&self, name: Name) -> Arc<str> {
        let call = name.call as usize;
        let id = match self.ids.get(call) {
            Some(id) => id.clone(),
            None => self.lock().added.get(call - self.ids.len()).cloned().unwrap_or_default(),
        };
        if name.element == NO_ELEMENT { id } else { format!("{id}[{}]", name.element).into() }
    }

    fn tool(&self, tool: ToolId) -> Arc<str> {
        if tool.0 < self.catalog.ids() {
            return self.catalog.tool(tool).spec.name.clone();
        }
        let newer = self.lock().newer.clone();
        newer.map(|catalog| catalog.tool(tool).spec.name.clone()).unwrap_or_default()
    }

    /// An event in the words of the public API.
    fn event(&self, seq: u64, noted: &Noted) -> RunEvent {
        let what = noted.what.what(|name| self.id(name), |tool| self.tool(tool));
        RunEvent { v: EVENTS_VERSION, seq, at_ms: ms(noted.at_ns), what }
    }
}

impl Inner {
    /// The number of the oldest event that readers are given.
    fn oldest(&self, capacity: usize) -> u64 {
        self.next_seq.saturating_sub(capacity as u64)
    }

    fn push(&mut self, events: &mut Vec<Noted>) {
        let first_seq = self.next_seq;
        self.next_seq += events.len() as u64;
        if let Some(last) = self.batches.back_mut()
            && last.events.len() + events.len() <= BATCH_MIN
            && let Some(last) = Arc::get_mut(&mut last.events)
        {
            last.append(events);
            return;
        }
        // The next turn notes about as many.
        let next = Vec::with_capacity(events.len());
        self.batches.push_back(Batch { first_seq, events: Arc::new(std::mem::replace(events, next)) });
    }
}

/// The events of a run, in the order they happened; ends after the last. Many readers may follow one run.
///
/// The buffer is bounded: a reader that is too slow misses events, which shows as a gap in
/// [`RunEvent::seq`](crate::RunEvent). It never slows the run.
///
/// # Example
/// ```no_run
/// # async fn example(run: fanout::RunHandle) {
/// let mut events = run.events();
/// while let Some(event) = events.next().await {
///     println!("{:?}", event.what);
/// }
/// # }
/// ```
pub struct EventStream {
    log: Arc<EventLog>,
    /// What was taken of the log and not all read yet.
    batch: Option<Batch>,
    next_seq: u64,
}

impl EventStream {
    pub(crate) fn new(log: Arc<EventLog>) -> EventStream {
        EventStream { log, batch: None, next_seq: 0 }
    }

    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<RunEvent> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<RunEvent>> {
        if self.batch.is_none() {
            match self.take(cx) {
                Poll::Ready(Some(batch)) => self.batch = Some(batch),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
        let Some(batch) = &self.batch else { return Poll::Pending };
        let at = usize::try_from(self.next_seq - batch.first_seq).unwrap_or(usize::MAX);
        let event = batch.events.get(at).map(|noted| self.log.event(self.next_seq, noted));
        self.next_seq += 1;
        if self.next_seq >= batch.end_seq() {
            self.batch = None;
        }
        Poll::Ready(event)
    }

    /// The batch with the next event that is still kept; sets `next_seq` to that.
    fn take(&mut self, cx: &mut Context<'_>) -> Poll<Option<Batch>> {
        let mut inner = self.log.lock();
        let next_seq = self.next_seq.max(inner.oldest(self.log.capacity));
        let at = inner.batches.partition_point(|batch| batch.end_seq() <= next_seq);
        if let Some(batch) = inner.batches.get(at) {
            self.next_seq = next_seq;
            return Poll::Ready(Some(batch.clone()));
        }
        if inner.ended {
            return Poll::Ready(None);
        }
        if !inner.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            inner.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Stream for EventStream {
    type Item = RunEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RunEvent>> {
        self.get_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at_ns: u64) -> Noted {
        Noted { at_ns, what: Happened::Other(Box::new(What::RunPaused)) }
    }

    fn log() -> Arc<EventLog> {
        Arc::new(EventLog::new(4, Arc::default(), Arc::default()))
    }

    #[tokio::test]
    async fn a_slow_reader_sees_a_gap_and_the_newest() {
        let log = log();
        let mut reader = EventStream::new(log.clone());
        log.append(&mut (0..2).map(event).collect());
        assert_eq!(reader.next().await.map(|event| event.seq), Some(0));
        log.append(&mut (2..20).map(event).collect());
        log.end();
        let mut seen = Vec::new();
        while let Some(event) = reader.next().await {
            seen.push(event.seq);
        }
        assert_eq!(seen, [1, 16, 17, 18, 19]);
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken() {
        let log = log();
        let mut reader = EventStream::new(log.clone());
        let reading = tokio::spawn(async move { reader.next().await.map(|event| event.seq) });
        tokio::task::yield_now().await;
        log.append(&mut vec![event(0)]);
        assert_eq!(reading.await.ok().flatten(), Some(0));
    }
}
