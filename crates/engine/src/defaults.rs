//! Every default and bound of the driver, each with its reason.
//! It does not know who uses them.

use fanout_core::Retry;
use std::time::Duration;

/// The longest an attempt may last: long enough for a build or a long model answer, short enough that a hang is noticed.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// How failures are retried: three attempts mend most passing troubles, and end within a second where nothing helps.
pub(crate) const RETRY: Retry =
    Retry { attempts_max: 3, backoff: Duration::from_millis(200), factor: 2.0, backoff_max: Duration::from_secs(30) };

/// The first guess of a duration: with no better knowledge all calls count the same, so the critical path is the longest chain.
pub(crate) const EXPECT: Duration = Duration::from_secs(1);

/// How long a doubt waits for an answer when somebody is asked, as an approval does.
pub(crate) const ASK_MAX: Duration = Duration::from_secs(60 * 60);

/// Attempts at once in an engine: many tools wait for networks, so more than cores; few enough for file descriptors.
pub(crate) const RUNNING: u64 = 64;

/// Events kept of a run for readers that are behind: some megabytes.
pub(crate) const EVENTS_KEPT: usize = 65_536;

/// The longest an inline poll of a native tool may take; longer, and its attempts get tasks of their own for a while.
pub(crate) const INLINE_POLL_MAX: Duration = Duration::from_micros(100);

/// How many attempts that is the first time: few enough not to matter when it was the machine that was slow.
pub(crate) const INLINE_BAR: u32 = 256;

/// How many it is at most: a tool that blocks holds up the driver once in a million attempts.
pub(crate) const INLINE_BAR_MAX: u32 = 1 << 20;

/// How long the driver works before it lets other tasks of its thread run: an event reader stays lively, and a
/// cancellation is seen.
pub(crate) const TURN_MAX: Duration = Duration::from_millis(1);

/// How many actions are done before the inbox and the clock are looked at again.
pub(crate) const TURN_ACTIONS: u32 = 1_024;

/// So few actions after a look at the clock it is not looked at again for the start of an attempt: they take less than
/// a report shows, and the look would cost as much as one of them.
pub(crate) const CLOCK_ACTIONS: u32 = 4;

/// How many actions are done before it is looked whether what is to be remembered is handed over early: some dozen
/// microseconds.
pub(crate) const REMEMBER_ACTIONS: u32 = 32;

/// So many attempts in tasks, and the driver lets those that are ready end before it looks at what they say: fewer gain
/// nothing by it, and one alone must not wait.
pub(crate) const GATHER_MIN: usize = 8;

/// How often a sign of life of an attempt reaches the driver at most; idle timeouts are coarser than this.
pub(crate) const PROGRESS_INTERVAL: Duration = Duration::from_millis(50);

/// How often the progress of a call becomes an event at most: as often as a screen is drawn; a flood stays outside.
pub(crate) const TOLD_INTERVAL: Duration = Duration::from_millis(100);

/// Characters kept of what a call says of its progress: more than a line shows.
pub(crate) const TOLD_CHARS_MAX: usize = 500;

/// Calls listed in a snapshot per list: more than a screen shows.
pub(crate) const SNAPSHOT_CALLS_MAX: usize = 200;
