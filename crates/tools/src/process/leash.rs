//! A started program on its leash: it, its group and all it forked end before, or with, the leash.
//! It does not know what the program is for or what it prints.

use super::scan::{bearers, bears, end_all, strays};
use super::{Processes, SWEEP_BOUND, lock};
use crate::tool::{AttemptId, Usage};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, test_kill_process_group, waitid,
};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Handle, RuntimeFlavor};
use wait4::Wait4;

/// How often it is looked whether a group that was asked to end has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// So many more threads than workers may be in a spawn: enough to keep the processors busy, few enough to cost nothing.
const SPARE_THREADS_MAX: usize = 16;

/// Holds one attempt's process until it has been reaped. Dropping it kills everything and reaps in the background.
pub(crate) struct Leash {
    /// Taken when it is reaped.
    child: Option<Child>,
    /// The process, which is also its group, as its number isn't free before it is reaped.
    pid: Pid,
    /// Becomes readable when the process ends; absent on kernels without such descriptors.
    exit: Option<AsyncFd<OwnedFd>>,
    entry: Entry,
}

/// How a process ended and what it cost.
pub(crate) struct Reaped {
    pub(crate) status: ExitStatus,
    pub(crate) usage: Usage,
}

/// The attempt's place among what is alive.
struct Entry {
    processes: Processes,
    id: AttemptId,
    pid: Option<i32>,
}

impl Leash {
    /// Starts the command, which leads a group of its own. Blocks until the program has been loaded, but not the last
    /// worker of the runtime.
    pub(crate) fn start(processes: &Processes, command: &mut Command, id: &AttemptId) -> std::io::Result<Leash> {
        // Entered before it exists, so that no sweep takes it for something left behind.
        let (mut entry, spawning) = Entry::new(processes, id);
        let child = match takes_last_worker(spawning) {
            true => tokio::task::block_in_place(|| command.spawn()),
            false => command.spawn(),
        };
        let pid = child.as_ref().ok().and_then(|child| Pid::from_raw(child.id().try_into().ok()?));
        entry.spawned(pid.map(|pid| pid.as_raw_nonzero().get()));
        let child = child?;
        let pid = pid.ok_or_else(|| std::io::Error::other("the kernel gave the process no usable number"))?;
        // From here on the leash kills it if anything goes wrong.
        let mut leash = Leash { child: Some(child), pid, exit: None, entry };
        leash.exit = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(exit) => Some(watched(exit)?),
            Err(Errno::NOSYS | Errno::INVAL | Errno::PERM) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(leash)
    }

    /// The process, to take its pipes.
    pub(crate) fn child(&mut self) -> Option<&mut Child> {
        self.child.as_mut()
    }

    /// Sends a signal to the group. Its number cannot belong to others before the process is reaped.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.child.is_some() {
            // Nobody left to hear it is as good.
            let _gone = kill_process_group(self.pid, signal);
        }
    }

    /// Resolves when the process has ended; it is not reaped yet. Can be dropped and asked again.
    pub(crate) async fn exited(&self) {
        let Some(exit) = &self.exit else {
            let pid = self.pid;
            let wait = move || waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            let _cancelled = tokio::task::spawn_blocking(wait).await;
            return;
        };
        while let Ok(mut ready) = exit.readable().await {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
            match waitid(WaitId::PidFd(exit.as_fd()), options) {
                Ok(None) => ready.clear_ready(),
                _ => return,
            }
        }
    }

    /// What it started that bears no mark, to be killed after it.
    pub(crate) async fn strays(&self) -> Vec<OwnedFd> {
        let mark = self.entry.processes.mark(&self.entry.id);
        tokio::task::spawn_blocking(move || strays(&mark)).await.unwrap_or_default()
    }

    /// Resolves when the process has ended and nothing of the attempt is left.
    pub(crate) async fn all_exited(&self) {
        self.exited().await;
        let mark = Arc::new(self.entry.processes.mark(&self.entry.id));
        loop {
            let mark = Arc::clone(&mark);
            match tokio::task::spawn_blocking(move || bearers(&mark).pids.is_empty()).await {
                Ok(false) => tokio::time::sleep(LOOK_AGAIN).await,
                _ => return,
            }
        }
    }

    /// Ends the rest of the group of a process that has ended, and reaps it. With `thorough` also everything else that
    /// bears the attempt's mark; without, only where there is a sign of it.
    ///
    /// # Errors
    /// The process does not end, or somebody else reaped it.
    pub(crate) async fn end(mut self, thorough: bool) -> std::io::Result<Reaped> {
        // Before reaping: afterwards the number may be another group's.
        self.signal(Signal::KILL);
        let used = match &mut self.child {
            Some(child) => child.try_wait4()?,
            None => None,
        };
        let used = used.ok_or_else(|| std::io::Error::other("the process does not end although it was killed"))?;
        self.child = None;
        let processes = &self.entry.processes;
        let left = thorough
            // Harmless if the number is another group's by now: nothing is sent.
            || test_kill_process_group(self.pid).is_ok()
            || processes.0.adopts && {
                let mark = processes.mark(&self.entry.id);
                processes.0.adopted().into_iter().any(|pid| bears(pid, &mark))
            };
        if left {
            let (processes, id) = (processes.clone(), self.entry.id.clone());
            let _cancelled = tokio::task::spawn_blocking(move || sweep(&processes, &id)).await;
        } else if !processes.0.adopts {
            processes.sweep_soon();
        }
        let memory_bytes_max = self.entry.processes.memory_of_child(used.rusage.maxrss);
        let usage = Usage { cpu: used.rusage.utime + used.rusage.stime, memory_bytes_max };
        Ok(Reaped { status: used.status, usage })
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let Some(mut child) = self.child.take() else { return };
        let (processes, id) = (self.entry.processes.clone(), self.entry.id.clone());
        let pid = self.pid.as_raw_nonzero().get();
        self.entry.hand_over();
        let end = move || {
            let _entry = Entry { processes: processes.clone(), id: id.clone(), pid: Some(pid) };
            // Killed; it ends unless the kernel holds it, and then there is nothing to wait for.
            let _reaped = child.wait();
            sweep(&processes, &id);
        };
        if let Err(error) = std::thread::Builder::new().name("fanout-reaper".into()).spawn(end) {
            // No thread to be had. The guard and the end of the engine still look for what is left.
            drop(error);
        }
    }
}

impl Entry {
    /// The entry, and how many programs are being spawned, this one included.
    fn new(processes: &Processes, id: &AttemptId) -> (Entry, usize) {
        let mut live = lock(&processes.0.live);
        live.attempts.insert((Arc::clone(&id.run), Arc::clone(&id.call), id.attempt));
        live.spawning += 1;
        let spawning = live.spawning;
        drop(live);
        (Entry { processes: processes.clone(), id: id.clone(), pid: None }, spawning)
    }

    fn spawned(&mut self, pid: Option<i32>) {
        let mut live = lock(&self.processes.0.live);
        live.spawning -= 1;
        live.leaders.extend(pid);
        drop(live);
        self.pid = pid;
    }

    /// Somebody else ends it now.
    fn hand_over(&mut self) {
        self.pid = None;
        self.id.attempt = 0;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut live = lock(&self.processes.0.live);
        live.attempts.remove(&(Arc::clone(&self.id.run), Arc::clone(&self.id.call), self.id.attempt));
        if let Some(pid) = self.pid {
            live.leaders.remove(&pid);
        }
    }
}

impl Processes {
    /// What a child's largest resident set tells: the kernel counts ours in it, since a child is ours until its
    /// program is loaded. 0 when it was not more than that.
    fn memory_of_child(&self, bytes: u64) -> u64 {
        let own = &self.0.own_memory_bytes;
        if bytes > own.load(Ordering::Relaxed) {
            own.fetch_max(own_memory_bytes_max(), Ordering::Relaxed);
        }
        if bytes > own.load(Ordering::Relaxed) { bytes } else { 0 }
    }
}

/// Whether a spawn would leave the runtime no worker to go on with, as all the others are in one too: a spawn holds
/// its thread until the program has been loaded, which can take as long as the disk takes.
fn takes_last_worker(spawning: usize) -> bool {
    let runtime = Handle::current();
    let workers = runtime.metrics().num_workers();
    // A runtime of one thread has none to spare.
    runtime.runtime_flavor() == RuntimeFlavor::MultiThread && (workers..workers + SPARE_THREADS_MAX).contains(&spawning)
}

#[expect(
    deprecated,
    reason = "its replacement is unsafe; what it asks for holds of an OwnedFd, which nobody else closes"
)]
fn watched(exit: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(exit, Interest::READABLE)
}

fn own_memory_bytes_max() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    kib.unwrap_or(0_u64) * 1024
}

/// Kills what bears the attempt's mark, and reaps what came to us.
fn sweep(processes: &Processes, id: &AttemptId) {
    let mark = processes.mark(id);
    end_all(|| bearers(&mark), SWEEP_BOUND);
    if processes.0.adopts {
        processes.0.adopted();
    }
}
