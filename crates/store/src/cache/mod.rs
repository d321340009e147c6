//! Results of calls that only read, on disk, until they are too old or something they read is written.
//! It does not know which calls may be looked up or stored, nor the time: both are arguments.

mod canonical;
mod disk;
mod held;
mod writer;

pub use canonical::canonical_json;
pub use disk::DiskCache;
pub use held::{CacheHeld, Cleared, ToolHeld, cache_clear, cache_held};
pub(crate) use writer::{CacheWriter, cache_used};

use crate::records::JsonText;
use fanout_core::{Stamp, Time};
use rusqlite::types::Value;
use serde_json::value::RawValue;
use std::fmt;
use std::sync::Arc;

/// What a result is found by: a hash of the tool as it is and of the arguments.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheKey(pub(crate) [u8; 32]);

impl CacheKey {
    /// A number that stands for it: half of the hash, which no two keys share by chance.
    pub fn number(&self) -> u128 {
        let mut half = [0; 16];
        half.copy_from_slice(&self.0[..16]);
        u128::from_le_bytes(half)
    }

    /// The key of a call. `tool` names the tool and all that its answers depend on beside the arguments: a hash of
    /// its definition, its declared version. `None` for arguments that cannot be brought into one form (nested
    /// deeper than 127): such calls are not cached.
    ///
    /// ```
    /// # use fanout_store::CacheKey;
    /// # let json = |text: &str| serde_json::value::RawValue::from_string(text.into()).unwrap();
    /// let key = CacheKey::new("air.search 1", &json(r#"{"to": "LIS", "from": "BER", "seats": 1.0}"#));
    /// assert_eq!(key, CacheKey::new("air.search 1", &json(r#"{"from":"BER","seats":1,"to":"LIS"}"#)));
    /// assert_ne!(key, CacheKey::new("air.search 2", &json(r#"{"from":"BER","seats":1,"to":"LIS"}"#)));
    /// ```
    pub fn new(tool: &str, args: &RawValue) -> Option<CacheKey> {
        let mut text = Vec::with_capacity(256);
        text.extend_from_slice(&(tool.len() as u64).to_le_bytes());
        text.extend_from_slice(tool.as_bytes());
        canonical::canonical_text(args, &mut text)?;
        Some(CacheKey(*blake3::hash(&text).as_bytes()))
    }

    /// The same for calls that read these keys, and no others: where a link leads elsewhere now, it is another question.
    #[must_use]
    pub fn reading(self, reads: &[KeyPath]) -> CacheKey {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        for path in reads {
            hasher.update(&(path.0.len() as u64).to_le_bytes());
            hasher.update(path.0.as_bytes());
        }
        CacheKey(*hasher.finalize().as_bytes())
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The name of a resource as text, each segment ended by `/`: of two that overlap one begins with the other.
/// `file:/src/a.rs` is `file:/src/a.rs/`; what overlaps everything is empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyPath(Box<str>);

impl KeyPath {
    /// The path of these segments. A `/` inside one counts as two segments, which only makes it overlap more.
    ///
    /// ```
    /// # use fanout_store::KeyPath;
    /// let src = KeyPath::new(["file:", "src"]);
    /// assert!(src.overlaps(&KeyPath::new(["file:", "src", "a.rs"])));
    /// assert!(!src.overlaps(&KeyPath::new(["file:", "src2"])));
    /// assert!(src.overlaps(&KeyPath::new([])));
    /// ```
    pub fn new<'a>(segments: impl IntoIterator<Item = &'a str>) -> KeyPath {
        let mut path = String::new();
        for segment in segments {
            // SQLite takes a text to end at a NUL here and there: it must not make two keys one in one place only.
            path.extend(segment.chars().map(|c| if c == '\0' { '\u{fffd}' } else { c }));
            path.push('/');
        }
        KeyPath(path.into())
    }

    /// Whether one of the two covers the other.
    pub fn overlaps(&self, other: &KeyPath) -> bool {
        self.0.starts_with(&*other.0) || other.0.starts_with(&*self.0)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The paths that cover this one, itself included, the empty one first.
    pub(crate) fn covering(&self) -> impl Iterator<Item = &str> {
        let ends = self.0.match_indices('/').map(|(at, _)| at + 1);
        std::iter::once(0).chain(ends).map(|end| &self.0[..end])
    }

    /// The end of those below it, for the database: what begins with `…/` stands before `…0`, the character behind `/`;
    /// every text stands before every blob.
    pub(crate) fn below_end(&self) -> Value {
        self.0.strip_suffix('/').map_or(Value::Blob(Vec::new()), |path| Value::Text(format!("{path}0")))
    }
}

/// A result to be kept.
#[derive(Clone, Debug)]
pub struct CacheEntry {
    /// What it is found by.
    pub key: CacheKey,
    /// The name of its tool, for people.
    pub tool: Arc<str>,
    /// The result.
    pub value: JsonText,
    /// What its tool answered with besides.
    pub whole: Option<JsonText>,
    /// What the call read. A write to an overlapping key drops the entry.
    pub reads: Arc<[KeyPath]>,
    /// When the result was there.
    pub stored: Time,
    /// What [`DiskCache::look`] told before the call was made: a write since then keeps the result out.
    pub stamp: Stamp,
    /// Whoever stores it, in numbers of their own; told with what had to make room for it.
    pub by: u32,
}

impl CacheEntry {
    /// About how many bytes it takes: its value, its keys, and what finds it.
    pub fn bytes(&self) -> u64 {
        const FOUND_BY: u64 = 160;
        let reads: u64 = self.reads.iter().map(|path| path.0.len() as u64 + 64).sum();
        let whole = self.whole.as_ref().map_or(0, |whole| whole.get().len() as u64);
        self.value.get().len() as u64 + whole + reads + FOUND_BY
    }
}

/// A write that goes on: whose, and which call's.
#[derive(Clone, Debug)]
pub struct CacheWrite {
    /// Whose: it is over when its owner is.
    pub owner: CacheOwner,
    /// Which of its owner's.
    pub call: Arc<str>,
    /// What it writes.
    pub paths: Arc<[KeyPath]>,
}

/// Whose a write is that goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CacheOwner {
    /// A process, as long as it lives: which holds a lock by this name.
    Process(Arc<str>),
    /// A recorded run, until it has ended or is removed, whichever processes run it.
    Run(Arc<str>),
}

/// How much is kept on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheBounds {
    /// So many bytes at most, counted as [`CacheEntry::bytes`].
    pub bytes: u64,
    /// So many results at most.
    pub entries: u64,
}

impl Default for CacheBounds {
    fn default() -> CacheBounds {
        CacheBounds { bytes: 256 << 20, entries: 100_000 }
    }
}

/// A change to the cache on disk. It goes with a batch of the journal and is durable with it.
#[derive(Clone, Debug)]
pub enum CacheChange {
    /// Keep a result, in place of one with the same key, unless something it read was written since its stamp or is
    /// being written.
    Store(Box<CacheEntry>),
    /// These keys are about to be written: what read an overlapping one is gone, and none is stored until `Close`.
    Open(CacheWrite),
    /// They will not be written any more by this call: once more, what read an overlapping one is gone.
    Close(CacheWrite),
    /// An entry was found not to be what was stored.
    Remove(CacheKey),
    /// Keep no more than this from now on.
    Bound(CacheBounds),
}

impl CacheChange {
    pub(crate) fn weight(&self) -> usize {
        let paths = |paths: &[KeyPath]| paths.iter().map(|path| path.0.len() + 32).sum::<usize>();
        match self {
            CacheChange::Store(entry) => usize::try_from(entry.bytes()).unwrap_or(usize::MAX / 2),
            CacheChange::Open(write) | CacheChange::Close(write) => paths(&write.paths),
            CacheChange::Remove(_) | CacheChange::Bound(_) => 32,
        }
    }
}

/// Results that had to make room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evicted {
    /// Whose result they made room for ([`CacheEntry::by`]).
    pub by: u32,
    /// Their tool.
    pub tool: Arc<str>,
}

/// A result that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The result.
    pub value: JsonText,
    /// What its tool answered with besides.
    pub whole: Option<JsonText>,
    /// When it was there.
    pub stored: Time,
}

/// What a look found.
#[derive(Clone, Debug)]
pub struct Looked {
    /// How far the cache was: to be given back with what is stored.
    pub stamp: Stamp,
    /// The result, if there is one.
    pub found: Option<Found>,
    /// There was one, and it was not what had been stored: [`CacheChange::Remove`] it.
    pub damaged: bool,
}
