//! Limits and rates: how much room each has, and which classes of calls wait for it.
//! It does not know calls or runs; whoever waits is a class with its key.

use crate::fault::{Fault, Planted};
use crate::keys::NumberMap;
use crate::policy::ClassKey;
use crate::sorted::Sorted;
use crate::types::{Cause, LimitId, RateId, Time};
use std::time::Duration;

/// Something that lets calls through one by one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum GateId {
    Limit(LimitId),
    Rate(RateId),
}

impl GateId {
    pub(crate) fn cause(self) -> Cause {
        match self {
            GateId::Limit(limit) => Cause::Limit(limit),
            GateId::Rate(rate) => Cause::Rate(rate),
        }
    }
}

/// Classes that wait at a gate, by the amount they wait for; none is without classes, but for the only one.
#[derive(Debug, Default)]
struct Parked(Vec<(u64, Sorted<(ClassKey, u32)>)>);

impl Parked {
    fn insert(&mut self, amount: u64, key: ClassKey, class: u32) {
        let at = self.0.binary_search_by_key(&amount, |x| x.0).unwrap_or_else(|at| {
            self.0.insert(at, (amount, Sorted::default()));
            at
        });
        self.0[at].1.insert((key, class));
        if self.0.len() == 2 {
            self.0.retain(|x| !x.1.is_empty());
        }
    }

    fn remove(&mut self, amount: u64, key: ClassKey, class: u32) {
        let Ok(at) = self.0.binary_search_by_key(&amount, |x| x.0) else { return };
        self.0[at].1.remove((key, class));
        if self.0[at].1.is_empty() && self.0.len() > 1 {
            self.0.remove(at);
        }
    }

    /// The best that waits for no more than `room`: one look per amount.
    fn best(&self, room: u64) -> Option<(ClassKey, u32)> {
        self.0.iter().take_while(|x| x.0 <= room).filter_map(|x| x.1.first()).min()
    }

    fn is_empty(&self) -> bool {
        self.0.first().is_none_or(|x| x.1.is_empty())
    }

    fn classes(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(|x| x.1.iter()).map(|x| x.1)
    }
}

#[derive(Debug, Default)]
struct Limit {
    capacity: u64,
    used: u64,
    parked: Parked,
}

/// A rate as a generic cell rate algorithm (ITU-T I.371): `tat` is the theoretical arrival time of the next start.
#[derive(Debug, Default)]
struct Rate {
    period: Duration,
    tolerance: Duration,
    tat: Time,
    parked: Parked,
}

/// All limits and rates of an engine. A limit nobody set has no bound.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    limits: NumberMap<LimitId, Limit>,
    rates: NumberMap<RateId, Rate>,
    /// Gates that may have room for somebody who waits there.
    pub(crate) freed: Vec<GateId>,
    planted: Planted,
}

impl Gates {
    pub(crate) fn new(planted: Planted) -> Gates {
        Gates { planted, ..Gates::default() }
    }

    pub(crate) fn set_limit(&mut self, id: LimitId, capacity: u64) {
        self.limits.entry(id).or_default().capacity = capacity;
        self.freed.push(GateId::Limit(id));
    }

    pub(crate) fn drop_limit(&mut self, id: LimitId) {
        self.limits.remove(&id);
    }

    pub(crate) fn set_rate(&mut self, id: RateId, period: Duration, burst: u32) {
        let rate = self.rates.entry(id).or_default();
        rate.period = period;
        rate.tolerance = period.saturating_mul(burst.max(1) - 1);
        self.freed.push(GateId::Rate(id));
    }

    /// Whether `amount` fits beside what is used and `spare`, which is kept for somebody else. An amount above the
    /// capacity counts as the whole of it.
    pub(crate) fn fits(&self, id: LimitId, amount: u64, spare: u64) -> bool {
        let Some(limit) = self.limits.get(&id) else { return true };
        let slack = u64::from(self.planted.is(Fault::LimitOffByOne) && limit.capacity > 1);
        let want = amount.min(limit.capacity).saturating_add(spare.min(limit.capacity));
        amount == 0 || limit.used.saturating_add(want) <= limit.capacity + slack
    }

    /// What this amount of a limit counts as: never more than the whole.
    pub(crate) fn capped(&self, id: LimitId, amount: u64) -> u64 {
        self.limits.get(&id).map_or(amount, |limit| amount.min(limit.capacity))
    }

    /// All classes that wait for a limit.
    pub(crate) fn parked_at(&self, id: LimitId) -> Vec<u32> {
        self.limits.get(&id).into_iter().flat_map(|limit| limit.parked.classes()).collect()
    }

    /// Takes an amount; gives whether some class waits for the limit.
    pub(crate) fn take(&mut self, id: LimitId, amount: u64) -> bool {
        let Some(limit) = self.limits.get_mut(&id) else { return false };
        limit.used += amount;
        !limit.parked.is_empty()
    }

    pub(crate) fn give_back(&mut self, id: LimitId, amount: u64) {
        let Some(limit) = self.limits.get_mut(&id) else { return };
        limit.used -= amount;
        let gate = GateId::Limit(id);
        if !limit.parked.is_empty() && self.freed.last() != Some(&gate) && !self.planted.is(Fault::WakeLost) {
            self.freed.push(gate);
        }
    }

    /// When the next start may come.
    pub(crate) fn rate_opens(&self, id: RateId) -> Time {
        let Some(rate) = self.rates.get(&id) else { return Time(0) };
        if self.planted.is(Fault::RateIgnored) {
            return Time(0);
        }
        Time(rate.tat.0.saturating_sub(u64::try_from(rate.tolerance.as_nanos()).unwrap_or(u64::MAX)))
    }

    pub(crate) fn take_rate(&mut self, id: RateId, now: Time) {
        if let Some(rate) = self.rates.get_mut(&id) {
            rate.tat = rate.tat.max(now).after(rate.period);
        }
    }

    /// The class waits at the gate for this amount.
    pub(crate) fn park(&mut self, gate: GateId, amount: u64, key: ClassKey, class: u32) {
        if let Some(parked) = self.parked(gate) {
            parked.insert(amount, key, class);
        }
    }

    pub(crate) fn unpark(&mut self, gate: GateId, amount: u64, key: ClassKey, class: u32) {
        if let Some(parked) = self.parked(gate) {
            parked.remove(amount, key, class);
        }
    }

    /// The best class waiting at the gate for no more than there is room for.
    pub(crate) fn best_parked(&self, gate: GateId, now: Time) -> Option<(ClassKey, u32)> {
        let (parked, room) = match gate {
            GateId::Limit(id) => {
                let limit = self.limits.get(&id)?;
                (&limit.parked, limit.capacity.saturating_sub(limit.used))
            }
            GateId::Rate(id) => (&self.rates.get(&id)?.parked, u64::from(self.rate_opens(id) <= now)),
        };
        parked.best(room)
    }

    /// The best class that waits for a limit, whatever its amount.
    pub(crate) fn first_parked(&self, id: LimitId) -> Option<(ClassKey, u32)> {
        self.limits.get(&id)?.parked.best(u64::MAX)
    }

    pub(crate) fn is_waited_for(&mut self, gate: GateId) -> bool {
        self.parked(gate).is_some_and(|parked| !parked.is_empty())
    }

    fn parked(&mut self, gate: GateId) -> Option<&mut Parked> {
        match gate {
            GateId::Limit(id) => self.limits.get_mut(&id).map(|l| &mut l.parked),
            GateId::Rate(id) => self.rates.get_mut(&id).map(|r| &mut r.parked),
        }
    }
}
