//! What a killed process leaves of its engines' programs: found by a note that it wrote, and ended by another process.
//! It does not know where notes are kept, nor what shows that no program of that process can be on its way any more.
//!
//! A program that is about to be started bears no mark: until it is loaded it is a copy of its engine's process, also
//! when that is gone. Whoever reads a note must know that there is no such copy, as by a lock on a file that the process
//! had: copies hold it too, until they become their programs.

use super::scan::{Mark, Stat, bearers, end_all};
use rustix::process::getpid;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Who ends what a process left gives up after this; what is stuck in the kernel can take as long as it likes.
const BOUND: Duration = Duration::from_secs(10);

/// The name of this process: no other has it, nor had it.
fn process_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| uuid::Uuid::now_v7().simple().to_string())
}

/// A name for an engine of this process, from which the process can be told.
pub(super) fn engine_name() -> String {
    static ENGINES: AtomicU32 = AtomicU32::new(1);
    format!("{}-{}", ENGINES.fetch_add(1, Ordering::Relaxed), process_name())
}

/// What others have to know of this process to find what it leaves: one line.
pub fn note() -> String {
    let pid = getpid().as_raw_nonzero().get();
    let born = Stat::of(pid).map_or(0, |stat| stat.born);
    format!("pid {pid} born {born} process {}\n", process_name())
}

/// What a note says.
struct Note<'n> {
    pid: i32,
    born: u64,
    process: &'n str,
}

impl<'n> Note<'n> {
    /// `None` where it is none: cut off, or of another version.
    fn read(note: &'n str) -> Option<Note<'n>> {
        let words: Vec<&str> = note.strip_suffix('\n')?.split(' ').collect();
        let ["pid", pid, "born", born, "process", process] = words[..] else { return None };
        let is_name = process.len() == 32 && process.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some(Note { pid: pid.parse().ok()?, born: born.parse().ok()?, process: is_name.then_some(process)? })
    }

    fn is_alive(&self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| !stat.is_dead && stat.born == self.born)
    }
}

/// Whether the process that wrote this note is gone. Not known of what is no note.
pub fn is_gone(note: &str) -> bool {
    Note::read(note).is_some_and(|note| !note.is_alive())
}

/// Kills all programs that the process of this note started for this run, and waits until they are gone; where the
/// process itself is gone, all that it started, as its guard does too. Blocks for some milliseconds.
///
/// # Errors
/// The numbers of processes that do not end within ten seconds.
pub fn end(note: &str, run: &str) -> Result<(), Vec<i32>> {
    // A run has one engine at a time, so this is right also where there is no note.
    let of_run = Mark::engines("").and("FANOUT_RUN", run);
    let mut left = end_all(|| bearers(&of_run), BOUND);
    if let Some(note) = Note::read(note).filter(|note| !note.is_alive()) {
        let of_process = Mark::engines(&format!("-{}", note.process));
        left.extend(end_all(|| bearers(&of_process), BOUND));
    }
    if left.is_empty() { Ok(()) } else { Err(left) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_of_a_note_is_known() {
        let ours = note();
        assert!(!is_gone(&ours), "{ours}");
        let process = process_name();
        // The number is another process's by now.
        assert!(is_gone(&format!("pid {} born 1 process {process}\n", getpid().as_raw_nonzero())));
        assert!(is_gone(&format!("pid 0 born 1 process {process}\n")));
    }

    #[test]
    fn what_is_no_note_says_nothing() {
        let ours = note();
        for none in ["", "\n", &ours[..ours.len() - 1], "pid 0 born 1 process \n", "pid 0 born 1 process 0-\n"] {
            assert!(Note::read(none).is_none() && !is_gone(none), "{none:?}");
        }
    }
}
