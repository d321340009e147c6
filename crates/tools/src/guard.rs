//! The guard: a process that outlives a killed engine just long enough to end what the engine started.
//! It does not know calls; it knows one engine's mark and the end of a pipe.
//!
//! The engine holds the writing end of a pipe that is the guard's standard input. When the engine's process ends,
//! however it ends, the kernel closes the pipe, and the guard kills every process that bears the engine's id in its
//! environment until none is left. See `docs/tools-process.md` for what escapes it.

use crate::process::GuardCommand;
use crate::process::scan::{GUARD_ENTRY, Mark, bearers, end_all};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// What the engine says when it has cleaned up by itself.
const ALL_CLEAR: &[u8] = b"q\n";
/// After this the guard gives up on processes that cannot be killed (stuck in the kernel).
const GUARD_BOUND: Duration = Duration::from_secs(600);
/// How long the engine's end waits for a dismissed guard.
const DISMISS_BOUND: Duration = Duration::from_secs(1);

/// The guard where the embedder names no program: reads a line, and at the pipe's end kills what bears the id.
const SCRIPT: &str = r#"
trap '' HUP INT TERM QUIT
IFS= read -r line
[ "$line" = q ] && exit 0
empty=0 rounds=0
while [ "$empty" -lt 2 ] && [ "$rounds" -lt 6000 ]; do
  rounds=$((rounds + 1)) empty=$((empty + 1))
  for file in $(grep -lF "FANOUT_ENGINE=$1" /proc/[0-9]*/environ 2>/dev/null); do
    pid=${file#/proc/}
    kill -KILL "${pid%/environ}" 2>/dev/null && empty=0
  done
  sleep 0.05 2>/dev/null || sleep 1
done
"#;

/// The whole life of a guard program: the last argument is the engine's id, standard input the pipe.
///
/// A program that embeds fanout calls this when it is started as its own [`GuardCommand`]; `fanout __guard ID` does.
/// It must be called before anything else runs, since it blocks until the engine is gone.
pub fn main() -> ExitCode {
    let Some(engine) = std::env::args().next_back().filter(|id| !id.is_empty()) else {
        return ExitCode::from(2);
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else {
        return ExitCode::FAILURE;
    };
    // A handler that nobody listens to: the guard ends by its pipe only. What cannot be caught cannot be helped.
    let _runtime = runtime.enter();
    use tokio::signal::unix::{SignalKind, signal};
    let _ignored = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate(), SignalKind::quit()]
        .map(|kind| signal(kind).ok());
    if wait_for_end(&mut std::io::stdin().lock()) {
        return ExitCode::SUCCESS;
    }
    let mark = Mark::engine(&engine);
    match end_all(|| bearers(&mark), GUARD_BOUND).is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Blocks until the pipe ends; true when the engine said that nothing is left.
fn wait_for_end(pipe: &mut impl Read) -> bool {
    let mut said = [0; 64];
    let mut clear = false;
    loop {
        match pipe.read(&mut said) {
            Ok(0) => return clear,
            Ok(n) => clear = said[..n].ends_with(ALL_CLEAR),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

/// The engine's end of a running guard.
pub(crate) struct Guard {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Starts one. It bears no mark, sits in a group of its own, and holds nothing but its pipe.
    pub(crate) fn start(command: Option<&GuardCommand>, engine: &str) -> std::io::Result<Guard> {
        let mut guard = match command {
            Some(given) => {
                let mut command = Command::new(&given.program);
                command.args(&given.args);
                command
            }
            None => {
                let mut command = Command::new("/bin/sh");
                command.args(["-c", SCRIPT, "fanout-guard"]);
                command
            }
        };
        // No PATH, or the search for the program would force a fork instead of posix_spawn; the shell has a default one.
        guard.arg(engine).env_clear().env(GUARD_ENTRY, engine).current_dir("/").process_group(0);
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = guard.spawn()?;
        let pipe = child.stdin.take();
        Ok(Guard { child, pipe })
    }

    /// Whether it still stands; somebody may have killed it.
    pub(crate) fn stands(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process, which is not to be swept.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without a look around when `clear`, and waits for it, but not for long.
    pub(crate) fn dismiss(mut self, clear: bool) {
        if let Some(mut pipe) = self.pipe.take()
            && clear
        {
            // A guard that is gone needs no word.
            let _gone = pipe.write_all(ALL_CLEAR);
        }
        let begun = Instant::now();
        while self.stands() {
            if begun.elapsed() > DISMISS_BOUND {
                if clear {
                    let _gone = self.child.kill();
                    let _gone = self.child.wait();
                }
                return;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}
