//! The ready calls of a class, best first. Calls mostly become ready in the order of their rank, so most of the
//! queue is a plain list; what comes out of order is in a tree.
//! It does not know what ready means: whoever removes a call says which entries still count.

use crate::policy::Rank;
use std::collections::{BTreeSet, VecDeque};

type Entry = (Rank, u32);

/// So many entries may not count before they are looked for.
const DEAD_MAX: usize = 64;

/// A queue of ready calls. Entries of the list that no longer count stay until they are first, or most; the first counts.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    list: VecDeque<Entry>,
    tree: BTreeSet<Entry>,
    /// About how many of the list do not count.
    dead: usize,
}

impl Queue {
    pub(crate) fn insert(&mut self, entry: Entry) {
        if self.list.back().is_none_or(|last| *last < entry) {
            self.list.push_back(entry);
        } else {
            self.tree.insert(entry);
        }
    }

    /// Takes an entry out. `counts` tells for any entry of the list whether it does; for this one it says no.
    pub(crate) fn remove(&mut self, entry: Entry, counts: impl Fn(Entry) -> bool) {
        let mut removed = self.tree.remove(&entry);
        while let Some(&first) = self.list.front().filter(|&&first| first == entry || !counts(first)) {
            self.list.pop_front();
            match first == entry {
                true => removed = true,
                false => self.dead = self.dead.saturating_sub(1),
            }
        }
        self.dead += usize::from(!removed);
        if self.dead > DEAD_MAX && self.dead > self.list.len() / 2 {
            self.list.retain(|&known| counts(known));
            self.dead = 0;
        }
    }

    /// The best entry.
    pub(crate) fn first(&self) -> Option<Entry> {
        match (self.list.front(), self.tree.first()) {
            (Some(a), Some(b)) => Some(*a.min(b)),
            (a, b) => a.or(b).copied(),
        }
    }

    /// All entries, in no particular order, some of which may not count or stand twice.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Entry> {
        self.list.iter().chain(&self.tree).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One waits for ever, and a million others come and are taken back.
    #[test]
    fn what_does_not_count_does_not_pile_up_behind_the_first() {
        let entry = |at: u32| (Rank::new(2, 0, u64::from(at)), at);
        let mut queue = Queue::default();
        queue.insert(entry(0));
        for at in 1..100_000 {
            queue.insert(entry(at));
            queue.remove(entry(at), |known| known == entry(0));
        }
        assert_eq!(queue.first(), Some(entry(0)));
        assert!(queue.list.len() < 3 * DEAD_MAX, "{}", queue.list.len());
        // What is in order is still found in order.
        for at in [7, 9, 8] {
            queue.insert(entry(200_000 + at));
        }
        let mut left = vec![0, 200_007, 200_008, 200_009];
        while let Some((_, first)) = queue.first() {
            assert_eq!(first, left.remove(0));
            queue.remove(entry(first), |(_, known)| left.contains(&known));
        }
        assert!(left.is_empty());
    }
}
