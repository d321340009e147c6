//! Who may ask over HTTP: a token, and no web page of somebody else's.
//! It does not know what is asked.

use super::{Refusal, plain};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use std::fmt::Write as _;
use std::io::Read as _;

/// What a request must have.
pub(super) struct Guarded {
    /// The token; `None`: none is asked for.
    pub(super) token: Option<String>,
    /// Only this machine can reach it: then it goes by no other name.
    pub(super) loopback: bool,
}

impl Guarded {
    /// Refuses a request that has no token, and one that a web page makes by a name of its own for this machine.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
        if self.loopback && !host.as_ref().is_some_and(|host| is_loopback(host.host())) {
            return Err(plain(StatusCode::FORBIDDEN, "this `Host` is not one of this machine"));
        }
        if let Some(origin) = headers.get(header::ORIGIN) {
            let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
            let origin = origin.as_ref().and_then(Uri::authority);
            let same = |origin: &Authority| is_loopback(origin.host()) || host.as_ref() == Some(origin);
            if !origin.is_some_and(same) {
                return Err(plain(StatusCode::FORBIDDEN, "this `Origin` may not ask here"));
            }
        }
        let Some(token) = &self.token else { return Ok(()) };
        let given = headers.get(header::AUTHORIZATION).and_then(|given| given.to_str().ok());
        let given =
            given.and_then(|given| given.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
        if given.is_some_and(|(_, given)| is_same(given.trim(), token)) {
            return Ok(());
        }
        let mut refusal = plain(
            StatusCode::UNAUTHORIZED,
            "send `Authorization: Bearer TOKEN` with the token that fanout was started with",
        );
        refusal.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        Err(refusal)
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Takes as long for any token of the same length.
fn is_same(given: &str, token: &str) -> bool {
    let differ = given.bytes().zip(token.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b));
    given.len() == token.len() && differ == 0
}

/// Refuses what is not JSON, and who does not read what may be answered.
pub(super) fn media_types(headers: &HeaderMap) -> Result<(), Refusal> {
    let is = |name: HeaderName, kinds: &[&str]| {
        let values = headers.get_all(name);
        let texts = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let mut essences = texts.map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        essences.any(|essence| kinds.contains(&&*essence))
    };
    if !is(header::CONTENT_TYPE, &["application/json"]) {
        return Err(plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a message is `application/json`"));
    }
    for kind in ["application/json", "text/event-stream"] {
        if !is(header::ACCEPT, &[kind, "*/*"]) {
            let why = "answers are `application/json` or `text/event-stream`, and `Accept` must name both";
            return Err(plain(StatusCode::NOT_ACCEPTABLE, why));
        }
    }
    Ok(())
}

/// A token that nobody can guess, of visible ASCII.
///
/// # Errors
/// When the system has no chance to give.
pub fn new_token() -> std::io::Result<String> {
    secret()
}

pub(super) fn secret() -> std::io::Result<String> {
    let mut bytes = [0; 24];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}
