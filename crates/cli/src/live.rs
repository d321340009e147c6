//! The live view of a run on a terminal: a line per running call, the waits with their cause, a bar for the whole.
//! It does not know how a run goes on; it draws snapshots, below what was said already.

use crate::text::{self, Paint, count, duration};
use fanout::{CallProgress, Counts, Snapshot, WaitingCall};
use std::collections::BTreeMap;

/// At most so many lines of running calls, however tall the terminal is.
const RUNNING_LINES_MAX: usize = 16;
/// At most so many kinds of waits are told.
const WAITS_MAX: usize = 3;
/// A bar is at most so wide.
const BAR_MAX: usize = 40;

/// The lines at the bottom of the terminal that are drawn again and again.
pub(crate) struct Live {
    paint: Paint,
    /// How many lines the last drawing has.
    drawn: usize,
    note: Option<String>,
}

impl Live {
    pub(crate) fn new(paint: Paint) -> Live {
        Live { paint, drawn: 0, note: None }
    }

    /// A sentence shown above the bar from now on.
    pub(crate) fn note(&mut self, note: &str) {
        self.note = Some(note.to_string());
    }

    /// What to send to the terminal to say something for good: it goes above the view, which is gone until
    /// the next drawing.
    pub(crate) fn above(&mut self, said: &str) -> String {
        let erased = self.erase();
        format!("{erased}{said}")
    }

    /// What to send to the terminal to take the view away.
    pub(crate) fn erase(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            1 => "\r\x1b[J".to_string(),
            n => format!("\r\x1b[{}A\x1b[J", n - 1),
        }
    }

    /// What to send to the terminal to show this snapshot.
    pub(crate) fn draw(&mut self, snapshot: &Snapshot, rows: usize, columns: usize) -> String {
        let lines = lines(snapshot, self.note.as_deref(), rows, columns, self.paint);
        // One write between the marks of a synchronised update, so that no half of it is seen.
        let mut out = String::from("\x1b[?2026h");
        match self.drawn {
            0 => {}
            1 => out.push('\r'),
            n => out.push_str(&format!("\r\x1b[{}A", n - 1)),
        }
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                out.push_str("\r\n");
            }
            out.push_str(line);
            out.push_str("\x1b[K");
        }
        out.push_str("\x1b[J\x1b[?2026l");
        self.drawn = lines.len();
        out
    }
}

/// The lines of the view, none wider than the terminal and never more than it has rows.
fn lines(snapshot: &Snapshot, note: Option<&str>, rows: usize, columns: usize, paint: Paint) -> Vec<String> {
    // The last column stays free: writing there makes some terminals wrap.
    let columns = columns.saturating_sub(1).max(1);
    let rows = rows.saturating_sub(1).max(1);
    let mut below: Vec<String> = Vec::new();
    if rows >= 4
        && let Some(waits) = waits(snapshot)
    {
        below.push(paint.yellow(&text::cut(&format!("  {waits}"), columns)));
    }
    if rows >= 3
        && let Some(note) = note
    {
        below.push(paint.bold(&text::cut(note, columns)));
    }
    // The cursor stands behind the last line, where the terminal echoes `^C`: that must not wrap either.
    below.push(bar(&snapshot.counts, snapshot, columns.saturating_sub(2).max(1), paint));
    let room = rows.saturating_sub(below.len()).min(RUNNING_LINES_MAX);
    let mut lines = running(snapshot, room, columns, paint);
    lines.extend(below);
    lines
}

/// A line per running call, the longest running first; if they are too many, the last line counts the rest.
fn running(snapshot: &Snapshot, room: usize, columns: usize, paint: Paint) -> Vec<String> {
    let all = snapshot.counts.running.max(snapshot.running.len());
    if room == 0 || all == 0 {
        return Vec::new();
    }
    let shown = if all > room { room - 1 } else { snapshot.running.len().min(room) };
    let shown = shown.min(snapshot.running.len());
    let calls: Vec<(String, String, String)> = snapshot.running[..shown]
        .iter()
        .map(|call| {
            let attempt = if call.attempt > 1 { format!(" (attempt {})", call.attempt) } else { String::new() };
            let progress = call.progress.as_ref().map(progress_text).unwrap_or_default();
            (text::line(&call.id), text::line(&call.tool) + &attempt + &progress, duration(call.elapsed))
        })
        .collect();
    let widest =
        |of: fn(&(String, String, String)) -> &String| calls.iter().map(|c| text::width(of(c))).max().unwrap_or(0);
    let time_width = 7;
    let id_width = widest(|c| &c.0).min(columns.saturating_sub(time_width + 4) * 3 / 5);
    let tool_width = widest(|c| &c.1).min(columns.saturating_sub(id_width + time_width + 6));
    let mut lines: Vec<String> = calls
        .iter()
        .map(|(id, tool, time)| {
            let spaces = time_width.saturating_sub(text::width(time));
            let (id, tool) = (text::pad(id, id_width), text::pad(tool, tool_width));
            format!("{} {id}  {}  {}{time}", paint.cyan("▸"), paint.dim(&tool), " ".repeat(spaces))
        })
        .collect();
    if all > shown {
        lines.push(paint.dim(&text::cut(&format!("  +{} more", all - shown), columns)));
    }
    lines
}

/// How far a call says it is: ` · 31% indexing`, or ` · 31` where it does not say of how much.
fn progress_text(progress: &CallProgress) -> String {
    let far = match progress.total.filter(|total| *total > 0.0) {
        Some(total) => format!("{:.0}%", (100.0 * progress.done / total).clamp(0.0, 100.0).floor()),
        None => format!("{}", (progress.done * 100.0).round() / 100.0),
    };
    let message = progress.message.as_deref().map(text::line).filter(|message| !message.is_empty());
    format!(" · {far}{}", message.map(|message| format!(" {message}")).unwrap_or_default())
}

/// What waits for what: `waiting: 3 for key file:/x held by edit2 · 5 for limit running`.
fn waits(snapshot: &Snapshot) -> Option<String> {
    if snapshot.waiting.is_empty() {
        return None;
    }
    let mut groups: BTreeMap<String, usize> = BTreeMap::new();
    for call in &snapshot.waiting {
        *groups.entry(wait_text(call)).or_default() += 1;
    }
    let mut groups: Vec<(String, usize)> = groups.into_iter().collect();
    groups.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let rest: usize = snapshot.counts.waiting.max(snapshot.waiting.len())
        - groups.iter().take(WAITS_MAX).map(|(_, n)| n).sum::<usize>();
    let mut parts: Vec<String> = groups.iter().take(WAITS_MAX).map(|(text, n)| format!("{n} {text}")).collect();
    if rest > 0 {
        parts.push(format!("{rest} for others"));
    }
    Some(format!("waiting: {}", parts.join(" · ")))
}

/// What one call waits for, so that equal waits have equal texts.
fn wait_text(call: &WaitingCall) -> String {
    let on = call.on.as_deref().map(text::line).unwrap_or_default();
    let key = call.key.as_deref().map(|key| short_key(&text::key(key))).unwrap_or_default();
    match call.cause.as_ref() {
        "input" => format!("for {on}"),
        "key" => format!("for key {key} held by {on}"),
        "other_run" => format!("for key {key} held by another run"),
        "limit" => format!("for limit {on}"),
        "rate" => format!("for rate {on}"),
        "backoff" => "for a retry".to_string(),
        "stop" => format!("for {on} to succeed"),
        "reserved" => format!("for what is reserved for {on}"),
        "doubt" => "for an answer to a doubt".to_string(),
        "pause" => "for the run to be resumed".to_string(),
        "elements" => "for elements".to_string(),
        other => format!("for {}", text::line(other)),
    }
}

/// A long key by its ends: `file:/home/…/report.md`.
fn short_key(key: &str) -> String {
    const COLUMNS: usize = 36;
    if text::width(key) <= COLUMNS {
        return key.to_string();
    }
    let scheme = key.split('/').next().unwrap_or("");
    let last = key.rsplit('/').next().unwrap_or("");
    text::cut(&format!("{scheme}…/{last}"), COLUMNS)
}

/// `━━━━━━━━───── 12/30 · 4 running · 14 waiting · 1 failed · 3.2s`
fn bar(counts: &Counts, snapshot: &Snapshot, columns: usize, paint: Paint) -> String {
    let ended = counts.succeeded + counts.failed + counts.skipped + counts.cancelled;
    let mut facts = vec![format!("{ended}/{}", counts.total)];
    facts.extend((counts.running > 0).then(|| format!("{} running", counts.running)));
    facts.extend((counts.waiting > 0).then(|| format!("{} waiting", counts.waiting)));
    facts.extend((counts.failed > 0).then(|| format!("{} failed", counts.failed)));
    facts.extend((counts.skipped > 0).then(|| format!("{} skipped", counts.skipped)));
    facts.extend(snapshot.paused.then(|| "paused".to_string()));
    facts.push(duration(snapshot.elapsed));
    let facts = facts.join(" · ");
    let room = columns.saturating_sub(text::width(&facts) + 2);
    if room < 8 {
        return text::cut(&facts, columns);
    }
    let width = room.min(BAR_MAX);
    let part = |n: usize| (n * width).checked_div(counts.total).unwrap_or(0);
    let bad = part(counts.failed + counts.cancelled);
    let good = part(ended).saturating_sub(bad);
    let rest = width - good - bad;
    format!(
        "{}{}{}  {facts}",
        paint.green(&"━".repeat(good)),
        paint.red(&"━".repeat(bad)),
        paint.dim(&"─".repeat(rest))
    )
}

/// `1 call still runs`, `3 calls still run`.
pub(crate) fn still_run(n: usize) -> String {
    format!("{} still {}", count(n, "call"), if n == 1 { "runs" } else { "run" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanout::RunningCall;
    use std::time::Duration;

    fn snapshot(running: usize, waiting: &[(&'static str, &str, Option<&str>)]) -> Snapshot {
        let call = |i: usize| RunningCall {
            id: format!("call_{i}").into(),
            tool: "some.tool".into(),
            attempt: 1 + u32::from(i == 1),
            elapsed: Duration::from_millis(1500),
            progress: (i == 1).then(|| CallProgress {
                done: 31.0,
                total: Some(99.0),
                message: Some("in\x1b[2J".into()),
            }),
        };
        let wait = |(cause, on, key): &(&'static str, &str, Option<&str>)| WaitingCall {
            id: "w".into(),
            cause: (*cause).into(),
            on: Some((*on).into()),
            key: key.map(Into::into),
            since: Duration::ZERO,
        };
        Snapshot {
            elapsed: Duration::from_secs(3),
            paused: false,
            counts: Counts { total: 40, running, waiting: waiting.len(), succeeded: 10, ..Counts::default() },
            running: (0..running).map(call).collect(),
            waiting: waiting.iter().map(wait).collect(),
        }
    }

    const PLAIN: Paint = Paint { on: false };

    #[test]
    fn a_view_of_few_calls() {
        let waiting =
            [("key", "edit2", Some("file:/x")), ("key", "edit2", Some("file:/x")), ("limit", "running", None)];
        let shown = lines(&snapshot(2, &waiting), None, 24, 70, PLAIN).join("\n");
        expect_test::expect![[r#"
            ▸ call_0  some.tool                                  1.50s
            ▸ call_1  some.tool (attempt 2) · 31% in\u{1b}[2J    1.50s
              waiting: 2 for key file:/x held by edit2 · 1 for limit running
            ━━━━━━━─────────────────────  10/40 · 2 running · 3 waiting · 3.00s"#]]
        .assert_eq(&shown);
    }

    #[test]
    fn never_taller_or_wider_than_the_terminal() {
        let waiting = [("key", "edit2", Some("file:/a/very/long/name/of/a/file/that/does/not/fit.txt"))];
        for rows in 1..30 {
            for columns in 1..100 {
                let shown = lines(&snapshot(25, &waiting), Some("a note"), rows, columns, PLAIN);
                assert!(shown.len() < rows.max(2), "{rows} rows: {shown:#?}");
                for line in &shown {
                    assert!(columns < 16 || text::width(line) < columns, "{columns} columns: {line}");
                }
            }
        }
    }

    #[test]
    fn too_many_are_counted() {
        let shown = lines(&snapshot(25, &[]), None, 6, 60, PLAIN);
        assert_eq!(shown.len(), 5);
        assert_eq!(shown[3], "  +22 more");
    }

    #[test]
    fn hostile_names_do_not_reach_the_terminal() {
        let mut snapshot = snapshot(1, &[]);
        snapshot.running[0].id = "\x1b[2Jgone".into();
        assert!(!lines(&snapshot, None, 24, 80, PLAIN).concat().contains('\x1b'));
    }
}
