//! Runs that forget: a call that was added to one goes once it has ended and nothing can refer to it any more, so that
//! a run of a million calls holds no more than those that are open.
//! It does not know how calls end, nor who may refer to which: whoever adds them says what they take.

use crate::call::{NONE, Run, State};
use crate::core::Core;
use crate::fault::Fault;
use crate::pool::Pool;
use crate::types::*;
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// Classes kept though no call has their settings: the next call mostly has those of one before it.
const CLASSES_KEPT: usize = 64;

/// Edges to calls that have ended are not looked for before there are so many from one call.
const STALE_KEPT: u32 = 64;

/// The calls that were added to a run that forgets.
#[derive(Debug)]
pub(crate) struct Later {
    /// The index of the next call.
    pub(crate) next: u32,
    /// Those that are still there, by index.
    pub(crate) calls: BTreeMap<u32, LaterCall>,
    /// What each of them takes; its own `inputs` say where.
    pub(crate) inputs: Pool<SmallVec<[Input; 2]>>,
    /// Edges that have been followed: their room is the next one's.
    pub(crate) edges_free: Vec<u32>,
    /// By the index of a call that has not ended: edges from it to calls that have, since they were cancelled.
    stale: BTreeMap<u32, Stale>,
}

/// Edges that nothing will follow. They hold their calls, so they go when they are as many as the others were last.
#[derive(Debug, Default)]
struct Stale {
    count: u32,
    others: u32,
}

/// A call of a run that forgets.
#[derive(Debug)]
pub(crate) struct LaterCall {
    pub(crate) slot: u32,
    /// How many calls that have not ended take it as input.
    takers: u32,
    /// It has ended, and what follows has been drawn.
    over: bool,
}

impl Later {
    /// Of a run that begins with this many calls, which stay.
    pub(crate) fn new(first: u32) -> Later {
        let (calls, stale) = (BTreeMap::new(), BTreeMap::new());
        Later { next: first, calls, inputs: Pool::default(), edges_free: Vec::new(), stale }
    }

    /// The next call has this slot.
    fn list(&mut self, slot: u32) {
        self.calls.insert(self.next, LaterCall { slot, takers: 0, over: false });
        self.next += 1;
    }
}

impl Run {
    /// The slot of the call of this index, if it is still there.
    pub(crate) fn slot_of(&self, index: u32) -> Option<u32> {
        match self.listed.get(index as usize) {
            Some(&slot) => Some(slot),
            None => Some(self.later.as_ref()?.calls.get(&index)?.slot),
        }
    }

    /// The index of the next call.
    pub(crate) fn next_index(&self) -> u32 {
        let listed = || u32::try_from(self.listed.len()).expect("fewer than 2^32 calls");
        self.later.as_ref().map_or_else(listed, |later| later.next)
    }

    /// The slots of all calls that are still there, in list order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> {
        let later = self.later.iter().flat_map(|later| later.calls.values().map(|call| call.slot));
        self.listed.iter().copied().chain(later)
    }

    /// The next call has this slot and takes these inputs. Gives where they are kept.
    pub(crate) fn put_listed(&mut self, slot: u32, inputs: &SmallVec<[Input; 2]>) -> (u32, u32) {
        let count = u32::try_from(inputs.len()).unwrap_or(NONE);
        let Some(later) = self.later.as_mut().filter(|_| self.began) else {
            self.listed.push(slot);
            let first = u32::try_from(self.inputs.len()).expect("fewer than 2^32 inputs");
            self.inputs.extend_from_slice(inputs);
            return (first, count);
        };
        later.list(slot);
        for input in inputs {
            if let Some(from) = later.calls.get_mut(&input.call) {
                from.takers += 1;
            }
        }
        if inputs.is_empty() { (0, 0) } else { (later.inputs.put(inputs.clone()), count) }
    }
}

impl Core {
    /// What follows from the end of a call has been drawn: it may be forgotten, and so may what it took.
    pub(crate) fn over(&mut self, slot: u32) {
        let call = self.call(slot);
        let (run, index) = (call.run, call.index);
        if self.run_at(run).later.is_none() || call.element != NONE {
            return;
        }
        for i in 0..self.inputs(slot).len() {
            let from = self.inputs(slot)[i].call;
            let forgotten = !self.planted.is(Fault::NeverForgotten);
            if let Some(call) = self.later_mut(run, from).filter(|_| forgotten) {
                call.takers -= 1;
                self.forget_if_over(run, from);
            }
            self.edge_is_stale(run, from);
        }
        if let Some(later) = &mut self.run_at_mut(run).later {
            later.stale.remove(&index);
        }
        if let Some(call) = self.later_mut(run, index) {
            call.over = true;
            self.forget_if_over(run, index);
        }
    }

    fn later_mut(&mut self, run: u32, index: u32) -> Option<&mut LaterCall> {
        self.runs_slab[run as usize].as_mut()?.later.as_mut()?.calls.get_mut(&index)
    }

    /// So many calls are to be given the result of this one, or of its element, besides those that take it as input.
    pub(crate) fn taken_by(&mut self, slot: u32, takers: usize) {
        let (run, index) = (self.call(slot).run, self.call(slot).index);
        if let Some(call) = self.later_mut(run, index) {
            call.takers += u32::try_from(takers).unwrap_or(NONE);
        }
    }

    /// One of them has been, or has ended otherwise; its run may have, too.
    pub(crate) fn taken(&mut self, slot: u32) {
        let (run, index) = (self.call(slot).run, self.call(slot).index);
        if let Some(call) = self.later_mut(run, index) {
            call.takers -= 1;
            self.forget_if_over(run, index);
        }
    }

    /// A call has ended that takes this one, which may not have.
    fn edge_is_stale(&mut self, run: u32, from: u32) {
        let Some(slot) = self.run_at(run).slot_of(from).filter(|&slot| self.call(slot).state != State::Ended) else {
            return;
        };
        let Some(later) = &mut self.run_at_mut(run).later else { return };
        let stale = later.stale.entry(from).or_default();
        stale.count += 1;
        if stale.count >= stale.others.max(STALE_KEPT) {
            self.drop_stale_edges(run, from, slot);
        }
    }

    /// Takes the edges of a call to such as have ended out of its list, so that those can be forgotten.
    fn drop_stale_edges(&mut self, run: u32, from: u32, slot: u32) {
        let mut edge = std::mem::replace(&mut self.calls[slot as usize].edges, NONE);
        let (mut last, mut others, mut ended) = (NONE, 0, Vec::new());
        while edge != NONE {
            let run_of = self.runs_slab[run as usize].as_mut().expect("a run in its slot");
            let next = std::mem::replace(&mut run_of.edges[edge as usize].next, NONE);
            let to = &mut self.calls[run_of.edges[edge as usize].to as usize];
            self.keys.touched += 1;
            if to.state == State::Ended {
                to.pending -= 1;
                ended.push(to.index);
                run_of.later.as_mut().expect("a run that forgets").edges_free.push(edge);
            } else {
                match last {
                    NONE => self.calls[slot as usize].edges = edge,
                    last => run_of.edges[last as usize].next = edge,
                }
                (last, others) = (edge, others + 1);
            }
            edge = next;
        }
        if let Some(later) = &mut self.run_at_mut(run).later {
            later.stale.insert(from, Stale { count: 0, others });
        }
        for index in ended {
            self.forget_if_over(run, index);
        }
    }

    /// Forgets a call that has ended, that nobody takes any more, and that no edge leads to.
    pub(crate) fn forget_if_over(&mut self, run: u32, index: u32) {
        let early = self.planted.is(Fault::ForgottenTooEarly);
        let Some(&mut LaterCall { slot, takers, over }) = self.later_mut(run, index) else { return };
        if !over || (takers > 0 && !early) || self.call(slot).pending > 0 {
            return;
        }
        debug_assert_eq!(self.call(slot).state, State::Ended);
        let call = CallRef { run: self.run_at(run).id, call: index, element: None };
        self.actions.push_back(Action::DropCall { call });
        let call = &mut self.calls[slot as usize];
        let (class, mut inputs, mut elements) = (call.class, call.inputs, call.elements);
        (call.inputs, call.elements, call.edges) = ((0, 0), NONE, NONE);
        let run_of = self.run_at_mut(run);
        let elements = run_of.elements.take(&mut elements).map(|elements| elements.slots).unwrap_or_default();
        if let Some(later) = &mut run_of.later {
            later.calls.remove(&index);
            if inputs.1 > 0 {
                later.inputs.take(&mut inputs.0);
            }
        }
        for &slot in elements.iter().chain([&slot]) {
            self.doubt_remains(slot);
        }
        let count = 1 + u32::try_from(elements.len()).unwrap_or(NONE);
        self.calls_free.push(slot);
        self.calls_free.extend(elements);
        if self.leave_class(class, count) && self.run_at(run).classes.len() > CLASSES_KEPT {
            self.drop_class(run, class);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    fn settings() -> Arc<Settings> {
        Arc::new(Settings {
            priority: 2,
            expect: Duration::from_secs(1),
            timeout: Duration::from_secs(900),
            idle_timeout: None,
            retry: Retry { attempts_max: 1, backoff: Duration::ZERO, factor: 1.0, backoff_max: Duration::ZERO },
            repeatable: false,
            in_doubt: InDoubtPolicy::Fail,
            failure_has_value: false,
            rekey: false,
            needs: Box::new([]),
            reuse: None,
            rates: Box::new([]),
        })
    }

    fn call(settings: &Arc<Settings>, inputs: &[u32], key: &str) -> CallSpec {
        CallSpec {
            inputs: inputs.iter().map(|&call| Input { call, kind: InputKind::Outcome }).collect(),
            claims: [Claim { key: Key::new(["db", key]), write: true }].into_iter().collect(),
            foreach: false,
            resolve: false,
            settings: settings.clone(),
        }
    }

    fn forgetting(run: RunId) -> RunSpec {
        RunSpec {
            run,
            weight: 1,
            deadline: None,
            stop_on_failure: false,
            open: true,
            forget: true,
            seed: 7,
            limits: Vec::new(),
            parent: None,
            recovering: false,
            calls: Vec::new(),
        }
    }

    /// What is ordered; started attempts are told to have ended so, but for that of the call that hangs.
    fn go(core: &mut Core, at: u64, end: AttemptEnd) -> (usize, usize) {
        go_but(core, at, end, 1)
    }

    fn go_but(core: &mut Core, at: u64, end: AttemptEnd, hanging: u32) -> (usize, usize) {
        let (mut ended, mut dropped) = (0, 0);
        while let Some(action) = core.poll_action() {
            match action {
                Action::Start { attempt, .. } if attempt.call.call != hanging => {
                    core.handle(Time(at), Event::Finished { attempt, end });
                }
                Action::Ended(_) => ended += 1,
                Action::DropCall { .. } => dropped += 1,
                _ => {}
            }
        }
        (ended, dropped)
    }

    /// A plan's call hangs; many are added that wait for it, or for the key of one that hangs too, and are cancelled.
    #[test]
    fn what_waits_for_what_hangs_and_is_cancelled_is_forgotten() {
        let mut core = Core::new();
        let run = RunId(1);
        let spec = RunSpec { calls: vec![call(&settings(), &[], "a"), call(&settings(), &[], "b")], ..forgetting(run) };
        core.handle(Time(0), Event::RunAdded(Box::new(spec)));
        core.handle(Time(0), Event::CallsAdded { run, calls: vec![call(&settings(), &[], "hangs")] });
        let hangs = |core: &mut Core| {
            let (mut ended, mut dropped) = (0, 0);
            while let Some(action) = core.poll_action() {
                ended += usize::from(matches!(action, Action::Ended(_)));
                dropped += usize::from(matches!(action, Action::DropCall { .. }));
            }
            (ended, dropped)
        };
        assert_eq!(hangs(&mut core), (0, 0));
        // Some that wait and are not cancelled.
        let waiting = (0..100).map(|_| call(&settings(), &[1], "y")).collect();
        core.handle(Time(0), Event::CallsAdded { run, calls: waiting });
        let (mut ended, mut dropped) = (0, 0);
        for round in 0..20_000 {
            let first = 103 + 2 * round;
            let calls = vec![call(&settings(), &[1], "x"), call(&settings(), &[], "hangs")];
            core.handle(Time(1), Event::CallsAdded { run, calls });
            for index in [first, first + 1] {
                core.handle(Time(1), Event::CancelRequested { run, call: Some(index), force: true });
            }
            let (more_ended, more_dropped) = hangs(&mut core);
            (ended, dropped) = (ended + more_ended, dropped + more_dropped);
        }
        assert_eq!(ended, 40_000);
        assert!(ended - dropped <= 100, "{} are kept", ended - dropped);
        let kept = core.run_at(0);
        assert!(
            core.calls.len() < 400 && kept.edges.len() < 400,
            "{} calls, {} edges",
            core.calls.len(),
            kept.edges.len()
        );
        assert!(kept.later.as_ref().is_some_and(|later| later.stale.len() <= 1 && later.inputs.len() < 400));
        // Those that still wait go on when what they waited for has ended.
        for call in [0, 1] {
            let attempt = AttemptRef { call: CallRef { run, call, element: None }, attempt: 1 };
            core.handle(Time(2), Event::Finished { attempt, end: AttemptEnd::Succeeded });
        }
        let (ended, _) = go_but(&mut core, 2, AttemptEnd::Succeeded, 2);
        assert_eq!(ended, 102);
    }

    /// One call hangs while many come and go, in threes that take each other, with settings of their own and ends of
    /// all kinds: nothing grows.
    #[test]
    fn what_is_kept_does_not_grow_with_the_calls() {
        let mut core = Core::new();
        let run = RunId(1);
        let spec = RunSpec { calls: vec![call(&settings(), &[], "first")], ..forgetting(run) };
        core.handle(Time(0), Event::RunAdded(Box::new(spec)));
        core.handle(Time(0), Event::CallsAdded { run, calls: vec![call(&settings(), &[], "hangs")] });
        assert_eq!(go(&mut core, 0, AttemptEnd::Succeeded), (1, 0));
        let rounds = 3_000;
        for round in 0..rounds {
            let base = 2 + 3 * round;
            let same = settings();
            let calls =
                vec![call(&same, &[0], "x"), call(&same, &[base], "y"), call(&settings(), &[base, base + 1], "x")];
            core.handle(Time(u64::from(round)), Event::CallsAdded { run, calls });
            let reached = if round % 2 == 0 { Reached::Unknown } else { Reached::Yes };
            let end = AttemptEnd::Failed { class: FailureClass::Permanent, reached, retry_after: None };
            assert_eq!(go(&mut core, u64::from(round), end), (3, 3), "round {round}");
        }
        assert_eq!(core.sizes().1, 2, "the first and the one that hangs");
        let kept = core.run_at(0);
        let later = kept.later.as_ref().expect("a run that forgets");
        assert_eq!((later.calls.len(), later.inputs.len()), (1, 0));
        assert!(core.calls.len() < 10 && kept.edges.len() < 10 && kept.inputs.is_empty(), "{}", core.calls.len());
        assert!(kept.classes.len() <= CLASSES_KEPT + 1, "{} classes", kept.classes.len());
        assert!(core.doubts_noted() <= crate::policy::DOUBTS_MAX + 2, "{} doubts", core.doubts_noted());
        // What was forgotten is not there to be cancelled, nor to be reported about.
        let gone = CallRef { run, call: 5, element: None };
        assert!(core.view().call(gone).is_none());
        core.handle(Time(9_999), Event::CancelRequested { run, call: Some(5), force: true });
        let attempt = AttemptRef { call: gone, attempt: 1 };
        core.handle(Time(9_999), Event::Finished { attempt, end: AttemptEnd::Succeeded });
        assert_eq!(core.poll_action(), None);
        core.handle(Time(9_999), Event::RunClosed { run });
        let attempt = AttemptRef { call: CallRef { run, call: 1, element: None }, attempt: 1 };
        core.handle(Time(9_999), Event::Finished { attempt, end: AttemptEnd::Succeeded });
        assert_eq!(go(&mut core, 9_999, AttemptEnd::Succeeded), (1, 1));
        assert_eq!(core.sizes(), (0, 0, 1));
    }
}
