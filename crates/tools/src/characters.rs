//! Escapes in JSON that are half a character: JavaScript cuts texts between the halves of one, and most readers of JSON
//! refuse what is left. It does not know what the JSON means.

/// What stands in the place of a half, as long as it.
const REPLACEMENT: &str = "\\ufffd";

/// JSON in which every escaped character is a whole one; `None` where that is so already.
pub(crate) fn mended(json: &str) -> Option<String> {
    // Much JSON escapes nothing, which is seen quickest, and hardly any has one of these.
    if !json.contains('\\') || (!json.contains("\\ud") && !json.contains("\\uD")) {
        return None;
    }
    let halves = halves(json.as_bytes());
    if halves.is_empty() {
        return None;
    }
    let (mut mended, mut from) = (String::with_capacity(json.len()), 0);
    for at in halves {
        mended.push_str(&json[from..at]);
        mended.push_str(REPLACEMENT);
        from = at + REPLACEMENT.len();
    }
    mended.push_str(&json[from..]);
    Some(mended)
}

/// Where the halves stand.
fn halves(json: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(skip) = json[at..].iter().position(|byte| *byte == b'\\') {
        at += skip;
        let length = match unit(&json[at..]) {
            Some(0xd800..=0xdbff) if matches!(unit(&json[at + 6..]), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => {
                found.push(at);
                6
            }
            Some(_) => 6,
            // A `\` that is itself escaped begins nothing.
            None => 2,
        };
        at = (at + length).min(json.len());
    }
    found
}

/// The unit of UTF-16 that an escape at the beginning of the text stands for.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    // A sign is no digit.
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::mended;

    #[test]
    fn halves_are_replaced_and_nothing_else() {
        for (json, expected) in [
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""a\ud83d""#, r#""a\ufffd""#),
            (r#""\ud83d\ud83d\ude00\ude00""#, r#""\ufffd\ud83d\ude00\ufffd""#),
            (r#""\uDE00\n\uD83D\u0041""#, r#""\ufffd\n\ufffd\u0041""#),
            (r#""\\ud83d \\\ud83d""#, r#""\\ud83d \\\ufffd""#),
            (r#"{"\ud800": "é\udfff"}"#, r#"{"\ufffd": "é\ufffd"}"#),
            // What is no JSON stays so.
            (r#""\ud8"#, r#""\ud8"#),
            (r#""\ud83d\"#, r#""\ufffd\"#),
            (r#""\u+d83 \udzzz""#, r#""\u+d83 \udzzz""#),
        ] {
            assert_eq!(mended(json).as_deref().unwrap_or(json), expected);
        }
    }
}
