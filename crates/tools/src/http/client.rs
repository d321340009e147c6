//! The clients of an engine: one for each set of roots, private addresses and proxies, shared by all tools that agree.
//! It does not know requests.

use super::address::{Private, Resolver};
use fanout_plan::{Diagnostic, HttpReach};
use hyper::Uri;
use reqwest::{Certificate, IntoUrl, Method, Request, RequestBuilder, Response};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
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

/// What sends requests, by way of the environment's proxies where there are any. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    /// It may connect to the proxies, wherever they are.
    by_proxy: reqwest::Client,
    /// It has no such leave: for requests to the very hosts that the proxies are on, which may go there directly.
    strict: reqwest::Client,
    proxies: Arc<HashSet<String>>,
}

impl Client {
    /// Begins a request.
    pub(super) fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        self.by_proxy.request(method, url)
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// Whatever keeps it from being answered.
    pub(crate) async fn execute(&self, request: Request) -> reqwest::Result<Response> {
        let host = request.url().host_str().unwrap_or_default();
        let client = if self.proxies.contains(host) { &self.strict } else { &self.by_proxy };
        client.execute(request).await
    }
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
    let names = if key.proxies { proxy_names(|name| std::env::var(name).ok()) } else { Ok(HashSet::new()) };
    let proxies = names.map_err(|name| {
        let message = format!("the variable {name} of the environment is not the URL of a proxy of HTTP");
        let help = "such as `http://proxy.example:3128`; `proxies = false` leaves the environment's proxies out";
        Box::new(Diagnostic::error("bad_value", message).with_help(help))
    })?;
    let roots = roots(key)?;
    let with = |proxies: HashSet<String>| {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("fanout/", env!("CARGO_PKG_VERSION")))
            // Redirects are followed one by one where it is known where a tool may go.
            .redirect(reqwest::redirect::Policy::none())
            // Whether something is sent twice is decided in one place, and it isn't here.
            .retry(reqwest::retry::never())
            .referer(false)
            .dns_resolver(Resolver::new(key.private.clone(), proxies))
            .pool_idle_timeout(IDLE)
            .http2_keep_alive_interval(PING.0)
            .http2_keep_alive_timeout(PING.1)
            .tcp_nodelay(true);
        if !key.proxies {
            builder = builder.no_proxy();
        }
        builder.tls_certs_merge(roots.clone()).build().map_err(|error| {
            let message = format!("the HTTP client cannot be made: {}", super::failure::chain(&error));
            let help = "is there a set of certificates on this machine (the package ca-certificates)?";
            Box::new(Diagnostic::error("bad_roots", message).with_help(help))
        })
    };
    let by_proxy = with(proxies.clone())?;
    let strict = if proxies.is_empty() { by_proxy.clone() } else { with(HashSet::new())? };
    Ok(Client { by_proxy, strict, proxies: Arc::new(proxies) })
}

/// Certificates beside the system's.
fn roots(key: &Key) -> Result<Vec<Certificate>, Box<Diagnostic>> {
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
    Ok(roots)
}

/// The names of the environment's proxies, in small letters.
///
/// # Errors
/// The variable that names none: without it requests would go where nobody said, past the proxy.
fn proxy_names(variable: impl Fn(&str) -> Option<String>) -> Result<HashSet<String>, &'static str> {
    let mut names = HashSet::new();
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let Some(text) = variable(name).filter(|text| !text.is_empty()) else { continue };
        // As who sends through it reads it: `proxy.example:3128` is one too.
        let uri: Uri = text.parse().map_err(|_| name)?;
        // SOCKS is not spoken.
        if uri.scheme_str().is_some_and(|scheme| !["http", "https"].contains(&scheme)) {
            return Err(name);
        }
        names.insert(uri.host().ok_or(name)?.to_ascii_lowercase());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read_as_who_sends_through_them_does() {
        let named = |text: &str| {
            let names = proxy_names(|name| (name == "https_proxy").then(|| text.to_owned()));
            names.map(|names| names.into_iter().collect::<Vec<_>>().join(" "))
        };
        for (text, name) in [
            ("", ""),
            ("proxy.example:3128", "proxy.example"),
            ("HTTP://u:p@Proxy.Example:3128/", "proxy.example"),
            ("localhost", "localhost"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("https://[::1]:1080", "[::1]"),
        ] {
            assert_eq!(named(text).as_deref(), Ok(name), "{text}");
        }
        for text in
            ["::::", "http://a b", " http://proxy.example", "ftp://proxy.example", "/proxy", "socks5://[::1]:1080"]
        {
            assert_eq!(named(text), Err("https_proxy"), "{text}");
        }
    }
}
