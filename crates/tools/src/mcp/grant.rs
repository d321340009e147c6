//! What lets fanout in at a server (`Grant`): a token that a person once allowed, refreshed, widened, kept in a file.
//! It does not know what is asked of the server.

use super::keep::Kept;
use super::words::Texts;
use crate::http::{Road, host_is_loopback};
use crate::tool::{Reached, ToolError};
use fanout_plan::{McpOAuth, McpPiece, McpText};
use oauth2::TokenResponse as _;
use reqwest::header::{HeaderValue, LOCATION};
use reqwest::{Request, Response, Url};
use rmcp::transport::auth::{
    AuthorizationManager, AuthorizationRequest, CredentialStore, OAuthClientConfig, OAuthHttpClient,
    OAuthHttpClientError, OAuthHttpClientFuture, OAuthHttpRedirectPolicy, OAuthHttpRequest, OAuthState,
    WWWAuthenticateParams,
};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// How long a person may take.
const PERSON_MAX: Duration = Duration::from_secs(600);
/// How long one request of the flow may take.
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// A larger answer is none of the flow.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How many redirects are followed where documents are looked for.
const HOPS_MAX: usize = 5;
/// How long before its end a token is not used any more.
const MARGIN: Duration = Duration::from_secs(30);
/// What the browser shows when a person has come back.
const PAGE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n\r\n\
    <!doctype html><title>fanout</title><p>Done. You can close this window and go back to fanout.";

/// Shows a person a URL at which fanout is let in.
pub(crate) type Show = Arc<dyn Fn(&str) + Send + Sync>;

/// What lets fanout in at one server.
pub(super) struct Grant {
    /// What the toolbox is called.
    pub(super) name: Arc<str>,
    pub(super) url: Url,
    pub(super) oauth: McpOAuth,
    pub(super) road: Arc<Road>,
    pub(super) kept: Kept,
    /// How a person is asked; absent where nobody is there.
    pub(super) show: Option<Show>,
    /// What proves who is asking is declared: nothing is looked for.
    pub(super) declared: bool,
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// Whether the file was looked into.
    loaded: bool,
    token: Option<SecretString>,
    /// When it ends, since 1970.
    until: Option<Duration>,
    /// What was asked for.
    scopes: Vec<String>,
}

/// Too many refusals.
pub(super) fn refused(what: &str, times: u32) -> ToolError {
    let message = format!("{what} was refused although fanout was let in {times} times");
    ToolError::permanent(message).code("mcp_login").reached(Reached::No)
}

/// A token as a header.
pub(super) fn bearer(token: &SecretString) -> Result<HeaderValue, ToolError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).map_err(|_| {
        ToolError::permanent("the token holds what no header can hold").code("mcp_login").reached(Reached::No)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

impl Grant {
    /// The token there is; `None` where none is needed, as far as is known.
    ///
    /// # Errors
    /// `mcp_login`: there is one, and it cannot be used any more.
    pub(super) async fn token(&self) -> Result<Option<SecretString>, ToolError> {
        if self.declared {
            return Ok(None);
        }
        let mut state = self.state.lock().await;
        if !state.loaded {
            state.loaded = true;
            self.load(&mut state).await?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if state.until.is_some_and(|until| until <= now + MARGIN) {
            // What cannot be refreshed is used to its end: the server says when that is.
            let _not = self.refresh(&mut state).await;
        }
        Ok(state.token.clone())
    }

    /// Gets another token than the one that was refused; with `more`, one that allows more.
    ///
    /// # Errors
    /// `mcp_login`: a person has to let fanout in, and nobody is there; or it was not let in.
    pub(super) async fn renew(
        &self,
        challenge: &str,
        used: Option<&SecretString>,
        more: bool,
    ) -> Result<(), ToolError> {
        if self.declared {
            let message = format!("the MCP server `{}` does not take what proves who is asking", self.name);
            return Err(ToolError::permanent(message).code("mcp_login").reached(Reached::No));
        }
        let mut state = self.state.lock().await;
        let text = |token: Option<&SecretString>| token.map(|token| token.expose_secret().to_owned());
        if text(state.token.as_ref()) != text(used) {
            // Somebody else did it meanwhile.
            return Ok(());
        }
        if !more && state.token.is_some() && self.refresh(&mut state).await {
            return Ok(());
        }
        let Some(show) = &self.show else {
            let why = if state.token.is_some() {
                "what it was given is not enough"
            } else {
                "it wants to know who is asking"
            };
            return Err(self.login(why));
        };
        self.authorize(&mut state, challenge, more, show).await
    }

    /// That a person has to come.
    fn login(&self, why: &str) -> ToolError {
        let message = format!(
            "the MCP server `{}` does not let fanout in: {why}; let it in with `fanout tools login {}`",
            self.name, self.name
        );
        ToolError::permanent(message).code("mcp_login").reached(Reached::No)
    }

    /// Takes what the file holds.
    async fn load(&self, state: &mut State) -> Result<(), ToolError> {
        let stored = self.kept.load().await.map_err(|error| self.failed(&error))?;
        let Some(stored) = stored else { return Ok(()) };
        let Some(response) = &stored.token_response else { return Ok(()) };
        state.token = Some(response.access_token().secret().as_str().into());
        let begun = stored.token_received_at.map(Duration::from_secs);
        state.until = begun.zip(response.expires_in()).map(|(begun, long)| begun + long);
        state.scopes = stored.granted_scopes;
        Ok(())
    }

    /// Another token by the refresh token; whether there is one.
    async fn refresh(&self, state: &mut State) -> bool {
        let Ok(mut manager) = self.manager().await else { return false };
        if !matches!(manager.initialize_from_store().await, Ok(true)) || self.known_client(&mut manager).await.is_err()
        {
            return false;
        }
        match manager.refresh_token().await {
            Ok(response) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                state.token = Some(response.access_token().secret().as_str().into());
                state.until = response.expires_in().map(|long| now + long);
                true
            }
            Err(_) => false,
        }
    }

    /// The client that is declared, with its secret.
    async fn known_client(&self, manager: &mut AuthorizationManager) -> Result<(), ToolError> {
        if let (Some(id), secret) = self.client().await? {
            let mut config = OAuthClientConfig::new(id, "http://127.0.0.1/callback");
            if let Some(secret) = secret {
                config = config.with_client_secret(secret);
            }
            manager.configure_client(config).map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    async fn manager(&self) -> Result<AuthorizationManager, ToolError> {
        let client = Arc::new(Fetch { road: Arc::clone(&self.road), loopback: host_is_loopback(&self.url) });
        let manager = AuthorizationManager::new_with_oauth_http_client(self.url.as_str(), client).await;
        let mut manager = manager.map_err(|error| self.failed(&error))?;
        manager.set_credential_store(self.kept.clone());
        Ok(manager)
    }

    /// The client's id and secret, where they are declared.
    async fn client(&self) -> Result<(Option<String>, Option<String>), ToolError> {
        let mut texts = Texts::default();
        let mut client = (None, None);
        if let Some(id) = &self.oauth.client_id {
            client.0 = Some(texts.fill(&McpText(vec![McpPiece::Secret(id.clone())])).await?);
        }
        if let Some(secret) = &self.oauth.client_secret {
            client.1 = Some(texts.fill(&McpText(vec![McpPiece::Secret(secret.clone())])).await?);
        }
        Ok(client)
    }

    /// Has a person let fanout in.
    async fn authorize(&self, state: &mut State, challenge: &str, more: bool, show: &Show) -> Result<(), ToolError> {
        let listener = TcpListener::bind(("127.0.0.1", self.oauth.port.unwrap_or(0))).await;
        let listener = listener.map_err(|error| self.failed(&error))?;
        let port = listener.local_addr().map_err(|error| self.failed(&error))?.port();
        let redirect = format!("http://127.0.0.1:{port}/callback");
        let mut request =
            AuthorizationRequest::new(&redirect).with_client_name("fanout").with_application_type("native");
        let (id, secret) = self.client().await?;
        if let Some(id) = id {
            request = request.with_preregistered_client(id);
        }
        if let Some(secret) = secret {
            request = request.with_client_secret(secret);
        }
        if let Some(url) = &self.oauth.client_metadata {
            request = request.with_client_metadata_url(url);
        }
        if !challenge.is_empty() {
            request = request.with_challenge(challenge);
        }
        let wanted = WWWAuthenticateParams::parse(challenge, &self.url).scope;
        let mut scopes = if more { state.scopes.clone() } else { Vec::new() };
        scopes.extend(self.oauth.scopes.iter().cloned());
        request = match scopes.is_empty() {
            true => request.with_initial_scope_selection(),
            false => {
                scopes.extend(wanted.iter().flat_map(|wanted| wanted.split_whitespace().map(str::to_owned)));
                let mut seen = std::collections::HashSet::new();
                scopes.retain(|scope| seen.insert(scope.clone()));
                request.with_scopes(scopes)
            }
        };
        let mut flow = OAuthState::Unauthorized(self.manager().await?);
        flow.start_authorization(request).await.map_err(|error| self.failed(&error))?;
        let url = flow.get_authorization_url().await.map_err(|error| self.failed(&error))?;
        let asked = Url::parse(&url).map_err(|error| self.failed(&error))?;
        let asked = asked.query_pairs().find(|(name, _)| name == "scope").map(|(_, scope)| scope.into_owned());
        show(&url);
        let back = timeout(PERSON_MAX, come_back(&listener, port)).await;
        let back = back.map_err(|_| self.login("nobody let it in within ten minutes"))?;
        flow.handle_callback_url(&back).await.map_err(|error| self.failed(&error))?;
        // The flow has kept it.
        self.load(state).await?;
        state.scopes = asked.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        Ok(())
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> ToolError {
        self.login(&super::shown(&error.to_string(), 300))
    }
}

/// Waits for the browser to come back; the URL it comes with.
async fn come_back(listener: &TcpListener, port: u16) -> String {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // A browser asks for more than it was sent for, and may ask slowly.
        if let Ok(Some(path)) = timeout(REQUEST_MAX, visitor(stream)).await {
            return format!("http://127.0.0.1:{port}{path}");
        }
    }
}

/// One visitor; the path it asks for, if it is who was waited for.
async fn visitor(mut stream: TcpStream) -> Option<String> {
    let mut asked = Vec::new();
    let mut piece = [0; 4 << 10];
    while !asked.windows(4).any(|window| window == b"\r\n\r\n") && asked.len() < 64 << 10 {
        match stream.read(&mut piece).await {
            Ok(n @ 1..) => asked.extend_from_slice(&piece[..n]),
            _ => break,
        }
    }
    let text = String::from_utf8_lossy(&asked);
    let path = text.strip_prefix("GET ")?.split(' ').next()?.to_owned();
    let awaited = path.starts_with("/callback?");
    let page = if awaited { PAGE } else { "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" };
    // Whoever does not want to read it may go.
    let _gone = stream.write_all(page.as_bytes()).await;
    let _gone = stream.shutdown().await;
    awaited.then_some(path)
}

/// Fetches what the flow needs from the hosts that the server names: by https, to public addresses, unless the server
/// itself is on this machine.
struct Fetch {
    road: Arc<Road>,
    loopback: bool,
}

impl OAuthHttpClient for Fetch {
    fn execute(&self, request: OAuthHttpRequest) -> OAuthHttpClientFuture<'_> {
        Box::pin(async move {
            let fetched = timeout(REQUEST_MAX, self.fetch(request)).await;
            fetched.unwrap_or_else(|_| Err("there was no answer within 30 s".into()))
        })
    }
}

impl Fetch {
    async fn fetch(&self, asked: OAuthHttpRequest) -> Result<http::Response<Vec<u8>>, OAuthHttpClientError> {
        let follow = asked.redirect_policy == OAuthHttpRedirectPolicy::Follow;
        let mut request = Request::try_from(asked.request)?;
        for _ in 0..=HOPS_MAX {
            self.check(request.url())?;
            let again = request.try_clone();
            let response = self.road.client().execute(request).await.map_err(reqwest::Error::without_url)?;
            let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let next = location.filter(|_| follow && response.status().is_redirection());
            let (Some(next), Some(mut again)) = (next, again) else { return whole(response).await };
            let next = response.url().join(next)?;
            if next.origin() != response.url().origin() {
                return Err("it leads to another server".into());
            }
            *again.url_mut() = next;
            request = again;
        }
        Err("it leads on and on".into())
    }

    fn check(&self, url: &Url) -> Result<(), OAuthHttpClientError> {
        let local = host_is_loopback(url);
        match url.scheme() {
            "https" if !local || self.loopback => Ok(()),
            "http" if local && self.loopback => Ok(()),
            _ => Err(format!(
                "{} is neither https nor on this machine with its server",
                url.origin().ascii_serialization()
            )
            .into()),
        }
    }
}

async fn whole(mut response: Response) -> Result<http::Response<Vec<u8>>, OAuthHttpClientError> {
    let mut made = http::Response::builder().status(response.status());
    for (name, value) in response.headers() {
        made = made.header(name, value);
    }
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if bytes.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err("the answer is too large".into());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(made.body(bytes)?)
}
