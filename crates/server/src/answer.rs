//! The answer to one request of a client (`Answer`), before it is put on a wire.
//! It does not know how an answer is sent, nor to whom.

use serde_json::Value;

/// What a tool gave, in MCP's terms but free of any library's types.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// MCP's content blocks, each as its JSON object.
    pub(crate) content: Vec<Value>,
    /// The same as data, where there is any.
    pub(crate) structured: Option<Value>,
    /// The tool says that it failed.
    pub(crate) is_error: bool,
}

impl Answer {
    /// One block of text.
    pub(crate) fn text(text: impl Into<String>) -> Answer {
        Answer { content: vec![serde_json::json!({"type": "text", "text": text.into()})], ..Answer::default() }
    }

    /// One block of text that says what went wrong and how to mend it.
    pub(crate) fn error(text: impl Into<String>) -> Answer {
        Answer { is_error: true, ..Answer::text(text) }
    }

    /// The same with hints, each a line of its own behind the rest.
    pub(crate) fn with_hints(mut self, hints: &[String]) -> Answer {
        for hint in hints {
            self.content.push(serde_json::json!({"type": "text", "text": format!("hint: {hint}")}));
        }
        self
    }
}
