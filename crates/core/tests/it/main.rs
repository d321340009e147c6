//! Small worlds of the core, step by step, in one binary.
//! They do not replace the simulation.

mod basic;
mod recover;
mod reuse;
