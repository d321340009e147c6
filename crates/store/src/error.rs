//! What goes wrong with what is on disk: a stable code, a message, and where a record is concerned its place.
//! It does not know what whoever asked does about it.

use std::io::ErrorKind;
use std::path::Path;

/// What went wrong. Cheap enough to hand to everybody who waits for the same commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// A stable code with a page under `docs/errors/`, such as `state_full`.
    pub code: &'static str,
    /// What, on what, why, and what to do.
    pub message: String,
    /// The record that is damaged, where it is one.
    pub place: Option<RecordPlace>,
}

/// Where a record stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordPlace {
    /// The id of its run.
    pub run: String,
    /// Its number in the run, from 0; absent where the run as a whole is meant.
    pub seq: Option<u64>,
}

pub(crate) type Result<T> = std::result::Result<T, StoreError>;

/// An error under this code.
pub(crate) fn refuse(code: &'static str, message: impl Into<String>) -> StoreError {
    StoreError { code, message: message.into(), place: None }
}

/// A record that is not what was written.
pub(crate) fn damaged_record(run: &str, seq: u64, what: &str) -> StoreError {
    let message = format!("run {run}, record {seq}: {what}; what stands before it can be read");
    StoreError { place: Some(RecordPlace { run: run.into(), seq: Some(seq) }), ..refuse("record_damaged", message) }
}

/// A row of the table of runs that is not what was written.
pub(crate) fn damaged_run(run: &str, what: &str) -> StoreError {
    let message = format!("run {run}: {what}");
    StoreError { place: Some(RecordPlace { run: run.into(), seq: None }), ..refuse("record_damaged", message) }
}

/// An error of the file system: `what` was to be done with `path`.
pub(crate) fn io(what: &str, path: &Path, error: &std::io::Error) -> StoreError {
    let code = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => code("state_full"),
        ErrorKind::ReadOnlyFilesystem => code("state_read_only"),
        ErrorKind::PermissionDenied => code("state_no_permission"),
        _ => code("state_io"),
    };
    refuse(code, format!("cannot {what} {}: {error}", path.display()))
}

/// An error of SQLite while doing `what`.
pub(crate) fn sqlite(what: &str, error: &rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode;
    let code = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => code("state_full"),
        Some(ErrorCode::ReadOnly) => code("state_read_only"),
        Some(ErrorCode::PermissionDenied) => code("state_no_permission"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => code("state_busy"),
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::OutOfMemory) => code("state_io"),
        // Anything else is a database that does not hold what it must: a page, a table or a column is not there.
        _ => code("state_damaged"),
    };
    refuse(code, format!("cannot {what}: {error}"))
}

/// Marks a literal as a code, for the test that wants a page for each.
const fn code(code: &'static str) -> &'static str {
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn each_failure_of_the_disk_has_its_code() {
        let of =
            |extended: i32| sqlite("commit", &rusqlite::Error::SqliteFailure(ffi::Error::new(extended), None)).code;
        assert_eq!(of(ffi::SQLITE_FULL), "state_full");
        assert_eq!(of(ffi::SQLITE_READONLY_DBMOVED), "state_read_only");
        assert_eq!(of(ffi::SQLITE_IOERR_FSYNC), "state_io");
        assert_eq!(of(ffi::SQLITE_IOERR_WRITE), "state_io");
        assert_eq!(of(ffi::SQLITE_CANTOPEN), "state_io");
        assert_eq!(of(ffi::SQLITE_BUSY_SNAPSHOT), "state_busy");
        assert_eq!(of(ffi::SQLITE_CORRUPT_INDEX), "state_damaged");
        assert_eq!(of(ffi::SQLITE_NOTADB), "state_damaged");
        assert_eq!(of(ffi::SQLITE_ERROR), "state_damaged");
        let errno = |raw| io("write", Path::new("/x"), &std::io::Error::from_raw_os_error(raw)).code;
        assert_eq!(
            [28, 27, 122, 30, 13, 5].map(errno),
            ["state_full", "state_full", "state_full", "state_read_only", "state_no_permission", "state_io"]
        );
    }
}
