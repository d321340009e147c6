//! A set in order. Most hold a few entries at a time: a list beside each other costs less than a tree then. In large
//! ones most entries come behind all others and go from the front: these are in a queue, and the rest in a tree.
//! It does not know what its entries are.

use std::collections::{BTreeSet, VecDeque};

/// Entries of a list at most: moving half as many costs no more than a step in a tree.
const FEW: usize = 32;

/// An ordered set.
#[derive(Debug)]
pub(crate) enum Sorted<T> {
    Few(Vec<T>),
    Many(Box<Many<T>>),
}

/// A set of many entries, each of which is in one of both.
#[derive(Debug)]
pub(crate) struct Many<T> {
    /// In order.
    queue: VecDeque<T>,
    tree: BTreeSet<T>,
}

impl<T> Default for Sorted<T> {
    fn default() -> Sorted<T> {
        Sorted::Few(Vec::new())
    }
}

impl<T: Ord + Copy> Sorted<T> {
    pub(crate) fn insert(&mut self, entry: T) {
        match self {
            Sorted::Few(list) if list.len() < FEW => {
                if list.last().is_none_or(|last| *last < entry) {
                    list.push(entry);
                } else if let Err(at) = list.binary_search(&entry) {
                    list.insert(at, entry);
                }
            }
            Sorted::Few(list) => {
                let mut many = Many { queue: std::mem::take(list).into(), tree: BTreeSet::new() };
                many.insert(entry);
                *self = Sorted::Many(Box::new(many));
            }
            Sorted::Many(many) => many.insert(entry),
        }
    }

    /// Whether the entry was there.
    pub(crate) fn remove(&mut self, entry: T) -> bool {
        match self {
            Sorted::Few(list) => match list.binary_search(&entry) {
                Ok(at) => {
                    list.remove(at);
                    true
                }
                Err(_) => false,
            },
            Sorted::Many(many) => {
                let was = many.remove(entry);
                if many.queue.is_empty() && many.tree.is_empty() {
                    *self = Sorted::default();
                }
                was
            }
        }
    }

    pub(crate) fn pop_first(&mut self) -> Option<T> {
        let first = self.first()?;
        self.remove(first);
        Some(first)
    }

    pub(crate) fn first(&self) -> Option<T> {
        match self {
            Sorted::Few(list) => list.first().copied(),
            Sorted::Many(many) => first(many.queue.front().copied(), many.tree.first().copied()),
        }
    }

    /// The first entry that is not before `entry`.
    pub(crate) fn first_from(&self, entry: T) -> Option<T> {
        match self {
            Sorted::Few(list) => list.get(list.partition_point(|x| *x < entry)).copied(),
            Sorted::Many(many) => first(many.queued_from(entry), many.tree.range(entry..).next().copied()),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    /// All entries, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = T> + '_ {
        let (list, many) = match self {
            Sorted::Few(list) => (Some(list), None),
            Sorted::Many(many) => (None, Some(many)),
        };
        list.into_iter().flatten().copied().chain(many.into_iter().flat_map(|many| many.iter()))
    }
}

impl<T: Ord + Copy> Many<T> {
    fn insert(&mut self, entry: T) {
        if self.queue.back().is_none_or(|last| *last < entry) {
            // An entry that is in the tree already stays there alone.
            if self.tree.last().is_none_or(|last| *last < entry) || !self.tree.contains(&entry) {
                self.queue.push_back(entry);
            }
        } else if self.queue.binary_search(&entry).is_err() {
            self.tree.insert(entry);
        }
    }

    /// The first of the queue that is not before `entry`: mostly one of its ends tells.
    fn queued_from(&self, entry: T) -> Option<T> {
        let front = self.queue.front().copied()?;
        if front >= entry {
            return Some(front);
        }
        self.queue.back().filter(|back| **back >= entry)?;
        self.queue.get(self.queue.partition_point(|x| *x < entry)).copied()
    }

    fn remove(&mut self, entry: T) -> bool {
        if self.queue.front() == Some(&entry) {
            return self.queue.pop_front().is_some();
        }
        let Ok(at) = self.queue.binary_search(&entry) else { return self.tree.remove(&entry) };
        // The shorter side moves over, so that an entry moves once at most, and none is moved along.
        if at < self.queue.len() / 2 {
            self.tree.extend(self.queue.drain(..at));
            self.queue.pop_front();
        } else {
            self.tree.extend(self.queue.drain(at + 1..));
            self.queue.pop_back();
        }
        true
    }

    fn iter(&self) -> impl Iterator<Item = T> + '_ {
        let (mut queue, mut tree) = (self.queue.iter().copied().peekable(), self.tree.iter().copied().peekable());
        std::iter::from_fn(move || match (queue.peek(), tree.peek()) {
            (Some(a), Some(b)) if b < a => tree.next(),
            (None, _) => tree.next(),
            _ => queue.next(),
        })
    }
}

/// The lesser, where there are both.
fn first<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_set_in_order(steps in prop::collection::vec((0..4_u8, 0..60_u32), 0..300)) {
            let (mut sorted, mut tree) = (Sorted::default(), BTreeSet::new());
            for (step, entry) in steps {
                match step {
                    0 => prop_assert_eq!(sorted.remove(entry), tree.remove(&entry)),
                    1 if entry % 8 == 0 => prop_assert_eq!(sorted.pop_first(), tree.pop_first()),
                    _ => {
                        sorted.insert(entry);
                        tree.insert(entry);
                    }
                }
                prop_assert_eq!(sorted.is_empty(), tree.is_empty());
                prop_assert_eq!(sorted.first(), tree.first().copied());
                prop_assert_eq!(sorted.first_from(entry), tree.range(entry..).next().copied());
                prop_assert!(sorted.iter().eq(tree.iter().copied()));
            }
        }
    }
}
