//! Results of calls that only read, kept until they are too old or something they read is written.
//! It does not know which calls may be looked up or stored, nor the time: both are arguments.

mod canonical;
mod disk;
mod memory;

pub use canonical::canonical_json;
pub(crate) use disk::CacheWriter;
pub use disk::DiskCache;
pub use memory::MemoryCache;

use crate::records::JsonText;
use fanout_core::Time;
use serde_json::value::RawValue;
use std::fmt;
use std::time::Duration;

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
        let args: serde_json::Value = serde_json::from_str(args.get()).ok()?;
        let mut text = Vec::with_capacity(256);
        text.extend_from_slice(&(tool.len() as u64).to_le_bytes());
        text.extend_from_slice(tool.as_bytes());
        canonical_json(&args, &mut text);
        Some(CacheKey(*blake3::hash(&text).as_bytes()))
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

impl std::borrow::Borrow<str> for KeyPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

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
            path.push_str(segment);
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
}

/// A result to be kept.
#[derive(Clone, Debug)]
pub struct CacheEntry {
    /// The result.
    pub value: JsonText,
    /// What the call read. A write to an overlapping key drops the entry.
    pub reads: Box<[KeyPath]>,
    /// When the result was there.
    pub stored: Time,
    /// How long it may be used; forever when absent.
    pub ttl: Option<Duration>,
}

impl CacheEntry {
    /// About how many bytes it takes: its value, its keys, and what finds it.
    pub fn bytes(&self) -> u64 {
        const FOUND_BY: u64 = 160;
        let reads: u64 = self.reads.iter().map(|path| path.0.len() as u64 + 64).sum();
        self.value.get().len() as u64 + reads + FOUND_BY
    }

    fn is_stale(&self, now: Time) -> bool {
        self.ttl.is_some_and(|ttl| now >= self.stored.after(ttl))
    }
}

/// A result that was found.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The result.
    pub value: JsonText,
    /// When it was there.
    pub stored: Time,
}

/// A change to the cache on disk. It goes with a batch of the journal and is durable with it.
#[derive(Clone, Debug)]
pub enum CacheChange {
    /// Keep a result, in place of one with the same key.
    Store(CacheKey, CacheEntry),
    /// This key is written: what read an overlapping one is gone.
    Invalidate(KeyPath),
    /// Keep at most this many bytes from now on.
    Bound(u64),
    /// Nothing is kept.
    Clear,
}

impl CacheChange {
    pub(crate) fn weight(&self) -> usize {
        match self {
            CacheChange::Store(_, entry) => usize::try_from(entry.bytes()).unwrap_or(usize::MAX / 2),
            CacheChange::Invalidate(path) => path.0.len() + 32,
            CacheChange::Bound(_) | CacheChange::Clear => 32,
        }
    }
}

/// What a cache holds and did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Results kept now.
    pub entries: u64,
    /// About how many bytes they take.
    pub bytes: u64,
    /// Lookups that found one.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Lookups that found one too old (counted as misses too).
    pub stale: u64,
    /// Dropped by a write.
    pub invalidated: u64,
    /// Dropped to keep the bound.
    pub evicted: u64,
    /// Found and not what was stored: not handed out (counted as misses too).
    pub damaged: u64,
}
