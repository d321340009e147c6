//! Many servers that need their time to start, listed by the real command, against the slowest of them alone.
//! It does not know how they are started.

use super::super::runner::Best;
use super::super::table::{Budget, Row, Size};
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long the slowest server needs, and by how much each is quicker than the one after it.
const SLOWEST_MS: u64 = 500;
const APART_MS: u64 = 6;

/// `fanout tools`, from its start to its end, and `fanout mcp` until it answers a greeting.
pub(super) fn rows(size: Size, fanout: &Path) -> Result<Vec<Row>> {
    let servers = size.of(50) as u64;
    let dir = tempfile::tempdir()?;
    let file = |name: &str, of: std::ops::Range<u64>| -> Result<PathBuf> {
        let file = dir.path().join(name);
        let toolboxes = of.map(|back| super::toolbox(&format!("s{back}"), SLOWEST_MS - back * APART_MS));
        std::fs::write(&file, toolboxes.collect::<Result<Vec<_>>>()?.concat())?;
        Ok(file)
    };
    let (all, slowest) = (file("all.toml", 0..servers)?, file("slowest.toml", 0..1)?);
    let ways: [(&str, Way); 2] = [("`fanout tools`", tools), ("`fanout mcp` until it answers", gateway)];
    let mut rows = Vec::new();
    for (name, way) in ways {
        let (mut ours, mut peer) = (Best::new(), Best::new());
        for _ in 0..size.rounds(5) {
            ours.ended_after(way(fanout, &all, servers)?);
            peer.ended_after(way(fanout, &slowest, 1)?);
        }
        let name = format!("{servers} servers of up to {SLOWEST_MS} ms, {name}");
        let ms = |best: Best| best.per_call_us(1) / 1e3;
        rows.push(Row::new(name, "ms", ms(ours), "the slowest alone", ms(peer), Budget::Ratio(1.5)));
    }
    Ok(rows)
}

/// How long the command takes for something with the servers of a file, of which there are so many.
type Way = fn(&Path, &Path, u64) -> Result<Duration>;

fn tools(fanout: &Path, file: &Path, servers: u64) -> Result<Duration> {
    let begun = Instant::now();
    let output = Command::new(fanout).args(["tools", "--json", "--tools"]).arg(file).output()?;
    let took = begun.elapsed();
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).context("the list of tools")?;
    let listed = listed.as_array().map_or(0, Vec::len) as u64;
    ensure!(listed == servers, "{listed} tools of {servers}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(took)
}

fn gateway(fanout: &Path, file: &Path, _servers: u64) -> Result<Duration> {
    let mut command = Command::new(fanout);
    command.args(["mcp", "--tools"]).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
    let begun = Instant::now();
    let mut process = command.spawn()?;
    let mut input = process.stdin.take().context("no standard input")?;
    let mut output = BufReader::new(process.stdout.take().context("no standard output")?);
    let hello = r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"b","version":"1"}}"#;
    writeln!(input, r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{hello}}}"#)?;
    let mut line = String::new();
    output.read_line(&mut line)?;
    let took = begun.elapsed();
    drop(input);
    let status = process.wait()?;
    ensure!(line.contains("serverInfo") && status.success(), "{status}: {line}");
    Ok(took)
}
