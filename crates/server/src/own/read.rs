//! `read_result`: a part of a result that was cut, by path or by range.
//! It does not know what gave the result.

use super::kept::{Absent, Kept, Whole};
use super::large;
use crate::answer::Answer;
use fanout::JsonText;
use serde_json::Value;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// At most this much of a file is looked into for a path.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// What is to be read.
pub(super) struct Part {
    pub(super) reference: String,
    pub(super) path: Option<String>,
    pub(super) from: usize,
    pub(super) to: Option<usize>,
}

impl Part {
    /// Reads the arguments; a wrong one is said.
    pub(super) fn of(args: &serde_json::Map<String, Value>) -> Result<Part, String> {
        let text = |name: &str| match args.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(format!("`{name}` is to be a text, not {other}")),
        };
        let count = |name: &str| match args.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
                count.map(Some).ok_or_else(|| format!("`{name}` is to be a number of characters, not {value}"))
            }
        };
        let reference =
            text("ref")?.ok_or("`ref` is missing: the reference stands where the result was cut, such as r4")?;
        let path = text("path")?.filter(|path| !path.is_empty());
        // Models write paths with and without their beginning.
        let path = path.map(|path| match path.strip_prefix('$') {
            Some(rest) => rest.to_owned(),
            None if path.starts_with(['.', '[']) => path,
            None => format!(".{path}"),
        });
        Ok(Part { reference, path, from: count("from")?.unwrap_or(0), to: count("to")? })
    }
}

/// Reads the part. Blocks where it is of a file.
pub(super) fn read(part: &Part, whole: &Whole, chars_max: usize, kept: &Mutex<Kept>) -> Answer {
    let text = match (&part.path, whole) {
        (Some(path), whole) => match at_path(whole, path) {
            // A part that is too large itself gets a reference of its own.
            Ok(value) if part.from == 0 && part.to.is_none() => {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                return Answer::text(large::text_of(&value, chars_max, &mut kept));
            }
            Ok(value) => plain(&value),
            Err(wrong) => return Answer::error(format!("`{path}`: {wrong}")),
        },
        (None, Whole::Value(value)) => plain(value),
        (None, Whole::Text(text) | Whole::Shown(text, _)) => text.to_string(),
        (None, Whole::File(path)) => match file_text(path) {
            Ok(text) => text,
            Err(wrong) => return Answer::error(wrong),
        },
    };
    range(&text, part, chars_max)
}

/// Why a reference cannot be read.
pub(super) fn absent(reference: &str, why: &Absent) -> Answer {
    Answer::error(match why {
        Absent::Gone => {
            format!("`{reference}` is not kept any more: newer results took its place. Call the tool again.")
        }
        Absent::Unknown => format!(
            "there is no result `{reference}`: references look like r4 and stand where a result was cut, in this session"
        ),
    })
}

fn range(text: &str, part: &Part, chars_max: usize) -> Answer {
    let total = text.chars().count();
    if part.from >= total && total > 0 {
        return Answer::error(format!("`from` is {}, but there are only {total} characters", part.from));
    }
    let start = text.char_indices().nth(part.from).map_or(text.len(), |(at, _)| at);
    let wanted = part.to.map_or(usize::MAX, |to| to.saturating_sub(part.from));
    if wanted <= chars_max {
        let end = text[start..].char_indices().nth(wanted).map_or(text.len(), |(at, _)| start + at);
        return Answer::text(&text[start..end]);
    }
    let (head, shown) = large::cut(&text[start..], chars_max);
    let next = part.from + shown;
    if next >= total {
        return Answer::text(head);
    }
    Answer::text(format!("{head}\n[characters {} to {next} of {total}; go on with \"from\": {next}]", part.from))
}

fn at_path(whole: &Whole, path: &str) -> Result<JsonText, String> {
    let not_json =
        |error: serde_json::Error| format!("the result is a text that is no JSON ({error}); read it by range");
    let value: Value = match whole {
        Whole::Value(value) => {
            let value: Value = serde_json::from_str(value.get()).map_err(not_json)?;
            // A server without structured results writes its JSON as text.
            match value {
                Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
                value => value,
            }
        }
        Whole::Text(text) => serde_json::from_str(text).map_err(not_json)?,
        // What was shown may look like data too.
        Whole::Shown(text, data) => {
            let shown = || at_path(&Whole::Text(text.clone()), path);
            return at_path(data, path).or_else(|wrong| shown().map_err(|_| wrong));
        }
        Whole::File(path) => serde_json::from_str(&file_text(path)?).map_err(not_json)?,
    };
    let found = fanout_plan::at_path(&value, path)?;
    Ok(serde_json::value::to_raw_value(&found).map_err(not_json)?.into())
}

fn plain(value: &JsonText) -> String {
    let text = value.get();
    text.starts_with('"').then(|| serde_json::from_str(text).ok()).flatten().unwrap_or_else(|| text.to_owned())
}

fn file_text(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
    read.map_err(|error| format!("the file of this result cannot be read: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::Write as _;

    fn given(whole: &Whole, args: Value) -> String {
        let part = Part::of(args.as_object().unwrap()).unwrap();
        let answer = read(&part, whole, 20, &Mutex::default());
        format!("{}{}", if answer.is_error { "! " } else { "" }, answer.content[0]["text"].as_str().unwrap())
    }

    #[test]
    fn by_path_and_by_range() {
        let value = json!({"items": [{"n": "a"}, {"n": "bé"}], "long": "x".repeat(50)});
        let raw: JsonText = serde_json::value::to_raw_value(&value).unwrap().into();
        let whole = Whole::Value(raw);
        assert_eq!(given(&whole, json!({"ref": "r1", "path": ".items[1].n"})), "bé");
        assert_eq!(given(&whole, json!({"ref": "r1", "path": "$.items[*].n"})), "[\"a\",\"bé\"]");
        assert_eq!(given(&whole, json!({"ref": "r1", "path": "items[0]"})), "{\"n\":\"a\"}");
        assert!(
            given(&whole, json!({"ref": "r1", "path": ".item"})).contains("! `.item`: result is an object with keys")
        );
        assert!(given(&whole, json!({"ref": "r1", "path": ".items["})).starts_with("! "));
        assert!(given(&whole, json!({"ref": "r1", "path": ".long"})).contains("cut after 20"));
        assert_eq!(given(&whole, json!({"ref": "r1", "from": 2, "to": 7})), "items");
        let text = Whole::Text("äöü and the rest of it".into());
        assert_eq!(given(&text, json!({"ref": "r1", "from": 1, "to": 3})), "öü");
        assert!(given(&text, json!({"ref": "r1"})).contains("[characters 0 to 20 of 22; go on with \"from\": 20]"));
        assert_eq!(given(&text, json!({"ref": "r1", "from": 20})), "it");
        assert!(given(&text, json!({"ref": "r1", "from": 22})).starts_with("! `from` is 22"));
        assert!(given(&text, json!({"ref": "r1", "path": ".a"})).starts_with("! `.a`: the result is a text"));
    }

    #[test]
    fn what_was_shown_is_read_on_where_it_was_cut_and_its_data_by_path() {
        let data = json!({"content": "[1, 2]\nand so on", "size": 2});
        let raw = Box::new(Whole::Value(serde_json::value::to_raw_value(&data).unwrap().into()));
        let whole = Whole::Shown("[1, 2]\nand so on".into(), raw.clone());
        assert_eq!(given(&whole, json!({"ref": "r1", "from": 7, "to": 10})), "and");
        assert_eq!(given(&whole, json!({"ref": "r1", "path": ".size"})), "2");
        assert!(given(&whole, json!({"ref": "r1", "path": "[0]"})).starts_with("! `[0]`: result is an object"));
        assert_eq!(given(&Whole::Shown("[7, 8]".into(), raw), json!({"ref": "r1", "path": "[1]"})), "8");
    }

    #[test]
    fn a_file_is_read_through_its_reference_only() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"{\"a\": [1, 2]}").unwrap();
        let whole = Whole::File(file.path().to_owned());
        assert_eq!(given(&whole, json!({"ref": "r1", "path": ".a[1]"})), "2");
        assert_eq!(given(&whole, json!({"ref": "r1"})), "{\"a\": [1, 2]}");
        file.close().unwrap();
        assert!(given(&whole, json!({"ref": "r1"})).contains("cannot be read"));
        assert!(Part::of(json!({"path": "/etc/passwd"}).as_object().unwrap()).is_err());
    }
}
