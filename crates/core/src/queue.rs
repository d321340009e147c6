//! The ready calls of a class, best first. Calls mostly become ready in the order of their rank, so most of the
//! queue is a plain list; what comes out of order is in a tree.
//! It does not know what ready means: whoever removes a call says which entries still count.

use crate::policy::Rank;
use std::collections::{BTreeSet, VecDeque};

type Entry = (Rank, u32);

/// A queue of ready calls. Entries of the list that no longer count stay until they are first; the first counts.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    list: VecDeque<Entry>,
    tree: BTreeSet<Entry>,
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
        self.tree.remove(&entry);
        while self.list.front().is_some_and(|&first| first == entry || !counts(first)) {
            self.list.pop_front();
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
