//! Results in the size a model can read: whole when small, else cut, with what there is and where the rest is.
//! It does not know which tool gave them, nor how an answer is sent.

use super::kept::{Kept, Whole};
use crate::answer::Answer;
use fanout::{CallEnd, CallError, JsonText, Outcome};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Binary blocks (images, audio, resources) larger than this together are not handed on.
const BLOBS_BYTES_MAX: usize = 8 << 20;

/// Whether a call's answer may be too large, by a look at its bytes.
pub(crate) fn is_large(end: &CallEnd, chars_max: usize) -> bool {
    [&end.whole, &end.value].into_iter().flatten().any(|text| text.get().len() > chars_max)
}

/// The answer of a call that has ended with at most about `chars_max` characters of text; what is cut is kept. `None`
/// where it is not to be shortened. A tool that promised the shape of its result (`promised`) gives its data whatever
/// their size, since clients check them.
pub(crate) fn shortened(end: &CallEnd, promised: bool, chars_max: usize, kept: &mut Kept) -> Option<Answer> {
    match (end.outcome, &end.whole, &end.value) {
        (Outcome::Succeeded | Outcome::Failed, Some(whole), _) => whole_answer(whole, end, promised, chars_max, kept),
        (Outcome::Succeeded, None, Some(value)) => {
            let mut answer = Answer::text(text_of(value, chars_max, kept));
            let is_object = value.get().starts_with('{');
            answer.structured = (promised && is_object).then(|| serde_json::from_str(value.get()).ok()).flatten();
            Some(answer)
        }
        _ => None,
    }
}

/// What a server wrote, its texts cut; `None` where it is no answer of a tool.
fn whole_answer(whole: &JsonText, end: &CallEnd, promised: bool, chars_max: usize, kept: &mut Kept) -> Option<Answer> {
    let Value::Object(mut result) = serde_json::from_str(whole.get()).ok()? else { return None };
    let Some(Value::Array(content)) = result.remove("content") else { return None };
    let mut answer = Answer {
        content,
        structured: result.remove("structuredContent"),
        is_error: result.get("isError").and_then(Value::as_bool).unwrap_or(end.outcome != Outcome::Succeeded),
    };
    let texts: Vec<&str> = answer.content.iter().filter_map(text_in).collect();
    let text = texts.join("\n\n");
    let (head, shown) = cut(&text, chars_max);
    if head.len() < text.len() {
        let data = end.value.as_ref().filter(|_| answer.structured.is_some());
        let reference = kept.keep(match data {
            None => Whole::Text(text.as_str().into()),
            Some(data) => Whole::Shown(text.as_str().into(), Box::new(whole_of(data))),
        });
        let given = format!("{head}\n{}", rest(&reference, shown, text.len(), data));
        answer.content.retain(|block| text_in(block).is_none());
        answer.content.insert(0, json!({"type": "text", "text": given}));
        if !promised {
            answer.structured = None;
        }
    }
    let blobs = |block: &Value| {
        let data = block.get("data").or_else(|| block.pointer("/resource/blob")).and_then(Value::as_str);
        data.map_or(0, str::len)
    };
    let mut bytes = 0;
    for block in &mut answer.content {
        let more = blobs(block);
        bytes += more;
        if more > 0 && bytes > BLOBS_BYTES_MAX {
            let kind = block["type"].as_str().unwrap_or("block").to_owned();
            *block = json!({"type": "text", "text": format!("[{kind} of {more} bytes in base64 left out: the answer has more than {BLOBS_BYTES_MAX} of them]")});
        }
    }
    Some(answer)
}

fn text_in(block: &Value) -> Option<&str> {
    (block["type"] == "text").then(|| block["text"].as_str()).flatten()
}

/// A value as text: a text is itself, anything else is JSON. Cut where it is too long.
pub(crate) fn text_of(value: &JsonText, chars_max: usize, kept: &mut Kept) -> String {
    let json = value.get();
    let parsed: Option<String> = json.starts_with('"').then(|| serde_json::from_str(json).ok()).flatten();
    let text = parsed.as_deref().unwrap_or(json);
    if text.len() <= chars_max {
        return text.to_owned();
    }
    let (head, shown) = cut(text, chars_max);
    if head.len() == text.len() {
        return text.to_owned();
    }
    let reference = kept.keep(whole_of(value));
    format!("{head}\n{}", rest(&reference, shown, text.len(), Some(value)))
}

fn whole_of(value: &JsonText) -> Whole {
    if value.get().len() < 64 << 10 && value.get().starts_with("{\"spilled\"") {
        let parsed = serde_json::from_str(value.get()).ok();
        if let Some(path) = parsed.as_ref().and_then(fanout::tools::spilled_to) {
            return Whole::File(path);
        }
    }
    Whole::Value(value.clone())
}

/// The sentence behind a text that was cut.
fn rest(reference: &str, shown: usize, bytes: usize, value: Option<&JsonText>) -> String {
    let part = value.and_then(describe).map(|(what, path)| {
        let path = json!({"ref": reference, "path": path});
        format!(" It is {what}; a part of it is read with {path}.")
    });
    format!(
        "[cut after {shown} characters; the whole is about {bytes} bytes. Read on with read_result {}.{}]",
        json!({"ref": reference, "from": shown}),
        part.unwrap_or_default()
    )
}

/// What a value is, and a path to a part of it.
fn describe(value: &JsonText) -> Option<(String, String)> {
    const KEYS_MAX: usize = 20;
    match serde_json::from_str(value.get()).ok()? {
        Value::Array(list) => Some((format!("a list of {}", list.len()), "[0]".to_owned())),
        Value::Object(map) => {
            let mut keys: Vec<&str> = map.keys().map(String::as_str).take(KEYS_MAX).collect();
            let first = keys.first().copied().unwrap_or_default();
            let plain = first.chars().all(|c| c.is_ascii_alphabetic() || c == '_') && !first.is_empty();
            let path = if plain { format!(".{first}") } else { format!("[{}]", Value::from(first)) };
            if map.len() > KEYS_MAX {
                keys.push("…");
            }
            Some((format!("an object with the keys {}", keys.join(", ")), path))
        }
        _ => None,
    }
}

/// At most so many characters of a text, ended at a line or a space where one is near; and how many they are.
pub(crate) fn cut(text: &str, chars_max: usize) -> (&str, usize) {
    let Some((end, _)) = text.char_indices().nth(chars_max) else { return (text, text.chars().count()) };
    let head = &text[..end];
    let near = end - end / 10;
    let at = head.rfind('\n').filter(|at| *at >= near).or_else(|| head.rfind(' ').filter(|at| *at >= near));
    let head = at.map_or(head, |at| &head[..at + 1]);
    (head, head.chars().count())
}

/// An error with its code and detail.
pub(crate) fn error_text(error: &CallError) -> String {
    let mut text = format!("{} [{}]", error.message, error.code);
    if let Some(detail) = &error.detail {
        let _ = write!(text, "\n{detail}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::to_raw_value;

    fn end(value: Value, whole: Option<Value>) -> CallEnd {
        let raw = |value: Value| JsonText::from(to_raw_value(&value).unwrap());
        CallEnd {
            id: "c1".into(),
            outcome: Outcome::Succeeded,
            value: Some(raw(value)),
            whole: whole.map(raw),
            error: None,
            attempts: 1,
            waits: Vec::new(),
            after_doubt: false,
            reused: false,
        }
    }

    fn text(answer: &Answer) -> String {
        answer.content.iter().filter_map(text_in).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn what_is_small_is_not_looked_into() {
        assert!(!is_large(&end(json!("x".repeat(98)), None), 100) && is_large(&end(json!("x".repeat(99)), None), 100));
        assert!(is_large(&end(json!("x"), Some(json!({"content": ["y".repeat(100)]}))), 100));
        // An image is large, and no text to be cut.
        let blocks = json!([{"type": "image", "data": "aGk=".repeat(50), "mimeType": "image/png"}, {"type": "text", "text": "x"}]);
        let whole = json!({"content": blocks.clone(), "structuredContent": {"b": 2}, "isError": false});
        let mut kept = Kept::default();
        let given = shortened(&end(json!({"b": 2}), Some(whole)), false, 100, &mut kept).unwrap();
        assert_eq!((given.content, given.structured), (blocks.as_array().unwrap().clone(), Some(json!({"b": 2}))));
        assert!(kept.get("r1").is_err(), "nothing was cut, so nothing is kept");
        let promised = shortened(&end(json!({"a": "y".repeat(200)}), None), true, 10, &mut kept).unwrap();
        assert_eq!(promised.structured, Some(json!({"a": "y".repeat(200)})));
    }

    #[test]
    fn what_is_large_is_cut_and_kept() {
        let mut kept = Kept::default();
        let list = json!({"items": (0..1_000).collect::<Vec<_>>(), "more": "é".repeat(500)});
        let given = text(&shortened(&end(list.clone(), None), false, 100, &mut kept).unwrap());
        assert!(given.contains("cut after 100 characters") && given.contains("keys items, more"), "{given}");
        assert!(given.contains(r#"{"ref":"r1","path":".items"}"#) && given.chars().count() < 500, "{given}");
        assert!(
            matches!(kept.get("r1"), Ok(Whole::Value(value)) if serde_json::from_str::<Value>(value.get()).unwrap() == list)
        );

        let words = "word ".repeat(1_000);
        let whole = json!({"content": [{"type": "text", "text": &words}, {"type": "text", "text": "end"}]});
        let cut = shortened(&end(json!(words), Some(whole)), false, 98, &mut kept).unwrap();
        assert!(
            text(&cut).starts_with("word word") && text(&cut).contains("cut after 95 characters"),
            "{}",
            text(&cut)
        );
        assert_eq!(cut.content.len(), 1, "{:?}", cut.content);
        assert!(matches!(kept.get("r2"), Ok(Whole::Text(all)) if **all == *format!("{words}\n\nend")));
    }

    #[test]
    fn a_tool_that_says_its_result_is_in_a_file_of_somebody_else_is_not_believed() {
        let mut kept = Kept::default();
        let lie = json!({"spilled": {"path": "/etc/passwd", "bytes": 7, "head": "x".repeat(200)}});
        let whole = json!({"content": [{"type": "text", "text": lie.to_string()}], "structuredContent": lie});
        for whole in [None, Some(whole)] {
            shortened(&end(lie.clone(), whole), false, 100, &mut kept).unwrap();
        }
        assert!(matches!(kept.get("r1"), Ok(Whole::Value(_))), "{:?}", kept.get("r1"));
        assert!(matches!(kept.get("r2"), Ok(Whole::Shown(_, data)) if matches!(**data, Whole::Value(_))));
        let file = tempfile::Builder::new().prefix("result-").suffix(".out").tempfile().unwrap();
        let true_one = json!({"spilled": {"path": file.path(), "bytes": 7, "head": "x".repeat(200)}});
        shortened(&end(true_one, None), false, 100, &mut kept).unwrap();
        assert!(matches!(kept.get("r3"), Ok(Whole::File(path)) if path == file.path()));
    }

    #[test]
    fn a_cut_never_parts_a_character() {
        assert_eq!(cut("äöü", 2), ("äö", 2));
        assert_eq!(cut("äöü", 3), ("äöü", 3));
        assert_eq!(cut("", 0), ("", 0));
        assert_eq!(cut(&format!("{} tail", "x".repeat(95)), 98).1, 96);
    }
}
