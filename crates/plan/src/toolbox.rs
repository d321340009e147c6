//! Toolboxes as files declare them (`DeclaredToolbox`): what their tools are, and how each is called.
//! It does not know how a process is started or a request is sent.

use crate::diagnostic::Diagnostic;
use crate::http_spec::HttpSpec;
use crate::mcp_spec::McpSource;
use crate::openapi::OpenApiSource;
use crate::process_spec::ProcessSpec;
use crate::spec::{ToolKind, ToolboxSpec};
use serde::{Deserialize, Serialize};

/// A toolbox as a file declares it.
#[derive(Clone, Debug, Default)]
pub struct DeclaredToolbox {
    /// What its tools are.
    pub spec: ToolboxSpec,
    /// How each is called, in the order of `spec.tools`.
    pub adapters: Vec<AdapterSpec>,
    /// Where its tools come from, when they are not in the file: `spec` and `adapters` are then filled by it.
    pub source: Option<ToolSource>,
}

/// Where the tools of a toolbox come from.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolSource {
    /// From an OpenAPI document.
    OpenApi(Box<OpenApiSource>),
    /// From an MCP server.
    Mcp(Box<McpSource>),
}

/// How a tool is called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterSpec {
    /// As a program.
    Process(Box<ProcessSpec>),
    /// By a request.
    Http(Box<HttpSpec>),
}

impl AdapterSpec {
    /// The kind of tool it makes.
    pub fn kind(&self) -> ToolKind {
        match self {
            AdapterSpec::Process(_) => ToolKind::Process,
            AdapterSpec::Http(_) => ToolKind::Http,
        }
    }
}

/// Reads a toolbox file (`fanout.toml`): the toolbox `local` of its `[tools.NAME]`, and each `[toolbox.NAME]`.
/// Relative directories in it are relative to the directory in `file_name`. A JSON file may also be one in which other
/// programs configure MCP servers (`mcpServers`, or `servers`): each is a toolbox then.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub fn read_toolbox(file_name: &str, bytes: &[u8]) -> Result<Vec<DeclaredToolbox>, Vec<Diagnostic>> {
    crate::toolbox_read::read(file_name, bytes)
}
