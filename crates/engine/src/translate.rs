//! A valid plan in the words of the core: inputs, claims and settings instead of names and templates.
//! It does not know values that come only during the run.

use crate::approval;
use crate::canonical::Canonical;
use crate::defaults;
use crate::reuse;
use crate::run::Keys;
use crate::tables::Tables;
use fanout_core::{CallSpec, Claim, Input, InputKind, Key, LimitId, RunId, Scope, Settings};
use fanout_plan::{
    ArgsView, Effects, InDoubt, NamedKey, Needs, Priority, RetrySpec, SettingsSpec, ValidCall, ValidPlan,
};
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::sync::{Arc, LazyLock};

/// A run in the words of the core.
pub(crate) struct Translated {
    pub(crate) run: RunId,
    pub(crate) calls: Vec<CallSpec>,
    /// Per call, its keys, if it has any.
    pub(crate) keys: Vec<Option<Arc<Keys>>>,
    pub(crate) limits: Vec<(LimitId, u64)>,
    pub(crate) limit_names: Vec<(LimitId, Arc<str>)>,
    pub(crate) settings: SettingsCache,
}

/// Calls in the words of the core.
pub(crate) struct TranslatedCalls {
    pub(crate) calls: Vec<CallSpec>,
    pub(crate) keys: Vec<Option<Arc<Keys>>>,
}

/// What calls of one run share: settings by tool and override, keys that do not depend on arguments.
#[derive(Default)]
pub(crate) struct SettingsCache {
    /// Nothing is handed on in this run.
    without_cache: bool,
    /// Some call may keep its result on disk.
    wants_disk: bool,
    /// Calls go before the run does: only what they share with their tool stays where it is.
    forgets: bool,
    /// The limits of the plan.
    limits: Vec<(Arc<str>, LimitId)>,
    settings: HashMap<Shared, Arc<Settings>>,
    /// Those of the call before: plans use one tool many times.
    last: Option<(Shared, Arc<Settings>)>,
    constant_keys: HashMap<usize, Arc<Keys>>,
}

/// What two calls with the same settings have in common. Addresses stand for what the plan shares between calls,
/// and stay good as long as it is there, which is as long as the cache.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Shared {
    tool: u32,
    settings: usize,
    effects: usize,
    has_value: bool,
}

static NO_CLAIMS: LazyLock<Arc<[Claim]>> = LazyLock::new(|| Arc::from(Vec::new()));

/// Translates a plan.
pub(crate) fn run(tables: &Tables, run: RunId, plan: &ValidPlan, cache: bool) -> Translated {
    let mut limits = Vec::new();
    let mut limit_names = Vec::new();
    let mut settings = SettingsCache { without_cache: !cache, ..SettingsCache::default() };
    for (name, amount) in &plan.limits {
        let id = tables.run_limit();
        limits.push((id, *amount));
        limit_names.push((id, format!("plan {name}").into()));
        settings.limits.push((name.as_str().into(), id));
    }
    let TranslatedCalls { calls, keys } = calls(tables, &plan.calls, &mut settings);
    Translated { run, calls, keys, limits, limit_names, settings }
}

/// Translates calls of a plan.
pub(crate) fn calls(tables: &Tables, calls: &[ValidCall], cache: &mut SettingsCache) -> TranslatedCalls {
    let canonical = Canonical::new(&tables.base_dir);
    let mut translated =
        TranslatedCalls { calls: Vec::with_capacity(calls.len()), keys: Vec::with_capacity(calls.len()) };
    for call in calls {
        let keys = cache.keys(tables, call, &canonical);
        translated.calls.push(CallSpec {
            inputs: inputs(call),
            claims: keys.as_ref().map_or_else(|| NO_CLAIMS.clone(), |keys| keys.claims.clone()),
            foreach: call.foreach.is_some(),
            resolve: call.foreach.is_some()
                || call.when.is_some()
                || call.args.literal().is_none()
                || approval::bound(call).is_some()
                || reuse::policy(call).is_some(),
            settings: cache.settings(tables, call),
        });
        translated.keys.push(keys);
    }
    translated
}

fn inputs(call: &ValidCall) -> SmallVec<[Input; 2]> {
    let kind = |needs: Needs| match needs {
        Needs::Result => InputKind::Result,
        Needs::Outcome => InputKind::Outcome,
    };
    call.inputs.iter().map(|(call, needs)| Input { call: *call, kind: kind(*needs) }).collect()
}

/// The keys of a call for these arguments, told to the core and in words; `None` when it has none.
pub(crate) fn keys(effects: &Effects, args: ArgsView<'_>, canonical: &Canonical<'_>) -> Option<Arc<Keys>> {
    if effects.is_empty() {
        return None;
    }
    let names = effects.keys(args, &|path| canonical.path(path));
    let claim = |name: &NamedKey| Claim { key: Key::new(name.segments.iter().map(String::as_str)), write: name.write };
    Some(Arc::new(Keys { claims: names.iter().map(claim).collect(), names }))
}

impl SettingsCache {
    /// Nothing is handed on in this run.
    pub(crate) fn without_cache(&self) -> bool {
        self.without_cache
    }

    /// Some call may keep its result on disk.
    pub(crate) fn wants_disk(&self) -> bool {
        self.wants_disk
    }

    /// The calls that follow are forgotten.
    pub(crate) fn forget_added(&mut self) {
        self.forgets = true;
    }

    /// Whether the address of something stands for it as long as the run lasts.
    fn stays<T>(&self, own: &Arc<T>, of_tool: &Arc<T>) -> bool {
        !self.forgets || Arc::ptr_eq(own, of_tool)
    }

    fn keys(&mut self, tables: &Tables, call: &ValidCall, canonical: &Canonical<'_>) -> Option<Arc<Keys>> {
        if call.effects.is_empty() {
            return None;
        }
        if call.effects.arguments().next().is_some() {
            return keys(&call.effects, ArgsView::Partial(&call.args), canonical);
        }
        if !self.stays(&call.effects, &tables.catalog.tool(call.tool).effects) {
            return keys(&call.effects, ArgsView::Unknown, canonical);
        }
        let address = Arc::as_ptr(&call.effects).addr();
        if let Some(known) = self.constant_keys.get(&address) {
            return Some(known.clone());
        }
        let made = keys(&call.effects, ArgsView::Unknown, canonical)?;
        self.constant_keys.insert(address, made.clone());
        Some(made)
    }

    fn settings(&mut self, tables: &Tables, call: &ValidCall) -> Arc<Settings> {
        let shared = Shared {
            tool: call.tool.0,
            settings: Arc::as_ptr(&call.settings).addr(),
            effects: Arc::as_ptr(&call.effects).addr(),
            has_value: call.on_failure_value.is_some(),
        };
        let tool = tables.catalog.tool(call.tool);
        if !self.stays(&call.settings, &tool.settings) || !self.stays(&call.effects, &tool.effects) {
            return Arc::new(self.make(tables, call));
        }
        if let Some((last, known)) = &self.last
            && *last == shared
        {
            return known.clone();
        }
        let known = self.settings.get(&shared).cloned();
        let settings = known.unwrap_or_else(|| {
            let made = Arc::new(self.make(tables, call));
            // Also where nothing is handed on: what is written still counts.
            self.wants_disk |= reuse::policy(call).is_some_and(|reuse| reuse.scope == Scope::Disk);
            self.settings.insert(shared, made.clone());
            made
        });
        self.last = Some((shared, settings.clone()));
        settings
    }

    fn make(&self, tables: &Tables, call: &ValidCall) -> Settings {
        let spec: &SettingsSpec = &call.settings;
        let of_tool = tables.of_tool(call.tool);
        let mut needs: Vec<(LimitId, u64)> = Vec::new();
        let mut need = |limit: LimitId, amount: u64| match needs.iter_mut().find(|(id, _)| *id == limit) {
            Some((_, known)) => *known = amount.max(*known),
            None => needs.push((limit, amount)),
        };
        need(tables.running, 1);
        of_tool.needs.iter().for_each(|limit| need(*limit, 1));
        let of_plan = |name: &str| self.limits.iter().find(|(known, _)| **known == *name).map(|(_, id)| *id);
        of_plan("running").into_iter().for_each(|limit| need(limit, 1));
        for (name, amount) in spec.uses.iter().filter(|(_, amount)| **amount > 0) {
            of_plan(name).into_iter().for_each(|limit| need(limit, *amount));
            if let Some((limit, _)) = tables.engine_limits.get(name.as_str()) {
                need(*limit, *amount);
            }
        }
        Settings {
            priority: priority(spec.priority.unwrap_or_default()),
            expect: spec.expect.unwrap_or(defaults::EXPECT),
            timeout: spec.timeout.unwrap_or(defaults::TIMEOUT),
            idle_timeout: spec.idle_timeout,
            retry: retry(spec.retry.unwrap_or_default()),
            repeatable: call.effects.repeatable(),
            in_doubt: match spec.in_doubt {
                None | Some(InDoubt::Fail) => fanout_core::InDoubtPolicy::Fail,
                Some(InDoubt::Rerun) => fanout_core::InDoubtPolicy::Rerun,
                Some(InDoubt::Ask) => fanout_core::InDoubtPolicy::Ask(defaults::ASK_MAX),
            },
            failure_has_value: call.on_failure_value.is_some(),
            rekey: call.effects.claims().iter().any(|claim| claim.is_file()),
            needs: needs.into(),
            rates: of_tool.rates.iter().copied().collect(),
            reuse: reuse::policy(call).filter(|_| !self.without_cache),
        }
    }
}

fn priority(priority: Priority) -> u8 {
    match priority {
        Priority::Lowest => 0,
        Priority::Low => 1,
        Priority::Normal => 2,
        Priority::High => 3,
        Priority::Highest => 4,
    }
}

fn retry(spec: RetrySpec) -> fanout_core::Retry {
    let default = defaults::RETRY;
    fanout_core::Retry {
        attempts_max: spec.attempts.unwrap_or(default.attempts_max).max(1),
        backoff: spec.backoff.unwrap_or(default.backoff),
        factor: spec.factor.unwrap_or(default.factor).max(1.0),
        backoff_max: spec.backoff_max.unwrap_or(default.backoff_max),
    }
}
