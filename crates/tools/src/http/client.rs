//! The clients of an engine: one for each set of roots, private addresses and proxies, shared by all tools that agree.
//! It does not know requests.

use super::address::{Private, Resolver};
use fanout_plan::{Diagnostic, HttpReach};
use reqwest::{Certificate, Client, Url};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long an idle connection is kept: less than the 5 seconds after which the hastiest common server (Node) closes
/// its end, since a request on a connection that is being closed may or may not have been read.
const IDLE: Duration = Duration::from_secs(4);
/// How often a connection with open HTTP/2 requests is asked whether it is alive, and how long it may take to answer.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(15));

/// What decides which client a tool has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    roots: Vec<PathBuf>,
    private: Private,
    proxies: bool,
}

/// All clients of an engine.
#[derive(Default)]
pub(super) struct Clients(Mutex<Vec<(Key, Client)>>);

impl Clients {
    /// The client for tools that reach so far.
    ///
    /// # Errors
    /// Roots that cannot be read; a system without certificates.
    pub(super) fn get(&self, reach: &HttpReach, private: &Private) -> Result<Client, Box<Diagnostic>> {
        let key = Key { roots: reach.roots.clone(), private: private.clone(), proxies: reach.proxies };
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = clients.iter().find(|(other, _)| *other == key) {
            return Ok(client.clone());
        }
        let client = build(&key)?;
        clients.push((key, client.clone()));
        Ok(client)
    }
}

fn build(key: &Key) -> Result<Client, Box<Diagnostic>> {
    // Once per process; another part of the program may have chosen before us, which is as good.
    let _chosen = rustls::crypto::ring::default_provider().install_default();
    let names = if key.proxies { proxy_names() } else { HashSet::new() };
    let mut builder = Client::builder()
        .user_agent(concat!("fanout/", env!("CARGO_PKG_VERSION")))
        // Redirects are followed one by one where it is known where a tool may go.
        .redirect(reqwest::redirect::Policy::none())
        // Whether something is sent twice is decided in one place, and it isn't here.
        .retry(reqwest::retry::never())
        .referer(false)
        .dns_resolver(Resolver::new(key.private.clone(), names))
        .pool_idle_timeout(IDLE)
        .http2_keep_alive_interval(PING.0)
        .http2_keep_alive_timeout(PING.1)
        .tcp_nodelay(true);
    if !key.proxies {
        builder = builder.no_proxy();
    }
    let mut roots = Vec::new();
    for path in &key.roots {
        let bad = |why: String| {
            let message = format!("the certificates in {} cannot be used: {why}", path.display());
            Box::new(Diagnostic::error("bad_roots", message).with_help("`roots` names files of certificates in PEM"))
        };
        let bytes = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        let read = Certificate::from_pem_bundle(&bytes).map_err(|error| bad(error.to_string()))?;
        if read.is_empty() {
            return Err(bad("there is none in it".to_owned()));
        }
        roots.extend(read);
    }
    builder.tls_certs_merge(roots).build().map_err(|error| {
        let message = format!("the HTTP client cannot be made: {}", super::failure::chain(&error));
        let help = "is there a set of certificates on this machine (the package ca-certificates)?";
        Box::new(Diagnostic::error("bad_roots", message).with_help(help))
    })
}

/// The names of the environment's proxies.
fn proxy_names() -> HashSet<String> {
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
        .iter()
        .filter_map(|variable| std::env::var(variable).ok())
        .filter_map(|text| Url::parse(&text).or_else(|_| Url::parse(&format!("http://{text}"))).ok())
        .filter_map(|url| Some(url.host_str()?.to_owned()))
        .collect()
}
