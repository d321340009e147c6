//! One attempt of a process tool: start, feed, read, and the end of all of it, however it comes.
//! It does not know why an attempt is aborted or whether another follows.

use super::Processes;
use super::command::{Prepared, not_reached, prepare};
use super::leash::{Leash, Reaped};
use super::output::{Output, ReadEnd, Tail, read_failed};
use crate::tool::{Attempt, ErrorClass, Progress, Reached, Tool, ToolError, ToolFuture, ToolOutput, ToolResult};
use fanout_plan::ProcessSpec;
use futures_util::FutureExt;
use futures_util::future::FusedFuture;
use rustix::process::{Signal, pidfd_send_signal};
use std::future::Future;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::pin::{Pin, pin};
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::time::timeout;

/// How long after a program's end its output may still be held open by what it left running.
const LINGER: Duration = Duration::from_millis(100);
/// How long a killed process may take to end before it is left to be reaped in the background.
const KILL_BOUND: Duration = Duration::from_secs(10);
/// A pipe takes at least this much at once from the first writer, without blocking.
const PIPE_BYTES: usize = 4096;

/// A program as a tool.
pub(super) struct ProcessTool {
    spec: Arc<ProcessSpec>,
    processes: Processes,
}

/// How the watching of a running program ended.
enum Watched {
    Exited,
    Aborted,
    Stopped(ReadEnd),
}

impl ProcessTool {
    pub(super) fn new(spec: ProcessSpec, processes: Processes) -> ProcessTool {
        ProcessTool { spec: Arc::new(spec), processes }
    }
}

impl Tool for ProcessTool {
    fn call(&self, attempt: Attempt) -> ToolFuture {
        Box::pin(run(Arc::clone(&self.spec), self.processes.clone(), attempt))
    }
}

async fn run(spec: Arc<ProcessSpec>, processes: Processes, attempt: Attempt) -> ToolResult {
    if attempt.aborted.is_cancelled() {
        return Err(ToolError::aborted(Reached::No));
    }
    let mut prepared = prepare(&spec, &attempt, processes.engine_id())?;
    processes.ensure_guard().map_err(|error| {
        let message = format!("the guard, which ends what a killed engine leaves running, was not started: {error}");
        ToolError { class: ErrorClass::Transient, ..not_reached("guard_not_started", message) }
    })?;
    let mut leash =
        Leash::start(&processes, &mut prepared.command, &attempt.id).map_err(|error| prepared.not_started(&error))?;

    let mut output = Output::new(spec.inline_max, spec.output_max, processes.spill_dir());
    let mut tail = Tail::default();
    // Whether there is a sign that something was left running.
    let mut left = false;
    let mut strays = Vec::new();
    let watched = {
        let streams = Streams::take(&mut leash, std::mem::take(&mut prepared.stdin))
            .map_err(|error| prepared.not_started(&error).reached(Reached::Unknown))?;
        // Fused, as its end may come before that of the program, and is not asked for again then.
        let mut streams = pin!(streams.carry(&mut output, &mut tail, &attempt.progress).fuse());
        let watched = watch(&leash, streams.as_mut(), &attempt).await;
        match watched {
            Watched::Exited if !streams.is_terminated() => linger(&leash, streams.as_mut(), &mut left).await,
            Watched::Exited => Watched::Exited,
            Watched::Aborted => {
                // Before TERM too: those who die of it may leave some.
                strays = leash.strays().await;
                stop(&leash, streams, spec.grace).await;
                Watched::Aborted
            }
            Watched::Stopped(_) => watched,
        }
    };
    if !matches!(watched, Watched::Exited) {
        strays.extend(leash.strays().await);
        leash.signal(Signal::KILL);
        for stray in strays {
            // Gone is as good.
            let _gone = pidfd_send_signal(stray, Signal::KILL);
        }
        if timeout(KILL_BOUND, leash.exited()).await.is_err() {
            let message = format!("`{}` was killed but does not end; the kernel holds it", prepared.name);
            let class = ErrorClass::Aborted;
            return Err(ToolError { class, ..not_reached("aborted", message).reached(Reached::Unknown) });
        }
    }
    let reaped = leash.end(left || !matches!(watched, Watched::Exited)).await;
    match watched {
        Watched::Aborted => Err(ToolError::aborted(Reached::Unknown).detail(tail.text())),
        Watched::Stopped(end) => Err(read_failed(&end, &prepared.name, spec.output_max, processes.spill_dir())
            .reached(Reached::Unknown)
            .detail(tail.text())),
        Watched::Exited => conclude(&spec, &prepared, reaped, output, &tail).await,
    }
}

/// Waits for the program's end, an abort, or a reason to stop it.
async fn watch(
    leash: &Leash,
    mut streams: Pin<&mut impl Future<Output = Result<(), ReadEnd>>>,
    attempt: &Attempt,
) -> Watched {
    loop {
        tokio::select! {
            biased;
            () = attempt.aborted.cancelled() => return Watched::Aborted,
            carried = &mut streams => if let Err(end) = carried {
                return Watched::Stopped(end);
            },
            () = leash.exited() => return Watched::Exited,
        }
    }
}

/// Reads what is left after the program's end; what it left running holds its output open, but not for long.
async fn linger(
    leash: &Leash,
    mut streams: Pin<&mut impl Future<Output = Result<(), ReadEnd>>>,
    left: &mut bool,
) -> Watched {
    let mut carried = timeout(LINGER, &mut streams).await;
    if carried.is_err() {
        *left = true;
        leash.signal(Signal::KILL);
        // What is in the pipes already is taken; a daemon that shed the group may still hold them.
        carried = timeout(LINGER, &mut streams).await;
    }
    match carried {
        Ok(Err(end)) => Watched::Stopped(end),
        Ok(Ok(())) | Err(_) => Watched::Exited,
    }
}

/// Asks the group to end and gives it time; its output is still taken, or it could not get at its own end.
async fn stop(leash: &Leash, streams: Pin<&mut impl Future<Output = Result<(), ReadEnd>>>, grace: Duration) {
    leash.signal(Signal::TERM);
    // A stopped process hears TERM only when it goes on.
    leash.signal(Signal::CONT);
    tokio::select! {
        () = tokio::time::sleep(grace) => {}
        () = leash.all_exited() => {}
        // Never resolves: the end of the streams is not the end of the group.
        () = async { let _taken = streams.await; std::future::pending().await } => {}
    }
}

/// What the program's own end means.
async fn conclude(
    spec: &Arc<ProcessSpec>,
    prepared: &Prepared,
    reaped: std::io::Result<Reaped>,
    output: Output,
    tail: &Tail,
) -> ToolResult {
    let name = &prepared.name;
    let Reaped { status, usage } = reaped.map_err(|error| {
        let message =
            format!("how `{name}` ended is not known: {error}; does something else in this program wait for children?");
        ToolError::permanent(message).code("process_lost").reached(Reached::Unknown)
    })?;
    if let Some(signal) = status.signal() {
        let message = format!("`{name}` was killed by signal {signal} ({})", signal_name(signal));
        let error = if is_own_fault(signal) { ToolError::permanent(message) } else { ToolError::transient(message) };
        return Err(error.code("process_killed").reached(Reached::Unknown).detail(tail.text()));
    }
    let code = status.code().unwrap_or(-1);
    if spec.success.contains(&code) {
        let kind = spec.stdout;
        let value = if output.is_large() {
            tokio::task::spawn_blocking(move || output.result(kind))
                .await
                .unwrap_or_else(|error| Err(ToolError::permanent(format!("the result could not be read: {error}"))))
        } else {
            output.result(kind)
        };
        let value = value.map_err(|error| error.detail(tail.text()))?;
        return Ok(ToolOutput { usage: Some(usage), ..ToolOutput::new(value) });
    }
    let tail = tail.text();
    let last = tail.lines().next_back().map(str::trim).unwrap_or_default();
    let last: String = last.chars().take(200).collect();
    let message = match last.is_empty() {
        true => format!("`{name}` exited with code {code}"),
        false => format!("`{name}` exited with code {code}: {last}"),
    };
    let error =
        if spec.transient.contains(&code) { ToolError::transient(message) } else { ToolError::permanent(message) };
    Err(error.code("process_exit").detail(tail))
}

/// The three pipes of a program.
struct Streams {
    stdin: Option<(ChildStdin, Vec<u8>)>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
}

impl Streams {
    fn take(leash: &mut Leash, stdin: Vec<u8>) -> std::io::Result<Streams> {
        let Some(Child { stdin: pipe_in, stdout, stderr, .. }) = leash.child() else {
            return Ok(Streams { stdin: None, stdout: None, stderr: None });
        };
        let stdin = match pipe_in.take() {
            // A small input fits into the pipe at once; no need to watch it.
            Some(mut pipe) if stdin.len() <= PIPE_BYTES => {
                // A program that doesn't read is within its rights.
                let _unread = pipe.write_all(&stdin);
                None
            }
            Some(pipe) => Some((ChildStdin::from_std(pipe)?, stdin)),
            None => None,
        };
        let stdout = stdout.take().map(ChildStdout::from_std).transpose()?;
        let stderr = stderr.take().map(ChildStderr::from_std).transpose()?;
        Ok(Streams { stdin, stdout, stderr })
    }

    /// Feeds and reads until both outputs have ended or too much has come.
    async fn carry(self, output: &mut Output, tail: &mut Tail, progress: &Progress) -> Result<(), ReadEnd> {
        let feed = async {
            if let Some((mut pipe, bytes)) = self.stdin {
                // A program that closes its input early is within its rights.
                let _unread = pipe.write_all(&bytes).await;
            }
            Ok(())
        };
        let stdout = async {
            match self.stdout {
                Some(pipe) => output.read(pipe, || progress.made()).await,
                None => Ok(()),
            }
        };
        let stderr = async {
            if let Some(pipe) = self.stderr {
                tail.read(pipe, || progress.made()).await;
            }
            Ok(())
        };
        tokio::try_join!(feed, stdout, stderr).map(|_| ())
    }
}

/// Signals by which a program's own fault ends it; the others come from outside and may not come again.
fn is_own_fault(signal: i32) -> bool {
    [Signal::SEGV, Signal::ABORT, Signal::BUS, Signal::FPE, Signal::ILL, Signal::SYS, Signal::TRAP, Signal::PIPE]
        .iter()
        .any(|own| own.as_raw() == signal)
}

fn signal_name(signal: i32) -> &'static str {
    const NAMES: [(Signal, &str); 18] = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::TERM, "SIGTERM"),
        (Signal::XCPU, "SIGXCPU"),
        (Signal::XFSZ, "SIGXFSZ"),
        (Signal::SYS, "SIGSYS"),
    ];
    NAMES.iter().find(|(known, _)| known.as_raw() == signal).map_or("another signal", |(_, name)| name)
}
