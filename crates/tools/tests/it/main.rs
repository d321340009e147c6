//! Tests of the adapters from outside: one suite for all of them, and what is special to each.
//! They do not know how an adapter does what it does.
mod conformance;
mod hostile;
mod http;
mod killed;
mod mcp;
mod native;
mod output;
mod process;
mod world;
