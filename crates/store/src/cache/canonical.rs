//! The one form of a JSON value (RFC 8785), for hashing: members sorted, no spaces, numbers in one notation.
//! It does not know what is hashed.

use serde_json::{Number, Value};

/// Integers up to this have an exact double.
const EXACT_MAX: u64 = 1 << 53;

/// Writes the canonical form behind what is in `out`.
///
/// It is that of RFC 8785 but for numbers beyond ±2^53: there an integer keeps all its digits and a fraction is
/// written with an exponent, so that two arguments that a tool can tell apart never have one form.
pub fn canonical_json(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                canonical_json(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_unstable_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push(b'{');
            for (index, (name, member)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_text(name, out);
                out.push(b':');
                canonical_json(member, out);
            }
            out.push(b'}');
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    // Escapes as few characters as RFC 8785 wants, and in the same way.
    let written = serde_json::to_writer(out, text);
    debug_assert!(written.is_ok(), "a text is always JSON");
}

fn write_number(number: &Number, out: &mut Vec<u8>) {
    let text = match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(integer), _, _) => integer.to_string(),
        (_, Some(integer), _) => integer.to_string(),
        (_, _, Some(double)) => double_text(double),
        _ => number.to_string(),
    };
    out.extend_from_slice(text.as_bytes());
}

/// As ECMAScript writes it, within the range where that is exact.
fn double_text(double: f64) -> String {
    let size = double.abs();
    if size == 0.0 {
        "0".to_owned()
    } else if (1e-6..=EXACT_MAX as f64).contains(&size) {
        double.to_string()
    } else {
        let text = format!("{double:e}");
        if text.contains("e-") { text } else { text.replace('e', "e+") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(text: &str, expected: Expect) {
        let mut out = Vec::new();
        canonical_json(&serde_json::from_str(text).unwrap(), &mut out);
        expected.assert_eq(std::str::from_utf8(&out).unwrap());
    }

    #[test]
    fn the_examples_of_the_standard() {
        check(
            r#"{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
                "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"#,
            expect![[
                r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#
            ]],
        );
        // By UTF-16: the smiley, which needs a pair of surrogates, stands before U+FB33.
        let mut out = Vec::new();
        let text = r#"{"\u20ac": 5, "\r": 1, "\ufb33": 7, "1": 2, "\ud83d\ude00": 6, "\u0080": 3, "\u00f6": 4}"#;
        canonical_json(&serde_json::from_str(text).unwrap(), &mut out);
        let order: Vec<char> = std::str::from_utf8(&out).unwrap().chars().filter(|c| ('2'..='7').contains(c)).collect();
        assert_eq!(String::from_iter(order), "234567");
    }

    #[test]
    fn one_form_for_one_number_and_two_for_two() {
        check("[1.0, 1, 1e0, -0.0, 0, 1.5e-7, 0.000001]", expect!["[1,1,1,0,0,1.5e-7,0.000001]"]);
        check(
            "[9007199254740992, 9007199254740993, 18446744073709551615]",
            expect!["[9007199254740992,9007199254740993,18446744073709551615]"],
        );
        check(
            "[9007199254740992.0, 9007199254740994.0, 1e20]",
            expect!["[9007199254740992,9.007199254740994e+15,1e+20]"],
        );
    }
}
