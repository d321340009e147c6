//! What happens next: the state machine that decides which call starts, waits, retries and ends.
//! It does not know I/O, clocks, threads, randomness or values; time and facts are arguments.
//!
//! [`Core`] owns every run of an engine and the limits they share. [`Core::handle`] is the only way in,
//! [`Core::poll_action`] the only way out, [`Core::poll_timeout`] says when to come back with
//! [`Event::Tick`] and [`Core::view`] is for screens.
mod admission;
mod attempts;
mod call;
mod core;
mod ends;
mod fault;
mod forget;
mod gates;
mod keys;
mod listing;
mod on_disk;
mod order;
pub mod policy;
mod pool;
mod queue;
mod recover;
mod reuse;
mod seats;
#[cfg(feature = "sim")]
pub mod sim;
mod sorted;
mod timers;
mod types;
mod view;

pub use crate::core::Core;
#[cfg(feature = "sim")]
pub use fault::Fault;
pub use types::*;
pub use view::{CallState, CallView, View};
