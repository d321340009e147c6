//! The way to one server that is spoken to again and again: declared hosts, checked addresses, proof of who is asking.
//! It does not know what is said.

use super::address::Private;
use super::auth::gather;
use super::body::{self, Sent};
use super::client::{Client, Clients};
use super::failure;
use super::head::head;
use super::oauth::{Ask, Tokens};
use super::reach::{Reach, is_redirect};
use super::request::Content;
use super::secret::Known;
use super::{Connections, host_is_loopback};
use crate::tool::{Progress, ToolError};
use fanout_plan::{Diagnostic, HttpAuth, HttpReach, HttpSpec, HttpWaits};
use hyper::body::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};
use std::sync::Arc;
use std::time::Duration;

/// The way to one server.
pub(crate) struct Road {
    client: Client,
    reach: Reach,
    private: Private,
    spec: HttpSpec,
    tokens: Arc<Tokens>,
}

/// What is sent.
pub(crate) struct Letter<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
    pub(crate) progress: &'a Progress,
    /// What it is, for messages.
    pub(crate) what: &'a str,
    /// The longest wait for the head of an answer.
    pub(crate) first_byte: Duration,
}

impl Connections {
    /// The way to a server at this URL. An address of this machine that stands in the URL is declared by that.
    ///
    /// # Errors
    /// `bad_value`, `bad_roots`.
    pub(crate) fn road(&self, base: &HttpSpec, url: &Url) -> Result<Road, Box<Diagnostic>> {
        let mut spec = base.clone();
        let mut reach = (*spec.reach).clone();
        if host_is_loopback(url) {
            reach.private.push("localhost".to_owned());
        }
        spec.reach = Arc::new(reach);
        spec.origin = url.origin().ascii_serialization().into();
        let private = private(&spec.reach)?;
        let clients: &Clients = &self.0.clients;
        let client = clients.get(&spec.reach, &private)?;
        let reach = Reach::new(&spec, url.clone(), private.clone());
        Ok(Road { client, reach, private, spec, tokens: Arc::clone(&self.0.tokens) })
    }
}

fn private(reach: &HttpReach) -> Result<Private, Box<Diagnostic>> {
    Private::read(&reach.private).map_err(|text| {
        let message = format!("`{text}` is neither an address nor a network such as `10.0.0.0/8`");
        Box::new(Diagnostic::error("bad_value", message))
    })
}

impl Road {
    /// The client, for what goes to other hosts on this server's word: addresses are checked all the same.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends something to the server and gives the head of the answer. `begun` hears of each request before it is
    /// sent. Redirects are followed where nothing is done before them.
    ///
    /// # Errors
    /// As HTTP tools end: `http_not_sent`, `http_lost`, `http_timeout`, `http_not_allowed`, `http_redirect_refused`;
    /// `secret_missing`, `http_token`.
    pub(crate) async fn send(
        &self,
        letter: Letter<'_>,
        known: &mut Known,
        mut begun: impl FnMut(Arc<Sent>),
    ) -> Result<Response, ToolError> {
        let what = letter.what;
        let none = HttpAuth::Bearer(fanout_plan::SecretName::Env(String::new()));
        let ask = Ask { client: &self.client, spec: &self.spec, private: &self.private, auth: &none };
        let mut refused = Vec::new();
        loop {
            let proof = gather(&ask, &self.spec.auth, &self.tokens, known, &refused).await?;
            let response = self.follow(&letter, &proof.headers, what, &mut begun).await?;
            // A token may end before its time.
            if response.status() != StatusCode::UNAUTHORIZED || proof.tokens.is_empty() || !refused.is_empty() {
                return Ok(response);
            }
            refused = proof.tokens;
        }
    }

    async fn follow(
        &self,
        letter: &Letter<'_>,
        proof: &[(reqwest::header::HeaderName, reqwest::header::HeaderValue)],
        what: &str,
        begun: &mut impl FnMut(Arc<Sent>),
    ) -> Result<Response, ToolError> {
        let mut url = letter.url.clone();
        let mut own = true;
        self.reach.check(&url).map_err(|no| failure::not_allowed(&what, &no))?;
        for hops in 0.. {
            let content = letter.body.clone().map_or(Content::Empty, Content::Bytes);
            let method = letter.method.clone();
            let (mut request, sent) =
                body::request(&self.client, method.clone(), url.clone(), &content, letter.progress)?;
            let harmless = |name: &reqwest::header::HeaderName| [ACCEPT, CONTENT_TYPE].contains(name);
            for (name, value) in letter.headers.iter().filter(|(name, _)| own || harmless(name)) {
                request.headers_mut().append(name, value.clone());
            }
            for (name, value) in proof.iter().filter(|_| own) {
                request.headers_mut().insert(name, value.clone());
            }
            begun(Arc::clone(&sent));
            let waits = HttpWaits { first_byte: letter.first_byte, ..self.spec.waits };
            let response = head(&self.client, request, &sent, &waits, &what).await?;
            let status = response.status();
            let (true, Some(location)) = (is_redirect(status), response.headers().get(LOCATION)) else {
                return Ok(response);
            };
            let refuse = |why: &str| failure::redirect_refused(&what, status.as_u16(), why);
            if hops >= self.reach.redirects_max() {
                return Err(refuse(&format!("there were {hops} before it (`redirects`)")));
            }
            let next = self.reach.redirect(&url, &method, status, location.as_bytes());
            let next = next.map_err(|no| refuse(&failure::reason(&no)))?;
            if next.method != method {
                return Err(refuse("it asks for another method"));
            }
            own &= next.same_origin;
            url = next.url;
        }
        unreachable!("the loop ends by its bound");
    }
}
