//! fanout as a server: one MCP server that has the tools of all toolboxes and runs plans.
//! It does not know how a call is made or when it starts: that is the library's.
#![allow(dead_code, reason = "until the face over HTTP is there")]

mod answer;
mod approvals;
mod mcp;
mod own;

pub use mcp::{Expose, Gateway};
