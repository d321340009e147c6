//! What a tool is, apart from how it is called: schema, effects, limits, settings (`ToolSpec`), and the toolbox it is in.
//! It does not know adapters, runs or files. Everything here can be sent.

use crate::diagnostic::Diagnostic;
use crate::process_spec::TextTemplate;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A source of tools, and what they share.
#[derive(Clone, Debug, Default)]
pub struct ToolboxSpec {
    /// Its name, which is the first part of its tools' names where a reader prefixes them.
    pub name: Arc<str>,
    /// The key that a tool without declared effects writes; the toolbox's name when absent. Toolboxes over one
    /// resource share it.
    pub key: Option<String>,
    /// At most this many attempts of its tools at once.
    pub running_max: Option<u32>,
    /// At most this many starts of its tools in a time.
    pub rate: Option<Rate>,
    /// The tools.
    pub tools: Vec<ToolSpec>,
    /// What of its source is no tool, or not wholly, and where.
    pub warnings: Vec<Diagnostic>,
}

/// Something callable.
#[derive(Clone, Debug)]
pub struct ToolSpec {
    /// Its full name, as plans write it.
    pub name: Arc<str>,
    /// What it does, for people and models.
    pub description: String,
    /// JSON Schema of its arguments.
    pub args_schema: Value,
    /// JSON Schema of its result, if it promises one.
    pub result_schema: Option<Value>,
    /// What it touches; `None`: nothing was declared.
    pub effects: Option<EffectsSpec>,
    /// What its server says of its effects, where that is believed. Counts where nothing was declared.
    pub hints: Option<Hints>,
    /// The directory in which it works: what relative paths of its `file:` keys are relative to. The engine's base
    /// directory when absent, or when it is relative itself.
    pub base_dir: Option<Arc<Path>>,
    /// What of that directory depends on the arguments, relative to `base_dir`.
    pub cwd: Option<TextTemplate>,
    /// Changes when calling it means something else: declared, or a hash of how it is called. What a tool gave under
    /// another version is not used again, and a run is not continued without a word.
    pub version: Option<Arc<str>>,
    /// How it is called, for people: pairs of a name and a text, without secrets.
    pub facts: Vec<(&'static str, String)>,
    /// The tool as its server defines it, for a face that hands it on: MCP's `Tool`.
    pub definition: Option<Arc<RawValue>>,
    /// What kind of adapter it has: decides what an undeclared tool is taken to touch.
    pub kind: ToolKind,
    /// At most this many attempts at once.
    pub running_max: Option<u32>,
    /// At most this many starts in a time.
    pub rate: Option<Rate>,
    /// Settings that a call may override.
    pub settings: SettingsSpec,
}

impl ToolSpec {
    /// Whether the two say the same.
    pub(crate) fn is_as(&self, other: &ToolSpec) -> bool {
        // Taken apart, so that no field is forgotten.
        let ToolSpec {
            name,
            description,
            args_schema,
            result_schema,
            effects,
            hints,
            base_dir,
            cwd,
            version,
            facts,
            definition,
            kind,
            running_max,
            rate,
            settings,
        } = self;
        (name, description, args_schema, result_schema)
            == (&other.name, &other.description, &other.args_schema, &other.result_schema)
            && (effects, hints, base_dir, cwd, version)
                == (&other.effects, &other.hints, &other.base_dir, &other.cwd, &other.version)
            && (facts, kind, running_max, rate, settings)
                == (&other.facts, &other.kind, &other.running_max, &other.rate, &other.settings)
            && definition.as_deref().map(RawValue::get) == other.definition.as_deref().map(RawValue::get)
    }
}

impl ToolSpec {
    /// A function of this program of which nothing more is declared.
    ///
    /// ```
    /// use fanout_plan::{EffectsSpec, ToolSpec};
    /// let any = serde_json::json!({"type": "object"});
    /// let spec = ToolSpec { effects: Some(EffectsSpec::default()), ..ToolSpec::native("now", any) };
    /// assert_eq!(&*spec.name, "now");
    /// ```
    pub fn native(name: impl Into<Arc<str>>, args_schema: Value) -> ToolSpec {
        ToolSpec {
            name: name.into(),
            description: String::new(),
            args_schema,
            result_schema: None,
            effects: None,
            hints: None,
            base_dir: None,
            cwd: None,
            version: None,
            facts: Vec::new(),
            definition: None,
            kind: ToolKind::Native,
            running_max: None,
            rate: None,
            settings: SettingsSpec::default(),
        }
    }
}

/// The kinds of adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolKind {
    /// A function of this program.
    Native,
    /// A program.
    Process,
    /// A request to a server.
    Http,
    /// A tool of an MCP server.
    Mcp,
}

/// What a server says of the effects of a tool. What exactly it touches is not said: it is taken to be its toolbox's
/// key, and all that its siblings declare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// It changes nothing.
    pub read_only: bool,
    /// Calling it twice is as calling it once.
    pub idempotent: bool,
    /// It destroys something.
    pub destructive: bool,
}

/// What a tool or call touches. `reads`/`writes` are key templates such as `file:${args.path}`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EffectsSpec {
    /// Templates of the keys it reads.
    pub reads: Vec<String>,
    /// Templates of the keys it may write.
    pub writes: Vec<String>,
    /// Running it twice is as running it once.
    pub idempotent: bool,
    /// It destroys something.
    pub destructive: bool,
}

/// Settings of a tool, overridden by those of a call, overridden by nothing. Absent: the default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SettingsSpec {
    /// The longest an attempt may last.
    pub timeout: Option<Duration>,
    /// The longest an attempt may be silent.
    pub idle_timeout: Option<Duration>,
    /// How failures are retried.
    pub retry: Option<RetrySpec>,
    /// The priority class.
    pub priority: Option<Priority>,
    /// Named amounts held during an attempt.
    pub uses: BTreeMap<String, u64>,
    /// A first guess of the duration.
    pub expect: Option<Duration>,
    /// What to do when nobody knows whether an attempt took effect.
    pub in_doubt: Option<InDoubt>,
    /// When somebody has to approve a call before it runs; never when absent.
    pub approval: Option<Approval>,
    /// How long that may take before it counts as denied.
    pub approval_timeout: Option<Duration>,
    /// Whether a result may be handed on instead of asking again; not when absent.
    pub cache: Option<CacheSpec>,
}

/// How failures are retried; absent fields have defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RetrySpec {
    /// All attempts, the first included.
    pub attempts: Option<u32>,
    /// The delay before the second attempt.
    pub backoff: Option<Duration>,
    /// What the delay is multiplied with each time.
    pub factor: Option<f64>,
    /// The longest delay.
    pub backoff_max: Option<Duration>,
}

/// What to do when nobody knows whether an attempt took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InDoubt {
    /// The outcome is in doubt.
    Fail,
    /// A new attempt.
    Rerun,
    /// Ask somebody.
    Ask,
}

/// Whether a result may be handed on to calls of the same tool with the same arguments. Only of tools that write
/// nothing; a write to what was read ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSpec {
    /// For whom a result is kept; `None`: for nobody.
    pub scope: Option<CacheScope>,
    /// How old it may be; as old as its scope when absent.
    pub ttl: Option<Duration>,
}

/// For whom a result is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheScope {
    /// The calls of one run.
    Run,
    /// All runs of an engine.
    Engine,
    /// All runs of all engines with the same state directory; as `Engine` in one without.
    Disk,
}

/// When somebody has to approve a call before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Each call.
    Always,
    /// Calls whose effects are declared destructive.
    Destructive,
    /// None.
    Never,
}

/// The priority classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    /// After everything else.
    Lowest,
    /// After normal calls.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Before normal calls.
    High,
    /// Before everything else.
    Highest,
}

/// A rate such as `10/s` or `100/min`, with how many may come at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Starts per `per`.
    pub count: u32,
    /// The time.
    pub per: Duration,
    /// How many may come at once; `count` when absent.
    pub burst: Option<u32>,
}
