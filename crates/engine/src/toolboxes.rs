//! The toolboxes of an engine: replaced while runs go on, by whoever holds the engine or by the servers behind them.
//! It does not know runs: the driver gets the tools as they are from now on.

use crate::handle::{Engine, EngineInner};
use crate::message::{Message, NewTools};
use crate::tables::{BoxLimits, Tables};
use fanout_plan::Diagnostic;
use fanout_tools::{Live, Remote, Toolbox};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What is known of the tools now. Changes are made one after the other, and in that order they reach the driver.
pub(crate) struct Toolboxes {
    state: Mutex<State>,
    /// Counts the changes.
    version: watch::Sender<u64>,
    /// Where servers are listened to.
    runtime: Handle,
}

struct State {
    tables: Arc<Tables>,
    servers: BTreeMap<Arc<str>, Served>,
    /// Why what a server told last was not taken over.
    problems: BTreeMap<Arc<str>, Vec<Diagnostic>>,
}

struct Served {
    server: Arc<dyn Remote>,
    /// Ends the task that listens to it.
    _listening: DropGuard,
}

impl Toolboxes {
    /// Has to be called within a runtime.
    pub(crate) fn new(tables: Arc<Tables>) -> Toolboxes {
        let state = State { tables, servers: BTreeMap::new(), problems: BTreeMap::new() };
        Toolboxes { state: Mutex::new(state), version: watch::Sender::new(0), runtime: Handle::current() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is made in one step at its end, so that a panic cannot leave half of one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tables(&self) -> Arc<Tables> {
        self.lock().tables.clone()
    }

    /// Listens to the server of a toolbox from now on, instead of the one before it.
    pub(crate) fn serve(&self, engine: Weak<EngineInner>, name: Arc<str>, live: Live) {
        let ended = CancellationToken::new();
        let Live { server, updates } = live;
        self.runtime.spawn(listen(engine, name.clone(), updates, ended.clone()));
        self.lock().servers.insert(name, Served { server, _listening: ended.drop_guard() });
    }
}

/// Takes over what a server says its tools are, until it or the engine is gone.
async fn listen(
    engine: Weak<EngineInner>,
    name: Arc<str>,
    mut updates: mpsc::Receiver<Toolbox>,
    ended: CancellationToken,
) {
    loop {
        let update = tokio::select! {
            biased;
            () = ended.cancelled() => return,
            update = updates.recv() => update,
        };
        let (Some(mut toolbox), Some(inner)) = (update, engine.upgrade()) else { return };
        toolbox.spec.name = name.clone();
        Engine { inner }.take_update(toolbox);
    }
}

impl Engine {
    /// Replaces the toolbox of this name, or adds it, while runs go on: calls already listed keep the tool they were
    /// checked against, others see the new ones. A tool that is what it was stays the same tool and is called as the
    /// new toolbox says.
    ///
    /// # Errors
    /// As [`EngineBuilder::build`](crate::EngineBuilder::build); `toolbox_unclear` when several toolboxes have this
    /// name; `too_many_tools` when too much has changed. Then all stays as it was.
    pub fn set_toolbox(&self, mut toolbox: Toolbox) -> Result<(), Vec<Diagnostic>> {
        let name = toolbox.spec.name.clone();
        let live = toolbox.live.take();
        self.replace(toolbox)?;
        // The task of the server before it ends with the guard.
        drop(self.inner.toolboxes.lock().servers.remove(&name));
        if let Some(live) = live {
            self.inner.toolboxes.serve(Arc::downgrade(&self.inner), name, live);
        }
        Ok(())
    }

    /// The servers behind toolboxes that live elsewhere, by the name of the toolbox.
    pub fn servers(&self) -> BTreeMap<Arc<str>, Arc<dyn Remote>> {
        let state = self.inner.toolboxes.lock();
        state.servers.iter().map(|(name, served)| (name.clone(), served.server.clone())).collect()
    }

    /// Counts up each time [`Engine::catalog`] gives something else, and when [`Engine::toolbox_problems`] does.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use fanout::{Engine, Native};
    ///
    /// let engine = Engine::builder().build().expect("an engine without tools");
    /// let mut changes = engine.catalog_changes();
    /// let mut math = Native::new("math");
    /// math.add("one", "Gives one.", |_: ()| async { Ok(1) }).effects_none();
    /// engine.set_toolbox(math.into()).expect("a good toolbox");
    /// changes.changed().await.expect("the engine is there");
    /// assert!(engine.catalog().find("math.one").is_some());
    /// # }
    /// ```
    pub fn catalog_changes(&self) -> watch::Receiver<u64> {
        self.inner.toolboxes.version.subscribe()
    }

    /// What is wrong with what servers said last of their tools, by the name of the toolbox: those toolboxes are as they
    /// were before.
    pub fn toolbox_problems(&self) -> BTreeMap<Arc<str>, Vec<Diagnostic>> {
        self.inner.toolboxes.lock().problems.clone()
    }

    /// A server told what its tools are.
    fn take_update(&self, mut toolbox: Toolbox) {
        let name = toolbox.spec.name.clone();
        if let Some(live) = toolbox.live.take() {
            self.inner.toolboxes.serve(Arc::downgrade(&self.inner), name.clone(), live);
        }
        if let Err(problems) = self.replace(toolbox) {
            self.inner.toolboxes.lock().problems.insert(name, problems);
            self.inner.toolboxes.version.send_modify(|version| *version += 1);
        }
    }

    fn replace(&self, toolbox: Toolbox) -> Result<(), Vec<Diagnostic>> {
        let Toolbox { spec, tools, .. } = toolbox;
        let limits = BoxLimits::from(&spec);
        let mut state = self.inner.toolboxes.lock();
        let name = spec.name.clone();
        let changed = state.tables.catalog.with(spec)?;
        let (tables, events) = state.tables.with(&changed, &limits);
        let tables = Arc::new(tables);
        let adapters = changed.tools.iter().copied().zip(tools).collect();
        // Under the lock, so that what is translated by these tables reaches the driver after them.
        self.send(Message::Tools(Box::new(NewTools { tables: tables.clone(), adapters, events })));
        state.tables = tables;
        let mended = state.problems.remove(&name).is_some();
        drop(state);
        if changed.changed || mended {
            self.inner.toolboxes.version.send_modify(|version| *version += 1);
        }
        Ok(())
    }
}
