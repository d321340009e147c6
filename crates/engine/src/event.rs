//! What a run tells while it goes on: one `RunEvent` per fact, as people and programs read them (`--events`).
//! It does not know who listens.

use crate::telling::CallProgress;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The version of the event format; raised when a field changes its meaning or goes.
pub const EVENTS_VERSION: u32 = 1;

/// One fact about a run. As JSON one object: `{"v":1,"seq":4,"at_ms":12.5,"type":"call_started","call":"fares[0]",…}`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RunEvent {
    /// Version of the format.
    pub v: u32,
    /// Counts up from 0 without a gap; a gap means that events were dropped for a reader that was too slow.
    pub seq: u64,
    /// Milliseconds since the run began.
    pub at_ms: f64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum What {
    /// The run began.
    RunStarted {
        /// Its id.
        run: Arc<str>,
        /// The plan's name.
        name: Arc<str>,
        /// How many calls it lists.
        calls: usize,
    },
    /// It goes on from the record of an earlier process.
    RunRecovered {
        /// How many calls had ended.
        ended: usize,
        /// How many attempts were under way when that process died.
        lost: usize,
    },
    /// A `foreach` call became this many calls.
    CallExpanded {
        /// Its id.
        call: Arc<str>,
        /// How many elements.
        elements: u32,
    },
    /// An attempt started.
    CallStarted {
        /// The call's id.
        call: Arc<str>,
        /// Its tool.
        tool: Arc<str>,
        /// Which try, from 1.
        attempt: u32,
        /// Something that overlaps its keys ended in doubt before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        after_doubt: bool,
    },
    /// An attempt failed and will be followed by another.
    CallRetried {
        /// The call's id.
        call: Arc<str>,
        /// The attempt that failed.
        attempt: u32,
        /// The error's code.
        code: String,
        /// The error's message.
        message: String,
        /// Milliseconds until the next attempt.
        delay_ms: f64,
    },
    /// An attempt is being ended early.
    CallAborted {
        /// The call's id.
        call: Arc<str>,
        /// The attempt.
        attempt: u32,
        /// Why: `timeout`, `idle_timeout`, `cancelled`, `deadline`, `stopped`.
        reason: String,
    },
    /// An attempt is in doubt and waits for an answer.
    CallDoubted {
        /// The call's id.
        call: Arc<str>,
        /// The attempt.
        attempt: u32,
    },
    /// A running call told how far it is. At most one in 100 ms for each call: what is told in between is left out.
    CallProgressed {
        /// The call's id.
        call: Arc<str>,
        /// The attempt.
        attempt: u32,
        /// How far.
        #[serde(flatten)]
        progress: CallProgress,
    },
    /// A call may run only when somebody approves it.
    ApprovalAsked {
        /// The call's id.
        call: Arc<str>,
        /// Its tool.
        tool: Arc<str>,
        /// Its arguments.
        args: serde_json::Value,
        /// Whether its effects are declared destructive.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        destructive: bool,
        /// Milliseconds until it counts as denied.
        within_ms: f64,
    },
    /// Somebody approved a call.
    ApprovalGiven {
        /// The call's id.
        call: Arc<str>,
        /// With other arguments than those it was asked for with.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        edited: bool,
    },
    /// A call has its outcome.
    CallEnded {
        /// The call's id.
        call: Arc<str>,
        /// How it ended.
        outcome: Outcome,
        /// The error's code, where there is an error.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        /// The error's message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// Milliseconds from its first start to its end; 0 when it never started.
        ran_ms: f64,
        /// Milliseconds from its listing to its first start or end.
        waited_ms: f64,
    },
    /// The run was asked to end early.
    RunCancelling {
        /// Whether running calls are aborted.
        force: bool,
    },
    /// The run was paused.
    RunPaused,
    /// The run was resumed.
    RunResumed,
    /// All calls ended. The last event.
    RunEnded {
        /// How.
        outcome: RunOutcome,
    },
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// With a result.
    Succeeded,
    /// With an error.
    Failed,
    /// Not needed, or what it needs has no result.
    Skipped,
    /// Cancelled.
    Cancelled,
    /// Refused by somebody.
    Denied,
    /// Nobody knows whether it took effect.
    InDoubt,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// Every call succeeded, was skipped by its `when`, or has an `on_failure` value.
    Succeeded,
    /// Some call failed or is in doubt.
    Failed,
    /// It was cancelled, or its deadline passed; or a call was cancelled and none failed.
    Cancelled,
}
