//! The tables, their versions and the steps from one to the next; how connections are opened.
//! It does not know what is in the rows.

use crate::dir::DataDir;
use crate::error::{Result, StoreError, io, refuse, sqlite};
use rusqlite::{Connection, OpenFlags, TransactionBehavior, ffi};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

/// The version of the tables that this code writes.
pub const SCHEMA_VERSION: usize = STEPS.len();

/// Older ones lose commits in rare races of the write-ahead log.
const _: () = assert!(ffi::SQLITE_VERSION_NUMBER >= 3_051_003);

/// The step at index `n` makes version `n + 1` of version `n`. A step that was released is never changed.
const STEPS: &[&str] = &[include_str!("schema_1.sql"), include_str!("schema_2.sql")];

/// `fano`, so that `file` and we ourselves know whose database it is.
const APPLICATION_ID: i32 = 0x6661_6e6f;

/// How long another process may hold the database before we give up. A commit takes milliseconds; pruning a large
/// run takes a second.
const BUSY_MAX: Duration = Duration::from_secs(30);

/// The log is cut back to this when it is empty.
const LOG_BYTES_MAX: i64 = 64 << 20;

/// Opens the database for writing, making or migrating it.
pub(crate) fn open_write(dir: &DataDir) -> Result<Connection> {
    let path = dir.database();
    // Before the database is there: a reader that finds it without tables knows whether it is being made.
    let _held = dir.lock_tables()?;
    // Opened once as a plain file: SQLite says less about why it cannot.
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .map_err(|error| io("open the journal", &path, &error))?;
    let at = |error: rusqlite::Error| sqlite(&format!("open {}", path.display()), &error);
    let mut connection = Connection::open(&path).map_err(at)?;
    connection.busy_timeout(BUSY_MAX).map_err(at)?;
    let known =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, u32>(0)).map_err(at)?;
    if known == 0 {
        // Only before the first table: freed pages can be given back to the file system.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(at)?;
    }
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).map_err(at)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(at)?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES_MAX, |_| Ok(())).map_err(at)?;
    careful(&connection).map_err(at)?;
    connection.set_prepared_statement_cache_capacity(64);
    migrate(&mut connection, STEPS).map_err(|error| in_file(error, &path))?;
    Ok(connection)
}

/// The same error, with the file in which it is.
fn in_file(error: StoreError, path: &Path) -> StoreError {
    StoreError { message: format!("{}: {}", path.display(), error.message), ..error }
}

/// Opens the database for reading; others may write meanwhile.
pub(crate) fn open_read(path: &Path) -> Result<Connection> {
    let at = |error: rusqlite::Error| sqlite(&format!("read {}", path.display()), &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(at)?;
    connection.busy_timeout(BUSY_MAX).map_err(at)?;
    careful(&connection).map_err(at)?;
    connection.set_prepared_statement_cache_capacity(64);
    let version = version_now(&connection).map_err(|error| in_file(error, path))?;
    if version == 0 {
        let message = format!("{} has no tables yet: nothing durable was run there", path.display());
        return Err(refuse("state_missing", message));
    }
    if version < STEPS.len() {
        let message =
            format!("{}: version {version} of the tables; any command that writes updates it", path.display());
        return Err(refuse("state_older", message));
    }
    check(&connection, STEPS).map_err(|error| in_file(error, path))?;
    Ok(connection)
}

fn careful(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "trusted_schema", false)
}

/// The version of the tables there at one moment: another process may be writing its two numbers.
fn version_now(connection: &Connection) -> Result<usize> {
    let at = |error: rusqlite::Error| sqlite("read the version of the journal", &error);
    version(&*connection.unchecked_transaction().map_err(at)?, STEPS)
}

/// The version of the tables there.
fn version(connection: &Connection, steps: &[&str]) -> Result<usize> {
    let at = |error: rusqlite::Error| sqlite("read the version of the journal", &error);
    let [application, version] = ["application_id", "user_version"]
        .map(|name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(at));
    let (application, version) = (application?, version?);
    if version == 0 && application == 0 {
        return Ok(0);
    }
    if application != APPLICATION_ID {
        return Err(refuse("state_damaged", "the journal is a database of something else"));
    }
    match usize::try_from(version) {
        Ok(version @ 1..) if version <= steps.len() => Ok(version),
        Ok(newer @ 1..) => {
            let message = format!("the journal has version {newer} of the tables, this fanout knows {}", steps.len());
            Err(refuse("state_newer", message))
        }
        _ => Err(refuse("state_damaged", "the journal has no version")),
    }
}

/// Takes the steps that are missing, in one transaction.
fn migrate(connection: &mut Connection, steps: &[&str]) -> Result<()> {
    let at = |error: rusqlite::Error| sqlite("update the tables of the journal", &error);
    if version(connection, steps)? < steps.len() {
        // Looked at again inside: another process may have come first.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(at)?;
        for step in &steps[version(&transaction, steps)?..] {
            transaction.execute_batch(step).map_err(at)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(at)?;
        transaction.pragma_update(None, "user_version", i32::try_from(steps.len()).unwrap_or(i32::MAX)).map_err(at)?;
        transaction.commit().map_err(at)?;
    }
    check(connection, steps)
}

/// Whether the tables are those that the steps make: a table that rotted into another must not be written to.
fn check(connection: &Connection, steps: &[&str]) -> Result<()> {
    let at = |error: rusqlite::Error| sqlite("read the tables of the journal", &error);
    let found = tables(connection).map_err(at)?;
    match model(steps).map_err(at)?.into_iter().find(|table| !found.contains(table)) {
        Some((name, _)) => Err(refuse("state_damaged", format!("the journal's {name} is not as it was made"))),
        None => Ok(()),
    }
}

/// Names of tables, indexes and views, and how each is made.
type Tables = Vec<(String, String)>;

/// The tables that the steps make. Those of our own steps are made once.
fn model(steps: &[&str]) -> rusqlite::Result<Tables> {
    static OURS: OnceLock<Tables> = OnceLock::new();
    if let Some(ours) = OURS.get().filter(|_| steps == STEPS) {
        return Ok(ours.clone());
    }
    let model = Connection::open_in_memory()?;
    steps.iter().try_for_each(|step| model.execute_batch(step))?;
    let model = tables(&model)?;
    Ok(if steps == STEPS { OURS.get_or_init(|| model).clone() } else { model })
}

fn tables(connection: &Connection) -> rusqlite::Result<Tables> {
    let mut statement = connection.prepare("SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_schema")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_taken_once_and_what_is_there_stays() -> Result<()> {
        let steps = ["CREATE TABLE a (x)", "ALTER TABLE a ADD COLUMN y DEFAULT 7; CREATE TABLE b (z)"];
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &steps[..1])?;
        connection.execute_batch("INSERT INTO a VALUES (1)").unwrap();
        migrate(&mut connection, &steps)?;
        migrate(&mut connection, &steps)?;
        let row: (i32, i32) =
            connection.query_row("SELECT x, y FROM a", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(row, (1, 7));
        let newer = migrate(&mut connection, &steps[..1]).unwrap_err();
        assert_eq!(newer.code, "state_newer", "{newer}");
        connection.execute_batch("CREATE INDEX mine ON a (x)").unwrap();
        migrate(&mut connection, &steps)?;
        connection.execute_batch("DROP TABLE b").unwrap();
        assert_eq!(migrate(&mut connection, &steps).unwrap_err().code, "state_damaged");
        Ok(())
    }

    #[test]
    fn a_step_that_fails_leaves_the_version_before() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &["CREATE TABLE a (x)"]).unwrap();
        migrate(&mut connection, &["CREATE TABLE a (x)", "CREATE TABLE b (x); CREATE TABLE b (x)"]).unwrap_err();
        migrate(&mut connection, &["CREATE TABLE a (x)"]).unwrap();
        assert_eq!(tables(&connection).unwrap().len(), 1);
    }

    #[test]
    fn the_version_is_read_at_one_moment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        let mut writer = Connection::open(&path).unwrap();
        writer.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF").unwrap();
        migrate(&mut writer, STEPS).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let done = &done;
            scope.spawn(move || {
                let set = |of: i32, version: i32| {
                    writer.execute_batch(&format!(
                        "BEGIN; PRAGMA application_id = {of}; PRAGMA user_version = {version}; COMMIT"
                    ))
                };
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    set(0, 0).unwrap();
                    set(APPLICATION_ID, i32::try_from(STEPS.len()).unwrap()).unwrap();
                }
            });
            let reader = Connection::open(&path).unwrap();
            let wrong = (0..20_000).find_map(|_| version_now(&reader).err());
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(wrong, None);
        });
    }

    #[test]
    fn the_database_of_another_program_is_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE a (x); PRAGMA application_id = 5").unwrap();
        assert_eq!(migrate(&mut connection, STEPS).unwrap_err().code, "state_damaged");
    }
}
