//! One attempt of an HTTP tool: fill in, prove, send, follow, read; and its end, however it comes.
//! It does not know why an attempt is aborted or whether another follows.

use super::address::Private;
use super::answer;
use super::auth::{Credentials, gather};
use super::body::{self, Sent};
use super::client::Client;
use super::failure::{self, Wait};
use super::head::head;
use super::oauth::{Ask, Tokens};
use super::reach::{Reach, is_redirect};
use super::request::{self, Content, Outgoing};
use super::secret::Known;
use crate::tool::{Attempt, JsonText, Progress, Reached, Tool, ToolError, ToolFuture, ToolOutput, ToolResult};
use fanout_plan::{HttpAuth, HttpSpec};
use reqwest::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};
use secrecy::ExposeSecret;
use serde_json::value::RawValue;
use std::fmt;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::time::sleep;

/// What crosses to another origin: what the answer is to be like, and nothing that could prove anything.
const HARMLESS: [HeaderName; 3] = [ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE];

/// A request as a tool.
pub(super) struct HttpTool {
    pub(super) spec: HttpSpec,
    pub(super) method: Method,
    /// The URL, where no argument is in it.
    pub(super) url: Option<Url>,
    /// The request, where no argument is in any of it.
    pub(super) whole: Option<Arc<Outgoing>>,
    pub(super) client: Client,
    pub(super) reach: Reach,
    pub(super) private: Private,
    pub(super) tokens: Arc<Tokens>,
    pub(super) spill_dir: PathBuf,
}

/// An [`HttpTool`] as the engine holds it.
pub(super) struct Shared(pub(super) Arc<HttpTool>);

impl Tool for Shared {
    fn call(&self, attempt: Attempt) -> ToolFuture {
        Box::pin(run(Arc::clone(&self.0), attempt))
    }
}

/// What is known of an attempt while it runs.
struct Course<'a> {
    tool: &'a HttpTool,
    progress: &'a Progress,
    known: Known,
    /// The request that was sent last.
    sent: Option<Arc<Sent>>,
    /// A request before that may have had its effect.
    passed: bool,
    /// The request, for messages.
    what: What,
}

async fn run(tool: Arc<HttpTool>, attempt: Attempt) -> ToolResult {
    if attempt.aborted.is_cancelled() {
        return Err(ToolError::aborted(Reached::No));
    }
    let mut course = Course {
        tool: &tool,
        progress: &attempt.progress,
        known: Known::default(),
        sent: None,
        passed: false,
        what: What::default(),
    };
    let total = tool.spec.waits.total;
    let over = async {
        match total {
            Some(total) => sleep(total).await,
            None => pending().await,
        }
    };
    // What is dropped here takes its connection with it.
    let end = tokio::select! {
        biased;
        () = attempt.aborted.cancelled() => Err(None),
        end = course.go(&attempt) => Ok(end),
        () = over => Err(total),
    };
    match end {
        Ok(Ok(value)) => Ok(ToolOutput::new(course.without_secrets(value))),
        Ok(Err(error)) => Err(course.known.strike_error(course.as_far(error))),
        Err(Some(total)) => Err(failure::waited(&course.what, Wait::Total, total, course.reached())),
        Err(None) => Err(ToolError::aborted(course.reached())),
    }
}

impl Course<'_> {
    async fn go(&mut self, attempt: &Attempt) -> Result<JsonText, ToolError> {
        let tool = self.tool;
        let outgoing = match &tool.whole {
            Some(whole) => Arc::clone(whole),
            None => Arc::new(fill(tool, attempt)?),
        };
        self.what.outgoing = Some(Arc::clone(&outgoing));
        let mut refused = Vec::new();
        let mut response = loop {
            // Any declaration stands for the place of the one that is asked with.
            let none = HttpAuth::Bearer(fanout_plan::SecretName::Env(String::new()));
            let ask = Ask { client: &tool.client, spec: &tool.spec, private: &tool.private, auth: &none };
            let proof = gather(&ask, &tool.spec.auth, &tool.tokens, &mut self.known, &refused).await?;
            let response = self.follow(&outgoing, &proof).await?;
            // A token may end before its time. The request was refused, so asking again asks once; but not where
            // the one that was refused followed one that was done.
            let again = response.status() == StatusCode::UNAUTHORIZED && refused.is_empty() && !self.passed;
            if proof.tokens.is_empty() || !again {
                break response;
            }
            refused = proof.tokens;
        };
        let status = response.status();
        if tool.spec.success.contains(status.as_u16()) {
            let Course { what, progress, .. } = self;
            return answer::result(&tool.spec, what, &tool.method, response, &tool.spill_dir, progress).await;
        }
        let transient = tool.spec.transient.contains(status.as_u16());
        let after = failure::retry_after(response.headers()).filter(|_| transient);
        let text = answer::detail(&tool.spec, &mut response).await;
        // Struck before it is cut.
        let text = self.known.strike(text);
        let first: String = text.lines().next().unwrap_or_default().chars().take(200).collect();
        let colon = if first.is_empty() { "" } else { ": " };
        let wait = after.map(|after| format!(", to be asked again after {after:?}")).unwrap_or_default();
        let message = format!("{} was answered {status}{wait}{colon}{first}", self.what);
        let error = if transient { ToolError::transient(message) } else { ToolError::permanent(message) };
        let declared = tool.spec.not_reached.contains(status.as_u16());
        let reached = if declared { Reached::No } else { failure::reached_by(status.as_u16()) };
        Err(ToolError { retry_after: after, ..error.code("http_status").reached(reached).detail(text) })
    }

    /// Sends a request and follows where it is sent on to.
    async fn follow(&mut self, outgoing: &Outgoing, proof: &Credentials) -> Result<Response, ToolError> {
        let tool = self.tool;
        let mut url = outgoing.url.clone();
        for pair in &proof.query {
            let query = url.query().map(|query| format!("{query}&")).unwrap_or_default();
            url.set_query(Some(&format!("{query}{}", pair.expose_secret())));
        }
        let mut method = outgoing.method.clone();
        let (mut with_body, mut own) = (true, true);
        tool.reach.check(&url).map_err(|no| failure::not_allowed(&self.what, &no))?;
        let mut hops = 0;
        self.what.then = None;
        loop {
            let content = if with_body { &outgoing.content } else { &Content::Empty };
            let (mut request, sent) = body::request(&tool.client, method.clone(), url.clone(), content, self.progress)?;
            headers(request.headers_mut(), outgoing, proof, own, with_body)?;
            self.sent = Some(Arc::clone(&sent));
            let response = head(&tool.client, request, &sent, &tool.spec.waits, &self.what).await;
            self.progress.made();
            let response = response?;
            let status = response.status();
            let location = response.headers().get(LOCATION);
            let (true, Some(location), false) =
                (is_redirect(status), location, tool.spec.success.contains(status.as_u16()))
            else {
                return Ok(response);
            };
            let max = tool.reach.redirects_max();
            if max == 0 {
                return Ok(response);
            }
            let refuse = |why: &str| failure::redirect_refused(&self.what, status.as_u16(), why);
            if hops == max {
                return Err(refuse(&format!("there were {max} before it (`redirects`)")));
            }
            hops += 1;
            let next = tool
                .reach
                .redirect(&url, &method, status, location.as_bytes())
                .map_err(|no| refuse(&failure::reason(&no)))?;
            // Of 307 and 308 alone it is said that nothing was done yet.
            self.passed |= !method.is_safe() && !matches!(status.as_u16(), 307 | 308);
            own &= next.same_origin;
            with_body &= next.with_body;
            (url, method) = (next.url, next.method);
            self.what.then = Some((method.clone(), url.clone()));
        }
    }

    /// Whether anything can have been reached by now.
    fn reached(&self) -> Reached {
        match &self.sent {
            _ if self.passed => Reached::Unknown,
            Some(sent) => sent.reached(),
            None => Reached::No,
        }
    }

    /// An error, when what came before it may have had its effect.
    fn as_far(&self, error: ToolError) -> ToolError {
        if self.passed && error.reached == Reached::No { error.reached(Reached::Unknown) } else { error }
    }

    /// A result in which the server repeats what proves who is asking goes on without it.
    fn without_secrets(&self, value: JsonText) -> JsonText {
        if self.known.is_empty() {
            return value;
        }
        let mut value = value;
        if value.get().contains("\"spilled\"")
            && let Ok(mut whole) = serde_json::from_str(value.get())
            && self.known.strike_head(&mut whole)
        {
            value = serde_json::value::to_raw_value(&whole).map_or(value, Arc::from);
        }
        if self.known.is_in(value.get().as_bytes()) {
            let struck = RawValue::from_string(self.known.strike_result(value.get().to_owned()));
            // Where it stood as a number, nothing of the value is kept.
            value = struck.or_else(|_| RawValue::from_string(r#""[secret]""#.to_owned())).map_or(value, Arc::from);
        }
        // A server may escape any character of it; what it says is seen only in the texts themselves.
        if value.get().contains('\\')
            && let Ok(mut whole) = serde_json::from_str(value.get())
            && self.known.strike_texts(&mut whole)
        {
            value = serde_json::value::to_raw_value(&whole).map_or(value, Arc::from);
        }
        value
    }
}

/// The request of this attempt.
fn fill(tool: &HttpTool, attempt: &Attempt) -> Result<Outgoing, ToolError> {
    let args = serde_json::from_str(attempt.args.get()).map_err(|error| {
        let message = format!("the arguments are no JSON value: {error}");
        ToolError::permanent(message).code("args_mismatch").reached(Reached::No)
    })?;
    let mut outgoing = request::fill(&tool.spec, &tool.method, tool.url.as_ref(), &tool.spec.with_defaults(args))?;
    if let Some(name) = request::idempotency_header(&tool.spec, &tool.method) {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| request::unsendable(format!("`{name}` cannot be the name of a header")))?;
        outgoing.headers.insert(name, request::header_value("idempotency key", &attempt.idempotency_key())?);
    }
    Ok(outgoing)
}

fn headers(
    headers: &mut HeaderMap,
    outgoing: &Outgoing,
    proof: &Credentials,
    own: bool,
    with_body: bool,
) -> Result<(), ToolError> {
    let given = |name: &HeaderName| (own || HARMLESS.contains(name)) && (with_body || *name != CONTENT_TYPE);
    for (name, value) in outgoing.headers.iter().filter(|(name, _)| given(name)) {
        headers.append(name, value.clone());
    }
    if !own {
        return Ok(());
    }
    for (name, value) in &proof.headers {
        headers.insert(name, value.clone());
    }
    let secret = proof.cookies.iter().map(|cookie| cookie.expose_secret().to_owned());
    let cookies: Vec<String> = outgoing.cookies.iter().cloned().chain(secret).collect();
    if let Some((name, value)) = request::cookie_header(&cookies)? {
        headers.insert::<HeaderName>(name, sensitive(value));
    }
    Ok(())
}

fn sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// A request for messages: without its query, which may hold anything.
#[derive(Default)]
struct What {
    outgoing: Option<Arc<Outgoing>>,
    /// Where it was sent on to last.
    then: Option<(Method, Url)>,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Outgoing { method, url, .. }) = self.outgoing.as_deref() else { return f.write_str("the request") };
        let write = |f: &mut fmt::Formatter<'_>, method: &Method, url: &Url| {
            let path: String = url.path().chars().take(200).collect();
            write!(f, "{method} {}{path}", url.origin().ascii_serialization())
        };
        match &self.then {
            Some((then, to)) if to != url || then != method => {
                write(f, then, to)?;
                f.write_str(", to which ")?;
                write(f, method, url)?;
                f.write_str(" leads,")
            }
            _ => write(f, method, url),
        }
    }
}
