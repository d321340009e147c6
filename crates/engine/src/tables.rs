//! What an engine knows from its building on: tools, limits and rates with the numbers the core knows them by.
//! It does not know runs.

use fanout_core::{Event, LimitId, RateId};
use fanout_plan::{Catalog, Rate, ToolId, ToolboxSpec};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Numbers and names of an engine; never changed after building.
pub(crate) struct Tables {
    pub(crate) catalog: Arc<Catalog>,
    /// The engine's named amounts, as plans are validated against them.
    pub(crate) amounts: BTreeMap<String, u64>,
    /// The same with their numbers.
    pub(crate) engine_limits: BTreeMap<Arc<str>, (LimitId, u64)>,
    /// The limit every attempt takes one of.
    pub(crate) running: LimitId,
    /// What relative `file:` keys are relative to; canonical.
    pub(crate) base_dir: PathBuf,
    limits: Vec<(Arc<str>, u64)>,
    rates: Vec<(Arc<str>, Rate)>,
    tools: Vec<ToolLimits>,
    next_limit: AtomicU32,
}

/// What every attempt of a tool counts against, besides what its settings say.
#[derive(Clone, Default)]
pub(crate) struct ToolLimits {
    pub(crate) needs: SmallVec<[LimitId; 2]>,
    pub(crate) rates: SmallVec<[RateId; 2]>,
}

impl Tables {
    pub(crate) fn new(
        catalog: Arc<Catalog>,
        toolboxes: &[ToolboxSpec],
        amounts: BTreeMap<String, u64>,
        base_dir: PathBuf,
    ) -> Tables {
        let mut tables = Tables {
            catalog: catalog.clone(),
            amounts: BTreeMap::new(),
            engine_limits: BTreeMap::new(),
            running: LimitId(0),
            base_dir,
            limits: Vec::new(),
            rates: Vec::new(),
            tools: Vec::new(),
            next_limit: AtomicU32::new(0),
        };
        for (name, amount) in &amounts {
            let id = tables.limit(name.as_str().into(), *amount);
            tables.engine_limits.insert(name.as_str().into(), (id, *amount));
            if name == "running" {
                tables.running = id;
            }
        }
        tables.amounts = amounts;
        let boxes: Vec<ToolLimits> = toolboxes
            .iter()
            .map(|spec| tables.limits_of(&format!("toolbox {}", spec.name), spec.running_max, spec.rate))
            .collect();
        for tool in catalog.tools() {
            let own = tables.limits_of(&format!("tool {}", tool.spec.name), tool.spec.running_max, tool.spec.rate);
            let mut both = boxes.get(tool.toolbox_index as usize).cloned().unwrap_or_default();
            both.needs.extend(own.needs);
            both.rates.extend(own.rates);
            tables.tools.push(both);
        }
        tables.next_limit = AtomicU32::new(u32::try_from(tables.limits.len()).unwrap_or(u32::MAX));
        tables
    }

    fn limits_of(&mut self, name: &str, running_max: Option<u32>, rate: Option<Rate>) -> ToolLimits {
        let mut own = ToolLimits::default();
        if let Some(max) = running_max {
            own.needs.push(self.limit(name.into(), u64::from(max)));
        }
        if let Some(rate) = rate {
            own.rates.push(RateId(u32::try_from(self.rates.len()).unwrap_or(u32::MAX)));
            self.rates.push((name.into(), rate));
        }
        own
    }

    fn limit(&mut self, name: Arc<str>, amount: u64) -> LimitId {
        let id = LimitId(u32::try_from(self.limits.len()).unwrap_or(u32::MAX));
        self.limits.push((name, amount));
        id
    }

    /// A number for a limit that belongs to one run.
    pub(crate) fn run_limit(&self) -> LimitId {
        LimitId(self.next_limit.fetch_add(1, Ordering::Relaxed))
    }

    /// What every attempt of a tool counts against.
    pub(crate) fn of_tool(&self, tool: ToolId) -> &ToolLimits {
        &self.tools[tool.0 as usize]
    }

    /// The name of a limit of the engine; `None` for one of a run.
    pub(crate) fn limit_name(&self, limit: LimitId) -> Option<&Arc<str>> {
        self.limits.get(limit.0 as usize).map(|(name, _)| name)
    }

    /// The name of a rate.
    pub(crate) fn rate_name(&self, rate: RateId) -> Option<&Arc<str>> {
        self.rates.get(rate.0 as usize).map(|(name, _)| name)
    }

    /// The facts a core begins with.
    pub(crate) fn events(&self) -> impl Iterator<Item = Event> {
        let limits = self
            .limits
            .iter()
            .zip(0..)
            .map(|((_, capacity), id)| Event::LimitSet { limit: LimitId(id), capacity: *capacity });
        let rates = self.rates.iter().zip(0..).map(|((_, rate), id)| Event::RateSet {
            rate: RateId(id),
            period: rate.per.checked_div(rate.count.max(1)).unwrap_or(Duration::ZERO),
            burst: rate.burst.unwrap_or(rate.count).max(1),
        });
        limits.chain(rates)
    }
}
