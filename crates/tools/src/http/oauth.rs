//! OAuth 2 client credentials (RFC 6749, 4.4): a token is fetched once, kept, and fetched again before it ends.
//! It does not know what it is used for.

use super::address::Private;
use super::body::{self, Sent};
use super::client::Client;
use super::encode::{Stands, encode};
use super::failure::{self, Wait};
use super::request::{Content, pair};
use super::secret::{self, Known};
use crate::tool::{Progress, Reached, ToolError};
use base64::Engine as _;
use fanout_plan::{HttpAuth, HttpSpec, SecretName};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

/// The longest wait for a token; servers of tokens are quick.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How long before its end a token is not used any more; a tenth of its life where that is less.
const MARGIN: Duration = Duration::from_secs(60);
/// A longer answer is not a token.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// The tokens of an engine, one for each declaration.
#[derive(Default)]
pub(super) struct Tokens(Mutex<Vec<(HttpAuth, Arc<Source>)>>);

/// Where one token comes from, and the token.
#[derive(Default)]
pub(super) struct Source(AsyncMutex<State>);

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// The last failure: those who waited meanwhile share it instead of asking again one by one.
    failed: Option<(Instant, ToolError)>,
}

struct Token {
    secret: SecretString,
    until: Option<Instant>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: Option<String>,
    /// Seconds; as a text from some servers.
    #[serde(default)]
    expires_in: Value,
}

impl Tokens {
    /// The source of the token for this declaration.
    pub(super) fn source(&self, auth: &HttpAuth) -> Arc<Source> {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, source)) = sources.iter().find(|(other, _)| other == auth) {
            return Arc::clone(source);
        }
        let source = Arc::new(Source::default());
        sources.push((auth.clone(), Arc::clone(&source)));
        source
    }
}

impl Source {
    /// A token that is not the `refused` one.
    ///
    /// # Errors
    /// `http_token`, and what sending can end with; the tool itself was not reached.
    pub(super) async fn token(
        &self,
        ask: &Ask<'_>,
        known: &mut Known,
        refused: Option<&SecretString>,
    ) -> Result<SecretString, ToolError> {
        let asked = Instant::now();
        // Everybody waits for the one who fetches it.
        let mut state = self.0.lock().await;
        let fresh = state.token.as_ref().filter(|token| {
            token.until.is_none_or(|until| Instant::now() < until)
                && refused.is_none_or(|refused| refused.expose_secret() != token.secret.expose_secret())
        });
        if let Some(token) = fresh {
            known.note(&token.secret);
            return Ok(token.secret.clone());
        }
        if let Some((at, error)) = &state.failed
            && *at >= asked
        {
            return Err(error.clone());
        }
        state.token = None;
        match ask.fetch(known).await {
            Ok(token) => {
                let secret = token.secret.clone();
                *state = State { token: Some(token), failed: None };
                Ok(secret)
            }
            Err(error) => {
                let error = known.strike_error(error.reached(Reached::No));
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }
}

/// A question for a token.
pub(super) struct Ask<'a> {
    pub(super) client: &'a Client,
    pub(super) spec: &'a HttpSpec,
    pub(super) private: &'a Private,
    pub(super) auth: &'a HttpAuth,
}

impl Ask<'_> {
    async fn fetch(&self, known: &mut Known) -> Result<Token, ToolError> {
        let HttpAuth::OAuth2 { token_url, client_id, client_secret, scopes, audience, in_body } = self.auth else {
            return Err(failed("nothing says where"));
        };
        let url = self.url(token_url)?;
        let (id, secret) = (self.read(client_id, known).await?, self.read(client_secret, known).await?);
        let mut form = vec![pair("grant_type", "client_credentials")];
        if !scopes.is_empty() {
            form.push(pair("scope", &scopes.join(" ")));
        }
        form.extend(audience.as_deref().map(|audience| pair("audience", audience)));
        if *in_body {
            form.push(pair("client_id", id.expose_secret()));
            form.push(pair("client_secret", secret.expose_secret()));
        }
        let content = Content::Bytes(form.join("&").into());
        let (mut request, sent) = body::request(self.client, Method::POST, url, &content, &Progress::none())?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if !in_body {
            // Both are encoded before they are joined (RFC 6749, 2.3.1).
            let encoded = |secret: &SecretString| encode(secret.expose_secret(), Stands::Pairs, false).into_owned();
            let joined = format!("{}:{}", encoded(&id), encoded(&secret));
            let basic: SecretString = base64::engine::general_purpose::STANDARD.encode(joined).into();
            known.note(&basic);
            headers.insert(AUTHORIZATION, super::auth::header("Basic ", &basic)?);
        }
        let limit = self.spec.waits.first_byte.min(WAIT_MAX);
        let answer = tokio::time::timeout(limit, self.answer(request, &sent)).await;
        let (status, bytes) = answer.map_err(|_| failure::waited(&WHAT, Wait::FirstByte, limit, Reached::No))??;
        self.granted(status, &bytes, known)
    }

    fn url(&self, text: &str) -> Result<Url, ToolError> {
        let url = Url::parse(text).map_err(|error| failed(&format!("`token_url` is not a URL: {error}")))?;
        let host = url.host_str().unwrap_or_default();
        // The host is declared by being written there; its address is checked as any other.
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            let checked = self.private.check(host, address);
            checked.map_err(|refused| failure::not_allowed(&WHAT, &super::reach::No::Address(refused)))?;
        }
        Ok(url)
    }

    async fn read(&self, name: &SecretName, known: &mut Known) -> Result<SecretString, ToolError> {
        let secret = secret::read(name).await?;
        known.note(&secret);
        Ok(secret)
    }

    async fn answer(&self, request: reqwest::Request, sent: &Sent) -> Result<(u16, Vec<u8>), ToolError> {
        let sending = self.client.execute(request).await;
        let mut response: Response = sending.map_err(|error| failure::unanswered(&WHAT, error, sent))?;
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| failure::broken(&WHAT, error))? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(failed("the answer is too long to be a token"));
            }
        }
        Ok((response.status().as_u16(), bytes))
    }

    fn granted(&self, status: u16, bytes: &[u8], known: &mut Known) -> Result<Token, ToolError> {
        if status != 200 {
            let error = failed(&format!("the server answered {status}"));
            let passing = self.spec.transient.contains(status);
            let class = if passing { crate::tool::ErrorClass::Transient } else { error.class };
            let text: String = String::from_utf8_lossy(bytes).chars().take(1_000).collect();
            return Err(ToolError { class, ..error }.detail(text));
        }
        // What is wrong with it is not told: the text may hold the token.
        let granted: Granted =
            serde_json::from_slice(bytes).map_err(|_| failed("the answer is not JSON with an `access_token`"))?;
        if granted.token_type.as_deref().is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(failed("it is not a bearer token"));
        }
        let secret = SecretString::from(granted.access_token);
        known.note(&secret);
        let seconds = match &granted.expires_in {
            Value::String(text) => text.trim().parse::<f64>().ok(),
            other => other.as_f64(),
        };
        let life = seconds.filter(|seconds| (0.0..1e9).contains(seconds)).map(Duration::from_secs_f64);
        let until = life.map(|life| Instant::now() + life - MARGIN.min(life / 10));
        Ok(Token { secret, until })
    }
}

const WHAT: &str = "the question for a token";

fn failed(why: &str) -> ToolError {
    ToolError::permanent(format!("there is no token: {why}; look at `auth` of the tool"))
        .code("http_token")
        .reached(Reached::No)
}
