//! Lays out JSON text anew, compact or indented, without touching its values: numbers keep every digit.
//! It does not know what the values mean.

/// One line, as it is handed to programs.
pub(crate) fn compact(text: &str) -> String {
    layout(text, false)
}

/// Indented for people. Characters that could steer a terminal are written as `\u…`, which is the same value.
pub(crate) fn pretty(text: &str) -> String {
    layout(text, true)
}

fn layout(text: &str, indented: bool) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    let mut depth = 0usize;
    let mut chars = text.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        if indented {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", depth));
        }
    };
    while let Some(c) = chars.next() {
        match c {
            '"' => string(&mut out, &mut chars, indented),
            ' ' | '\n' | '\t' | '\r' => {}
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                match chars.next_if(|c| matches!(c, '}' | ']')) {
                    Some(close) => out.push(close),
                    None => {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(if indented { ": " } else { ":" }),
            c => out.push(c),
        }
    }
    out
}

/// Copies a string whose opening quote was taken.
fn string(out: &mut String, chars: &mut std::iter::Peekable<std::str::Chars<'_>>, for_people: bool) {
    out.push('"');
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                out.push(c);
                out.extend(chars.next());
            }
            '"' => {
                out.push(c);
                return;
            }
            c if for_people && crate::text::steers(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_untouched() {
        let text = r#" { "a" : [ 1.0 , 12345678901234567890123 , "x \" : { , y" ] , "b":{ }, "c" : [ ] } "#;
        assert_eq!(compact(text), r#"{"a":[1.0,12345678901234567890123,"x \" : { , y"],"b":{},"c":[]}"#);
        expect_test::expect![[r#"
            {
              "a": [
                1.0,
                12345678901234567890123,
                "x \" : { , y"
              ],
              "b": {},
              "c": []
            }"#]]
        .assert_eq(&pretty(text));
    }

    #[test]
    fn terminals_are_not_steered() {
        assert_eq!(pretty("\"a\u{9b}31m\u{202e}\u{7f}\""), r#""a\u009b31m\u202e\u007f""#);
        assert_eq!(compact("\"\u{9b}\""), "\"\u{9b}\"");
    }
}
