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
    Query(Box<Query>),
}

/// A path that finds a list of values.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    path: serde_json_path::JsonPath,
    /// How often it may find the same.
    choices: u64,
    descents: u32,
}

/// More `..` than this in one path is refused: each multiplies the work by the size of the value.
const DESCENTS_MAX: usize = 2;
/// What a query of several selectors in one place may find: each place multiplies it.
const CHOICES_MAX: u64 = 100;
/// Where a query may find the same more than once, it may find no more than this.
const FOUND_MAX: u64 = 10_000_000;
/// What a query finds is no larger, as JSON and roughly: with `..` a value is found with all that is in it, many times.
const FOUND_BYTES_MAX: usize = 64 << 20;

impl Path {
    /// Reads what stands behind the name: empty, or an RFC 9535 query without its `$`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Path, String> {
        if let Some(steps) = singular(text) {
            return Ok(Path::Singular(steps));
        }
        let descents = text.matches("..").count();
        if descents > DESCENTS_MAX {
            return Err(format!("more than {DESCENTS_MAX} `..` in one path"));
        }
        let choices = choices(text);
        if choices > CHOICES_MAX {
            return Err(format!("more than {CHOICES_MAX} combinations of its selectors in one path"));
        }
        match serde_json_path::JsonPath::parse(&format!("${text}")) {
            Ok(path) => Ok(Path::Query(Box::new(Query { path, choices, descents: descents as u32 }))),
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
        Path::Query(query) => query.found(value),
    }
}

impl Query {
    /// All that it finds, as a list.
    ///
    /// # Errors
    /// It is too much.
    pub(crate) fn found(&self, value: &Value) -> Result<Value, String> {
        if self.choices > 1 || self.descents > 1 {
            let (nodes, depth) = size(value);
            let often = if self.descents > 1 { depth.saturating_mul(self.choices) } else { self.choices };
            if nodes.saturating_mul(often) > FOUND_MAX {
                return Err(format!("it may find more than {FOUND_MAX} values"));
            }
        }
        let nodes = self.path.query(value);
        let mut left = FOUND_BYTES_MAX;
        let fits = nodes.iter().all(|node| weigh(node, &mut left));
        let all = || nodes.iter().map(|node| (*node).clone()).collect();
        fits.then(all).ok_or_else(|| format!("it finds more than {} MiB", FOUND_BYTES_MAX >> 20))
    }
}

/// How many values are in a value, itself included, and how deep.
fn size(value: &Value) -> (u64, u64) {
    let inside: &mut dyn Iterator<Item = &Value> = match value {
        Value::Array(list) => &mut list.iter(),
        Value::Object(map) => &mut map.values(),
        _ => return (1, 1),
    };
    inside.map(size).fold((1, 1), |(nodes, depth), (more, below)| (nodes + more, depth.max(below + 1)))
}

/// What a value weighs, as JSON and roughly; more than `most`, where it is more.
pub(crate) fn weight(value: &Value, most: usize) -> usize {
    let mut left = most;
    if weigh(value, &mut left) { most - left } else { most.saturating_add(1) }
}

/// Takes what a value weighs from what is left; false when that is not enough.
fn weigh(value: &Value, left: &mut usize) -> bool {
    let own = match value {
        Value::String(text) => text.len() + 2,
        Value::Object(map) => 2 + map.keys().map(|name| name.len() + 4).sum::<usize>(),
        _ => 8,
    };
    let Some(rest) = left.checked_sub(own) else { return false };
    *left = rest;
    match value {
        Value::Array(list) => list.iter().all(|value| weigh(value, left)),
        Value::Object(map) => map.values().all(|value| weigh(value, left)),
        _ => true,
    }
}

/// How many ways there are through a path: the product of the numbers of selectors in its brackets. What stands between
/// parentheses is part of a condition, which selects nothing.
fn choices(text: &str) -> u64 {
    let (mut all, mut here, mut nested) = (1_u64, Vec::new(), 0_u32);
    let (mut quote, mut escaped) = (None, false);
    for c in text.chars() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => nested += 1,
            (None, ')') => nested = nested.saturating_sub(1),
            (None, '[') => here.push(1),
            (None, ',') if nested == 0 => here.iter_mut().next_back().into_iter().for_each(|count| *count += 1),
            (None, ']') => all = all.saturating_mul(here.pop().unwrap_or(1)),
            _ => {}
        }
    }
    all
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deep(levels: usize, inside: Value) -> Value {
        (0..levels).fold(inside, |inside, _| json!([inside, 1]))
    }

    #[test]
    fn what_a_path_finds_is_bounded() {
        let list = json!([[1, 2], [3, 4]]);
        assert_eq!(at_path(&list, "[0,1][0,1]").unwrap(), json!([1, 2, 3, 4]));
        assert_eq!(at_path(&json!({"a,b": 1, "c": 2}), r#"["a,b","c"]"#).unwrap(), json!([1, 2]));
        assert_eq!(
            at_path(&json!([{"x": [1]}, {"x": []}]), "[?length(@.x) > 0 && @['x,y'] != 1].x[0]").unwrap(),
            json!([1])
        );
        let often = "[*,*]".repeat(20);
        assert!(at_path(&deep(20, json!(1)), &often).unwrap_err().contains("combinations"));
        let wide = deep(100, json!((0..200_000).collect::<Vec<_>>()));
        assert!(at_path(&wide, "..*..*").unwrap_err().contains("values"));
        // Each is found with all that is in it.
        let heavy = deep(100, "x".repeat(1 << 20).into());
        assert!(at_path(&heavy, "..*").unwrap_err().contains("MiB"));
    }
}
