//! The words of the core in the words of the public API, and those of tools in those of the core.
//! It does not know what they are said about.

use crate::event::Outcome;
use fanout_core::{AbortReason, Reached};

/// The public word for the core's outcome.
pub(crate) fn outcome(outcome: fanout_core::Outcome) -> Outcome {
    match outcome {
        fanout_core::Outcome::Succeeded => Outcome::Succeeded,
        fanout_core::Outcome::Failed => Outcome::Failed,
        fanout_core::Outcome::Skipped => Outcome::Skipped,
        fanout_core::Outcome::Cancelled => Outcome::Cancelled,
        fanout_core::Outcome::Denied => Outcome::Denied,
        fanout_core::Outcome::InDoubt => Outcome::InDoubt,
    }
}

/// The same as `outcome('id')` gives it in an expression.
pub(crate) fn outcome_name(outcome: fanout_core::Outcome) -> &'static str {
    match outcome {
        fanout_core::Outcome::Succeeded => "succeeded",
        fanout_core::Outcome::Failed => "failed",
        fanout_core::Outcome::Skipped => "skipped",
        fanout_core::Outcome::Cancelled => "cancelled",
        fanout_core::Outcome::Denied => "denied",
        fanout_core::Outcome::InDoubt => "in_doubt",
    }
}

/// Whether this outcome keeps a run from having succeeded.
pub(crate) fn is_failure(outcome: fanout_core::Outcome) -> bool {
    use fanout_core::Outcome::{Denied, Failed, InDoubt};
    matches!(outcome, Failed | InDoubt | Denied)
}

/// What a tool says of having been reached.
pub(crate) fn reached(reached: fanout_tools::Reached) -> Reached {
    match reached {
        fanout_tools::Reached::No => Reached::No,
        fanout_tools::Reached::Yes => Reached::Yes,
        fanout_tools::Reached::Unknown => Reached::Unknown,
    }
}

/// Why an attempt is aborted, in a sentence.
pub(crate) fn abort_message(reason: AbortReason) -> &'static str {
    match reason {
        AbortReason::Timeout => "the attempt lasted longer than its `timeout`",
        AbortReason::IdleTimeout => "the attempt was silent for longer than its `idle_timeout`",
        AbortReason::Stopped => "the plan says `on_failure: stop`, and an earlier call did not succeed",
        AbortReason::Cancelled => "it was cancelled",
        AbortReason::Deadline => "the `deadline` of the run passed",
    }
}

/// Why an attempt is aborted, as events say it.
pub(crate) fn abort_reason(reason: AbortReason) -> &'static str {
    match reason {
        AbortReason::Timeout => "timeout",
        AbortReason::IdleTimeout => "idle_timeout",
        AbortReason::Stopped => "stopped",
        AbortReason::Cancelled => "cancelled",
        AbortReason::Deadline => "deadline",
    }
}

/// How a run ended, as it is written.
pub(crate) fn run_outcome_name(outcome: crate::event::RunOutcome) -> &'static str {
    match outcome {
        crate::event::RunOutcome::Succeeded => "succeeded",
        crate::event::RunOutcome::Failed => "failed",
        crate::event::RunOutcome::Cancelled => "cancelled",
    }
}
