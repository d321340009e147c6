//! Names of files made one: absolute, links followed as far as the path exists, `.` and `..` gone.
//! It does not know keys or templates; whoever has a path asks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Makes paths canonical, remembering parents it has already asked the file system for. Made for one batch of
/// questions and dropped, since links may change.
pub(crate) struct Canonical<'a> {
    base_dir: &'a Path,
    known: RefCell<HashMap<PathBuf, Option<PathBuf>>>,
}

impl<'a> Canonical<'a> {
    /// `base_dir` is what relative paths are relative to; absolute.
    pub(crate) fn new(base_dir: &'a Path) -> Canonical<'a> {
        Canonical { base_dir, known: RefCell::default() }
    }

    /// The one name of `path`: absolute, its longest existing parent with links followed, the rest normalised.
    /// What does not exist has no links, so `..` in the rest simply takes a segment away.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        let absolute = self.base_dir.join(path);
        let mut existing = absolute.as_path();
        let mut rest: Vec<OsString> = Vec::new();
        loop {
            if let Some(real) = self.real(existing) {
                return normalised(real, rest.iter().rev());
            }
            // `..` has no file name: it is kept as it stands, and taken off with what is before it.
            let Some(last) = existing.components().next_back() else { break };
            rest.push(last.as_os_str().to_owned());
            match existing.parent() {
                Some(parent) => existing = parent,
                None => break,
            }
        }
        normalised(PathBuf::from("/"), rest.iter().rev())
    }

    fn real(&self, path: &Path) -> Option<PathBuf> {
        if let Some(known) = self.known.borrow().get(path) {
            return known.clone();
        }
        let real = std::fs::canonicalize(path).ok().or_else(|| self.dangling(path));
        self.known.borrow_mut().insert(path.to_owned(), real.clone());
        real
    }

    /// A link whose target does not exist yet: writing through it makes the target, so that is its name.
    fn dangling(&self, path: &Path) -> Option<PathBuf> {
        let mut at = path.to_owned();
        // As many links in a row as Linux itself follows.
        for _ in 0..40 {
            let target = std::fs::read_link(&at).ok()?;
            at = at.parent()?.join(target);
            if std::fs::symlink_metadata(&at).is_err() {
                return Some(Canonical::new(self.base_dir).path(&at));
            }
        }
        None
    }
}

fn normalised<'r>(mut path: PathBuf, rest: impl Iterator<Item = &'r OsString>) -> PathBuf {
    for part in rest {
        match Path::new(part).components().next() {
            Some(Component::Normal(name)) => path.push(name),
            Some(Component::ParentDir) => {
                path.pop();
            }
            _ => {}
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn one_name_for_all_spellings() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let base = std::fs::canonicalize(dir.path())?;
        std::fs::create_dir_all(base.join("real/deep"))?;
        std::fs::write(base.join("real/deep/a"), "")?;
        symlink(base.join("real"), base.join("link"))?;
        symlink("real/new", base.join("dangling"))?;
        let canonical = Canonical::new(&base);
        let name = |path: &str| {
            let path = canonical.path(Path::new(path));
            path.strip_prefix(&base).map(|rest| rest.display().to_string()).unwrap_or(path.display().to_string())
        };
        assert_eq!(name("real/deep/a"), "real/deep/a");
        assert_eq!(name("link/deep/a"), "real/deep/a");
        assert_eq!(name("./link/deep/../deep/./a"), "real/deep/a");
        assert_eq!(name("link/not/yet"), "real/not/yet");
        assert_eq!(name("link/not/../yet"), "real/yet");
        assert_eq!(name("dangling"), "real/new");
        assert_eq!(name("/../../no_such_place/x"), "/no_such_place/x");
        assert_eq!(name("real/deep/.."), "real");
        Ok(())
    }
}
