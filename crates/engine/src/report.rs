//! The account of a run: what every call gave, when it ran, what it waited for (`fanout run --report`).
//! It does not know how a run is driven.

use crate::event::{Outcome, RunOutcome};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The version of the report format.
pub const REPORT_VERSION: u32 = 1;

/// The account of a run. Times are in milliseconds since it began.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Version of the format.
    pub v: u32,
    /// The run's id.
    pub run: Arc<str>,
    /// The plan's name.
    pub name: Arc<str>,
    /// How it ended.
    pub outcome: RunOutcome,
    /// From begin to end.
    pub wall_ms: f64,
    /// The sum of the times of all attempts as they ran, beside each other; alone, each might have been faster.
    pub calls_ms: f64,
    /// The longest chain of calls each of which had to wait for the one before, by measured times.
    pub critical_path: Vec<Arc<str>>,
    /// The length of that chain: no plan with these dependencies and times can be faster.
    pub critical_path_ms: f64,
    /// `calls_ms / wall_ms`.
    pub speed_up: f64,
    /// Total waiting by kind of cause, in milliseconds.
    pub waits_ms: BTreeMap<Cow<'static, str>, f64>,
    /// Every call in serial (call) order, elements behind their `foreach` call.
    pub calls: Vec<CallReport>,
    /// How many further calls ended how, of a run that forgets calls that were added; those are not in `calls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgotten: Option<Forgotten>,
    /// What became of results that could be handed on, if there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheReport>,
    /// The plan's `output`, filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub output: Option<Arc<RawValue>>,
    /// What would make the next run faster or safer, such as tools whose missing declaration made calls run
    /// one by one.
    pub hints: Vec<String>,
}

/// What became of results that calls could be handed instead of being made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheReport {
    /// All of the run.
    #[serde(flatten)]
    pub total: CacheCounts,
    /// By tool.
    pub tools: BTreeMap<Arc<str>, CacheCounts>,
}

/// What became of results, in numbers. `hits + joined + misses` calls could be handed one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheCounts {
    /// Calls that were handed a result that was kept.
    pub hits: u64,
    /// Calls that were handed the result of an attempt they waited for.
    pub joined: u64,
    /// Calls that were made, since there was nothing for them.
    pub misses: u64,
    /// Results of the run that were kept.
    pub stored: u64,
    /// Of those that were kept, dropped while the run went on, since something they read was written.
    pub dropped: u64,
    /// Dropped to make room while the run went on; on disk, whosever they were.
    pub evicted: u64,
    /// Results on disk that were not what had been stored, or could not be read: they count as misses and are removed.
    pub damaged: u64,
}

impl CacheCounts {
    /// Adds the others.
    pub fn add(&mut self, other: &CacheCounts) {
        let CacheCounts { hits, joined, misses, stored, dropped, evicted, damaged } = other;
        self.hits += hits;
        self.joined += joined;
        self.misses += misses;
        self.stored += stored;
        self.dropped += dropped;
        self.evicted += evicted;
        self.damaged += damaged;
    }
}

/// Calls that a run did not keep, by outcome; a `foreach` call counts with its elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Forgotten {
    /// Ended with a result.
    pub succeeded: u64,
    /// Ended with an error.
    pub failed: u64,
    /// Skipped.
    pub skipped: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Refused.
    pub denied: u64,
    /// Nobody knows whether it took effect.
    pub in_doubt: u64,
}

/// The account of a call.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CallReport {
    /// Its id, with the index when it is an element: `fares[3]`.
    pub id: Arc<str>,
    /// Its tool.
    pub tool: Arc<str>,
    /// How it ended.
    pub outcome: Outcome,
    /// Its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub result: Option<Arc<RawValue>>,
    /// What went wrong, or why it was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<CallError>>,
    /// Attempts started.
    pub attempts: u32,
    /// When each attempt started and ended, where there was more than one, or a doubt after the only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempt_times: Vec<AttemptTimes>,
    /// When its first attempt started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<f64>,
    /// When it ended.
    pub ended_ms: f64,
    /// What it waited for, in order.
    pub waits: Vec<WaitReport>,
    /// Started after something that overlaps its keys ended in doubt.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub after_doubt: bool,
    /// It was handed the result of another call instead of being made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reused: bool,
    /// Processor time of its process, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<f64>,
    /// Largest resident set of its process, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes_max: Option<u64>,
}

/// What went wrong.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CallError {
    /// A stable code with a page under `docs/errors/`.
    pub code: Cow<'static, str>,
    /// What, on what, why, and what to do.
    pub message: String,
    /// More, such as the end of standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// When an attempt ran.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AttemptTimes {
    /// When it started.
    pub started_ms: f64,
    /// When it ended.
    pub ended_ms: f64,
    /// The code of what went wrong, where another attempt or a doubt followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'static, str>>,
}

/// A stretch of waiting.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WaitReport {
    /// The kind of cause: `input`, `key`, `limit`, `rate`, `backoff`, `stop`, `other_run`, `reserved`, `doubt`,
    /// `pause`, `resolve`, `elements`, `approval`, `flight`, `cache`.
    pub cause: Cow<'static, str>,
    /// On which call, limit or rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Arc<str>>,
    /// For which key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Arc<str>>,
    /// How long.
    pub ms: f64,
}
