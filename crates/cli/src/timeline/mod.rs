//! The timeline of a run as a picture: `--timeline FILE.svg` or `FILE.html`.
//! It does not know how the run went beyond its report.

mod axis;
mod body;
mod head;
mod layout;
mod palette;
mod sizes;
pub(crate) mod stretches;
mod words;
mod xml;

use crate::text::ms;
use body::AXIS;
use fanout::Report;
use layout::layout;
pub(crate) use layout::parent;
use sizes::{Sizes, px};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// The form of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Svg,
    Html,
}

/// Wide enough for a page, and its text readable where a document shows it smaller.
const SVG_WIDTH: f64 = 960.0;
const HTML_WIDTH: f64 = 1240.0;
/// Rows from which on the axis is repeated below.
const LONG: usize = 30;

impl Format {
    /// The form a file's name asks for; `-` is SVG.
    pub(crate) fn of(path: &Path) -> Option<Format> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "svg" => Some(Format::Svg),
            "html" | "htm" => Some(Format::Html),
            _ if path == Path::new("-") => Some(Format::Svg),
            _ => None,
        }
    }
}

/// Writes the timeline of a run.
pub(crate) fn write(to: impl Write, report: &Report, format: Format) -> io::Result<()> {
    let mut to = BufWriter::new(to);
    to.write_all(
        match format {
            Format::Svg => svg(report),
            Format::Html => html(report),
        }
        .as_bytes(),
    )?;
    to.flush()
}

/// What is used by reference: patterns and marks.
fn definitions() -> String {
    let mut marks = String::new();
    for (_, id, shape, colour) in words::MARKS {
        marks.push_str(&format!("<path id=\"{id}\" class=\"line s-{colour}\" d=\"{shape}\"/>"));
    }
    format!("<defs>{}{marks}</defs>", palette::PATTERNS)
}

/// The picture in words, escaped.
fn alternative(report: &Report) -> String {
    format!(
        "{}: {} in {}, {} calls",
        head::name(report),
        words::outcome(words::of_run(report.outcome)),
        ms(stretches::sane(report.wall_ms)),
        report.calls.len()
    )
}

fn svg(report: &Report) -> String {
    let layout = layout(report);
    let sizes = Sizes::of(&layout, SVG_WIDTH);
    let head = head::head(&layout, &sizes);
    let rows_y = head.height + AXIS;
    let rows_height = layout.rows.len() as f64 * sizes.row;
    let long = layout.rows.len() > LONG;
    let height = rows_y + rows_height + if long { AXIS } else { 0.0 } + 12.0;
    let (w, h) = (px(SVG_WIDTH), px(height));
    let below = match long {
        true => format!(
            "<g transform=\"translate(0 {})\">{}</g>",
            px(rows_y + rows_height),
            body::axis(&layout, &sizes, false)
        ),
        false => String::new(),
    };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" role=\"img\" aria-label=\"{}\">\
         <style>{}</style>{}<rect width=\"100%\" height=\"100%\" rx=\"6\" class=\"ground\"/>\n{}\n\
         <g transform=\"translate(0 {})\">{}</g>\n<g transform=\"translate(0 {})\">{}</g>\n{below}</svg>\n",
        alternative(report),
        palette::css(),
        definitions(),
        head.svg,
        px(head.height),
        body::axis(&layout, &sizes, true),
        px(rows_y),
        body::rows(&layout, &sizes),
    )
}

/// The same in a page: the axis stays in sight. Nothing in it is a script, and nothing may be one or be fetched.
fn html(report: &Report) -> String {
    let layout = layout(report);
    let sizes = Sizes::of(&layout, HTML_WIDTH);
    let head = head::head(&layout, &sizes);
    let part = |class: &str, height: f64, content: &str| {
        let (w, h) = (px(HTML_WIDTH), px(height));
        format!("<svg class=\"{class}\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\">{content}</svg>\n")
    };
    let rows_height = layout.rows.len() as f64 * sizes.row;
    let (light, dark) = palette::ground();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n\
         <style>body{{margin:0;background:{light}}}main{{width:{HTML_WIDTH}px;max-width:100%;margin:0 auto}}svg{{display:block;max-width:100%;height:auto}}\
         .axis{{position:sticky;top:0;background:{light}}}\
         @media (prefers-color-scheme:dark){{body,.axis{{background:{dark}}}}}{}</style>\n</head>\n<body>\n\
         <main role=\"img\" aria-label=\"{}\">\n{}{}{}{}</main>\n</body>\n</html>\n",
        head::name(report),
        palette::css(),
        alternative(report),
        part("", head.height, &(definitions() + &head.svg)),
        part("axis", AXIS, &body::axis(&layout, &sizes, true)),
        part("", rows_height, &body::rows(&layout, &sizes)),
        part("", AXIS, &body::axis(&layout, &sizes, false)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn report(name: &str, id: &str) -> Report {
        let calls = serde_json::json!([
            {"id": id, "tool": id, "outcome": "failed", "attempts": 1, "started_ms": 5.0, "ended_ms": 60.0,
                "error": {"code": "process_exit", "message": id},
                "waits": [{"cause": "key", "on": id, "key": id, "ms": 5.0}]},
            {"id": "b", "tool": "t", "outcome": "skipped", "attempts": 0, "ended_ms": 60.0,
                "waits": [{"cause": id, "on": id, "ms": 60.0}]}]);
        let report = serde_json::json!({"v": 1, "run": "r", "name": name, "outcome": "failed", "wall_ms": 60.0,
            "calls_ms": 55.0, "critical_path": [id], "critical_path_ms": 55.0, "speed_up": 0.9, "waits_ms": {},
            "hints": [], "calls": calls});
        serde_json::from_str(&report.to_string()).expect("a report")
    }

    #[test]
    fn a_small_picture() {
        let report = report("small", "a");
        let layout = layout(&report);
        let sizes = Sizes::of(&layout, SVG_WIDTH);
        let drawn = body::axis(&layout, &sizes, true) + &body::rows(&layout, &sizes);
        expect![[r##"
            <text x="144" y="17" class="dim k">0</text>
            <text x="262.3" y="17" class="dim k">10ms</text>
            <text x="380.7" y="17" class="dim k">20ms</text>
            <text x="499" y="17" class="dim k">30ms</text>
            <text x="617.3" y="17" class="dim k">40ms</text>
            <text x="735.7" y="17" class="dim k">50ms</text>
            <text x="854" y="17" class="dim k">60ms</text>
            <path class="s-grid" d="M144 25.5H854"/>
            <rect x="8" y="24" width="944" height="24" class="band"/>
            <path class="s-grid" d="M144 0V48M262.3 0V48M380.7 0V48M499 0V48M617.3 0V48M735.7 0V48M854 0V48"/>
            <g class="rows" style="font-size:12px">
            <g class="r c" transform="translate(0 0)">
            <title>a · a
            failed · ran 55ms, from 5ms
            on the critical path
            waited 5ms for keys: a, a
            [process_exit] a</title>
            <rect x="8" width="944" height="24" class="grid over"/>
            <path class="text" d="M19 12l4-4 4 4-4 4z"/>
            <text x="32" y="16.2" class="m text id">a</text>
            <text x="100.6" y="16.2" class="m dim">a</text>
            <g>
            <title>waited 5ms for keys: a, a</title>
            <rect x="144" y="9" width="59.2" height="6" class="orange"/>
            </g>
            <g>
            <title>failed [process_exit]: 55ms, from 5ms</title>
            <rect x="203.2" y="4.5" width="650.8" height="15" rx="1.5" class="bad"/>
            <rect x="203.2" y="4.5" width="650.8" height="15" rx="1.5" fill="url(#hatch)" opacity=".55"/>
            <rect x="203.2" y="4.5" width="650.8" height="15" rx="1.5" fill="none" class="s-text" stroke-width="1.6"/>
            </g>
            <use href="#o-failed" x="868" y="12"/>
            <text x="944" y="16.2" class="m dim e">55ms</text>
            </g>
            <g class="r" transform="translate(0 24)">
            <title>b · t
            skipped
            waited 60ms a: a</title>
            <rect x="8" width="944" height="24" class="grid over"/>
            <text x="32" y="16.2" class="m text id">b</text>
            <text x="100.6" y="16.2" class="m dim">t</text>
            <g>
            <title>waited 60ms a: a</title>
            <rect x="144" y="9" width="710" height="6" class="ink"/>
            <rect x="144" y="9" width="710" height="6" fill="url(#hatch)" opacity=".55"/>
            </g>
            <use href="#o-skipped" x="868" y="12"/>
            <text x="944" y="16.2" class="m dim e">skipped</text>
            </g>
            </g>"##]]
        .assert_eq(&drawn.replace("><", ">\n<"));
    }

    /// Whether every tag is closed by its own, every attribute quoted, and every character allowed.
    fn well_formed(text: &str) -> Result<(), String> {
        let mut open: Vec<&str> = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['<', '&']) {
            let from = &rest[at..];
            if from.starts_with('&') {
                let end = from.find(';').ok_or("an entity without end")?;
                if !["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"].contains(&&from[..=end]) {
                    return Err(from.chars().take(20).collect());
                }
                rest = &from[end..];
                continue;
            }
            let end = from.find('>').ok_or("a tag without end")?;
            let tag = &from[1..end];
            rest = &from[end + 1..];
            if let Some(name) = tag.strip_prefix('/') {
                let last = open.pop();
                if last != Some(name) {
                    return Err(format!("{last:?} is closed by {name}"));
                }
                continue;
            }
            let name = tag.split([' ', '/']).next().unwrap_or_default();
            if !["svg", "style", "defs", "pattern", "rect", "path", "g", "title", "text", "use"].contains(&name) {
                return Err(format!("a tag {name:?}"));
            }
            // What stands between quotes is text; the rest must not be more than names of attributes.
            let outside: String = tag.split('"').step_by(2).collect();
            if tag.matches('"').count() % 2 == 1 || outside.contains(" on") || outside.contains(['<', '\'']) {
                return Err(format!("a tag {tag:?}"));
            }
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
        let bad =
            text.chars().find(|c| (c.is_control() && *c != '\n') || matches!(c, '\u{fffe}' | '\u{ffff}' | '\u{202e}'));
        match (open.is_empty(), bad) {
            (true, None) => Ok(()),
            _ => Err(format!("open {open:?}, bad {bad:?}")),
        }
    }

    #[test]
    fn whatever_names_say_the_picture_is_well_formed() {
        let long = "<".repeat(10_000);
        for hostile in [
            "</title><script>alert(1)</script>",
            "\" onload=\"alert(1)",
            "' onload='x",
            "a\u{0}\u{1b}[2J\u{9b}\u{202e}\u{ffff}\u{fffe}\u{2028}",
            "]]><!--",
            "&lt;&amp;&#x0;",
            "日本語🙂",
            "",
            long.as_str(),
        ] {
            let report = report(hostile, hostile);
            let svg = svg(&report);
            assert_eq!(well_formed(&svg), Ok(()), "{hostile:?}");
            assert!(svg.len() < 30_000, "{} bytes", svg.len());
            let page = html(&report);
            let body = page.split_once("<main").and_then(|(_, rest)| rest.split_once('>')).map_or("", |(_, rest)| rest);
            let body = body.split("</main>").next().unwrap_or_default();
            assert_eq!(well_formed(body), Ok(()), "{hostile:?}");
            assert_eq!(page.matches("<script").count(), 0);
        }
        assert!(well_formed("<g><rect></g>").is_err() && well_formed("<g onload=\"x\"/>").is_err());
        assert!(well_formed("<script></script>").is_err() && well_formed("a & b;").is_err());
    }

    #[test]
    fn nothing_is_fetched_and_nothing_is_a_script() {
        let report = report("n", "a");
        for text in [svg(&report), html(&report)] {
            let rest = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!rest.contains("://") && !rest.contains("@import") && !rest.contains("<script"), "{rest}");
        }
    }

    #[test]
    fn a_run_without_calls_has_a_picture() {
        let mut report = report("none", "a");
        report.calls.clear();
        report.critical_path.clear();
        report.wall_ms = 0.0;
        assert_eq!(well_formed(&svg(&report)), Ok(()));
    }

    #[test]
    fn the_form_is_in_the_name() {
        let of = |name: &str| Format::of(Path::new(name));
        assert_eq!([of("a.svg"), of("b/A.SVG"), of("-")], [Some(Format::Svg); 3]);
        assert_eq!([of("a.html"), of("a.htm")], [Some(Format::Html); 2]);
        assert_eq!([of("a.png"), of("a"), of("svg")], [None; 3]);
    }
}
