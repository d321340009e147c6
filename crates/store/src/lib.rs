//! What is remembered: the journal of runs and the cache of results. Owns the formats on disk.
//! It does not know why anything was decided, nor any network or clock.

mod answers;
mod blobs;
mod cache;
mod chain;
mod dir;
mod error;
mod journal;
mod prune;
mod queue;
mod reader;
mod records;
mod runs;
mod schema;
mod writer;

pub use answers::{Answer, leave_answer, take_answers};
pub use blobs::{BlobRef, INLINE_BYTES_MAX};
pub use cache::{
    CacheBounds, CacheChange, CacheEntry, CacheHeld, CacheKey, CacheOwner, CacheWrite, Cleared, DiskCache, Evicted,
    Found, KeyPath, Looked, ToolHeld, cache_clear, cache_held, canonical_json,
};
pub use error::{RecordPlace, StoreError};
pub use journal::{Batch, Begun, Committed, Journal, Notify, OwnedRun, Summary};
pub use prune::{Keep, Pruned, discard, prune, would_prune};
pub use queue::{BACKLOG_BYTES_MAX, Ticket};
pub use reader::{Reader, RunList};
pub use records::{
    ApprovalGiven, AttemptAt, CallAt, Ended, ErrorText, Fact, Finished, JsonText, Record, Resolved, RunStarted,
    ToolIdentity, Value, Waited,
};
pub use runs::{Counts, NewRun, RunInfo, RunNumber, RunState};
pub use schema::SCHEMA_VERSION;
