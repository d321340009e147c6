//! `fanout plan`: what would run when, and what waits for what, as a table or as a graph for graphviz.
//! It does not know how the schedule was made.

use crate::account::chain;
use crate::text::{self, Paint, count, duration};
use fanout::{Schedule, ScheduledCall};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Duration;

/// A bar of the time line is so wide, where there is room.
const BAR_MAX: usize = 24;
/// At most so many reasons to wait are shown for a call.
const WAITS_MAX: usize = 4;

/// The table for people.
pub(crate) fn table(schedule: &Schedule, columns: usize, paint: Paint) -> String {
    let critical: HashSet<&str> = schedule.critical_path.iter().map(|id| id.as_ref()).collect();
    let id_width = schedule.calls.iter().map(|c| text::width(&text::line(&c.id))).max().unwrap_or(0).clamp(4, 28);
    let tool_width = schedule.calls.iter().map(|c| text::width(&text::line(&c.tool))).max().unwrap_or(0).clamp(4, 24);
    let fixed = 2 + id_width + 2 + tool_width + 2 + 8 + 2 + 8 + 2;
    let bar_width = if columns >= fixed + BAR_MAX + 30 { BAR_MAX } else { 0 };
    let wait_width = columns.saturating_sub(fixed + if bar_width > 0 { bar_width + 2 } else { 0 }).max(24);
    let mut out = String::new();
    let head = format!(
        "  {}  {}  {:>8}  {:>8}  {}{}",
        text::pad("call", id_width),
        text::pad("tool", tool_width),
        "start",
        "end",
        if bar_width > 0 { text::pad("", bar_width + 2) } else { String::new() },
        "waits for"
    );
    let _ = writeln!(out, "{}", paint.bold(&head));
    for call in &schedule.calls {
        let on_path = critical.contains(call.id.as_ref());
        let mark = if on_path { paint.yellow("◆ ") } else { "  ".to_string() };
        let id = text::pad(&text::line(&call.id), id_width);
        let id = if on_path { paint.yellow(&id) } else { id };
        let bar = match bar_width {
            0 => String::new(),
            width => bar(call, schedule.makespan, width) + "  ",
        };
        let mut line = format!(
            "{mark}{id}  {}  {:>8}  {:>8}  {}{}",
            paint.dim(&text::pad(&text::line(&call.tool), tool_width)),
            duration(call.start),
            duration(call.end),
            paint.cyan(&bar),
            text::cut(&waits(call), wait_width),
        );
        line.truncate(line.trim_end().len());
        let _ = writeln!(out, "{line}");
    }
    out.push_str(&summary(schedule, columns, paint));
    out
}

fn summary(schedule: &Schedule, columns: usize, paint: Paint) -> String {
    let path: Vec<String> = schedule.critical_path.iter().map(|id| text::line(id)).collect();
    let head = format!("◆ critical path {}: ", duration(schedule.critical_path_length));
    let shown = chain(&path, columns.saturating_sub(text::width(&head)));
    format!(
        "\n{}{shown}\nexpected: {} in {}, against {} one by one; at most {} at once\n",
        paint.yellow(&head),
        count(schedule.calls.iter().filter(|call| !call.id.contains('[')).count(), "call"),
        paint.bold(&duration(schedule.makespan)),
        duration(schedule.calls_total),
        schedule.slots,
    )
}

/// When a call runs within the whole: `   ▐████   `.
fn bar(call: &ScheduledCall, makespan: Duration, width: usize) -> String {
    let whole = makespan.as_secs_f64();
    if whole <= 0.0 {
        return " ".repeat(width);
    }
    let at = |d: Duration| ((d.as_secs_f64() / whole) * width as f64).round() as usize;
    let from = at(call.start).min(width - 1);
    let to = at(call.end).clamp(from + 1, width);
    format!("{}{}{}", "·".repeat(from), "█".repeat(to - from), "·".repeat(width - to))
}

/// `files, tests; key file:/x after title`.
fn waits(call: &ScheduledCall) -> String {
    let mut parts: Vec<String> = Vec::new();
    let inputs: Vec<String> = named(call, "input");
    if !inputs.is_empty() {
        parts.push(inputs.join(", "));
    }
    let ends = named(call, "after");
    if !ends.is_empty() {
        parts.push(format!("end of {}", ends.join(", ")));
    }
    for wait in call.waits_for.iter().filter(|w| w.cause != "input" && w.cause != "after") {
        let on = wait.on.as_deref().map(text::line).unwrap_or_default();
        let part = match (wait.cause.as_ref(), wait.key.as_deref()) {
            (_, Some(key)) => format!("key {} after {on}", text::key(key)),
            ("limit", None) => format!("limit {on}"),
            ("rate", None) => format!("rate {on}"),
            ("stop", None) => format!("success of {on}"),
            (cause, None) => format!("{} {on}", text::line(cause)),
        };
        parts.push(part.trim_end().to_string());
    }
    let more = parts.len().saturating_sub(WAITS_MAX);
    parts.truncate(WAITS_MAX);
    if more > 0 {
        parts.push(format!("{more} more"));
    }
    parts.join("; ")
}

fn named(call: &ScheduledCall, cause: &str) -> Vec<String> {
    call.waits_for.iter().filter(|w| w.cause == cause).filter_map(|w| w.on.as_deref().map(text::line)).collect()
}

/// The graph for graphviz: whole lines for results, dashed for keys, dotted for order only.
pub(crate) fn dot(schedule: &Schedule) -> String {
    let critical: HashSet<&str> = schedule.critical_path.iter().map(|id| id.as_ref()).collect();
    let ids: HashSet<&str> = schedule.calls.iter().map(|call| call.id.as_ref()).collect();
    let mut out =
        String::from("digraph plan {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n");
    out.push_str("  edge [fontname=\"sans-serif\", fontsize=10];\n");
    let _ = writeln!(out, "  label={};", quoted(&schedule.name));
    for call in &schedule.calls {
        let label = format!("{}\n{}\n{} – {}", call.id, call.tool, duration(call.start), duration(call.end));
        let bold = if critical.contains(call.id.as_ref()) { ", penwidth=2.5" } else { "" };
        let _ = writeln!(out, "  {} [label={}{bold}];", quoted(&call.id), quoted(&label));
    }
    for call in &schedule.calls {
        for wait in &call.waits_for {
            let Some(on) = wait.on.as_deref().filter(|on| ids.contains(on)) else { continue };
            let style = match (wait.cause.as_ref(), wait.key.as_deref()) {
                ("input", _) => String::new(),
                (_, Some(key)) => format!(" [style=dashed, label={}]", quoted(key)),
                (cause, None) => format!(" [style=dotted, label={}]", quoted(cause)),
            };
            let _ = writeln!(out, "  {} -> {}{style};", quoted(on), quoted(&call.id));
        }
    }
    out.push_str("}\n");
    out
}

/// A string of the dot language; line ends are kept as `\n`.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '"' | '\\' => out.extend(['\\', c]),
            c if text::steers(c) => out.push('�'),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
