//! Follows a run to its end: says what happens, draws the live view, turns signals into cancellation.
//! It does not know what the plan was or where its output goes.

use crate::live::{Live, still_run};
use crate::text::{self, Paint, ms, say};
use fanout::{Cancel, DoubtAnswer, EventStream, Outcome, Report, RunEvent, RunHandle, What};
use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often the live view is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// How much is said while a run goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// A live view and failures, for terminals.
    Live,
    /// A line per event, for logs.
    Lines,
    /// Only failures.
    Failures,
}

/// How a followed run ended.
pub(crate) struct Followed {
    pub(crate) report: Arc<Report>,
    /// The signal that killed it, if one did.
    pub(crate) killed_by: Option<u8>,
}

/// The signals that end a run early.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The number of the next signal.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
            _ = self.hangup.recv() => 1,
        }
    }
}

/// Follows a run to its end. `forgiven` are the calls that have a value to go on with when they fail. Signals are taken before the run starts, so that none finds the default handler.
///
/// # Errors
/// When signals cannot be listened to.
pub(crate) async fn follow(
    start: impl FnOnce() -> RunHandle,
    progress: Progress,
    paint: Paint,
    forgiven: HashSet<Arc<str>>,
    events_to: Option<Box<dyn Write + Send>>,
) -> std::io::Result<Followed> {
    let mut signals = Signals::listen()?;
    let run = start();
    let writer = events_to.map(|to| tokio::spawn(write_events(run.events(), to)));
    let live = (progress == Progress::Live).then(|| Live::new(paint));
    let mut follower = Follower { run: run.clone(), progress, paint, forgiven, live, interrupts: 0, killed_by: None };
    let mut events = run.events();
    let mut frames = tokio::time::interval_at(tokio::time::Instant::now() + FRAME, FRAME);
    frames.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => follower.tell(&event),
                None => break,
            },
            number = signals.next() => follower.signal(number).await,
            _ = frames.tick(), if follower.live.is_some() => follower.draw().await,
        }
    }
    if let Some(live) = &mut follower.live {
        say(&live.erase());
    }
    let report = run.report().await;
    if let Some(writer) = writer {
        // The stream has ended, so this ends when the last line is written.
        let _ = writer.await;
    }
    Ok(Followed { report, killed_by: follower.killed_by })
}

struct Follower {
    run: RunHandle,
    progress: Progress,
    paint: Paint,
    /// The calls whose failure the plan expects: it has a value to go on with.
    forgiven: HashSet<Arc<str>>,
    live: Option<Live>,
    interrupts: u32,
    killed_by: Option<u8>,
}

impl Follower {
    fn tell(&mut self, event: &RunEvent) {
        if let What::CallDoubted { call, .. } = &event.what {
            // Nobody can be asked here.
            self.run.settle(call, DoubtAnswer::Fail);
        }
        let text = match self.progress {
            Progress::Lines => log_line(event, &self.forgiven, self.paint),
            Progress::Live | Progress::Failures => trouble(event, &self.forgiven, self.paint),
        };
        let Some(text) = text else { return };
        self.say(&text);
    }

    /// Says a line for good.
    fn say(&mut self, text: &str) {
        match &mut self.live {
            Some(live) => say(&live.above(&format!("{text}\n"))),
            None => say(&format!("{text}\n")),
        }
    }

    async fn draw(&mut self) {
        let Some(snapshot) = self.run.snapshot().await else { return };
        let (rows, columns) = text::terminal_size();
        if let Some(live) = &mut self.live {
            say(&live.draw(&snapshot, rows, columns));
        }
    }

    async fn signal(&mut self, number: u8) {
        if number == 2 {
            self.interrupts += 1;
        }
        let running = self.run.snapshot().await.map_or(0, |snapshot| snapshot.counts.running);
        if number == 2 && self.interrupts == 1 && self.killed_by.is_none() {
            self.run.cancel(Cancel::Drain);
            let note = format!("nothing new starts; {}; Ctrl-C again ends them now", still_run(running));
            match &mut self.live {
                Some(live) => live.note(&note),
                None => self.say(&self.paint.yellow(&note)),
            }
            return;
        }
        if number == 2 && self.interrupts > 2 {
            // Somebody who asks three times does not want to wait for polite ends: the guard does the rest.
            self.say(&self.paint.red("gone; what still ran is being killed"));
            std::process::exit(128 + i32::from(number));
        }
        self.killed_by.get_or_insert(number);
        self.run.cancel(Cancel::Kill);
        let note = format!("ending {} now; Ctrl-C again does not wait for it", text::count(running, "running call"));
        match &mut self.live {
            Some(live) => live.note(&note),
            None => self.say(&self.paint.yellow(&note)),
        }
    }
}

/// Writes every event as a line of JSON. A reader that went away ends it.
async fn write_events(mut events: EventStream, mut to: Box<dyn Write + Send>) {
    while let Some(event) = events.next().await {
        let Ok(mut line) = serde_json::to_vec(&event) else { continue };
        line.push(b'\n');
        if let Err(error) = to.write_all(&line).and_then(|()| to.flush()) {
            return text::lose("the events", &error);
        }
    }
}

/// The line of an event that a person wants to know of at once: failures and what may become one.
fn trouble(event: &RunEvent, forgiven: &HashSet<Arc<str>>, paint: Paint) -> Option<String> {
    match &event.what {
        What::CallRetried { call, attempt, code, message, delay_ms } => Some(format!(
            "{} {}: attempt {attempt} failed: {} {}; again in {}",
            paint.yellow("↻"),
            paint.bold(&text::line(call)),
            text::line(message),
            paint.dim(&format!("[{}]", text::line(code))),
            ms(*delay_ms)
        )),
        What::CallDoubted { call, attempt } => Some(format!(
            "{} {}: nobody knows whether attempt {attempt} took effect, and nobody can be asked here",
            paint.yellow("?"),
            paint.bold(&text::line(call))
        )),
        What::CallEnded {
            call,
            outcome: outcome @ (Outcome::Failed | Outcome::InDoubt | Outcome::Denied),
            code,
            message,
            ..
        } => {
            // An element is forgiven with its `foreach` call.
            let id = call.split('[').next().unwrap_or(call);
            let (mark, goes_on) = match forgiven.contains(id) {
                true => (paint.yellow("!"), "; the plan goes on with the value of its `on_failure`"),
                false => (paint.red("✗"), ""),
            };
            Some(format!(
                "{mark} {} {}: {}{}{goes_on}",
                paint.bold(&text::line(call)),
                outcome_word(*outcome),
                text::line(message.as_deref().unwrap_or("no reason was given")),
                code.as_deref().map(|code| paint.dim(&format!(" [{}]", text::line(code)))).unwrap_or_default(),
            ))
        }
        _ => None,
    }
}

/// The line of any event, for logs.
fn log_line(event: &RunEvent, forgiven: &HashSet<Arc<str>>, paint: Paint) -> Option<String> {
    let at = paint.dim(&format!("{:>8.3}s", event.at_ms / 1e3));
    let (word, rest) = match &event.what {
        What::RunStarted { name, calls, .. } => {
            ("run", format!("{}: {}", text::line(name), text::count(*calls, "call")))
        }
        What::CallExpanded { call, elements } => ("expand", format!("{}: {elements} elements", text::line(call))),
        What::CallStarted { call, tool, attempt, after_doubt } => {
            let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
            let doubt = if *after_doubt { ", after a doubt" } else { "" };
            ("start", format!("{} ({}{again}{doubt})", text::line(call), text::line(tool)))
        }
        What::CallAborted { call, reason, .. } => ("abort", format!("{}: {}", text::line(call), text::line(reason))),
        What::CallEnded { call, outcome: Outcome::Succeeded, ran_ms, .. } => {
            ("done", format!("{} in {}", text::line(call), ms(*ran_ms)))
        }
        What::CallEnded { call, outcome: outcome @ (Outcome::Skipped | Outcome::Cancelled), message, .. } => {
            let why = message.as_deref().map(|m| format!(": {}", text::line(m))).unwrap_or_default();
            (outcome_word(*outcome), format!("{}{why}", text::line(call)))
        }
        What::RunCancelling { force } => {
            ("cancel", if *force { "ending what runs".into() } else { "nothing new starts".into() })
        }
        What::RunPaused => ("pause", String::new()),
        What::RunResumed => ("resume", String::new()),
        What::RunEnded { .. } => return None,
        _ => return trouble(event, forgiven, paint).map(|text| format!("{at}  {text}")),
    };
    Some(format!("{at}  {word:<9} {rest}"))
}

fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::Skipped => "skipped",
        Outcome::Cancelled => "cancelled",
        Outcome::Denied => "denied",
        Outcome::InDoubt => "is in doubt",
    }
}
