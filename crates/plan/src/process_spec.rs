//! How a process tool is called: argv templates, streams, environment, exit codes (`ProcessSpec`).
//! It does not know how a process is started.

use crate::path::{Missing, Step, singular, walk};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How a process tool is called. Never through a shell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// The program and its arguments.
    pub argv: Vec<ArgTemplate>,
    /// What it gets on standard input.
    pub stdin: Stdin,
    /// How its standard output becomes the result.
    pub stdout: Stdout,
    /// Its working directory, relative to `base_dir`; that directory when absent.
    pub cwd: Option<TextTemplate>,
    /// The directory of the file that declared it; empty when there is no file.
    pub base_dir: PathBuf,
    /// Names of variables passed on from the engine's environment. Nothing else is.
    pub env: Vec<String>,
    /// Variables that are set.
    pub set: BTreeMap<String, TextTemplate>,
    /// Exit codes that are not failure.
    pub success: Vec<i32>,
    /// Exit codes worth another attempt.
    pub transient: Vec<i32>,
    /// More bytes than this on standard output end the call with an error.
    pub output_max: u64,
    /// A result of more bytes than this is spilled to a file.
    pub inline_max: u64,
    /// The time between TERM and KILL.
    pub grace: Duration,
    /// Values of arguments that were not given.
    pub defaults: Map<String, Value>,
}

/// What a process gets on standard input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdin {
    /// Nothing: it is closed.
    None,
    /// The arguments as one JSON object.
    Json,
    /// This text.
    Text(TextTemplate),
    /// One line per item of this list.
    Lines(TextTemplate),
}

/// How standard output becomes the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdout {
    /// A string, without the final newline.
    Text,
    /// The JSON value it is.
    Json,
    /// A list of its lines.
    Lines,
}

/// One element of an argv.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ArgTemplate {
    /// One argument; several when it is exactly one reference to a list.
    One(TextTemplate),
    /// Arguments that are left out together when one of theirs is missing.
    Optional(Vec<TextTemplate>),
}

/// A text with `${args.name}` in it. `$${` is a literal `${`.
///
/// ```
/// use fanout_plan::TextTemplate;
/// let text = TextTemplate::parse("--depth=${args.depth}").unwrap();
/// assert_eq!(text.fill(&serde_json::json!({"depth": 3})).unwrap(), "--depth=3");
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TextTemplate {
    source: String,
    pieces: Vec<TextPiece>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TextPiece {
    Text(String),
    Arg(Vec<Step>),
}

/// Why a text template could not be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FillError {
    /// `argument_missing` or `argument_nul`.
    pub code: &'static str,
    /// What, on what, why.
    pub message: String,
}

impl ProcessSpec {
    /// A program with fixed arguments and everything else at its default.
    pub fn new(argv: Vec<ArgTemplate>) -> ProcessSpec {
        ProcessSpec {
            argv,
            stdin: Stdin::None,
            stdout: Stdout::Text,
            cwd: None,
            base_dir: PathBuf::new(),
            env: vec!["PATH".into()],
            set: BTreeMap::new(),
            success: vec![0],
            transient: Vec::new(),
            output_max: 64 << 20,
            inline_max: 1 << 20,
            grace: Duration::from_secs(5),
            defaults: Map::new(),
        }
    }

    /// The arguments with the defaults of those not given.
    pub fn with_defaults(&self, args: &Value) -> Value {
        with_defaults(args.clone(), &self.defaults)
    }

    /// The argv for these arguments, which have their defaults already ([`ProcessSpec::with_defaults`]).
    ///
    /// # Errors
    /// `argument_missing`: an argument outside a left-out list is not there; `argument_nul`: one holds a NUL.
    pub fn expand_argv(&self, args: &Value) -> Result<Vec<String>, FillError> {
        let mut argv = Vec::with_capacity(self.argv.len());
        for element in &self.argv {
            match element {
                ArgTemplate::One(text) => text.push_argv(args, &mut argv)?,
                ArgTemplate::Optional(texts) => {
                    if texts.iter().all(|text| text.is_complete(args)) {
                        for text in texts {
                            text.push_argv(args, &mut argv)?;
                        }
                    }
                }
            }
        }
        match argv.iter().find(|arg| arg.contains('\0')) {
            Some(arg) => Err(FillError {
                code: "argument_nul",
                message: format!(
                    "the argument {:?} holds a NUL byte, which no program can be given",
                    crate::path::shorten(arg, 60)
                ),
            }),
            None => Ok(argv),
        }
    }
}

impl TextTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// Says what is wrong: an unclosed `${`, or something other than `args` behind it.
    pub fn parse(source: &str) -> Result<TextTemplate, String> {
        let mut pieces = Vec::new();
        crate::reference::scan(source, |piece| {
            pieces.push(match piece {
                crate::reference::Scanned::Text(text) => TextPiece::Text(text.to_owned()),
                crate::reference::Scanned::Reference { inner, .. } => TextPiece::Arg(arg_steps(inner)?),
            });
            Ok(())
        })?;
        Ok(TextTemplate { source: source.to_owned(), pieces: merge(pieces) })
    }

    /// One argument, of any name.
    pub(crate) fn argument(name: &str) -> TextTemplate {
        let source = match crate::path::is_name(name) {
            true => format!("${{args.{name}}}"),
            false => format!("${{args[{}]}}", Value::from(name)),
        };
        TextTemplate { source, pieces: vec![TextPiece::Arg(vec![Step::Name(name.into())])] }
    }

    /// A text without arguments, whatever is in it.
    pub(crate) fn literal(text: &str) -> TextTemplate {
        TextTemplate { source: text.replace("${", "$${"), pieces: vec![TextPiece::Text(text.to_owned())] }
    }

    /// The text as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    pub(crate) fn pieces(&self) -> &[TextPiece] {
        &self.pieces
    }

    /// The names of the arguments it refers to.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            TextPiece::Arg(steps) => match steps.first() {
                Some(Step::Name(name)) => Some(&**name),
                _ => None,
            },
            TextPiece::Text(_) => None,
        })
    }

    /// Whether every argument it refers to is there. An argument that is null is not there.
    pub fn is_complete(&self, args: &Value) -> bool {
        self.pieces.iter().all(|piece| match piece {
            TextPiece::Text(_) => true,
            TextPiece::Arg(steps) => walk(args, steps).is_ok_and(|value| !value.is_null()),
        })
    }

    /// The text with the arguments put in: strings as they are, everything else as compact JSON.
    ///
    /// # Errors
    /// `argument_missing`.
    pub fn fill(&self, args: &Value) -> Result<String, FillError> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                TextPiece::Text(literal) => text.push_str(literal),
                TextPiece::Arg(steps) => text.push_str(&text_of(self.find(args, steps)?)),
            }
        }
        Ok(text)
    }

    /// The argument itself, when the template is exactly one reference; else the text. Nothing when an argument is
    /// missing, or null inside a longer text.
    pub fn value(&self, args: &Value) -> Option<Value> {
        match &self.pieces[..] {
            [TextPiece::Arg(steps)] => walk(args, steps).ok().cloned(),
            _ => self.fill(args).ok().map(Value::String),
        }
    }

    /// One text per item, when the template is exactly one reference to a list; else one text.
    ///
    /// # Errors
    /// `argument_missing`.
    pub fn fill_each(&self, args: &Value) -> Result<Vec<String>, FillError> {
        let mut items = Vec::new();
        self.push_argv(args, &mut items)?;
        Ok(items)
    }

    fn push_argv(&self, args: &Value, argv: &mut Vec<String>) -> Result<(), FillError> {
        if let [TextPiece::Arg(steps)] = &self.pieces[..]
            && let Value::Array(items) = self.find(args, steps)?
        {
            argv.extend(items.iter().map(|item| text_of(item).into_owned()));
            return Ok(());
        }
        argv.push(self.fill(args)?);
        Ok(())
    }

    fn find<'a>(&'a self, args: &'a Value, steps: &'a [Step]) -> Result<&'a Value, FillError> {
        let missing = |message| FillError { code: "argument_missing", message };
        match walk(args, steps) {
            Ok(Value::Null) => Err(missing(format!("{:?} needs an argument that is null", self.source))),
            Ok(value) => Ok(value),
            Err(gone @ Missing { .. }) => Err(missing(format!("{:?}: {}", self.source, gone.describe("args", steps)))),
        }
    }
}

/// The arguments with the defaults of those not given.
pub(crate) fn with_defaults(mut args: Value, defaults: &Map<String, Value>) -> Value {
    if let Value::Object(map) = &mut args {
        for (name, value) in defaults {
            if !map.contains_key(name) {
                map.insert(name.clone(), value.clone());
            }
        }
    }
    args
}

/// A value inside a text.
pub(crate) fn text_of(value: &Value) -> std::borrow::Cow<'_, str> {
    match value {
        Value::String(text) => text.as_str().into(),
        other => other.to_string().into(),
    }
}

/// The steps behind `args`.
pub(crate) fn arg_steps(inner: &str) -> Result<Vec<Step>, String> {
    let inner = inner.trim();
    let path = inner.strip_prefix("args").filter(|rest| rest.starts_with(['.', '[']));
    let Some(path) = path else {
        return Err(format!("`${{{inner}}}`: only arguments can be put in here, as in `${{args.name}}`"));
    };
    singular(path).ok_or_else(|| format!("`${{{inner}}}`: the path has to name one value, as in `${{args.a.b[0]}}`"))
}

/// Joins neighbouring literal texts.
fn merge(pieces: Vec<TextPiece>) -> Vec<TextPiece> {
    let mut merged: Vec<TextPiece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match (merged.last_mut(), piece) {
            (Some(TextPiece::Text(before)), TextPiece::Text(text)) => before.push_str(&text),
            (_, piece) => merged.push(piece),
        }
    }
    merged
}

impl fmt::Debug for TextTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl TryFrom<String> for TextTemplate {
    type Error = String;
    fn try_from(source: String) -> Result<TextTemplate, String> {
        TextTemplate::parse(&source)
    }
}

impl From<TextTemplate> for String {
    fn from(template: TextTemplate) -> String {
        template.source
    }
}
