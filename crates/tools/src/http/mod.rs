//! HTTP tools: requests made from templates, and what they share in one engine.
//! It does not know when a call is made or whether a failed one is tried again.
//!
//! ```
//! use fanout_plan::{HttpParam, HttpSpec, ParamStyle, PathPiece, TextTemplate};
//! use fanout_tools::Connections;
//!
//! let mut spec = HttpSpec::new("GET", "https://api.example.com");
//! let id = TextTemplate::parse("${args.id}").unwrap();
//! let id = HttpParam {
//!     name: "id".into(), value: id, optional: false, style: ParamStyle::Simple, explode: false, reserved: false,
//! };
//! spec.path = vec![PathPiece::Text("/pets/".into()), PathPiece::Value(id)];
//! let tool = Connections::new(std::env::temp_dir().join("spill")).tool(spec).unwrap();
//! ```

mod address;
mod answer;
mod auth;
mod body;
mod client;
mod encode;
mod failure;
mod head;
mod oauth;
mod reach;
mod request;
mod road;
mod secret;
mod spelling;
mod tool;

pub(crate) use body::Sent;
pub(crate) use failure::{reached_by, retry_after};
pub(crate) use road::{Letter, Road};
pub(crate) use secret::{Known, read as read_secret};

use crate::tool::Tool;
use address::Private;
use client::Clients;
use fanout_plan::{Diagnostic, HttpSpec, is_connection_header};
use oauth::Tokens;
use reach::Reach;
use reqwest::header::HeaderName;
use reqwest::{Method, Url};
use std::path::PathBuf;
use std::sync::Arc;
use tool::{HttpTool, Shared};

/// What the HTTP tools of one engine share: connections, tokens, the spill directory. Cheap to clone. Connections are
/// closed when they were idle for some seconds, and with the last tool.
#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    clients: Clients,
    tokens: Arc<Tokens>,
    spill_dir: PathBuf,
}

impl Connections {
    /// For one engine. Connects to nothing yet. Results over their inline limit go to `spill_dir`, which is made when
    /// it is first needed; files there belong to the embedder.
    pub fn new(spill_dir: impl Into<PathBuf>) -> Connections {
        let (clients, tokens) = (Clients::default(), Arc::default());
        Connections(Arc::new(Inner { clients, tokens, spill_dir: spill_dir.into() }))
    }

    /// A tool that sends requests as `spec` says.
    ///
    /// # Errors
    /// What no request can be made from: a method, origin, header or address that is none (`bad_value`), certificates
    /// that cannot be read (`bad_roots`).
    pub fn tool(&self, spec: HttpSpec) -> Result<Arc<dyn Tool>, Vec<Diagnostic>> {
        let mut wrong = Vec::new();
        let bad = |message: String| Diagnostic::error("bad_value", message);
        let method = Method::from_bytes(spec.method.as_bytes());
        if method.is_err() {
            wrong.push(bad(format!("`{}` is not a method of HTTP", spec.method)));
        }
        let origin = Url::parse(&spec.origin);
        if origin.is_err() {
            wrong.push(bad(format!("`{}` is not a URL", spec.origin)));
        }
        for header in spec.headers.iter().map(|header| &header.name).chain(&spec.idempotency_header) {
            if HeaderName::from_bytes(header.as_bytes()).is_err() {
                wrong.push(bad(format!("`{header}` cannot be the name of a header")));
            } else if is_connection_header(header) {
                wrong.push(bad(format!("the header `{header}` belongs to the connection and cannot be set")));
            }
        }
        let private = Private::read(&spec.reach.private);
        if let Err(text) = &private {
            wrong.push(bad(format!("`{text}` is neither an address nor a network such as `10.0.0.0/8`")));
        }
        let (Ok(method), Ok(origin), Ok(private), true) = (method, origin, private, wrong.is_empty()) else {
            return Err(wrong);
        };
        let client = self.0.clients.get(&spec.reach, &private).map_err(|wrong| vec![*wrong])?;
        let reach = Reach::new(&spec, origin, private.clone());
        let (tokens, spill_dir) = (Arc::clone(&self.0.tokens), self.0.spill_dir.clone());
        let url = request::fixed_url(&spec);
        let whole = url.as_ref().and_then(|url| request::fixed(&spec, &method, url)).map(Arc::new);
        let tool = HttpTool { spec, method, url, whole, client, reach, private, tokens, spill_dir };
        Ok(Arc::new(Shared(Arc::new(tool))))
    }
}

/// Whether a URL leads to this machine by what stands in it, without asking anybody.
pub(crate) fn host_is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}
