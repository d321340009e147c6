//! The tests through the binary, one file per theme, and the tidy test.
//! It does not know how anything works inside.

mod adversary;
mod asking;
mod cache;
mod calls;
mod diagnostics;
mod durable;
mod durable_kill;
mod formats;
mod hostile;
mod http;
mod http_adverse;
mod lost_updates;
mod mcp;
mod run;
mod signals;
mod tidy;
mod timeline;
