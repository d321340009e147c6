//! Blobs: large parts of records as files named by their hash, there whole before a record names them.
//! It does not know which records those are.

use crate::dir::{DataDir, make_dir, sync_dir};
use crate::error::{Result, io, refuse};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Parts with more bytes than this become blobs: smaller ones are cheaper inside the database.
pub const INLINE_BYTES_MAX: usize = 16 << 10;

/// The name of a blob: the hash of what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct BlobRef {
    /// BLAKE3, 64 hexadecimal digits.
    pub hash: String,
    /// Its length.
    pub bytes: u64,
}

impl BlobRef {
    fn of(content: &[u8]) -> BlobRef {
        BlobRef { hash: blake3::hash(content).to_hex().to_string(), bytes: content.len() as u64 }
    }

    /// A hash from a damaged record must not name a file elsewhere.
    fn path(&self, dir: &DataDir) -> Option<PathBuf> {
        let is_hash = self.hash.len() == 64 && self.hash.bytes().all(|b| b.is_ascii_hexdigit());
        is_hash.then(|| dir.blobs().join(&self.hash[..2]).join(&self.hash))
    }
}

/// Blobs written in one turn; they count once [`NewBlobs::sync`] has returned.
#[derive(Debug, Default)]
pub(crate) struct NewBlobs {
    dirs: BTreeSet<PathBuf>,
}

impl NewBlobs {
    /// Writes a blob, or finds it there. The caller holds the shared lock of blobs.
    pub(crate) fn write(&mut self, dir: &DataDir, content: &[u8]) -> Result<BlobRef> {
        let blob = BlobRef::of(content);
        let folder = dir.blobs().join(&blob.hash[..2]);
        let path = folder.join(&blob.hash);
        if read_checked(&path, &blob).is_err() {
            make_dir(&folder)?;
            let at = |error: std::io::Error| io("write", &path, &error);
            let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(&folder).map_err(at)?;
            file.write_all(content).and_then(|()| file.as_file().sync_all()).map_err(at)?;
            file.persist(&path).map_err(|error| at(error.error))?;
        }
        // Also for one that was there: whoever wrote it may not have come to this.
        self.dirs.insert(folder);
        Ok(blob)
    }

    /// The names of all that were written are on disk when this returns.
    pub(crate) fn sync(&mut self) -> Result<()> {
        std::mem::take(&mut self.dirs).iter().try_for_each(|dir| sync_dir(dir))
    }
}

/// How files begin that are not yet blobs.
const TEMPORARY: &str = ".new-";

/// What is in a blob, checked.
///
/// # Errors
/// `blob_damaged` when it is not there or not what was written.
pub(crate) fn read(dir: &DataDir, blob: &BlobRef) -> Result<Vec<u8>> {
    let path = blob.path(dir).ok_or_else(|| refuse("blob_damaged", format!("`{}` is no name of a blob", blob.hash)))?;
    read_checked(&path, blob)
}

fn read_checked(path: &Path, blob: &BlobRef) -> Result<Vec<u8>> {
    let damaged = |what: &str| refuse("blob_damaged", format!("the blob {} {what}", path.display()));
    let meta = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => damaged("is gone"),
        _ => io("read", path, &error),
    })?;
    // Before it is read: a file that grew must not fill the memory.
    if meta.len() != blob.bytes {
        return Err(damaged(&format!("has {} bytes instead of {}", meta.len(), blob.bytes)));
    }
    let content = std::fs::read(path).map_err(|error| io("read", path, &error))?;
    if BlobRef::of(&content) != *blob {
        return Err(damaged("is not what was written"));
    }
    Ok(content)
}

/// Removes files that nothing names; gives how many and how many bytes. The caller holds the exclusive lock.
pub(crate) fn sweep(dir: &DataDir, is_named: &mut dyn FnMut(&str) -> Result<bool>) -> Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for folder in entries(&dir.blobs())? {
        for path in entries(&folder)? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with(TEMPORARY) || name.len() == 64 && !is_named(name)? {
                let size = std::fs::metadata(&path).map_or(0, |meta| meta.len());
                std::fs::remove_file(&path).map_err(|error| io("remove", &path, &error))?;
                files += 1;
                bytes += size;
            }
        }
    }
    Ok((files, bytes))
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let at = |error: std::io::Error| io("read the directory", dir, &error);
    std::fs::read_dir(dir).map_err(at)?.map(|entry| entry.map(|entry| entry.path()).map_err(at)).collect()
}
