//! Taking a run over from a process that is gone, and ending what it left behind.
//! It does not know what is recorded of the run.

use crate::durable::error;
use fanout_store::{Journal, OwnedRun, Pruned, Reader, RunInfo, StoreError};
use fanout_tools::process::left;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a program that was about to be started when its engine died may take to be loaded. It has the run until
/// then; from a disk that is busy that takes a while, and longer means that it is stuck.
const LOADED_MAX: Duration = Duration::from_secs(30);

/// How often it is looked meanwhile: often enough that nobody notices, since hardly anybody ever waits.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Takes a run. When it has been taken, nothing that was started for it runs any more: its process is gone; what was about
/// to become a program held the run until it was one; and those are found by their mark and ended. Blocks meanwhile.
pub(crate) fn take(journal: &Journal, id: &str) -> Result<OwnedRun, StoreError> {
    patiently(|| journal.take(id, |note| end(note, id)), || journal.note_of(id))
}

/// Whether a process that lives runs this run.
pub fn is_held(reader: &Reader, id: &str) -> bool {
    reader.is_held(id) && !left::is_gone(&reader.note_of(id))
}

/// Removes a run that no process runs, ended or not, if it is still as it was looked at.
///
/// # Errors
/// `run_locked` when a process runs it, or did since; `run_unknown`; what keeps the journal from being written.
pub fn discard(state: &Path, looked_at: &RunInfo) -> Result<Pruned, StoreError> {
    let note = || Reader::open(state).map_or_else(|_| String::new(), |reader| reader.note_of(&looked_at.id));
    patiently(|| fanout_store::discard(state, looked_at), note)
}

/// Tries again while only what a process that is gone was about to start has the run.
fn patiently<T>(attempt: impl Fn() -> Result<T, StoreError>, note: impl Fn() -> String) -> Result<T, StoreError> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Err(error) if error.code == "run_locked" && begun.elapsed() < LOADED_MAX && left::is_gone(&note()) => {
                std::thread::sleep(LOOK_AGAIN);
            }
            done => return done,
        }
    }
}

fn end(note: &str, id: &str) -> Result<(), StoreError> {
    left::end(note, id).map_err(|left| {
        let pids: Vec<String> = left.iter().take(8).map(ToString::to_string).collect();
        let message = format!(
            "what ran {id} before is gone, but programs that it started do not end although they were killed; \
             see what holds these processes, then resume again: {}",
            pids.join(", ")
        );
        error("run_left", message)
    })
}
