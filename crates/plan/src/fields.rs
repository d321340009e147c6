//! Reading the fields of an object of a document: their types, and names that are not known.
//! It does not know which object it is.

use crate::diagnostic::Problems;
use crate::node::{At, Content, Name, Node};
use std::time::Duration;

/// The fields of one object, taken one by one; those left over are errors.
pub(crate) struct Fields<'n, 'a> {
    map: &'n [(Name, Node)],
    at: &'a At<'a>,
    known: Vec<&'static str>,
}

impl<'n, 'a> Fields<'n, 'a> {
    /// The fields of `node`, or an error when it is no object. `what` names it for people: `a call`.
    pub(crate) fn of(node: &'n Node, at: &'a At<'a>, what: &str, problems: &mut Problems) -> Option<Fields<'n, 'a>> {
        if let Content::Map(map) = &node.value {
            return Some(Fields { map, at, known: Vec::new() });
        }
        problems.error(at, "wrong_type", format!("{what} is an object, not {}", node.kind()));
        None
    }

    /// Whether there is such a field.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.map.iter().any(|(key, _)| key.text == name)
    }

    /// A field by its name.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<&'n Node> {
        self.known.push(name);
        self.map.iter().find(|(key, _)| key.text == name).map(|(_, node)| node)
    }

    /// A text.
    pub(crate) fn text(&mut self, name: &'static str, problems: &mut Problems) -> Option<String> {
        let node = self.take(name)?;
        match &node.value {
            Content::Text(text) => Some(text.clone()),
            _ => self.wrong(name, "a text", node, problems),
        }
    }

    /// True or false.
    pub(crate) fn flag(&mut self, name: &'static str, problems: &mut Problems) -> Option<bool> {
        let node = self.take(name)?;
        match &node.value {
            Content::Bool(b) => Some(*b),
            _ => self.wrong(name, "true or false", node, problems),
        }
    }

    /// A duration.
    pub(crate) fn duration(&mut self, name: &'static str, problems: &mut Problems) -> Option<Duration> {
        let node = self.take(name)?;
        let duration = match &node.value {
            Content::Text(text) => crate::units::read_duration(text),
            Content::Number(number) => number.as_f64().and_then(crate::units::seconds_of),
            _ => return self.wrong(name, "a duration such as `2s` or `1m30s`", node, problems),
        };
        duration.or_else(|| {
            self.bad(name, "a duration such as `2s`, `150ms`, `1m30s` or a number of seconds", node, problems)
        })
    }

    /// A whole number of at least `least`.
    pub(crate) fn count(&mut self, name: &'static str, least: u64, problems: &mut Problems) -> Option<u64> {
        let node = self.take(name)?;
        match &node.value {
            Content::Number(number) => match number.as_u64().filter(|count| *count >= least) {
                Some(count) => Some(count),
                None => self.bad(name, &format!("a whole number of at least {least}"), node, problems),
            },
            _ => self.wrong(name, "a whole number", node, problems),
        }
    }

    /// A whole number of at least 1 that fits 32 bits.
    pub(crate) fn count32(&mut self, name: &'static str, problems: &mut Problems) -> Option<u32> {
        let count = self.count(name, 1, problems)?;
        Some(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// A number of bytes.
    pub(crate) fn size(&mut self, name: &'static str, problems: &mut Problems) -> Option<u64> {
        let node = self.take(name)?;
        amount(node).or_else(|| self.bad(name, "a size such as `64 MiB` or a number of bytes", node, problems))
    }

    /// One of these words.
    pub(crate) fn word<T: Copy>(
        &mut self,
        name: &'static str,
        words: &[(&str, T)],
        problems: &mut Problems,
    ) -> Option<T> {
        let node = self.take(name)?;
        let Content::Text(text) = &node.value else { return self.wrong(name, "a word", node, problems) };
        match words.iter().find(|(word, _)| word == text) {
            Some((_, meaning)) => Some(*meaning),
            None => {
                let all: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
                let near = crate::nearest::nearest(text, words.iter().map(|(word, _)| *word));
                problems
                    .error(
                        &self.at.field(name),
                        "bad_value",
                        format!("`{name}` is one of {}, not `{text}`", all.join(", ")),
                    )
                    .nearest(near);
                None
            }
        }
    }

    /// A list of texts; one text alone is a list of one where `lone` says so.
    pub(crate) fn texts(&mut self, name: &'static str, lone: bool, problems: &mut Problems) -> Option<Vec<String>> {
        let node = self.take(name)?;
        let list = match &node.value {
            Content::Text(text) if lone => return Some(vec![text.clone()]),
            Content::List(list) => list,
            _ => return self.wrong(name, "a list of texts", node, problems),
        };
        let at = self.at.field(name);
        let mut texts = Vec::with_capacity(list.len());
        for (index, node) in list.iter().enumerate() {
            match &node.value {
                Content::Text(text) => texts.push(text.clone()),
                _ => {
                    problems.error(
                        &at.index(index),
                        "wrong_type",
                        format!("`{name}` is a list of texts; this is {}", node.kind()),
                    );
                }
            }
        }
        Some(texts)
    }

    /// A map from names to anything.
    pub(crate) fn map(&mut self, name: &'static str, problems: &mut Problems) -> Option<&'n [(Name, Node)]> {
        let node = self.take(name)?;
        match &node.value {
            Content::Map(map) => Some(map),
            _ => self.wrong(name, "an object", node, problems),
        }
    }

    /// Says that a field has the wrong type.
    pub(crate) fn wrong<T>(&self, name: &str, wanted: &str, node: &Node, problems: &mut Problems) -> Option<T> {
        problems.error(&self.at.field(name), "wrong_type", format!("`{name}` is {wanted}, not {}", node.kind()));
        None
    }

    /// Says that a field has the right type and a wrong value.
    fn bad<T>(&self, name: &str, wanted: &str, node: &Node, problems: &mut Problems) -> Option<T> {
        let value = node.to_value();
        problems.error(
            &self.at.field(name),
            "bad_value",
            format!("`{name}` is {wanted}, not {}", crate::path::shorten(&value.to_string(), 60)),
        );
        None
    }

    /// Says that a field is missing.
    pub(crate) fn missing(&self, name: &str, what: &str, problems: &mut Problems) {
        problems.error(self.at, "missing_field", format!("{what} has no `{name}`"));
    }

    /// All other fields are errors; those in `later` belong to versions that are not there yet.
    pub(crate) fn done(self, what: &str, later: &[&str], problems: &mut Problems) {
        for (name, _) in self.map.iter().filter(|(name, _)| !self.known.contains(&name.text.as_str())).take(1_001) {
            let text = crate::path::shorten(&name.text, 60);
            let at = self.at.field(&name.text);
            if later.contains(&name.text.as_str()) {
                let message = format!("`{text}` of {what} is not supported yet by this version");
                problems
                    .error_at_key(&at, "not_yet_supported", message)
                    .help("remove it: it is refused rather than ignored");
            } else {
                let near = crate::nearest::nearest(&name.text, self.known.iter().copied());
                problems.error_at_key(&at, "unknown_field", format!("{what} has no field `{text}`")).nearest(near);
            }
        }
    }
}

/// A whole number, or a size written with its unit.
pub(crate) fn amount(node: &Node) -> Option<u64> {
    match &node.value {
        Content::Number(number) => number.as_u64(),
        Content::Text(text) => crate::units::read_size(text),
        _ => None,
    }
}
