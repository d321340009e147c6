//! Doing attempts: inline where a tool ends at once, else in a task of its own that reports to the inbox.
//! It does not know what an attempt's end means.

use crate::defaults;
use crate::handle::{CURRENT, Current, EngineInner, inline};
use crate::message::Message;
use crate::promise;
use fanout_core::{AttemptRef, Time};
use fanout_plan::{Catalog, CatalogTool, ToolId, ToolKind};
use fanout_tools::{
    Aborted, Attempt, AttemptId, Ear, ErrorClass, JsonText, Peer, Progress, Reached, Tool, ToolError, ToolFuture,
    ToolResult,
};
use futures_util::FutureExt;
use hashbrown::HashMap;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

/// The adapters of an engine and the attempts that run in tasks.
pub(crate) struct Attempts {
    tools: Vec<AnyTool>,
    live: HashMap<AttemptRef, Live>,
    /// For the next inline attempt. One that ends at once never looks at it, so it serves the next; one
    /// that does not end at once keeps it.
    spare: Aborted,
    home: Arc<Home>,
}

/// Where attempts that have a task report to, in one piece: it is counted once per attempt, by several threads.
pub(crate) struct Home {
    pub(crate) engine: Weak<EngineInner>,
    inbox: UnboundedSender<Message>,
}

struct AnyTool {
    tool: Arc<dyn Tool>,
    /// What its results have to be.
    promise: Option<Arc<CatalogTool>>,
    /// Its futures may be polled once in the driver before they get a task.
    native: bool,
    /// Attempts that get a task at once, because a poll took too long.
    barred: u32,
    /// How many those will be next time.
    bar: u32,
}

impl AnyTool {
    fn new(tool: Arc<dyn Tool>, described: &Arc<CatalogTool>) -> AnyTool {
        let native = described.spec.kind == ToolKind::Native;
        AnyTool { tool, promise: promise::of(described), native, barred: 0, bar: defaults::INLINE_BAR }
    }

    fn inline(&mut self) -> bool {
        if self.barred > 0 {
            self.barred -= 1;
            return false;
        }
        self.native
    }

    /// A poll took this long. One that was too long costs the tool its privilege for a while, not for ever, since it
    /// may have been the machine that was slow; every further one costs it four times as much.
    fn polled(&mut self, took: Duration) {
        if took > defaults::INLINE_POLL_MAX {
            self.barred = self.bar;
            self.bar = self.bar.saturating_mul(4).min(defaults::INLINE_BAR_MAX);
        } else if self.bar > defaults::INLINE_BAR {
            self.bar -= 1;
        }
    }
}

/// An attempt in a task.
pub(crate) struct Live {
    pub(crate) started: Time,
    aborted: Aborted,
    task: AbortHandle,
}

/// What became of an attempt that was started.
pub(crate) struct Started {
    /// What it ended with; of one that goes on the inbox will hear.
    pub(crate) result: Option<ToolResult>,
    /// It was polled here.
    pub(crate) polled: bool,
}

/// What is needed to start an attempt.
pub(crate) struct ToStart {
    pub(crate) attempt: AttemptRef,
    pub(crate) tool: ToolId,
    pub(crate) run: Arc<str>,
    pub(crate) call: Arc<str>,
    pub(crate) args: JsonText,
    /// Whether signs of life are wanted.
    pub(crate) progress: bool,
    /// Who hears what it tells, beside its peer.
    pub(crate) ear: Option<Ear>,
    pub(crate) peer: Option<Arc<dyn Peer>>,
}

impl Attempts {
    pub(crate) fn new(
        tools: Vec<Arc<dyn Tool>>,
        catalog: &Catalog,
        inbox: UnboundedSender<Message>,
        engine: Weak<EngineInner>,
    ) -> Attempts {
        let tools = tools.into_iter().zip(catalog.tools()).map(|(tool, described)| AnyTool::new(tool, described));
        let (tools, home) = (tools.collect(), Arc::new(Home { engine, inbox }));
        Attempts { tools, live: HashMap::new(), spare: Aborted::new(), home }
    }

    /// These tools are called so from now on. Attempts that run are not touched.
    pub(crate) fn set_tools(&mut self, adapters: Vec<(ToolId, Arc<dyn Tool>)>, catalog: &Catalog) {
        for (id, tool) in adapters {
            let new = AnyTool::new(tool, catalog.shared(id));
            match self.tools.get_mut(id.0 as usize) {
                Some(known) => known.tool = new.tool,
                None => {
                    debug_assert_eq!(id.0 as usize, self.tools.len(), "numbers are given out in order");
                    self.tools.push(new);
                }
            }
        }
    }

    /// Starts an attempt at `started`. Whoever calls this says how long a poll took ([`Attempts::polled`]).
    pub(crate) fn start(&mut self, start: ToStart, started: Time) -> Started {
        let ToStart { attempt, tool, run, call, args, progress, ear, peer } = start;
        let mut progress = if progress { self.progress(attempt) } else { Progress::none() };
        if let Some(ear) = ear {
            progress = progress.heard_by(ear);
        }
        let id = AttemptId { run, call, attempt: attempt.attempt };
        let entry = &mut self.tools[tool.0 as usize];
        if !entry.inline() {
            let aborted = Aborted::new();
            let given = Attempt { args, id, aborted: aborted.clone(), progress, peer };
            let call = || catch_unwind(AssertUnwindSafe(|| entry.tool.call(given)));
            return match inline(attempt, call) {
                Ok(future) => {
                    let promise = entry.promise.clone();
                    self.spawn(attempt, future, aborted, started, promise);
                    Started { result: None, polled: false }
                }
                Err(panic) => Started { result: Some(Err(panicked(&*panic))), polled: false },
            };
        }
        let given = Attempt { args, id, aborted: self.spare.clone(), progress, peer };
        let poll = || {
            catch_unwind(AssertUnwindSafe(|| {
                let mut future = entry.tool.call(given);
                match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(result) => Ok(result),
                    Poll::Pending => Err(future),
                }
            }))
        };
        let result = match inline(attempt, poll) {
            Ok(Ok(result)) => Some(result),
            Ok(Err(future)) => {
                let aborted = std::mem::take(&mut self.spare);
                self.spawn(attempt, future, aborted, started, None);
                None
            }
            Err(panic) => Some(Err(panicked(&*panic))),
        };
        Started { result, polled: true }
    }

    /// A poll in the driver of an attempt of this tool took this long.
    pub(crate) fn polled(&mut self, tool: ToolId, took: Duration) {
        self.tools[tool.0 as usize].polled(took);
    }

    fn progress(&self, attempt: AttemptRef) -> Progress {
        let inbox = self.home.inbox.clone();
        Progress::every(defaults::PROGRESS_INTERVAL, move || {
            // Fails only when the driver is gone, and then nobody waits.
            let _ = inbox.send(Message::Progressed { attempt });
        })
    }

    fn spawn(
        &mut self,
        attempt: AttemptRef,
        future: ToolFuture,
        aborted: Aborted,
        started: Time,
        promise: Option<Arc<CatalogTool>>,
    ) {
        let current = Current { home: Arc::clone(&self.home), attempt };
        let task = tokio::spawn(CURRENT.scope(current, async move {
            let result = AssertUnwindSafe(future).catch_unwind().await;
            let mut result = result.unwrap_or_else(|panic| Err(panicked(&*panic)));
            if let Some(tool) = promise {
                result = promise::checked(&tool, result);
            }
            // Fails only when the driver is gone, and then nobody waits.
            CURRENT.with(|current| _ = current.home.inbox.send(Message::Finished { attempt, result }));
        }));
        self.live.insert(attempt, Live { started, aborted, task: task.abort_handle() });
    }

    /// Tells an attempt to end. It still reports.
    pub(crate) fn abort(&self, attempt: AttemptRef) {
        if let Some(live) = self.live.get(&attempt) {
            live.aborted.cancel();
        }
    }

    /// How many attempts run in tasks.
    pub(crate) fn in_tasks(&self) -> usize {
        self.live.len()
    }

    /// An attempt reported. `None` when it was given up before: then its report counts for nothing.
    pub(crate) fn reported(&mut self, attempt: AttemptRef) -> Option<Live> {
        self.live.remove(&attempt)
    }

    /// Nobody waits for an attempt any more: one that did not heed its abort is dropped, and given back.
    pub(crate) fn give_up(&mut self, attempt: AttemptRef) -> Option<Live> {
        if self.live.is_empty() {
            return None;
        }
        let live = self.live.remove(&attempt)?;
        live.aborted.cancel();
        live.task.abort();
        Some(live)
    }
}

impl Drop for Attempts {
    fn drop(&mut self) {
        for live in self.live.values() {
            live.aborted.cancel();
            live.task.abort();
        }
    }
}

/// A tool panicked: a failure of that attempt and of nothing else.
fn panicked(panic: &(dyn Any + Send)) -> ToolError {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    ToolError {
        class: ErrorClass::Permanent,
        code: "tool_panicked",
        message: format!("the tool panicked: {text}"),
        retry_after: None,
        reached: Reached::Yes,
        detail: None,
        whole: None,
    }
}
