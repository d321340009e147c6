//! `fanout cache stats` and `fanout cache clear`: what is kept of results on disk.
//! It does not know how it comes there, nor when it is handed on.

use crate::args::{CacheArgs, CacheClearArgs, CacheCommand, CacheStatsArgs, When};
use crate::durable;
use crate::load::Refused;
use crate::text::{self, Paint};
use fanout::state::{CacheHeld, Cleared, Time, ToolHeld, cache_clear, cache_held, now};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::process::ExitCode;

/// `fanout cache`.
pub(crate) fn main(args: &CacheArgs, color: When) -> Result<ExitCode, Refused> {
    match &args.command {
        CacheCommand::Stats(args) => stats(args, Paint::choose(color, std::io::stdout().is_terminal())),
        CacheCommand::Clear(args) => clear(args),
    }
}

fn stats(args: &CacheStatsArgs, paint: Paint) -> Result<ExitCode, Refused> {
    let state = durable::state_dir(&args.state)?;
    let mut held = match cache_held(&state) {
        Err(error) if error.code == "state_missing" => CacheHeld::default(),
        held => held?,
    };
    held.tools.retain(|tool| args.tool.as_ref().is_none_or(|wanted| *wanted == tool.tool));
    if args.json {
        text::print(&(serde_json::to_string_pretty(&as_json(&held)).unwrap_or_default() + "\n"));
    } else if held.tools.is_empty() {
        let hint = "`cache: {scope: disk}` at a tool or call keeps its results";
        text::say(&format!("no results are kept in `{}`; {hint}\n", state.display()));
    } else {
        text::print(&table(&held, paint));
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(held: &CacheHeld) -> Value {
    let ms = |at: Time| at.0 / 1_000_000;
    let tool = |tool: &ToolHeld| {
        json!({
            "tool": tool.tool, "entries": tool.entries, "bytes": tool.bytes,
            "oldest_ms": ms(tool.given.0), "newest_ms": ms(tool.given.1),
        })
    };
    json!({
        "entries": held.tools.iter().map(|tool| tool.entries).sum::<u64>(),
        "bytes": held.tools.iter().map(|tool| tool.bytes).sum::<u64>(),
        "open_writes": held.open_writes,
        "tools": held.tools.iter().map(tool).collect::<Vec<_>>(),
    })
}

fn table(held: &CacheHeld, paint: Paint) -> String {
    let width = held.tools.iter().map(|tool| text::width(&text::line(&tool.tool))).max().unwrap_or(0).max(4);
    let mut out = paint.bold(&format!("{:width$}  {:>8}  {:>9}  {}", "tool", "results", "size", "oldest")) + "\n";
    let now = now();
    for tool in &held.tools {
        let name = text::line(&tool.tool);
        let name = format!("{name}{}", " ".repeat(width.saturating_sub(text::width(&name))));
        let age = text::ms(now.since(tool.given.0).as_secs_f64() * 1e3);
        out += &format!("{name}  {:>8}  {:>9}  {age} ago\n", tool.entries, size(tool.bytes));
    }
    if held.open_writes > 0 {
        out += &format!(
            "{} open: what they overlap is not kept meanwhile\n",
            text::count(usize::try_from(held.open_writes).unwrap_or(usize::MAX), "write")
        );
    }
    out
}

fn size(bytes: u64) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}

fn clear(args: &CacheClearArgs) -> Result<ExitCode, Refused> {
    let state = durable::state_dir(&args.state)?;
    let cleared = match cache_clear(&state, args.tool.as_deref()) {
        Err(error) if error.code == "state_missing" => Cleared::default(),
        cleared => cleared?,
    };
    text::print(&match args.json {
        true => json!({"entries": cleared.entries, "bytes": cleared.bytes}).to_string() + "\n",
        false => {
            let entries = text::count(usize::try_from(cleared.entries).unwrap_or(usize::MAX), "result");
            format!("{entries} removed, {}\n", size(cleared.bytes))
        }
    });
    Ok(ExitCode::SUCCESS)
}
