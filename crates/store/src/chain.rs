//! The chain that ties each record of a run to those before it, and checksums of other rows.
//! It does not know what a record says, nor where it is kept.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The chain's value behind a record: a hash of the record and of the value before. It is the record's own checksum
/// (the value before stands beside it) and its place in one: whatever is missing, swapped or changed does not fit.
pub(crate) type Link = u64;

/// The value before the first record of a run: no two runs have the same.
pub(crate) fn start(run: &str) -> Link {
    xxh3_64(run.as_bytes())
}

/// The value behind this record.
pub(crate) fn next(before: Link, record: &[u8]) -> Link {
    xxh3_64_with_seed(record, before)
}

/// A checksum of these bytes.
pub(crate) fn checksum(bytes: &[u8]) -> i64 {
    xxh3_64(bytes) as i64
}
