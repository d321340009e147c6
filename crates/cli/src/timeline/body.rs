//! The rows of the timeline and its axis, as SVG.
//! It does not know what stands above them or which file they end in.

use super::axis::{self, Mark};
use super::layout::{CallRow, Fold, Layout, PARTS, Row};
use super::palette::{self, Pattern};
use super::sizes::{INDENT, MARGIN, Sizes, px};
use super::stretches::{Stretch, What};
use super::words::{self, about_call, about_fold, about_stretch};
use super::xml;
use crate::text::ms;
use fanout::Outcome;
use std::fmt::Write;

/// The height of an axis.
pub(crate) const AXIS: f64 = 26.0;
/// Between two labels of the axis.
const MARK_WIDTH: f64 = 76.0;
/// A wait narrower than this is only told.
const WAIT_WIDTH_MIN: f64 = 0.8;
/// The legend explains waits that are at least so wide somewhere.
const EXPLAINED_WIDTH_MIN: f64 = 2.0;
/// An attempt is drawn at least so wide.
const ATTEMPT_WIDTH_MIN: f64 = 1.5;

/// The marks of the axis.
fn marks(layout: &Layout<'_>, sizes: &Sizes) -> Vec<Mark> {
    axis::marks(layout.span_ms, (sizes.plot_w / MARK_WIDTH) as usize)
}

/// The axis, above the rows at `y` = 0 or below them.
pub(crate) fn axis(layout: &Layout<'_>, sizes: &Sizes, above: bool) -> String {
    let (line, text) = if above { (AXIS - 0.5, AXIS - 9.0) } else { (0.5, 17.0) };
    let mut out = String::new();
    for Mark { ms, label } in marks(layout, sizes) {
        let x = px(sizes.x(ms));
        let _ = write!(out, "<text x=\"{x}\" y=\"{}\" class=\"dim k\">{label}</text>", px(text));
    }
    let (from, to) = (px(sizes.plot_x), px(sizes.plot_x + sizes.plot_w));
    let _ = write!(out, "<path class=\"s-grid\" d=\"M{from} {line}H{to}\"/>");
    out
}

/// The rows, from `y` = 0 on.
pub(crate) fn rows(layout: &Layout<'_>, sizes: &Sizes) -> String {
    let mut out = String::new();
    let height = layout.rows.len() as f64 * sizes.row;
    for at in (1..layout.rows.len()).step_by(2) {
        let (y, w) = (px(at as f64 * sizes.row), px(sizes.width - MARGIN));
        let _ = write!(
            out,
            "<rect x=\"{}\" y=\"{y}\" width=\"{w}\" height=\"{}\" class=\"band\"/>",
            px(MARGIN / 2.0),
            px(sizes.row)
        );
    }
    out.push_str("<path class=\"s-grid\" d=\"");
    for mark in marks(layout, sizes) {
        let _ = write!(out, "M{} 0V{}", px(sizes.x(mark.ms)), px(height));
    }
    out.push_str("\"/>");
    out.push_str(&critical_path(layout, sizes));
    let _ = write!(out, "<g class=\"rows\" style=\"font-size:{}px\">", px(sizes.font));
    for (at, row) in layout.rows.iter().enumerate() {
        let y = at as f64 * sizes.row;
        let class = if matches!(row, Row::Call(row) if row.is_critical) { "r c" } else { "r" };
        let _ = write!(out, "\n<g class=\"{class}\" transform=\"translate(0 {})\">", px(y));
        match row {
            Row::Call(row) => call(&mut out, row, sizes),
            Row::Fold(row) => fold(&mut out, row, sizes),
        }
        out.push_str("</g>");
    }
    out.push_str("</g>");
    out
}

impl Row<'_> {
    /// When the first attempt of a call started and the last ended.
    fn ran(&self) -> Option<(f64, f64)> {
        let Row::Call(row) = self else { return None };
        let mut attempts = row.stretches.iter().filter(|one| matches!(one.what, What::Attempt { .. }));
        let first = attempts.next()?;
        Some((first.from, attempts.next_back().unwrap_or(first).to))
    }
}

/// Lines from the end of each call on the critical path to the start of the next.
fn critical_path(layout: &Layout<'_>, sizes: &Sizes) -> String {
    let mut lines = String::new();
    for pair in layout.path.windows(2) {
        let [(Some((_, end)), above), (Some((start, _)), below)] = [pair[0], pair[1]].map(|at| {
            let row = &layout.rows[at];
            (row.ran(), (at as f64 + 0.5) * sizes.row)
        }) else {
            continue;
        };
        let _ = write!(lines, "M{} {}V{}H{}", px(sizes.x(end)), px(above), px(below), px(sizes.x(start)));
    }
    if lines.is_empty() { lines } else { format!("<path class=\"line s-text\" d=\"{lines}\"/>") }
}

fn call(out: &mut String, row: &CallRow<'_>, sizes: &Sizes) {
    let middle = sizes.row / 2.0;
    hover(out, &about_call(row), sizes);
    if row.is_critical {
        let _ = write!(out, "<path class=\"text\" d=\"M{} {}l4-4 4 4-4 4z\"/>", px(sizes.id_x - 13.0), px(middle));
    }
    let indent = if row.is_element { INDENT } else { 0 };
    let id = xml::cut(&row.call.id, sizes.id_columns - indent);
    let x = sizes.id_x + super::sizes::mono(indent, sizes.font);
    label(out, x, sizes, "text id", &id);
    if !row.is_element {
        label(out, sizes.tool_x, sizes, "dim", &xml::cut(&row.call.tool, sizes.tool_columns));
    }
    for one in &row.stretches {
        stretch(out, one, row, sizes);
    }
    if let Some((attempts, from)) = row.more {
        let about = format!("{attempts} more attempts, until {}", ms(row.call.ended_ms));
        let (x, to) = (sizes.x(from), sizes.x(row.call.ended_ms));
        bar(out, x, to.max(x + ATTEMPT_WIDTH_MIN), 0.3, sizes, "bad", Pattern::Dots, &about, "");
    }
    let ran = row.call.started_ms.is_some();
    let told = match () {
        () if row.elements > 0 => format!("×{}", row.elements),
        () if ran => ms(row.ran_ms),
        () => words::outcome(row.call.outcome).to_owned(),
    };
    end(out, row.call.outcome, &told, sizes);
}

/// What a pointer over the row shows.
fn hover(out: &mut String, about: &str, sizes: &Sizes) {
    let _ = write!(
        out,
        "<title>{about}</title><rect x=\"{}\" width=\"{}\" height=\"{}\" class=\"grid over\"/>",
        px(MARGIN / 2.0),
        px(sizes.width - MARGIN),
        px(sizes.row)
    );
}

fn label(out: &mut String, x: f64, sizes: &Sizes, class: &str, text: &str) {
    let y = px(sizes.row / 2.0 + sizes.font * 0.35);
    let _ = write!(out, "<text x=\"{}\" y=\"{y}\" class=\"m {class}\">{text}</text>", px(x));
}

fn end(out: &mut String, outcome: Outcome, told: &str, sizes: &Sizes) {
    let middle = px(sizes.row / 2.0);
    let _ = write!(out, "<use href=\"#{}\" x=\"{}\" y=\"{middle}\"/>", words::mark(outcome), px(sizes.end_x()));
    label(out, sizes.right(), sizes, "dim e", told);
}

fn stretch(out: &mut String, one: &Stretch<'_>, row: &CallRow<'_>, sizes: &Sizes) {
    let (from, to) = (sizes.x(one.from), sizes.x(one.to));
    match &one.what {
        What::Wait(_) if to - from < WAIT_WIDTH_MIN => {}
        What::Wait(wait) => {
            let (colour, pattern) = palette::wait(&wait.cause);
            bar(out, from, to, 0.26, sizes, colour, pattern, &about_stretch(one, row.call.attempts), "");
        }
        What::Attempt { outcome, .. } => {
            let to = to.max(from + ATTEMPT_WIDTH_MIN);
            let (colour, pattern) = attempt(*outcome);
            let border = if row.is_critical { " stroke-width=\"1.6\"" } else { "" };
            bar(out, from, to, 0.64, sizes, colour, pattern, &about_stretch(one, row.call.attempts), border);
        }
    }
}

/// Whether a wait is wide enough to be noticed.
pub(crate) fn is_noticed(one: &Stretch<'_>, sizes: &Sizes) -> bool {
    sizes.x(one.to) - sizes.x(one.from) >= EXPLAINED_WIDTH_MIN
}

/// How an attempt is drawn, by its end.
pub(crate) fn attempt(outcome: Outcome) -> (&'static str, Pattern) {
    match outcome {
        Outcome::Succeeded => ("ran", Pattern::Plain),
        Outcome::Cancelled | Outcome::Skipped => ("ran", Pattern::Dots),
        Outcome::Failed | Outcome::Denied | Outcome::InDoubt => ("bad", Pattern::Hatch),
    }
}

/// A bar of so much of the row's height. With a border it is on the critical path.
#[allow(clippy::too_many_arguments, reason = "a bar is all of it, and nothing else needs it together")]
fn bar(
    out: &mut String,
    from: f64,
    to: f64,
    share: f64,
    sizes: &Sizes,
    colour: &str,
    pattern: Pattern,
    about: &str,
    border: &str,
) {
    let height = (sizes.row * share).round();
    let place = format!(
        "x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"",
        px(from),
        px((sizes.row - height) / 2.0),
        px(to - from),
        px(height)
    );
    let round = if share > 0.5 { " rx=\"1.5\"" } else { "" };
    let _ = write!(out, "<g><title>{about}</title><rect {place}{round} class=\"{colour}\"/>");
    if let Some(id) = pattern.id() {
        let _ = write!(out, "<rect {place}{round} fill=\"url(#{id})\" opacity=\".55\"/>");
    }
    if !border.is_empty() {
        let _ = write!(out, "<rect {place}{round} fill=\"none\" class=\"s-text\"{border}/>");
    }
    out.push_str("</g>");
}

fn fold(out: &mut String, row: &Fold<'_>, sizes: &Sizes) {
    hover(out, &about_fold(row), sizes);
    let what = if row.parent.is_some() { "elements" } else { "calls" };
    let indent = if row.parent.is_some() { INDENT } else { 0 };
    let x = sizes.id_x + super::sizes::mono(indent, sizes.font);
    label(out, x, sizes, "dim", &format!("{} {what}", row.calls));
    let (full, part) = (sizes.row * 0.8, sizes.plot_w / PARTS as f64);
    let bottom = sizes.row * 0.9;
    let most = row.running.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    out.push_str("<path class=\"ran\" d=\"");
    for (at, running) in row.running.iter().enumerate().filter(|(_, running)| **running > 0.0) {
        let height = (running / most * full).max(0.7);
        let x = sizes.plot_x + at as f64 * part;
        let _ = write!(out, "M{} {}v-{}h{}v{}z", px(x), px(bottom), px(height), px(part), px(height));
    }
    out.push_str("\"/>");
    let worst = words::MARKS.iter().find_map(|mark| row.outcomes.iter().find(|(outcome, _)| *outcome == mark.0));
    if let Some((outcome, count)) = worst {
        end(out, *outcome, &count.to_string(), sizes);
    }
}
