//! Serial order and ranks of a list of calls: pure functions over inputs.
//! It does not know states, keys or time.

use crate::policy::Rank;
use crate::types::{CallSpec, Settings};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The rank of each call: priority inherited from what waits for it, its longest expected remaining path, by one
/// pass against the serial order, and its place there. `base` is the index of the first of `calls`. Nothing where no
/// call takes another of these: then each has its own rank.
pub(crate) fn ranks(base: u32, calls: &[CallSpec]) -> Option<Vec<Rank>> {
    if !calls.iter().any(|call| call.inputs.iter().any(|input| input.call >= base)) {
        return None;
    }
    let order = serial_order(base, calls);
    let mut ranks = vec![Rank::new(0, 0, 0); calls.len()];
    for place in (0..calls.len()).rev() {
        let i = order.as_ref().map_or(place, |order| order[place] as usize);
        let (own, before) = (own_rank(&calls[i].settings, place as u64), ranks[i]);
        let path = before.path_ns().saturating_add(own.path_ns());
        let own = Rank::new(before.priority().max(own.priority()), path, own.order);
        ranks[i] = own;
        for input in calls[i].inputs.iter().filter(|x| x.call >= base) {
            let before = &mut ranks[(input.call - base) as usize];
            *before = inherit(*before, own);
        }
    }
    Some(ranks)
}

/// The rank of a call that nobody waits for.
pub(crate) fn own_rank(settings: &Settings, place: impl Into<u64>) -> Rank {
    let expect = u64::try_from(settings.expect.as_nanos()).unwrap_or(u64::MAX);
    Rank::new(settings.priority, expect, place.into())
}

/// The serial order (DESIGN 3.1): repeatedly the earliest listed call whose inputs have all been taken. Gives the
/// call at each place, or nothing where that is the list's order. Inputs before `base` count as taken. Calls on a
/// cycle, which validation refuses, come last in list order.
fn serial_order(base: u32, calls: &[CallSpec]) -> Option<Vec<u32>> {
    let n = u32::try_from(calls.len()).expect("fewer than 2^32 calls");
    let later = |i: u32, c: &CallSpec| c.inputs.iter().any(|input| input.call >= base + i);
    if !calls.iter().zip(0_u32..).any(|(c, i)| later(i, c)) {
        return None;
    }
    let mut missing = vec![0_u32; calls.len()];
    let mut takers: Vec<Vec<u32>> = vec![Vec::new(); calls.len()];
    for (call, i) in calls.iter().zip(0_u32..) {
        for input in call.inputs.iter().filter(|x| x.call >= base) {
            missing[i as usize] += 1;
            takers[(input.call - base) as usize].push(i);
        }
    }
    let mut free: BinaryHeap<Reverse<u32>> = (0..n).filter(|&i| missing[i as usize] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(calls.len());
    while let Some(Reverse(i)) = free.pop() {
        order.push(i);
        for &taker in &takers[i as usize] {
            missing[taker as usize] -= 1;
            if missing[taker as usize] == 0 {
                free.push(Reverse(taker));
            }
        }
    }
    order.extend((0..n).filter(|&i| missing[i as usize] > 0));
    Some(order)
}

/// The rank of a call that one of rank `after` waits for; its own expected time is not added.
pub(crate) fn inherit(before: Rank, after: Rank) -> Rank {
    let priority = before.priority().max(after.priority());
    Rank::new(priority, before.path_ns().max(after.path_ns()), before.order)
}
