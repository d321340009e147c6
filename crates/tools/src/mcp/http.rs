//! A server at a URL: requests by the roads that HTTP tools have (`Post`), answers and streams read as they come.
//! It does not know sessions, nor when a stream is begun again: those are the library's.

use super::grant::Grant;
use super::ledger::{Answer, InFlight, Ledger, RpcError, Slot, Where, lock};
use super::stdio::{done, number, take_one};
use super::words::too_large;
use crate::http::{Known, Letter, Road, reached_by, retry_after};
use crate::tool::{Progress, Reached, ToolError};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use hyper::body::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode, Url};
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, ErrorData, GetExtensions, GetMeta, JsonRpcMessage, ServerJsonRpcMessage,
};
use rmcp::transport::common::http_header::{HEADER_LAST_EVENT_ID, HEADER_SESSION_ID};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};
use secrecy::SecretString;
use sse_stream::{Sse, SseStream};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;

/// So often a request is sent with another proof of who is asking.
const GRANTS_MAX: u32 = 3;
/// How much of the answer to a request that failed is read.
const FAILURE_BYTES: usize = 64 << 10;
/// How long it is waited for.
const FAILURE_WAIT: Duration = Duration::from_secs(5);
/// The kinds of answer that are asked for.
const ACCEPTED: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");

/// Speaks to one server.
#[derive(Clone)]
pub(super) struct Post(pub(super) Arc<Inner>);

/// The inside of [`Post`].
pub(super) struct Inner {
    pub(super) road: Arc<Road>,
    pub(super) url: Url,
    /// Headers of all requests.
    pub(super) headers: HeaderMap,
    pub(super) known: Known,
    pub(super) grant: Arc<Grant>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) output_max: usize,
    /// What it is called in messages.
    pub(super) what: String,
    /// How long the head of an answer is waited for.
    pub(super) first_byte: Duration,
    /// Why the last request to greet it failed.
    pub(super) failed: Mutex<Option<ToolError>>,
}

/// Why a request failed, for the library.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Wrong(pub(super) ToolError);

type Ended = StreamableHttpError<Wrong>;

/// One request.
struct Ask<'a> {
    method: Method,
    session: Option<&'a str>,
    headers: HashMap<HeaderName, HeaderValue>,
    body: Option<Bytes>,
    progress: &'a Progress,
    slot: Option<&'a Arc<Slot>>,
}

impl StreamableHttpClient for Post {
    type Error = Wrong;

    async fn post_message(
        &self,
        _uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _auth: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Ended> {
        let slot = self.enter(&message);
        let none = Progress::none();
        let progress = slot.as_ref().map_or(&none, |slot| &slot.caller.progress);
        if slot.as_ref().is_some_and(|slot| !slot.send()) {
            return Err(Ended::Client(Wrong(ToolError::aborted(Reached::No))));
        }
        let ask = Ask {
            method: Method::POST,
            session: session.as_deref(),
            headers,
            body: Some(serde_json::to_vec(&message)?.into()),
            progress,
            slot: slot.as_ref(),
        };
        let answered = match self.send(&ask).await {
            Ok(response) => self.answered(&message, slot.as_ref(), session.is_some(), response).await,
            Err(error) => Err(error),
        };
        if let Err(Ended::Client(Wrong(error))) = &answered {
            match &slot {
                Some(slot) => slot.end(Answer::Failed(error.clone())),
                None => *lock(&self.0.failed) = Some(error.clone()),
            }
        }
        answered
    }

    async fn delete_session(
        &self,
        _uri: Arc<str>,
        session: Arc<str>,
        _auth: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Ended> {
        // A server that keeps sessions for ever is its own business.
        self.plain(Method::DELETE, Some(&session), headers).await.map(|_| ())
    }

    async fn get_stream(
        &self,
        _uri: Arc<str>,
        session: Option<Arc<str>>,
        last: Option<String>,
        _auth: Option<String>,
        mut headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Ended> {
        if let Some(last) = last.and_then(|last| HeaderValue::from_str(&last).ok()) {
            headers.insert(HeaderName::from_bytes(HEADER_LAST_EVENT_ID.as_bytes()).unwrap_or(ACCEPT), last);
        }
        let response = self.plain(Method::GET, session.as_deref(), headers).await?;
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            return Err(Ended::ServerDoesNotSupportSse);
        }
        match (response.status().is_success(), kind(&response)) {
            (true, Kind::Stream) => Ok(self.stream(response, None)),
            _ => Err(Ended::UnexpectedServerResponse(format!("{} to a GET", response.status()).into())),
        }
    }
}

impl Post {
    /// Notes a request that somebody waits for here.
    fn enter(&self, message: &ClientJsonRpcMessage) -> Option<Arc<Slot>> {
        let JsonRpcMessage::Request(request) = message else { return None };
        let Some(InFlight(slot)) = request.request.extensions().get::<InFlight>().cloned() else {
            self.0.ledger.greet(number(&request.id)?);
            return None;
        };
        let token = request.request.get_meta().get_progress_token().and_then(|token| number(&token.0));
        self.0.ledger.enter(&slot, number(&request.id)?, token);
        Some(slot)
    }

    async fn plain(
        &self,
        method: Method,
        session: Option<&str>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<Response, Ended> {
        let none = Progress::none();
        self.send(&Ask { method, session, headers, body: None, progress: &none, slot: None }).await
    }

    /// Sends a request, with another proof of who is asking when the server wants one.
    async fn send(&self, ask: &Ask<'_>) -> Result<Response, Ended> {
        let wrong = |error: ToolError| Ended::Client(Wrong(self.0.known.strike_error(error)));
        let mut granted = 0;
        loop {
            let token = self.0.grant.token().await.map_err(wrong)?;
            let response = self.once(ask, token.as_ref()).await.map_err(wrong)?;
            let Some(challenge) = challenge(&response) else { return Ok(response) };
            // Whoever is told that it may not has been told; asking for more is another thing.
            if response.status() == StatusCode::FORBIDDEN && !challenge.contains("insufficient_scope") {
                return Ok(response);
            }
            if granted == GRANTS_MAX {
                return Err(wrong(super::grant::refused(&self.0.what, GRANTS_MAX)));
            }
            granted += 1;
            let more = response.status() == StatusCode::FORBIDDEN;
            self.0.grant.renew(&challenge, token.as_ref(), more).await.map_err(wrong)?;
        }
    }

    async fn once(&self, ask: &Ask<'_>, token: Option<&SecretString>) -> Result<Response, ToolError> {
        let mut headers = self.0.headers.clone();
        for (name, value) in &ask.headers {
            headers.insert(name, value.clone());
        }
        headers.insert(ACCEPT, ACCEPTED);
        if ask.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let session = ask.session.and_then(|session| HeaderValue::from_str(session).ok());
        if let (Some(session), Ok(name)) = (session, HeaderName::from_bytes(HEADER_SESSION_ID.as_bytes())) {
            headers.insert(name, session);
        }
        let mut known = Known::default();
        if let Some(token) = token {
            known.note(token);
            headers.insert(AUTHORIZATION, super::grant::bearer(token)?);
        }
        let letter = Letter {
            method: ask.method.clone(),
            url: &self.0.url,
            headers,
            body: ask.body.clone(),
            progress: ask.progress,
            what: &self.0.what,
            first_byte: self.0.first_byte,
        };
        let sent = self.0.road.send(letter, &mut known, |sent| {
            if let Some(slot) = ask.slot {
                slot.watch(sent);
            }
        });
        sent.await.map_err(|error| known.strike_error(error))
    }

    /// What an answer to a message means.
    async fn answered(
        &self,
        message: &ClientJsonRpcMessage,
        slot: Option<&Arc<Slot>>,
        in_session: bool,
        response: Response,
    ) -> Result<StreamableHttpPostResponse, Ended> {
        let status = response.status();
        let session = response.headers().get(HEADER_SESSION_ID).and_then(|id| Some(id.to_str().ok()?.to_owned()));
        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        if status == StatusCode::NOT_FOUND && in_session {
            return Err(Ended::SessionExpired);
        }
        if !status.is_success() {
            return self.refused(message, slot, response).await;
        }
        match kind(&response) {
            Kind::Stream => Ok(StreamableHttpPostResponse::Sse(self.stream(response, slot.cloned()), session)),
            Kind::Json => {
                let text = self.body(response, self.0.output_max).await?;
                if text.trim().is_empty() {
                    return Ok(StreamableHttpPostResponse::Accepted);
                }
                let read = take_one(&self.0.ledger, &text, Where::Stream(slot));
                let message = read.ok_or_else(|| self.not_protocol("what is no message of it"))?;
                Ok(StreamableHttpPostResponse::Json(message, session))
            }
            // Some answer a notification with an empty 200.
            Kind::Other if !matches!(message, JsonRpcMessage::Request(_)) => Ok(StreamableHttpPostResponse::Accepted),
            Kind::Other => Err(self.not_protocol("neither JSON nor a stream of events")),
        }
    }

    /// A status that is not success: an error of the protocol where the body is one.
    async fn refused(
        &self,
        message: &ClientJsonRpcMessage,
        slot: Option<&Arc<Slot>>,
        response: Response,
    ) -> Result<StreamableHttpPostResponse, Ended> {
        let status = response.status();
        let after = retry_after(response.headers());
        let denied = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let body = timeout(FAILURE_WAIT, self.body(response, FAILURE_BYTES)).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        let error = serde_json::from_str::<ServerJsonRpcMessage>(&body).ok().and_then(|message| match message {
            JsonRpcMessage::Error(error) => Some(error.error),
            _ => None,
        });
        if let (JsonRpcMessage::Request(request), false) = (message, denied) {
            let probe = matches!(request.request, ClientRequest::DiscoverRequest(_)) && status.is_client_error();
            let error = match (error, probe) {
                (Some(error), _) => Some(error),
                // A server that knows no discovery may refuse it in any way.
                (None, true) => Some(ErrorData::invalid_request(format!("answered {status}"), None)),
                (None, false) => None,
            };
            if let Some(error) = error {
                let id = request.id.clone();
                let Some((slot, number)) = slot.zip(number(&id)) else {
                    let message = ServerJsonRpcMessage::error(error, Some(id));
                    return Ok(StreamableHttpPostResponse::Json(message, None));
                };
                self.0.ledger.leave(slot);
                slot.end(Answer::Error(RpcError::of(error)));
                return Ok(StreamableHttpPostResponse::Json(done(number), None));
            }
        }
        let first: String = super::shown(body.lines().next().unwrap_or_default().trim(), 200);
        let colon = if first.is_empty() { "" } else { ": " };
        let message = format!("{} was answered {status}{colon}{first}", self.0.what);
        let passing = matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502..=504);
        let error = if passing { ToolError::transient(message) } else { ToolError::permanent(message) };
        let error = error.code("http_status").reached(reached_by(status.as_u16()));
        Err(Ended::Client(Wrong(ToolError { retry_after: after.filter(|_| passing), ..error })))
    }

    /// All of a body, within a bound.
    async fn body(&self, mut response: Response, max: usize) -> Result<String, Ended> {
        let mut bytes = Vec::new();
        loop {
            let piece = response.chunk().await.map_err(|error| {
                let message = format!("{}: the answer broke off: {}", self.0.what, error.without_url());
                let error = ToolError::transient(message).code("http_lost").reached(Reached::Unknown);
                Ended::Client(Wrong(error))
            })?;
            let Some(piece) = piece else { break };
            if bytes.len() + piece.len() > max {
                return Err(Ended::Client(Wrong(too_large((bytes.len() + piece.len()) as u64))));
            }
            bytes.extend_from_slice(&piece);
        }
        String::from_utf8(bytes).map_err(|_| self.not_protocol("what is not UTF-8"))
    }

    fn not_protocol(&self, what: &str) -> Ended {
        Ended::Client(Wrong(super::words::bad_answer(&self.0.what, what)))
    }

    /// The events of a stream, those taken out that somebody waits for here.
    fn stream(&self, response: Response, slot: Option<Arc<Slot>>) -> BoxStream<'static, Result<Sse, SseError>> {
        let mut bound = Bound { left: self.0.output_max, max: self.0.output_max, newline: false };
        let bytes = response.bytes_stream().map(move |piece| {
            let piece = piece.map_err(|error| std::io::Error::other(error.without_url().to_string()))?;
            bound.take(&piece)?;
            Ok::<_, std::io::Error>(piece)
        });
        let ledger = Arc::clone(&self.0.ledger);
        let events = SseStream::from_bytes_stream(bytes).map(move |event| {
            let mut event = event?;
            let message = matches!(event.event.as_deref(), None | Some("" | "message"));
            if let (true, Some(text)) = (message, &event.data) {
                event.data = match take_one(&ledger, text, Where::Stream(slot.as_ref())) {
                    Some(message) => serde_json::to_string(&message).ok(),
                    None => None,
                };
            }
            Ok(event)
        });
        events.boxed()
    }
}

/// Bounds single events of a stream, which end with an empty line.
struct Bound {
    left: usize,
    max: usize,
    newline: bool,
}

impl Bound {
    fn take(&mut self, piece: &[u8]) -> std::io::Result<()> {
        for byte in piece {
            match (byte, self.newline) {
                (b'\n', true) => self.left = self.max,
                (b'\n', false) => self.newline = true,
                (b'\r', _) => {}
                _ => self.newline = false,
            }
            self.left = self.left.checked_sub(1).ok_or_else(|| std::io::Error::other("an event is too large"))?;
        }
        Ok(())
    }
}

/// What a body is.
enum Kind {
    Json,
    Stream,
    Other,
}

fn kind(response: &Response) -> Kind {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "text/event-stream" => Kind::Stream,
        "application/json" => Kind::Json,
        _ => Kind::Other,
    }
}

/// What a server wants to be proven, if it wants that.
fn challenge(response: &Response) -> Option<String> {
    let wanted = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let header = response.headers().get(WWW_AUTHENTICATE).and_then(|header| header.to_str().ok());
    match (wanted, header) {
        (true, Some(header)) => Some(header.to_owned()),
        // Without a challenge it is not known what for; a 401 asks for a proof all the same.
        (true, None) if response.status() == StatusCode::UNAUTHORIZED => Some(String::new()),
        _ => None,
    }
}
