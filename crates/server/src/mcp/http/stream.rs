//! The body of an HTTP answer: one message, or a stream of events until the answer is there.
//! It does not know what the messages say.

use crate::mcp::outlet::Sent;
use crate::mcp::session::Session;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use rmcp::model::ErrorCode;
use rmcp::transport::common::http_header::{EVENT_STREAM_MIME_TYPE, JSON_MIME_TYPE};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

/// An answer that comes within this time is sent alone; then a stream begins, since clients do not wait for headers for ever.
const ALONE_WITHIN: Duration = Duration::from_secs(5);
/// A silent stream says this often that it is there.
const ALIVE: Duration = Duration::from_secs(15);

/// A request whose client is there as long as its connection is.
pub(super) struct Going {
    pub(super) session: Arc<Session>,
    pub(super) number: Option<u64>,
}

impl Drop for Going {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            // Nothing, where it has been answered.
            self.session.cancel(number);
        }
    }
}

/// The answer to a request, with what comes before it.
pub(super) async fn answer(mut sent: Receiver<Sent>, going: Option<Going>, modern: bool) -> Response {
    let first = timeout(ALONE_WITHIN, sent.recv()).await;
    match first {
        Ok(Some(Sent { text, answers: Some(code) })) => {
            let status = code.filter(|_| modern).map_or(StatusCode::OK, status);
            (status, [(header::CONTENT_TYPE, JSON_MIME_TYPE)], text).into_response()
        }
        Ok(Some(first)) => events(Some(first), sent, going),
        // It was cancelled: there is no answer.
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        Err(_) => events(None, sent, going),
    }
}

/// The newer revision says in the status too why a request was not done.
fn status(code: i32) -> StatusCode {
    match ErrorCode(code) {
        ErrorCode::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        ErrorCode::HEADER_MISMATCH
        | ErrorCode::UNSUPPORTED_PROTOCOL_VERSION
        | ErrorCode::MISSING_REQUIRED_CLIENT_CAPABILITY => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

/// A stream of messages; it ends behind an answer, or when nobody can send any more.
pub(super) fn events(first: Option<Sent>, sent: Receiver<Sent>, going: Option<Going>) -> Response {
    let state = Some((first, sent, going));
    let body = stream::unfold(state, |state| async move {
        let (first, mut sent, going) = state?;
        let next = match first {
            Some(first) => Some(first),
            None => match timeout(ALIVE, sent.recv()).await {
                Ok(next) => Some(next?),
                Err(_) => None,
            },
        };
        let (text, last) = match next {
            Some(Sent { text, answers }) => (format!("event: message\ndata: {text}\n\n"), answers.is_some()),
            None => (":\n\n".to_owned(), false),
        };
        Some((Ok::<_, Infallible>(text), (!last).then_some((None, sent, going))))
    });
    let headers = [(header::CONTENT_TYPE, EVENT_STREAM_MIME_TYPE), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(body)).into_response()
}
