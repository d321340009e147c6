//! Values with references in them (`Template`), filled in from what calls gave (`Scope`).
//! It does not know who runs the calls. What a result holds is never searched for references.

use crate::path::{self, Path, walk};
use crate::process_spec::text_of;
use crate::reference::{From, Reference, name_of};
use serde::ser::{Error, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

/// What references can see at run time. Results are shared: nothing is copied but what a template selects.
pub trait Scope {
    /// The result of the call at this index, parsed; `None` when it has none.
    fn result(&self, call: u32) -> Option<&Arc<Value>>;
    /// The same as the JSON text it came as; `None` also when it is not at hand.
    fn text(&self, _call: u32) -> Option<&RawValue> {
        None
    }
    /// How the call at this index ended: `succeeded`, `failed`, `skipped`, `cancelled`, `denied`, `in_doubt`.
    fn outcome(&self, call: u32) -> &str;
    /// The element and its index, inside a `foreach`.
    fn item(&self) -> Option<(&Arc<Value>, usize)>;
}

/// A JSON value some parts of which come from other calls.
#[derive(Clone, Debug)]
pub struct Template(pub(crate) Kind);

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Literal(Arc<RawValue>),
    Holes(Box<Holes>),
}

#[derive(Clone, Debug)]
pub(crate) struct Holes {
    pub(crate) tree: Tree,
    /// Whether it fits the schema it is for whatever its references find.
    open: bool,
}

/// A value with holes.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    Value(Value),
    Reference(Reference),
    Text(Vec<Piece>),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

/// A piece of a text with holes.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Text(String),
    Reference(Reference),
}

/// Why a template or condition could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ReferenceError {
    /// `reference_not_found`, `no_result`, `filled_too_large` or `condition_failed`.
    pub code: &'static str,
    /// The path, and what was there instead.
    pub message: String,
}

/// What results fill in of one template is no more than this, in bytes as JSON and roughly: a short plan could name a
/// large result a thousand times.
const FILLED_BYTES_MAX: usize = 64 << 20;

static EMPTY_OBJECT: LazyLock<Arc<RawValue>> = LazyLock::new(|| raw(&Value::Object(Map::new())));

/// A value as shared JSON text.
pub(crate) fn raw(value: &Value) -> Arc<RawValue> {
    // A `Value` always has a JSON text.
    serde_json::value::to_raw_value(value).map_or_else(|_| Arc::from(RawValue::NULL.to_owned()), Arc::from)
}

impl Template {
    /// A template without references.
    pub fn of_value(value: &Value) -> Template {
        match value {
            Value::Object(map) if map.is_empty() => Template(Kind::Literal(EMPTY_OBJECT.clone())),
            value => Template(Kind::Literal(raw(value))),
        }
    }

    pub(crate) fn of_tree(tree: Tree) -> Template {
        match tree {
            Tree::Value(value) => Template::of_value(&value),
            tree => Template(Kind::Holes(Box::new(Holes { tree, open: false }))),
        }
    }

    /// A template of arguments that fit the schema whatever its references find.
    pub(crate) fn of_open_tree(tree: Tree) -> Template {
        match tree {
            Tree::Value(value) => Template::of_value(&value),
            tree => Template(Kind::Holes(Box::new(Holes { tree, open: true }))),
        }
    }

    /// The value as JSON text, when it has no references.
    pub fn literal(&self) -> Option<&Arc<RawValue>> {
        match &self.0 {
            Kind::Literal(text) => Some(text),
            Kind::Holes(_) => None,
        }
    }

    /// The value with all references followed.
    ///
    /// # Errors
    /// `reference_not_found`: a singular path found nothing; `no_result`: a call has none; `filled_too_large`.
    pub fn resolve(&self, scope: &dyn Scope) -> Result<Value, ReferenceError> {
        match &self.0 {
            Kind::Literal(text) => Ok(parse(text)),
            Kind::Holes(holes) => fill(&holes.tree, scope, false, &mut Left(FILLED_BYTES_MAX)),
        }
    }

    /// The value with null for every reference that finds nothing; for a plan's `output`.
    ///
    /// # Errors
    /// `filled_too_large`.
    pub fn resolve_or_null(&self, scope: &dyn Scope) -> Result<Value, ReferenceError> {
        match &self.0 {
            Kind::Literal(text) => Ok(parse(text)),
            Kind::Holes(holes) => fill(&holes.tree, scope, true, &mut Left(FILLED_BYTES_MAX)),
        }
    }

    /// The value as JSON text, made of the texts of whole results without looking into them. Only where nothing
    /// is lost by that: the value fits its schema in any case, every reference is to a whole result, and each
    /// result is JSON in one line that is not nested deeper than a value may be. `None` where it is not so.
    pub fn text(&self, scope: &dyn Scope) -> Option<Arc<RawValue>> {
        let Kind::Holes(holes) = &self.0 else { return None };
        let tree = &holes.tree;
        if !holes.open || !joins(tree, scope, &mut Left(FILLED_BYTES_MAX)) {
            return None;
        }
        serde_json::value::to_raw_value(&Joined { tree, scope }).ok().map(Arc::from)
    }
}

/// The value of a JSON text that was made from a value.
pub(crate) fn parse(text: &RawValue) -> Value {
    serde_json::from_str(text.get()).unwrap_or(Value::Null)
}

/// How many bytes may still be filled in.
struct Left(usize);

impl Left {
    fn take(&mut self, bytes: usize) -> Result<(), ReferenceError> {
        self.0 = self.0.checked_sub(bytes).ok_or_else(|| {
            let message = format!("results would fill in more than {} MiB here", FILLED_BYTES_MAX >> 20);
            ReferenceError { code: "filled_too_large", message }
        })?;
        Ok(())
    }
}

fn fill(tree: &Tree, scope: &dyn Scope, or_null: bool, left: &mut Left) -> Result<Value, ReferenceError> {
    Ok(match tree {
        Tree::Value(value) => value.clone(),
        Tree::Reference(reference) => {
            let found = follow(reference, scope, or_null)?;
            left.take(path::weight(&found, left.0))?;
            found.into_owned()
        }
        Tree::Text(pieces) => {
            let mut text = String::new();
            for piece in pieces {
                match piece {
                    Piece::Text(literal) => text.push_str(literal),
                    Piece::Reference(reference) => {
                        let found = follow(reference, scope, or_null)?;
                        left.take(path::weight(&found, left.0))?;
                        text.push_str(&text_of(&found));
                    }
                }
            }
            Value::String(text)
        }
        Tree::List(list) => {
            Value::Array(list.iter().map(|tree| fill(tree, scope, or_null, left)).collect::<Result<_, _>>()?)
        }
        Tree::Object(map) => {
            let mut object = Map::with_capacity(map.len());
            for (name, tree) in map {
                object.insert(name.clone(), fill(tree, scope, or_null, left)?);
            }
            Value::Object(object)
        }
    })
}

/// What a reference finds.
fn follow<'a>(reference: &'a Reference, scope: &'a dyn Scope, or_null: bool) -> Result<Cow<'a, Value>, ReferenceError> {
    let root: &Value = match reference.from {
        From::Call(call) => match scope.result(call) {
            Some(value) => value,
            None if or_null => return Ok(Cow::Owned(Value::Null)),
            None => {
                let outcome = scope.outcome(call);
                return Err(ReferenceError {
                    code: "no_result",
                    message: format!(
                        "`${{{}}}`: {} has no result; its outcome is {outcome}",
                        reference.text,
                        name_of(&reference.text)
                    ),
                });
            }
        },
        From::Item => match scope.item() {
            Some((item, _)) => item,
            None => return Err(outside_foreach(reference)),
        },
        From::Index => match scope.item() {
            Some((_, index)) => return Ok(Cow::Owned(Value::from(index))),
            None => return Err(outside_foreach(reference)),
        },
    };
    select(&reference.path, root, &reference.text, or_null)
}

/// Whether the texts of the results can stand as they are where they are referred to, and are not too much.
fn joins(tree: &Tree, scope: &dyn Scope, left: &mut Left) -> bool {
    match tree {
        Tree::Value(_) => true,
        Tree::Reference(reference) => {
            whole_text(reference, scope).is_some_and(|text| left.take(text.get().len()).is_ok() && is_plain(text.get()))
        }
        Tree::Text(_) => false,
        Tree::List(list) => list.iter().all(|tree| joins(tree, scope, left)),
        Tree::Object(map) => map.iter().all(|(_, tree)| joins(tree, scope, left)),
    }
}

fn whole_text<'a>(reference: &Reference, scope: &'a dyn Scope) -> Option<&'a RawValue> {
    match (&reference.from, &reference.path) {
        (From::Call(call), Path::Singular(steps)) if steps.is_empty() => scope.text(*call),
        _ => None,
    }
}

/// Whether a JSON text has no white space between its parts, which a reader of lines would mind, and is not nested
/// so deep that a reader could give up on it.
fn is_plain(text: &str) -> bool {
    const DEPTH_MAX: usize = 64;
    let (mut depth, mut inside, mut escaped) = (0, false, false);
    text.bytes().all(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            _ if inside => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b' ' | b'\t' | b'\r' | b'\n' => return false,
            _ => {}
        }
        depth <= DEPTH_MAX
    })
}

/// A tree with the texts of results in it, to be written.
struct Joined<'a> {
    tree: &'a Tree,
    scope: &'a dyn Scope,
}

impl Serialize for Joined<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let part = |tree| Joined { tree, scope: self.scope };
        match self.tree {
            Tree::Value(value) => value.serialize(serializer),
            Tree::Reference(reference) => whole_text(reference, self.scope).serialize(serializer),
            Tree::Text(_) => Err(S::Error::custom("a text with references in it is filled in, not joined")),
            Tree::List(list) => serializer.collect_seq(list.iter().map(part)),
            Tree::Object(map) => serializer.collect_map(map.iter().map(|(name, tree)| (name, part(tree)))),
        }
    }
}

fn outside_foreach(reference: &Reference) -> ReferenceError {
    ReferenceError {
        code: "reference_not_found",
        message: format!("`${{{}}}`: there is no element here", reference.text),
    }
}

/// What a path selects from a value.
pub(crate) fn select<'a>(
    path: &'a Path,
    root: &'a Value,
    text: &str,
    or_null: bool,
) -> Result<Cow<'a, Value>, ReferenceError> {
    match path {
        Path::Singular(steps) => match walk(root, steps) {
            Ok(value) => Ok(Cow::Borrowed(value)),
            Err(_) if or_null => Ok(Cow::Owned(Value::Null)),
            Err(missing) => Err(ReferenceError {
                code: "reference_not_found",
                message: format!("`${{{text}}}`: {}", missing.describe(name_of(text), steps)),
            }),
        },
        Path::Query(query) => query.found(root).map(Cow::Owned).map_err(|too_much| ReferenceError {
            code: "reference_not_found",
            message: format!("`${{{text}}}`: {too_much}; write a path that finds less"),
        }),
    }
}

impl Tree {
    /// The value, when nothing in it is a reference.
    pub(crate) fn value(&self) -> Option<&Value> {
        match self {
            Tree::Value(value) => Some(value),
            _ => None,
        }
    }
}

/// What is known of an argument before references are followed.
pub(crate) enum Seen<'a> {
    Known(Cow<'a, Value>),
    Unknown,
    Missing,
}

/// Looks at a part of a tree.
pub(crate) fn look<'a>(mut tree: &'a Tree, steps: &[path::Step]) -> Seen<'a> {
    for (taken, step) in steps.iter().enumerate() {
        let next = match (tree, step) {
            (Tree::Value(value), _) => {
                return match walk(value, &steps[taken..]) {
                    Ok(value) => Seen::Known(Cow::Owned(value.clone())),
                    Err(_) => Seen::Missing,
                };
            }
            (Tree::Reference(_), _) => return Seen::Unknown,
            (Tree::Object(map), path::Step::Name(name)) => {
                map.iter().find(|(key, _)| **key == **name).map(|(_, tree)| tree)
            }
            (Tree::List(list), path::Step::Index(index)) => {
                path::position(*index, list.len()).and_then(|at| list.get(at))
            }
            _ => None,
        };
        match next {
            Some(next) => tree = next,
            None => return Seen::Missing,
        }
    }
    match tree {
        Tree::Value(value) => Seen::Known(Cow::Borrowed(value)),
        _ => Seen::Unknown,
    }
}
