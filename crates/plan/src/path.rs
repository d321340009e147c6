//! Paths into JSON values: RFC 9535 queries, of which the singular ones are walked here step by step.
//! It does not know what the value is, or who asks.

use serde_json::Value;
use std::fmt;

/// One step of a singular path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A member of an object.
    Name(Box<str>),
    /// An element of a list; from the end when negative.
    Index(i64),
}

/// A path behind the name it starts from.
#[derive(Clone, Debug)]
pub(crate) enum Path {
    /// Finds one value or none.
    Singular(Vec<Step>),
    /// Finds a list of values.
    Query(Box<serde_json_path::JsonPath>),
}

/// More `..` than this in one path is refused: each multiplies the work by the size of the value.
const DESCENTS_MAX: usize = 2;

impl Path {
    /// Reads what stands behind the name: empty, or an RFC 9535 query without its `$`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Path, String> {
        if let Some(steps) = singular(text) {
            return Ok(Path::Singular(steps));
        }
        if text.matches("..").count() > DESCENTS_MAX {
            return Err(format!("more than {DESCENTS_MAX} `..` in one path"));
        }
        match serde_json_path::JsonPath::parse(&format!("${text}")) {
            Ok(path) => Ok(Path::Query(Box::new(path))),
            Err(error) if error.message() == "parser error" => Err("it is not RFC 9535".to_owned()),
            Err(error) => Err(error.message().to_owned()),
        }
    }

    /// The steps, when it finds one value or none.
    pub(crate) fn steps(&self) -> Option<&[Step]> {
        match self {
            Path::Singular(steps) => Some(steps),
            Path::Query(_) => None,
        }
    }
}

/// What a path finds in a value: the path is what stands behind an id in a reference, `.items[0].name` or
/// `[?@.price < 300]`. One with `*`, a slice or a filter gives a list.
///
/// ```
/// let value = serde_json::json!({"items": [{"name": "a"}, {"name": "b"}]});
/// assert_eq!(fanout_plan::at_path(&value, ".items[1].name").unwrap(), "b");
/// assert_eq!(fanout_plan::at_path(&value, ".items[*].name").unwrap(), serde_json::json!(["a", "b"]));
/// assert!(fanout_plan::at_path(&value, ".item").unwrap_err().contains("there is no `item`"));
/// ```
///
/// # Errors
/// Says what is wrong with the path, or what was found instead, calling the value `result`.
pub fn at_path(value: &Value, path: &str) -> Result<Value, String> {
    match Path::parse(path)? {
        Path::Singular(steps) => walk(value, &steps).cloned().map_err(|missing| missing.describe("result", &steps)),
        Path::Query(query) => Ok(query.query(value).all().into_iter().cloned().collect()),
    }
}

/// Where a walk ended early: after `steps` steps stood `found`.
pub(crate) struct Missing<'a> {
    /// The value that has no such member or element.
    pub(crate) found: &'a Value,
    /// The step that could not be made.
    pub(crate) step: &'a Step,
    /// How many steps were made before.
    pub(crate) taken: usize,
}

/// Follows the steps.
pub(crate) fn walk<'a>(root: &'a Value, steps: &'a [Step]) -> Result<&'a Value, Missing<'a>> {
    let mut found = root;
    for (taken, step) in steps.iter().enumerate() {
        found = enter(found, step).ok_or(Missing { found, step, taken })?;
    }
    Ok(found)
}

/// Makes one step.
pub(crate) fn enter<'a>(value: &'a Value, step: &Step) -> Option<&'a Value> {
    match (value, step) {
        (Value::Object(map), Step::Name(name)) => map.get(&**name),
        (Value::Array(list), Step::Index(index)) => list.get(position(*index, list.len())?),
        _ => None,
    }
}

/// The place an index means in a list of this length.
pub(crate) fn position(index: i64, len: usize) -> Option<usize> {
    if index >= 0 { usize::try_from(index).ok() } else { len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?) }
}

impl Missing<'_> {
    /// `flights is an object with keys a, b; there is no "foo"`.
    pub(crate) fn describe(&self, name: &str, steps: &[Step]) -> String {
        let mut at = name.to_owned();
        for step in &steps[..self.taken] {
            at.push_str(&step.to_string());
        }
        let wanted = match self.step {
            Step::Name(name) => format!("there is no `{name}`"),
            Step::Index(index) => format!("there is no element {index}"),
        };
        format!("{at} is {}; {wanted}", describe(self.found))
    }
}

/// What a value is, in a few words.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(b) => format!("{b}"),
        Value::Number(n) => format!("the number {n}"),
        Value::String(s) => format!("the text {:?}", shorten(s, 40)),
        Value::Array(list) if list.is_empty() => "an empty list".into(),
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(map) if map.is_empty() => "an object without keys".into(),
        Value::Object(map) => {
            let mut keys: Vec<_> = map.keys().take(8).map(|key| shorten(key, 40)).collect();
            if map.len() > 8 {
                keys.push(format!("and {} more", map.len() - 8));
            }
            format!("an object with {} {}", if map.len() == 1 { "the key" } else { "keys" }, keys.join(", "))
        }
    }
}

/// At most `max` characters of a text.
pub(crate) fn shorten(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Name(name) if is_name(name) => write!(f, ".{name}"),
            Step::Name(name) => write!(f, "[{name:?}]"),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// Whether a text is a name that may stand behind a dot.
pub(crate) fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(name_first) && chars.all(|c| name_first(c) || c.is_ascii_digit())
}

fn name_first(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

/// Reads a singular path, or gives `None` where the text is something else.
pub(crate) fn singular(text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(|c: char| !name_first(c) && !c.is_ascii_digit()).unwrap_or(after.len());
            if !is_name(&after[..end]) {
                return None;
            }
            steps.push(Step::Name(after[..end].into()));
            rest = &after[end..];
        } else {
            let (step, after) = bracket(rest.strip_prefix('[')?)?;
            steps.push(step);
            rest = after;
        }
    }
    Some(steps)
}

/// `"name"]…` or `12]…`, behind the opening bracket.
fn bracket(text: &str) -> Option<(Step, &str)> {
    let blank = [' ', '\t', '\n', '\r'];
    let text = text.trim_start_matches(blank);
    let (step, rest) = match text.chars().next()? {
        quote @ ('"' | '\'') => {
            let (name, rest) = quoted(&text[1..], quote)?;
            (Step::Name(name.into()), rest)
        }
        _ => {
            let end = text.find(|c: char| c != '-' && !c.is_ascii_digit())?;
            let digits = &text[..end];
            let plain = digits.strip_prefix('-').unwrap_or(digits);
            // RFC 9535: no leading zeros, no `-0`, and within the exact integers of I-JSON.
            if (plain.starts_with('0') && digits != "0") || plain.is_empty() {
                return None;
            }
            let index: i64 = digits.parse().ok()?;
            if index.unsigned_abs() >= 1 << 53 {
                return None;
            }
            (Step::Index(index), &text[end..])
        }
    };
    Some((step, rest.trim_start_matches(blank).strip_prefix(']')?))
}

/// A quoted name, behind its opening quote.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Some((name, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'b' => name.push('\u{8}'),
                'f' => name.push('\u{c}'),
                'n' => name.push('\n'),
                'r' => name.push('\r'),
                't' => name.push('\t'),
                c @ ('/' | '\\') => name.push(c),
                c if c == quote => name.push(c),
                'u' => {
                    let unit = hex4(&mut chars)?;
                    if (0xD800..0xDC00).contains(&unit) {
                        (chars.next()?.1 == '\\' && chars.next()?.1 == 'u').then_some(())?;
                        let low = hex4(&mut chars)?;
                        (0xDC00..0xE000).contains(&low).then_some(())?;
                        name.push(char::from_u32(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00))?);
                    } else {
                        name.push(char::from_u32(unit)?);
                    }
                }
                _ => return None,
            },
            c if c < ' ' => return None,
            c => name.push(c),
        }
    }
    None
}

fn hex4(chars: &mut std::str::CharIndices<'_>) -> Option<u32> {
    let mut unit = 0;
    for _ in 0..4 {
        unit = unit * 16 + chars.next()?.1.to_digit(16)?;
    }
    Some(unit)
}
