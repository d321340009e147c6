//! What is wrong with a plan or toolbox file, and where (`Diagnostic`, `Source`).
//! It does not know how problems are found or shown.

use crate::node::{At, Node, Spot};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// One problem of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// A stable code with a page under `docs/errors/`.
    pub code: &'static str,
    /// Whether it forbids the run.
    pub severity: Severity,
    /// What, on what, why.
    pub message: String,
    /// Where in the text, when there is a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Where in the document, such as `calls[3].args.x`; empty for the document itself.
    pub path: String,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing is run.
    Error,
    /// It runs, but hardly as it was meant.
    Warning,
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The name of the file.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The first byte.
    pub start: usize,
    /// The byte behind the last.
    pub end: usize,
}

/// The text of a document, kept so that problems found later can be shown in it.
#[derive(Debug)]
pub struct Source {
    /// The name of the file.
    pub name: Arc<str>,
    /// The text.
    pub text: Arc<str>,
    pub(crate) root: Node,
    pub(crate) lines: Vec<usize>,
}

/// At most this many problems are reported of one document.
const PROBLEMS_MAX: usize = 1_000;

impl Diagnostic {
    /// An error without a place.
    pub fn error(code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            severity: Severity::Error,
            message: message.into(),
            place: None,
            help: None,
            path: String::new(),
        }
    }

    /// The same with advice.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// The same with a path.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<String>) -> Diagnostic {
        self.path = path.into();
        self
    }
}

impl fmt::Display for Diagnostic {
    /// `plan.yaml:3:7: error[unknown_tool]: …`, with the advice on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{}:{}:{}: ", place.file, place.line, place.column)?,
            None if self.path.is_empty() => {}
            None => write!(f, "{}: ", self.path)?,
        }
        let severity = if self.severity == Severity::Error { "error" } else { "warning" };
        write!(f, "{severity}[{}]: {}", self.code, self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl Source {
    pub(crate) fn new(name: &str, text: &str, root: Node) -> Source {
        Source { name: name.into(), text: text.into(), root, lines: line_starts(text) }
    }

    pub(crate) fn place(&self, start: usize, end: usize) -> Place {
        place_in(&self.name, &self.text, &self.lines, start, end)
    }
}

/// The bytes at which lines begin.
pub(crate) fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1)).collect()
}

/// The place of some bytes of a text.
pub(crate) fn place_in(name: &Arc<str>, text: &str, lines: &[usize], start: usize, end: usize) -> Place {
    let floor = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(start);
    let end = floor(end).max(start);
    let line = lines.partition_point(|first| *first <= start).max(1);
    let column = text[lines[line - 1]..start].chars().count() + 1;
    let short = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Place { file: name.clone(), line: short(line), column: short(column), start, end }
}

/// Collects the problems of one document.
pub(crate) struct Problems {
    source: Option<Arc<Source>>,
    pub(crate) list: Vec<Diagnostic>,
    left_out: usize,
    /// Lines that are shown to nobody.
    hidden: Vec<u32>,
}

impl Problems {
    pub(crate) fn new(source: Option<Arc<Source>>) -> Problems {
        Problems { source, list: Vec::new(), left_out: 0, hidden: Vec::new() }
    }

    /// Notes an error at the value there.
    pub(crate) fn error(&mut self, at: &At<'_>, code: &'static str, message: impl Into<String>) -> Noted<'_> {
        self.note(at, false, Severity::Error, code, message.into())
    }

    /// Notes an error at the value there, whose lines are shown to nobody: something that must not be repeated stands
    /// in them.
    pub(crate) fn error_hidden(&mut self, at: &At<'_>, code: &'static str, message: impl Into<String>) -> Noted<'_> {
        let mut message = message.into();
        if let Some(source) = &self.source
            && let Some(Spot { value: (start, end), .. }) = at.find(&source.root)
        {
            let (first, last) = (source.place(start, start).line, source.place(end, end).line);
            self.hidden.extend(first..=last);
            message = format!("{message} (line {first} of {})", source.name);
        }
        self.error(at, code, message)
    }

    /// Notes an error at the name of the field there.
    pub(crate) fn error_at_key(&mut self, at: &At<'_>, code: &'static str, message: impl Into<String>) -> Noted<'_> {
        self.note(at, true, Severity::Error, code, message.into())
    }

    /// Where the name of the field there stands, or its value where it has none.
    pub(crate) fn place_of_key(&self, at: &At<'_>) -> Option<Place> {
        let source = self.source.as_ref()?;
        let Spot { key, value } = at.find(&source.root)?;
        let (start, end) = key.unwrap_or(value);
        Some(source.place(start, end))
    }

    /// Notes a warning.
    pub(crate) fn warning(&mut self, at: &At<'_>, code: &'static str, message: impl Into<String>) -> Noted<'_> {
        self.note(at, false, Severity::Warning, code, message.into())
    }

    fn note(&mut self, at: &At<'_>, key: bool, severity: Severity, code: &'static str, message: String) -> Noted<'_> {
        if self.list.len() >= PROBLEMS_MAX {
            self.left_out += 1;
            return Noted(None, self.source.as_deref());
        }
        let place = self.source.as_ref().and_then(|source| {
            let Spot { key: name, value } = at.find(&source.root)?;
            let (start, end) = if key { name.unwrap_or(value) } else { value };
            Some(source.place(start, end))
        });
        self.list.push(Diagnostic { code, severity, message, place, help: None, path: at.to_string() });
        Noted(self.list.last_mut(), self.source.as_deref())
    }

    /// Whether more would not be shown: then advice is not worth looking for.
    pub(crate) fn full(&self) -> bool {
        self.list.len() >= PROBLEMS_MAX
    }

    /// Whether there is an error among them.
    pub(crate) fn failed(&self) -> bool {
        self.left_out > 0 || self.list.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// All of them, in the order of their places.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        if self.left_out > 0 {
            let message = format!("{} more problems are not shown", self.left_out);
            self.list.push(Diagnostic::error("too_many_problems", message));
        }
        let lines = std::mem::take(&mut self.hidden);
        let hidden = |problem: &Diagnostic| problem.place.as_ref().is_some_and(|at| lines.contains(&at.line));
        self.list.sort_by_key(|problem| problem.place.as_ref().map_or(usize::MAX, |place| place.start));
        // In their order, and then without the lines.
        for problem in &mut self.list {
            if hidden(problem) {
                problem.place = None;
            }
        }
        self.list
    }
}

/// A problem just noted, to which more can be said.
pub(crate) struct Noted<'a>(Option<&'a mut Diagnostic>, Option<&'a Source>);

impl Noted<'_> {
    /// What to do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        if let Some(problem) = &mut self.0 {
            problem.help = Some(help.into());
        }
        self
    }

    /// Advice that names the nearest right name, when there is one.
    pub(crate) fn nearest(self, nearest: Option<&str>) -> Self {
        match nearest {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// Narrows the place to this part of it, where it stands there word for word.
    pub(crate) fn part(mut self, part: &str) -> Self {
        let Noted(Some(problem), Some(source)) = &mut self else { return self };
        if let Some(place) = &problem.place
            && let Some(text) = source.text.get(place.start..place.end)
            && let Some(at) = text.find(part)
        {
            problem.place = Some(source.place(place.start + at, place.start + at + part.len()));
        }
        self
    }
}
