//! What MCP costs: through the gateway against straight, many calls at once against rmcp, many servers against one.
//! It does not know how fanout speaks the protocol.

mod gateway;
mod parallel;
mod server;
mod start;

use super::table::{Row, Size};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

pub(crate) use server::serve_pipes;

/// All of it; `fanout` is the real command.
pub(crate) fn rows(size: Size, fanout: Option<&Path>) -> Result<Vec<Row>> {
    let fanout = match fanout {
        Some(fanout) => fanout.to_owned(),
        None => own()?.with_file_name("fanout"),
    };
    ensure!(
        fanout.is_file(),
        "{} is not there; `cargo xtask bench` builds it, and `--fanout PATH` names another",
        fanout.display()
    );
    let mut rows = gateway::rows(size, &fanout)?;
    rows.extend(parallel::rows(size)?);
    rows.extend(start::rows(size, &fanout)?);
    Ok(rows)
}

/// This program, which is the server too.
fn own() -> Result<PathBuf> {
    std::env::current_exe().context("this program cannot be found")
}

/// A server as a toolbox of a file.
fn toolbox(name: &str, after_ms: u64) -> Result<String> {
    let args = server::arguments(after_ms);
    Ok(format!("[toolbox.{name}]\nmcp = {{ command = {:?}, args = {args:?} }}\n", own()?))
}
