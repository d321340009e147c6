//! From what a tool of a server answered to a result: structured content, or texts; what is no text goes to files.
//! It does not know how the answer came.

use super::ledger::owned;
use super::words::bad_answer;
use crate::process::output::{Output, ReadEnd, spill_failed};
use crate::tool::{JsonText, Reached, ToolError, ToolOutput};
use base64::Engine as _;
use fanout_plan::Stdout;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::path::Path;

/// How much of what a tool said of its failure is its message.
const MESSAGE_CHARS: usize = 1_000;
/// How much of it is kept.
const DETAIL_CHARS: usize = 16_000;

/// The result of `tools/call`, as far as it is looked into.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Called<'a> {
    #[serde(borrow, default)]
    pub(super) result_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    structured_content: Option<&'a RawValue>,
    #[serde(default)]
    is_error: Option<bool>,
    #[serde(borrow, default)]
    pub(super) input_requests: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) request_state: Option<String>,
    /// Of protocols before 2024-11-05.
    #[serde(borrow, default)]
    tool_result: Option<&'a RawValue>,
}

/// One piece of content.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    mime_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    resource: Option<&'a RawValue>,
}

/// What is in an embedded resource.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource<'a> {
    #[serde(borrow, default)]
    uri: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    blob: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    mime_type: Option<Cow<'a, str>>,
}

/// Where large results go, and how large they may be.
pub(super) struct Bounds<'a> {
    pub(super) inline_max: u64,
    pub(super) output_max: u64,
    pub(super) spill_dir: &'a Path,
}

/// Reads an answer as far as it must be known what kind it is.
///
/// # Errors
/// `mcp_bad_answer`.
pub(super) fn read<'a>(server: &str, text: &'a JsonText) -> Result<Called<'a>, ToolError> {
    serde_json::from_str(text.get()).map_err(|error| bad_answer(server, &error.to_string()))
}

/// The result of a call that is complete.
///
/// # Errors
/// `mcp_tool_error`: the tool said that it failed; `mcp_bad_answer`; `output_too_large`, `spill_failed`.
pub(super) fn result(
    server: &str,
    tool: &str,
    whole: &JsonText,
    called: &Called<'_>,
    bounds: &Bounds<'_>,
) -> Result<ToolOutput, ToolError> {
    if called.is_error == Some(true) {
        return Err(failed(tool, called).whole(whole.clone()));
    }
    let value = match (called.structured_content.filter(|value| value.get() != "null"), called.tool_result) {
        (Some(value), _) | (None, Some(value)) => bounds.json(value)?,
        (None, None) => content(server, called, bounds)?,
    };
    Ok(ToolOutput { whole: Some(whole.clone()), ..ToolOutput::new(value) })
}

/// One piece gives what it is, several a list.
fn content(server: &str, called: &Called<'_>, bounds: &Bounds<'_>) -> Result<JsonText, ToolError> {
    let blocks = called.content.as_deref().unwrap_or_default();
    let one = |raw: &RawValue| -> Result<JsonText, ToolError> {
        let block: Block<'_> =
            serde_json::from_str(raw.get()).map_err(|error| bad_answer(server, &error.to_string()))?;
        match (&*block.kind, &block.text, &block.data, block.resource) {
            ("text", Some(text), ..) => bounds.text(text),
            ("image" | "audio", _, Some(data), _) => bounds.file(
                server,
                data,
                block.mime_type.as_deref(),
                Map::from_iter([("type".into(), (*block.kind).into())]),
            ),
            ("resource", .., Some(resource)) => embedded(server, resource, bounds),
            // Links to resources, and kinds that are not known here, are what they are.
            _ => bounds.json(raw),
        }
    };
    match blocks {
        [] => Ok(owned(RawValue::NULL)),
        [block] => one(block),
        several => {
            let values = several.iter().map(|block| one(block)).collect::<Result<Vec<_>, _>>()?;
            Ok(serde_json::value::to_raw_value(&values)?.into())
        }
    }
}

fn embedded(server: &str, resource: &RawValue, bounds: &Bounds<'_>) -> Result<JsonText, ToolError> {
    let Resource { uri, text, blob, mime_type } =
        serde_json::from_str(resource.get()).map_err(|error| bad_answer(server, &error.to_string()))?;
    let mut said = Map::from_iter([("type".to_owned(), "resource".into()), ("uri".to_owned(), (*uri).into())]);
    if let Some(blob) = blob {
        return bounds.file(server, &blob, mime_type.as_deref(), said);
    }
    said.extend(mime_type.map(|kind| ("content_type".to_owned(), Value::from(&*kind))));
    let text: Value = serde_json::from_str(bounds.text(text.as_deref().unwrap_or_default())?.get())?;
    match text {
        Value::Object(spilled) => said.extend(spilled),
        text => _ = said.insert("text".into(), text),
    }
    Ok(serde_json::value::to_raw_value(&said)?.into())
}

/// A failure that the tool told.
fn failed(tool: &str, called: &Called<'_>) -> ToolError {
    let blocks = called.content.iter().flatten();
    let texts: Vec<String> =
        blocks.filter_map(|raw| serde_json::from_str::<Block<'_>>(raw.get()).ok()?.text.map(Cow::into_owned)).collect();
    let mut text = texts.join("\n");
    if text.is_empty() {
        text =
            called.structured_content.map_or_else(|| "it did not say why".to_owned(), |value| value.get().to_owned());
    }
    let message = format!("`{tool}` failed: {}", super::shown(text.trim(), MESSAGE_CHARS));
    let detail = if text.chars().count() > MESSAGE_CHARS { super::shown(&text, DETAIL_CHARS) } else { String::new() };
    ToolError::permanent(message).code("mcp_tool_error").reached(Reached::Yes).detail(detail)
}

impl Bounds<'_> {
    fn output(&self) -> Output {
        Output::of("the result", self.inline_max, self.output_max, self.spill_dir)
    }

    /// A value, in a file when it is large.
    fn json(&self, value: &RawValue) -> Result<JsonText, ToolError> {
        if value.get().len() as u64 <= self.inline_max {
            return Ok(owned(value));
        }
        self.push(value.get().as_bytes())?.result(Stdout::Json)
    }

    /// A text, in a file when it is large.
    fn text(&self, text: &str) -> Result<JsonText, ToolError> {
        self.push(text.as_bytes())?.result(Stdout::Text)
    }

    /// A file with what is base64 here, and what is said of it.
    fn file(
        &self,
        server: &str,
        base64: &str,
        content_type: Option<&str>,
        mut said: Map<String, Value>,
    ) -> Result<JsonText, ToolError> {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(base64)
            .map_err(|error| bad_answer(server, &format!("what should be base64 is not: {error}")))?;
        let file = self.push(&bytes)?.into_file()?;
        let mut value: Map<String, Value> = serde_json::from_str(file.get())?;
        if let Some(Value::Object(spilled)) = value.get_mut("spilled") {
            // Nobody reads the beginning of an image.
            spilled.shift_remove("head");
            spilled.extend(content_type.map(|kind| ("content_type".to_owned(), Value::from(kind))));
        }
        said.extend(value);
        Ok(serde_json::value::to_raw_value(&said)?.into())
    }

    fn push(&self, bytes: &[u8]) -> Result<Output, ToolError> {
        let mut output = self.output();
        output.push(bytes).map_err(|end| match end {
            ReadEnd::TooLarge => super::words::too_large(bytes.len() as u64),
            ReadEnd::Spill(error) => spill_failed(self.spill_dir, &error),
        })?;
        Ok(output)
    }
}
