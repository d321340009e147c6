//! The one form of a JSON value (RFC 8785), for hashing: members sorted, no spaces, numbers in one notation.
//! It does not know what is hashed.

use serde_json::value::RawValue;
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

/// Writes the canonical form of a text behind what is in `out`. `None` where it is nested deeper than 127.
pub(crate) fn canonical_text(text: &RawValue, out: &mut Vec<u8>) -> Option<()> {
    if is_canonical(text.get()) {
        out.extend_from_slice(text.get().as_bytes());
    } else {
        canonical_json(&serde_json::from_str(text.get()).ok()?, out);
    }
    Some(())
}

/// Whether JSON plainly stands in its canonical form, as what programs write mostly does; `false` also where it would
/// take more than a glance to see: a fraction, an escape, what is not ASCII.
fn is_canonical(json: &str) -> bool {
    let mut glance = Glance(json.as_bytes());
    glance.value(DEPTH_MAX) == Some(()) && glance.0.is_empty()
}

/// Deeper than this nobody looks at a glance.
const DEPTH_MAX: usize = 16;

/// Digits of an integer that surely has an exact double.
const DIGITS_MAX: usize = 15;

/// What is left of JSON that is known to be right. `None`: its form is not plain.
struct Glance<'a>(&'a [u8]);

impl<'a> Glance<'a> {
    fn value(&mut self, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match self.next()? {
            b'"' => self.text().map(|_| ()),
            b'{' => {
                let mut last: Option<&[u8]> = None;
                self.items(b'}', |it| {
                    it.next_is(b'"')?;
                    let name = it.text()?;
                    // In ASCII the order by UTF-16 is that of the bytes.
                    if last.is_some_and(|last| last >= name) {
                        return None;
                    }
                    last = Some(name);
                    it.next_is(b':')?;
                    it.value(depth)
                })
            }
            b'[' => self.items(b']', |it| it.value(depth)),
            b'0' => Some(()),
            b'-' => self.next().filter(|digit| (b'1'..=b'9').contains(digit)).and_then(|_| self.digits()),
            b'1'..=b'9' => self.digits(),
            b't' | b'n' => self.skip(3),
            b'f' => self.skip(4),
            _ => None,
        }
    }

    fn items(&mut self, end: u8, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        if self.0.first() == Some(&end) {
            return self.skip(1);
        }
        loop {
            item(self)?;
            match self.next()? {
                b',' => {}
                byte => return (byte == end).then_some(()),
            }
        }
    }

    /// The rest of a string that has begun, without its end.
    fn text(&mut self) -> Option<&'a [u8]> {
        let plain = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b'\\' && *byte != b'"';
        let end = self.0.iter().position(|byte| !plain(byte)).filter(|end| self.0[*end] == b'"')?;
        let text = &self.0[..end];
        self.skip(end + 1)?;
        Some(text)
    }

    /// The rest of an integer. What follows, as of a fraction, is for whoever comes next.
    fn digits(&mut self) -> Option<()> {
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits < DIGITS_MAX { self.skip(digits) } else { None }
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn next_is(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
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

    fn form_of(text: &str) -> Option<String> {
        let mut out = Vec::new();
        canonical_json(&serde_json::from_str(text).ok()?, &mut out);
        String::from_utf8(out).ok()
    }

    #[test]
    fn what_is_taken_for_canonical_is() {
        let canonical = [
            r#"{"":0,"a":[1,-20,{"b":"x y","c":{}}],"aa":true,"b":null,"path":"/src/a.rs","z":[]}"#,
            r#"[999999999999999,-999999999999999,"",[],{},false]"#,
            "0",
            "12",
            "\"a\"",
        ];
        for text in canonical {
            assert!(is_canonical(text) && form_of(text).as_deref() == Some(text), "{text}");
        }
        for text in [
            "{\"b\":1,\"a\":2}",
            "{\"a\":1,\"a\":2}",
            "[1, 2]",
            "-0",
            "1.0",
            "[1e3]",
            "1234567890123456",
            "\"\\n\"",
            "\"é\"",
        ] {
            assert!(!is_canonical(text), "{text}");
        }
        // Nothing near them is taken for what it is not.
        for text in canonical {
            for at in 0..=text.len() {
                for byte in (b' '..=b'~').map(char::from) {
                    let (before, after) = text.split_at(at);
                    let inserted = format!("{before}{byte}{after}");
                    let changed = after.get(1..).map(|after| format!("{before}{byte}{after}"));
                    let dropped = after.get(1..).map(|after| format!("{before}{after}"));
                    for near in [Some(inserted), changed, dropped].into_iter().flatten() {
                        let form = form_of(&near);
                        assert!(form.is_none() || !is_canonical(&near) || form == Some(near.clone()), "{near}");
                    }
                }
            }
        }
        assert!(!is_canonical(&format!("{}{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1))));
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
