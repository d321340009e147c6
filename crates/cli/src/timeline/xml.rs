//! Text from outside made harmless for SVG and HTML.
//! It does not know where it stands.

use crate::text;

/// The longest text that is drawn or told, in columns: an id may be ten thousand bytes long.
const COLUMNS_MAX: usize = 160;

/// One line of text as content or as a quoted attribute: nothing in it is markup, steers, or is forbidden in XML.
pub(crate) fn escape(text: &str) -> String {
    cut(text, COLUMNS_MAX)
}

/// As [`escape`], cut to so many columns.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    let mut out = String::new();
    for c in text::cut(&text::line(text), columns).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Not characters in XML, or without a shape of their own; the last is a change of direction.
            '\u{fffe}' | '\u{ffff}' | '\u{61c}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_is_markup_or_steers() {
        assert_eq!(escape("</title><script>\"&'"), "&lt;/title&gt;&lt;script&gt;&quot;&amp;&#39;");
        assert_eq!(escape("a\u{0}\u{1b}[2J\u{202e}\u{ffff}\n"), "a\\u{0}\\u{1b}[2J\\u{202e}\u{fffd}");
        assert_eq!(escape(&"x".repeat(10_000)).chars().count(), COLUMNS_MAX);
    }
}
