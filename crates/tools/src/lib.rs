//! How a call is made: the [`Tool`] trait and its adapters (native functions, processes, HTTP).
//! It does not know runs, plans or policy: an adapter says what happened, others decide what follows.
#[cfg(unix)]
pub mod guard;
#[cfg(unix)]
pub mod http;
pub mod native;
#[cfg(unix)]
mod open;
#[cfg(unix)]
pub mod process;
mod tool;
mod toolbox;

#[cfg(unix)]
pub use http::Connections;
pub use native::{Context, Native, NativeTool};
#[cfg(unix)]
pub use open::Opener;
#[cfg(unix)]
pub use process::{GuardCommand, ProcessOptions, Processes};
pub use tool::*;
pub use toolbox::Toolbox;
