//! The data directory: where the database, the blobs and the locks are; files that are there whole or not at all.
//! It does not know what the files say.

use crate::error::{Result, io, refuse};
use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A data directory that exists.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
}

/// Held while a file lock is; the lock ends with it, or with the process and all copies of it that are not yet another
/// program.
#[derive(Debug)]
pub(crate) struct Locked(File);

impl Locked {
    /// What the last who had the lock left in its file.
    pub(crate) fn note(&self) -> String {
        read_note(&self.0)
    }

    /// Leaves a note for the next.
    pub(crate) fn leave_note(&self, note: &str) -> std::io::Result<()> {
        self.0.set_len(0)?;
        self.0.write_all_at(note.as_bytes(), 0)
    }
}

/// A note is short; what is longer is none of ours.
const NOTE_BYTES_MAX: usize = 4_096;

fn read_note(file: &File) -> String {
    let mut note = vec![0; NOTE_BYTES_MAX];
    let length = file.read_at(&mut note, 0).unwrap_or(0);
    String::from_utf8_lossy(&note[..length]).into_owned()
}

/// The lock on making tables.
const TABLES_LOCK: &str = "locks/tables.lock";

/// How often a lock is tried that is held for as long as a database takes to be opened, and how long between.
const TRIES: u32 = 6_000;
const BETWEEN: Duration = Duration::from_millis(5);

impl DataDir {
    /// The directory, made if it is not there; readable by its owner only, since results may hold anything.
    pub(crate) fn create(root: &Path) -> Result<DataDir> {
        for dir in [root.to_path_buf(), root.join("blobs"), root.join("locks")] {
            make_dir(&dir)?;
        }
        Ok(DataDir { root: root.to_path_buf() })
    }

    /// The directory, for reading.
    pub(crate) fn existing(root: &Path) -> Result<DataDir> {
        let dir = DataDir { root: root.to_path_buf() };
        match std::fs::metadata(dir.database()) {
            Ok(_) => Ok(dir),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(refuse(
                "state_missing",
                format!("{} holds no journal: nothing durable was run there", root.display()),
            )),
            Err(error) => Err(io("read", root, &error)),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("journal.db")
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub(crate) fn lock_of(&self, run: &str) -> PathBuf {
        self.root.join("locks").join(format!("{run}.lock"))
    }

    /// The lock on sweeping blobs: shared by those who write blobs, exclusive while unnamed ones are removed.
    pub(crate) fn lock_blobs(&self, exclusive: bool) -> Result<Locked> {
        let path = self.root.join("locks/blobs.lock");
        let at = |error: std::io::Error| io("lock", &path, &error);
        let file = open_lock(&path)?;
        if exclusive {
            file.lock().map_err(at)?
        } else {
            file.lock_shared().map_err(at)?
        }
        Ok(Locked(file))
    }

    /// Held while the tables are made or updated. Waits for others who do that.
    pub(crate) fn lock_tables(&self) -> Result<Locked> {
        let path = self.root.join(TABLES_LOCK);
        let file = open_lock(&path)?;
        match wait(|| file.try_lock()) {
            Ok(()) => Ok(Locked(file)),
            Err(TryLockError::Error(error)) => Err(io("lock", &path, &error)),
            Err(TryLockError::WouldBlock) => Err(refuse(
                "state_busy",
                format!("{} is locked: another process opens the journal and does not get on", path.display()),
            )),
        }
    }

    /// Waits until nobody makes or updates the tables; whether somebody did may have changed them. Makes no file.
    pub(crate) fn await_tables(&self) -> bool {
        let Ok(file) = File::open(self.root.join(TABLES_LOCK)) else { return false };
        wait(|| file.try_lock_shared()).is_ok()
    }

    /// The lock of a run, or `None` while another holds it (in this process or another).
    pub(crate) fn try_lock(&self, run: &str) -> Result<Option<Locked>> {
        let path = self.lock_of(run);
        loop {
            let file = open_lock(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(io("lock", &path, &error)),
            }
            // Pruning removes the files of locks: what was locked must still be the file of that name.
            let ours = file.metadata().map(|meta| meta.ino()).ok();
            if ours.is_some() && ours == std::fs::metadata(&path).map(|meta| meta.ino()).ok() {
                return Ok(Some(Locked(file)));
            }
        }
    }

    /// What whoever has or had the lock of a run left in its file. Asking makes no file.
    pub(crate) fn note_of(&self, run: &str) -> String {
        File::open(self.lock_of(run)).map_or_else(|_| String::new(), |file| read_note(&file))
    }

    /// The file of a lock is not needed any more. One that cannot be removed does no harm.
    pub(crate) fn forget_lock(&self, name: &str) {
        let _ = std::fs::remove_file(self.lock_of(name));
    }

    /// Whether somebody holds the lock of a run now. Asking makes no file.
    pub(crate) fn is_locked(&self, run: &str) -> bool {
        File::open(self.lock_of(run)).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}

/// Tries until there is another answer than that somebody else holds it, for half a minute.
fn wait(try_lock: impl Fn() -> std::result::Result<(), TryLockError>) -> std::result::Result<(), TryLockError> {
    for _ in 1..TRIES {
        match try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(BETWEEN),
            other => return other,
        }
    }
    try_lock()
}

fn open_lock(path: &Path) -> Result<File> {
    let options = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    options.map_err(|error| io("open", path, &error))
}

/// Makes a directory and those above it; their names are on disk when this returns.
pub(crate) fn make_dir(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_dir(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => dir.parent().map_or(Ok(()), sync_dir),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io("make the directory", dir, &error)),
    }
}

/// The names in a directory are on disk when this returns.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir).and_then(|file| file.sync_all()).map_err(|error| io("sync the directory", dir, &error))
}
