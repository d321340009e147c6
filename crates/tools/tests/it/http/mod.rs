//! HTTP tools against a server that misbehaves, by HTTP/1, HTTP/2 and TLS.
//! It does not know how requests are made.

mod arrival;
mod hostile;
mod many;
mod odd;
mod secrets;
mod sending;
pub(crate) mod server;

use fanout_plan::{HttpReach, HttpSpec, PathPiece};
use fanout_tools::{Connections, Tool};
use std::sync::Arc;
use std::time::Duration;

/// A GET of a path, with short waits, after `change` was made to it.
pub(crate) fn spec(origin: &str, path: &str, change: impl FnOnce(&mut HttpSpec)) -> HttpSpec {
    let mut spec = HttpSpec::new("GET", origin);
    spec.path = vec![PathPiece::Text(path.to_owned())];
    spec.waits.connect = Duration::from_secs(5);
    spec.waits.first_byte = Duration::from_millis(300);
    spec.waits.idle = Duration::from_millis(300);
    spec.output_max = 4 << 20;
    spec.reach = HttpReach { private: vec!["localhost".into()], proxies: false, ..HttpReach::default() }.into();
    change(&mut spec);
    spec
}

/// The tool of it.
pub(crate) fn tool(connections: &Connections, spec: HttpSpec) -> Arc<dyn Tool> {
    connections.tool(spec).unwrap_or_else(|wrong| panic!("{wrong:?}"))
}
