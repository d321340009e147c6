//! The nearest right name to a wrong one.
//! It does not know what the names are of.

/// The candidate that is fewest edits away, when it is near enough to have been meant.
pub(crate) fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong_chars: Vec<char> = wrong.chars().flat_map(char::to_lowercase).take(65).collect();
    if wrong_chars.len() > 64 {
        return None;
    }
    let most = (wrong_chars.len() / 3).max(1);
    let mut best = None;
    for name in candidates {
        let chars: Vec<char> = name.chars().flat_map(char::to_lowercase).take(65).collect();
        if chars.len().abs_diff(wrong_chars.len()) > most && !last_part_is(name, wrong) {
            continue;
        }
        let edits = if last_part_is(name, wrong) { 1 } else { distance(&wrong_chars, &chars) };
        if edits <= most && best.is_none_or(|(least, _)| edits < least) {
            best = Some((edits, name));
        }
    }
    best.map(|(_, name)| name)
}

/// `git.log` for `log`.
fn last_part_is(name: &str, wrong: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, last)| last == wrong)
}

/// Edits (insert, delete, replace, swap of neighbours) from one to the other.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let mut edits = (last[j] + usize::from(a[i] != b[j])).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                edits = edits.min(before[j - 1] + 1);
            }
            row.push(edits);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant() {
        let names = ["git.log", "git.show", "count_lines", "read"];
        assert_eq!(nearest("git.lgo", names), Some("git.log"));
        assert_eq!(nearest("count_line", names), Some("count_lines"));
        assert_eq!(nearest("log", names), Some("git.log"));
        assert_eq!(nearest("Read", names), Some("read"));
        assert_eq!(nearest("banana", names), None);
        assert_eq!(nearest(&"x".repeat(1000), names), None);
    }
}
