//! Deterministic simulation: worlds from seeds, lived under a simulated clock and checked after every event.
//! It does not know threads, clocks or files; `cargo xtask sim` runs it many times.
//!
//! [`run`] makes the world of a seed (`world`), lives it (`drive`), writes down what can be seen from outside (`book`),
//! checks that against the promises (`oracle`) and compares results and store with running one by one (`truth`).
//! Of the core these share the types only. [`differential`] compares the core's decisions with `naive`'s.

mod book;
mod cells;
mod drive;
mod naive;
mod oracle;
mod rng;
mod truth;
mod world;

use crate::{Action, CallRef, Cause, Core, Event, Fault, Time};

/// How a world is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The fault to plant in the core, if any.
    pub fault: Option<Fault>,
    /// Events and actions after which a world counts as endless.
    pub steps_max: u64,
    /// Whether to write down every event and action.
    pub trace: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { fault: None, steps_max: 1_000_000, trace: false }
    }
}

/// A promise broken in a world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The world.
    pub seed: u64,
    /// Events and actions until then.
    pub step: u64,
    /// The simulated time, in milliseconds.
    pub at_ms: u64,
    /// What was promised and is not so.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}, step {}, at {} ms: {}", self.seed, self.step, self.at_ms, self.what)
    }
}

/// What became of a world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lived {
    /// Events and actions.
    pub steps: u64,
    /// Attempts started.
    pub starts: u64,
    /// A number that is the same when all actions are.
    pub digest: u64,
    /// Every event and action, when asked for.
    pub trace: String,
    /// What was broken, if anything.
    pub violation: Option<Violation>,
}

/// What the simulation needs of a scheduler: the core, or the naive one.
trait Scheduler {
    fn handle(&mut self, now: Time, event: Event);
    fn poll_action(&mut self) -> Option<Action>;
    fn poll_timeout(&mut self) -> Option<Time>;
    /// What a call is said to wait for; `None` when the scheduler does not say such things.
    fn cause(&self, call: CallRef) -> Option<Option<Cause>>;
}

impl Scheduler for Core {
    fn handle(&mut self, now: Time, event: Event) {
        Core::handle(self, now, event);
    }
    fn poll_action(&mut self) -> Option<Action> {
        Core::poll_action(self)
    }
    fn poll_timeout(&mut self) -> Option<Time> {
        Core::poll_timeout(self)
    }
    fn cause(&self, call: CallRef) -> Option<Option<Cause>> {
        Some(self.view().call(call).and_then(|v| v.cause))
    }
}

/// Lives the world of this seed.
///
/// # Panics
/// When the core breaks one of its own invariants: that is a bug found, too.
pub fn run(seed: u64, options: Options) -> Lived {
    let world = world::World::new(seed);
    let core = options.fault.map_or_else(Core::new, Core::with_fault);
    let mut drive = drive::Drive::new(&world, core, options.trace);
    let violation = drive.run(options.steps_max).err();
    Lived {
        steps: drive.steps,
        starts: drive.book.starts,
        digest: drive.digest,
        trace: drive.trace.take().unwrap_or_default(),
        violation,
    }
}

/// Compares the core's decisions with the naive scheduler's in the world of this seed: which attempts start, in which
/// order, and what else is ordered in the same turn. Gives how many starts were compared.
///
/// # Errors
/// The first difference.
pub fn differential(seed: u64) -> Result<u64, Violation> {
    let world = world::World::plain(seed);
    let mut drive = drive::Drive::new(&world, Core::new(), false);
    drive.record = Some(Vec::new());
    drive.run(Options::default().steps_max)?;
    let mut naive = naive::Naive::default();
    for (step, turn) in (0..).zip(drive.record.take().unwrap_or_default()) {
        for event in turn.events {
            naive.handle(turn.now, event);
        }
        naive.admit();
        if naive.starts >= naive::STARTS_MAX {
            break;
        }
        let (core, slow) = (said(&turn.actions), said(&std::mem::take(&mut naive.actions)));
        if core != slow {
            let what = format!("the core ordered {core:?}, the naive scheduler {slow:?}");
            return Err(Violation { seed, step, at_ms: turn.now.0 / world::MS, what });
        }
    }
    Ok(naive.starts)
}

/// What the actions of a turn decide: the starts in their order, the rest as a set.
fn said(actions: &[Action]) -> (Vec<String>, Vec<String>) {
    let mut starts = Vec::new();
    let mut others = Vec::new();
    for action in actions {
        match action {
            Action::Start { .. } => starts.push(drive::say_action(action)),
            Action::Ended(end) => others.push(format!("Ended {} {:?}", book::name(end.call), end.outcome)),
            Action::RunEnded { run, .. } => others.push(format!("RunEnded {}", run.0)),
            other => others.push(drive::say_action(other)),
        }
    }
    others.sort();
    (starts, others)
}
