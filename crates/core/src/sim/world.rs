//! A world from a seed: runs, calls, limits, what tools do and when people interfere.
//! It does not know the core; everything hidden is decided by hashes, so that no decision depends on what was asked first.

use super::cells::{Node, Touch};
use super::rng::{Rng, mix};
use crate::types::*;
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::Duration;

/// Nanoseconds of a millisecond.
pub(super) const MS: u64 = 1_000_000;

/// How often each feature appears, in percent.
#[derive(Clone, Debug, Default)]
pub(super) struct Knobs {
    pub(super) fail: u64,
    pub(super) hang: u64,
    pub(super) unreached: u64,
    pub(super) unknown: u64,
    pub(super) permanent: u64,
    pub(super) retry_after: u64,
    pub(super) progress: u64,
    pub(super) stale: u64,
    pub(super) resolve_delay: u64,
    pub(super) late_tick: u64,
    pub(super) batch: u64,
    pub(super) deaf: u64,
    pub(super) duration_max: u64,
}

/// One world.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) limits: Vec<u64>,
    pub(super) rates: Vec<(Duration, u32)>,
    pub(super) runs: Vec<RunPlan>,
    pub(super) events: Vec<(u64, Timed)>,
    pub(super) knobs: Knobs,
    /// One limit is all that its calls want: nobody may be passed over for ever.
    pub(super) one_limit: bool,
    /// How often the engine dies; its runs outlive it. Zero: it keeps no record.
    pub(super) deaths: u32,
    /// There is a disk of results, which other engines share.
    pub(super) disk: bool,
    /// Under which most of what calls share is.
    pub(super) base: Node,
}

/// Something that happens at a time fixed beforehand.
#[derive(Clone, Debug)]
pub(super) enum Timed {
    Add(u32),
    AddCalls { run: u32, from: u32, to: u32 },
    Close(u32),
    Fact(Event),
}

/// One run with its hidden truths.
#[derive(Clone, Debug)]
pub(super) struct RunPlan {
    pub(super) seed: u64,
    pub(super) weight: u32,
    pub(super) deadline: Option<Time>,
    pub(super) stop: bool,
    pub(super) open: bool,
    /// What is added to it is forgotten.
    pub(super) forget: bool,
    pub(super) limits: Vec<(LimitId, u64)>,
    pub(super) first_calls: u32,
    pub(super) calls: Vec<CallPlan>,
    /// Started inside the first attempt of this call of run 0.
    pub(super) child_of: Option<u32>,
}

/// One call with its hidden truths.
#[derive(Clone, Debug)]
pub(super) struct CallPlan {
    pub(super) inputs: SmallVec<[Input; 2]>,
    pub(super) announced: SmallVec<[Touch; 2]>,
    pub(super) resolve: bool,
    pub(super) foreach: Option<u64>,
    /// How often its `when` is true, in percent.
    pub(super) when: u64,
    pub(super) error: u64,
    /// How many levels its keys become narrower once its arguments are known.
    pub(super) narrow: u64,
    /// Its tool and its arguments, where those are all that its result depends on beside what it reads.
    pub(super) same: Option<(u64, u64)>,
    /// Somebody has to approve it, within this time.
    pub(super) approval: Option<Duration>,
    pub(super) settings: Arc<Settings>,
}

impl CallPlan {
    pub(super) fn spec(&self) -> CallSpec {
        CallSpec {
            inputs: self.inputs.clone(),
            claims: claims(&self.announced),
            foreach: self.foreach.is_some(),
            resolve: self.resolve,
            settings: self.settings.clone(),
        }
    }
}

pub(super) fn claims(touches: &[Touch]) -> Claims {
    touches.iter().map(|t| Claim { key: t.node.key(), write: t.write }).collect()
}

impl RunPlan {
    pub(super) fn spec(&self, run: RunId, parent: Option<AttemptRef>) -> RunSpec {
        RunSpec {
            run,
            weight: self.weight,
            deadline: self.deadline,
            stop_on_failure: self.stop,
            open: self.open,
            forget: self.forget,
            seed: self.seed,
            limits: self.limits.clone(),
            parent,
            recovering: false,
            calls: self.calls[..self.first_calls as usize].iter().map(CallPlan::spec).collect(),
        }
    }
}

/// What a tool does with one attempt.
#[derive(Clone, Debug)]
pub(super) struct Fate {
    /// After how long it ends by itself; `None`: never.
    pub(super) end: Option<(u64, AttemptEnd)>,
    /// Whether it takes effect when its end does not say.
    pub(super) effect: bool,
    pub(super) progress: Option<u64>,
    /// After how long a report of it arrives again.
    pub(super) repeated: Option<u64>,
    pub(super) when_aborted: WhenAborted,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum WhenAborted {
    Obeys {
        after: u64,
        reached: Reached,
    },
    Succeeds {
        after: u64,
    },
    /// Later than any grace; `None`: never.
    TooLate(Option<u64>),
}

impl World {
    /// What the tool does with this attempt.
    pub(super) fn fate(&self, attempt: AttemptRef) -> Fate {
        let c = attempt.call;
        let element = c.element.map_or(0, |e| u64::from(e) + 1);
        let place = mix(mix(u64::from(c.run.0), u64::from(c.call)), element);
        let mut rng = Rng::new(mix(mix(self.seed, place), u64::from(attempt.attempt)));
        let k = &self.knobs;
        let after = rng.between(1, k.duration_max) * MS;
        let end = if rng.percent(k.hang) {
            None
        } else if rng.percent(k.fail) {
            let reached = match rng.below(100) {
                p if p < k.unreached => Reached::No,
                p if p < k.unreached + k.unknown => Reached::Unknown,
                _ => Reached::Yes,
            };
            let class = if rng.percent(k.permanent) { FailureClass::Permanent } else { FailureClass::Transient };
            let retry_after = rng.percent(k.retry_after).then(|| Duration::from_millis(rng.between(1, 200)));
            Some((after, AttemptEnd::Failed { class, reached, retry_after }))
        } else {
            Some((after, AttemptEnd::Succeeded))
        };
        let reached = rng.pick(&[Reached::No, Reached::Yes, Reached::Unknown, Reached::Unknown]);
        let when_aborted = match rng.below(100) {
            p if end.is_none() && p < k.deaf => {
                WhenAborted::TooLate(rng.percent(60).then(|| rng.between(31_000, 90_000) * MS))
            }
            p if p < 90 => WhenAborted::Obeys { after: rng.pick(&[0, 1, 5, 2000]) * MS, reached },
            _ => WhenAborted::Succeeds { after: rng.between(0, 5) * MS },
        };
        Fate {
            end,
            effect: rng.percent(50),
            progress: rng.percent(k.progress).then(|| rng.between(1, 8) * MS),
            repeated: rng.percent(k.stale).then(|| rng.pick(&[0, 1, 7, 50]) * MS),
            when_aborted,
        }
    }

    /// The world of a seed.
    pub(super) fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let r = &mut rng;
        if r.percent(1) {
            return starving(seed, r);
        }
        let knobs = Knobs {
            fail: knob(r, 20, 60),
            hang: knob(r, 4, 25),
            unreached: 35,
            unknown: knob(r, 20, 40),
            permanent: 30,
            retry_after: knob(r, 20, 50),
            progress: knob(r, 20, 60),
            stale: knob(r, 10, 60),
            resolve_delay: knob(r, 20, 80),
            late_tick: knob(r, 10, 50),
            batch: knob(r, 10, 50),
            deaf: knob(r, 30, 80),
            duration_max: r.pick(&[2, 10, 40]),
        };
        let limits = (0..r.pick(&[0, 1, 1, 2, 3])).map(|_| r.pick(&[1, 1, 2, 3, 4, 8])).collect::<Vec<u64>>();
        let rates = (0..r.pick(&[0, 0, 0, 1, 2]))
            .map(|_| (Duration::from_millis(r.pick(&[1, 5, 20])), r.pick(&[1, 1, 2, 5])))
            .collect::<Vec<_>>();
        // Long streams with few calls ready at a time, so that some age: on all that can be reserved.
        let crowded = r.percent(1);
        let count = if crowded { r.between(2, 3) } else { r.pick(&[1, 1, 1, 1, 1, 2, 2, 2, 3, 5]) };
        let count = u32::try_from(count).unwrap_or(1);
        let mut world = World {
            seed,
            limits,
            rates,
            runs: Vec::new(),
            events: Vec::new(),
            knobs,
            one_limit: false,
            deaths: 0,
            disk: false,
            base: Node::ROOT,
        };
        for run in 0..count {
            let plan = RunMaker { crowded, ..RunMaker::new(r, &world, run) }.make(r);
            world.runs.push(plan);
        }
        if count > 1 && r.percent(15) {
            let parent = r.below(u64::from(world.runs[0].first_calls));
            let parent = u32::try_from(parent).unwrap_or(0);
            let last = count as usize - 1;
            if world.runs[0].calls[parent as usize].foreach.is_none() {
                let child = &mut world.runs[last];
                child.child_of = Some(parent);
                child.open = false;
                child.first_calls = u32::try_from(child.calls.len()).unwrap_or(0);
            }
        }
        world.schedule(r);
        world.ask_and_die();
        world.share();
        world.forget();
        world
    }

    /// Some calls of all runs only read, and ask the same as others: from numbers of their own.
    fn share(&mut self) {
        let r = &mut Rng::new(mix(self.seed, 0x5a4e));
        if !r.percent(40) {
            return;
        }
        let base = if r.percent(40) { Node::ROOT.child(r.below(2)) } else { Node::ROOT };
        (self.base, self.disk) = (base, r.percent(40));
        let tools: Vec<SmallVec<[Touch; 2]>> = (0..r.between(1, 3))
            .map(|_| {
                let keys = r.pick(&[0, 1, 1, 1, 1, 2]);
                let deep = r.pick(&[0, 1, 1, 2, 2, 3]);
                (0..keys).map(|_| Touch { node: base.under(r, deep, 2), write: false }).collect()
            })
            .collect();
        let args = r.pick(&[1, 1, 2, 3]);
        let engine = r.pick(&[0, 50, 50, 100]);
        let on_disk = if self.disk { r.pick(&[50, 80, 100]) } else { 5 };
        let old = if r.percent(30) { 80 } else { 0 };
        for run in &mut self.runs {
            let share = r.pick(&[20, 50, 80]);
            let mut made: Vec<(Arc<Settings>, Arc<Settings>)> = Vec::new();
            for call in &mut run.calls {
                if !r.percent(share) {
                    continue;
                }
                let tool = r.below(tools.len() as u64);
                call.same = Some((tool, r.below(args)));
                call.announced.clone_from(&tools[usize::try_from(tool).unwrap_or(0)]);
                call.narrow = 0;
                call.resolve = true;
                let known = made.iter().find(|(from, _)| Arc::ptr_eq(from, &call.settings)).map(|x| x.1.clone());
                let settings = known.unwrap_or_else(|| {
                    let ttl = r.percent(old).then(|| Duration::from_millis(r.pick(&[0, 1, 5, 20, 100])));
                    let scope = match () {
                        () if r.percent(on_disk) => Scope::Disk,
                        () if r.percent(engine) => Scope::Engine,
                        () => Scope::Run,
                    };
                    let reuse = Some(Reuse { ttl, scope });
                    let settings = Arc::new(Settings { repeatable: true, reuse, ..(*call.settings).clone() });
                    made.push((call.settings.clone(), settings.clone()));
                    settings
                });
                call.settings = settings;
            }
        }
    }

    /// Some runs forget what is added to them: from numbers of their own. What is added takes what its run began with
    /// and what is added with it.
    fn forget(&mut self) {
        let r = &mut Rng::new(mix(self.seed, 0xf026));
        if self.deaths > 0 {
            return;
        }
        for run in self.runs.iter_mut().filter(|run| run.open) {
            run.forget = r.percent(50);
        }
        for (_, event) in &self.events {
            let Timed::AddCalls { run, from, to } = event else { continue };
            let run = &mut self.runs[*run as usize];
            let first = run.first_calls;
            if run.forget {
                for call in &mut run.calls[*from as usize..*to as usize] {
                    call.inputs.retain(|input| input.call < first || input.call >= *from);
                }
            }
        }
    }

    /// Who has to be approved, and how often the engine dies: from numbers of their own.
    fn ask_and_die(&mut self) {
        let r = &mut Rng::new(mix(self.seed, 0xd1e5));
        if r.percent(20) {
            self.deaths = u32::try_from(r.between(1, 4)).unwrap_or(1);
            self.without_children();
        }
        for run in &mut self.runs {
            // Who is denied stops much of what comes behind it.
            let asked = if r.percent(40) { knob(r, 8, 40) } else { 0 };
            let bound = Duration::from_millis(r.pick(&[0, 10, 1000, 1000, 1000, 3_600_000, 3_600_000, 3_600_000]));
            for call in &mut run.calls {
                if r.percent(asked) {
                    call.approval = Some(bound);
                    call.resolve = true;
                }
            }
        }
    }

    /// What was to be run inside attempts runs beside them.
    fn without_children(&mut self) {
        for (i, run) in (0..).zip(&mut self.runs) {
            if run.child_of.take().is_some() {
                self.events.push((0, Timed::Add(i)));
            }
        }
        self.events.sort_by_key(|(at, _)| *at);
    }

    /// The world of a seed without what the naive scheduler leaves out.
    pub(super) fn plain(seed: u64) -> World {
        let mut world = World::new(seed);
        for run in &mut world.runs {
            run.first_calls = u32::try_from(run.calls.len()).unwrap_or(0);
            run.forget = false;
        }
        world.without_children();
        (world.deaths, world.disk) = (0, false);
        world.runs.iter_mut().flat_map(|run| &mut run.calls).for_each(|call| call.approval = None);
        world.runs.iter_mut().flat_map(|run| &mut run.calls).for_each(|call| call.same = None);
        world.events.retain(|(_, e)| !matches!(e, Timed::AddCalls { .. }));
        world
    }

    fn schedule(&mut self, r: &mut Rng) {
        let span = 60 + 10 * self.runs.iter().map(|x| x.calls.len() as u64).sum::<u64>();
        let meddle = knob(r, 25, 80);
        for run in 0..u32::try_from(self.runs.len()).unwrap_or(0) {
            let plan = &self.runs[run as usize];
            let mut at = if r.percent(60) { 0 } else { r.below(span) * MS };
            if plan.child_of.is_none() {
                self.events.push((at, Timed::Add(run)));
            }
            let (mut from, len) = (plan.first_calls, u32::try_from(plan.calls.len()).unwrap_or(0));
            if plan.open {
                while from < len {
                    at += r.below(30) * MS;
                    let to = (from + u32::try_from(r.between(1, 5)).unwrap_or(1)).min(len);
                    self.events.push((at, Timed::AddCalls { run, from, to }));
                    from = to;
                }
                at += r.below(60) * MS;
                self.events.push((at, Timed::Close(run)));
            }
            if r.percent(meddle / 2) {
                let call = r.percent(70).then(|| u32::try_from(r.below(u64::from(len) + 1)).unwrap_or(0));
                let force = r.percent(50);
                self.fact(r.below(span), Event::CancelRequested { run: RunId(run), call, force });
                if r.percent(20) {
                    self.fact(r.below(span), Event::CancelRequested { run: RunId(run), call: None, force: true });
                }
            }
            if r.percent(meddle / 3) {
                let pause = r.below(span);
                self.fact(pause, Event::PauseRequested { run: RunId(run) });
                self.fact(pause + r.below(40), Event::ResumeRequested { run: RunId(run) });
            }
        }
        for limit in 0..self.limits.len() {
            if r.percent(meddle) {
                let limit = LimitId(u32::try_from(limit).unwrap_or(0));
                let capacity = r.between(1, 6);
                self.fact(r.below(span), Event::LimitSet { limit, capacity });
            }
        }
        for _ in 0..r.below(3) {
            self.fact(r.below(span), Event::Tick);
        }
        if r.percent(20) {
            self.strange(r, span);
        }
        self.events.sort_by_key(|(at, _)| *at);
    }

    fn fact(&mut self, at_ms: u64, event: Event) {
        self.events.push((at_ms * MS, Timed::Fact(event)));
    }

    /// Facts about what is not there.
    fn strange(&mut self, r: &mut Rng, span: u64) {
        for _ in 0..r.between(1, 4) {
            let run = RunId(u32::try_from(r.pick(&[0, 0, 1, 99])).unwrap_or(0));
            let call =
                CallRef { run, call: u32::try_from(r.below(60)).unwrap_or(0), element: r.percent(30).then_some(3) };
            let attempt = AttemptRef { call, attempt: u32::try_from(r.pick(&[0, 7, 99])).unwrap_or(0) };
            let unknown = RunId(98);
            let event = match r.below(7) {
                0 => Event::Finished { attempt, end: AttemptEnd::Succeeded },
                1 => Event::Progressed { attempt },
                2 => Event::DoubtSettled { attempt, answer: DoubtAnswer::Succeeded },
                3 => Event::CancelRequested { run: unknown, call: None, force: true },
                4 => Event::PauseRequested { run: unknown },
                5 => Event::Resolved { call: CallRef { run: unknown, ..call }, resolution: Resolution::Skip },
                _ => Event::RunClosed { run: unknown },
            };
            self.fact(r.below(span), event);
        }
    }
}

/// A feature is mostly absent, sometimes there, rarely everywhere.
fn knob(r: &mut Rng, some: u64, many: u64) -> u64 {
    match r.below(20) {
        0..10 => 0,
        10..17 => some,
        _ => many,
    }
}

/// How the calls of one run are made.
struct RunMaker {
    run: u32,
    settings: Vec<Arc<Settings>>,
    limits: Vec<(LimitId, u64)>,
    keyed: u64,
    writes: u64,
    unresolved: u64,
    root: u64,
    spread: u64,
    base: Node,
    inputs_max: u64,
    outcome: u64,
    when: u64,
    foreach: u64,
    error: u64,
    crowded: bool,
}

impl RunMaker {
    fn new(r: &mut Rng, world: &World, run: u32) -> RunMaker {
        let own = if r.percent(25) { r.between(1, 2) } else { 0 };
        let own = u32::try_from(own).unwrap_or(0);
        let limits: Vec<(LimitId, u64)> = (0..own).map(|i| (LimitId(100 + run * 2 + i), r.between(1, 4))).collect();
        let mut ids: Vec<LimitId> = limits.iter().map(|l| l.0).collect();
        ids.extend((0..world.limits.len()).map(|i| LimitId(u32::try_from(i).unwrap_or(0))));
        let repeatable = r.pick(&[20, 50, 90]);
        let style = SettingsStyle {
            ids: &ids,
            rates: world.rates.len() as u64,
            repeatable,
            priorities: r.percent(40),
            attempts: r.pick(&[1, 2, 3, 5]),
            timeouts: if world.knobs.hang > 0 { 70 } else { knob(r, 10, 40) },
            rekey: knob(r, 10, 40),
            value: knob(r, 20, 60),
        };
        RunMaker {
            run,
            settings: (0..r.between(1, 5)).map(|_| Arc::new(settings(r, &style))).collect(),
            limits,
            keyed: r.pick(&[0, 40, 90, 100]),
            writes: r.pick(&[10, 40, 70]),
            unresolved: knob(r, 20, 60),
            root: knob(r, 5, 20),
            spread: r.pick(&[1, 2, 2, 4]),
            base: if r.percent(30) { Node::ROOT.child(r.below(2)) } else { Node::ROOT },
            inputs_max: r.pick(&[0, 1, 2, 3]),
            outcome: r.pick(&[0, 30, 60]),
            when: knob(r, 20, 50),
            foreach: knob(r, 10, 40),
            error: knob(r, 5, 20),
            crowded: false,
        }
    }

    fn make(self, r: &mut Rng) -> RunPlan {
        let len = match r.below(1000) {
            _ if self.crowded => r.between(100, 170),
            0..700 => r.between(1, 12),
            700..985 => r.between(8, 40),
            985..998 => r.between(40, 120),
            _ => r.between(150, 400),
        };
        let open = r.percent(20) && !self.crowded;
        let first_calls = if open { r.between(0, len) } else { len };
        let mut order: Vec<u64> = (0..first_calls).collect();
        if r.percent(30) && !self.crowded {
            for _ in 0..r.between(1, 4) {
                let (a, b) = (r.below(first_calls), r.below(first_calls));
                if first_calls > 0 {
                    order.swap(usize::try_from(a).unwrap_or(0), usize::try_from(b).unwrap_or(0));
                }
            }
        }
        let calls = (0..len).map(|i| self.call(r, i, &order)).collect();
        RunPlan {
            seed: mix(r.next(), u64::from(self.run)),
            weight: r.pick(&[1, 1, 1, 2, 5]),
            deadline: r.percent(5).then(|| Time(r.between(1, 300) * MS)),
            stop: r.percent(20) && !self.crowded,
            open,
            forget: false,
            limits: self.limits,
            first_calls: u32::try_from(first_calls).unwrap_or(0),
            calls,
            child_of: None,
        }
    }

    fn call(&self, r: &mut Rng, i: u64, order: &[u64]) -> CallPlan {
        let mut inputs: SmallVec<[Input; 2]> = SmallVec::new();
        // Among calls made together, whoever stands before it in a hidden order; else whoever is listed before it.
        let place = order.iter().position(|&x| x == i);
        if self.crowded && i >= 6 {
            let call = u32::try_from(i - 6).unwrap_or(0);
            inputs.push(Input { call, kind: InputKind::Outcome });
        }
        for _ in 0..if self.crowded { 0 } else { r.between(0, self.inputs_max) } {
            let other = match place {
                Some(0) => continue,
                Some(place) => order[usize::try_from(r.below(place as u64)).unwrap_or(0)],
                None if i == 0 => continue,
                None => r.below(i),
            };
            let near = place.is_none() && i > 8 && r.percent(50);
            let other = if near { i - 1 - r.below(8) } else { other };
            let call = u32::try_from(other).unwrap_or(0);
            let kind = if r.percent(self.outcome) { InputKind::Outcome } else { InputKind::Result };
            if inputs.iter().all(|x| x.call != call) {
                inputs.push(Input { call, kind });
            }
        }
        let mut announced: SmallVec<[Touch; 2]> = SmallVec::new();
        let mut narrow = 0;
        if r.percent(self.keyed) {
            let unresolved = r.percent(self.unresolved);
            if unresolved {
                narrow = r.between(1, 3);
            }
            for _ in 0..r.pick(&[1, 1, 1, 2, 3]) {
                let deep = if unresolved { r.below(3) } else { r.between(1, 4) };
                let node = if r.percent(self.root) { Node::ROOT } else { self.base.under(r, deep, self.spread) };
                announced.push(Touch { node, write: r.percent(self.writes) });
            }
        }
        let foreach = r.percent(self.foreach).then(|| r.pick(&[0, 1, 2, 3, 6]));
        let when = if r.percent(self.when) { 60 } else { 100 };
        let error = if r.percent(self.error) { 50 } else { 0 };
        let settings = self.settings[usize::try_from(r.below(self.settings.len() as u64)).unwrap_or(0)].clone();
        let resolve = narrow > 0 || foreach.is_some() || when < 100 || error > 0 || settings.rekey || r.percent(20);
        CallPlan { inputs, announced, resolve, foreach, when, error, narrow, same: None, approval: None, settings }
    }
}

struct SettingsStyle<'a> {
    ids: &'a [LimitId],
    rates: u64,
    repeatable: u64,
    priorities: bool,
    attempts: u32,
    timeouts: u64,
    rekey: u64,
    value: u64,
}

fn settings(r: &mut Rng, style: &SettingsStyle<'_>) -> Settings {
    let mut needs: Vec<(LimitId, u64)> = Vec::new();
    for &id in style.ids {
        if r.percent(60) {
            needs.push((id, r.pick(&[1, 1, 1, 2, 3, 9])));
        }
    }
    let rates = (0..style.rates).filter(|_| r.percent(50)).map(|i| RateId(u32::try_from(i).unwrap_or(0))).collect();
    let short = r.percent(style.timeouts);
    Settings {
        priority: if style.priorities { u8::try_from(r.below(5)).unwrap_or(2) } else { 2 },
        expect: Duration::from_millis(r.pick(&[1, 5, 5, 30])),
        timeout: Duration::from_millis(if short { r.between(5, 60) } else { 900_000 }),
        idle_timeout: r.percent(style.timeouts / 2).then(|| Duration::from_millis(r.between(3, 20))),
        retry: Retry {
            attempts_max: style.attempts,
            backoff: Duration::from_millis(r.pick(&[0, 1, 10, 100])),
            factor: r.pick(&[1.0, 2.0]),
            backoff_max: Duration::from_millis(r.pick(&[50, 1000])),
        },
        repeatable: r.percent(style.repeatable),
        in_doubt: match r.below(4) {
            0 => InDoubtPolicy::Rerun,
            1 => InDoubtPolicy::Ask(Duration::from_millis(r.pick(&[0, 10, 1000]))),
            _ => InDoubtPolicy::Fail,
        },
        failure_has_value: r.percent(style.value),
        rekey: r.percent(style.rekey),
        needs: needs.into_boxed_slice(),
        rates,
        reuse: None,
    }
}

/// A world made to starve somebody: a wide or lowly call against a long stream of others.
fn starving(seed: u64, r: &mut Rng) -> World {
    let capacity = r.between(2, 4);
    let knobs = Knobs { duration_max: r.between(3, 8), ..Knobs::default() };
    let mut world = World {
        seed,
        limits: vec![capacity],
        rates: Vec::new(),
        runs: Vec::new(),
        events: Vec::new(),
        knobs,
        one_limit: true,
        deaths: 0,
        disk: false,
        base: Node::ROOT,
    };
    let style = SettingsStyle {
        ids: &[],
        rates: 0,
        repeatable: 100,
        priorities: false,
        attempts: 1,
        timeouts: 0,
        rekey: 0,
        value: 0,
    };
    let base = settings(r, &style);
    let (wide, lowly) = (r.percent(60), r.percent(60));
    let need = if wide { capacity } else { 1 };
    let priority = if lowly { 0 } else { 2 };
    let victim = Arc::new(Settings { priority, needs: [(LimitId(0), need)].into(), ..base.clone() });
    let other = Arc::new(Settings { priority: 4, needs: [(LimitId(0), 1)].into(), ..base });
    let runs = r.pick(&[1, 1, 1, 2]);
    let per_run = r.between(170, 260);
    for run in 0..u32::try_from(runs).unwrap_or(1) {
        let victim_at = r.below(3);
        let calls: Vec<CallPlan> = (0..per_run)
            .map(|i| {
                let is_victim = run == 0 && i == victim_at;
                // Chains keep the number of ready calls small while the stream goes on.
                let chained = i >= 8 && !is_victim && i - 8 != victim_at;
                let input = Input { call: u32::try_from(i.saturating_sub(8)).unwrap_or(0), kind: InputKind::Result };
                CallPlan {
                    inputs: if chained { [input].into_iter().collect() } else { SmallVec::new() },
                    announced: SmallVec::new(),
                    resolve: false,
                    foreach: None,
                    when: 100,
                    error: 0,
                    narrow: 0,
                    same: None,
                    approval: None,
                    settings: if is_victim { victim.clone() } else { other.clone() },
                }
            })
            .collect();
        let first_calls = u32::try_from(calls.len()).unwrap_or(0);
        let weight = if run == 0 { 1 } else { r.pick(&[1, 5]) };
        world.runs.push(RunPlan {
            seed: r.next(),
            weight,
            deadline: None,
            stop: false,
            open: false,
            forget: false,
            limits: Vec::new(),
            first_calls,
            calls,
            child_of: None,
        });
        world.events.push((0, Timed::Add(run)));
    }
    world
}
