//! Secrets: read where their names say, and struck out of everything that is told.
//! It does not know what a secret is good for.

use super::spelling;
use crate::tool::{Reached, ToolError};
use fanout_plan::SecretName;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::io::Read;
use std::ops::Range;

/// What stands in the place of a secret.
const STRUCK: &str = "[secret]";
/// Shorter ones are not struck out of results: they would be found in everything.
const RESULT_LENGTH_MIN: usize = 8;
/// Nor shorter ones than this out of messages.
const MESSAGE_LENGTH_MIN: usize = 3;
/// A file with more than this is not a secret.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Reads a secret, anew each time: files of secrets are rotated under running programs.
///
/// # Errors
/// `secret_missing`.
pub(crate) async fn read(name: &SecretName) -> Result<SecretString, ToolError> {
    let text = match name {
        SecretName::Env(variable) => match std::env::var(variable) {
            Ok(text) => text,
            Err(std::env::VarError::NotPresent) => return Err(missing(name, "there is no such variable")),
            Err(std::env::VarError::NotUnicode(_)) => return Err(missing(name, "it is not UTF-8")),
        },
        SecretName::File(path) => {
            let path = path.clone();
            // A file may be on a disk that is slow, or be a pipe.
            let read = tokio::task::spawn_blocking(move || {
                let mut text = String::new();
                std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
                Ok::<_, std::io::Error>(text)
            });
            match read.await {
                Ok(Ok(text)) if text.len() as u64 > FILE_BYTES_MAX => return Err(missing(name, "it is too long")),
                Ok(Ok(text)) => text,
                Ok(Err(error)) => return Err(missing(name, &error.to_string())),
                Err(_) => return Err(missing(name, "it could not be read")),
            }
        }
    };
    let text = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).unwrap_or(&text);
    match text {
        "" => Err(missing(name, "it is empty")),
        // Repeating it, even in part, is what must not be done here.
        text if text.contains(['\r', '\n', '\0']) => Err(missing(name, "it holds a line end or NUL")),
        text => Ok(text.into()),
    }
}

/// `secret_missing`.
pub(super) fn missing(name: &SecretName, why: &str) -> ToolError {
    let named = String::from(name.clone());
    ToolError::permanent(format!("the secret `{named}` cannot be used: {why}"))
        .code("secret_missing")
        .reached(Reached::No)
}

/// The secrets of one attempt. They are found however they are written.
#[derive(Clone, Default)]
pub(crate) struct Known(Vec<SecretString>);

impl Known {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes a secret.
    pub(crate) fn note(&mut self, secret: &SecretString) {
        let plain = secret.expose_secret();
        if plain.len() >= MESSAGE_LENGTH_MIN && !self.0.iter().any(|known| known.expose_secret() == plain) {
            self.0.push(secret.clone());
        }
        // The longest first: one may be a part of another.
        self.0.sort_by_key(|known| std::cmp::Reverse(known.expose_secret().len()));
    }

    /// A text without secrets, also where it was cut in the middle of one.
    pub(crate) fn strike(&self, text: String) -> String {
        let secrets = self.0.iter().map(ExposeSecret::expose_secret);
        secrets.fold(text, |text, secret| strike_one(text, |text| spelling::find_cut(text, secret)))
    }

    /// An error without secrets.
    pub(crate) fn strike_error(&self, error: ToolError) -> ToolError {
        ToolError { message: self.strike(error.message), detail: error.detail.map(|text| self.strike(text)), ..error }
    }

    /// Whether a secret long enough to be no accident is in there.
    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        self.long().any(|secret| spelling::find(text, secret).is_some())
    }

    /// A result without secrets that are long enough to be no accident.
    pub(crate) fn strike_result(&self, text: String) -> String {
        self.long().fold(text, |text, secret| strike_one(text, |text| spelling::find(text, secret)))
    }

    /// The texts of a value without secrets that are long enough to be no accident; whether there was one.
    pub(crate) fn strike_texts(&self, value: &mut Value) -> bool {
        let is_told = |text: &str| self.is_in(text.as_bytes());
        match value {
            Value::String(text) if is_told(text) => {
                *text = self.strike_result(std::mem::take(text));
                true
            }
            Value::Array(list) => list.iter_mut().fold(false, |any, value| self.strike_texts(value) | any),
            Value::Object(map) => {
                let mut any = map.values_mut().fold(false, |any, value| self.strike_texts(value) | any);
                if map.keys().any(|name| is_told(name)) {
                    let struck = std::mem::take(map).into_iter().map(|(name, value)| (self.strike_result(name), value));
                    *map = struck.collect();
                    any = true;
                }
                any
            }
            _ => false,
        }
    }

    /// The head of a result that went to a file, without the part of a secret that it was cut in; whether there was one.
    pub(crate) fn strike_head(&self, value: &mut Value) -> bool {
        let at = if value.get("body").is_some() { "/body/spilled/head" } else { "/spilled/head" };
        let Some(Value::String(head)) = value.pointer_mut(at) else { return false };
        let struck = self.strike(head.clone());
        let was_there = struck != *head;
        *head = struck;
        was_there
    }

    fn long(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(ExposeSecret::expose_secret).filter(|secret| secret.len() >= RESULT_LENGTH_MIN)
    }
}

/// A text without what is found in it.
fn strike_one(text: String, find: impl Fn(&str) -> Option<Range<usize>>) -> String {
    let (mut struck, mut rest) = (String::new(), text.as_str());
    while let Some(found) = find(rest) {
        struck.push_str(&rest[..found.start]);
        struck.push_str(STRUCK);
        rest = &rest[found.end..];
    }
    if struck.is_empty() { text } else { struck + rest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_struck_where_a_text_was_cut() {
        let mut known = Known::default();
        known.note(&"pa ss\"word+/=".into());
        for text in ["told: pa ss\"wor", "told: pa%20ss%22word%2", "told: pa s", "told: pa ss\\\""] {
            assert_eq!(known.strike(text.to_owned()), "told: [secret]");
        }
        assert_eq!(known.strike("told: pa ".to_owned()), "told: pa ", "no more of it than an accident");
        let mut value = serde_json::json!({"spilled": {"head": "xpa ss", "path": "/x"}});
        assert!(known.strike_head(&mut value) && value["spilled"]["head"] == "x[secret]");
    }

    #[test]
    fn secrets_are_struck_however_json_escapes_them() {
        let mut known = Known::default();
        known.note(&"pa ss<word>".into());
        let mut value =
            serde_json::from_str(r#"{"a\u0020pa\u0020ss\u003Cword>": [1, {"b": "x pa ss\u003cw\u006frd>"}]}"#).unwrap();
        assert!(known.strike_texts(&mut value));
        assert_eq!(value.to_string(), r#"{"a [secret]":[1,{"b":"x [secret]"}]}"#);
        assert!(!known.strike_texts(&mut value));
    }

    #[test]
    fn secrets_are_struck_in_every_form() {
        let mut known = Known::default();
        known.note(&"pa ss\"word+/=".into());
        for text in ["pa ss\"word+/=", "pa%20ss%22word%2B%2F%3D", r#"pa ss\"word+/="#, r"pa ss\u0022word\u002B/="] {
            assert_eq!(known.strike(format!("a {text} b")), "a [secret] b");
        }
    }
}
