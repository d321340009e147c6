//! Native tools: Rust functions with typed arguments, registered in two lines; the schema comes from the type.
//! It does not know how their attempts are polled.
//!
//! ```
//! use fanout_tools::{Native, Toolbox};
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! struct Add {
//!     x: i64,
//!     y: i64,
//! }
//!
//! let mut math = Native::new("math");
//! math.add("add", "adds two numbers", |a: Add| async move { Ok(a.x + a.y) }).effects_none();
//! let toolbox: Toolbox = math.into();
//! assert_eq!(&*toolbox.spec.tools[0].name, "math.add");
//! ```

mod call;

use crate::tool::{AttemptId, Progress, Tool, ToolError};
use crate::toolbox::Toolbox;
use fanout_plan::{Approval, CacheSpec, EffectsSpec, InDoubt, Priority, Rate, RetrySpec, ToolSpec, ToolboxSpec};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::TypeId;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A toolbox of Rust functions in the making.
pub struct Native {
    spec: ToolboxSpec,
    tools: Vec<Arc<dyn Tool>>,
}

/// What a function may know about its own attempt.
#[derive(Clone)]
pub struct Context {
    /// Which call of which run and which try.
    pub id: AttemptId,
    /// Fires when the attempt is to end early, or nobody waits for it any more. An async function is dropped
    /// then; a blocking one should look here now and then and return.
    pub aborted: CancellationToken,
    /// Where signs of life go, for tools with an idle timeout.
    pub progress: Progress,
}

/// The tool just added, to say more about it. Nothing said about effects means undeclared: the tool is then
/// taken to write its whole toolbox.
pub struct NativeTool<'a> {
    spec: &'a mut ToolSpec,
}

impl Native {
    /// An empty toolbox. Its tools are named `name.tool`; with an empty name, just `tool`.
    pub fn new(name: &str) -> Native {
        Native { spec: ToolboxSpec { name: name.into(), ..ToolboxSpec::default() }, tools: Vec::new() }
    }

    /// The key that tools without declared effects write, instead of the toolbox's name.
    pub fn key(mut self, key: impl Into<String>) -> Native {
        self.spec.key = Some(key.into());
        self
    }

    /// At most this many attempts of the toolbox at once.
    pub fn running_max(mut self, attempts: u32) -> Native {
        self.spec.running_max = Some(attempts);
        self
    }

    /// At most `count` starts of the toolbox's tools per `per`.
    pub fn rate(mut self, count: u32, per: Duration) -> Native {
        self.spec.rate = Some(Rate { count, per, burst: None });
        self
    }

    /// Adds an async function. At an abort its future is dropped. A panic becomes the error `tool_panicked`.
    ///
    /// It must not block: work that does belongs in [`Native::add_blocking`]. Arguments of type `()` mean that
    /// there are none. The error type is always [`ToolError`], into which strings and I/O errors turn by `?`.
    pub fn add<A, R, F, Fut>(&mut self, name: &str, description: &str, function: F) -> NativeTool<'_>
    where
        A: DeserializeOwned + JsonSchema + Send + 'static,
        R: Serialize + Send + 'static,
        F: Fn(A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, ToolError>> + Send + 'static,
    {
        self.push::<A>(name, description, call::plain(function))
    }

    /// As [`Native::add`], for a function that also wants to know its attempt.
    pub fn add_with<A, R, F, Fut>(&mut self, name: &str, description: &str, function: F) -> NativeTool<'_>
    where
        A: DeserializeOwned + JsonSchema + Send + 'static,
        R: Serialize + Send + 'static,
        F: Fn(Context, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, ToolError>> + Send + 'static,
    {
        self.push::<A>(name, description, call::with_context(function))
    }

    /// Adds a function that blocks or computes for long; it runs on tokio's pool of blocking threads.
    ///
    /// A thread cannot be killed: at an abort the function's [`Context::aborted`] fires and its end is awaited.
    pub fn add_blocking<A, R, F>(&mut self, name: &str, description: &str, function: F) -> NativeTool<'_>
    where
        A: DeserializeOwned + JsonSchema + Send + 'static,
        R: Serialize + Send + 'static,
        F: Fn(Context, A) -> Result<R, ToolError> + Send + Sync + 'static,
    {
        self.push::<A>(name, description, call::blocking(function))
    }

    fn push<A: JsonSchema + 'static>(&mut self, name: &str, description: &str, tool: Arc<dyn Tool>) -> NativeTool<'_> {
        let full = if self.spec.name.is_empty() { name.to_owned() } else { format!("{}.{name}", self.spec.name) };
        self.tools.push(tool);
        self.spec
            .tools
            .push(ToolSpec { description: description.into(), ..ToolSpec::native(full, schema_of_args::<A>()) });
        let last = self.spec.tools.len() - 1;
        NativeTool { spec: &mut self.spec.tools[last] }
    }
}

impl From<Native> for Toolbox {
    fn from(native: Native) -> Toolbox {
        Toolbox::new(native.spec, native.tools)
    }
}

impl NativeTool<'_> {
    /// It touches nothing that another call could see: it runs beside everything.
    pub fn effects_none(self) -> Self {
        self.effects(EffectsSpec::default())
    }

    /// It touches exactly this.
    pub fn effects(self, effects: EffectsSpec) -> Self {
        self.spec.effects = Some(effects);
        self
    }

    /// It reads this key, a template over the arguments such as `file:${args.path}`.
    pub fn reads(self, key: impl Into<String>) -> Self {
        self.spec.effects.get_or_insert_default().reads.push(key.into());
        self
    }

    /// It may write this key, a template over the arguments such as `file:${args.path}`.
    pub fn writes(self, key: impl Into<String>) -> Self {
        self.spec.effects.get_or_insert_default().writes.push(key.into());
        self
    }

    /// Running it twice is as running it once.
    pub fn idempotent(self) -> Self {
        self.spec.effects.get_or_insert_default().idempotent = true;
        self
    }

    /// It destroys something.
    pub fn destructive(self) -> Self {
        self.spec.effects.get_or_insert_default().destructive = true;
        self
    }

    /// The type of its result, as a promise in its schema.
    pub fn result<R: JsonSchema>(self) -> Self {
        self.spec.result_schema = Some(schemars::schema_for!(R).to_value());
        self
    }

    /// At most this many attempts at once.
    pub fn running_max(self, attempts: u32) -> Self {
        self.spec.running_max = Some(attempts);
        self
    }

    /// At most `count` starts per `per`.
    pub fn rate(self, count: u32, per: Duration) -> Self {
        self.spec.rate = Some(Rate { count, per, burst: None });
        self
    }

    /// The longest an attempt may last.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.spec.settings.timeout = Some(timeout);
        self
    }

    /// The longest an attempt may be silent (see [`Context::progress`]).
    pub fn idle_timeout(self, timeout: Duration) -> Self {
        self.spec.settings.idle_timeout = Some(timeout);
        self
    }

    /// How failures are retried.
    pub fn retry(self, retry: RetrySpec) -> Self {
        self.spec.settings.retry = Some(retry);
        self
    }

    /// The priority class of its calls.
    pub fn priority(self, priority: Priority) -> Self {
        self.spec.settings.priority = Some(priority);
        self
    }

    /// Holds `amount` of the limit `name` during each attempt.
    pub fn uses(self, name: impl Into<String>, amount: u64) -> Self {
        self.spec.settings.uses.insert(name.into(), amount);
        self
    }

    /// A first guess of the duration.
    pub fn expect(self, duration: Duration) -> Self {
        self.spec.settings.expect = Some(duration);
        self
    }

    /// Changes when calling it means something else than before: what it gave then is not used again.
    pub fn version(self, version: impl Into<Arc<str>>) -> Self {
        self.spec.version = Some(version.into());
        self
    }

    /// When somebody has to approve a call before it runs.
    pub fn approval(self, approval: Approval) -> Self {
        self.spec.settings.approval = Some(approval);
        self
    }

    /// Whether a result may be handed on instead of asking again.
    pub fn cache(self, cache: CacheSpec) -> Self {
        self.spec.settings.cache = Some(cache);
        self
    }

    /// What to do when nobody knows whether an attempt took effect.
    pub fn in_doubt(self, policy: InDoubt) -> Self {
        self.spec.settings.in_doubt = Some(policy);
        self
    }
}

/// The schema of an object, also for `()`, which serde would take for `null`.
fn schema_of_args<A: JsonSchema + 'static>() -> serde_json::Value {
    if TypeId::of::<A>() == TypeId::of::<()>() {
        return serde_json::json!({"type": "object", "additionalProperties": false});
    }
    schemars::schema_for!(A).to_value()
}
