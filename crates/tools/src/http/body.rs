//! The body of a request as the connection takes it, and what is known of a request by that (`Sent`).
//! It does not know what the body means.

use super::client::Client;
use super::request::{Content, Part, PartData};
use crate::tool::{Progress, Reached, ToolError};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, HeaderValue};
use reqwest::multipart::Form;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use tokio_util::io::ReaderStream;

/// How far a request has got.
///
/// A connection asks a body whether it is empty exactly when it begins to write the head of its request, and nobody
/// asks before. So as long as nobody asked, nothing was sent: proven by `tests/it/http` for HTTP/1 and HTTP/2.
///
/// Nobody is woken by its progress: who waits looks at the time of the last when that may be too long ago.
pub(crate) struct Sent {
    handed: AtomicBool,
    finished: AtomicBool,
    made: Instant,
    /// When a connection last took something, in nanoseconds from `made`; written before the other two.
    moved_ns: AtomicU64,
}

impl Sent {
    fn new() -> Sent {
        Sent {
            handed: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            made: Instant::now(),
            moved_ns: AtomicU64::new(0),
        }
    }

    /// Whether any of it can have been sent.
    pub(crate) fn reached(&self) -> Reached {
        if self.handed.load(Ordering::Acquire) { Reached::Unknown } else { Reached::No }
    }

    /// Whether all of the body was taken.
    pub(super) fn finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// How long ago a connection took the request, or more of it; before that, how long ago it was made.
    pub(super) fn silent(&self) -> Duration {
        self.made.elapsed().saturating_sub(Duration::from_nanos(self.moved_ns.load(Ordering::Acquire)))
    }

    fn moved(&self) {
        let ns = u64::try_from(self.made.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.moved_ns.store(ns, Ordering::Release);
    }
}

/// A body that notes when it is taken.
struct Watched {
    inner: reqwest::Body,
    sent: Arc<Sent>,
    progress: Progress,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        if frame.is_ready() {
            self.progress.made();
            self.sent.moved();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        let end = self.inner.is_end_stream();
        let sent = &self.sent;
        if !sent.handed.load(Ordering::Acquire) || end && !sent.finished.load(Ordering::Acquire) {
            sent.moved();
            sent.finished.store(end, Ordering::Release);
            sent.handed.store(true, Ordering::Release);
            self.progress.made();
        }
        end
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A request with this body, of which `sent` tells.
///
/// # Errors
/// `argument_unsendable`: a file that cannot be read, a content type that is none.
pub(super) fn request(
    client: &Client,
    method: Method,
    url: reqwest::Url,
    content: &Content,
    progress: &Progress,
) -> Result<(reqwest::Request, Arc<Sent>), ToolError> {
    let mut request = match content {
        Content::Multipart(parts) => {
            let form = form(parts)?;
            let built = client.request(method, url).multipart(form).build();
            built.map_err(|error| unsendable(format!("the parts cannot be sent: {}", error.without_url())))?
        }
        _ => reqwest::Request::new(method, url),
    };
    // Some servers answer 411 to a POST that does not say that nothing follows (RFC 9110, 8.6).
    let nothing = match content {
        Content::Empty => true,
        Content::Bytes(bytes) => bytes.is_empty(),
        Content::Multipart(_) => false,
    };
    if nothing && matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH) {
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let inner = match content {
        Content::Empty => reqwest::Body::default(),
        Content::Bytes(bytes) => bytes.clone().into(),
        Content::Multipart(_) => request.body_mut().take().unwrap_or_default(),
    };
    let sent = Arc::new(Sent::new());
    let watched = Watched { inner, sent: Arc::clone(&sent), progress: progress.clone() };
    *request.body_mut() = Some(reqwest::Body::wrap(watched));
    Ok((request, sent))
}

fn form(parts: &[Part]) -> Result<Form, ToolError> {
    // Names stand as they are, as browsers send them: few servers understand `name*=`.
    let mut form = Form::new().percent_encode_noop();
    for part in parts {
        let mut sent = match &part.data {
            PartData::Bytes(bytes) => {
                let length = bytes.len() as u64;
                reqwest::multipart::Part::stream_with_length(bytes.clone(), length)
            }
            PartData::File(path) => {
                let bad = |why: String| unsendable(format!("the file {} cannot be sent: {why}", path.display()));
                // Looked at before it is opened: opening a pipe waits for somebody at its other end.
                let data = std::fs::metadata(path).map_err(|error| bad(error.to_string()))?;
                if !data.is_file() {
                    return Err(bad("it is no file of bytes, but a folder, a pipe or a device".to_owned()));
                }
                let file = std::fs::File::open(path).map_err(|error| bad(error.to_string()))?;
                let length = data.len();
                // No more than was told, also of a file that grows: what follows would not be where it is looked for.
                let pieces = ReaderStream::new(tokio::fs::File::from_std(file).take(length));
                reqwest::multipart::Part::stream_with_length(reqwest::Body::wrap_stream(pieces), length)
            }
        };
        if let Some(content_type) = &part.content_type {
            sent = sent
                .mime_str(content_type)
                .map_err(|_| unsendable(format!("`{content_type}` is not a content type")))?;
        }
        if let Some(name) = &part.file_name {
            sent = sent.file_name(quotable(name));
        }
        form = form.part(quotable(&part.name), sent);
    }
    Ok(form)
}

/// A name as it stands between quotes in the head of a part (the HTML standard, 4.10.21.8): it cannot end there.
fn quotable(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

fn unsendable(message: String) -> ToolError {
    super::request::unsendable(message)
}
