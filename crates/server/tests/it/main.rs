//! Tests of the gateway from outside: clients on pipes in memory, tools that are functions.
//! They do not know how the gateway does what it does.
mod calls;
mod client;
mod hello;
mod http;
mod passing;
mod people;
