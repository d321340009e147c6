//! The words the core and its driver speak: ids, facts (`Event`), orders (`Action`) and what they carry.
//! It does not know how a decision is made.

use smallvec::SmallVec;
use std::sync::Arc;
use std::time::Duration;

/// A moment, in nanoseconds since an origin that the driver chooses once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub u64);

impl Time {
    /// The moment `d` later; saturates at the end of time.
    pub fn after(self, d: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
    /// How long after `earlier` this moment is; zero when it is not after it.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A run of this engine. The driver chooses the number and never uses one twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RunId(pub u32);

/// A call of a run: the place in the run's list, and for an element of a `foreach` call its index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallRef {
    /// The run it belongs to.
    pub run: RunId,
    /// Its index in the run's list, counting calls added later.
    pub call: u32,
    /// `Some(i)` for the element `i` of a `foreach` call, `None` for the call itself.
    pub element: Option<u32>,
}

/// One try of one call; attempts of a call are numbered from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AttemptRef {
    /// The call that is tried.
    pub call: CallRef,
    /// Which try, from 1.
    pub attempt: u32,
}

/// What a call would be told, were it to ask again: a hash of its tool (with what its answers depend on) and of its
/// canonical arguments. Calls of one identity may be handed each other's results.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Identity(pub u128);

/// A result that the driver keeps to be handed on. No number is used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntryId(pub u64);

/// How far the disk of results was when it was looked at, in its own counting: it is handed back with what is stored, so
/// that a write that came between is noticed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Stamp(pub u64);

/// A named amount shared by calls: slots of an engine, of a tool, cpu, memory, licences.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LimitId(pub u32);

/// A rate shared by calls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RateId(pub u32);

/// The name of a resource, as the numbers of its prefixes: `file:/src/a` has three (`file:`, `file:/src`,
/// `file:/src/a`). The empty key is the root: it overlaps every key, and is how `*` arrives here.
///
/// ```
/// use fanout_core::Key;
/// let src = Key::new(["file:", "src"]);
/// assert!(src.overlaps(&Key::new(["file:", "src", "a.rs"])));
/// assert!(!src.overlaps(&Key::new(["file:", "src2"])));
/// assert!(src.overlaps(&Key::root()));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Key(pub SmallVec<[u64; 4]>);

impl Key {
    /// The key that overlaps everything.
    pub fn root() -> Key {
        Key(SmallVec::new())
    }

    /// The key of these segments. Prefixes are numbered by FNV-1a (64 bit) over their segments, so that equal
    /// names get equal numbers everywhere; two names that collide are taken for one, which can only serialise.
    pub fn new<'a>(segments: impl IntoIterator<Item = &'a str>) -> Key {
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        Key(segments
            .into_iter()
            .map(|segment| {
                for byte in segment.bytes() {
                    hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
                }
                // A byte that UTF-8 never holds ends the segment, so that `a`,`b` is not `ab`.
                hash = (hash ^ 0xff).wrapping_mul(PRIME);
                hash
            })
            .collect())
    }

    /// Whether one of the two is a prefix of the other, segment by segment.
    pub fn overlaps(&self, other: &Key) -> bool {
        let n = self.0.len().min(other.0.len());
        n == 0 || self.0[n - 1] == other.0[n - 1]
    }
}

/// One key that a call reads or writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The resource; where an argument is not yet known, the part of the name that stands before it.
    pub key: Key,
    /// Whether the call may write it.
    pub write: bool,
}

/// All keys of a call, shared with whoever made them.
pub type Claims = Arc<[Claim]>;

/// Whether an input must have given a result or only have ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InputKind {
    /// The result is used: without one, the call is skipped.
    Result,
    /// Only the order is used: any outcome will do.
    Outcome,
}

/// Another call that must have ended before this one's inputs are there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Input {
    /// The index of the other call in the same run's list. It may be listed later, but not form a cycle;
    /// a call added to a run in progress refers to earlier calls only.
    pub call: u32,
    /// What is used of it.
    pub kind: InputKind,
}

/// One wanted use of a tool, without its values.
#[derive(Clone, Debug)]
pub struct CallSpec {
    /// What must have ended first; no duplicates.
    pub inputs: SmallVec<[Input; 2]>,
    /// Its keys as far as they are known now.
    pub claims: Claims,
    /// Whether the call becomes one call per element of a list once its inputs are there.
    pub foreach: bool,
    /// Whether [`Action::Resolve`] is wanted before it can start. False: claims are final, nothing can fail.
    pub resolve: bool,
    /// What it shares with other calls of the tool.
    pub settings: Arc<Settings>,
}

/// The policy data of a call; one value serves all calls with the same tool and settings.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// 0 (lowest) to 4 (highest); 2 is normal.
    pub priority: u8,
    /// The expected duration of one attempt; orders the critical path.
    pub expect: Duration,
    /// The longest an attempt may last.
    pub timeout: Duration,
    /// The longest an attempt may be silent ([`Event::Progressed`] is its sign of life).
    pub idle_timeout: Option<Duration>,
    /// How failures are retried.
    pub retry: Retry,
    /// Read-only or idempotent: running it twice does no harm.
    pub repeatable: bool,
    /// What happens when nobody knows whether an attempt took effect.
    pub in_doubt: InDoubtPolicy,
    /// Whether a failure has a value to go on with: what needs the result then sees the value.
    pub failure_has_value: bool,
    /// Whether some key can name something else once an overlapping writer has ended (symbolic links): the
    /// keys are asked for again after such a wait.
    pub rekey: bool,
    /// The amounts held during each attempt; each limit once.
    pub needs: Box<[(LimitId, u64)]>,
    /// The rates each attempt counts against.
    pub rates: Box<[RateId]>,
    /// Whether it may be handed the result of another call of its [`Identity`], and others its own. Counts only for
    /// calls that are repeatable and write nothing.
    pub reuse: Option<Reuse>,
}

/// Which results a call may be handed instead of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reuse {
    /// How long ago the result may have been given; `None`: however long.
    pub ttl: Option<Duration>,
    /// Whose results.
    pub scope: Scope,
}

/// Among whose results a call looks for one that will do for it, and to whom it leaves its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Those of its run.
    Run,
    /// Those that any run of the engine left for others to use.
    Engine,
    /// Those on a disk that engines share and outlive; as `Engine` while there is none ([`Event::DiskSet`]).
    Disk,
}

/// How often and after which delays a failed attempt is tried again.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Retry {
    /// All attempts, the first included; at least 1.
    pub attempts_max: u32,
    /// The delay before the second attempt.
    pub backoff: Duration,
    /// What the delay is multiplied with each time; at least 1.
    pub factor: f64,
    /// The longest delay.
    pub backoff_max: Duration,
}

/// What to do with an attempt of which nobody knows whether it took effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InDoubtPolicy {
    /// The outcome of the call is `InDoubt`.
    Fail,
    /// A new attempt.
    Rerun,
    /// Wait for [`Event::DoubtSettled`], this long at most, then as `Fail`.
    Ask(Duration),
}

/// One execution of a plan, or an open-ended stream of calls.
#[derive(Clone, Debug)]
pub struct RunSpec {
    /// Its number.
    pub run: RunId,
    /// Its share of the engine's limits against other runs; at least 1.
    pub weight: u32,
    /// When the run is cancelled with force, whatever is left.
    pub deadline: Option<Time>,
    /// `on_failure: stop`.
    pub stop_on_failure: bool,
    /// Whether calls may still be added; ended by [`Event::RunClosed`].
    pub open: bool,
    /// Whether calls that are added are forgotten once they have ended and nothing takes them any more
    /// ([`Action::DropCall`]). They may take those the run began with and those added with them. Not of a run that
    /// recovers.
    pub forget: bool,
    /// Seed of the jitter of this run's retries.
    pub seed: u64,
    /// Limits that belong to this run and end with it.
    pub limits: Vec<(LimitId, u64)>,
    /// The attempt inside which this run was started: its keys and amounts are lent to the run.
    pub parent: Option<AttemptRef>,
    /// It began in an engine that is gone: its facts are told again, and nothing of it starts until
    /// [`Event::Recovered`].
    pub recovering: bool,
    /// The calls, in list order.
    pub calls: Vec<CallSpec>,
}

/// A fact. Facts about what is no longer there (a late or repeated report) are ignored.
#[derive(Clone, Debug)]
pub enum Event {
    /// A limit exists and has this capacity from now on (also to change it; running attempts are not touched).
    LimitSet {
        /// Which limit.
        limit: LimitId,
        /// Its whole amount. A call that needs more counts as needing all of it.
        capacity: u64,
    },
    /// A rate exists: `burst` starts at once, then one per `period`.
    RateSet {
        /// Which rate.
        rate: RateId,
        /// Time between two starts in the long run.
        period: Duration,
        /// How many starts may come at once; at least 1.
        burst: u32,
    },
    /// A run begins.
    RunAdded(Box<RunSpec>),
    /// Calls were appended to an open run.
    CallsAdded {
        /// The run.
        run: RunId,
        /// The calls, numbered on from those there.
        calls: Vec<CallSpec>,
    },
    /// No more calls will be added.
    RunClosed {
        /// The run.
        run: RunId,
    },
    /// The answer to [`Action::Resolve`].
    Resolved {
        /// The call.
        call: CallRef,
        /// What its inputs make of it.
        resolution: Resolution,
    },
    /// An attempt ended.
    Finished {
        /// The attempt.
        attempt: AttemptRef,
        /// How.
        end: AttemptEnd,
    },
    /// An attempt gave a sign of life.
    Progressed {
        /// The attempt.
        attempt: AttemptRef,
    },
    /// Somebody answered for an attempt in doubt.
    DoubtSettled {
        /// The attempt.
        attempt: AttemptRef,
        /// The answer.
        answer: DoubtAnswer,
    },
    /// A run, or one call of it, is to end early.
    CancelRequested {
        /// The run.
        run: RunId,
        /// One call (with its elements), or all.
        call: Option<u32>,
        /// False: nothing new starts, what runs may end. True: what runs is aborted.
        force: bool,
    },
    /// Nothing new starts in a run until it is resumed.
    PauseRequested {
        /// The run.
        run: RunId,
    },
    /// The opposite of [`Event::PauseRequested`].
    ResumeRequested {
        /// The run.
        run: RunId,
    },
    /// Something that happened before the engine died, told again from the record. What cannot have happened is
    /// answered with [`Action::Illegal`], as is every other fact about a recovering run that does not fit.
    Recorded(Recorded),
    /// The deadline of a recovering run had passed before the engine died: told from the record, at its place among
    /// the other facts. (One that passes later, or while nobody was there, passes at [`Event::Recovered`].)
    DeadlinePassed {
        /// The run.
        run: RunId,
    },
    /// All that was recorded of a run has been told: it goes on.
    Recovered {
        /// The run.
        run: RunId,
    },
    /// Whether there is a disk on which results are kept from engine to engine; at first there is none.
    DiskSet {
        /// Whether there is.
        on: bool,
    },
    /// The answer to [`Action::Look`].
    LookedUp {
        /// The call.
        call: CallRef,
        /// The number of the question.
        look: u64,
        /// When the result was given that is there, if there is one.
        given: Option<Time>,
        /// What the disk knew then of writes; `None` when it could not be read.
        stamp: Option<Stamp>,
    },
    /// The driver no longer has a result it was told to keep, because its values take too much room.
    ResultDropped {
        /// The result.
        entry: EntryId,
    },
    /// Nothing but time passed: due timers fire (as they do before every other event).
    Tick,
}

/// What time or admission decided before the engine died.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recorded {
    /// An attempt had started.
    Started {
        /// The attempt.
        attempt: AttemptRef,
    },
    /// An attempt had been told to end.
    Aborted {
        /// The attempt.
        attempt: AttemptRef,
        /// Why.
        reason: AbortReason,
    },
    /// An attempt did not heed its abort, and was given up.
    GivenUp {
        /// The attempt.
        attempt: AttemptRef,
    },
    /// The engine died while an attempt ran: nobody knows whether it took effect. One of a repeatable call is
    /// followed by another; else the answer counts, if there is one, or the policy.
    Lost {
        /// The attempt.
        attempt: AttemptRef,
        /// What somebody says about it.
        answer: Option<DoubtAnswer>,
    },
    /// Nobody answered in time for an attempt in doubt, or for a call to be approved.
    Unanswered {
        /// The call.
        call: CallRef,
    },
    /// A call had been handed the result of another ([`Action::Reuse`]; the driver recorded the value).
    Reused {
        /// The call.
        call: CallRef,
    },
}

impl Recorded {
    /// The call it is about.
    pub fn call(&self) -> CallRef {
        match self {
            Recorded::Started { attempt }
            | Recorded::Aborted { attempt, .. }
            | Recorded::GivenUp { attempt }
            | Recorded::Lost { attempt, .. } => attempt.call,
            Recorded::Unanswered { call } | Recorded::Reused { call } => *call,
        }
    }
}

/// What the inputs of a call make of it.
#[derive(Clone, Debug)]
pub enum Resolution {
    /// It can run; `claims` are its keys now (`None`: as they were).
    Run {
        /// The final keys; each must be overlapped by a claim given before.
        claims: Option<Claims>,
        /// What other calls it may share a result with, by [`Settings::reuse`]. The last that was said counts.
        same: Option<Identity>,
    },
    /// Its `when` is false.
    Skip,
    /// It is a `foreach` call and has this many elements; each is resolved on its own.
    Elements(u32),
    /// A reference, expression or argument is wrong.
    Error,
    /// Somebody has to approve it first, which may take this long: the answer is another [`Event::Resolved`].
    Ask {
        /// Its keys, as in `Run`. What is approved may have others only within these.
        claims: Option<Claims>,
        /// After this it counts as denied.
        bound: Duration,
    },
    /// Somebody refused it.
    Denied,
}

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttemptEnd {
    /// With a result.
    Succeeded,
    /// With an error.
    Failed {
        /// Which kind.
        class: FailureClass,
        /// Whether the tool can have been reached.
        reached: Reached,
        /// When the tool asked to be tried again at the earliest.
        retry_after: Option<Duration>,
    },
    /// Because of [`Action::Abort`]; nothing of it runs any more.
    Aborted {
        /// Whether the tool can have been reached.
        reached: Reached,
    },
}

/// The kinds of failure that decisions depend on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureClass {
    /// May go away by itself: worth a retry.
    Transient,
    /// Will be the same next time.
    Permanent,
}

/// Whether an attempt can have reached its tool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reached {
    /// Proven not: a retry is safe also for a write.
    No,
    /// Yes, and the tool itself told how it ended.
    Yes,
    /// Perhaps, and nobody told how it ended.
    Unknown,
}

/// An answer for an attempt in doubt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DoubtAnswer {
    /// Try again.
    Rerun,
    /// Treat it as failed.
    Fail,
    /// It did take effect (the driver holds the value).
    Succeeded,
}

/// An order to the driver.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Read references, evaluate `when` and `foreach`, validate arguments, name keys; answer with
    /// [`Event::Resolved`].
    Resolve {
        /// The call.
        call: CallRef,
        /// True: it was resolved before; only its keys are wanted anew.
        again: bool,
    },
    /// Start an attempt; answer with [`Event::Finished`].
    Start {
        /// The attempt.
        attempt: AttemptRef,
        /// Whether something that overlaps its keys ended in doubt before it.
        after_doubt: bool,
    },
    /// Make an attempt end; it still answers with [`Event::Finished`].
    Abort {
        /// The attempt.
        attempt: AttemptRef,
        /// Why.
        reason: AbortReason,
    },
    /// An attempt failed and another will follow (for the record; nothing to do).
    Retry {
        /// The attempt that failed.
        attempt: AttemptRef,
        /// When the next is due.
        due: Time,
    },
    /// An attempt is in doubt and somebody should settle it.
    Ask {
        /// The attempt.
        attempt: AttemptRef,
        /// When it counts as failed.
        until: Time,
    },
    /// A call is handed a result instead of an attempt: copy it from there. Its [`Action::Ended`] follows.
    Reuse {
        /// The call.
        call: CallRef,
        /// Whose result.
        from: Source,
    },
    /// Keep the result that this call has just given, until told otherwise. Its [`Action::Ended`] follows.
    Keep {
        /// The call.
        call: CallRef,
        /// The result's number from now on.
        entry: EntryId,
    },
    /// A result is never handed on again by this engine.
    Forget {
        /// The result.
        entry: EntryId,
        /// Why.
        why: Gone,
    },
    /// Look on the disk for a result that will do for this call; answer with [`Event::LookedUp`].
    Look {
        /// The call.
        call: CallRef,
        /// The number of the question.
        look: u64,
    },
    /// Store the result that this call has just given on the disk, unless something it read was written there since
    /// `stamp`, or is being written. Its [`Action::Ended`] follows.
    Store {
        /// The call.
        call: CallRef,
        /// The result's number from now on, for [`Action::Forget`]: what is on disk is not forgotten with it.
        entry: EntryId,
        /// What the disk said when the call looked.
        stamp: Stamp,
    },
    /// What the call writes is not what it was: from now until [`Action::CloseWrite`], no result that read it is on the
    /// disk, nor stored there. That must be durable before the start that follows is done.
    OpenWrite {
        /// The call.
        call: CallRef,
    },
    /// What the call wrote will not change by it any more: results that read it may be stored. So with the end of its run.
    CloseWrite {
        /// The call.
        call: CallRef,
    },
    /// A call of a run that forgets has ended, and nothing will be said or asked about it any more. Once per call that
    /// was added; its elements go with it.
    DropCall {
        /// The call.
        call: CallRef,
    },
    /// A recorded fact about a recovering run does not fit what was told before. It was not taken in.
    Illegal {
        /// The call it was about.
        call: CallRef,
        /// Why it cannot have happened.
        why: Illegal,
    },
    /// A call has its outcome. Once per call, elements included.
    Ended(CallEnd),
    /// All calls of a run have ended and none will be added. The run is gone from the core.
    RunEnded {
        /// The run.
        run: RunId,
        /// Whether its deadline ended it.
        deadline_passed: bool,
    },
}

/// Why a result is not handed on any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gone {
    /// Something it read is written.
    Written,
    /// Another needs its room.
    Room,
    /// Its run ended, or there is a newer one in its place.
    Over,
}

/// Where a result that is handed on comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// A result that is kept.
    Entry(EntryId),
    /// A call of the same run that has just succeeded.
    Call(CallRef),
    /// What was found on the disk for this call, and just told.
    Disk,
}

/// Why a recorded fact cannot have happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Illegal {
    /// There is no such call.
    NoCall,
    /// The attempt is not the one that comes next, or runs.
    WrongAttempt,
    /// An attempt started before its inputs were there, an earlier conflicting call had ended, or it was approved.
    NotReady,
    /// Something is told about an attempt that did not run.
    NotRunning,
    /// An answer is told to a question that nobody asked.
    NotAsked,
    /// An attempt ended as one that was told to end, and was not told so, or not for that reason.
    NotAborted,
}

/// The end of a call and the account of its time.
#[derive(Clone, PartialEq, Debug)]
pub struct CallEnd {
    /// The call.
    pub call: CallRef,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it ended so.
    pub reason: Reason,
    /// Attempts started.
    pub attempts: u32,
    /// When its first attempt started, if one did.
    pub started: Option<Time>,
    /// When it ended.
    pub ended: Time,
    /// What it waited for, in order, from its listing to its last start or its end.
    pub waits: SmallVec<[Wait; 1]>,
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// With a result.
    Succeeded,
    /// With an error.
    Failed,
    /// It was not needed, or could not be done.
    Skipped,
    /// It was cancelled.
    Cancelled,
    /// Somebody refused it.
    Denied,
    /// Nobody knows whether it took effect.
    InDoubt,
}

/// Why a call ended as it did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The tool's own end.
    Tool,
    /// Resolving it gave an error.
    Unresolved,
    /// Its `when` was false.
    When,
    /// The call (an index of the same run) whose result it needs has none.
    Upstream(u32),
    /// `on_failure: stop` and this call (an index of the same run) failed.
    Stopped(u32),
    /// An attempt lasted too long.
    Timeout,
    /// An attempt was silent too long.
    IdleTimeout,
    /// The deadline of the run passed.
    Deadline,
    /// Somebody cancelled it.
    Cancelled,
    /// This many of its elements gave no result.
    Elements(u32),
    /// Somebody answered for it.
    Settled,
    /// Somebody refused it.
    Denied,
    /// The engine died while an attempt ran.
    Lost,
    /// It was handed the result of another call.
    Reused,
}

/// Why an attempt is aborted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AbortReason {
    /// It lasted too long.
    Timeout,
    /// It was silent too long.
    IdleTimeout,
    /// `on_failure: stop`.
    Stopped,
    /// Somebody cancelled it.
    Cancelled,
    /// The deadline of the run passed.
    Deadline,
}

/// A stretch of waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wait {
    /// On what.
    pub cause: Cause,
    /// How long, in nanoseconds.
    pub ns: u64,
}

/// What a call waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// A call it takes an input of (an index of the same run).
    Input(u32),
    /// The driver, to resolve it.
    Resolve,
    /// An earlier call of the run that holds an overlapping key.
    Key {
        /// The holder.
        holder: CallRef,
        /// Which of the waiting call's own claims.
        claim: u16,
    },
    /// Under `on_failure: stop`, an earlier call that has not succeeded yet.
    Stop(CallRef),
    /// Another run's attempt that holds an overlapping key.
    OtherRun {
        /// The holder.
        holder: CallRef,
        /// Which of the waiting call's own claims.
        claim: u16,
    },
    /// A limit is used up.
    Limit(LimitId),
    /// A limit (or key) is kept free for a call that was passed over too often.
    Reserved(CallRef),
    /// A rate allows no start yet.
    Rate(RateId),
    /// The delay before a retry.
    Backoff,
    /// Somebody to settle a doubt.
    Doubt,
    /// Somebody to approve it.
    Approval,
    /// The run to be resumed.
    Pause,
    /// Its elements.
    Elements,
    /// An attempt of another call of the run, whose result will do for it too.
    Flight(CallRef),
    /// The disk, on which there may be a result that will do for it.
    Look,
}
