//! How the calls of a run ended and what they waited for, side by side instead of in an allocation per call.
//! It does not know which call an end belongs to; each call keeps the place of its own.

use fanout_core::{CallEnd, Cause, Outcome, Time, Wait};
use smallvec::SmallVec;
use std::num::NonZeroU32;

/// Entries of a page: what is written now stays in the cache, and nothing is moved when more are needed.
const PAGE: usize = 4_096;

/// A list that only grows, in pages.
struct Pages<T> {
    pages: Vec<Vec<T>>,
}

impl<T> Pages<T> {
    fn len(&self) -> usize {
        self.pages.last().map_or(0, |last| (self.pages.len() - 1) * PAGE + last.len())
    }

    fn push(&mut self, entry: T) {
        match self.pages.last_mut() {
            Some(page) if page.len() < PAGE => page.push(entry),
            // The first page grows, since most runs are small.
            None => self.pages.push(vec![entry]),
            Some(_) => {
                let mut page = Vec::with_capacity(PAGE);
                page.push(entry);
                self.pages.push(page);
            }
        }
    }

    fn get(&self, index: usize) -> Option<&T> {
        self.pages.get(index / PAGE)?.get(index % PAGE)
    }
}

/// The place of an end among those of its run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndPlace(NonZeroU32);

/// The end of a call.
pub(crate) struct End {
    pub(crate) ended: Time,
    /// When its first attempt started; `NEVER` if none did.
    started: Time,
    pub(crate) attempts: u32,
    first_wait: u32,
    waits: u32,
    pub(crate) outcome: Outcome,
}

/// Marks the places of ends that can be removed: there are fewer than 2^31 of either kind.
const LOOSE: u32 = 1 << 31;
/// No moment.
const NEVER: Time = Time(u64::MAX);

impl End {
    pub(crate) fn started(&self) -> Option<Time> {
        (self.started != NEVER).then_some(self.started)
    }
}

/// All ends of a run.
pub(crate) struct Ends {
    ends: Pages<End>,
    waits: Pages<Wait>,
    /// Those that can be taken out again, and where none is now.
    loose: Vec<(End, SmallVec<[Wait; 1]>)>,
    loose_free: Vec<u32>,
    /// Whether a call waited for another one's key or success.
    pub(crate) ordered: bool,
}

impl Ends {
    pub(crate) fn new() -> Ends {
        Ends {
            ends: Pages { pages: Vec::new() },
            waits: Pages { pages: Vec::new() },
            loose: Vec::new(),
            loose_free: Vec::new(),
            ordered: false,
        }
    }

    /// Keeps an end.
    pub(crate) fn push(&mut self, end: &CallEnd) -> Option<EndPlace> {
        let first_wait = u32::try_from(self.waits.len()).unwrap_or(u32::MAX);
        for wait in &end.waits {
            self.ordered |= matches!(wait.cause, Cause::Key { .. } | Cause::Stop(_) | Cause::OtherRun { .. });
            self.waits.push(*wait);
        }
        self.ends.push(End {
            ended: end.ended,
            started: end.started.unwrap_or(NEVER),
            attempts: end.attempts,
            first_wait,
            waits: u32::try_from(end.waits.len()).unwrap_or(u32::MAX),
            outcome: end.outcome,
        });
        NonZeroU32::new(u32::try_from(self.ends.len()).unwrap_or(u32::MAX)).map(EndPlace)
    }

    /// Keeps an end until it is removed.
    pub(crate) fn push_loose(&mut self, end: &CallEnd) -> Option<EndPlace> {
        let place = self.loose_free.pop().unwrap_or_else(|| u32::try_from(self.loose.len()).unwrap_or(LOOSE - 1));
        let kept = End {
            ended: end.ended,
            started: end.started.unwrap_or(NEVER),
            attempts: end.attempts,
            first_wait: LOOSE | place,
            waits: u32::try_from(end.waits.len()).unwrap_or(u32::MAX),
            outcome: end.outcome,
        };
        match self.loose.get_mut(place as usize) {
            Some(entry) => *entry = (kept, end.waits.clone()),
            None => self.loose.push((kept, end.waits.clone())),
        }
        NonZeroU32::new(LOOSE | place).map(EndPlace)
    }

    /// Nobody looks at this end any more.
    pub(crate) fn remove(&mut self, place: EndPlace) {
        let place = place.0.get();
        if place & LOOSE != 0
            && let Some((_, waits)) = self.loose.get_mut((place & !LOOSE) as usize)
        {
            *waits = SmallVec::new();
            self.loose_free.push(place & !LOOSE);
        }
    }

    /// The end at a place.
    pub(crate) fn get(&self, place: EndPlace) -> Option<&End> {
        let place = place.0.get();
        if place & LOOSE != 0 {
            return self.loose.get((place & !LOOSE) as usize).map(|(end, _)| end);
        }
        self.ends.get(place as usize - 1)
    }

    /// What a call waited for, in order.
    pub(crate) fn waits(&self, end: &End) -> impl ExactSizeIterator<Item = Wait> {
        let first = end.first_wait as usize;
        let none = Wait { cause: Cause::Resolve, ns: 0 };
        let loose = (end.first_wait & LOOSE != 0).then(|| self.loose.get((end.first_wait & !LOOSE) as usize)).flatten();
        (0..end.waits as usize).map(move |wait| {
            let kept = loose.map_or_else(|| self.waits.get(first + wait), |(_, waits)| waits.get(wait));
            kept.copied().unwrap_or(none)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanout_core::{CallRef, Reason, RunId};

    #[test]
    fn ends_and_waits_are_found_across_pages() {
        let mut ends = Ends::new();
        let call = CallRef { run: RunId(0), call: 0, element: None };
        let mut places = Vec::new();
        for at in 0..2 * PAGE as u64 {
            let wait = |ns: u64| Wait { cause: Cause::Backoff, ns };
            places.push(ends.push(&CallEnd {
                call,
                outcome: Outcome::Succeeded,
                reason: Reason::Tool,
                attempts: 1,
                started: None,
                ended: Time(at),
                waits: (0..at % 4).map(|more| wait(at + more)).collect(),
            }));
        }
        for (at, place) in (0..).zip(places) {
            let end = place.and_then(|place| ends.get(place)).expect("an end");
            let waits: Vec<u64> = ends.waits(end).map(|wait| wait.ns).collect();
            assert_eq!(end.ended, Time(at));
            assert_eq!(waits, (0..at % 4).map(|more| at + more).collect::<Vec<_>>());
        }
    }
}
