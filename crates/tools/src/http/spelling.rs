//! How others write a text that they were told: as it is, percent-encoded, escaped as in JSON or HTML, each character
//! in a way of its own. It does not know that the text is a secret.

use std::ops::Range;

/// Where a text was cut, so much of the beginning of what is looked for is no accident.
const CUT_BYTES_MIN: usize = 4;

/// What spellings that are not plain begin with.
const MARKS: [char; 4] = ['\\', '%', '&', '+'];

/// Where `wanted` stands first, however it is written.
pub(super) fn find(text: &str, wanted: &str) -> Option<Range<usize>> {
    seek(text, wanted, false)
}

/// The same, or where the text ends in the middle of it.
pub(super) fn find_cut(text: &str, wanted: &str) -> Option<Range<usize>> {
    seek(text, wanted, true)
}

fn seek(text: &str, wanted: &str, cut: bool) -> Option<Range<usize>> {
    let first = wanted.chars().next()?;
    let tail = if cut { text.len().saturating_sub(wanted.len()) } else { text.len() };
    // Most texts have nothing of it.
    if !text.contains(MARKS) && !text.contains(wanted) && text.get(tail..).is_some_and(|tail| !tail.contains(first)) {
        return None;
    }
    let may_begin = |c: char| c == first || MARKS.contains(&c);
    text.char_indices()
        .filter(|(_, c)| may_begin(*c))
        .find_map(|(at, _)| Some(at..at + written(&text[at..], wanted, cut)?))
}

/// How many bytes at the beginning of a text are `wanted`.
fn written(text: &str, wanted: &str, cut: bool) -> Option<usize> {
    // Where it can go on: a `\` may stand for itself, and two of them for one.
    let mut places = vec![0];
    for c in wanted.chars() {
        let mut next: Vec<usize> = Vec::new();
        for place in &places {
            next.extend(
                spellings(&text[*place..], c)
                    .map(|bytes| place + bytes)
                    .filter(|end| !next.contains(end))
                    .collect::<Vec<_>>(),
            );
        }
        if next.is_empty() {
            let breaks_off = |place: &usize| *place >= CUT_BYTES_MIN && is_begun(&text[*place..]);
            return (cut && places.iter().any(breaks_off)).then_some(text.len());
        }
        places = next;
    }
    places.into_iter().max()
}

/// How long each spelling of a character is that a text begins with.
fn spellings(text: &str, c: char) -> impl Iterator<Item = usize> {
    let plain = text.starts_with(c).then_some(c.len_utf8());
    let space = (c == ' ' && text.starts_with('+')).then_some(1);
    let escaped = match text.as_bytes().first() {
        Some(b'\\') => json(text, c),
        Some(b'%') => percent(text, c),
        Some(b'&') => html(text, c),
        _ => None,
    };
    [plain, space, escaped].into_iter().flatten()
}

/// RFC 8259, 7.
fn json(text: &str, c: char) -> Option<usize> {
    let short = match text.as_bytes().get(1)? {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        byte @ (b'"' | b'\\' | b'/' | b'\'') => char::from(*byte),
        _ => {
            let mut units = [0; 2];
            let units = c.encode_utf16(&mut units);
            let is_unit = |(at, unit): (usize, &u16)| {
                let digits = text.get(at * 6..at * 6 + 6)?.strip_prefix("\\u")?;
                (u16::from_str_radix(digits, 16).ok()? == *unit).then_some(())
            };
            return units.iter().enumerate().all(|unit| is_unit(unit).is_some()).then_some(units.len() * 6);
        }
    };
    (short == c).then_some(2)
}

/// RFC 3986, 2.1.
fn percent(text: &str, c: char) -> Option<usize> {
    let mut bytes = [0; 4];
    let bytes = c.encode_utf8(&mut bytes).as_bytes();
    let is_byte = |(at, byte): (usize, &u8)| {
        let digits = text.get(at * 3..at * 3 + 3)?.strip_prefix('%')?;
        (u8::from_str_radix(digits, 16).ok()? == *byte).then_some(())
    };
    bytes.iter().enumerate().all(|byte| is_byte(byte).is_some()).then_some(bytes.len() * 3)
}

/// The longest reference that is looked at: `&#x0010ffff;`.
const REFERENCE_BYTES_MAX: usize = 12;

fn html(text: &str, c: char) -> Option<usize> {
    let end = text.bytes().take(REFERENCE_BYTES_MAX).position(|byte| byte == b';')?;
    let meant = match &text[1..end] {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        number => {
            let number = number.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)?
        }
    };
    (meant == c).then_some(end + 1)
}

/// Whether a text ends before a spelling that it may have begun with does.
fn is_begun(text: &str) -> bool {
    match text.as_bytes().first() {
        None => true,
        Some(b'\\') => text.len() < 12,
        Some(b'%') => text.len() < 12,
        Some(b'&') => text.len() < REFERENCE_BYTES_MAX && !text.contains(';'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_however_each_character_is_written() {
        let wanted = "pä \"w'<&>+/\\%=😀";
        for text in [
            "pä \"w'<&>+/\\%=😀",
            r#"p\u00e4 \"w'<&>+\/\\%=\ud83d\ude00"#,
            r"p\u00E4\u0020\u0022w\u0027\u003C\u0026\u003E\u002B/\u005c\u0025=\uD83D\uDE00",
            "p%C3%A4%20%22w%27%3C%26%3E%2B%2F%5C%25%3D%F0%9F%98%80",
            "p%c3%a4+%22w%27%3c%26%3e%2b%2f%5c%25%3d%f0%9f%98%80",
            "p&#228; &quot;w&#39;&lt;&amp;&gt;+/\\%=&#x1F600;",
            "p&#xE4; &#34;w&apos;&lt;&amp;&gt;&#43;/\\%=😀",
        ] {
            let told = format!("a\\ {text} b");
            assert_eq!(find(&told, wanted), Some(3..3 + text.len()), "{text}");
        }
        for text in ["", "pä \"w'<&>+/%=😀", r"p\u00e5 \", "p%C3", "&;&#;&#x;&#x110000;%%%\\\\\\u", "pä"] {
            assert_eq!(find(text, wanted), None, "{text}");
        }
        assert_eq!(find("x\\\\\\\\y", "\\\\"), Some(1..5), "each of two, escaped");
        assert_eq!(find("x\\\\y", "\\\\"), Some(1..3), "both, as they are");
    }

    #[test]
    fn the_end_of_a_text_may_be_in_the_middle() {
        let wanted = "pa ss\"word+/=";
        for text in ["pa ss\"wor", "pa%20ss%22word%2", "pa s", "pa ss\\\"", "pa ss\\u002", "pa ss&quo"] {
            assert_eq!(find_cut(&format!("told: {text}"), wanted), Some(6..6 + text.len()), "{text}");
            assert_eq!(find(&format!("told: {text}"), wanted), None, "{text}");
        }
        for text in ["pa ", "pa ss\"wor.", "\\u00", "%20", "&amp"] {
            assert_eq!(find_cut(&format!("told: {text}"), wanted), None, "{text}");
        }
    }
}
