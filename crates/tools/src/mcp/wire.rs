//! Messages as they come: what kind each is, read in one pass and without copying what it carries.
//! It does not know who waits for them.

use serde::Deserialize;
use serde::de::{Error, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// A message of a server, as far as it must be looked into.
#[derive(Debug)]
pub(super) enum Heard<'a> {
    /// The result of a request.
    Answer {
        /// Of which.
        id: Id,
        /// As the server wrote it.
        result: &'a RawValue,
    },
    /// The error a request ended with.
    Error {
        /// Of which.
        id: Id,
        /// The protocol's number.
        code: i64,
        /// In words.
        message: Cow<'a, str>,
        /// More.
        data: Option<&'a RawValue>,
    },
    /// Something told.
    Notice {
        /// What.
        method: Cow<'a, str>,
        /// The rest.
        params: Option<&'a RawValue>,
    },
    /// Something asked.
    Request,
}

/// The id of a message: a number, or a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Id {
    /// A number of ours.
    Number(u64),
    /// Something else.
    Text(String),
    /// None, or one that nobody gives.
    Null,
}

impl Id {
    /// The number it is; some servers write ours as a text.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Id::Number(number) => Some(*number),
            Id::Text(text) => text.parse().ok(),
            Id::Null => None,
        }
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(default)]
    id: Option<Id>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

/// A result that is there, also where it is `null`.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct ErrorBody<'a> {
    #[serde(default)]
    code: i64,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// Reads a message.
///
/// # Errors
/// It is not one.
pub(super) fn read(text: &str) -> Result<Heard<'_>, serde_json::Error> {
    let envelope: Envelope<'_> = serde_json::from_str(text)?;
    match (envelope.method, envelope.id) {
        (Some(method), None | Some(Id::Null)) => Ok(Heard::Notice { method, params: envelope.params }),
        (Some(_), Some(_)) => Ok(Heard::Request),
        (None, id) => {
            let id = id.unwrap_or(Id::Null);
            match (envelope.result, envelope.error) {
                (_, Some(error)) => {
                    let ErrorBody { code, message, data } = serde_json::from_str(error.get())?;
                    Ok(Heard::Error { id, code, message, data })
                }
                (Some(result), None) => Ok(Heard::Answer { id, result }),
                (None, None) => Err(serde_json::Error::custom("neither a method, nor a result, nor an error")),
            }
        }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        struct AnyId;
        impl Visitor<'_> for AnyId {
            type Value = Id;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a text")
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Id, E> {
                Ok(Id::Number(number))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Id, E> {
                Ok(Id::Text(number.to_string()))
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Id, E> {
                // `5.0` is 5.
                Ok(Id::Text(number.to_string()))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Id, E> {
                Ok(Id::Text(text.to_owned()))
            }
            fn visit_unit<E: Error>(self) -> Result<Id, E> {
                Ok(Id::Null)
            }
        }
        deserializer.deserialize_any(AnyId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_every_kind() {
        let shown = |text: &str| match read(text) {
            Ok(Heard::Answer { id, result }) => format!("answer {:?} {result}", id.number()),
            Ok(Heard::Error { id, code, message, data }) => {
                format!("error {:?} {code} {message} {data:?}", id.number())
            }
            Ok(Heard::Notice { method, params }) => format!("notice {method} {params:?}"),
            Ok(Heard::Request) => "request".to_owned(),
            Err(_) => "none".to_owned(),
        };
        for (text, expected) in [
            (r#"{"jsonrpc":"2.0","id":1,"result":{"a":[1]}}"#, r#"answer Some(1) {"a":[1]}"#),
            (r#"{"result":null,"id":"7","jsonrpc":"2.0"}"#, "answer Some(7) null"),
            (r#"{"id":5.0,"result":1}"#, "answer Some(5) 1"),
            (r#"{"id":null,"error":{"code":-32700,"message":"no \"x\""}}"#, "error None -32700 no \"x\" None"),
            (r#"{"id":1,"error":{"code":1,"message":"m","data":{}}}"#, "error Some(1) 1 m Some(RawValue({}))"),
            (r#"{"method":"notifications/x"}"#, "notice notifications/x None"),
            (r#"{"method":"a","id":1}"#, "request"),
            (r#"{"method":"a\nb","params":[]}"#, "notice a\nb Some(RawValue([]))"),
            ("{}", "none"),
            ("hello", "none"),
            (r#"{"id":1,"result":1}{"#, "none"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
