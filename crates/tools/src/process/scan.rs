//! Finds and ends processes by what they bear in their environment, from `/proc`.
//! It does not know engines or attempts: a mark is a set of environment entries.

use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open, pidfd_send_signal};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// The environment is read up to here; the kernel allows at most 6 MiB by default.
const ENVIRON_BYTES_MAX: u64 = 8 << 20;
/// More unmarked descendants than this are not held; descriptors are few.
const STRAYS_MAX: usize = 256;
/// The entry that a guard bears: it must outlive the tree it is in.
pub(crate) const GUARD_ENTRY: &str = "FANOUT_GUARD";

/// Environment entries (`NAME=value`), all of which a process must bear.
#[derive(Clone, Debug)]
pub(crate) struct Mark(Vec<String>);

impl Mark {
    /// Everything of an engine.
    pub(crate) fn engine(engine: &str) -> Mark {
        Mark(vec![format!("FANOUT_ENGINE={engine}")])
    }

    /// The same, and this entry too.
    pub(crate) fn and(mut self, name: &str, value: &str) -> Mark {
        self.0.push(format!("{name}={value}"));
        self
    }

    fn is_borne_by(&self, environ: &Environ) -> bool {
        self.0.iter().all(|entry| environ.entries().any(|e| e == entry.as_bytes()))
    }
}

/// The environment of a process as it was at its start.
pub(crate) struct Environ(Vec<u8>);

impl Environ {
    /// Empty where it cannot be read: gone, a zombie, another user's.
    fn of(pid: i32, mut buffer: Vec<u8>) -> Environ {
        buffer.clear();
        if let Ok(file) = File::open(format!("/proc/{pid}/environ")) {
            // A process that goes while it is read has nothing to say.
            let _gone = file.take(ENVIRON_BYTES_MAX).read_to_end(&mut buffer);
        }
        Environ(buffer)
    }

    fn entries(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == 0)
    }

    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.entries().find_map(|e| e.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }
}

/// Whether a process bears the mark.
pub(crate) fn bears(pid: i32, mark: &Mark) -> bool {
    mark.is_borne_by(&Environ::of(pid, Vec::new()))
}

/// All live processes that bear the mark, and their descendants, guards excepted.
pub(crate) fn bearers(mark: &Mark) -> Vec<i32> {
    let (mut all, unmarked) = family(mark);
    all.extend(unmarked);
    all
}

/// Descendants of bearers that bear no mark themselves, held so that their numbers cannot come to mean others. They
/// are found only while their parents live, so they are asked for before those are killed.
pub(crate) fn strays(mark: &Mark) -> Vec<OwnedFd> {
    let (_, unmarked) = family(mark);
    let pids = unmarked.into_iter().take(STRAYS_MAX).filter_map(Pid::from_raw);
    pids.filter_map(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()).collect()
}

/// The live processes that bear the mark, and those below them that don't.
fn family(mark: &Mark) -> (Vec<i32>, Vec<i32>) {
    let mut marked = HashSet::new();
    let mut parent_of = HashMap::new();
    for_each(|pid, environ| {
        if environ.get(GUARD_ENTRY).is_some() {
        } else if mark.is_borne_by(environ) {
            marked.insert(pid);
        } else if let Some(parent) = live_parent(pid) {
            parent_of.insert(pid, parent);
        }
    });
    // What a bearer started with another environment belongs to it as long as it is below it.
    let mut below: HashSet<i32> = HashSet::new();
    while !marked.is_empty() {
        let more: Vec<i32> = parent_of
            .iter()
            .filter(|(pid, parent)| !below.contains(pid) && (marked.contains(parent) || below.contains(parent)))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            break;
        }
        below.extend(more);
    }
    (marked.into_iter().collect(), below.into_iter().collect())
}

/// Kills until no live process is left that `find` names, or `bound` has passed. Returns how many are left.
pub(crate) fn end_all(find: impl Fn() -> Vec<i32>, bound: Duration) -> usize {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(1);
    let mut seen_none = 0;
    loop {
        let found = find();
        if found.is_empty() {
            // What forked while the first look passed by is seen by the second.
            seen_none += 1;
            if seen_none == 2 {
                return 0;
            }
            continue;
        }
        seen_none = 0;
        if begun.elapsed() >= bound {
            return found.len();
        }
        for pid in found {
            kill(pid);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

/// Calls `each` for every process but this one; an environment that cannot be read is given as an empty one.
pub(crate) fn for_each(mut each: impl FnMut(i32, &Environ)) {
    let me = getpid().as_raw_nonzero().get();
    let Ok(entries) = std::fs::read_dir("/proc") else { return };
    let mut buffer = Vec::with_capacity(16 << 10);
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if pid == me {
            continue;
        }
        let environ = Environ::of(pid, buffer);
        each(pid, &environ);
        buffer = environ.0;
    }
}

/// Sends KILL, as far as possible to no process that took the number over in the meantime.
pub(crate) fn kill(pid: i32) {
    let Some(pid) = Pid::from_raw(pid) else { return };
    // Neither call can fail in a way that matters here: whoever is left is found by the next look.
    let _gone = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => pidfd_send_signal(process, Signal::KILL),
        Err(rustix::io::Errno::NOSYS) => kill_process(pid, Signal::KILL),
        Err(_) => Ok(()),
    };
}

/// The parent of a process that is neither gone nor a zombie.
fn live_parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before the last `)` can hold anything.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(parent)
}
