//! The MCP servers and clients of others, as `cargo xtask test` installs them.
//! It does not know what is tested with them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where they are.
pub struct Peers(PathBuf);

/// Those that are installed.
///
/// # Panics
/// When they are not: `cargo xtask test --only needs` does it.
pub fn peers() -> Peers {
    let test = std::env::current_exe().expect("the path of the test");
    // Beside the folder of the profile.
    let target = test.ancestors().find(|folder| folder.join("mcp-peers").is_dir());
    let dir = target.expect("MCP servers are installed: run `cargo xtask test --only needs`").join("mcp-peers");
    Peers(dir)
}

impl Peers {
    /// The folder of all of them.
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// A program of theirs, by its name.
    ///
    /// # Panics
    /// When nobody has it.
    pub fn program(&self, name: &str) -> String {
        let found = self.places().into_iter().map(|place| place.join(name)).find(|place| place.is_file());
        let found = found.unwrap_or_else(|| panic!("`{name}` is not installed; run `cargo xtask test --only needs`"));
        found.to_str().expect("the target directory is UTF-8").to_owned()
    }

    /// A `PATH` on which all of them are found first, and the `node` that they need.
    ///
    /// # Panics
    /// When a folder has a colon in its name.
    pub fn path(&self) -> OsString {
        let rest = std::env::var_os("PATH").unwrap_or_default();
        let all = self.places().into_iter().chain(std::env::split_paths(&rest));
        std::env::join_paths(all).expect("no colon in the target directory")
    }

    fn places(&self) -> [PathBuf; 3] {
        ["node_modules/.bin", "venv/bin", "venv-sqlite/bin"].map(|place| self.0.join(place))
    }
}
