//! What the evaluation and the benchmarks share: stub tools, and schedules of calls with known durations.
//! It does not know any set of real plans, nor what is measured.
pub mod schedules;
pub mod stage;
