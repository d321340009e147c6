//! What went wrong with a request, as an error that says whether it can have arrived.
//! It does not know what is done about it.

use super::address::Refused;
use super::body::Sent;
use super::reach::No;
use crate::tool::{Reached, ToolError};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use std::error::Error;
use std::fmt::Display;
use std::time::{Duration, SystemTime};

/// Servers that ask to come back later than this are taken to mean this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Which wait was too long.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    Connect,
    FirstByte,
    Idle,
    Total,
}

/// A request that was not answered.
pub(super) fn unanswered(what: &(dyn Display + Sync), error: reqwest::Error, sent: &Sent) -> ToolError {
    // A URL can hold keys.
    let error = error.without_url();
    if let Some(refused) = find::<Refused>(&error) {
        return not_allowed(what, &No::Address(refused.clone()));
    }
    if sent.reached() == Reached::No {
        let message = format!("{what} was not sent: {}", chain(&error));
        // A certificate does not become right by asking again; everything else may pass.
        let certificate =
            find::<rustls::Error>(&error).is_some_and(|error| matches!(error, rustls::Error::InvalidCertificate(_)));
        let wrong = if certificate { ToolError::permanent(message) } else { ToolError::transient(message) };
        return wrong.code("http_not_sent").reached(Reached::No);
    }
    if refused_unread(&error) {
        let message = format!("{what} was refused unread: {}", chain(&error));
        return ToolError::transient(message).code("http_not_sent").reached(Reached::No);
    }
    if let Some(error) = find::<hyper::Error>(&error)
        && error.is_parse()
    {
        let message = format!("{what} was answered by something that is not HTTP: {}", chain(error));
        return ToolError::permanent(message).code("http_bad_answer").reached(Reached::Unknown);
    }
    ToolError::transient(format!("{what} was sent, but the connection was lost before an answer: {}", chain(&error)))
        .code("http_lost")
        .reached(Reached::Unknown)
}

/// An answer that did not come to its end.
pub(super) fn broken(what: &(dyn Display + Sync), error: reqwest::Error) -> ToolError {
    let error = error.without_url();
    let text = chain(&error);
    if error.is_decode() && find::<hyper::Error>(&error).is_none() {
        let message = format!("{what}: the answer cannot be decompressed: {text}");
        return ToolError::permanent(message).code("http_bad_answer");
    }
    // That it was answered is no proof that all of it was done: an answer may be begun before the work.
    ToolError::transient(format!("{what}: the answer broke off: {text}")).code("http_lost").reached(Reached::Unknown)
}

/// An answer in a coding that nobody asked for.
pub(super) fn not_decoded(what: &(dyn Display + Sync), coding: &str) -> ToolError {
    let message = format!("{what}: the answer is compressed as `{coding}`; only `gzip` was asked for");
    ToolError::permanent(message).code("http_bad_answer")
}

/// Something took too long.
pub(super) fn waited(what: &(dyn Display + Sync), wait: Wait, limit: Duration, reached: Reached) -> ToolError {
    let (text, field) = match wait {
        Wait::Connect => ("there was no connection", "connect"),
        Wait::FirstByte => ("there was no answer", "first_byte"),
        Wait::Idle => ("nothing more of the answer came", "idle"),
        Wait::Total => ("it was not done", "total"),
    };
    ToolError::transient(format!("{what}: {text} within {limit:?} (`waits.{field}`)"))
        .code("http_timeout")
        .reached(reached)
}

/// A request that may not go where it would go.
pub(super) fn not_allowed(what: &(dyn Display + Sync), no: &No) -> ToolError {
    ToolError::permanent(format!("{what} was not sent: {}", reason(no))).code("http_not_allowed").reached(Reached::No)
}

/// A redirect that is not followed.
pub(super) fn redirect_refused(what: &(dyn Display + Sync), status: u16, why: &str) -> ToolError {
    ToolError::permanent(format!("{what} was answered {status}, a redirect that is not followed: {why}"))
        .code("http_redirect_refused")
}

/// Why a request does not go somewhere.
pub(super) fn reason(no: &No) -> String {
    match no {
        No::Scheme => "only `http` and `https` are spoken".into(),
        No::Host(host) => {
            format!("the host `{host}` is not declared; if it may be reached, declare it: hosts = [\"{host}\"]")
        }
        No::Address(refused) => refused.to_string(),
        No::Downgrade => "it leads from https to http, where everybody could read along".into(),
        No::Location => "where it leads is not a URL without a user and password".into(),
    }
}

/// What a status that is a failure says of whether the request took effect.
pub(crate) fn reached_by(status: u16) -> Reached {
    match status {
        // It did not come whole, or was put off unread (RFC 9110, 15.5.9; RFC 8470, 5.2).
        408 | 425 => Reached::No,
        // Whoever handed it on heard nothing right of it (RFC 9110, 15.6.3 and 15.6.5).
        502 | 504 => Reached::Unknown,
        _ => Reached::Yes,
    }
}

/// When the server asks to be asked again: in seconds, or a date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let delay = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        // More seconds than can be counted.
        Err(_) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => RETRY_AFTER_MAX,
        Err(_) => {
            let at = httpdate::parse_http_date(text).ok()?;
            // By the server's own clock, which may differ from ours.
            let date = headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
            at.duration_since(date.unwrap_or_else(SystemTime::now)).unwrap_or_default()
        }
    };
    Some(delay.min(RETRY_AFTER_MAX))
}

/// HTTP/2: the server says that it has not looked at the request (RFC 9113, 8.7).
fn refused_unread(error: &(dyn Error + 'static)) -> bool {
    find::<h2::Error>(error).is_some_and(|error| {
        error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

/// An error of this kind among the causes.
fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        // The source of an I/O error is the source of what it carries.
        if let Some(inside) = error.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref())
            && let Some(found) = find::<E>(inside)
        {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The innermost causes of an error, in one line.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = one_line(&error);
        // Many wrap an error and repeat it.
        if !texts.iter().any(|before| before.contains(&text)) {
            texts.retain(|before| !text.contains(before.as_str()));
            texts.push(text);
        }
        next = error.source();
    }
    // The outermost only say that a client of HTTP was at work.
    let from = texts.len().saturating_sub(2);
    texts[from..].join(": ")
}

pub(super) fn one_line(text: &dyn Display) -> String {
    text.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn both_forms_of_retry_after() {
        let after = |text: &'static str, date: Option<&'static str>| {
            let mut headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            headers.extend(date.map(|date| (DATE, HeaderValue::from_static(date))));
            retry_after(&headers).map(|delay| delay.as_secs())
        };
        assert_eq!(after("7", None), Some(7));
        assert_eq!(after(" 0 ", None), Some(0));
        assert_eq!(after("99999999", None), Some(86_400));
        assert_eq!(after("99999999999999999999999", None), Some(86_400));
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(after("Sun, 06 Nov 1994 08:49:40 GMT", date), Some(3));
        assert_eq!(after("Sunday, 06-Nov-94 08:49:40 GMT", date), Some(3));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:30 GMT", date), Some(0));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:40 GMT", None), Some(0));
        for text in ["", "soon", "-1", "1.5"] {
            assert_eq!(after(text, None), None, "{text}");
        }
    }
}
