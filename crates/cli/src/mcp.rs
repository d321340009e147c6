//! `fanout mcp`: the tools of the toolbox files as one MCP server.
//! It does not know MCP; the crate `fanout-server` does.

use crate::args::{Expose, McpArgs};
use crate::follow::Signals;
use crate::load::{self, Refused};
use crate::text;
use fanout_server::Gateway;
use std::process::ExitCode;

/// What `fanout mcp --help` ends with.
pub(crate) const HELP: &str = r#"What to write where an agent names its MCP servers:
  {"mcpServers": {"fanout": {"command": "fanout", "args": ["mcp", "--tools", "/home/me/fanout.toml"]}}}

The agent sees all tools of the toolbox files. Calls that it sends at once run in parallel; those that touch the same
thing, by the tools' effects, keep the order in which they were sent. Limits, retries, caches and approvals are those
of the toolbox files; approvals are asked of the client where it can be asked.

Exit codes: 0 when the client has gone or the process was told to end (TERM, INT, HUP), 1 when standard input cannot be
read, 2 wrong usage, 3 a toolbox file that is not valid. Standard output is the protocol's; messages go to standard error."#;

/// Serves until the client is gone or a signal says to end.
pub(crate) async fn main(args: &McpArgs) -> Result<ExitCode, Refused> {
    let mut signals = Signals::listen()?;
    let engine = load::load_tools_within(&args.tools, &args.limits).await?;
    let expose = match args.expose {
        Expose::All => fanout_server::Expose::All,
        Expose::Find => fanout_server::Expose::Find,
    };
    let gateway = Gateway::new(engine, expose);
    let stop = async move { _ = signals.next().await };
    match gateway.serve(tokio::io::stdin(), tokio::io::stdout(), stop).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            text::say(&format!("error: standard input cannot be read: {error}\n"));
            Ok(ExitCode::from(crate::exit::FAILED))
        }
    }
}
