//! Every "should we" as a pure function, every number with its reason.
//! It does not know states, queues or time sources.
//!
//! **Which call next.** Among the ready calls that fit, the best [`ClassKey`] starts: the run with the least
//! weighted service first (start-time fair queueing, Goyal et al. 1996), within a run the highest priority, then
//! the longest expected remaining path, then serial order. Whatever fits may start (backfill). A ready call ages
//! when [`OVERTAKES`] calls of worse rank have taken of the limit it waits for, or when that many starts have happened
//! beyond what the calls that were open beside it account for. Aged calls come first, in order of ageing, and the
//! first of them reserves what it needs.

use crate::types::{AttemptEnd, FailureClass, InDoubtPolicy, Reached, Retry, Settings, Time};
use std::time::Duration;

/// Starts that may pass a ready call before it ages. Large enough that backfill does its work in plans of ordinary
/// size, small enough that a wide call in a stream of narrow ones waits moments, not minutes.
pub const OVERTAKES: u64 = 64;

/// How long an aborted attempt may take to answer before it is given up: TERM, a tool's own grace, KILL and
/// reaping take seconds; half a minute means that the tool does not listen.
pub const ABORT_GRACE: Duration = Duration::from_secs(30);

/// The longest a tool may ask to be left alone before the next attempt, unless `backoff_max` is more. Otherwise one
/// header of a server would hold up a run for a day; it is the default timeout of an attempt.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// Deeper keys are cut to this many segments, which can only serialise; keeps the cost of a claim bounded.
pub const KEY_DEPTH_MAX: usize = 64;

/// Doubts remembered one by one to mark what starts after them; beyond, everything is marked.
pub const DOUBTS_MAX: usize = 64;

/// Results kept to be handed on; beyond, the oldest goes. Some 300 bytes each: 20 MB at most, and more than a run of
/// ordinary size has calls. What their values take is the driver's to bound.
pub const RESULTS_MAX: usize = 65_536;

/// How far new work passes its rank on to earlier calls when calls are added to a run in progress.
pub const RANK_VISITS_MAX: usize = 64;

/// Service of one start at weight 1, in the fixed point of virtual time.
pub const SERVICE: u64 = 1 << 20;

/// What a start adds to its run's virtual time.
pub fn service(weight: u32) -> u64 {
    SERVICE / u64::from(weight.max(1))
}

/// After how many starts in all a call that becomes ready now is aged. The calls open beside it may all be of better
/// rank and go first, which in a plan of any size is the critical path at work; what comes later is a stream.
pub fn ages_at(starts: u64, open: u64) -> u64 {
    starts + OVERTAKES + open
}

/// Whether a result may still be handed on.
pub fn is_fresh(ttl: Option<Duration>, given: Time, now: Time) -> bool {
    ttl.is_none_or(|ttl| now < given.after(ttl))
}

/// What follows the end of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// The call succeeded.
    Succeed,
    /// The call failed.
    Fail,
    /// Another attempt, not before this delay has passed.
    Retry(Duration),
    /// Nobody knows whether it took effect, and the policy says to wait for an answer this long.
    Ask(Duration),
    /// Nobody knows whether it took effect, and that is the outcome.
    Doubt,
    /// The call ends as cancelled.
    Cancel,
}

/// What is asked of the end of an attempt.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// How it ended; `Aborted` also for one that was given up.
    pub end: AttemptEnd,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// It was aborted because somebody wants the call to end.
    pub cancelled: bool,
    /// No more attempts, whatever the retry policy says (cancelling, or the attempt was given up).
    pub last: bool,
    /// A number that differs between attempts and is the same in a repeated run.
    pub seed: u64,
}

/// What follows the end of an attempt. A tool that answered in time is believed, also while being aborted; a retry
/// needs a repeatable call or the proof that the tool was not reached.
pub fn after_attempt(settings: &Settings, ended: Ended) -> Next {
    let (transient, reached, retry_after) = match ended.end {
        AttemptEnd::Succeeded => return Next::Succeed,
        AttemptEnd::Failed { class, reached, retry_after } => (class == FailureClass::Transient, reached, retry_after),
        AttemptEnd::Aborted { reached } => (true, reached, None),
    };
    let delay = backoff(&settings.retry, ended.attempt, ended.seed).max(retry_after.unwrap_or_default());
    if reached == Reached::Unknown && !settings.repeatable {
        return match settings.in_doubt {
            _ if ended.cancelled || ended.last => Next::Doubt,
            InDoubtPolicy::Fail => Next::Doubt,
            InDoubtPolicy::Ask(bound) => Next::Ask(bound),
            InDoubtPolicy::Rerun if ended.attempt < settings.retry.attempts_max.max(2) => Next::Retry(delay),
            InDoubtPolicy::Rerun => Next::Doubt,
        };
    }
    if ended.cancelled {
        return Next::Cancel;
    }
    let safe = settings.repeatable || reached == Reached::No;
    let soon = retry_after.is_none_or(|after| after <= RETRY_AFTER_MAX.max(settings.retry.backoff_max));
    if transient && safe && soon && !ended.last && ended.attempt < settings.retry.attempts_max {
        return Next::Retry(delay);
    }
    Next::Fail
}

/// What follows an attempt that was lost with the engine that ran it. It is no failure of the tool's, so another
/// follows also where the retry policy allows no more.
pub fn after_loss(settings: &Settings, cancelled: bool) -> Next {
    match (settings.repeatable, settings.in_doubt) {
        (true, _) if cancelled => Next::Cancel,
        (true, _) => Next::Retry(Duration::ZERO),
        (false, _) if cancelled => Next::Doubt,
        (false, InDoubtPolicy::Fail) => Next::Doubt,
        (false, InDoubtPolicy::Rerun) => Next::Retry(Duration::ZERO),
        (false, InDoubtPolicy::Ask(bound)) => Next::Ask(bound),
    }
}

/// The delay after the attempt `attempt`: exponential, capped, and between half and the whole of that at random
/// ("equal jitter", AWS Architecture Blog, Exponential Backoff And Jitter, 2015), by a seed.
pub fn backoff(retry: &Retry, attempt: u32, seed: u64) -> Duration {
    let exponent = i32::try_from(attempt.saturating_sub(1).min(64)).unwrap_or(64);
    let whole = retry.backoff.as_secs_f64() * retry.factor.max(1.0).powi(exponent);
    let whole = whole.min(retry.backoff_max.as_secs_f64()).max(0.0);
    #[expect(clippy::cast_precision_loss, reason = "a random number between 0 and 1")]
    let random = (mix(seed) >> 11) as f64 / (1_u64 << 53) as f64;
    Duration::from_secs_f64(whole * (0.5 + random / 2.0))
}

/// Spreads a seed over all bits (the finalizer of SplitMix64, Steele et al. 2014).
pub fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The order of calls within a run; smaller starts first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rank {
    /// 4 − priority, inherited from what waits for the call, in the upper three bits; below them [`PATH_MAX_NS`] −
    /// the expected remaining path. One number, since it is compared with every move of a queue.
    urgency: u64,
    /// The place in serial order.
    pub order: u64,
}

/// Longer paths (73 years) count as this long.
pub const PATH_MAX_NS: u64 = (1 << 61) - 1;

impl Rank {
    /// After every rank.
    pub const LAST: Rank = Rank { urgency: u64::MAX, order: u64::MAX };

    /// The rank of a call with this priority, expected remaining path (ns) and place.
    pub fn new(priority: u8, path_ns: u64, order: u64) -> Rank {
        Rank { urgency: u64::from(4 - priority.min(4)) << 61 | (PATH_MAX_NS - path_ns.min(PATH_MAX_NS)), order }
    }
    /// The priority it was made from.
    pub fn priority(self) -> u8 {
        4 - u8::try_from(self.urgency >> 61).unwrap_or(4).min(4)
    }
    /// The expected remaining path it was made from, in nanoseconds.
    pub fn path_ns(self) -> u64 {
        PATH_MAX_NS - (self.urgency & PATH_MAX_NS)
    }
}

/// The order of ready calls between runs; smaller starts first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ClassKey {
    /// The run's virtual time.
    pub service: u64,
    /// The best rank of the class.
    pub rank: Rank,
    /// The run, so that no two keys are equal.
    pub run: u32,
}

impl ClassKey {
    /// After every key.
    pub const LAST: ClassKey = ClassKey { service: u64::MAX, rank: Rank::LAST, run: u32::MAX };
}
