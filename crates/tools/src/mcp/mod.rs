//! MCP servers as toolboxes: connections to them, what they list, and their tools.
//! It does not know plans, nor whether a failed call is tried again.

mod answer;
mod ask;
mod direct;
mod grant;
mod http;
mod keep;
mod ledger;
mod link;
mod list;
mod open;
mod relay;
mod remote;
mod server;
mod stdio;
mod tool;
mod wire;
mod words;

pub(crate) use server::Servers;

/// A text of somebody else's, cut and without control characters.
fn shown(text: &str, max: usize) -> String {
    let mut shown: String =
        text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { ' ' } else { c }).take(max + 1).collect();
    if shown.chars().count() > max {
        shown.pop();
        shown.push('…');
    }
    shown
}
