//! `fanout mcp`: the tools of the toolbox files as one MCP server.
//! It does not know MCP; the crate `fanout-server` does.

use crate::args::{Expose, McpArgs, When};
use crate::diagnostics::{self, Texts};
use crate::follow::Signals;
use crate::load::{self, Kept, Refused};
use crate::pipes;
use crate::text::{self, Paint};
use fanout::{Diagnostic, Engine};
use fanout_server::Gateway;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use tokio::net::TcpListener;

/// What `fanout mcp --help` ends with.
pub(crate) const HELP: &str = r#"What to write where an agent names its MCP servers:
  {"mcpServers": {"fanout": {"command": "fanout", "args": ["mcp", "--tools", "/home/me/fanout.toml"]}}}

The agent sees all tools of the toolbox files. Calls that it sends at once run in parallel; those that touch the same
thing, by the tools' effects, keep the order in which they were sent. Limits, retries, caches and approvals are those
of the toolbox files; approvals are asked of the client where it can be asked.

Over HTTP (--http 127.0.0.1:8137) clients send the token as `Authorization: Bearer TOKEN`:
  {"mcpServers": {"fanout": {"url": "http://127.0.0.1:8137/mcp", "headers": {"Authorization": "Bearer …"}}}}

Exit codes: 0 when the client has gone or the process was told to end (TERM, INT, HUP), 1 when standard input cannot be
read, 2 wrong usage, 3 a toolbox file that is not valid. Standard output is the protocol's; messages go to standard error."#;

/// Serves until the client is gone or a signal says to end.
pub(crate) async fn main(args: &McpArgs, color: When) -> Result<ExitCode, Refused> {
    let mut signals = Signals::listen()?;
    let face = match args.http {
        Some(address) => Some((token(args, address)?, listen(address).await?)),
        None => None,
    };
    let engine =
        load::load_tools_within(&args.tools, &args.limits, &Kept::Results(&args.state, args.cache.bounds())).await?;
    let expose = match args.expose {
        Expose::All => fanout_server::Expose::All,
        Expose::Find => fanout_server::Expose::Find,
    };
    let paint = Paint::choose(color, text::stderr_is_terminal());
    say(engine.catalog().warnings(), paint);
    let warning = tokio::spawn(warn(engine.clone(), paint));
    let gateway = Gateway::new(engine, expose);
    // In a task of its own: whoever serves looks at it with each message.
    let signalled = tokio::spawn(async move { signals.next().await });
    let stop = async move { _ = signalled.await };
    let (served, what) = match face {
        None => {
            // On a worker, which hears itself of what is waited for: this thread would have to be woken for each line.
            let (input, output) = (pipes::input(), pipes::output());
            let serving = tokio::spawn(async move { gateway.serve(input, output, stop).await });
            (serving.await.unwrap_or_else(|gone| Err(gone.into())), "standard input cannot be read")
        }
        Some((token, (listener, url))) => {
            text::print(&format!("{url}\n"));
            (gateway.serve_http(listener, token, stop).await, "the address cannot be listened to any more")
        }
    };
    warning.abort();
    // Clients have heard of what is in there by reference only, and are gone.
    load::close().await;
    load::remove_spilled();
    match served {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            text::say(&format!("error: {what}: {error}\n"));
            Ok(ExitCode::from(crate::exit::FAILED))
        }
    }
}

/// Says what is wrong with what servers tell of their tools while they are served.
async fn warn(engine: Engine, paint: Paint) {
    let mut changes = engine.catalog_changes();
    let mut said = BTreeMap::new();
    loop {
        let now = engine.toolbox_problems();
        for (_, problems) in now.iter().filter(|(name, problems)| said.get(*name) != Some(*problems)) {
            say(&diagnostics::of_change(problems), paint);
        }
        said = now;
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn say(problems: &[Diagnostic], paint: Paint) {
    if !problems.is_empty() {
        crate::say_problems(problems, &Texts::default(), paint);
    }
}

/// The token that clients must send.
fn token(args: &McpArgs, address: SocketAddr) -> Result<Option<String>, Refused> {
    if args.no_token {
        return match address.ip().is_loopback() {
            true => Ok(None),
            false => Err(Refused::Usage(format!("--no-token is for 127.0.0.1 and [::1], not for {address}"))),
        };
    }
    let Some(name) = &args.token_env else {
        let token = fanout_server::new_token().map_err(|error| format!("no token can be made: {error}"))?;
        text::say(&format!("token: {token}\n"));
        return Ok(Some(token));
    };
    match std::env::var(name) {
        Ok(token) if token.len() >= 16 => Ok(Some(token)),
        Ok(_) => {
            Err(Refused::Usage(format!("the token in `{name}` is shorter than 16 characters; it could be guessed")))
        }
        Err(_) => Err(Refused::Usage(format!("there is no variable `{name}`, which --token-env names"))),
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, String), Refused> {
    let listener = TcpListener::bind(address).await.map_err(|error| format!("cannot listen at {address}: {error}"))?;
    let address = listener.local_addr().map_err(|error| format!("cannot listen: {error}"))?;
    Ok((listener, format!("http://{address}/mcp")))
}
