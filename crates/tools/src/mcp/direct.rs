//! Requests to a server on pipes without the library between (`Direct`): numbered, written down, handed to the writer.
//! It does not know who waits for their answers, nor how they are read.

use super::ledger::{Ledger, Slot};
use super::stdio::Line;
use crate::tool::{JsonText, Reached, ToolError};
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientJsonRpcMessage, ClientNotification, ClientRequest, GetMeta,
    InputResponses, NumberOrString, ProgressToken, RequestId, RequestMetaObject,
};
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// The numbers of requests begin here, far above those that the library gives: it still asks some things itself.
const FIRST_ID: u64 = 1_000_000_000;

/// Whether a request of this number is one that the library knows nothing of.
pub(super) fn is_direct(id: u64) -> bool {
    id >= FIRST_ID
}

/// What is asked of a server.
pub(super) enum Request {
    /// A tool is called.
    Call(Calling),
    /// Anything else, as the library has it.
    Other(Box<ClientRequest>),
}

/// A call of a tool.
#[derive(Clone)]
pub(super) struct Calling {
    pub(super) name: Arc<str>,
    /// An object.
    pub(super) args: JsonText,
    pub(super) input_responses: Option<InputResponses>,
    pub(super) request_state: Option<String>,
}

impl Request {
    /// As the library has it.
    ///
    /// # Errors
    /// `args_mismatch`: the arguments are no object.
    pub(super) fn typed(self) -> Result<ClientRequest, ToolError> {
        let Calling { name, args, input_responses, request_state } = match self {
            Request::Other(request) => return Ok(*request),
            Request::Call(calling) => calling,
        };
        let args = serde_json::from_str(args.get()).map_err(|error| not_an_object(&error.to_string()))?;
        let mut params = CallToolRequestParams::new(name.to_string());
        params.arguments = Some(args);
        (params.input_responses, params.request_state) = (input_responses, request_state);
        Ok(ClientRequest::CallToolRequest(CallToolRequest::new(params)))
    }
}

/// Arguments that no tool takes.
pub(super) fn not_an_object(why: &str) -> ToolError {
    ToolError::permanent(format!("the arguments are not a JSON object: {why}"))
        .code("args_mismatch")
        .reached(Reached::No)
}

/// The way to a server on pipes.
pub(super) struct Direct {
    /// Ends with the connection, which closes the pipe by that.
    lines: mpsc::WeakSender<Line>,
    next: AtomicU64,
}

/// A call as it is written.
#[derive(Serialize)]
struct Written<'a> {
    jsonrpc: &'static str,
    id: u64,
    method: &'static str,
    params: Params<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Params<'a> {
    #[serde(rename = "_meta")]
    meta: RequestMetaObject,
    name: &'a str,
    arguments: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_responses: Option<InputResponses>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_state: Option<String>,
}

impl Direct {
    pub(super) fn new(lines: mpsc::WeakSender<Line>) -> Direct {
        Direct { lines, next: AtomicU64::new(FIRST_ID) }
    }

    /// A request as a line, which the ledger knows of from now on, and its id.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn line(
        &self,
        request: Request,
        slot: &Arc<Slot>,
        ledger: &Ledger,
    ) -> Result<(RequestId, Line), ToolError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = NumberOrString::Number(i64::try_from(number).unwrap_or(i64::MAX));
        let mut meta = slot.caller.meta.clone().unwrap_or_default();
        meta.set_progress_token(ProgressToken(id.clone()));
        let mut bytes = match request {
            Request::Call(Calling { name, args, input_responses, request_state }) => {
                let args = one_line(&args);
                let params = Params { meta, name: &name, arguments: &args, input_responses, request_state };
                serde_json::to_vec(&Written { jsonrpc: "2.0", id: number, method: "tools/call", params })
            }
            Request::Other(mut request) => {
                request.get_meta_mut().extend(meta);
                serde_json::to_vec(&ClientJsonRpcMessage::request(*request, id.clone()))
            }
        }
        .map_err(|error| not_written(&error.to_string()))?;
        bytes.push(b'\n');
        ledger.enter(slot, number, Some(number));
        Ok((id, Line { bytes, slot: Some(Arc::clone(slot)) }))
    }

    /// Sends a line; whether the connection was still there.
    pub(super) async fn send(&self, line: Line) -> bool {
        match self.lines.upgrade() {
            Some(lines) => lines.send(line).await.is_ok(),
            None => false,
        }
    }

    /// Tells the server something, if it is still there.
    pub(super) async fn notify(&self, notification: ClientNotification) {
        if let Ok(mut bytes) = serde_json::to_vec(&ClientJsonRpcMessage::notification(notification)) {
            bytes.push(b'\n');
            self.send(Line { bytes, slot: None }).await;
        }
    }
}

fn not_written(why: &str) -> ToolError {
    ToolError::permanent(format!("the request cannot be written: {why}")).code("args_mismatch").reached(Reached::No)
}

/// A line is a message. In JSON a line can only end between tokens.
fn one_line(json: &JsonText) -> Cow<'_, RawValue> {
    if !json.get().contains(['\n', '\r']) {
        return Cow::Borrowed(json);
    }
    // What was JSON is JSON.
    RawValue::from_string(json.get().replace(['\n', '\r'], " ")).map_or(Cow::Borrowed(&**json), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Caller;
    use super::*;
    use serde_json::{Value, json};
    use tokio::sync::broadcast;

    #[test]
    fn a_call_is_one_line_with_its_arguments_as_they_are() {
        let (lines, _taken) = mpsc::channel(1);
        let direct = Direct::new(lines.downgrade());
        let ledger = Ledger::new(broadcast::channel(1).0, Arc::default());
        let args = RawValue::from_string("{\"b\": 1.50,\n \"a\": \"\\n\"}".to_owned()).unwrap();
        let calling = Calling { name: "t".into(), args: args.into(), input_responses: None, request_state: None };
        let slot = Slot::new(Caller::nobody("s"));
        let (id, line) = direct.line(Request::Call(calling), &slot, &ledger).unwrap();
        let text = String::from_utf8(line.bytes).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(text.contains(r#""arguments":{"b": 1.50,  "a": "\n"}"#), "{text}");
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&read["method"], &read["id"]), (&json!("tools/call"), &json!(FIRST_ID)));
        assert_eq!(read["params"]["_meta"], json!({"progressToken": FIRST_ID}));
        assert!(ledger.find(FIRST_ID).is_some() && id == NumberOrString::Number(1_000_000_000));
    }
}
