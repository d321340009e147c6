//! Admission: which ready call starts now, among those that fit. One owner takes everything an attempt needs at
//! once, so that no order of taking matters and nothing deadlocks.
//! It does not know how calls become ready, nor what follows an attempt.
//!
//! Ready calls of one run with the same settings form a *class*: they need the same, so only the best of a class
//! is ever looked at. A class is a candidate, or parked at the one gate that it was found not to fit through.
//! A run's virtual time only grows, so a key noted earlier is never too large: keys are corrected when they come
//! first ("lazy heap").

use crate::call::{Kept, NONE, State};
use crate::core::Core;
use crate::fault::Fault;
use crate::gates::GateId;
use crate::keys::Block;
use crate::policy::{self, ClassKey, Rank};
use crate::queue::Queue;
use crate::sorted::Sorted;
use crate::timers::TimerId;
use crate::types::*;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Room for so many notes about calls that became ready is kept from one decision to the next.
const FRESH_KEPT: usize = 4_096;

/// Ready calls of one run with the same settings.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) run: u32,
    /// Also keeps the address that names the class from being used again.
    pub(crate) settings: Arc<Settings>,
    queue: Queue,
    place: Place,
    /// What it was last kept out by.
    cause: Option<Cause>,
    /// How many calls of a run that forgets have its settings.
    calls: u32,
    /// Its best call (slot, `readied`), and how many of worse rank took of the limit it waits for.
    passed: (u32, u32, u64),
}

/// Where a class is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// Its queue is empty.
    Idle,
    Candidate(ClassKey),
    Parked {
        gate: GateId,
        amount: u64,
        key: ClassKey,
    },
    /// Being tried: whoever tries it puts it somewhere afterwards.
    Tried,
    Paused,
}

/// The state of admission that is not per call.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    pub(crate) classes: Vec<Option<Class>>,
    free: Vec<u32>,
    candidates: Sorted<(ClassKey, u32)>,
    /// All starts so far.
    starts: u64,
    /// The virtual time of the last start.
    service: u64,
    /// Calls that became ready since the last decision: (slot, `readied`).
    fresh: Vec<(u32, u32)>,
    /// (starts at which it ages, slot, `readied`), in order.
    ageing: VecDeque<(u64, u32, u32)>,
    aged: VecDeque<(u32, u32)>,
    /// The first aged call, when it does not fit yet.
    pub(crate) reserved: Option<u32>,
    /// What waits only because of the reservation.
    kept_classes: BTreeSet<u32>,
    kept_calls: Vec<u32>,
}

/// Why a call can't start now.
#[derive(Clone, Copy, Debug)]
enum Misfit {
    Gate { gate: GateId, amount: u64, reserved: bool },
    Hold(Block),
    ReservedKey(u32),
}

impl Admission {
    /// No call is left: notes about slots must not be taken for notes about later calls in them.
    pub(crate) fn forget_calls(&mut self) {
        self.fresh = Vec::new();
        self.ageing = VecDeque::new();
        self.aged = VecDeque::new();
        self.reserved = None;
        self.kept_calls = Vec::new();
    }

    fn settings(&self, class: u32) -> &Settings {
        &self.classes[class as usize].as_ref().expect("a class of a run").settings
    }
}

impl Core {
    /// Starts what can start.
    pub(crate) fn admit(&mut self) {
        loop {
            if !self.results.woken.is_empty() {
                self.draw_consequences();
            }
            self.age();
            if self.start_aged() {
                continue;
            }
            self.wake_holds();
            self.wake_gates();
            let Some((key, class)) = self.admission.candidates.pop_first() else { break };
            let current = self.class_key(class).expect("a candidate has calls");
            if current > key {
                self.admission.candidates.insert((current, class));
                self.class_mut(class).place = Place::Candidate(current);
                continue;
            }
            self.try_class(class);
        }
        let mut fresh = std::mem::take(&mut self.admission.fresh);
        for (slot, readied) in fresh.drain(..) {
            if self.is_ready_since(slot, readied) {
                let due = policy::ages_at(self.admission.starts, self.open_calls);
                let last = self.admission.ageing.back().map_or(0, |x| x.0);
                self.admission.ageing.push_back((due.max(last), slot, readied));
            }
        }
        if fresh.capacity() <= FRESH_KEPT {
            self.admission.fresh = fresh;
        }
    }

    /// Why a ready call has not started.
    pub(crate) fn ready_cause(&self, slot: u32) -> Option<Cause> {
        let call = self.call(slot);
        let run = self.run_at(call.run);
        match call.state {
            State::Ready { kept: Kept::Hold { block } } => {
                // Whoever was found first may have ended since, with others still in the way.
                let now = self.held_against(slot).map(|now| (self.call_ref(now.holder), now.claim));
                let (holder, claim) = now.or(Some((self.active(slot)?.kept_by?, block.claim)))?;
                Some(Cause::OtherRun { holder, claim })
            }
            State::Ready { kept: Kept::Reserved } => self.active(slot)?.kept_by.map(Cause::Reserved),
            _ if run.paused => Some(Cause::Pause),
            _ => match self.admission.classes[call.class as usize].as_ref().and_then(|c| c.cause) {
                // Its class waits for it; it waits for something itself.
                Some(Cause::Reserved(by)) if by == self.call_ref(slot) => match self.misfit(slot) {
                    Some(Misfit::Gate { gate, .. }) => Some(gate.cause()),
                    Some(Misfit::Hold(b)) => Some(Cause::OtherRun { holder: self.call_ref(b.holder), claim: b.claim }),
                    Some(Misfit::ReservedKey(_)) | None => None,
                },
                cause => cause,
            },
        }
    }

    /// A call became ready.
    pub(crate) fn enqueue(&mut self, slot: u32) {
        self.calls[slot as usize].readied += 1;
        let call = self.call(slot);
        let (run, class, rank, readied) = (call.run, call.class, call.rank, call.readied);
        let service = self.admission.service;
        let r = self.run_at_mut(run);
        if r.ready == 0 {
            r.service = r.service.max(service);
        }
        r.ready += 1;
        self.admission.fresh.push((slot, readied));
        self.class_mut(class).queue.insert((rank, slot));
        self.place_class(class);
    }

    /// A call is no longer ready.
    pub(crate) fn dequeue(&mut self, slot: u32, kept: Kept) {
        let call = self.call(slot);
        let (run, class, rank) = (call.run, call.class, call.rank);
        self.run_at_mut(run).ready -= 1;
        self.unkeep(slot, kept);
        self.leave_queue(class, rank, slot);
        self.place_class(class);
    }

    /// Takes a call that is no longer ready, or no longer of this rank, out of its class's queue.
    fn leave_queue(&mut self, class: u32, rank: Rank, slot: u32) {
        let Core { calls, admission, .. } = self;
        let queue = &mut admission.classes[class as usize].as_mut().expect("a class of a run").queue;
        queue.remove((rank, slot), |(rank, slot)| {
            let call = &calls[slot as usize];
            call.state == State::Ready { kept: Kept::Not } && call.rank == rank
        });
    }

    /// The rank of a call changed while it was ready.
    pub(crate) fn rerank(&mut self, slot: u32, rank: Rank) {
        let call = &mut self.calls[slot as usize];
        let (old, class) = (call.rank, call.class);
        call.rank = rank;
        if call.state == (State::Ready { kept: Kept::Not }) {
            self.leave_queue(class, old, slot);
            self.class_mut(class).queue.insert((rank, slot));
            self.place_class(class);
        }
    }

    /// The class of calls with these settings in a run.
    pub(crate) fn class_of(&mut self, run: u32, settings: &Arc<Settings>) -> u32 {
        let address = Arc::as_ptr(settings) as usize;
        if let Some(&class) = self.run_at(run).class_of.get(&address) {
            return class;
        }
        let class = Class {
            run,
            settings: settings.clone(),
            queue: Queue::default(),
            place: if self.run_at(run).paused { Place::Paused } else { Place::Idle },
            cause: None,
            calls: 0,
            passed: (0, 0, 0),
        };
        let id = match self.admission.free.pop() {
            Some(id) => {
                self.admission.classes[id as usize] = Some(class);
                id
            }
            None => {
                self.admission.classes.push(Some(class));
                u32::try_from(self.admission.classes.len() - 1).expect("fewer than 2^32 classes")
            }
        };
        let run = self.run_at_mut(run);
        run.class_of.insert(address, id);
        run.classes.push(id);
        id
    }

    /// A run ended: its classes, which are empty, go.
    pub(crate) fn drop_classes(&mut self, classes: &[u32]) {
        for &class in classes {
            self.unplace(class);
            self.admission.classes[class as usize] = None;
            self.admission.free.push(class);
        }
    }

    /// A call of a run that forgets has the settings of this class.
    pub(crate) fn enter_class(&mut self, class: u32) {
        self.class_mut(class).calls += 1;
    }

    /// So many calls of a run that forgets are gone. Gives whether they were the last of their class.
    pub(crate) fn leave_class(&mut self, class: u32, calls: u32) -> bool {
        let class = self.class_mut(class);
        class.calls -= calls;
        class.calls == 0
    }

    /// No call has the settings of this class any more.
    pub(crate) fn drop_class(&mut self, run: u32, class: u32) {
        let address = Arc::as_ptr(&self.class(class).settings) as usize;
        let r = self.run_at_mut(run);
        r.class_of.remove(&address);
        r.classes.retain(|&known| known != class);
        self.drop_classes(&[class]);
    }

    /// The run was paused or resumed.
    pub(crate) fn pause_classes(&mut self, run: u32, paused: bool) {
        for class in self.run_at(run).classes.clone() {
            let mut waiting: Vec<u32> = self.class(class).queue.iter().map(|x| x.1).collect();
            waiting.retain(|&slot| matches!(self.call(slot).state, State::Ready { .. }));
            waiting.sort_unstable_by_key(|&slot| (self.call(slot).rank, slot));
            waiting.dedup();
            let cause = if paused { self.class(class).cause } else { Some(Cause::Pause) };
            for slot in waiting {
                self.account(slot, cause.unwrap_or(Cause::Pause));
                self.admission.fresh.push((slot, self.call(slot).readied));
            }
            self.unplace(class);
            if paused {
                self.class_mut(class).place = Place::Paused;
            } else {
                self.class_mut(class).place = Place::Idle;
                self.class_mut(class).cause = None;
                self.place_class(class);
            }
        }
    }

    /// A limit has another capacity: whoever waits for it waits for another amount now.
    pub(crate) fn set_limit(&mut self, limit: LimitId, capacity: u64) {
        self.gates.set_limit(limit, capacity);
        for class in self.gates.parked_at(limit) {
            self.make_candidate(class);
        }
    }

    /// Everything of a run is looked at again, because amounts lent to it are free.
    pub(crate) fn retry_run(&mut self, run: u32) {
        for class in self.run_at(run).classes.clone() {
            self.make_candidate(class);
        }
    }

    pub(crate) fn class(&self, class: u32) -> &Class {
        self.admission.classes[class as usize].as_ref().expect("a class of a run")
    }

    fn class_mut(&mut self, class: u32) -> &mut Class {
        self.admission.classes[class as usize].as_mut().expect("a class of a run")
    }

    fn class_key(&self, class: u32) -> Option<ClassKey> {
        let c = self.class(class);
        let (rank, _) = c.queue.first()?;
        Some(ClassKey { service: self.run_at(c.run).service, rank, run: c.run })
    }

    /// Takes a class out of wherever it is.
    fn unplace(&mut self, class: u32) {
        match self.class(class).place {
            Place::Idle | Place::Tried | Place::Paused => {}
            Place::Candidate(key) => {
                self.admission.candidates.remove((key, class));
            }
            Place::Parked { gate, amount, key } => self.gates.unpark(gate, amount, key, class),
        }
        self.class_mut(class).place = Place::Idle;
    }

    /// Puts a class where it belongs after its queue changed: a parked one stays parked under its new key.
    fn place_class(&mut self, class: u32) {
        let old = self.class(class).place;
        if matches!(old, Place::Paused | Place::Tried) {
            return;
        }
        let new = match (self.class_key(class), old) {
            (None, _) => Place::Idle,
            (Some(key), Place::Parked { gate, amount, .. }) => Place::Parked { gate, amount, key },
            (Some(key), _) => Place::Candidate(key),
        };
        if new == old {
            return;
        }
        self.unplace(class);
        self.put(class, new);
    }

    fn put(&mut self, class: u32, place: Place) {
        match place {
            Place::Idle | Place::Tried | Place::Paused => {}
            Place::Candidate(key) => {
                self.admission.candidates.insert((key, class));
            }
            Place::Parked { gate, amount, key } => self.gates.park(gate, amount, key, class),
        }
        self.class_mut(class).place = place;
        self.keys.touched += 1;
    }

    fn make_candidate(&mut self, class: u32) {
        if self.class(class).place == Place::Paused {
            return;
        }
        self.unplace(class);
        if let Some(key) = self.class_key(class) {
            self.put(class, Place::Candidate(key));
        }
    }

    /// Starts calls of a class that was just taken from the candidates, as long as it is the best; what does not fit
    /// is parked.
    fn try_class(&mut self, class: u32) {
        self.class_mut(class).place = Place::Tried;
        while let Some((_, slot)) = self.class(class).queue.first() {
            if let Some(instead) = self.instead(slot) {
                // Its end may end the run, and the class with it.
                self.class_mut(class).place = Place::Idle;
                self.do_instead(slot, instead);
                return self.draw_consequences();
            }
            match self.misfit(slot) {
                None => self.start(slot),
                Some(Misfit::Gate { gate, amount, reserved }) => return self.park(class, gate, amount, reserved),
                Some(Misfit::Hold(block)) => self.wait_for_hold(slot, block),
                Some(Misfit::ReservedKey(by)) => {
                    self.admission.kept_calls.push(slot);
                    self.keep(slot, Kept::Reserved, Some((self.call_ref(by), 0)));
                }
            }
            self.age();
            self.wake_holds();
            self.wake_gates();
            let Some(key) = self.class_key(class) else { break };
            let best = self.admission.candidates.first().is_none_or(|first| key <= first.0);
            if !best || !self.admission.aged.is_empty() {
                return self.put(class, Place::Candidate(key));
            }
        }
        self.class_mut(class).place = Place::Idle;
    }

    fn park(&mut self, class: u32, gate: GateId, amount: u64, reserved: bool) {
        let key = self.class_key(class).expect("a class with a call");
        let cause = match self.admission.reserved {
            Some(by) if reserved => Cause::Reserved(self.call_ref(by)),
            _ => gate.cause(),
        };
        self.class_mut(class).cause = Some(cause);
        self.put(class, Place::Parked { gate, amount, key });
        if reserved {
            self.admission.kept_classes.insert(class);
        } else if let GateId::Rate(rate) = gate {
            self.timers.set_rare(self.gates.rate_opens(rate), TimerId::Rate(rate));
        }
    }

    /// What keeps a ready call from starting, if anything.
    fn misfit(&self, slot: u32) -> Option<Misfit> {
        let call = self.call(slot);
        let run = self.run_at(call.run);
        let lender = run.lender.as_ref().filter(|x| !x.lent);
        // It may have ended since, until somebody starts again.
        let waits = |r: u32| matches!(self.call(r).state, State::Ready { .. });
        let reserved = self.admission.reserved.filter(|&r| r != slot && waits(r)).map(|r| (r, self.settings(r)));
        let settings = self.settings(slot);
        for &(limit, amount) in &settings.needs {
            let amount = amount.saturating_sub(lent(lender.map(|x| &*x.needs), limit));
            if !self.gates.fits(limit, amount, 0) {
                let amount = self.gates.capped(limit, amount);
                return Some(Misfit::Gate { gate: GateId::Limit(limit), amount, reserved: false });
            }
            let kept = reserved.map_or(0, |(_, other)| lent(Some(&other.needs), limit));
            if kept > 0 && !self.gates.fits(limit, amount, kept) {
                let amount = self.gates.capped(limit, amount) + self.gates.capped(limit, kept);
                return Some(Misfit::Gate { gate: GateId::Limit(limit), amount, reserved: true });
            }
        }
        for &rate in &settings.rates {
            let gate = GateId::Rate(rate);
            if self.gates.rate_opens(rate) > self.now {
                return Some(Misfit::Gate { gate, amount: 1, reserved: false });
            }
            if reserved.is_some_and(|(_, other)| other.rates.contains(&rate)) {
                return Some(Misfit::Gate { gate, amount: 2, reserved: true });
            }
        }
        if let Some(block) = self.held_against(slot) {
            return Some(Misfit::Hold(block));
        }
        let by = reserved.map(|(r, _)| r).filter(|&r| {
            let other = self.call(r);
            let waits = matches!(other.state, State::Ready { kept: Kept::Hold { .. } });
            waits && other.run != call.run && run.lender.is_none() && conflict(self.claims(slot), self.claims(r))
        });
        by.map(Misfit::ReservedKey)
    }

    fn held_against(&self, slot: u32) -> Option<Block> {
        let call = self.call(slot);
        if call.keyed == NONE || !self.keys.any_held() {
            return None;
        }
        let run = self.run_at(call.run);
        self.keys.held_against(self.held(slot), |holder| holder == slot || self.is_lender(run.lender.as_ref(), holder))
    }

    fn wait_for_hold(&mut self, slot: u32, block: Block) {
        let holder = self.call_ref(block.holder);
        let ticket = self.keys.wait_hold(block, self.hold_kind(slot, block), slot);
        self.keep(slot, Kept::Hold { block }, Some((holder, ticket)));
    }

    /// Which calls are let in together when a hold at this block ends.
    fn hold_kind(&self, slot: u32, block: Block) -> usize {
        if self.run_at(self.call(slot).run).lender.is_some() {
            return crate::keys::KIND_LENT;
        }
        let held = self.held(slot)[block.claim as usize];
        2 * usize::from(held.node == block.node) + usize::from(held.write)
    }

    fn start(&mut self, slot: u32) {
        let Core { calls, runs_slab, gates, admission, .. } = self;
        let call = &mut calls[slot as usize];
        let run = runs_slab[call.run as usize].as_mut().expect("a run in its slot");
        let service = run.service;
        run.service += policy::service(run.weight);
        admission.service = admission.service.max(service);
        admission.starts += 1;
        let settings = admission.settings(call.class);
        let lender = run.lender.as_mut().filter(|x| !x.lent);
        call.flags.borrowing = lender.is_some();
        let lent_needs = lender.map(|x| {
            x.lent = true;
            &*x.needs
        });
        let mut waited_for = false;
        for &(limit, amount) in &settings.needs {
            waited_for |= gates.take(limit, amount.saturating_sub(lent(lent_needs, limit)));
        }
        for &rate in &settings.rates {
            gates.take_rate(rate, self.now);
        }
        let since = call.since;
        if waited_for {
            self.count_passed(slot, service);
        }
        if self.now > since {
            let cause = self.ready_cause(slot).unwrap_or(Cause::Resolve);
            self.account(slot, cause);
        }
        self.begin_attempt(slot);
    }

    /// A call is about to start: better ones that wait for a limit it takes of are passed over.
    /// `service` is the virtual time its run had when it was chosen.
    fn count_passed(&mut self, slot: u32, service: u64) {
        let call = &self.calls[slot as usize];
        let key = ClassKey { service, rank: call.rank, run: call.run };
        let settings = self.class(call.class).settings.clone();
        for &(limit, _) in &settings.needs {
            let Some((noted, parked)) = self.gates.first_parked(limit) else { continue };
            let Some(mut current) = self.class_key(parked).filter(|_| noted < key) else { continue };
            if current.run == key.run {
                // Of its own run, which has just been charged for the start.
                current.service = service;
            }
            if current >= key {
                continue;
            }
            let Some((_, first)) = self.class(parked).queue.first() else { continue };
            let readied = self.call(first).readied;
            let passed = &mut self.class_mut(parked).passed;
            let count = if (passed.0, passed.1) == (first, readied) { passed.2 + 1 } else { 1 };
            *passed = (first, readied, count);
            if count == policy::OVERTAKES && !self.planted.is(Fault::AgeingOff) {
                self.admission.aged.push_back((first, readied));
            }
        }
    }

    /// Gives back what an attempt of the call used.
    pub(crate) fn give_back(&mut self, slot: u32) {
        let Core { calls, runs_slab, gates, admission, .. } = self;
        let call = &mut calls[slot as usize];
        let borrowing = std::mem::take(&mut call.flags.borrowing);
        let mut lender = None;
        if borrowing {
            let run = runs_slab[call.run as usize].as_mut().expect("a run in its slot");
            lender = run.lender.as_mut();
        }
        let lent_needs = lender.map(|x| {
            x.lent = false;
            &*x.needs
        });
        for &(limit, amount) in &admission.settings(call.class).needs {
            gates.give_back(limit, amount.saturating_sub(lent(lent_needs, limit)));
        }
        if borrowing {
            let run = call.run;
            self.retry_run(run);
        }
    }

    /// Calls that were passed over often enough are aged.
    fn age(&mut self) {
        let a = &mut self.admission;
        if self.planted.is(Fault::AgeingOff) {
            return;
        }
        while let Some(&(due, slot, readied)) = a.ageing.front()
            && due <= a.starts
        {
            a.ageing.pop_front();
            a.aged.push_back((slot, readied));
        }
    }

    /// Starts the first aged call, or reserves for it what it needs.
    fn start_aged(&mut self) -> bool {
        while let Some(&(slot, readied)) = self.admission.aged.front() {
            if !self.is_ready_since(slot, readied) || self.run_at(self.call(slot).run).paused {
                self.admission.aged.pop_front();
                continue;
            }
            if self.admission.reserved != Some(slot) {
                self.unreserve();
                self.admission.reserved = Some(slot).filter(|_| !self.planted.is(Fault::ReservationOff));
            }
            if let Some(instead) = self.instead(slot) {
                self.do_instead(slot, instead);
                self.draw_consequences();
                return true;
            }
            if let Some(misfit) = self.misfit(slot) {
                // Its class may wait at another gate, so that nobody else would come back for this rate.
                if let Misfit::Gate { gate: GateId::Rate(rate), .. } = misfit {
                    self.timers.set_rare(self.gates.rate_opens(rate), TimerId::Rate(rate));
                }
                return false;
            }
            self.admission.aged.pop_front();
            self.start(slot);
            return true;
        }
        if self.admission.reserved.is_some() {
            self.unreserve();
        }
        false
    }

    /// Ends the reservation: what it kept back is looked at again.
    fn unreserve(&mut self) {
        self.admission.reserved = None;
        for class in std::mem::take(&mut self.admission.kept_classes) {
            if self.admission.classes[class as usize].is_some() {
                self.make_candidate(class);
            }
        }
        for slot in std::mem::take(&mut self.admission.kept_calls) {
            if matches!(self.call(slot).state, State::Ready { kept: Kept::Reserved }) {
                self.keep(slot, Kept::Not, None);
            }
        }
    }

    /// Gates that got room: the best class that waits there is a candidate again.
    fn wake_gates(&mut self) {
        let mut at = 0;
        while at < self.gates.freed.len() {
            let gate = self.gates.freed[at];
            match self.gates.best_parked(gate, self.now) {
                None => {
                    self.gates.freed.swap_remove(at);
                    if let GateId::Rate(rate) = gate
                        && self.gates.is_waited_for(gate)
                        && self.gates.rate_opens(rate) > self.now
                    {
                        self.timers.set_rare(self.gates.rate_opens(rate), TimerId::Rate(rate));
                    }
                }
                Some((key, class)) => {
                    let current = self.class_key(class).expect("a parked class has calls");
                    let Place::Parked { gate, amount, .. } = self.class(class).place else {
                        unreachable!("a class stands where it says")
                    };
                    self.unplace(class);
                    if current > key {
                        self.put(class, Place::Parked { gate, amount, key: current });
                    } else {
                        self.put(class, Place::Candidate(current));
                        at += 1;
                    }
                }
            }
        }
    }

    /// Nodes where a hold ended: who waits there and is let in by it is queued again.
    fn wake_holds(&mut self) {
        while let Some(node) = self.keys.freed.pop() {
            for kind in 0..crate::keys::KINDS {
                let mut after = 0;
                while let Some((ticket, slot)) = self.keys.waiting_hold(node, kind, after) {
                    let State::Ready { kept: Kept::Hold { block } } = self.call(slot).state else {
                        unreachable!("a waiting call is ready")
                    };
                    match self.held_against(slot) {
                        None => self.keep(slot, Kept::Not, None),
                        // As the first of its kind, so the others; but it may be kept by another claim by now.
                        Some(now) if now.node == block.node && self.hold_kind(slot, now) == kind => {
                            if kind != crate::keys::KIND_LENT {
                                break;
                            }
                            after = ticket;
                        }
                        Some(now) => self.wait_for_hold(slot, now),
                    }
                }
            }
        }
    }

    /// Changes what keeps a ready call out of its class's queue; `by` is who does, and the ticket of the call there.
    fn keep(&mut self, slot: u32, kept: Kept, by: Option<(CallRef, u64)>) {
        let State::Ready { kept: old } = self.call(slot).state else { unreachable!("only ready calls are kept") };
        if let Some(cause) = self.ready_cause(slot) {
            self.account(slot, cause);
        }
        self.unkeep(slot, old);
        if let Some((holder, ticket)) = by {
            let active = self.active_mut(slot);
            (active.kept_by, active.ticket) = (Some(holder), ticket);
        }
        let call = &mut self.calls[slot as usize];
        call.state = State::Ready { kept };
        let (class, rank) = (call.class, call.rank);
        if kept == Kept::Not {
            self.class_mut(class).queue.insert((rank, slot));
        } else {
            self.leave_queue(class, rank, slot);
        }
        self.place_class(class);
    }

    fn unkeep(&mut self, slot: u32, kept: Kept) {
        if let (Kept::Hold { block }, Some(active)) = (kept, self.active.get(self.calls[slot as usize].active)) {
            self.keys.unwait_hold(block.node, active.ticket);
        }
    }

    fn is_ready_since(&self, slot: u32, readied: u32) -> bool {
        let call = self.call(slot);
        matches!(call.state, State::Ready { .. }) && call.readied == readied
    }

    /// Whether `holder` is the attempt inside which the run was started, or one around it.
    fn is_lender(&self, lender: Option<&crate::call::Lender>, holder: u32) -> bool {
        let mut lender = lender;
        while let Some(l) = lender {
            if l.slot == holder {
                let call = self.call(holder);
                return (call.attempt, call.readied) == (l.attempt, l.readied);
            }
            lender = self.runs_slab.get(l.run as usize).and_then(|r| r.as_ref()).and_then(|r| r.lender.as_ref());
        }
        false
    }
}

/// How much of a limit these needs hold.
fn lent(needs: Option<&[(LimitId, u64)]>, limit: LimitId) -> u64 {
    needs.and_then(|n| n.iter().find(|x| x.0 == limit)).map_or(0, |x| x.1)
}

/// Whether two calls may not run at once.
pub(crate) fn conflict(a: &[Claim], b: &[Claim]) -> bool {
    a.iter().any(|x| b.iter().any(|y| (x.write || y.write) && x.key.overlaps(&y.key)))
}
