//! How a call is made: the [`Tool`] trait and its adapters (native functions, processes).
//! It does not know runs, plans or policy: an adapter says what happened, others decide what follows.
mod tool;

pub use tool::*;
