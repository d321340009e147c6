//! The serial order of a plan's calls (DESIGN 3.1), and the cycle that forbids one.
//! It does not know what the calls are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Calls that wait for each other in a circle: each needs the next, the last needs the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle(pub Vec<u32>);

/// The serial order: repeatedly the earliest listed call whose inputs have all been taken. `inputs(call)` gives what
/// a call needs, by index. Takes O((n + e) log n); when calls refer only backwards, O(n + e).
///
/// # Errors
/// The calls of one cycle.
///
/// ```
/// let inputs: [&[u32]; 3] = [&[2], &[], &[]];
/// assert_eq!(fanout_plan::serial_order(3, |call| inputs[call as usize].iter().copied()), Ok(vec![1, 2, 0]));
/// ```
pub fn serial_order<I: Iterator<Item = u32>>(calls: u32, inputs: impl Fn(u32) -> I) -> Result<Vec<u32>, Cycle> {
    if (0..calls).all(|call| inputs(call).all(|input| input < call)) {
        return Ok((0..calls).collect());
    }
    let n = calls as usize;
    let mut missing = vec![0_u32; n];
    // Who needs a call, as one array with an index: no list per call.
    let mut first = vec![0_usize; n + 1];
    for call in 0..calls {
        for input in inputs(call) {
            missing[call as usize] += 1;
            first[input as usize + 1] += 1;
        }
    }
    for at in 0..n {
        first[at + 1] += first[at];
    }
    let mut next = first.clone();
    let mut users = vec![0_u32; first[n]];
    for call in 0..calls {
        for input in inputs(call) {
            users[next[input as usize]] = call;
            next[input as usize] += 1;
        }
    }
    let mut ready: BinaryHeap<Reverse<u32>> =
        (0..calls).filter(|call| missing[*call as usize] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(n);
    while let Some(Reverse(call)) = ready.pop() {
        order.push(call);
        for user in &users[first[call as usize]..first[call as usize + 1]] {
            missing[*user as usize] -= 1;
            if missing[*user as usize] == 0 {
                ready.push(Reverse(*user));
            }
        }
    }
    if order.len() == n { Ok(order) } else { Err(cycle(&missing, inputs)) }
}

/// Walks back along inputs that were never taken until a call comes again.
fn cycle<I: Iterator<Item = u32>>(missing: &[u32], inputs: impl Fn(u32) -> I) -> Cycle {
    let mut seen_at = vec![usize::MAX; missing.len()];
    let mut walk = Vec::new();
    let mut call = missing.iter().position(|left| *left > 0).map_or(0, |at| u32::try_from(at).unwrap_or(0));
    while seen_at[call as usize] == usize::MAX {
        seen_at[call as usize] = walk.len();
        walk.push(call);
        // Every call left over waits for another one left over.
        call = inputs(call).find(|input| missing[*input as usize] > 0).unwrap_or(call);
    }
    let mut circle = walk.split_off(seen_at[call as usize]);
    let least = circle.iter().enumerate().min_by_key(|(_, call)| **call).map_or(0, |(at, _)| at);
    circle.rotate_left(least);
    Cycle(circle)
}
