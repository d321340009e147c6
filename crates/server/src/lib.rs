//! fanout as a server: one MCP server that has the tools of all toolboxes and runs plans.
//! It does not know how a call is made or when it starts: that is the library's.
