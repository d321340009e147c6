//! How calls come in: with a run, added to an open run, or as the elements of a `foreach` call.
//! It does not know how calls start or end.

use crate::call::*;
use crate::core::{Core, held};
use crate::fault::Fault;
use crate::forget::Later;
use crate::order::{inherit, own_rank, ranks};
use crate::policy::{RANK_VISITS_MAX, Rank};
use crate::pool::Pool;
use crate::timers::TimerId;
use crate::types::*;
use hashbrown::HashMap;
use std::sync::Arc;

impl Core {
    /// A run begins. One whose number is taken is ignored.
    pub(crate) fn add_run(&mut self, spec: RunSpec) {
        if self.runs.contains_key(&spec.run) {
            return;
        }
        let lender = spec.parent.and_then(|attempt| self.lender(attempt));
        for &(limit, capacity) in &spec.limits {
            self.set_limit(limit, capacity);
        }
        let run = Run {
            id: spec.run,
            weight: spec.weight.max(1),
            seed: spec.seed,
            open: spec.open,
            paused: spec.recovering && !self.planted.is(Fault::RecoveringAdmits),
            recovering: spec.recovering.then_some(false),
            cancelling: false,
            deadline: spec.deadline,
            deadline_passed: false,
            limits: spec.limits.iter().map(|x| x.0).collect(),
            listed: Vec::with_capacity(spec.calls.len()),
            later: spec.forget.then(|| Later::new(u32::try_from(spec.calls.len()).unwrap_or(NONE))),
            began: false,
            inputs: Vec::new(),
            elements: Pool::default(),
            edges: Vec::new(),
            open_calls: 0,
            service: 0,
            ready: 0,
            class_of: HashMap::new(),
            classes: Vec::new(),
            gate: spec.stop_on_failure.then(Gate::default),
            doubts: Vec::new(),
            lender,
        };
        let slot = match self.runs_free.pop() {
            Some(slot) => {
                self.runs_slab[slot as usize] = Some(run);
                slot
            }
            None => {
                self.runs_slab.push(Some(run));
                u32::try_from(self.runs_slab.len() - 1).expect("fewer than 2^32 runs at once")
            }
        };
        self.runs.insert(spec.run, slot);
        self.recovering += u32::from(spec.recovering);
        if self.runs.len() > 1 && !self.shared {
            self.shared = true;
            self.hold_all();
        }
        if let Some(deadline) = spec.deadline {
            self.timers.set_rare(deadline, TimerId::Run(slot));
        }
        self.list(slot, spec.calls);
        self.run_at_mut(slot).began = true;
        self.end_run_if_done(slot);
    }

    /// Calls were appended to an open run; to one that is not there, nothing happens.
    pub(crate) fn add_calls(&mut self, run: RunId, calls: Vec<CallSpec>) {
        if let Some(&slot) = self.runs.get(&run) {
            self.list(slot, calls);
        }
    }

    /// No more calls will come.
    pub(crate) fn close_run(&mut self, run: RunId) {
        if let Some(&slot) = self.runs.get(&run) {
            self.run_at_mut(slot).open = false;
            self.end_run_if_done(slot);
        }
    }

    /// From one run to several: what runs now holds its keys against the others from now on. This looks at every
    /// call, so it is done once: `shared` stays until no run is left.
    fn hold_all(&mut self) {
        let slots = u32::try_from(self.calls.len()).unwrap_or(NONE);
        for slot in 0..slots {
            let call = &mut self.calls[slot as usize];
            if call.in_flight() && !call.flags.holding {
                call.flags.holding = true;
                self.keys.hold(held(&self.keyed, call), slot);
            }
        }
    }

    fn lender(&self, attempt: AttemptRef) -> Option<Lender> {
        let slot = self.find(attempt.call)?;
        let call = self.call(slot);
        (call.in_flight() && call.attempt == attempt.attempt).then(|| Lender {
            slot,
            attempt: attempt.attempt,
            readied: call.readied,
            run: call.run,
            needs: self.settings(slot).needs.clone(),
            lent: false,
        })
    }

    fn list(&mut self, run: u32, calls: Vec<CallSpec>) {
        let began = self.run_at(run).began;
        let base = if began { self.run_at(run).next_index() } else { 0 };
        let count = u32::try_from(calls.len()).expect("fewer than 2^32 calls");
        let ranks = ranks(base, &calls);
        self.calls.reserve(calls.len().saturating_sub(self.calls_free.len()));
        // Only those with keys, or inputs, are gone through again for them; what stands before the first of those
        // depends on nothing that is still to come, and takes its first step at once.
        let (mut placed, mut connected) = (Vec::new(), Vec::new());
        let mut arrived = 0;
        let mut last: Option<(*const Settings, u32)> = None;
        for (spec, i) in calls.into_iter().zip(0..count) {
            let address = Arc::as_ptr(&spec.settings);
            let class = match last {
                Some((known, class)) if known == address => class,
                _ => self.class_of(run, &spec.settings),
            };
            last = Some((address, class));
            let mut rank = ranks.as_ref().map_or_else(|| own_rank(&spec.settings, i), |ranks| ranks[i as usize]);
            rank.order = seat_order(base + u32::try_from(rank.order).unwrap_or(NONE), NONE);
            let mut call = self.new_call(run, class, rank);
            call.index = base + i;
            call.flags.foreach = spec.foreach;
            call.flags.resolve = spec.resolve || spec.foreach;
            let slot = self.put_call(call);
            let nothing = spec.resolve && self.planted.is(Fault::UnresolvedOverlapsNothing);
            if !spec.claims.is_empty() && !nothing {
                self.set_claims(slot, spec.claims);
                placed.push(slot);
            }
            let inputs = self.run_at_mut(run).put_listed(slot, &spec.inputs);
            if !spec.inputs.is_empty() {
                self.calls[slot as usize].inputs = inputs;
                connected.push(slot);
            }
            if placed.is_empty() && connected.is_empty() {
                self.arrive(slot);
                arrived = i + 1;
            }
        }
        for &slot in &placed {
            self.enter_place(slot);
        }
        for &slot in &connected {
            self.connect(run, base, slot);
        }
        for i in arrived..count {
            if let Some(slot) = self.run_at(run).slot_of(base + i) {
                self.arrive(slot);
            }
        }
    }

    fn new_call(&self, run: u32, class: u32, rank: Rank) -> Call {
        Call {
            state: State::Inputs,
            flags: Flags::default(),
            run,
            class,
            pending: 0,
            edges: NONE,
            readied: 0,
            index: 0,
            attempt: 0,
            active: NONE,
            keyed: NONE,
            rank,
            since: self.now,
            inputs: (0, 0),
            element: NONE,
            parent: NONE,
            elements: NONE,
        }
    }

    fn put_call(&mut self, mut call: Call) -> u32 {
        let (run, class, order) = (call.run, call.class, call.order());
        let slot = match self.calls_free.pop() {
            Some(slot) => {
                // Notes about the last call in this slot must not be taken for notes about this one.
                call.readied = self.calls[slot as usize].readied;
                self.calls[slot as usize] = call;
                slot
            }
            None => {
                self.calls.push(call);
                u32::try_from(self.calls.len() - 1).expect("fewer than 2^32 calls at once")
            }
        };
        self.open_calls += 1;
        let run = self.run_at_mut(run);
        run.open_calls += 1;
        let forgets = run.later.is_some();
        if let Some(gate) = &mut run.gate {
            gate.open.insert(order, slot);
        }
        if forgets {
            self.enter_class(class);
        }
        slot
    }

    /// Makes the edges to a new call from its inputs, and passes its rank on to earlier calls.
    fn connect(&mut self, run: u32, base: u32, slot: u32) {
        let mut earlier = false;
        for i in 0..self.inputs(slot).len() {
            let input = self.inputs(slot)[i];
            let Some(from) = self.run_at(run).slot_of(input.call) else { continue };
            earlier |= input.call < base;
            if self.call(from).state == State::Ended {
                continue;
            }
            let next = self.call(from).edges;
            let run = self.run_at_mut(run);
            let new = Edge { to: slot, next, kind: input.kind };
            let edge = match run.later.as_mut().and_then(|later| later.edges_free.pop()) {
                Some(free) => {
                    run.edges[free as usize] = new;
                    free
                }
                None => {
                    run.edges.push(new);
                    u32::try_from(run.edges.len() - 1).expect("fewer than 2^32 inputs")
                }
            };
            self.calls[from as usize].edges = edge;
            self.calls[slot as usize].pending += 1;
            self.keys.touched += 1;
        }
        if earlier {
            self.pass_rank_on(run, slot);
        }
    }

    /// Earlier calls inherit the rank of an added one; bounded, so that a growing chain costs no more per call.
    fn pass_rank_on(&mut self, run: u32, slot: u32) {
        let mut visits = std::collections::VecDeque::from([slot]);
        let mut left = RANK_VISITS_MAX;
        while let Some(taker) = visits.pop_front() {
            let after = self.call(taker).rank;
            for i in 0..self.inputs(taker).len() {
                let input = self.inputs(taker)[i];
                let Some(from) = self.run_at(run).slot_of(input.call) else { continue };
                let call = self.call(from);
                if call.state == State::Ended || left == 0 {
                    continue;
                }
                left -= 1;
                let expect = u64::try_from(self.settings(from).expect.as_nanos()).unwrap_or(u64::MAX);
                let through = Rank::new(after.priority(), after.path_ns().saturating_add(expect), after.order);
                let rank = inherit(call.rank, through);
                if rank != call.rank {
                    self.rerank(from, rank);
                    visits.push_back(from);
                }
            }
        }
    }

    /// A new call takes its first step.
    fn arrive(&mut self, slot: u32) {
        let call = self.call(slot);
        if call.state != State::Inputs {
            return;
        }
        let run = self.run_at(call.run);
        if run.cancelling {
            let reason = if run.deadline_passed { Reason::Deadline } else { Reason::Cancelled };
            return self.end(slot, Outcome::Cancelled, reason);
        }
        if let Some((order, failed)) = run.gate.as_ref().and_then(|g| g.failed)
            && order < call.order()
        {
            return self.end(slot, Outcome::Skipped, Reason::Stopped(failed));
        }
        let ended = |input: &&Input| {
            input.kind == InputKind::Result
                && run.slot_of(input.call).is_some_and(|from| {
                    let from = self.call(from);
                    from.state == State::Ended && !from.flags.has_result
                })
        };
        // An input that has not ended is an edge.
        if call.pending < call.inputs.1
            && let Some(input) = self.inputs(slot).iter().find(ended)
        {
            let upstream = Reason::Upstream(input.call);
            return self.end(slot, Outcome::Skipped, upstream);
        }
        if call.pending == 0 {
            self.inputs_there(slot);
        }
    }

    /// A `foreach` call becomes as many calls as its list has elements. It keeps its place for them until each has
    /// named its keys.
    pub(crate) fn expand(&mut self, slot: u32, count: u32) {
        let (run, index, place) = {
            let call = self.call(slot);
            (call.run, call.index, call.order())
        };
        if count == 0 {
            return self.end(slot, Outcome::Succeeded, Reason::Tool);
        }
        if let Some(gate) = &mut self.run_at_mut(run).gate {
            gate.open.remove(&place);
        }
        let mut slots = Vec::with_capacity(count as usize);
        for i in 0..count {
            let call = self.call(slot);
            let mut rank = call.rank;
            rank.order = seat_order(u32::try_from(place >> 32).unwrap_or(NONE), i);
            if self.planted.is(Fault::ElementsLast) {
                rank.order |= 1 << 63;
            }
            let mut element = self.new_call(run, call.class, rank);
            element.index = index;
            element.element = i;
            element.parent = slot;
            element.flags.resolve = true;
            element.flags.unplaced = true;
            element.state = State::Resolving { again: false };
            slots.push(self.put_call(element));
        }
        let elements = Elements { slots, unplaced: count, open: count, without_result: 0, cancelled: 0 };
        let slots = elements.slots.clone();
        self.calls[slot as usize].elements = self.run_at_mut(run).elements.put(elements);
        self.set(slot, State::Elements);
        if self.planted.is(Fault::ParentLeavesEarly) {
            self.leave_place(slot);
        }
        for slot in slots {
            let call = self.call_ref(slot);
            self.actions.push_back(Action::Resolve { call, again: false });
        }
    }

    /// An element named its keys, or ended before it could.
    pub(crate) fn placed(&mut self, slot: u32) {
        let call = &mut self.calls[slot as usize];
        if !std::mem::take(&mut call.flags.unplaced) {
            return;
        }
        let parent = call.parent;
        let elements = self.elements_mut(parent).expect("a parent has elements");
        elements.unplaced -= 1;
        if elements.unplaced == 0 && !self.planted.is(Fault::ParentLeavesEarly) {
            self.leave_place(parent);
        }
    }
}

/// The place of a call, or of an element of it: elements stand right behind their `foreach` call.
fn seat_order(place: u32, element: u32) -> u64 {
    (u64::from(place) << 32) | u64::from(element.wrapping_add(1))
}
