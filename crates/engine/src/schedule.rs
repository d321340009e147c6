//! What would run when if every attempt lasted as long as expected (`fanout plan`): the real core under a
//! simulated clock.
//! It does not know tools; nothing is called.

use crate::critical_path::{self, Paths};
use crate::ends::End;
use crate::run::{Elements, RunData, Slot};
use crate::tables::Tables;
use crate::{ended, translate};
use fanout_core::{
    Action, AttemptEnd, AttemptRef, CallRef, CallSpec, Core, Event, Resolution, RunId, RunSpec, Settings, Time,
};
use fanout_plan::{NamedKey, Needs, PlanOnFailure, ValidPlan};
use hashbrown::HashMap;
use serde::de::IgnoredAny;
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

/// What would run when. Times are durations since the begin; as JSON in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Schedule {
    /// The plan's name.
    pub name: Arc<str>,
    /// From begin to end.
    #[serde(rename = "makespan_ms", serialize_with = "ms")]
    pub makespan: Duration,
    /// The sum of all expected durations: what running the calls one by one would take.
    #[serde(rename = "calls_ms", serialize_with = "ms")]
    pub calls_total: Duration,
    /// The longest chain of calls each of which has to wait for the one before.
    pub critical_path: Vec<Arc<str>>,
    /// The length of that chain.
    #[serde(rename = "critical_path_ms", serialize_with = "ms")]
    pub critical_path_length: Duration,
    /// How many attempts may run at once.
    pub slots: u64,
    /// Every call in serial order, elements behind their `foreach` call.
    pub calls: Vec<ScheduledCall>,
}

/// One call of a [`Schedule`].
#[derive(Clone, Debug, Serialize)]
pub struct ScheduledCall {
    /// Its id, with the index when it is an element.
    pub id: Arc<str>,
    /// Its tool.
    pub tool: Arc<str>,
    /// When it would start.
    #[serde(rename = "start_ms", serialize_with = "ms")]
    pub start: Duration,
    /// When it would end.
    #[serde(rename = "end_ms", serialize_with = "ms")]
    pub end: Duration,
    /// Its keys as far as they are known before the run.
    pub keys: Vec<ScheduledKey>,
    /// Which calls it waits for, and why: its inputs first, then what else held it up in this schedule.
    pub waits_for: Vec<ScheduledWait>,
}

/// A key of a call.
#[derive(Clone, Debug, Serialize)]
pub struct ScheduledKey {
    /// The key; what is not known yet is shown as `…`.
    pub key: Arc<str>,
    /// Whether the call may write it.
    pub write: bool,
    /// Whether all of it is known.
    pub known: bool,
}

/// One thing a call waits for.
#[derive(Clone, Debug, Serialize)]
pub struct ScheduledWait {
    /// `input` (its result is used), `after` (only its end matters), or a kind of wait as in
    /// [`WaitReport::cause`](crate::WaitReport): `key`, `limit`, `rate`, `stop`, `reserved`, …
    pub cause: Cow<'static, str>,
    /// On which call, limit or rate.
    pub on: Option<Arc<str>>,
    /// For which key.
    pub key: Option<Arc<str>>,
    /// How long it waits on this in this schedule; zero when something else was the later.
    #[serde(rename = "ms", serialize_with = "ms")]
    pub duration: Duration,
}

fn ms<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64() * 1e3)
}

/// Runs the plan under a simulated clock.
pub(crate) fn simulate(tables: &Arc<Tables>, plan: &ValidPlan) -> Schedule {
    let translated = translate::run(tables, RunId(0), plan, false);
    let mut simulation = Simulation {
        core: Core::new(),
        run: RunData::new(RunId(0), plan.clone(), (Arc::from(""), plan.name.as_str().into()), Time(0)),
        settings: translated.calls.iter().map(|call| call.settings.clone()).collect(),
        due: BinaryHeap::new(),
        now: Time(0),
    };
    simulation.run.limit_names = translated.limit_names;
    simulation.run.list(0, translated.keys, Time(0));
    for event in tables.events() {
        simulation.core.handle(Time(0), event);
    }
    simulation.core.handle(
        Time(0),
        Event::RunAdded(Box::new(RunSpec {
            run: RunId(0),
            weight: 1,
            deadline: None,
            stop_on_failure: plan.on_failure == PlanOnFailure::Stop,
            open: false,
            forget: false,
            seed: 0,
            limits: translated.limits,
            parent: None,
            recovering: false,
            calls: patient(translated.calls),
        })),
    );
    simulation.go();
    simulation.schedule(tables)
}

/// Here an attempt lasts as long as expected, even where that is longer than allowed; and links do not change.
fn patient(mut calls: Vec<CallSpec>) -> Vec<CallSpec> {
    let mut made: HashMap<usize, Arc<Settings>> = HashMap::new();
    // Kept so that no address is used twice while it names settings.
    let mut kept = Vec::new();
    for call in &mut calls {
        let address = Arc::as_ptr(&call.settings).addr();
        let patient = made.entry(address).or_insert_with(|| {
            kept.push(call.settings.clone());
            let settings =
                Settings { timeout: Duration::MAX, idle_timeout: None, rekey: false, ..(*call.settings).clone() };
            Arc::new(settings)
        });
        call.settings = patient.clone();
    }
    calls
}

struct Simulation {
    core: Core,
    run: RunData,
    /// Per call.
    settings: Vec<Arc<Settings>>,
    /// Attempts by their end, those that end together by their start.
    due: BinaryHeap<Reverse<(Time, u64, AttemptKey)>>,
    now: Time,
}

/// An attempt in a form that has an order.
type AttemptKey = (u32, Option<u32>, u32);

impl Simulation {
    fn go(&mut self) {
        let mut starts: u64 = 0;
        loop {
            while let Some(action) = self.core.poll_action() {
                match action {
                    Action::Resolve { call, .. } => self.resolve(call),
                    Action::Start { attempt, .. } => {
                        let expect = self.settings[attempt.call.call as usize].expect;
                        if let Some(slot) = self.run.slot_mut(attempt.call) {
                            slot.ran_ns = u64::try_from(expect.as_nanos()).unwrap_or(u64::MAX);
                        }
                        let key = (attempt.call.call, attempt.call.element, attempt.attempt);
                        self.due.push(Reverse((self.now.after(expect), starts, key)));
                        starts += 1;
                    }
                    Action::Ended(end) => {
                        let place = self.run.ends.push(&end);
                        if let Some(slot) = self.run.slot_mut(end.call) {
                            slot.end = place;
                        }
                    }
                    Action::RunEnded { .. } => return,
                    Action::Abort { .. } | Action::Retry { .. } | Action::Ask { .. } | Action::Illegal { .. } => {}
                    Action::Reuse { .. } | Action::Keep { .. } | Action::Forget { .. } | Action::DropCall { .. } => {}
                    // There is no disk.
                    Action::Look { .. }
                    | Action::Store { .. }
                    | Action::OpenWrite { .. }
                    | Action::CloseWrite { .. } => {}
                }
            }
            let timer = self.core.poll_timeout();
            let attempt = self.due.peek().map(|Reverse((at, ..))| *at);
            let Some(next) = timer.into_iter().chain(attempt).min() else { return };
            self.now = self.now.max(next);
            if attempt != Some(next) {
                self.core.handle(self.now, Event::Tick);
            }
            // All that ends at one moment is told before anything is decided.
            while let Some(Reverse((at, _, (call, element, attempt)))) = self.due.peek().copied()
                && at <= self.now
            {
                self.due.pop();
                let call = CallRef { run: RunId(0), call, element };
                let attempt = AttemptRef { call, attempt };
                self.core.handle(self.now, Event::Finished { attempt, end: AttemptEnd::Succeeded });
            }
        }
    }

    fn resolve(&mut self, call: CallRef) {
        let valid = self.run.call(call);
        let resolution = match (&valid.foreach, call.element) {
            (Some(list), None) => {
                let known = list.literal().and_then(|list| serde_json::from_str::<Vec<IgnoredAny>>(list.get()).ok());
                let ids: Vec<Arc<str>> = match known {
                    Some(list) => (0..list.len()).map(|index| format!("{}[{index}]", valid.id).into()).collect(),
                    None => vec![format!("{}[*]", valid.id).into()],
                };
                let slots = ids.iter().map(|_| Slot::default()).collect();
                let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
                self.run.slots[call.call as usize].more().elements = Some(Elements { items: Vec::new(), slots, ids });
                Resolution::Elements(count)
            }
            _ => Resolution::Run { claims: None, same: None },
        };
        self.core.handle(self.now, Event::Resolved { call, resolution });
    }

    fn schedule(self, tables: &Tables) -> Schedule {
        let run = &self.run;
        let Paths { chain, length_ns } = critical_path::measured(run);
        let mut calls = Vec::with_capacity(run.slots.len());
        let mut total: u64 = 0;
        for call in run.serial_order() {
            for call in run.with_elements(call) {
                let Some(slot) = run.slot(call) else { continue };
                total = total.saturating_add(slot.ran_ns);
                calls.push(scheduled(run, tables, call, slot));
            }
        }
        Schedule {
            name: run.names.1.clone(),
            makespan: self.now.since(Time(0)),
            calls_total: Duration::from_nanos(total),
            critical_path: chain,
            critical_path_length: Duration::from_nanos(length_ns),
            slots: slots(run, tables),
            calls,
        }
    }
}

fn slots(run: &RunData, tables: &Tables) -> u64 {
    let engine = tables.amounts.get("running").copied();
    let plan = run.plan.limits.get("running").copied();
    engine.into_iter().chain(plan).min().unwrap_or(u64::MAX)
}

fn scheduled(run: &RunData, tables: &Tables, call: CallRef, slot: &Slot) -> ScheduledCall {
    let end = run.end(slot);
    let ended = end.map_or(Time(0), |end| end.ended);
    let started = end.and_then(End::started);
    // A `foreach` call itself has no attempt: it begins with its first element.
    let first = || {
        let slots = slot.elements().into_iter().flat_map(|elements| &elements.slots);
        slots.filter_map(|slot| run.end(slot)?.started()).min()
    };
    let keys = slot.keys.as_ref().or(run.slots[call.call as usize].keys.as_ref());
    let key = |key: &NamedKey| ScheduledKey { key: key.text.clone(), write: key.write, known: key.known };
    ScheduledCall {
        id: run.call_id(call),
        tool: tables.catalog.tool(run.tool(call)).spec.name.clone(),
        start: started.or_else(first).unwrap_or(ended).since(Time(0)),
        end: ended.since(Time(0)),
        keys: keys.map_or_else(Vec::new, |keys| keys.names.iter().map(key).collect()),
        waits_for: waits(run, tables, call, slot),
    }
}

/// Inputs as the plan has them, then what else held the call up.
fn waits(run: &RunData, tables: &Tables, call: CallRef, slot: &Slot) -> Vec<ScheduledWait> {
    let mut waits: Vec<ScheduledWait> = Vec::new();
    if call.element.is_none() {
        for (input, needs) in &run.call(call).inputs {
            let cause = if *needs == Needs::Result { "input" } else { "after" };
            let on = Some(run.plan.calls[*input as usize].id.clone());
            waits.push(ScheduledWait { cause: cause.into(), on, key: None, duration: Duration::ZERO });
        }
    }
    for wait in run.waits(slot) {
        let (cause, on, key) = ended::cause(run, tables, call, slot, wait.cause);
        match cause {
            "input" => {
                if let Some(known) = waits.iter_mut().find(|known| known.on == on) {
                    known.duration += Duration::from_nanos(wait.ns);
                }
            }
            "resolve" | "elements" => {}
            cause => {
                waits.push(ScheduledWait { cause: cause.into(), on, key, duration: Duration::from_nanos(wait.ns) })
            }
        }
    }
    waits
}
