//! Follows a run to its end: says what happens, draws the live view, turns signals into cancellation.
//! It does not know what the plan was or where its output goes.

use crate::account;
use crate::ask::{Answer, Asker, Came, Who};
use crate::elsewhere::Elsewhere;
use crate::live::{Live, still_run};
use crate::peer::{Asked, Heard, Next, Note};
use crate::text::{self, Paint, ms, say};
use fanout::{Cancel, Catalog, DoubtAnswer, EventStream, Outcome, Report, RunEvent, RunHandle, What};
use std::collections::HashSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often the live view is drawn.
const FRAME: Duration = Duration::from_millis(100);
/// How often answers are looked for that others left, while a question is open.
const LOOK: Duration = Duration::from_secs(1);
/// How long running calls of a durable run may take to end when the process is told to go. Service managers kill after
/// ten seconds or more.
const LEAVE_MAX: Duration = Duration::from_secs(5);

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
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes them from now on: before a run starts, so that none finds the default handler.
    ///
    /// # Errors
    /// When they cannot be listened to.
    pub(crate) fn listen() -> Result<Signals, String> {
        Signals::try_listen().map_err(|error| format!("cannot listen to signals: {error}"))
    }

    fn try_listen() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The number of the next signal.
    pub(crate) async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
            _ = self.hangup.recv() => 1,
        }
    }
}

/// How a run is followed.
pub(crate) struct Following {
    pub(crate) progress: Progress,
    pub(crate) paint: Paint,
    /// The calls that have a value to go on with when they fail.
    pub(crate) forgiven: HashSet<Arc<str>>,
    pub(crate) events_to: Option<Box<dyn Write + Send>>,
    pub(crate) asker: Option<Asker>,
    /// What its tools ask and tell, and of which toolboxes they are.
    pub(crate) heard: Heard,
    pub(crate) catalog: Arc<Catalog>,
    /// Where it is recorded, if it is.
    pub(crate) state: Option<PathBuf>,
}

/// Follows a run to its end.
pub(crate) async fn follow(mut signals: Signals, run: RunHandle, how: Following) -> Followed {
    let Following { progress, paint, forgiven, events_to, asker, mut heard, catalog, state } = how;
    let writer = events_to.map(|to| tokio::spawn(write_events(run.events(), to)));
    let live = (progress == Progress::Live).then(|| Live::new(paint));
    let elsewhere = state.map(|state| Elsewhere::new(state, &run));
    let mut follower = Follower {
        run: run.clone(),
        progress,
        paint,
        forgiven,
        live,
        asker,
        catalog,
        elsewhere,
        interrupts: 0,
        killed_by: None,
    };
    let mut events = run.events();
    let mut frames = tokio::time::interval_at(tokio::time::Instant::now() + FRAME, FRAME);
    frames.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => follower.tell(&event),
                None => break,
            },
            number = signals.next() => follower.signal(number).await,
            next = heard.next() => match next {
                Next::Asked(asked) => follower.asked(asked).await,
                Next::Note(note) => follower.note(&note, heard.lost()),
            },
            came = came(&mut follower.asker) => match came {
                Came::Typed(line) => follower.answer(line).await,
                Came::TakenBack => follower.taken_back(),
            },
            _ = frames.tick(), if follower.live.is_some() => follower.draw().await,
            _ = looks.tick(), if follower.is_asking_elsewhere() => follower.look().await,
        }
    }
    heard.rest().iter().for_each(|note| follower.note(note, heard.lost()));
    if let Some(live) = &mut follower.live {
        say(&live.erase());
    }
    let report = run.report().await;
    if let Some(writer) = writer {
        // The stream has ended, so this ends when the last line is written.
        let _ = writer.await;
    }
    Followed { report, killed_by: follower.killed_by }
}

struct Follower {
    run: RunHandle,
    progress: Progress,
    paint: Paint,
    /// The calls whose failure the plan expects: it has a value to go on with.
    forgiven: HashSet<Arc<str>>,
    live: Option<Live>,
    /// Who can be asked.
    asker: Option<Asker>,
    catalog: Arc<Catalog>,
    /// Where answers are left by others.
    elsewhere: Option<Elsewhere>,
    interrupts: u32,
    killed_by: Option<u8>,
}

impl Follower {
    fn tell(&mut self, event: &RunEvent) {
        let question = self.question(&event.what);
        if !question.is_empty() {
            let erased = self.live.as_mut().map(Live::erase).unwrap_or_default();
            return say(&format!("{erased}{question}"));
        }
        let text = match self.progress {
            Progress::Lines => log_line(event, &self.forgiven, self.paint),
            Progress::Live | Progress::Failures => trouble(event, &self.forgiven, self.paint),
        };
        let Some(text) = text else { return };
        self.say(&text);
    }

    /// What is to be asked, or is no longer to be asked, because of an event.
    fn question(&mut self, what: &What) -> String {
        let elsewhere = self.elsewhere.as_mut().map(|elsewhere| elsewhere.hear(what, self.paint)).unwrap_or_default();
        match (&mut self.asker, what) {
            (Some(asker), What::ApprovalAsked { call, tool, args, destructive, .. }) => {
                asker.approval(call, tool, args, *destructive)
            }
            (Some(asker), What::CallDoubted { call, attempt }) => {
                say(&asker.forget_attempt(call, *attempt));
                asker.doubt(call, *attempt)
            }
            (Some(asker), What::CallEnded { call, .. } | What::ApprovalGiven { call, .. }) => {
                say(&asker.forget(call));
                String::new()
            }
            (Some(asker), What::CallAborted { call, attempt, .. } | What::CallRetried { call, attempt, .. }) => {
                say(&asker.forget_attempt(call, *attempt));
                String::new()
            }
            (None, What::CallDoubted { call, .. }) if self.elsewhere.is_none() => {
                // Nobody can be asked here.
                self.run.settle(call, DoubtAnswer::Fail);
                String::new()
            }
            (None, _) => elsewhere,
            _ => String::new(),
        }
    }

    fn is_asking_elsewhere(&self) -> bool {
        self.elsewhere.as_ref().is_some_and(Elsewhere::is_asking)
    }

    /// Takes the answers that others left.
    async fn look(&mut self) {
        let Some(elsewhere) = &mut self.elsewhere else { return };
        for refused in elsewhere.look(&self.run).await {
            self.say(&self.paint.red(&refused));
        }
    }

    /// The process is told to go: what runs may end for a while, and somebody goes on with the run later. Comes back
    /// only when the run has ended meanwhile.
    async fn leave(&mut self, number: u8) {
        let note =
            format!("the run stays: nothing new starts here, what runs has {} to end", text::duration(LEAVE_MAX));
        self.say(&self.paint.yellow(&note));
        let until = tokio::time::Instant::now() + LEAVE_MAX;
        self.run.leave().await;
        loop {
            let Some(snapshot) = self.run.snapshot().await else { return };
            if snapshot.counts.running == 0 || tokio::time::Instant::now() >= until {
                break;
            }
            tokio::time::sleep(FRAME / 4).await;
        }
        self.run.leave().await;
        if let Some(live) = &mut self.live {
            say(&live.erase());
        }
        say(&format!("`fanout resume {}` goes on with it\n", self.run.id()));
        // What still runs is ended by the guard.
        std::process::exit(128 + i32::from(number));
    }

    async fn answer(&mut self, line: Option<String>) {
        let Some(asker) = &mut self.asker else { return };
        let (answer, mut said) = asker.answered(line);
        let refused = match answer {
            None => return say(&said),
            Some(Answer::Approval(call, answer)) => self.run.approve(&call, answer).await.err(),
            Some(Answer::Doubt(call, answer)) => {
                self.run.settle(&call, answer);
                None
            }
            Some(Answer::Given) => None,
        };
        said += &match refused {
            // What ended meanwhile needs no answer; its end is told as an event.
            Some(error) if error.code != "not_asked" => asker.again(&error.message),
            _ => asker.next(),
        };
        say(&said);
    }

    /// A tool wants to know something.
    async fn asked(&mut self, asked: Asked) {
        let snapshot = self.run.snapshot().await.unwrap_or_default();
        let running = snapshot.running.iter().find(|call| call.id == asked.attempt.call);
        let who = running.and_then(|call| {
            let toolbox = self.catalog.tool(self.catalog.find(&call.tool)?).toolbox.clone();
            Some(Who { tool: call.tool.clone(), toolbox })
        });
        let Some(asker) = &mut self.asker else { return };
        let question = asker.wanted(asked, who);
        let erased = self.live.as_mut().map(Live::erase).unwrap_or_default();
        say(&format!("{erased}{question}"));
    }

    fn taken_back(&mut self) {
        if let Some(asker) = &mut self.asker {
            say(&asker.taken_back());
        }
    }

    fn note(&mut self, note: &Note, lost: usize) {
        self.say(&note.line(lost, self.paint));
    }

    /// Says a line for good.
    fn say(&mut self, text: &str) {
        if let Some(asker) = self.asker.as_ref().filter(|asker| asker.is_asking()) {
            return say(&format!("\r\x1b[K{text}\n{}", asker.prompt()));
        }
        match &mut self.live {
            Some(live) => say(&live.above(&format!("{text}\n"))),
            None => say(&format!("{text}\n")),
        }
    }

    async fn draw(&mut self) {
        if self.asker.as_ref().is_some_and(Asker::is_asking) {
            return;
        }
        let Some(snapshot) = self.run.snapshot().await else { return };
        let (rows, columns) = text::terminal_size();
        if let Some(live) = &mut self.live {
            say(&live.draw(&snapshot, rows, columns));
        }
    }

    async fn signal(&mut self, number: u8) {
        if number != 2 && self.elsewhere.is_some() && self.interrupts == 0 {
            return self.leave(number).await;
        }
        if number == 2 {
            self.interrupts += 1;
        }
        let running = self.run.snapshot().await.map_or(0, |snapshot| snapshot.counts.running);
        if number == 2 && self.interrupts == 1 && self.killed_by.is_none() {
            self.run.cancel(Cancel::Drain);
            let note = format!("nothing new starts; {}; Ctrl-C again ends them now", still_run(running));
            self.lasting_note(&note);
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
        self.lasting_note(&note);
    }

    /// Says how it goes on: in the live view, where that is seen.
    fn lasting_note(&mut self, note: &str) {
        let is_asking = self.asker.as_ref().is_some_and(Asker::is_asking);
        if let Some(live) = &mut self.live {
            live.note(note);
        }
        if self.live.is_none() || is_asking {
            self.say(&self.paint.yellow(note));
        }
    }
}

/// What comes of the wait for an answer; never where nobody is asked.
async fn came(asker: &mut Option<Asker>) -> Came {
    match asker {
        Some(asker) => asker.came().await,
        None => std::future::pending().await,
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
        What::ApprovalAsked { call, tool, .. } => ("ask", format!("{} ({})", text::line(call), text::line(tool))),
        What::ApprovalGiven { call, edited } => {
            ("approved", format!("{}{}", text::line(call), if *edited { ", with other arguments" } else { "" }))
        }
        What::RunCancelling { force } => {
            ("cancel", if *force { "ending what runs".into() } else { "nothing new starts".into() })
        }
        What::RunRecovered { ended, lost } => {
            ("resume", format!("{} had ended, {lost} ran when the process died", text::count(*ended, "call")))
        }
        What::RunPaused => ("pause", String::new()),
        What::RunResumed => ("resume", String::new()),
        What::RunEnded { .. } => return None,
        _ => return trouble(event, forgiven, paint).map(|text| format!("{at}  {text}")),
    };
    Some(format!("{at}  {word:<9} {rest}"))
}

/// An outcome as what a call did.
pub(crate) fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::InDoubt => "is in doubt",
        other => account::outcome_word(other),
    }
}
