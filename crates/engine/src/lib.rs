//! The library: engines that run plans of tool calls in parallel with sequential meaning.
//! It does not know screens, command lines or networks.
//!
//! A [`Plan`] lists calls of tools; a call's arguments may refer to other calls' results. An [`Engine`] holds the
//! tools, checks a plan ([`Engine::validate`]), runs it ([`Engine::run`]) and gives a [`Report`]. Calls start as
//! soon as their inputs, keys and limits allow; what comes out is what running them one by one would have given.
//!
//! See [`Engine`] for an example that runs.
mod approval;
mod attempts;
mod breaks;
mod builder;
mod canonical;
mod critical_path;
mod defaults;
mod disk;
mod driver;
mod durable;
mod ended;
mod ends;
mod event;
mod event_log;
mod forget;
mod handle;
mod hints;
mod message;
mod promise;
mod report;
mod resolve;
mod reuse;
mod run;
mod schedule;
mod snapshot;
mod so_far;
mod submitted;
mod tables;
mod take_over;
mod telling;
mod toolboxes;
mod translate;
mod words;

pub use approval::Approve;
pub use builder::EngineBuilder;
pub use durable::{Durable, RecordedRun, Resume, Started, ToolChange, plan_hash};
pub use event::{EVENTS_VERSION, Outcome, RunEvent, RunOutcome, What};
pub use event_log::EventStream;
pub use handle::{Cancel, DoubtAnswer, Engine, Parent, RunHandle, RunOptions};
pub use report::{
    AttemptTimes, CacheCounts, CacheReport, CallError, CallReport, Forgotten, REPORT_VERSION, Report, WaitReport,
};
pub use schedule::{Schedule, ScheduledCall, ScheduledKey, ScheduledWait};
pub use snapshot::{Counts, RunningCall, Snapshot, WaitingCall};
pub use so_far::{Question, SoFar};
pub use submitted::{CallEnd, Submitted};
pub use telling::CallProgress;

pub use fanout_plan as plan;
pub use fanout_plan::{
    Approval, CacheScope, CacheSpec, Call, CallOnFailure, Catalog, CatalogTool, Diagnostic, EffectsSpec, InDoubt,
    InputSpec, Place, Plan, PlanOnFailure, Priority, Rate, RetrySpec, SettingsSpec, Severity, ToolId, ToolKind,
    ToolSpec, ToolboxSpec, ValidPlan,
};
/// What is kept on disk: runs, their records, answers left for them.
pub mod state {
    pub use crate::durable::wall_clock as now;
    pub use crate::take_over::{discard, is_held};
    pub use fanout_core::Time;
    pub use fanout_store::{
        Answer, CacheBounds, CacheHeld, Cleared, Counts, JsonText, Keep, Pruned, Reader, Record, RunInfo, RunList,
        RunState, StoreError, ToolHeld, cache_clear, cache_held, leave_answer, prune, take_answers, would_prune,
    };
}
pub use fanout_tools as tools;
pub use fanout_tools::{
    Aborted, AnswerFuture, Attempt, AttemptId, Context, ErrorClass, JsonText, Live, Native, NativeTool, Peer,
    PeerRequest, Progress, Reached, Remote, Told, Tool, ToolError, ToolFuture, ToolOutput, ToolResult, Toolbox, Usage,
};

/// The examples of the page about the library, so that they are tested.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/library.md")]
struct LibraryPage;

/// The example of the first page, likewise.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct FirstPage;
