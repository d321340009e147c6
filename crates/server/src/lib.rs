//! fanout as a server: one MCP server that has the tools of all toolboxes and runs plans.
//! It does not know how a call is made or when it starts: that is the library's.

mod answer;
mod approvals;
mod mcp;
mod own;

pub use mcp::{Expose, Gateway, new_token};
