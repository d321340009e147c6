//! The ids of the calls of a plan, and of those added to it while it runs.
//! It does not know what a call is.

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use std::hash::BuildHasher;
use std::sync::Arc;

/// The ids of a plan's calls and where they stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids {
    table: HashTable<u32>,
    /// Those of the plan, shared with who speaks of its calls.
    planned: Arc<Vec<Arc<str>>>,
    /// Those added later; where they are forgotten, only those of the list that is being added.
    added: Vec<Arc<str>>,
    /// The index of the first of `added`.
    base: usize,
    /// Where they are forgotten: those added earlier, which nobody refers to.
    earlier: Option<HashMap<Arc<str>, u32>>,
    hasher: DefaultHashBuilder,
}

impl Ids {
    /// The index of a call that can be referred to.
    pub(crate) fn find(&self, id: &str) -> Option<u32> {
        self.table.find(self.hasher.hash_one(id), |index| **self.name(*index) == *id).copied()
    }

    /// The index of a call that was added earlier, cannot be referred to, and was not forgotten yet.
    pub(crate) fn find_earlier(&self, id: &str) -> Option<u32> {
        self.earlier.as_ref()?.get(id).copied()
    }

    /// How many calls there are, those forgotten included.
    pub(crate) fn len(&self) -> usize {
        self.base + self.added.len()
    }

    /// The id of a call that can be referred to.
    pub(crate) fn name(&self, index: u32) -> &Arc<str> {
        name_of(&self.planned, &self.added, self.base, index)
    }

    /// All ids that can be referred to.
    pub(crate) fn names(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        let planned = self.planned.len();
        (0..planned + self.added.len()).map(move |at| self.planned.get(at).unwrap_or_else(|| &self.added[at - planned]))
    }

    pub(crate) fn planned(&self) -> &Arc<Vec<Arc<str>>> {
        &self.planned
    }

    /// Whether calls that were added cannot be referred to.
    pub(crate) fn forgets(&self) -> bool {
        self.earlier.is_some()
    }

    /// The plan has these calls.
    pub(crate) fn seal(&mut self) {
        self.planned = Arc::new(std::mem::take(&mut self.added));
        self.base = self.planned.len();
    }

    /// Calls that are added from now on are forgotten.
    pub(crate) fn forget_added(&mut self) {
        self.earlier.get_or_insert_default();
    }

    /// Adds the next call; gives the index of the one that has this id already.
    pub(crate) fn push(&mut self, id: &Arc<str>) -> Option<u32> {
        let earlier = self.find_earlier(id);
        let index = u32::try_from(self.len()).unwrap_or(u32::MAX);
        let hash = self.hasher.hash_one(&**id);
        let Ids { table, planned, added, base, hasher, .. } = self;
        let entry = table.entry(
            hash,
            |index| **name_of(planned, added, *base, *index) == **id,
            |index| hasher.hash_one(&**name_of(planned, added, *base, *index)),
        );
        let known = match entry {
            hashbrown::hash_table::Entry::Occupied(entry) => Some(*entry.get()),
            hashbrown::hash_table::Entry::Vacant(entry) => {
                entry.insert(index);
                earlier
            }
        };
        self.added.push(id.clone());
        known
    }

    pub(crate) fn reserve(&mut self, more: usize) {
        let Ids { table, planned, added, base, hasher, .. } = self;
        table.reserve(more, |index| hasher.hash_one(&**name_of(planned, added, *base, *index)));
        added.reserve(more);
    }

    /// Takes back the calls from this index on, which were pushed last.
    pub(crate) fn forget_from(&mut self, first: usize) {
        for (place, name) in self.added.iter().enumerate().skip(first - self.base) {
            let hash = self.hasher.hash_one(&**name);
            if let Ok(entry) = self.table.find_entry(hash, |known| *known as usize == self.base + place) {
                entry.remove();
            }
        }
        self.added.truncate(first - self.base);
    }

    /// The calls pushed last are added: where they are forgotten, nobody refers to them from now on.
    pub(crate) fn accept(&mut self) {
        if self.earlier.is_none() {
            return;
        }
        let (base, added) = (self.base, self.added.len());
        let names = self.added.clone();
        self.forget_from(base);
        self.base = base + added;
        if let Some(earlier) = &mut self.earlier {
            let index = |place: usize| u32::try_from(base + place).unwrap_or(u32::MAX);
            earlier.extend(names.into_iter().enumerate().map(|(place, name)| (name, index(place))));
        }
    }

    /// Forgets a call that was added earlier.
    pub(crate) fn forget(&mut self, id: &str) {
        let Some(earlier) = &mut self.earlier else { return };
        earlier.remove(id);
        if earlier.capacity() > SPARE_MAX && earlier.len() < earlier.capacity() / 8 {
            earlier.shrink_to(2 * earlier.len());
        }
    }
}

/// Room that is kept though few calls are open.
const SPARE_MAX: usize = 1_024;

fn name_of<'a>(planned: &'a [Arc<str>], added: &'a [Arc<str>], base: usize, index: u32) -> &'a Arc<str> {
    let index = index as usize;
    planned.get(index).unwrap_or_else(|| &added[index - base])
}
