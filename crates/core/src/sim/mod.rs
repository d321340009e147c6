//! Deterministic simulation: worlds from seeds, lived under a simulated clock and checked after every event.
//! It does not know threads, clocks or files; `cargo xtask sim` runs it many times.
//!
//! [`run`] makes the world of a seed (`world`), lives it (`drive`, and `lives` where the engine dies on the way), writes
//! down what can be seen from outside (`book`), checks that against the promises (`oracle`, for results that
//! are handed on `handed`, for runs that forget `forgetting`) and compares results and
//! store with running one by one (`truth`); `shelf` is the disk on which results outlive an engine.
//! Of the core these share the types only. [`differential`] compares the core's decisions with `naive`'s.

mod book;
mod cells;
mod drive;
mod forgetting;
mod handed;
mod lives;
mod naive;
mod oracle;
mod rng;
mod shelf;
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
    /// Check nothing but that results and store equal those of running one by one: to test that check by itself.
    pub state_only: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { fault: None, steps_max: 1_000_000, trace: false, state_only: false }
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
    let (mut drive, lived) = if world.deaths > 0 || world.disk {
        lives::live(&world, options)
    } else {
        let core = options.fault.map_or_else(Core::new, Core::with_fault);
        let mut drive = drive::Drive::new(&world, core, options.trace);
        drive.fault = options.fault;
        drive.state_only = options.state_only;
        let lived = drive.run(options.steps_max);
        (drive, lived)
    };
    let violation = lived.err();
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
        if naive.starts >= naive::STARTS_MAX || naive.ambiguous {
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
    // Whether a call that ends in this turn was asked about before depends on which consequence is drawn first.
    let ends = |who: &CallRef| actions.iter().any(|a| matches!(a, Action::Ended(end) if end.call == *who));
    for action in actions {
        match action {
            Action::Resolve { call, .. } if ends(call) => {}
            Action::Start { .. } => starts.push(drive::say_action(action)),
            Action::Ended(end) => others.push(format!("Ended {} {:?}", book::name(end.call), end.outcome)),
            Action::RunEnded { run, .. } => others.push(format!("RunEnded {}", run.0)),
            other => others.push(drive::say_action(other)),
        }
    }
    others.sort();
    (starts, others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_are_kept_in_random_worlds() {
        for seed in 0..1500 {
            let lived = run(seed, Options::default());
            assert_eq!(lived.violation, None, "see it happen: cargo xtask sim --trace {seed}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_trace() {
        let options = Options { trace: true, ..Options::default() };
        for seed in [3, 62, 225, 389] {
            assert_eq!(run(seed, options), run(seed, options));
        }
    }

    #[test]
    fn the_naive_scheduler_decides_the_same() {
        for seed in 0..300 {
            let compared = differential(seed);
            assert!(compared.is_ok(), "{compared:?}");
        }
    }

    /// What a run leaves behind tells by itself that conflicting calls overlapped or changed their order.
    #[test]
    fn the_final_state_alone_tells() {
        for fault in [
            Fault::AncestorMissed,
            Fault::SubtreeMissed,
            Fault::ReaderCheckDropped,
            Fault::PlaceLostInBackoff,
            Fault::HandedAcrossWrite,
            Fault::ArgumentForgotten,
        ] {
            let options = Options { fault: Some(fault), state_only: true, steps_max: 20_000, ..Options::default() };
            let found = |seed: &u64| run(*seed, options).violation.is_some_and(|v| v.what.contains("one by one"));
            assert!((0..500).any(|seed| found(&seed)), "{fault:?} left no trace");
        }
    }

    /// The whole table is `cargo xtask sim --mutants`; these are caught in the first few worlds.
    #[test]
    fn planted_faults_are_found() {
        for fault in [
            Fault::UnresolvedOverlapsNothing,
            Fault::SubtreeMissed,
            Fault::ReaderCheckDropped,
            Fault::RateIgnored,
            Fault::LostWriteRerun,
            Fault::RecoveringAdmits,
            Fault::LegalityDropped,
            Fault::WriteStartKeeps,
            Fault::KeptInDoubt,
            Fault::FlightNotJoined,
            Fault::ForgottenTooEarly,
            Fault::NeverForgotten,
        ] {
            let options = Options { fault: Some(fault), ..Options::default() };
            assert!((0..50).any(|seed| run(seed, options).violation.is_some()), "{fault:?} was not found");
        }
    }
}
