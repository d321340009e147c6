//! Messages of JSON-RPC as MCP uses it: read as far as they must be looked into, and written.
//! It does not know what any method means.

use fanout::JsonText;
use rmcp::model::ErrorCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;

/// A larger message is not read.
pub(super) const MESSAGE_BYTES_MAX: usize = 32 << 20;

/// The id of a request as its sender wrote it: a number or a string.
pub(super) type RpcId = Arc<str>;

/// A message of the client.
pub(super) enum Incoming {
    /// It wants an answer.
    Request(Request),
    /// It wants none.
    Notification {
        /// What it tells.
        method: String,
        /// What goes with it.
        params: Option<JsonText>,
    },
    /// It answers a question of ours.
    Response {
        /// The question.
        id: RpcId,
        /// The answer.
        answer: Result<JsonText, RpcError>,
    },
}

/// A request of the client.
pub(super) struct Request {
    pub(super) id: RpcId,
    pub(super) method: String,
    pub(super) params: Option<JsonText>,
}

/// An error of JSON-RPC.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RpcError {
    pub(super) code: i32,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<Value>,
}

impl RpcError {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> RpcError {
        RpcError { code: code.0, message: message.into(), data: None }
    }

    pub(super) fn params(message: impl Into<String>) -> RpcError {
        RpcError::new(ErrorCode::INVALID_PARAMS, message)
    }

    pub(super) fn no_method(method: &str) -> RpcError {
        RpcError::new(ErrorCode::METHOD_NOT_FOUND, format!("there is no method `{}` here", shown(method)))
    }

    pub(super) fn with_data(self, data: Value) -> RpcError {
        RpcError { data: Some(data), ..self }
    }
}

/// A text of the client's in a message to it: not all of it, when it is long.
pub(super) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    match text.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: Option<String>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<RpcError>,
}

/// Reads a message.
///
/// # Errors
/// What to answer where it cannot be read, with its id if that could be.
pub(super) fn read(text: &str) -> Result<Incoming, (Option<RpcId>, RpcError)> {
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            (None, RpcError::new(ErrorCode::INVALID_REQUEST, format!("this is no message of JSON-RPC: {error}")))
        }
        _ => (None, RpcError::new(ErrorCode::PARSE_ERROR, format!("this is not JSON: {error}"))),
    })?;
    let id = match envelope.id.map(RawValue::get) {
        None => None,
        Some(id) if id.starts_with('"') || id.parse::<f64>().is_ok() => Some(RpcId::from(id)),
        Some(_) => {
            let error = RpcError::new(ErrorCode::INVALID_REQUEST, "the id of a message is a number or a string");
            return Err((None, error));
        }
    };
    let params = envelope.params.filter(|params| params.get() != "null").map(|params| params.to_owned().into());
    match (id, envelope.method, envelope.result, envelope.error) {
        (Some(id), Some(method), ..) => Ok(Incoming::Request(Request { id, method, params })),
        (None, Some(method), ..) => Ok(Incoming::Notification { method, params }),
        (Some(id), None, Some(result), _) => Ok(Incoming::Response { id, answer: Ok(result.to_owned().into()) }),
        (Some(id), None, None, Some(error)) => Ok(Incoming::Response { id, answer: Err(error) }),
        (id, ..) => {
            Err((id, RpcError::new(ErrorCode::INVALID_REQUEST, "a message has a method, a result or an error")))
        }
    }
}

/// The answer to a request.
pub(super) fn answer(id: &str, answer: &Result<JsonText, RpcError>) -> String {
    match answer {
        Ok(result) => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{}}}"#, one_line(result.get())),
        Err(error) => refusal(Some(id), error),
    }
}

/// An error, of a request if it had an id that could be read.
pub(super) fn refusal(id: Option<&str>, error: &RpcError) -> String {
    json!({"jsonrpc": "2.0", "id": id.and_then(|id| serde_json::from_str::<Value>(id).ok()), "error": error})
        .to_string()
}

/// A request of ours.
pub(super) fn request(id: &str, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{},"params":{}}}"#, Value::from(method), one_line(params))
}

/// What wants no answer.
pub(super) fn notification(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":{},"params":{}}}"#, Value::from(method), one_line(params))
}

/// A value as text.
pub(super) fn text(value: &impl Serialize) -> JsonText {
    // Fails only for maps whose keys are no strings, which nothing here has.
    serde_json::value::to_raw_value(value).map_or_else(|_| RawValue::NULL.to_owned().into(), Arc::from)
}

/// Somebody else's JSON may be printed over several lines, and a line is a message. In JSON a line can only end
/// between tokens.
fn one_line(json: &str) -> std::borrow::Cow<'_, str> {
    if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], " ").into() } else { json.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        assert!(matches!(read(r#"{"id":1,"method":"ping"}"#), Ok(Incoming::Request(request)) if &*request.id == "1"));
        assert!(matches!(read(r#"{"method":"x","params":null}"#), Ok(Incoming::Notification { params: None, .. })));
        assert!(matches!(read(r#"{"id":"a","result":{}}"#), Ok(Incoming::Response { answer: Ok(_), .. })));
        assert!(matches!(read(r#"{"id":2,"error":{"code":-1}}"#), Ok(Incoming::Response { answer: Err(_), .. })));
    }

    #[test]
    fn what_is_no_message_is_answered() {
        let code = |text: &str| read(text).err().map(|(_, error)| error.code);
        assert_eq!(code("{"), Some(-32_700));
        assert_eq!(code("[]"), Some(-32_600));
        assert_eq!(code(r#"{"id":{},"method":"x"}"#), Some(-32_600));
        assert_eq!(code(r#"{"id":1}"#), Some(-32_600));
    }

    #[test]
    fn an_answer_is_one_line() {
        let result: JsonText = RawValue::from_string("{\"a\":\n\"\\n\"}".to_owned()).expect("JSON").into();
        assert_eq!(answer("7", &Ok(result)), r#"{"jsonrpc":"2.0","id":7,"result":{"a": "\n"}}"#);
        let error = RpcError::params("no");
        assert_eq!(
            answer("\"x\"", &Err(error)),
            r#"{"jsonrpc":"2.0","id":"x","error":{"code":-32602,"message":"no"}}"#
        );
    }
}
