//! Clients over HTTP: sessions of the older revisions, single requests of the newer one.
//! It does not know what messages mean, nor how they are answered.

mod checks;
mod headers;
mod patience;
mod sessions;
mod stream;

use super::Gateway;
use super::client::{self, Asker};
use super::outlet::Outlet;
use super::session::Session;
use super::wire::{self, Incoming, MESSAGE_BYTES_MAX, Request, RpcError};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use checks::Guarded;
use rmcp::model::ErrorCode;
use rmcp::transport::common::http_header::{HEADER_MCP_PROTOCOL_VERSION, HEADER_SESSION_ID, JSON_MIME_TYPE};
use sessions::Sessions;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

pub use checks::new_token;

/// At the end connections have this long to close.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// All that HTTP requests share.
struct Face {
    gateway: Arc<Gateway>,
    guarded: Guarded,
    sessions: Sessions,
    /// Those that have no session.
    single: Arc<Session>,
}

/// What is answered where no message of MCP is.
type Refusal = Box<Response>;

pub(super) async fn serve(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    token: Option<String>,
    stop: impl Future<Output = ()> + Send,
) -> std::io::Result<()> {
    let loopback = listener.local_addr()?.ip().is_loopback();
    assert!(loopback || token.is_some(), "without a token only this machine may ask");
    let single = Session::new(gateway.clone(), "http".into());
    let face = Arc::new(Face { guarded: Guarded { token, loopback }, sessions: Sessions::default(), single, gateway });
    let router = Router::new().route("/mcp", axum::routing::any(answer)).with_state(face.clone());
    let (stopping, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = axum::serve(patience::Patient(listener), router).with_graceful_shutdown(async { _ = stopped.await });
    let serving = serving.into_future();
    tokio::pin!(serving);
    let done = tokio::select! {
        done = &mut serving => done,
        () = face.sessions.sweep() => Ok(()),
        () = stop => Ok(()),
    };
    // Fails only when serving has ended.
    let _ = stopping.send(());
    face.single.end();
    face.sessions.end();
    let _ = tokio::time::timeout(CLOSE_MAX, &mut serving).await;
    face.single.ended().await;
    face.sessions.ended().await;
    done
}

async fn answer(State(face): State<Arc<Face>>, method: Method, headers: HeaderMap, body: Body) -> Response {
    if let Err(refusal) = face.guarded.check(&headers) {
        return *refusal;
    }
    let answered = match method {
        Method::POST => face.post(headers, body).await,
        Method::GET => face.get(&headers),
        Method::DELETE => face.delete(&headers).await,
        _ => Err(no_method()),
    };
    answered.unwrap_or_else(|refusal| *refusal)
}

impl Face {
    async fn post(&self, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
        checks::media_types(&headers)?;
        let body = axum::body::to_bytes(body, MESSAGE_BYTES_MAX).await.map_err(|error| {
            plain(
                StatusCode::PAYLOAD_TOO_LARGE,
                &format!("the body cannot be read, or is over {} MiB: {error}", MESSAGE_BYTES_MAX >> 20),
            )
        })?;
        let text = std::str::from_utf8(&body).map_err(|error| {
            let error = RpcError::new(ErrorCode::PARSE_ERROR, format!("this is not UTF-8: {error}"));
            refused(None, &error, StatusCode::BAD_REQUEST)
        })?;
        let message =
            wire::read(text).map_err(|(id, error)| refused(id.as_deref(), &error, StatusCode::BAD_REQUEST))?;
        let version =
            headers.get(HEADER_MCP_PROTOCOL_VERSION).map(|version| version.to_str().unwrap_or("?").to_owned());
        match self.is_single(&message, version.as_deref()) {
            true => self.single(message, &headers, version.as_deref()).await,
            false => self.in_session(message, &headers, version.as_deref()).await,
        }
    }

    /// Whether a message says itself who sends it, as the newer revision has it.
    fn is_single(&self, message: &Incoming, version: Option<&str>) -> bool {
        let says = |request: &Request| {
            request.method == "server/discover" || client::named_version(request.params.as_ref()).is_some()
        };
        version.is_some_and(|version| client::is_modern(version) && client::supported(version).is_ok())
            || matches!(message, Incoming::Request(request) if says(request))
    }

    async fn single(&self, message: Incoming, headers: &HeaderMap, version: Option<&str>) -> Result<Response, Refusal> {
        let (outlet, sent) = Outlet::new();
        let Incoming::Request(request) = &message else {
            // The newer revision has none that mean anything here: a request ends with its connection.
            return Ok(StatusCode::ACCEPTED.into_response());
        };
        let bad = |error: &RpcError| refused(Some(&request.id), error, StatusCode::BAD_REQUEST);
        let mismatch = |why: String| bad(&RpcError::new(ErrorCode::HEADER_MISMATCH, why));
        let named = client::named_version(request.params.as_ref());
        if named.is_some() {
            // Before it is asked whether either is spoken here.
            headers::one_version(version, named.as_deref()).map_err(mismatch)?;
        }
        Asker::read(request.params.as_ref(), None, outlet.clone()).map_err(|error| bad(&error))?;
        if named.as_deref().is_some_and(client::is_modern) {
            headers::agree(headers, request, &self.gateway).map_err(mismatch)?;
        }
        let number = self.single.receive(message, &outlet);
        let going = stream::Going { session: self.single.clone(), number };
        drop(outlet);
        Ok(stream::answer(sent, Some(going), true).await)
    }

    async fn in_session(
        &self,
        message: Incoming,
        headers: &HeaderMap,
        version: Option<&str>,
    ) -> Result<Response, Refusal> {
        if let Some(version) = version
            && let Err(error) = client::supported(version)
        {
            let id = if let Incoming::Request(request) = &message { Some(&*request.id) } else { None };
            return Err(refused(id, &error, StatusCode::BAD_REQUEST));
        }
        let begins = matches!(&message, Incoming::Request(request) if request.method == "initialize");
        let (id, session) = match headers.get(HEADER_SESSION_ID) {
            None if begins => {
                let (id, session) =
                    self.sessions.begin(&self.gateway).map_err(|why| plain(StatusCode::SERVICE_UNAVAILABLE, &why))?;
                (Some(id), session)
            }
            None => {
                return Err(plain(
                    StatusCode::BAD_REQUEST,
                    "this request names no session (`Mcp-Session-Id`); `initialize` begins one",
                ));
            }
            Some(id) => (None, self.find(id)?),
        };
        let (outlet, sent) = Outlet::new();
        let is_request = matches!(message, Incoming::Request(_));
        session.receive(message, &outlet);
        drop(outlet);
        if !is_request {
            return Ok(StatusCode::ACCEPTED.into_response());
        }
        let mut response = stream::answer(sent, None, false).await;
        if let Some(id) = id
            && let Ok(id) = id.parse()
        {
            response.headers_mut().insert(HEADER_SESSION_ID, id);
        }
        Ok(response)
    }

    /// The stream of what belongs to no request.
    fn get(&self, headers: &HeaderMap) -> Result<Response, Refusal> {
        let id = headers.get(HEADER_SESSION_ID).ok_or_else(no_method)?;
        let session = self.find(id)?;
        let (outlet, sent) = Outlet::new();
        session.listen(Some(outlet));
        Ok(stream::events(None, sent, None))
    }

    async fn delete(&self, headers: &HeaderMap) -> Result<Response, Refusal> {
        let id = headers.get(HEADER_SESSION_ID).ok_or_else(no_method)?;
        self.find(id)?;
        if let Some(session) = id.to_str().ok().and_then(|id| self.sessions.remove(id)) {
            session.end();
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    fn find(&self, id: &header::HeaderValue) -> Result<Arc<Session>, Refusal> {
        let found = id.to_str().ok().and_then(|id| self.sessions.find(id));
        found.ok_or_else(|| plain(StatusCode::NOT_FOUND, "there is no such session; `initialize` begins one"))
    }
}

fn no_method() -> Refusal {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "POST a message; GET and DELETE are for sessions");
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("POST, GET, DELETE"));
    response
}

fn plain(status: StatusCode, why: &str) -> Refusal {
    Box::new((status, why.to_owned()).into_response())
}

fn refused(id: Option<&str>, error: &RpcError, status: StatusCode) -> Refusal {
    Box::new((status, [(header::CONTENT_TYPE, JSON_MIME_TYPE)], wire::refusal(id, error)).into_response())
}
