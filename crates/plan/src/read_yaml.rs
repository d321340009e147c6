//! YAML 1.2 (core schema) to a tree of values with places, from the events of serde-saphyr's parser.
//! It does not know what the document is.

use crate::node::{Content, Name, Node};
use crate::read::{Bad, Numbers, READ_DEPTH_MAX};
use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, ScanError, Span, Tag};
use std::collections::HashMap;

/// Aliases may add this many values to a document in all.
const EXPANDED_MAX: usize = 100_000;

/// Reads a YAML text of one document.
pub(crate) fn read(text: &str, numbers: Numbers) -> Result<Node, Vec<Bad>> {
    let options = granit_parser::options! { emit_comments: false, simple_key_max_lookahead: 65_536 };
    let mut builder = Builder { text, open: Vec::new(), root: None, anchors: HashMap::new(), expanded: 0, numbers };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| vec![syntax(text, &error)])?;
        builder.event(event, &span).map_err(|bad| vec![bad])?;
    }
    builder.root.ok_or_else(|| vec![Bad::new("bad_yaml", "the document is empty", 0, 0)])
}

struct Builder<'t> {
    text: &'t str,
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Node>,
    expanded: usize,
    numbers: Numbers,
}

/// A collection whose end has not come.
struct Open {
    start: usize,
    anchor: usize,
    holds: Holds,
}

enum Holds {
    List(Vec<Node>),
    Map(Vec<(Name, Node)>, Option<Name>),
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), Bad> {
        let (start, end) = self.bytes(span);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                let mut bad = Bad::new("bad_yaml", "there is a second document in the file", start, end);
                bad.help = Some("one file holds one plan; remove the `---` between them");
                Err(bad)
            }
            Event::Scalar(value, style, anchor, tag) => {
                let node = Node { value: scalar(&value, style, tag.as_deref(), start, end, self.numbers)?, start, end };
                self.add(node, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.enter(start, end, anchor, tag.as_deref(), Holds::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.enter(start, end, anchor, tag.as_deref(), Holds::Map(Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(end),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(Bad::new("bad_yaml", "an alias stands inside its own anchor", start, end));
                };
                self.expanded += count(node, EXPANDED_MAX);
                if self.expanded > EXPANDED_MAX {
                    return Err(Bad::new(
                        "too_many_aliases",
                        format!("aliases add more than {EXPANDED_MAX} values to the document"),
                        start,
                        end,
                    ));
                }
                let node = node.clone();
                if self.open.len() + depth(&node) > READ_DEPTH_MAX {
                    return Err(Bad::new("too_deep", format!("nested deeper than {READ_DEPTH_MAX}"), start, end));
                }
                self.add(node, 0)
            }
            _ => Ok(()),
        }
    }

    fn bytes(&self, span: &Span) -> (usize, usize) {
        let start = span.start.byte_offset().unwrap_or_else(|| span.start.index()).min(self.text.len());
        let end = span.end.byte_offset().unwrap_or_else(|| span.end.index()).min(self.text.len());
        (start, end.max(start))
    }

    fn enter(&mut self, start: usize, end: usize, anchor: usize, tag: Option<&Tag>, holds: Holds) -> Result<(), Bad> {
        if self.open.len() >= READ_DEPTH_MAX {
            return Err(Bad::new("too_deep", format!("nested deeper than {READ_DEPTH_MAX}"), start, end));
        }
        if tag.is_some_and(|tag| !matches!(tag.core_suffix(), Some("map" | "seq"))) {
            return Err(bad_tag(start, end));
        }
        self.open.push(Open { start, anchor, holds });
        Ok(())
    }

    fn leave(&mut self, end: usize) -> Result<(), Bad> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        // Block collections end where the next thing begins: what was meant ends with their last value.
        let (value, last) = match open.holds {
            Holds::List(list) => {
                let last = list.last().map(|node| node.end);
                (Content::List(list), last)
            }
            Holds::Map(map, _) => {
                let last = map.last().map(|(name, node)| node.end.max(name.end));
                (Content::Map(map), last)
            }
        };
        let closed = self.text[..end].ends_with([']', '}']);
        let end = if closed { end } else { last.unwrap_or(end) };
        self.add(Node { value, start: open.start, end: end.max(open.start) }, open.anchor)
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Bad> {
        if anchor != 0 {
            self.expanded += count(&node, EXPANDED_MAX);
            if self.expanded > EXPANDED_MAX {
                return Err(Bad::new(
                    "too_many_aliases",
                    format!("anchors hold more than {EXPANDED_MAX} values"),
                    node.start,
                    node.end,
                ));
            }
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.holds) {
            None => self.root = Some(node),
            Some(Holds::List(list)) => list.push(node),
            Some(Holds::Map(map, key)) => match key.take() {
                Some(name) => map.push((name, node)),
                None => *key = Some(field_name(self.text, node)?),
            },
        }
        Ok(())
    }
}

/// A value as the name of a field: its text as it was written.
fn field_name(text: &str, node: Node) -> Result<Name, Bad> {
    let (start, end) = (node.start, node.end);
    let name = match node.value {
        Content::Text(name) => name,
        Content::Bool(_) | Content::Number(_) | Content::Null => text[start..end].trim().to_owned(),
        Content::List(_) | Content::Map(_) => {
            return Err(Bad::new("bad_yaml", "the name of a field has to be a text", start, end));
        }
    };
    if name == "<<" {
        let mut bad = Bad::new("bad_yaml", "merge keys (`<<`) are not part of YAML 1.2", start, end);
        bad.help = Some("write the fields out, or use an alias for the whole value");
        return Err(bad);
    }
    Ok(Name { text: name, start, end })
}

/// How many values a tree holds; counts no further than `most`.
fn count(node: &Node, most: usize) -> usize {
    let mut all = 1;
    let mut inner: Box<dyn Iterator<Item = &Node>> = match &node.value {
        Content::List(list) => Box::new(list.iter()),
        Content::Map(map) => Box::new(map.iter().map(|(_, node)| node)),
        _ => return 1,
    };
    while let (true, Some(node)) = (all <= most, inner.next()) {
        all += count(node, most - all.min(most));
    }
    all
}

fn depth(node: &Node) -> usize {
    match &node.value {
        Content::List(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Content::Map(map) => 1 + map.iter().map(|(_, node)| depth(node)).max().unwrap_or(0),
        _ => 0,
    }
}

/// A scalar by the core schema of YAML 1.2.
fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    start: usize,
    end: usize,
    numbers: Numbers,
) -> Result<Content, Bad> {
    let wanted = match tag {
        None if style != ScalarStyle::Plain => return Ok(Content::Text(text.to_owned())),
        None => None,
        Some(tag) => match tag.core_suffix() {
            Some("str") => return Ok(Content::Text(text.to_owned())),
            Some(kind @ ("int" | "float" | "bool" | "null")) => Some(kind),
            _ => return Err(bad_tag(start, end)),
        },
    };
    let inexact = || crate::units::number_read(text, numbers).map(Content::Number);
    let content = plain(text).or_else(inexact).ok_or_else(|| crate::units::out_of_range(text, start, end))?;
    let fits = match (wanted, &content) {
        (None, _) | (Some("int" | "float"), Content::Number(_)) => true,
        (Some(kind), Content::Bool(_)) => kind == "bool",
        (Some(kind), Content::Null) => kind == "null",
        _ => false,
    };
    if fits { Ok(content) } else { Err(Bad::new("bad_yaml", format!("`{text}` is not what its tag says"), start, end)) }
}

/// An unquoted scalar; `None` for a number that JSON cannot hold.
fn plain(text: &str) -> Option<Content> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Content::Null,
        "true" | "True" | "TRUE" => Content::Bool(true),
        "false" | "False" | "FALSE" => Content::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return None,
        _ => {
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            if matches!(digits, ".inf" | ".Inf" | ".INF") {
                return None;
            }
            if let Some(hex) =
                text.strip_prefix("0x").filter(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_hexdigit()))
            {
                return Some(Content::Number(u64::from_str_radix(hex, 16).ok()?.into()));
            }
            if let Some(octal) = text
                .strip_prefix("0o")
                .filter(|rest| !rest.is_empty() && rest.bytes().all(|b| (b'0'..b'8').contains(&b)))
            {
                return Some(Content::Number(u64::from_str_radix(octal, 8).ok()?.into()));
            }
            if !is_number(digits) {
                return Some(Content::Text(text.to_owned()));
            }
            Content::Number(crate::units::number(text)?)
        }
    })
}

/// `[0-9]+`, `.5`, `1.`, `1.5e3` of the core schema, behind the sign.
fn is_number(digits: &str) -> bool {
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(at) => (&digits[..at], Some(&digits[at + 1..])),
        None => (digits, None),
    };
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.is_none_or(|text| {
        let text = text.strip_prefix(['+', '-']).unwrap_or(text);
        !text.is_empty() && all_digits(text)
    });
    !(whole.is_empty() && part.is_empty()) && all_digits(whole) && all_digits(part) && exponent
}

fn bad_tag(start: usize, end: usize) -> Bad {
    let mut bad = Bad::new("bad_yaml", "tags of one's own (`!name`) mean nothing here", start, end);
    bad.help = Some("write the value without the tag");
    bad
}

fn syntax(text: &str, error: &ScanError) -> Bad {
    let marker = error.marker();
    let at = marker
        .byte_offset()
        .unwrap_or_else(|| text.char_indices().nth(marker.index()).map_or(text.len(), |(at, _)| at));
    let mut bad = Bad::new("bad_yaml", format!("this is not YAML: {}", error.info()), at, at + 1);
    let line = text[..at.min(text.len())].rfind('\n').map_or(0, |at| at + 1);
    if text.get(line..).is_some_and(|rest| rest.trim_start_matches(' ').starts_with('\t')) {
        bad.help = Some("YAML is indented by spaces; this line has a tab");
    }
    bad
}
