//! Serial order and ranks of a list of calls: pure functions over inputs.
//! It does not know states, keys or time.

use crate::policy::Rank;
use crate::types::CallSpec;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The serial order (DESIGN 3.1): repeatedly the earliest listed call whose inputs have all been taken. Gives the
/// call at each place. `base` is the index of the first of `calls`; inputs before it count as taken. Calls on a
/// cycle, which validation refuses, come last in list order.
pub(crate) fn serial_order(base: u32, calls: &[CallSpec]) -> Vec<u32> {
    let n = u32::try_from(calls.len()).expect("fewer than 2^32 calls");
    let inner = |i: u32, c: &CallSpec| c.inputs.iter().any(|input| input.call >= base + i);
    if !calls.iter().zip(0_u32..).any(|(c, i)| inner(i, c)) {
        return (0..n).collect();
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
    order
}

/// The rank of each call: priority inherited from what waits for it, and its longest expected remaining path, by
/// one pass against the serial order.
pub(crate) fn ranks(base: u32, calls: &[CallSpec], order: &[u32]) -> Vec<Rank> {
    let mut ranks: Vec<Rank> = calls.iter().map(|c| Rank::new(c.settings.priority, 0, 0)).collect();
    for (place, &i) in order.iter().enumerate().rev() {
        let place = place as u64;
        let call = &calls[i as usize];
        let expect = u64::try_from(call.settings.expect.as_nanos()).unwrap_or(u64::MAX);
        let own = ranks[i as usize];
        let own = Rank::new(own.priority(), own.path_ns().saturating_add(expect), place);
        ranks[i as usize] = own;
        for input in call.inputs.iter().filter(|x| x.call >= base) {
            let before = &mut ranks[(input.call - base) as usize];
            *before = inherit(*before, own);
        }
    }
    ranks
}

/// The rank of a call that one of rank `after` waits for; its own expected time is not added.
pub(crate) fn inherit(before: Rank, after: Rank) -> Rank {
    let priority = before.priority().max(after.priority());
    Rank::new(priority, before.path_ns().max(after.path_ns()), before.order)
}
