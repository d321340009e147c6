//! What stands above the rows of the timeline: name, outcome, the run against the same one by one, the legend.
//! It does not know the rows.

use super::body::{attempt, is_noticed};
use super::layout::{Layout, Row};
use super::palette::{self, Pattern};
use super::sizes::{MARGIN, Sizes, px, sans};
use super::stretches::{What, sane};
use super::words::{self, MARKS};
use super::xml::escape;
use crate::account::{cause_word, counts};
use crate::text::{count, ms};
use fanout::{Outcome, Report};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Where the bars begin, the distance between them, their height.
const BARS_Y: f64 = 84.0;
const BAR_STEP: f64 = 22.0;
const BAR: f64 = 13.0;
/// The distance between lines of the legend.
const LEGEND_STEP: f64 = 21.0;
/// The causes of waits in the order in which the legend names them.
const CAUSES: [&str; 13] = [
    "input",
    "key",
    "limit",
    "rate",
    "backoff",
    "approval",
    "doubt",
    "stop",
    "other_run",
    "reserved",
    "elements",
    "resolve",
    "pause",
];

/// A piece of SVG and how high it is.
pub(crate) struct Head {
    pub(crate) svg: String,
    pub(crate) height: f64,
}

/// What stands above the rows.
pub(crate) fn head(layout: &Layout<'_>, sizes: &Sizes) -> Head {
    let report = layout.report;
    let mut svg = format!("<g class=\"h\"><text x=\"{MARGIN}\" y=\"36\" class=\"name text\">{}</text>", name(report));
    let outcome = words::of_run(report.outcome);
    let _ = write!(svg, "<use href=\"#{}\" x=\"{}\" y=\"58\"/>", words::mark(outcome), px(MARGIN + 5.0));
    let word = words::outcome(outcome);
    let all = counts(report);
    let _ = write!(
        svg,
        "<text x=\"{}\" y=\"62.5\" class=\"text\">{word} in {}{} · {all}</text></g>",
        px(MARGIN + 16.0),
        ms(sane(report.wall_ms)),
        speed_up(report)
    );
    svg.push_str(&bars(layout, sizes));
    let y = BARS_Y + 3.0 * BAR_STEP + 20.0;
    let (legend, lines) = legend(layout, sizes, y);
    svg.push_str(&legend);
    let mut height = y + lines as f64 * LEGEND_STEP;
    if layout.folded > 0 {
        let note = format!(
            "{} of {} share rows, where the height is how many ran at once. A trace (--trace FILE) has each.",
            layout.folded,
            count(report.calls.len(), "call")
        );
        let _ = write!(svg, "<text x=\"{MARGIN}\" y=\"{}\" class=\"dim\">{note}</text>", px(height + 4.0));
        height += LEGEND_STEP;
    }
    Head { svg, height }
}

/// The plan's name, escaped, in a length that fits.
pub(crate) fn name(report: &Report) -> String {
    super::xml::cut(&report.name, 64)
}

fn speed_up(report: &Report) -> String {
    let times = report.speed_up;
    match sane(report.calls_ms) {
        calls_ms if calls_ms > 0.0 && times.is_finite() && (0.0..1e9).contains(&times) => {
            format!(", {times:.1}× as fast as its calls one by one")
        }
        _ => String::new(),
    }
}

/// The run, its calls one by one, and its critical path, to one scale.
fn bars(layout: &Layout<'_>, sizes: &Sizes) -> String {
    let report = layout.report;
    let [wall, calls, path] = [report.wall_ms, report.calls_ms, report.critical_path_ms].map(sane);
    let whole = wall.max(calls).max(path).max(1e-9);
    let mut svg = String::new();
    let scale = |ms: f64| ms / whole * sizes.plot_w;
    let bars = [("one by one", calls, "grey"), ("this run", wall, "ran"), ("critical path", path, "text")];
    for (index, (label, time, colour)) in bars.into_iter().enumerate() {
        let y = BARS_Y + index as f64 * BAR_STEP;
        let text = px(y + 10.5);
        let _ = write!(svg, "<text x=\"{}\" y=\"{text}\" class=\"text e\">{label}</text>", px(sizes.plot_x - 12.0));
        let (x, width) = (sizes.plot_x, scale(time));
        let y = px(y);
        // Calls whose borders can be seen are drawn one by one.
        if index == 0 && !layout.one_by_one.is_empty() {
            let mut from = x;
            for (id, ms_of) in &layout.one_by_one {
                let wide = scale(*ms_of).min((x + width - from).max(0.0));
                let shown = if wide > 2.5 { wide - 1.0 } else { wide };
                let _ = write!(
                    svg,
                    "<rect x=\"{}\" y=\"{y}\" width=\"{}\" height=\"{BAR}\" class=\"{colour}\"><title>{}: {}</title></rect>",
                    px(from),
                    px(shown),
                    escape(id),
                    ms(*ms_of)
                );
                from += wide;
            }
        } else {
            let _ = write!(
                svg,
                "<rect x=\"{}\" y=\"{y}\" width=\"{}\" height=\"{BAR}\" class=\"{colour}\"/>",
                px(x),
                px(width)
            );
        }
        let _ = write!(svg, "<text x=\"{}\" y=\"{text}\" class=\"m text e\">{}</text>", px(sizes.right()), ms(time));
    }
    svg
}

/// One entry of the legend: its picture within 18 × 12 pixels, and what it means.
struct Entry {
    picture: String,
    means: String,
}

fn legend(layout: &Layout<'_>, sizes: &Sizes, top: f64) -> (String, usize) {
    let mut svg = String::new();
    let (mut x, mut line) = (MARGIN, 0);
    for Entry { picture, means } in entries(layout, sizes) {
        let width = 24.0 + sans(&means, 12.0) + 18.0;
        if x + width > sizes.width && x > MARGIN {
            (x, line) = (MARGIN, line + 1);
        }
        let y = top + line as f64 * LEGEND_STEP;
        let _ = write!(svg, "<g transform=\"translate({} {})\">{picture}", px(x), px(y));
        let _ = write!(svg, "<text x=\"24\" y=\"4\" class=\"dim\">{}</text></g>", escape(&means));
        x += width;
    }
    (svg, line + 1)
}

/// What occurs in this run, and nothing else.
fn entries(layout: &Layout<'_>, sizes: &Sizes) -> Vec<Entry> {
    let mut causes: BTreeSet<&str> = BTreeSet::new();
    let mut attempts: Vec<(&str, Pattern)> = Vec::new();
    let mut outcomes: BTreeSet<usize> = BTreeSet::new();
    let place = |outcome: Outcome| MARKS.iter().position(|mark| mark.0 == outcome).unwrap_or(0);
    for row in &layout.rows {
        match row {
            Row::Fold(fold) => outcomes.extend(fold.outcomes.iter().map(|(outcome, _)| place(*outcome))),
            Row::Call(row) => {
                outcomes.insert(place(row.call.outcome));
                for one in &row.stretches {
                    match &one.what {
                        What::Wait(wait) if is_noticed(one, sizes) => _ = causes.insert(&wait.cause),
                        What::Wait(_) => {}
                        What::Attempt { outcome, .. } => attempts.push(attempt(*outcome)),
                    }
                }
            }
        }
    }
    let mut entries = vec![entry(12.0, "ran", Pattern::Plain, "ran")];
    let others = [("bad", Pattern::Hatch, "failed attempt"), ("ran", Pattern::Dots, "ended early")];
    for (colour, pattern, means) in others {
        if attempts.contains(&(colour, pattern)) {
            entries.push(entry(12.0, colour, pattern, means));
        }
    }
    if !layout.path.is_empty() {
        let picture = "<path class=\"text\" d=\"M4 0l4-4 4 4-4 4z\"/>".to_owned();
        entries.push(Entry { picture, means: "critical path".to_owned() });
    }
    let known = CAUSES.iter().filter(|cause| causes.contains(*cause)).copied();
    let unknown = causes.iter().copied().filter(|cause| !CAUSES.contains(cause)).take(8);
    for cause in known.chain(unknown) {
        let (colour, pattern) = palette::wait(cause);
        let word = cause_word(cause);
        let means = if word == "paused" { word.to_owned() } else { format!("waited {word}") };
        entries.push(entry(6.0, colour, pattern, &means));
    }
    for (_, id, _, _) in outcomes.iter().rev().map(|place| &MARKS[*place]) {
        let picture = format!("<use href=\"#{id}\" x=\"9\" y=\"0\"/>");
        let outcome = MARKS.iter().find(|mark| mark.1 == *id).map_or("", |mark| words::outcome(mark.0));
        entries.push(Entry { picture, means: outcome.to_owned() });
    }
    entries
}

fn entry(height: f64, colour: &str, pattern: Pattern, means: &str) -> Entry {
    let place = format!("y=\"{}\" width=\"18\" height=\"{height}\"", px(-height / 2.0));
    let mut picture = format!("<rect {place} class=\"{colour}\"/>");
    if let Some(id) = pattern.id() {
        let _ = write!(picture, "<rect {place} fill=\"url(#{id})\" opacity=\".55\"/>");
    }
    Entry { picture, means: means.to_owned() }
}
