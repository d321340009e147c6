//! The thread that looks into the cache on disk, so that the driver never does.
//! It does not know what follows from what it finds.

use crate::message::Message;
use crate::reuse::Value;
use fanout_core::{CallRef, Stamp, Time};
use fanout_store::{CacheKey, DiskCache, KeyPath, Looked};
use fanout_tools::JsonText;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use tokio::sync::mpsc::UnboundedSender;

/// What a call asks of the disk. There is one at most per call that is ready to start.
pub(crate) struct Question {
    pub(crate) call: CallRef,
    pub(crate) look: u64,
    pub(crate) tool: Arc<str>,
    pub(crate) args: JsonText,
    pub(crate) reads: Arc<[KeyPath]>,
}

impl Question {
    /// What its result is kept by.
    fn key(&self) -> Option<CacheKey> {
        CacheKey::new(&self.tool, &self.args).map(|key| key.reading(&self.reads))
    }
}

/// The answer to a [`Question`].
pub(crate) struct Answer {
    pub(crate) call: CallRef,
    pub(crate) look: u64,
    /// What its result is kept by, if it can be.
    pub(crate) key: Option<CacheKey>,
    /// `None`: the disk could not be read.
    pub(crate) stamp: Option<Stamp>,
    /// The result, and when it was there by the clock on the wall.
    pub(crate) found: Option<(Value, Time)>,
    /// What was there is not what was stored.
    pub(crate) damaged: bool,
}

/// Asks the thread. Dropping it ends the thread.
pub(crate) struct Looker {
    ask: Option<mpsc::Sender<Question>>,
    thread: Option<JoinHandle<()>>,
}

impl Looker {
    /// Starts the thread; a directory that cannot be read is one in which nothing is found.
    pub(crate) fn start(dir: PathBuf, inbox: UnboundedSender<Message>) -> Looker {
        let (ask, asked) = mpsc::channel();
        let thread = std::thread::Builder::new().name("fanout-cache".into()).spawn(move || look(&dir, &asked, &inbox));
        // Without a thread nothing can be asked, and every question is answered at once.
        let (ask, thread) = thread.map_or((None, None), |thread| (Some(ask), Some(thread)));
        Looker { ask, thread }
    }

    /// Asks. Gives the answer where there is nobody to ask.
    pub(crate) fn ask(&self, question: Question) -> Option<Answer> {
        let Some(ask) = &self.ask else { return Some(unread(&question)) };
        ask.send(question).err().map(|lost| unread(&lost.0))
    }
}

impl Drop for Looker {
    fn drop(&mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            // One that panicked has told so; nobody is left to tell.
            let _ = thread.join();
        }
    }
}

fn look(dir: &std::path::Path, asked: &mpsc::Receiver<Question>, inbox: &UnboundedSender<Message>) {
    let mut disk = None;
    while let Ok(first) = asked.recv() {
        if disk.is_none() {
            disk = DiskCache::open(dir).ok();
        }
        let questions = std::iter::once(first).chain(asked.try_iter()).take(BATCH_MAX);
        let answers = questions.map(|question| answer(disk.as_mut(), &question)).collect();
        if inbox.send(Message::LookedUp(answers)).is_err() {
            return;
        }
    }
}

/// Answers told at once.
const BATCH_MAX: usize = 256;

fn answer(disk: Option<&mut DiskCache>, question: &Question) -> Answer {
    let key = question.key();
    let looked = disk.zip(key).and_then(|(disk, key)| disk.look(&key).ok());
    let Some(Looked { stamp, found, damaged }) = looked else { return unread(question) };
    let found = found.map(|found| (Value { value: found.value, whole: found.whole }, found.stored));
    Answer { call: question.call, look: question.look, key, stamp: Some(stamp), found, damaged }
}

fn unread(question: &Question) -> Answer {
    Answer { call: question.call, look: question.look, key: None, stamp: None, found: None, damaged: false }
}

/// When a result was given, as the core counts, that was stored at this time of the clock on the wall. That may have been
/// set back since: nobody knows how old a result from the future is, so there is none.
pub(crate) fn given(now: Time, wall: Time, stored: Time) -> Option<Time> {
    let age = wall.0.checked_sub(stored.0)?;
    Some(Time(now.0.saturating_sub(age)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_result_is_that_on_the_wall() {
        // The core's clock does not follow when somebody sets the other.
        let now = Time(1_000);
        assert_eq!(given(now, Time(1_000), Time(400)), Some(Time(400)));
        assert_eq!(given(now, Time(5_000), Time(4_400)), Some(Time(400)));
        assert_eq!(given(now, Time(300), Time(400)), None);
        assert_eq!(given(now, Time(9_000), Time(0)), Some(Time(0)));
    }
}
