//! The tests through the binary, one file per theme, and the tidy test.
//! It does not know how anything works inside.

mod calls;
mod diagnostics;
mod formats;
mod hostile;
mod lost_updates;
mod run;
mod signals;
mod tidy;
