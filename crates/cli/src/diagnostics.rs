//! Shows problems of plans and toolbox files: file, line, column, the text itself, and what to do.
//! It does not know how problems are found.

use crate::text::{self, Paint};
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, renderer::DecorStyle};
use fanout::{Diagnostic, Severity};

/// The texts that problems are about, by the names in `Place::file`.
#[derive(Default)]
pub(crate) struct Texts(Vec<(String, String)>);

/// At most so many problems are shown; `--json` has all.
const SHOWN_MAX: usize = 50;
/// Lines longer than this are shown by file, line and column only.
const LINE_BYTES_MAX: usize = 2_000;

impl Texts {
    /// Keeps a text for problems found in it.
    pub(crate) fn keep(&mut self, name: &str, bytes: &[u8]) {
        if let Ok(text) = std::str::from_utf8(bytes) {
            self.0.push((name.to_string(), text.to_string()));
        }
    }

    /// The names of the files.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, text)| text.as_str())
    }
}

/// What is wrong with what a server told of its tools: nothing ends of it, they are as they were.
pub(crate) fn of_change(problems: &[Diagnostic]) -> Vec<Diagnostic> {
    let warning = |problem: &Diagnostic| {
        let help = "the server changed its tools; those of this toolbox are as they were before";
        let help = problem.help.clone().unwrap_or_else(|| help.to_owned());
        Diagnostic { severity: Severity::Warning, help: Some(help), ..problem.clone() }
    };
    problems.iter().map(warning).collect()
}

/// All problems as text for a person, with a last line that counts them.
pub(crate) fn render(problems: &[Diagnostic], texts: &Texts, columns: usize, paint: Paint) -> String {
    let renderer = if paint.on { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Unicode).term_width(columns.clamp(40, 140));
    let mut out = String::new();
    for problem in problems.iter().take(SHOWN_MAX) {
        out.push_str(&one(problem, texts, &renderer));
        out.push_str("\n\n");
    }
    let errors = problems.iter().filter(|p| p.severity == Severity::Error).count();
    let warnings = problems.len() - errors;
    if problems.len() > SHOWN_MAX {
        out.push_str(&format!("… and {} more; `fanout check --json` has all\n", problems.len() - SHOWN_MAX));
    }
    let mut counts = Vec::new();
    counts.extend((errors > 0).then(|| paint.red(&text::count(errors, "error"))));
    counts.extend((warnings > 0).then(|| paint.yellow(&text::count(warnings, "warning"))));
    out.push_str(&counts.join(", "));
    if let Some(problem) = problems.iter().find(|p| crate::explain::has_page(p.code)) {
        out.push_str(&format!("; `fanout explain {}` says more about the code in brackets", problem.code));
    }
    out.push('\n');
    out
}

fn one(problem: &Diagnostic, texts: &Texts, renderer: &Renderer) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let message = text::line(&problem.message);
    let mut group =
        level.primary_title(message).id(problem.code).elements(Vec::<annotate_snippets::Element<'_>>::new());
    let shown = problem.place.as_ref().and_then(|place| {
        let excerpt = excerpt(texts.find(&place.file)?, place.start, place.end)?;
        Some((place, excerpt))
    });
    if let Some((place, excerpt)) = shown {
        let snippet = Snippet::source(excerpt.text)
            .path(text::line(&place.file))
            .line_start(excerpt.line)
            .annotation(AnnotationKind::Primary.span(excerpt.start..excerpt.end));
        group = group.element(snippet);
    } else if let Some(place) = &problem.place {
        let origin = annotate_snippets::Origin::path(text::line(&place.file))
            .line(place.line as usize)
            .char_column(place.column as usize);
        group = group.element(origin);
    } else if !problem.path.is_empty() {
        group = group.element(Level::NOTE.message(format!("at {}", text::line(&problem.path))));
    }
    if let Some(help) = &problem.help {
        group = group.element(Level::HELP.message(text::line(help)));
    }
    renderer.render(&[group])
}

/// The text around a place.
struct Excerpt {
    text: String,
    line: usize,
    start: usize,
    end: usize,
}

/// The line of the place, made harmless. `None` where lines are too long to be read.
fn excerpt(text: &str, start: usize, end: usize) -> Option<Excerpt> {
    let before = text.get(..start)?;
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    // Of a place of many lines only the first is marked.
    let end = end.clamp(start, line_end);
    if line_end - line_start > LINE_BYTES_MAX {
        return None;
    }
    // One harmless character for each that is not, so that what is marked stays in its column.
    let harmless =
        |text: &str| text.chars().map(|c| if c != '\t' && text::steers(c) { '�' } else { c }).collect::<String>();
    let front = harmless(&text[line_start..start]);
    let marked = harmless(&text[start..end]);
    let rest = harmless(&text[end..line_end]);
    Some(Excerpt {
        line: before.matches('\n').count() + 1,
        start: front.len(),
        end: front.len() + marked.len(),
        text: format!("{front}{marked}{rest}"),
    })
}
