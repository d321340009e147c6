//! Values as they stand on the wire: percent-encoding, and the styles of lists and objects.
//! It does not know which request they are of.

use fanout_plan::{HttpParam, ParamStyle};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_encode};
use serde_json::Value;
use std::borrow::Cow;

/// Everything but what RFC 3986 calls unreserved: nothing put in can end the part it stands in.
const ALL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same, but characters that cannot end a value of a query stay as they are.
const RESERVED_IN_QUERY: &AsciiSet = &ALL
    .remove(b':')
    .remove(b'/')
    .remove(b'?')
    .remove(b'@')
    .remove(b'!')
    .remove(b'$')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b',')
    .remove(b';');
/// The same for a segment of a path.
const RESERVED_IN_PATH: &AsciiSet = &RESERVED_IN_QUERY.add(b'/').add(b'?').remove(b'&').remove(b'+').remove(b'=');

/// Where a value stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stands {
    /// In a segment of a path.
    Path,
    /// In a query or a form.
    Pairs,
    /// In a header: nothing is encoded.
    Header,
}

/// Text that is safe where it stands.
pub(super) fn encode(text: &str, stands: Stands, reserved: bool) -> Cow<'_, str> {
    let set = match (stands, reserved) {
        (Stands::Header, _) => return text.into(),
        (_, false) => ALL,
        (Stands::Path, true) => RESERVED_IN_PATH,
        (Stands::Pairs, true) => RESERVED_IN_QUERY,
    };
    let encoded: PercentEncode<'_> = percent_encode(text.as_bytes(), set);
    encoded.into()
}

/// A string as it is, everything else as compact JSON.
pub(super) fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => text.as_str().into(),
        Value::Null => "".into(),
        other => other.to_string().into(),
    }
}

/// What stands for a value in a path or header, encoded. RFC 6570 as far as OpenAPI uses it.
pub(super) fn one(param: &HttpParam, value: &Value, stands: Stands) -> String {
    let plain = |value: &Value| encode(&text(value), stands, param.reserved).into_owned();
    let name = encode(&param.name, stands, false);
    // What stands before all, between elements, and between the elements of a list that is not exploded.
    let (first, between) = match param.style {
        ParamStyle::Label => (".", if param.explode { "." } else { "," }),
        ParamStyle::Matrix => (";", if param.explode { ";" } else { "," }),
        ParamStyle::Json => return encode(&value.to_string(), stands, param.reserved).into_owned(),
        _ => ("", ","),
    };
    let matrix = param.style == ParamStyle::Matrix;
    let parts: Vec<String> = match value {
        Value::Array(items) if matrix && param.explode => {
            items.iter().map(|item| format!("{name}={}", plain(item))).collect()
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(map) => members(map, plain, param.explode, stands),
        other => vec![plain(other)],
    };
    let named = matrix && !(param.explode && (value.is_array() || value.is_object()));
    let named = if named { format!("{name}=") } else { String::new() };
    format!("{first}{named}{}", parts.join(between))
}

/// The pairs of a query, cookie or form for a value, encoded.
pub(super) fn pairs(param: &HttpParam, value: &Value, stands: Stands) -> Vec<(String, String)> {
    let plain = |value: &Value| encode(&text(value), stands, param.reserved).into_owned();
    let name = encode(&param.name, stands, false).into_owned();
    let between = match param.style {
        ParamStyle::SpaceDelimited => "%20",
        ParamStyle::PipeDelimited => "%7C",
        ParamStyle::Json => return vec![(name, encode(&value.to_string(), stands, param.reserved).into_owned())],
        ParamStyle::DeepObject => {
            let mut pairs = Vec::new();
            deep(&name, value, &plain, stands, &mut pairs);
            return pairs;
        }
        _ => ",",
    };
    match value {
        Value::Array(items) if param.explode => items.iter().map(|item| (name.clone(), plain(item))).collect(),
        Value::Array(items) => vec![(name, items.iter().map(plain).collect::<Vec<_>>().join(between))],
        Value::Object(map) if param.explode => {
            map.iter().map(|(key, value)| (encode(key, stands, false).into_owned(), plain(value))).collect()
        }
        Value::Object(map) => vec![(name, members(map, plain, false, stands).join(between))],
        other => vec![(name, plain(other))],
    }
}

/// `a=1` for each member when exploded, else `a` and `1`.
fn members(
    map: &serde_json::Map<String, Value>,
    plain: impl Fn(&Value) -> String,
    explode: bool,
    stands: Stands,
) -> Vec<String> {
    let members = map.iter().map(|(key, value)| (encode(key, stands, false).into_owned(), plain(value)));
    match explode {
        true => members.map(|(key, value)| format!("{key}={value}")).collect(),
        false => members.flat_map(|(key, value)| [key, value]).collect(),
    }
}

/// `a[b][c]=1`.
fn deep(
    name: &str,
    value: &Value,
    plain: &impl Fn(&Value) -> String,
    stands: Stands,
    pairs: &mut Vec<(String, String)>,
) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                deep(&format!("{name}%5B{}%5D", encode(key, stands, false)), value, plain, stands, pairs);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                deep(&format!("{name}%5B{index}%5D"), value, plain, stands, pairs);
            }
        }
        other => pairs.push((name.to_owned(), plain(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use fanout_plan::TextTemplate;
    use serde_json::json;

    fn param(style: ParamStyle, explode: bool, reserved: bool) -> HttpParam {
        let value = TextTemplate::parse("${args.a}").unwrap();
        HttpParam { name: "a".into(), value, optional: false, style, explode, reserved }
    }

    #[test]
    fn styles_are_those_of_openapi() {
        use ParamStyle::*;
        let mut shown = String::new();
        let values = [json!("blue"), json!(["blue", "b&w"]), json!({"R": 100, "G b": 200})];
        for explode in [false, true] {
            for value in &values {
                for style in [Simple, Label, Matrix] {
                    shown +=
                        &format!("{style:?} {explode} {}\n", one(&param(style, explode, false), value, Stands::Path));
                }
                for style in [Form, SpaceDelimited, PipeDelimited, DeepObject, Json] {
                    let pairs = pairs(&param(style, explode, false), value, Stands::Pairs);
                    let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
                    shown += &format!("{style:?} {explode} {}\n", pairs.join("&"));
                }
            }
        }
        expect![[r#"
            Simple false blue
            Label false .blue
            Matrix false ;a=blue
            Form false a=blue
            SpaceDelimited false a=blue
            PipeDelimited false a=blue
            DeepObject false a=blue
            Json false a=%22blue%22
            Simple false blue,b%26w
            Label false .blue,b%26w
            Matrix false ;a=blue,b%26w
            Form false a=blue,b%26w
            SpaceDelimited false a=blue%20b%26w
            PipeDelimited false a=blue%7Cb%26w
            DeepObject false a%5B0%5D=blue&a%5B1%5D=b%26w
            Json false a=%5B%22blue%22%2C%22b%26w%22%5D
            Simple false R,100,G%20b,200
            Label false .R,100,G%20b,200
            Matrix false ;a=R,100,G%20b,200
            Form false a=R,100,G%20b,200
            SpaceDelimited false a=R%20100%20G%20b%20200
            PipeDelimited false a=R%7C100%7CG%20b%7C200
            DeepObject false a%5BR%5D=100&a%5BG%20b%5D=200
            Json false a=%7B%22R%22%3A100%2C%22G%20b%22%3A200%7D
            Simple true blue
            Label true .blue
            Matrix true ;a=blue
            Form true a=blue
            SpaceDelimited true a=blue
            PipeDelimited true a=blue
            DeepObject true a=blue
            Json true a=%22blue%22
            Simple true blue,b%26w
            Label true .blue.b%26w
            Matrix true ;a=blue;a=b%26w
            Form true a=blue&a=b%26w
            SpaceDelimited true a=blue&a=b%26w
            PipeDelimited true a=blue&a=b%26w
            DeepObject true a%5B0%5D=blue&a%5B1%5D=b%26w
            Json true a=%5B%22blue%22%2C%22b%26w%22%5D
            Simple true R=100,G%20b=200
            Label true .R=100.G%20b=200
            Matrix true ;R=100;G%20b=200
            Form true R=100&G%20b=200
            SpaceDelimited true R=100&G%20b=200
            PipeDelimited true R=100&G%20b=200
            DeepObject true a%5BR%5D=100&a%5BG%20b%5D=200
            Json true a=%7B%22R%22%3A100%2C%22G%20b%22%3A200%7D
        "#]]
        .assert_eq(&shown);
    }

    #[test]
    fn nothing_escapes_from_where_it_stands() {
        for value in ["a/b", "..", "%2f", "a?b", "a#b", "a&b=c", "a b", "ä", "\r\nX: y", "\0", "a;b", "a+b"] {
            for reserved in [false, true] {
                let text = encode(value, Stands::Path, reserved);
                assert!(!text.contains(['/', '?', '#', ' ', '\r', '\n', '\0']), "{text}");
                let text = encode(value, Stands::Pairs, reserved);
                assert!(!text.contains(['&', '=', '#', ' ', '+', '\r', '\n', '\0']), "{text}");
            }
        }
        assert_eq!(encode("%2e%2E", Stands::Path, true), "%252e%252E");
    }
}
