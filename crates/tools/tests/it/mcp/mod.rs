//! MCP servers as toolboxes, against a server that is part of this test binary.
//! It does not know how connections are made.

mod calls;
mod liars;
mod listing;
mod server;
mod starts;
mod web;

use crate::world::{attempt, this_program};
use fanout_plan::{DeclaredToolbox, McpCommand, McpSource, McpText, McpTransport, ToolSource, ToolboxSpec};
use fanout_tools::{Opener, ProcessOptions, Progress, Tool, ToolResult, Toolbox};
use serde_json::Value;
use server::Manner;
use std::sync::Arc;

/// An opener with a directory of its own.
struct Place {
    opener: Opener,
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let guard = Some(this_program("killed::guard_program"));
        let options = ProcessOptions { guard, ..ProcessOptions::new(dir.path().join("spill")) };
        Place { opener: Opener::new(options), dir }
    }

    fn log(&self) -> String {
        self.dir.path().join("log").display().to_string()
    }

    fn logged(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The test server as a toolbox, after `change` was made to what is said of it.
    async fn open(
        &self,
        manner: Manner,
        change: impl FnOnce(&mut McpSource),
    ) -> Result<Toolbox, Vec<fanout_plan::Diagnostic>> {
        let mut source = source(&manner);
        change(&mut source);
        self.opener.open(declared("box", source)).await
    }
}

/// A toolbox of this name with such a server.
fn declared(name: &str, source: McpSource) -> DeclaredToolbox {
    let spec = ToolboxSpec { name: name.into(), ..ToolboxSpec::default() };
    DeclaredToolbox { spec, source: Some(ToolSource::Mcp(Box::new(source))), ..DeclaredToolbox::default() }
}

fn source(manner: &Manner) -> McpSource {
    let program = this_program("mcp::server::server_program");
    McpSource::new(McpTransport::Stdio(Box::new(McpCommand {
        command: McpText::literal(program.program.display().to_string()),
        args: program.args.into_iter().map(McpText::literal).collect(),
        pass: Vec::new(),
        set: manner.variables().into_iter().map(|(name, value)| (name, McpText::literal(value))).collect(),
        cwd: None,
        base_dir: "".into(),
    })))
}

/// The tool that the server calls so.
fn tool(toolbox: &Toolbox, name: &str) -> Arc<dyn Tool> {
    let at = toolbox.spec.tools.iter().position(|tool| *tool.name == *format!("box.{name}"));
    Arc::clone(&toolbox.tools[at.unwrap_or_else(|| panic!("there is no {name}"))])
}

async fn call(toolbox: &Toolbox, name: &str, args: Value) -> ToolResult {
    tool(toolbox, name).call(attempt(args, Progress::none()).0).await
}

async fn value(toolbox: &Toolbox, name: &str, args: Value) -> Value {
    serde_json::from_str(call(toolbox, name, args).await.unwrap().value.get()).unwrap()
}
