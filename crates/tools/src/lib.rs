//! How a call is made: the [`Tool`] trait and its adapters (native functions, processes, HTTP, MCP servers).
//! It does not know runs, plans or policy: an adapter says what happened, others decide what follows.
#[cfg(unix)]
mod characters;
#[cfg(unix)]
pub mod guard;
#[cfg(unix)]
pub mod http;
#[cfg(unix)]
mod mcp;
pub mod native;
#[cfg(unix)]
mod open;
mod peer;
#[cfg(unix)]
pub mod process;
mod remote;
mod tool;
mod toolbox;

#[cfg(unix)]
pub use http::Connections;
pub use native::{Context, Native, NativeTool};
#[cfg(unix)]
pub use open::Opener;
pub use peer::{AnswerFuture, Peer, PeerRequest, Told};
#[cfg(unix)]
pub use process::output::spilled_to;
pub use process::{GuardCommand, ProcessOptions, Processes};
pub use remote::{Live, Remote};
pub use tool::*;
pub use toolbox::Toolbox;
