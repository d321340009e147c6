//! Finds and ends processes by what they bear in their environment, from `/proc`.
//! It does not know engines or attempts: a mark is a set of environment entries.

use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open, pidfd_send_signal};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The environment is read up to here; the kernel allows at most 6 MiB by default.
const ENVIRON_BYTES_MAX: u64 = 8 << 20;
/// More unmarked descendants than this are not held; descriptors are few.
const STRAYS_MAX: usize = 256;
/// The entry that a guard bears: it must outlive the tree it is in.
pub(crate) const GUARD_ENTRY: &str = "FANOUT_GUARD";

/// What a process must bear in its environment.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    /// The end of its `FANOUT_ENGINE`.
    engine: String,
    /// Entries (`NAME=value`), all of which must be there.
    entries: Vec<String>,
}

impl Mark {
    /// Everything of an engine.
    pub(crate) fn engine(engine: &str) -> Mark {
        Mark { engine: format!("={engine}"), entries: Vec::new() }
    }

    /// Everything of all engines whose names end so.
    pub(crate) fn engines(end: &str) -> Mark {
        Mark { engine: end.to_owned(), entries: Vec::new() }
    }

    /// The same, and this entry too.
    pub(crate) fn and(mut self, name: &str, value: &str) -> Mark {
        self.entries.push(format!("{name}={value}"));
        self
    }

    fn is_borne_by(&self, environ: &Environ) -> bool {
        environ.entries().any(|e| e.starts_with(b"FANOUT_ENGINE=") && e.ends_with(self.engine.as_bytes()))
            && self.entries.iter().all(|entry| environ.entries().any(|e| e == entry.as_bytes()))
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

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Only the entries that marks are made of.
    fn marking(&self) -> Environ {
        let ours: Vec<&[u8]> = self.entries().filter(|entry| entry.starts_with(b"FANOUT_")).collect();
        Environ(ours.join(&0))
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

/// What a look at all processes found.
#[derive(Default)]
pub(crate) struct Found {
    /// Those that were looked for.
    pub(crate) pids: Vec<i32>,
    /// Those that are just becoming another program and have no environment yet.
    forming: Vec<i32>,
}

impl From<Vec<i32>> for Found {
    fn from(pids: Vec<i32>) -> Found {
        Found { pids, forming: Vec::new() }
    }
}

/// All live processes that bear the mark, and their descendants, guards excepted.
pub(crate) fn bearers(mark: &Mark) -> Found {
    let Family { marked, below, forming } = family(mark);
    Found { pids: marked.into_iter().chain(below).collect(), forming }
}

/// Descendants of bearers that bear no mark themselves, held so that their numbers cannot come to mean others. They
/// are found only while their parents live, so they are asked for before those are killed.
pub(crate) fn strays(mark: &Mark) -> Vec<OwnedFd> {
    let pids = family(mark).below.into_iter().take(STRAYS_MAX).filter_map(Pid::from_raw);
    pids.filter_map(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()).collect()
}

struct Family {
    /// The live processes that bear the mark.
    marked: HashSet<i32>,
    /// Those below them that don't.
    below: HashSet<i32>,
    /// Those of which nobody can tell yet.
    forming: Vec<i32>,
}

fn family(mark: &Mark) -> Family {
    let look = Look::from_now_on();
    let (mut marked, mut forming) = (HashSet::new(), Vec::new());
    let mut parent_of = HashMap::new();
    for Seen { pid, environ, parent, is_forming } in &look.seen {
        if environ.get(GUARD_ENTRY).is_some() {
        } else if mark.is_borne_by(environ) {
            marked.insert(*pid);
        } else if let Some(parent) = parent {
            parent_of.insert(*pid, *parent);
            forming.extend(is_forming.then_some(*pid));
        }
    }
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
    Family { marked, below, forming }
}

/// A look at all processes. It takes milliseconds, and many may want one at the same time, as when many servers end: all
/// who wait while one is under way share the next.
struct Look {
    begun: Instant,
    seen: Vec<Seen>,
}

/// A process as it was seen.
struct Seen {
    pid: i32,
    /// Of its environment what marks are made of.
    environ: Environ,
    /// `None` of one that is dead.
    parent: Option<i32>,
    /// It has no environment yet.
    is_forming: bool,
}

impl Look {
    /// A look that began after this was called.
    fn from_now_on() -> Arc<Look> {
        static LAST: Mutex<Option<Arc<Look>>> = Mutex::new(None);
        let wanted = Instant::now();
        // Nothing is half done in it.
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last.as_ref().filter(|last| last.begun > wanted) {
            return Arc::clone(last);
        }
        Arc::clone(last.insert(Arc::new(Look::new())))
    }

    fn new() -> Look {
        let begun = Instant::now();
        let mut seen = Vec::new();
        for_each(|pid, environ| {
            let stat = Stat::of(pid).filter(|stat| !stat.is_dead);
            let parent = stat.as_ref().map(|stat| stat.parent);
            let is_forming = environ.is_empty() && stat.is_some_and(|stat| stat.is_forming);
            seen.push(Seen { pid, environ: environ.marking(), parent, is_forming });
        });
        Look { begun, seen }
    }
}

/// How long what is becoming another program is waited for: far longer than that takes.
const FORMING_MAX: Duration = Duration::from_secs(2);

/// Kills until no live process is left that `find` finds, or `bound` has passed. Returns those that are left.
pub(crate) fn end_all<F: Into<Found>>(find: impl Fn() -> F, bound: Duration) -> Vec<i32> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(1);
    // What was forming at the first look that found none: what it became, and what forked while that look passed by,
    // is seen by the next.
    let mut seen_none: Option<Vec<i32>> = None;
    loop {
        let Found { pids, mut forming } = find().into();
        if pids.is_empty() {
            forming.retain(|pid| seen_none.as_ref().is_none_or(|before| before.contains(pid)));
            let waited = begun.elapsed();
            if waited >= bound || (seen_none.is_some() && (forming.is_empty() || waited >= FORMING_MAX)) {
                return Vec::new();
            }
            if !forming.is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
            seen_none = Some(forming);
            continue;
        }
        seen_none = None;
        if begun.elapsed() >= bound {
            return pids;
        }
        for pid in pids {
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

/// What the kernel says of a process.
pub(crate) struct Stat {
    /// It is gone but for its number.
    pub(crate) is_dead: bool,
    parent: i32,
    /// It was just made another program, and where that and its environment are is not settled.
    is_forming: bool,
    /// When it was made, in the kernel's ticks since the machine was started.
    pub(crate) born: u64,
}

/// The kernel's own threads, and what is ending: neither has an environment (`PF_KTHREAD`, `PF_EXITING`).
const WITHOUT: u64 = 0x0020_0000 | 0x0000_0004;

impl Stat {
    /// `None` where there is no such process.
    pub(crate) fn of(pid: i32) -> Option<Stat> {
        Stat::read(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The fields are numbered as in proc_pid_stat(5), from 1.
    fn read(stat: &str) -> Option<Stat> {
        // The name before the last `)` can hold anything.
        let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Stat {
            is_dead: matches!(*fields.first()?, "Z" | "X"),
            parent: i32::try_from(number(4)?).ok()?,
            // Of a process that is not ours to look into the first is 1.
            is_forming: number(9)? & WITHOUT == 0 && number(26) == Some(0) && number(51) == Some(0),
            born: number(22)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(name: &str, state: char, flags: u64, code_starts: u64, environment_ends: u64) -> Stat {
        let mut fields = vec!["0".to_owned(); 50];
        fields[0] = state.to_string();
        fields[1] = "7".to_owned();
        fields[9 - 3] = flags.to_string();
        fields[22 - 3] = "1234".to_owned();
        fields[26 - 3] = code_starts.to_string();
        fields[51 - 3] = environment_ends.to_string();
        Stat::read(&format!("42 ({name}) {}\n", fields.join(" "))).unwrap()
    }

    #[test]
    fn what_is_forming_is_told_from_what_has_no_environment() {
        let tool = stat("a) R (b", 'R', 0x40_0000, 0, 0);
        assert!(tool.is_forming && !tool.is_dead);
        assert_eq!((tool.parent, tool.born), (7, 1234));
        assert!(!stat("with none", 'S', 0x40_0000, 90_000, 140_000).is_forming);
        assert!(!stat("not to be looked into", 'S', 0x40_0100, 1, 0).is_forming);
        assert!(!stat("kworker/0:1", 'I', 0x420_8060, 0, 0).is_forming);
        assert!(!stat("ending", 'R', 0x40_0004, 0, 0).is_forming);
        assert!(stat("gone", 'Z', 0x40_0004, 0, 0).is_dead);
    }

    /// One is under way when the others come: what it passed by already is seen by the next, which they share.
    #[test]
    fn a_look_begins_when_it_is_wanted_or_later() {
        let before = Instant::now();
        let looks: Vec<Arc<Look>> = std::thread::scope(|scope| {
            let look = || {
                let wanted = Instant::now();
                let look = Look::from_now_on();
                assert!(look.begun >= wanted);
                look
            };
            let all: Vec<_> = (0..64).map(|_| scope.spawn(look)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let me = getpid().as_raw_nonzero().get();
        assert!(looks.iter().all(|look| look.begun > before && !look.seen.iter().any(|seen| seen.pid == me)));
        let mut child = std::process::Command::new("sleep").arg("60").env("FANOUT_CALL", "look").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let environ = (0..2_000).find_map(|_| {
            let look = Look::from_now_on();
            let found = look.seen.iter().find(|seen| seen.pid == pid).expect("the child, which was there before");
            assert_eq!(found.parent, Some(me));
            // Whoever spawns goes on a moment before the program has its environment.
            std::thread::sleep(Duration::from_millis(u64::from(found.environ.is_empty())));
            (!found.environ.is_empty()).then(|| found.environ.0.clone())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(environ.expect("an environment"), b"FANOUT_CALL=look");
    }

    #[test]
    fn this_process_is_formed_and_lives() {
        let stat = Stat::of(getpid().as_raw_nonzero().get()).unwrap();
        assert!(!stat.is_forming && !stat.is_dead && stat.born > 0);
    }

    #[test]
    fn what_forms_is_waited_for() {
        let looks = std::cell::Cell::new(0);
        let find = || {
            looks.set(looks.get() + 1);
            Found { pids: Vec::new(), forming: if looks.get() < 5 { vec![1, looks.get()] } else { vec![9] } }
        };
        assert_eq!(end_all(find, Duration::from_secs(60)), Vec::<i32>::new());
        assert_eq!(looks.get(), 5, "what forms later than the first look is not");
    }

    #[test]
    fn a_mark_is_borne_by_engines_of_its_process_only() {
        let environ = |entries: &[&str]| Environ(entries.join("\0").into_bytes());
        let borne = |mark: &Mark, engine: &str| {
            mark.is_borne_by(&environ(&["A=b", &format!("FANOUT_ENGINE={engine}"), "FANOUT_RUN=r"]))
        };
        assert!(borne(&Mark::engine("1-ab"), "1-ab"));
        assert!(!borne(&Mark::engine("1-ab"), "11-ab"));
        assert!(borne(&Mark::engines("-ab"), "11-ab") && borne(&Mark::engines("-ab").and("FANOUT_RUN", "r"), "1-ab"));
        assert!(!borne(&Mark::engines("-ab"), "1-cab") && !borne(&Mark::engines("-ab").and("FANOUT_RUN", ""), "1-ab"));
        assert!(!Mark::engines("").is_borne_by(&environ(&["FANOUT_RUN=r"])));
    }
}
