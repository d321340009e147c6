//! What goes wrong with servers, in words, and texts that are filled in without telling the secrets in them.
//! It does not know connections.

use super::ledger::RpcError;
use crate::http::{Known, read_secret};
use crate::tool::{ErrorClass, Reached, ToolError};
use fanout_plan::{McpInput, McpPiece, McpText};
use rmcp::model::ErrorCode;
use secrecy::{ExposeSecret, SecretString};
use std::path::Path;

/// How much of what goes along with an error is kept.
const DATA_BYTES_MAX: usize = 64 << 10;

/// Fills in texts, and knows the secrets that it put there.
#[derive(Default)]
pub(super) struct Texts(Known);

impl Texts {
    /// A text, filled in.
    ///
    /// # Errors
    /// `secret_missing`; nothing was reached.
    pub(super) async fn fill(&mut self, text: &McpText) -> Result<String, ToolError> {
        let mut filled = String::new();
        for piece in &text.0 {
            match piece {
                McpPiece::Text(text) => filled.push_str(text),
                McpPiece::Secret(name) => {
                    let secret = read_secret(name).await?;
                    self.0.note(&secret);
                    filled.push_str(secret.expose_secret());
                }
                McpPiece::Directory(path) => {
                    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
                    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
                    filled.push_str(&path.to_string_lossy());
                }
                McpPiece::Variable(name, default) => match (std::env::var(name), default) {
                    (Ok(value), _) => {
                        // It may be a secret, or nothing of the kind: what is short or a path is left readable.
                        if value.len() >= 16 && !value.contains(['/', ' ']) {
                            self.0.note(&SecretString::from(value.as_str()));
                        }
                        filled.push_str(&value);
                    }
                    (Err(_), Some(default)) => filled.push_str(default),
                    (Err(_), None) => {
                        let message = format!("there is no variable `{name}`, which `{}` is made from", text.shown());
                        return Err(ToolError::permanent(message).code("secret_missing").reached(Reached::No));
                    }
                },
                McpPiece::Input(input) => filled.push_str(&self.input(input)?),
            }
        }
        Ok(filled)
    }

    /// What a person would be asked for by VS Code.
    fn input(&mut self, input: &McpInput) -> Result<String, ToolError> {
        let variable = input.variable();
        let value = std::env::var(&variable).ok().or_else(|| input.default.clone());
        let value = value.ok_or_else(|| {
            let about = input.about.as_ref().map(|about| format!(" ({})", super::shown(about, 200)));
            let message = format!(
                "`${{input:{}}}`{} is what VS Code asks for; here the variable `{variable}` says it, and there is none",
                super::shown(&input.id, 100),
                about.unwrap_or_default()
            );
            ToolError::permanent(message).code("secret_missing").reached(Reached::No)
        })?;
        if input.secret && !value.is_empty() {
            self.0.note(&SecretString::from(value.as_str()));
        }
        Ok(value)
    }

    /// A text without the secrets.
    pub(super) fn strike(&self, text: String) -> String {
        self.0.strike(text)
    }

    /// The secrets it knows.
    pub(super) fn known(&self) -> Known {
        self.0.clone()
    }

    /// An error without the secrets.
    pub(super) fn strike_error(&self, error: ToolError) -> ToolError {
        self.0.strike_error(error)
    }
}

/// A server that could not be started, or not be greeted.
pub(super) fn not_started(name: &str, why: &str, passing: bool) -> ToolError {
    let message = format!("the MCP server `{}` was not started: {why}", super::shown(name, 120));
    let error = if passing { ToolError::transient(message) } else { ToolError::permanent(message) };
    error.code("mcp_not_started").reached(Reached::No)
}

/// An answer over the bound.
pub(super) fn too_large(bytes: u64) -> ToolError {
    let message = format!(
        "the server answered with {bytes} bytes, more than `output_max`, and they were not kept; raise `output_max` or \
         ask for less"
    );
    ToolError::permanent(message).code("output_too_large").reached(Reached::Unknown)
}

/// A connection that ended before an answer came.
pub(super) fn lost(server: &str, how: &str, detail: &str, reached: Reached) -> ToolError {
    let message = match reached {
        Reached::No => format!("the MCP server `{server}` ended before it was asked: {how}"),
        _ => format!("the MCP server `{server}` was lost before it answered: {how}"),
    };
    ToolError::transient(message).code("mcp_lost").reached(reached).detail(detail)
}

/// An answer that is not as the protocol has it.
pub(super) fn bad_answer(server: &str, why: &str) -> ToolError {
    let message = format!("the MCP server `{server}` answered what is not its protocol: {why}");
    ToolError::permanent(message).code("mcp_bad_answer").reached(Reached::Unknown)
}

/// An error of the protocol.
pub(super) fn refused(server: &str, error: &RpcError) -> ToolError {
    let (class, reached) = class(error.code);
    let message = format!("the MCP server `{server}` answered with error {}: {}", error.code, error.message);
    // As it came, for a face that hands it on.
    let mut whole = serde_json::json!({"code": error.code, "message": error.message});
    if let Some(data) = error.data.as_ref().filter(|data| data.get().len() <= DATA_BYTES_MAX) {
        whole["data"] = serde_json::from_str(data.get()).unwrap_or_default();
    }
    let detail = error.data.as_ref().map(|data| super::shown(data.get(), 8_000)).unwrap_or_default();
    let refused =
        ToolError { class, ..ToolError::permanent(message) }.code("mcp_error").reached(reached).detail(detail);
    match serde_json::value::to_raw_value(&whole) {
        Ok(whole) => refused.whole(whole.into()),
        Err(_) => refused,
    }
}

/// What an error of the protocol says of the request.
fn class(code: i64) -> (ErrorClass, Reached) {
    let known = i32::try_from(code).map(ErrorCode);
    match known {
        // It was read and put down: nothing was done.
        Ok(
            ErrorCode::PARSE_ERROR
            | ErrorCode::INVALID_REQUEST
            | ErrorCode::METHOD_NOT_FOUND
            | ErrorCode::INVALID_PARAMS
            | ErrorCode::UNSUPPORTED_PROTOCOL_VERSION
            | ErrorCode::MISSING_REQUIRED_CLIENT_CAPABILITY
            | ErrorCode::HEADER_MISMATCH,
        ) => (ErrorClass::Permanent, Reached::No),
        // Something broke in the middle.
        Ok(ErrorCode::INTERNAL_ERROR) => (ErrorClass::Transient, Reached::Unknown),
        // The range that servers and their libraries use for what befalls them: closed, timed out, overloaded.
        Ok(ErrorCode(-32_099..=-32_000)) => (ErrorClass::Permanent, Reached::Unknown),
        // The tool's own.
        _ => (ErrorClass::Permanent, Reached::Yes),
    }
}
