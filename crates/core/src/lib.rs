//! What happens next: the state machine that decides which call starts, waits, retries and ends.
//! It does not know I/O, clocks, threads, randomness or values; time and facts are arguments.
//!
//! [`Core`] owns every run of an engine and the limits they share. [`Core::handle`] is the only way in,
//! [`Core::poll_action`] the only way out, [`Core::poll_timeout`] says when to come back with
//! [`Event::Tick`] and [`Core::view`] is for screens.
mod types;

pub use types::*;
