//! `fanout explain`: the pages of docs/errors, which are inside the binary.
//! It does not know where the codes come from.

use crate::text;
use std::process::ExitCode;

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Prints the page of a code, or the list of all codes.
pub(crate) fn main(code: Option<&str>) -> ExitCode {
    let Some(code) = code else {
        let widest = PAGES.iter().map(|(code, _)| code.len()).max().unwrap_or(0);
        for (code, page) in PAGES {
            text::print(&format!("{code:widest$}  {}\n", summary(page)));
        }
        return ExitCode::SUCCESS;
    };
    let code = code.trim_matches(|c| c == '[' || c == ']' || c == '`');
    match PAGES.iter().find(|(name, _)| *name == code) {
        Some((_, page)) => {
            text::print(page);
            ExitCode::SUCCESS
        }
        None => {
            let nearest = PAGES.iter().map(|(name, _)| *name).min_by_key(|name| distance(name, code));
            let near = nearest.filter(|name| distance(name, code) <= code.len() / 3);
            let help =
                near.map_or("`fanout explain` lists them all".to_owned(), |name| format!("the nearest is `{name}`"));
            text::say(&format!("error: no error has the code `{}`; {help}\n", text::line(code)));
            ExitCode::from(crate::exit::USAGE)
        }
    }
}

/// Whether there is a page for this code.
pub(crate) fn has_page(code: &str) -> bool {
    PAGES.iter().any(|(name, _)| *name == code)
}

/// The first line of a page behind its title.
fn summary(page: &str) -> &str {
    page.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or("")
}

/// How many letters have to be changed, put in or taken out to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let change = before + usize::from(x != y);
            before = row[j + 1];
            row[j + 1] = change.min(before + 1).min(row[j] + 1);
        }
    }
    row[row.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_of_words() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
