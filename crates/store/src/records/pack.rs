//! Records of one run and one turn in one row: their texts as a JSON list, and what each is checked by.
//! It does not know what a record says.

use crate::chain::{self, Link};

/// What a row holds at most, so that nobody has to read much at once; one record may be larger.
const PACK_BYTES_MAX: usize = 64 << 10;

/// Beside each record: its length (4 bytes) and the chain's value behind it (8), both little-endian.
const CHECK_BYTES: usize = 12;

const SEPARATOR: &[u8] = b",\n";

/// Records on their way into a row.
#[derive(Debug, Default)]
pub(crate) struct Pack {
    /// `[` and the records, without the last `]`.
    payload: Vec<u8>,
    checks: Vec<u8>,
}

impl Pack {
    pub(crate) fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.payload.len() >= PACK_BYTES_MAX
    }

    pub(crate) fn count(&self) -> u64 {
        (self.checks.len() / CHECK_BYTES) as u64
    }

    /// Adds the record that `write` writes, and gives the chain's value behind it.
    pub(crate) fn push(&mut self, before: Link, write: impl FnOnce(&mut Vec<u8>)) -> Link {
        self.payload.extend_from_slice(if self.is_empty() { b"[" } else { SEPARATOR });
        let start = self.payload.len();
        write(&mut self.payload);
        let record = &self.payload[start..];
        let link = chain::next(before, record);
        // A record is far below 4 GiB: what is large became a blob. One that is not would not fit when read.
        self.checks.extend_from_slice(&u32::try_from(record.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.checks.extend_from_slice(&link.to_le_bytes());
        link
    }

    /// The two columns of the row.
    pub(crate) fn columns(&mut self) -> (&[u8], &[u8]) {
        self.payload.push(b']');
        (&self.payload, &self.checks)
    }

    pub(crate) fn clear(&mut self) {
        self.payload.clear();
        self.checks.clear();
    }
}

/// The records of a row, each checked.
#[derive(Debug)]
pub(crate) struct Unpack<'a> {
    payload: &'a [u8],
    checks: &'a [u8],
    head: Link,
    at: usize,
}

/// The record is not what was written at its place.
#[derive(Debug)]
pub(crate) struct Unfit;

impl<'a> Unpack<'a> {
    /// `head` is the chain's value before the row.
    pub(crate) fn new(payload: &'a [u8], checks: &'a [u8], head: Link) -> Unpack<'a> {
        Unpack { payload, checks, head, at: 0 }
    }

    /// The text of the next record and the chain's value behind it; nothing behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<(&'a [u8], Link)>, Unfit> {
        let is_first = self.at == 0;
        let Some((check, checks)) = self.checks.split_at_checked(CHECK_BYTES) else {
            let ends = self.checks.is_empty() && !is_first && &self.payload[self.at..] == b"]";
            return if ends { Ok(None) } else { Err(Unfit) };
        };
        let (length, link) = check.split_at(4);
        let length = length.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let link = link.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let before: &[u8] = if is_first { b"[" } else { SEPARATOR };
        let rest = self.payload[self.at..].strip_prefix(before).ok_or(Unfit)?;
        let record = rest.get(..length).ok_or(Unfit)?;
        if chain::next(self.head, record) != link {
            return Err(Unfit);
        }
        self.at += before.len() + length;
        (self.checks, self.head) = (checks, link);
        Ok(Some((record, link)))
    }
}
