//! `when` expressions (`Condition`): Jinja's, by minijinja, with a bound on work.
//! It does not know who runs the calls.

use crate::template::{ReferenceError, Scope};
use minijinja::value::{Enumerator, Object, ObjectRepr, Value as Jinja};
use minijinja::{Environment, Error, ErrorKind, Expression, State, UndefinedBehavior};
use serde_json::Value;
use std::fmt;
use std::sync::{Arc, LazyLock};

/// Instructions one evaluation may take.
const FUEL: u64 = 100_000;
/// A condition may be this long, in bytes.
pub(crate) const LENGTH_MAX: usize = 4_096;

/// An expression that decides whether a call runs.
#[derive(Clone)]
pub struct Condition(Arc<Compiled>);

struct Compiled {
    text: Box<str>,
    expression: Expression<'static, 'static>,
    names: Vec<(Box<str>, Name)>,
    outcomes: Vec<(Box<str>, u32)>,
    inputs: Option<Arc<Value>>,
}

/// What a name in an expression means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Call(u32),
    Inputs,
    Item,
    Index,
}

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // These make much out of little and say nothing about whether a call runs.
    for filter in ["indent", "batch", "slice", "format", "pprint"] {
        environment.remove_filter(filter);
    }
    environment.add_filter("replace", replace);
    environment.add_filter("join", join);
    environment.add_filter("tojson", to_json);
    environment
});

/// A text made in an expression may be this long, in bytes.
const TEXT_MAX: usize = 64 * 1024 * 1024;

fn too_long() -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("it makes a text of more than {TEXT_MAX} bytes"))
}

/// `text | replace('a', 'b')`, bounded.
fn replace(text: &str, from: &str, to: &str) -> Result<String, Error> {
    let more = text.matches(from).count().saturating_mul(to.len());
    if more.saturating_add(text.len()) > TEXT_MAX { Err(too_long()) } else { Ok(text.replace(from, to)) }
}

/// `list | join(', ')`, bounded.
fn join(list: &Jinja, between: Option<&str>) -> Result<String, Error> {
    let mut joined = String::new();
    for (at, item) in list.try_iter()?.enumerate() {
        if at > 0 {
            joined.push_str(between.unwrap_or_default());
        }
        match item.as_str() {
            Some(text) => joined.push_str(text),
            None => joined.push_str(&item.to_string()),
        }
        if joined.len() > TEXT_MAX {
            return Err(too_long());
        }
    }
    Ok(joined)
}

/// `value | tojson`: never indented.
fn to_json(value: &Jinja) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

/// What an expression needs, before its names are looked up.
pub(crate) struct Parsed {
    expression: Expression<'static, 'static>,
    /// Names of calls, `inputs`, `item`, `index` and whatever else is not defined; sorted.
    pub(crate) names: Vec<String>,
    /// Ids inside `outcome('…')`.
    pub(crate) outcomes: Vec<String>,
}

/// What the names in an expression stand for, as its words tell.
#[derive(Default)]
struct Words {
    outcomes: Vec<String>,
    /// Behind `|`.
    filters: Vec<String>,
    /// Behind `is`.
    tests: Vec<String>,
}

/// Reads an expression.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Parsed, String> {
    if text.len() > LENGTH_MAX {
        return Err(format!("the expression has {} bytes; at most {LENGTH_MAX} are read", text.len()));
    }
    let expression = ENVIRONMENT.compile_expression_owned(text.to_owned()).map_err(|error| message(&error))?;
    let globals: Vec<_> = ENVIRONMENT.globals().map(|(name, _)| name).collect();
    let mut names: Vec<_> = expression
        .undeclared_variables(false)
        .into_iter()
        .filter(|name| name != "outcome" && !globals.contains(&name.as_str()))
        .collect();
    names.sort();
    let words = words(text)?;
    check_exist("filter", &words.filters, |name| format!("1|{name}"), ErrorKind::UnknownFilter)?;
    check_exist("test", &words.tests, |name| format!("1 is {name}"), ErrorKind::UnknownTest)?;
    Ok(Parsed { expression, names, outcomes: words.outcomes })
}

/// Filters and tests are looked up when they are used: so each is used once, to see whether it is there.
fn check_exist(what: &str, names: &[String], using: impl Fn(&str) -> String, unknown: ErrorKind) -> Result<(), String> {
    for name in names {
        let tried = ENVIRONMENT.compile_expression_owned(using(name)).and_then(|expression| expression.eval(()));
        if tried.is_err_and(|error| error.kind() == unknown) {
            return Err(format!("there is no {what} `{name}`"));
        }
    }
    Ok(())
}

/// The ids in `outcome('id')`, which have to be literal since they decide what is waited for; filters and tests.
fn words(text: &str) -> Result<Words, String> {
    let mut words = Words::default();
    let mut rest = text;
    // The last sign or word that was not blank.
    let mut before = "";
    while let Some(c) = rest.chars().next() {
        let len = match c {
            '"' | '\'' => string_len(rest),
            c if is_word(c) => rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (part, after) = rest.split_at(len);
        rest = after;
        match (before, part) {
            (before, "outcome") if before != "." => {
                let (id, after) = outcome_id(after)
                    .ok_or("`outcome` is written with a literal id, as in `outcome('fetch') == 'failed'`")?;
                words.outcomes.push(id.to_owned());
                rest = after;
            }
            ("|", name) if name.starts_with(is_word) => words.filters.push(name.to_owned()),
            ("is", "not") => continue,
            ("is", name) if name.starts_with(is_word) => words.tests.push(name.to_owned()),
            _ => {}
        }
        if !c.is_whitespace() {
            before = part;
        }
    }
    for list in [&mut words.outcomes, &mut words.filters, &mut words.tests] {
        list.sort();
        list.dedup();
    }
    Ok(words)
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn string_len(text: &str) -> usize {
    let quote = text.as_bytes()[0];
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `('id')` and what follows.
fn outcome_id(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start().strip_prefix('(')?.trim_start();
    let quote = text.chars().next().filter(|c| *c == '"' || *c == '\'')?;
    let (id, rest) = text[1..].split_once(quote)?;
    Some((id, rest.trim_start().strip_prefix(')')?))
}

impl Condition {
    pub(crate) fn new(
        text: &str,
        parsed: Parsed,
        names: Vec<(Box<str>, Name)>,
        outcomes: Vec<(Box<str>, u32)>,
        inputs: Option<Arc<Value>>,
    ) -> Condition {
        Condition(Arc::new(Compiled { text: text.into(), expression: parsed.expression, names, outcomes, inputs }))
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Whether it looks at the element of a `foreach`. One that does not decides about the call as a whole.
    pub fn uses_item(&self) -> bool {
        self.0.names.iter().any(|(_, meaning)| matches!(meaning, Name::Item | Name::Index))
    }

    /// Whether the call is to run.
    ///
    /// # Errors
    /// `condition_failed`: a name is missing, types do not fit, or it takes too much work.
    pub fn is_true(&self, scope: &dyn Scope) -> Result<bool, ReferenceError> {
        let compiled = &*self.0;
        let mut context = Vec::with_capacity(compiled.names.len() + 1);
        for (name, meaning) in &compiled.names {
            let value = match meaning {
                Name::Call(call) => scope.result(*call).map(lazy),
                Name::Inputs => compiled.inputs.as_ref().map(lazy),
                Name::Item => scope.item().map(|(item, _)| lazy(item)),
                Name::Index => scope.item().map(|(_, index)| Jinja::from(index)),
            };
            if let Some(value) = value {
                context.push((name.clone(), value));
            }
        }
        if !compiled.outcomes.is_empty() {
            let outcomes =
                compiled.outcomes.iter().map(|(id, call)| (id.clone(), scope.outcome(*call).to_owned())).collect();
            context.push(("outcome".into(), Jinja::from_object(Outcomes(outcomes))));
        }
        let failed = |message| ReferenceError {
            code: "condition_failed",
            message: format!("`when: {}`: {message}", compiled.text),
        };
        let value =
            compiled.expression.eval(Jinja::from_object(Context(context))).map_err(|error| failed(message(&error)))?;
        if value.is_undefined() {
            return Err(failed("it looks at something that is not there".to_owned()));
        }
        Ok(value.is_true())
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({:?})", self.0.text)
    }
}

/// What minijinja says, without its name for the text.
fn message(error: &Error) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => format!("it takes more than {FUEL} instructions"),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    }
}

/// The names an expression sees.
#[derive(Debug)]
struct Context(Vec<(Box<str>, Jinja)>);

impl Object for Context {
    fn get_value(self: &Arc<Self>, key: &Jinja) -> Option<Jinja> {
        self.get_value_by_str(key.as_str()?)
    }
    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Jinja> {
        self.0.iter().find(|(name, _)| **name == *key).map(|(_, value)| value.clone())
    }
}

/// The function `outcome`.
#[derive(Debug)]
struct Outcomes(Vec<(Box<str>, String)>);

impl Object for Outcomes {
    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Jinja]) -> Result<Jinja, Error> {
        let id = args.first().and_then(|id| id.as_str()).unwrap_or_default();
        match self.0.iter().find(|(name, _)| **name == *id) {
            Some((_, outcome)) => Ok(Jinja::from(outcome.as_str())),
            None => {
                Err(Error::new(ErrorKind::InvalidOperation, format!("outcome('{id}') was not asked for literally")))
            }
        }
    }
}

/// A part of a shared JSON value: entered one level at a time, copied never.
#[derive(Debug)]
struct Part {
    root: Arc<Value>,
    path: Vec<Enter>,
}

#[derive(Clone, Debug)]
enum Enter {
    Name(Arc<str>),
    Index(usize),
}

fn lazy(root: &Arc<Value>) -> Jinja {
    match &**root {
        Value::Object(_) | Value::Array(_) => Jinja::from_object(Part { root: root.clone(), path: Vec::new() }),
        scalar => plain(scalar),
    }
}

/// A scalar as the expression sees it.
fn plain(value: &Value) -> Jinja {
    match value {
        Value::Bool(b) => Jinja::from(*b),
        Value::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
            (Some(n), _, _) => Jinja::from(n),
            (_, Some(n), _) => Jinja::from(n),
            (_, _, n) => Jinja::from(n.unwrap_or(f64::NAN)),
        },
        Value::String(s) => Jinja::from(s.as_str()),
        Value::Null | Value::Array(_) | Value::Object(_) => Jinja::from(()),
    }
}

impl Part {
    fn value(&self) -> &Value {
        let mut value = &*self.root;
        for step in &self.path {
            value = match step {
                Enter::Name(name) => &value[&**name],
                Enter::Index(index) => &value[*index],
            };
        }
        value
    }

    fn enter(&self, step: impl FnOnce() -> Enter, value: &Value) -> Jinja {
        match value {
            Value::Object(_) | Value::Array(_) => {
                let path = self.path.iter().cloned().chain([step()]).collect();
                Jinja::from_object(Part { root: self.root.clone(), path })
            }
            scalar => plain(scalar),
        }
    }
}

impl Object for Part {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        if self.value().is_array() { ObjectRepr::Seq } else { ObjectRepr::Map }
    }

    fn get_value(self: &Arc<Self>, key: &Jinja) -> Option<Jinja> {
        match self.value() {
            Value::Object(map) => {
                let name = key.as_str()?;
                map.get(name).map(|value| self.enter(|| Enter::Name(name.into()), value))
            }
            Value::Array(list) => {
                let index = crate::path::position(i64::try_from(key.clone()).ok()?, list.len())?;
                list.get(index).map(|value| self.enter(|| Enter::Index(index), value))
            }
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match self.value() {
            Value::Object(map) => Enumerator::Values(map.keys().map(|name| Jinja::from(name.as_str())).collect()),
            Value::Array(list) => Enumerator::Seq(list.len()),
            _ => Enumerator::Empty,
        }
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        match self.value() {
            Value::Object(map) => Some(map.len()),
            Value::Array(list) => Some(list.len()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_does_not_become_much() {
        let is = |text: &str| {
            let expression = ENVIRONMENT.compile_expression_owned(text.to_owned()).expect("an expression");
            expression.eval(()).map_or_else(|error| error.to_string(), |value| value.to_string())
        };
        assert_eq!(is("'banana' | replace('an', 'o')"), "booa");
        assert_eq!(is("['a', 1, none] | join(', ')"), "a, 1, None");
        assert_eq!(is("{'a': [1, 'x<']} | tojson"), r#"{"a":[1,"x<"]}"#);
        for much in ["range(99999) | join(range(999) | join)", "range(9999) | join | replace('', range(9999) | join)"] {
            assert!(is(much).contains("more than 67108864 bytes"), "{}", is(much));
        }
        for gone in ["1 | indent(9)", "[1] | batch(9)", "'x' | format(1)"] {
            assert!(parse(gone).is_err(), "{gone}");
        }
    }
}
