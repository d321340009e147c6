//! The serial order against its definition, taken word by word.
//! It does not know calls.

use fanout_plan::serial_order;
use proptest::prelude::*;

/// Repeatedly takes the earliest listed call whose inputs have all been taken.
fn naive(inputs: &[Vec<u32>]) -> Option<Vec<u32>> {
    let mut order: Vec<u32> = Vec::new();
    while order.len() < inputs.len() {
        let ready =
            |call: &u32| !order.contains(call) && inputs[*call as usize].iter().all(|input| order.contains(input));
        order.push((0..inputs.len() as u32).find(ready)?);
    }
    Some(order)
}

proptest! {
    #[test]
    fn is_what_its_definition_says(inputs in (1_u32..12).prop_flat_map(|n| prop::collection::vec(prop::collection::btree_set(0..n, 0..3), n as usize))) {
        let inputs: Vec<Vec<u32>> = inputs.into_iter().map(|set| set.into_iter().collect()).collect();
        let order = serial_order(inputs.len() as u32, |call| inputs[call as usize].iter().copied());
        match (order, naive(&inputs)) {
            (Ok(order), naive) => prop_assert_eq!(Some(order), naive),
            (Err(cycle), naive) => {
                prop_assert_eq!(naive, None);
                for (at, call) in cycle.0.iter().enumerate() {
                    let next = cycle.0[(at + 1) % cycle.0.len()];
                    prop_assert!(inputs[*call as usize].contains(&next), "{:?} is no circle of {:?}", cycle, inputs);
                }
            }
        }
    }
}
