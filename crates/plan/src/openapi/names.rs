//! Names of tools, arguments and schemas, each once, and the patterns that choose operations.
//! It does not know what an operation is.

use std::collections::HashMap;

/// Names given so far, each once.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<String, u32>);

impl Names {
    /// The name, with a number behind it where it is taken.
    pub(super) fn unique(&mut self, name: &str) -> String {
        let Some(count) = self.0.get(name).copied() else {
            self.0.insert(name.to_owned(), 1);
            return name.to_owned();
        };
        // Numbers go on from the last one, so that many equal names cost no more than as many others.
        let mut number = count;
        loop {
            number += 1;
            let made = format!("{name}_{number}");
            if !self.0.contains_key(&made) {
                self.0.insert(name.to_owned(), number);
                self.0.insert(made.clone(), 1);
                return made;
            }
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// A name of letters, digits, `_`, `-` and `.` alone; `empty` where nothing is left.
pub(super) fn plain(text: &str, empty: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' | '_' => name.push(c),
            // Filters such as `StartTime>` differ in nothing else.
            '<' => name.push_str("_lt"),
            '>' => name.push_str("_gt"),
            '=' => name.push_str("_eq"),
            '!' => name.push_str("_not"),
            _ if name.is_empty() || name.ends_with('_') => {}
            _ => name.push('_'),
        }
    }
    if !text.ends_with('_') {
        name.truncate(name.trim_end_matches('_').len());
    }
    name.truncate(64);
    if name.is_empty() { empty.to_owned() } else { name }
}

/// `get_pets_id` for `GET /pets/{id}`.
pub(super) fn from_path(method: &str, path: &str) -> String {
    let mut name = method.to_lowercase();
    for part in path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty()) {
        name.push('_');
        name.push_str(part);
    }
    plain(&name, "operation")
}

/// Whether a pattern is the whole text: `**` is anything, `*` is anything without a `/`.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    // Where to go on from when what follows the last `*` (or `**`) does not fit.
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut one: Option<(usize, usize)> = None;
    let mut all: Option<(usize, usize)> = None;
    loop {
        if pattern[p..].starts_with(b"**") {
            p += 2;
            (all, one) = (Some((p, t)), None);
        } else if pattern.get(p) == Some(&b'*') {
            p += 1;
            one = Some((p, t));
        } else if t < text.len() && pattern.get(p) == Some(&text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if p == pattern.len() && t == text.len() {
            return true;
        } else if let Some((behind, from)) = one.filter(|(_, from)| text.get(*from).is_some_and(|c| *c != b'/')) {
            (p, t) = (behind, from + 1);
            one = Some((behind, t));
        } else if let Some((behind, from)) = all.filter(|(_, from)| *from < text.len()) {
            (p, t) = (behind, from + 1);
            (all, one) = (Some((behind, t)), None);
        } else {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        assert_eq!(plain("pets/list all", "x"), "pets_list_all");
        assert_eq!(plain("filter[status]", "x"), "filter_status");
        assert_eq!(plain("StartTime>", "x"), "StartTime_gt");
        assert_eq!((plain("日本", "x"), plain("_", "x")), ("x".to_owned(), "_".to_owned()));
        assert_eq!(from_path("GET", "/pets/{petId}.json"), "get_pets_petId_json");
    }

    #[test]
    fn patterns_know_segments() {
        for (pattern, text, is) in [
            ("/pets/*", "/pets/{id}", true),
            ("/pets/*", "/pets/{id}/toys", false),
            ("/pets/**", "/pets/{id}/toys", true),
            ("/**/toys", "/pets/{id}/toys", true),
            ("/**/a*c/*", "/x/abc/abd/aXc/z", true),
            ("list*", "listPets", true),
            ("*", "", true),
            ("", "a", false),
            ("**a*b", "a/ab", true),
        ] {
            assert_eq!(matches(pattern, text), is, "{pattern} {text}");
        }
    }
}
