//! Text for terminals: colours, widths, durations, and data made harmless.
//! It does not know what is written.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Colours, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint {
    pub(crate) on: bool,
}

impl Paint {
    /// Colours for this stream as the person and the environment want them.
    pub(crate) fn choose(when: crate::args::When, terminal: bool) -> Paint {
        use crate::args::When;
        let refused = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()) || is_dumb();
        Paint { on: when == When::Always || (when == When::Auto && terminal && !refused) }
    }

    fn wrap(self, code: &str, text: &str) -> String {
        match self.on {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_string(),
        }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }
    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }
    pub(crate) fn red(self, text: &str) -> String {
        self.wrap("1;31", text)
    }
    pub(crate) fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }
    pub(crate) fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }
    pub(crate) fn cyan(self, text: &str) -> String {
        self.wrap("36", text)
    }
}

/// Whether the terminal understands no control sequences.
pub(crate) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Whether standard error is a terminal.
pub(crate) fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Writes to standard error. That nobody reads it any more is no reason to stop.
pub(crate) fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}

/// Writes to standard output. That nobody reads it any more is no reason to stop.
pub(crate) fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        lose("standard output", &error);
    }
}

/// Whether something that was asked for could not be written.
static LOST: AtomicBool = AtomicBool::new(false);

/// Says that something cannot be written. A reader that went away has what it wanted.
pub(crate) fn lose(what: &str, error: &std::io::Error) {
    if error.kind() != std::io::ErrorKind::BrokenPipe {
        LOST.store(true, Ordering::Relaxed);
        say(&format!("error: cannot write {what}: {error}\n"));
    }
}

/// Whether something was lost so.
pub(crate) fn is_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// Rows and columns of the terminal at standard error; where there is none, lines may be long.
pub(crate) fn terminal_size() -> (usize, usize) {
    if !stderr_is_terminal() {
        return (24, 160);
    }
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok();
    let or = |n: Option<u16>, name: &str, default: usize| match n {
        Some(n) if n > 0 => usize::from(n),
        _ => std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default),
    };
    (or(size.map(|s| s.ws_row), "LINES", 24), or(size.map(|s| s.ws_col), "COLUMNS", 80))
}

/// Text from outside as one harmless line: no control characters, no change of direction, line ends as `⏎`.
pub(crate) fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' => out.push('⏎'),
            '\t' => out.push(' '),
            '\r' => {}
            c => push_harmless(&mut out, c),
        }
    }
    out
}

/// Text from outside as harmless lines, each behind `indent`; only the last `lines_max` of them.
pub(crate) fn block(text: &str, indent: &str, lines_max: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let from = lines.len().saturating_sub(lines_max);
    let mut out = String::new();
    if from > 0 {
        out.push_str(&format!("{indent}… {from} lines before\n"));
    }
    for one in &lines[from..] {
        out.push_str(indent);
        one.chars().for_each(|c| if c == '\t' { out.push_str("    ") } else { push_harmless(&mut out, c) });
        out.push('\n');
    }
    out
}

/// Text from outside as harmless lines no wider than the terminal, each behind `indent`, so that none of it can pass for
/// a line of ours; only the first `lines_max` of them.
pub(crate) fn wrapped(text: &str, indent: &str, columns: usize, lines_max: usize) -> String {
    let room = columns.saturating_sub(width(indent) + 1).max(8);
    let mut lines = Vec::new();
    for given in text.trim_end().lines() {
        let (mut one, mut used) = (String::new(), 0);
        for c in line(given).chars() {
            let w = c.width().unwrap_or(0);
            if used + w > room {
                lines.push(std::mem::take(&mut one));
                used = 0;
            }
            if lines.len() > lines_max {
                break;
            }
            used += w;
            one.push(c);
        }
        lines.push(one);
        if lines.len() > lines_max {
            break;
        }
    }
    let cut = lines.len() > lines_max;
    lines.truncate(lines_max);
    let mut out: String = lines.iter().map(|line| format!("{indent}{line}\n")).collect();
    if cut {
        out.push_str(&format!("{indent}…\n"));
    }
    out
}

/// Whether a character could steer a terminal: control characters and changes of direction.
pub(crate) fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn push_harmless(out: &mut String, c: char) {
    if steers(c) {
        out.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
    } else {
        out.push(c);
    }
}

/// A key as it is shown: harmless, and a file in the working directory by its path from there.
pub(crate) fn key(key: &str) -> String {
    static HERE: OnceLock<Option<String>> = OnceLock::new();
    let here = HERE.get_or_init(|| Some(std::env::current_dir().ok()?.canonicalize().ok()?.to_str()?.to_string()));
    let below = here.as_deref().filter(|here| *here != "/").and_then(|here| {
        let rest = key.strip_prefix("file:")?.strip_prefix(here)?;
        if rest.is_empty() { Some(".") } else { rest.strip_prefix('/') }
    });
    match below {
        Some(path) => format!("file:{}", line(path)),
        None => line(key),
    }
}

/// How many columns a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The text cut to so many columns, with `…` where something is missing.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_string();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let w = c.width().unwrap_or(0);
        if used + w + 1 > columns {
            break;
        }
        used += w;
        out.push(c);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

/// The text followed by spaces up to so many columns; longer text is cut.
pub(crate) fn pad(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let spaces = columns - width(&text);
    text + &" ".repeat(spaces)
}

/// A duration for people, in three or so digits: `850µs`, `12ms`, `1.24s`, `2m03s`, `1h05m`.
pub(crate) fn duration(d: Duration) -> String {
    let s = d.as_secs_f64();
    if s < 0.000_999_5 {
        format!("{:.0}µs", s * 1e6)
    } else if s < 0.9995 {
        format!("{:.0}ms", s * 1e3)
    } else if s < 9.995 {
        format!("{s:.2}s")
    } else if s < 59.95 {
        format!("{s:.1}s")
    } else if s < 3599.5 {
        let s = s.round() as u64;
        format!("{}m{:02}s", s / 60, s % 60)
    } else {
        let m = (s / 60.0).round() as u64;
        format!("{}h{:02}m", m / 60, m % 60)
    }
}

/// Milliseconds for people, as [`duration`].
pub(crate) fn ms(ms: f64) -> String {
    duration(Duration::try_from_secs_f64(ms.max(0.0) / 1e3).unwrap_or_default())
}

/// `1 call`, `2 calls`.
pub(crate) fn count(n: usize, one: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{n} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_not_sent() {
        assert_eq!(line("a\x1b[2Jb\u{7}c\nd\u{9b}31m"), "a\\u{1b}[2Jb\\u{7}c⏎d\\u{9b}31m");
        assert_eq!(line("safe\u{202e}evil"), "safe\\u{202e}evil");
        assert_eq!(block("1\n2\n\x1b]0;x\x07\n", "| ", 2), "| … 1 lines before\n| 2\n| \\u{1b}]0;x\\u{7}\n");
    }

    #[test]
    fn what_is_long_goes_on_behind_the_indent() {
        assert_eq!(wrapped("0123456789ab\n\nx\x1b\n", "| ", 11, 9), "| 01234567\n| 89ab\n| \n| x\\u{1b}\n");
        assert_eq!(wrapped("日本語日本", "| ", 11, 1), "| 日本語日\n| …\n");
        assert_eq!(wrapped(&"x".repeat(100), "> ", 0, 2), "> xxxxxxxx\n> xxxxxxxx\n> …\n");
    }

    #[test]
    fn widths_are_columns_not_letters() {
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(pad("日", 4), "日  ");
        assert_eq!(cut("x", 0), "");
    }

    #[test]
    fn durations_have_three_digits() {
        let of = |ms: u64| duration(Duration::from_millis(ms));
        assert_eq!(
            [of(7), of(999), of(1000), of(12_340), of(59_960), of(125_000), of(3_900_000)],
            ["7ms", "999ms", "1.00s", "12.3s", "1m00s", "2m05s", "1h05m"]
        );
        assert_eq!(duration(Duration::from_micros(85)), "85µs");
    }
}
