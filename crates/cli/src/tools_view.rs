//! `fanout tools`: the tools with their arguments, effects and limits, for people and as JSON.
//! It does not know where they come from.

use crate::text::{self, Paint, duration};
use fanout::{Catalog, CatalogTool, EffectsSpec, Rate, ToolKind};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One line per tool.
pub(crate) fn list(catalog: &Catalog, columns: usize, paint: Paint) -> String {
    let tools = catalog.tools();
    let name_width = tools.iter().map(|t| text::width(&text::line(&t.spec.name))).max().unwrap_or(0).clamp(4, 32);
    let effects_width = tools.iter().map(|t| text::width(&effects_text(t))).max().unwrap_or(0).clamp(4, 36);
    let about_width = columns.saturating_sub(name_width + effects_width + 5).max(16);
    let mut out = String::new();
    for tool in tools {
        let effects = text::pad(&effects_text(tool), effects_width);
        let _ = writeln!(
            out,
            "{}  {}  {}",
            paint.bold(&text::pad(&text::line(&tool.spec.name), name_width)),
            if tool.undeclared { paint.yellow(&effects) } else { paint.dim(&effects) },
            text::cut(&text::line(&tool.spec.description), about_width),
        );
    }
    let undeclared: Vec<&str> = tools.iter().filter(|t| t.undeclared).map(|t| t.spec.name.as_ref()).collect();
    if !undeclared.is_empty() {
        let names = text::cut(&text::line(&undeclared.join(", ")), 60);
        let _ = writeln!(
            out,
            "\n{} {names}: no effects are declared, so calls run one by one; write `effects = \"none\"` or what is read and written",
            paint.yellow("hint:")
        );
    }
    out
}

/// All there is to know about one tool.
pub(crate) fn one(tool: &CatalogTool, paint: Paint) -> String {
    let spec = &tool.spec;
    let mut out = format!("{}\n  {}\n", paint.bold(&text::line(&spec.name)), text::line(&spec.description));
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(out, "  {}  {value}", paint.dim(&text::pad(name, 9)));
    };
    fact("toolbox", text::line(&tool.toolbox));
    fact("kind", kind(spec.kind).to_string());
    for (name, value) in &spec.facts {
        fact(name, text::line(value));
    }
    fact("effects", effects_text(tool));
    let settings = &spec.settings;
    if let Some(n) = spec.running_max {
        fact("running", format!("at most {n} at once"));
    }
    if let Some(rate) = spec.rate {
        fact("rate", rate_text(rate));
    }
    if !settings.uses.is_empty() {
        let uses: Vec<String> = settings.uses.iter().map(|(name, n)| format!("{} {n}", text::line(name))).collect();
        fact("uses", uses.join(", "));
    }
    if let Some(d) = settings.timeout {
        fact("timeout", round(d));
    }
    if let Some(d) = settings.idle_timeout {
        fact("idle", format!("ended after {} of silence", round(d)));
    }
    if let Some(retry) = settings.retry {
        fact("attempts", retry.attempts.map_or_else(|| "default".to_string(), |n| n.to_string()));
    }
    if let Some(d) = settings.expect {
        fact("expected", round(d));
    }
    out.push_str(&schema_block("arguments", &spec.args_schema, paint));
    if let Some(schema) = &spec.result_schema {
        out.push_str(&schema_block("result", schema, paint));
    }
    out
}

fn schema_block(name: &str, schema: &Value, paint: Paint) -> String {
    let text = serde_json::to_string_pretty(schema).unwrap_or_default();
    format!("  {}\n{}", paint.dim(name), text::block(&text, "    ", usize::MAX))
}

/// A tool as JSON.
pub(crate) fn as_json(tool: &CatalogTool) -> Value {
    let spec = &tool.spec;
    let settings = &spec.settings;
    let ms = |d: std::time::Duration| d.as_secs_f64() * 1e3;
    json!({
        "name": spec.name.as_ref(),
        "toolbox": tool.toolbox.as_ref(),
        "kind": kind(spec.kind),
        "description": spec.description,
        "facts": spec.facts.iter().map(|(name, value)| (*name, value)).collect::<BTreeMap<_, _>>(),
        "args": spec.args_schema,
        "result": spec.result_schema,
        "effects": spec.effects.as_ref().map(|e| json!({
            "reads": e.reads, "writes": e.writes, "idempotent": e.idempotent, "destructive": e.destructive,
        })),
        "running_max": spec.running_max,
        "rate": spec.rate.map(|r| json!({"count": r.count, "per_ms": ms(r.per), "burst": r.burst})),
        "uses": settings.uses,
        "timeout_ms": settings.timeout.map(ms),
        "idle_timeout_ms": settings.idle_timeout.map(ms),
        "expect_ms": settings.expect.map(ms),
        "attempts": settings.retry.and_then(|r| r.attempts),
    })
}

fn kind(kind: ToolKind) -> &'static str {
    match kind {
        ToolKind::Native => "native",
        ToolKind::Process => "process",
        ToolKind::Http => "http",
        ToolKind::Mcp => "mcp",
    }
}

/// `reads file:${args.path}, writes db, idempotent`.
fn effects_text(tool: &CatalogTool) -> String {
    match &tool.spec.effects {
        None => match tool.spec.hints {
            Some(hints) if hints.read_only => format!("reads {} (hinted)", text::line(&tool.toolbox)),
            Some(hints) => {
                let kind = if hints.idempotent { ", idempotent" } else { "" };
                let harm = if hints.destructive { ", destructive" } else { "" };
                format!("effects not declared{kind}{harm}")
            }
            None => "effects not declared".to_string(),
        },
        Some(EffectsSpec { reads, writes, idempotent, destructive }) => {
            let mut parts = Vec::new();
            parts.extend((!reads.is_empty()).then(|| format!("reads {}", text::line(&reads.join(", ")))));
            parts.extend((!writes.is_empty()).then(|| format!("writes {}", text::line(&writes.join(", ")))));
            parts.extend((*idempotent && !writes.is_empty()).then(|| "idempotent".to_string()));
            parts.extend(destructive.then(|| "destructive".to_string()));
            if parts.is_empty() { "no effects".to_string() } else { parts.join(", ") }
        }
    }
}

/// A duration that somebody chose: `30s`, not `30.0s`.
fn round(d: std::time::Duration) -> String {
    duration(d).replace(".00s", "s").replace(".0s", "s")
}

fn rate_text(rate: Rate) -> String {
    let burst = rate.burst.map(|n| format!(", {n} at once")).unwrap_or_default();
    format!("at most {} in {}{burst}", rate.count, round(rate.per))
}
