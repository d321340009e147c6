//! Entries that only some calls have, side by side and used again: a call keeps the number of its own.
//! It does not know what an entry is for, nor who keeps its number.

use crate::call::NONE;

/// A list with holes that are filled first.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    entries: Vec<T>,
    free: Vec<u32>,
}

impl<T> Default for Pool<T> {
    fn default() -> Pool<T> {
        Pool { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T: Default> Pool<T> {
    pub(crate) fn put(&mut self, entry: T) -> u32 {
        if let Some(number) = self.free.pop() {
            self.entries[number as usize] = entry;
            return number;
        }
        self.entries.push(entry);
        u32::try_from(self.entries.len() - 1).expect("fewer than 2^32 entries at once")
    }

    /// Takes out the entry of that number, if it is one, and leaves `NONE`; the number may be another's from now on.
    pub(crate) fn take(&mut self, number: &mut u32) -> Option<T> {
        let entry = std::mem::take(self.entries.get_mut(*number as usize)?);
        self.free.push(std::mem::replace(number, NONE));
        Some(entry)
    }

    /// The entry of that number; nothing for `NONE`.
    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        self.entries.get(number as usize)
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.entries.get_mut(number as usize)
    }

    /// All entries; those not in use are empty.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter()
    }

    /// How many entries are in use.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }
}
