//! Results handed on: which call is given another's result instead of an attempt, and from when on no longer.
//! It does not know values, nor how a call becomes ready or an attempt ends.
//!
//! An attempt of a call with an identity is a *flight*: calls of the run with the same identity and keys join it when
//! they are ready to start. When it succeeds they end with it, and its result is kept for those that come later; when it
//! does not they are ready by themselves. Flights and kept results are entries in the tree of keys, where a write finds
//! those that read what it writes: O(depth + those found), each gone with O(depth · log n).

use crate::call::{Kept, NONE, State};
use crate::core::Core;
use crate::fault::Fault;
use crate::keys::{Note, Noted, NumberMap};
use crate::on_disk::OnDisk;
use crate::policy;
use crate::types::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// In place of a run: results that any run may be handed.
const ENGINE: u32 = NONE;

/// In place of a run: what this engine has stored on the disk. It tells who looked before that to look again.
const DISK: u32 = NONE - 1;

/// Those who wait for a flight: place in serial order, slot.
pub(crate) type Joined = BTreeSet<(u64, u32)>;

/// All entries of an engine, and what keeps results from becoming one.
#[derive(Debug, Default)]
pub(crate) struct Results {
    entries: BTreeMap<u64, Entry>,
    /// What is in the air, by run and identity.
    flights: BTreeMap<(u32, Identity), u64>,
    /// What is kept, by run or [`ENGINE`], and identity.
    kept: BTreeMap<(u32, Identity), u64>,
    /// What is kept, oldest first.
    ages: BTreeSet<u64>,
    last: u64,
    /// The identities of calls that have not ended, by slot; never iterated.
    identities: NumberMap<u32, Identity>,
    /// Calls whose flight gave them nothing, and its leader: ready by themselves once all that follows has been drawn.
    pub(crate) woken: VecDeque<(u32, u32)>,
    /// Calls whose flight succeeded, and its leader: each ends with its result once all that follows from the end
    /// before it has been drawn, as when the record of it is told again.
    pub(crate) handed: VecDeque<(u32, u32)>,
    /// Writes of which nobody knows whether they took effect, or still will, by run and place in its serial order.
    doubts: BTreeMap<(u32, u64), Doubt>,
    pub(crate) disk: OnDisk,
}

#[derive(Debug)]
struct Entry {
    identity: Identity,
    claims: Claims,
    /// Where it is noted.
    nodes: Noted,
    stage: Stage,
}

#[derive(Debug)]
struct Doubt {
    id: u64,
    /// Whose write it is; `None` for what remains of many.
    call: Option<CallRef>,
    claims: Claims,
    nodes: Noted,
}

#[derive(Debug)]
enum Stage {
    Flying(Flight),
    Kept { scope: u32, given: Time },
}

#[derive(Debug)]
struct Flight {
    leader: u32,
    run: u32,
    joined: Joined,
    /// Why the attempt is to end once nobody else wants it.
    abort: Option<AbortReason>,
}

/// What will do instead of an attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Instead {
    Entry(u64),
    Flight {
        leader: u32,
    },
    /// Nothing that is known, but there may be something on the disk.
    Look,
}

impl Results {
    /// The last number that was given to an entry.
    pub(crate) fn last_entry(&self) -> u64 {
        self.last
    }
}

impl Core {
    /// The driver said what a call would be told. Only what may be shared is noted.
    pub(crate) fn identify(&mut self, slot: u32, same: Option<Identity>) {
        let settings = self.settings(slot);
        let reads = settings.repeatable && self.claims(slot).iter().all(|claim| !claim.write);
        let same = same.filter(|_| reads && settings.reuse.is_some());
        if same.is_none() && !self.call(slot).flags.same {
            return;
        }
        self.calls[slot as usize].flags.same = same.is_some();
        match same {
            Some(identity) => self.results.identities.insert(slot, identity),
            None => self.results.identities.remove(&slot),
        };
    }

    /// Nothing stands in a call's way but amounts, rates and other runs.
    pub(crate) fn get_ready(&mut self, slot: u32) {
        if let Some(instead) = self.instead(slot)
            && !self.run_at(self.call(slot).run).paused
        {
            return self.do_instead(slot, instead);
        }
        self.set(slot, State::Ready { kept: Kept::Not });
    }

    /// What will do instead of an attempt of a call that is ready to start. Only then is it asked: all earlier writes
    /// of its run have ended, and no later one has started.
    pub(crate) fn instead(&self, slot: u32) -> Option<Instead> {
        let call = self.call(slot);
        if !call.flags.same {
            return None;
        }
        let identity = *self.results.identities.get(&slot)?;
        let reuse = self.settings(slot).reuse?;
        let fits = |id: &&u64| self.results.entries.get(*id).is_some_and(|entry| *entry.claims == *self.claims(slot));
        let scope = self.scope(call.run, reuse);
        if scope != DISK
            && let Some(id) = self.results.kept.get(&(scope, identity)).filter(fits)
            && let Some(Stage::Kept { given, .. }) = self.results.entries.get(id).map(|entry| &entry.stage)
            && (self.planted.is(Fault::ExpiredHandedOn) || policy::is_fresh(reuse.ttl, *given, self.now))
        {
            return Some(Instead::Entry(*id));
        }
        let flight = self.results.flights.get(&(call.run, identity)).filter(fits);
        if let Some(id) = flight.filter(|_| !self.planted.is(Fault::FlightNotJoined))
            && let Some(Stage::Flying(flight)) = self.results.entries.get(id).map(|entry| &entry.stage)
        {
            return Some(Instead::Flight { leader: flight.leader });
        }
        let stored = || self.results.kept.get(&(DISK, identity)).copied();
        (scope == DISK && self.results.disk.wants_look(slot, stored)).then_some(Instead::Look)
    }

    fn scope(&self, run: u32, reuse: Reuse) -> u32 {
        match reuse.scope {
            Scope::Disk if self.results.disk.on => DISK,
            Scope::Run if !self.planted.is(Fault::ResultCrossesRuns) => run,
            _ => ENGINE,
        }
    }

    /// Spares a call its attempt.
    pub(crate) fn do_instead(&mut self, slot: u32, instead: Instead) {
        match instead {
            Instead::Entry(id) => self.hand_on(slot, Source::Entry(EntryId(id))),
            Instead::Look => self.look(slot),
            Instead::Flight { leader } => {
                if matches!(self.call(slot).state, State::Ready { .. }) {
                    let cause = self.ready_cause(slot).unwrap_or(Cause::Resolve);
                    self.account(slot, cause);
                }
                if self.planted.is(Fault::JoinedTakesAmounts) {
                    let needs = self.settings(slot).needs.clone();
                    for &(limit, amount) in &needs {
                        self.gates.take(limit, amount);
                    }
                }
                if self.planted.is(Fault::JoinedLeavesPlace) {
                    self.leave_place(slot);
                }
                self.set(slot, State::Joined { leader });
            }
        }
    }

    pub(crate) fn hand_on(&mut self, slot: u32, from: Source) {
        let call = self.call_ref(slot);
        self.actions.push_back(Action::Reuse { call, from });
        self.end(slot, Outcome::Succeeded, Reason::Reused);
    }

    /// An attempt starts: others may join it.
    pub(crate) fn take_off(&mut self, slot: u32) {
        let call = self.call(slot);
        let (run, keyed) = (call.run, call.keyed);
        let Some(&identity) = self.results.identities.get(&slot) else { return };
        if self.results.flights.contains_key(&(run, identity)) {
            return;
        }
        let claims = self.keyed.get(keyed).map(|keyed| keyed.claims.clone()).unwrap_or_default();
        self.results.last += 1;
        let id = self.results.last;
        let nodes = self.keys.note(Note::Result, claims.iter().map(|claim| &claim.key), id);
        let stage = Stage::Flying(Flight { leader: slot, run, joined: Joined::new(), abort: None });
        self.results.flights.insert((run, identity), id);
        self.results.entries.insert(id, Entry { identity, claims, nodes, stage });
    }

    /// The flight that a call leads, and its number.
    fn flight_of(&mut self, leader: u32) -> Option<(u64, &mut Flight)> {
        let call = &self.calls[leader as usize];
        if !call.flags.same {
            return None;
        }
        let identity = self.results.identities.get(&leader)?;
        let id = *self.results.flights.get(&(call.run, *identity))?;
        match &mut self.results.entries.get_mut(&id)?.stage {
            Stage::Flying(flight) if flight.leader == leader => Some((id, flight)),
            _ => None,
        }
    }

    /// A call waits for a flight from now on, or no longer.
    pub(crate) fn aboard(&mut self, slot: u32, leader: u32, on: bool) {
        let order = self.call(slot).order();
        if let Some((_, flight)) = self.flight_of(leader) {
            match on {
                true => flight.joined.insert((order, slot)),
                false => flight.joined.remove(&(order, slot)),
            };
        }
    }

    /// Puts off an abort that somebody wants while others want the result. The attempt goes on, and a tool that
    /// answers in time is believed, as while an attempt is aborted. Gives whether it was put off.
    pub(crate) fn put_off(&mut self, leader: u32, reason: AbortReason) -> bool {
        if reason < AbortReason::Stopped || self.planted.is(Fault::CancelAbortsJoined) {
            return false;
        }
        let Some((_, flight)) = self.flight_of(leader).filter(|(_, flight)| !flight.joined.is_empty()) else {
            return false;
        };
        flight.abort = flight.abort.max(Some(reason));
        true
    }

    /// Why an attempt is to end that goes on for others.
    pub(crate) fn put_off_reason(&mut self, leader: u32) -> Option<AbortReason> {
        self.flight_of(leader)?.1.abort
    }

    /// Somebody who had joined is gone: what nobody wants any more ends.
    pub(crate) fn left_flight(&mut self, leader: u32) {
        if let Some((_, flight)) = self.flight_of(leader)
            && flight.joined.is_empty()
            && let Some(reason) = flight.abort
        {
            self.abort(leader, reason);
        }
    }

    /// An attempt is over. Keeps its result, if there is one to keep, and gives those who waited for it.
    pub(crate) fn land(&mut self, slot: u32, succeeded: bool) -> Joined {
        let looked = self.results.disk.landed(slot);
        let Some((id, flight)) = self.flight_of(slot) else { return Joined::new() };
        let (run, joined) = (flight.run, std::mem::take(&mut flight.joined));
        if (succeeded || self.planted.is(Fault::FailureKept)) && self.may_keep(slot, id) {
            self.keep_result(slot, run, id, looked);
        } else {
            self.remove_entry(id);
        }
        joined
    }

    /// What follows for those who waited for a flight: first what follows from the end of its leader, which may be
    /// theirs too (`on_failure: stop`).
    pub(crate) fn landed(&mut self, leader: u32, joined: Joined, succeeded: bool) {
        if joined.is_empty() {
            return;
        }
        if succeeded {
            self.taken_by(leader, joined.len());
        }
        let waiting = if succeeded { &mut self.results.handed } else { &mut self.results.woken };
        waiting.extend(joined.into_iter().map(|(_, slot)| (slot, leader)));
    }

    /// Ends with the result of a flight.
    pub(crate) fn flight_succeeded(&mut self, slot: u32, leader: u32) {
        if self.call(slot).state == (State::Joined { leader }) {
            self.hand_on(slot, Source::Call(self.call_ref(leader)));
        }
        self.taken(leader);
    }

    /// Goes on alone after a flight.
    pub(crate) fn flight_over(&mut self, slot: u32, leader: u32) {
        if self.call(slot).state == (State::Joined { leader }) {
            self.account(slot, Cause::Flight(self.call_ref(leader)));
            self.get_ready(slot);
        }
    }

    /// Not while something that overlaps may still be written: by a doubt, or by the attempt the run was started in.
    fn may_keep(&self, slot: u32, id: u64) -> bool {
        let Some(entry) = self.results.entries.get(&id) else { return false };
        let in_doubt = |claim: &Claim| self.keys.noted(Note::Doubt, &claim.key).next().is_some();
        if !self.results.doubts.is_empty() && entry.claims.iter().any(in_doubt) {
            return self.planted.is(Fault::KeptInDoubt);
        }
        if self.planted.is(Fault::KeptUnderWriter) {
            return true;
        }
        !self.keys.any_held() || self.keys.held_against(self.held(slot), |holder| holder == slot).is_none()
    }

    fn keep_result(&mut self, slot: u32, run: u32, id: u64, looked: Option<Stamp>) {
        let Some(reuse) = self.settings(slot).reuse else { return };
        let (scope, given) = (self.scope(run, reuse), self.now);
        if scope == DISK && looked.is_none() {
            // Nobody could say whether something it read was written meanwhile.
            self.remove_entry(id);
            return;
        }
        let Some(entry) = self.results.entries.get_mut(&id) else { return };
        entry.stage = Stage::Kept { scope, given };
        let identity = entry.identity;
        self.results.flights.remove(&(run, identity));
        let before = self.results.kept.get(&(scope, identity)).copied();
        let oldest = self.results.ages.first().copied().filter(|_| self.results.ages.len() >= policy::RESULTS_MAX);
        if let Some(old) = before {
            self.drop_result(old, Gone::Over);
        } else if let Some(old) = oldest {
            self.drop_result(old, Gone::Room);
        }
        self.results.kept.insert((scope, identity), id);
        self.results.ages.insert(id);
        let (call, entry) = (self.call_ref(slot), EntryId(id));
        self.actions.push_back(match looked.filter(|_| scope == DISK) {
            Some(stamp) => Action::Store { call, entry, stamp },
            None => Action::Keep { call, entry },
        });
    }

    /// The driver has no room for a result.
    pub(crate) fn result_dropped(&mut self, entry: EntryId) {
        if self.results.ages.contains(&entry.0) {
            self.remove_entry(entry.0);
        }
    }

    /// Takes an entry out of every index.
    fn remove_entry(&mut self, id: u64) -> Option<Stage> {
        let entry = self.results.entries.remove(&id)?;
        match &entry.stage {
            Stage::Flying(flight) => self.results.flights.remove(&(flight.run, entry.identity)),
            Stage::Kept { scope, .. } => self.results.kept.remove(&(*scope, entry.identity)),
        };
        self.results.ages.remove(&id);
        self.keys.forget(Note::Result, &entry.nodes, id);
        Some(entry.stage)
    }

    /// A result is not to be handed on any more; who waits for one still in the air goes alone.
    fn drop_result(&mut self, id: u64, why: Gone) {
        if let Some(stage) = self.remove_entry(id) {
            self.dropped(id, stage, why);
        }
    }

    fn dropped(&mut self, id: u64, stage: Stage, why: Gone) {
        match stage {
            Stage::Kept { .. } => self.actions.push_back(Action::Forget { entry: EntryId(id), why }),
            Stage::Flying(flight) => {
                self.landed(flight.leader, flight.joined, false);
                if let Some(reason) = flight.abort {
                    self.abort(flight.leader, reason);
                }
            }
        }
    }

    /// An attempt that writes begins, or is over: what it overlaps is not what it was.
    pub(crate) fn written(&mut self, slot: u32) {
        if !self.results.entries.is_empty()
            && let Some(keyed) = self.keyed.get(self.call(slot).keyed)
        {
            let claims = keyed.claims.clone();
            self.invalidate(&claims);
        }
    }

    fn invalidate(&mut self, claims: &[Claim]) {
        let written = claims.iter().filter(|claim| claim.write);
        let mut found: Vec<u64> = written.flat_map(|claim| self.keys.noted(Note::Result, &claim.key)).collect();
        if self.planted.is(Fault::StruckFlightJoined) {
            found.retain(|id| self.results.ages.contains(id));
        }
        found.sort_unstable();
        // One that reads several of the keys is found several times, and removed once.
        let gone: Vec<(u64, Stage)> = found.iter().filter_map(|&id| Some((id, self.remove_entry(id)?))).collect();
        for (id, stage) in gone {
            self.dropped(id, stage, Gone::Written);
        }
    }

    /// Whether a write of this call may still take effect, or have taken it.
    pub(crate) fn is_doubted(&self, slot: u32) -> bool {
        self.results.doubts.contains_key(&(self.call(slot).run, self.call(slot).order()))
    }

    /// Nobody knows whether an attempt took effect, or still will: what it can have written is not kept meanwhile.
    pub(crate) fn doubt(&mut self, slot: u32) {
        let call = self.call(slot);
        let place = (call.run, call.order());
        let Some(keyed) = self.keyed.get(call.keyed) else { return };
        if self.results.doubts.contains_key(&place) || !keyed.claims.iter().any(|claim| claim.write) {
            return;
        }
        let claims = keyed.claims.clone();
        let call = self.call_ref(slot);
        self.note_doubt(place, claims, Some(call));
    }

    fn note_doubt(&mut self, place: (u32, u64), claims: Claims, call: Option<CallRef>) {
        self.results.last += 1;
        let id = self.results.last;
        let written = claims.iter().filter(|claim| claim.write).map(|claim| &claim.key);
        let nodes = self.keys.note(Note::Doubt, written, id);
        self.results.doubts.insert(place, Doubt { id, call, claims, nodes });
    }

    /// How many doubts are noted.
    #[cfg(test)]
    pub(crate) fn doubts_noted(&self) -> usize {
        self.results.doubts.len()
    }

    /// A call is forgotten, and a doubt about it is not. Of a run that has had many, one doubt about everything
    /// remains: it only keeps results from being handed on.
    pub(crate) fn doubt_remains(&mut self, slot: u32) {
        let call = self.call(slot);
        let (run, place) = (call.run, (call.run, call.order()));
        if self.run_at(run).doubts.len() <= policy::DOUBTS_MAX {
            return;
        }
        let Some(doubt) = self.results.doubts.remove(&place) else { return };
        self.keys.forget(Note::Doubt, &doubt.nodes, doubt.id);
        let whole = (run, u64::MAX);
        if !self.results.doubts.contains_key(&whole) {
            let claims = [Claim { key: Key::root(), write: true }];
            self.note_doubt(whole, claims.into_iter().collect(), None);
        }
    }

    /// A call ended. A doubt about it ends when it did take effect; else with the run, as nobody will know before.
    pub(crate) fn forget_call(&mut self, slot: u32, outcome: Outcome) {
        let call = &mut self.calls[slot as usize];
        let place = (call.run, call.order());
        if std::mem::take(&mut call.flags.same) {
            self.results.identities.remove(&slot);
            self.results.disk.forget(slot);
        }
        if outcome == Outcome::Succeeded && !self.results.doubts.is_empty() {
            self.doubts_over(place, place);
        }
    }

    /// A run ended: its results and its doubts go with it.
    pub(crate) fn forget_run(&mut self, run: u32) {
        let of_run = (run, Identity(0))..=(run, Identity(u128::MAX));
        let kept: Vec<u64> = self.results.kept.range(of_run).map(|(_, &id)| id).collect();
        for id in kept {
            self.drop_result(id, Gone::Over);
        }
        self.doubts_over((run, 0), (run, u64::MAX));
    }

    fn doubts_over(&mut self, from: (u32, u64), to: (u32, u64)) {
        while let Some((&place, _)) = self.results.doubts.range(from..=to).next()
            && let Some(doubt) = self.results.doubts.remove(&place)
        {
            self.keys.forget(Note::Doubt, &doubt.nodes, doubt.id);
            if !self.planted.is(Fault::WriteEndKeeps) {
                self.invalidate(&doubt.claims);
            }
            if let Some(call) = doubt.call.filter(|_| self.results.disk.on) {
                self.actions.push_back(Action::CloseWrite { call });
            }
        }
    }
}
