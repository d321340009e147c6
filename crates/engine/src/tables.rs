//! What an engine knows of its tools: limits and rates with the numbers the core knows them by.
//! It does not know runs.

use fanout_core::{Event, LimitId, RateId};
use fanout_plan::{Catalog, Changed, Rate, ToolId, ToolboxSpec};
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Numbers and names of an engine. What has a number keeps it when toolboxes change.
#[derive(Clone)]
pub(crate) struct Tables {
    pub(crate) catalog: Arc<Catalog>,
    /// The engine's named amounts, as plans are validated against them.
    pub(crate) amounts: Arc<BTreeMap<String, u64>>,
    /// The same with their numbers.
    pub(crate) engine_limits: Arc<BTreeMap<Arc<str>, (LimitId, u64)>>,
    /// The limit every attempt takes one of.
    pub(crate) running: LimitId,
    /// What relative `file:` keys are relative to; canonical.
    pub(crate) base_dir: Arc<Path>,
    limits: BTreeMap<LimitId, (Arc<str>, u64)>,
    rates: Vec<(Arc<str>, Rate)>,
    /// By toolbox, in the order they were given.
    toolboxes: Vec<OwnLimits>,
    /// By the name of the tool, whatever it is now.
    named: HashMap<Arc<str>, OwnLimits>,
    /// By number.
    tools: Vec<ToolLimits>,
    next_limit: Arc<AtomicU32>,
}

/// What every attempt of a tool counts against, besides what its settings say.
#[derive(Clone, Default)]
pub(crate) struct ToolLimits {
    pub(crate) needs: SmallVec<[LimitId; 2]>,
    pub(crate) rates: SmallVec<[RateId; 2]>,
}

/// The numbers of what a tool or a toolbox limits.
#[derive(Clone, Copy, Default)]
struct OwnLimits {
    running: Option<LimitId>,
    rate: Option<RateId>,
}

/// What a toolbox says that all its tools count against.
#[derive(Clone)]
pub(crate) struct BoxLimits {
    name: Arc<str>,
    running_max: Option<u32>,
    rate: Option<Rate>,
}

impl From<&ToolboxSpec> for BoxLimits {
    fn from(spec: &ToolboxSpec) -> BoxLimits {
        BoxLimits { name: spec.name.clone(), running_max: spec.running_max, rate: spec.rate }
    }
}

impl Tables {
    pub(crate) fn new(
        catalog: Arc<Catalog>,
        toolboxes: &[BoxLimits],
        amounts: BTreeMap<String, u64>,
        base_dir: PathBuf,
    ) -> Tables {
        let mut tables = Tables {
            catalog,
            amounts: Arc::default(),
            engine_limits: Arc::default(),
            running: LimitId(0),
            base_dir: base_dir.into(),
            limits: BTreeMap::new(),
            rates: Vec::new(),
            toolboxes: Vec::new(),
            named: HashMap::new(),
            tools: Vec::new(),
            next_limit: Arc::default(),
        };
        let mut engine_limits = BTreeMap::new();
        for (name, amount) in &amounts {
            let id = tables.run_limit();
            tables.limits.insert(id, (name.as_str().into(), *amount));
            engine_limits.insert(name.as_str().into(), (id, *amount));
            if name == "running" {
                tables.running = id;
            }
        }
        tables.amounts = Arc::new(amounts);
        tables.engine_limits = Arc::new(engine_limits);
        for (index, toolbox) in toolboxes.iter().enumerate() {
            tables.limit_toolbox(index, toolbox);
        }
        tables.limit_tools();
        tables
    }

    /// The same with one toolbox replaced, and what the core has to be told of it.
    pub(crate) fn with(&self, changed: &Changed, toolbox: &BoxLimits) -> (Tables, Vec<Event>) {
        let mut tables = Tables { catalog: changed.catalog.clone(), ..self.clone() };
        tables.limit_toolbox(changed.toolbox_index as usize, toolbox);
        tables.limit_tools();
        let limits = tables.limits.iter().filter(|(id, limit)| self.limits.get(id) != Some(*limit));
        let rates = tables.rates.iter().enumerate().filter(|(id, rate)| self.rates.get(*id) != Some(*rate));
        let events = limits.map(limit_set).chain(rates.map(rate_set)).collect();
        (tables, events)
    }

    fn limit_toolbox(&mut self, index: usize, toolbox: &BoxLimits) {
        let before = self.toolboxes.get(index).copied().unwrap_or_default();
        let own = self.own_limits(before, &format!("toolbox {}", toolbox.name), toolbox.running_max, toolbox.rate);
        match self.toolboxes.get_mut(index) {
            Some(known) => *known = own,
            None => self.toolboxes.push(own),
        }
    }

    /// What the tools count against that are new.
    fn limit_tools(&mut self) {
        let catalog = self.catalog.clone();
        for id in (self.tools.len()..catalog.ids() as usize).map(|id| ToolId(u32::try_from(id).unwrap_or(u32::MAX))) {
            let tool = catalog.tool(id);
            let spec = &tool.spec;
            let before = self.named.get(&spec.name).copied().unwrap_or_default();
            let own = self.own_limits(before, &format!("tool {}", spec.name), spec.running_max, spec.rate);
            if own.running.is_some() || own.rate.is_some() {
                self.named.insert(spec.name.clone(), own);
            }
            let toolbox = self.toolboxes.get(tool.toolbox_index as usize).copied().unwrap_or_default();
            let both = [toolbox, own];
            self.tools.push(ToolLimits {
                needs: both.iter().filter_map(|limits| limits.running).collect(),
                rates: both.iter().filter_map(|limits| limits.rate).collect(),
            });
        }
    }

    /// What has a number keeps it.
    fn own_limits(&mut self, before: OwnLimits, name: &str, running_max: Option<u32>, rate: Option<Rate>) -> OwnLimits {
        let running = running_max.map(|max| {
            let id = before.running.unwrap_or_else(|| self.run_limit());
            self.limits.insert(id, (name.into(), u64::from(max)));
            id
        });
        let rate = rate.map(|rate| match before.rate {
            Some(id) => {
                self.rates[id.0 as usize].1 = rate;
                id
            }
            None => {
                self.rates.push((name.into(), rate));
                RateId(u32::try_from(self.rates.len() - 1).unwrap_or(u32::MAX))
            }
        });
        OwnLimits { running, rate }
    }

    /// A number for a limit, such as one that belongs to one run.
    pub(crate) fn run_limit(&self) -> LimitId {
        LimitId(self.next_limit.fetch_add(1, Ordering::Relaxed))
    }

    /// What every attempt of a tool counts against.
    pub(crate) fn of_tool(&self, tool: ToolId) -> &ToolLimits {
        &self.tools[tool.0 as usize]
    }

    /// The name of a limit of the engine; `None` for one of a run.
    pub(crate) fn limit_name(&self, limit: LimitId) -> Option<&Arc<str>> {
        self.limits.get(&limit).map(|(name, _)| name)
    }

    /// The name of a rate.
    pub(crate) fn rate_name(&self, rate: RateId) -> Option<&Arc<str>> {
        self.rates.get(rate.0 as usize).map(|(name, _)| name)
    }

    /// The facts a core begins with.
    pub(crate) fn events(&self) -> impl Iterator<Item = Event> {
        self.limits.iter().map(limit_set).chain(self.rates.iter().enumerate().map(rate_set))
    }
}

fn limit_set((limit, (_, capacity)): (&LimitId, &(Arc<str>, u64))) -> Event {
    Event::LimitSet { limit: *limit, capacity: *capacity }
}

fn rate_set((id, (_, rate)): (usize, &(Arc<str>, Rate))) -> Event {
    Event::RateSet {
        rate: RateId(u32::try_from(id).unwrap_or(u32::MAX)),
        period: rate.per.checked_div(rate.count.max(1)).unwrap_or(Duration::ZERO),
        burst: rate.burst.unwrap_or(rate.count).max(1),
    }
}
