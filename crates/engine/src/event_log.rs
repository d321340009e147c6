//! The events of a run, kept in a bounded buffer that any number of readers follow at their own pace.
//! It does not know what the events mean or who drives the run; a slow reader costs the run nothing.

use crate::event::RunEvent;
use futures_util::Stream;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// How many events a reader takes at once, so that it does not lock for each.
const BATCH_MAX: usize = 256;

/// The newest events of one run. The driver appends, readers copy; the lock is held for a batch at most.
pub(crate) struct EventLog {
    inner: Mutex<Inner>,
    capacity: usize,
}

#[derive(Default)]
struct Inner {
    /// The kept events, oldest first; their `seq` are consecutive.
    kept: VecDeque<RunEvent>,
    /// Nothing will follow.
    ended: bool,
    /// Readers that found nothing.
    waiting: Vec<Waker>,
}

impl EventLog {
    pub(crate) fn new(capacity: usize) -> EventLog {
        EventLog { inner: Mutex::default(), capacity }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while the lock is held cannot leave the buffer half changed in a way readers would mind.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends `events` (leaving it empty), dropping the oldest over the capacity, and wakes the readers.
    pub(crate) fn append(&self, events: &mut Vec<RunEvent>) {
        if events.is_empty() {
            return;
        }
        let skip = events.len().saturating_sub(self.capacity);
        let mut dropped = Vec::new();
        let mut inner = self.lock();
        let over = (inner.kept.len() + events.len() - skip).saturating_sub(self.capacity);
        dropped.extend(inner.kept.drain(..over));
        inner.kept.extend(events.drain(..).skip(skip));
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
    taken: VecDeque<RunEvent>,
    next_seq: u64,
}

impl EventStream {
    pub(crate) fn new(log: Arc<EventLog>) -> EventStream {
        EventStream { log, taken: VecDeque::new(), next_seq: 0 }
    }

    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<RunEvent> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<RunEvent>> {
        if let Some(event) = self.taken.pop_front() {
            return Poll::Ready(Some(event));
        }
        let mut inner = self.log.lock();
        let first = inner.kept.front().map_or(self.next_seq, |event| event.seq);
        let at = usize::try_from(self.next_seq.saturating_sub(first)).unwrap_or(usize::MAX);
        self.taken.extend(inner.kept.iter().skip(at).take(BATCH_MAX).cloned());
        if let Some(last) = self.taken.back() {
            self.next_seq = last.seq + 1;
            drop(inner);
            return Poll::Ready(self.taken.pop_front());
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
    use crate::event::{EVENTS_VERSION, What};

    fn event(seq: u64) -> RunEvent {
        RunEvent { v: EVENTS_VERSION, seq, at_ms: 0.0, what: What::RunPaused }
    }

    #[tokio::test]
    async fn a_slow_reader_sees_a_gap_and_the_newest() {
        let log = Arc::new(EventLog::new(4));
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
        let log = Arc::new(EventLog::new(4));
        let mut reader = EventStream::new(log.clone());
        let reading = tokio::spawn(async move { reader.next().await.map(|event| event.seq) });
        tokio::task::yield_now().await;
        log.append(&mut vec![event(0)]);
        assert_eq!(reading.await.ok().flatten(), Some(0));
    }
}
