//! What proves who is asking: bearer tokens, basic, API keys, tokens of OAuth 2.
//! It does not know which request it goes into.

use super::oauth::{Ask, Source, Tokens};
use super::request::{header_value, pair, unsendable};
use super::secret::{self, Known};
use crate::tool::ToolError;
use base64::Engine as _;
use fanout_plan::{HttpAuth, KeyPlace};
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

/// What is added to a request.
#[derive(Default)]
pub(super) struct Credentials {
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Pairs, encoded.
    pub(super) query: Vec<SecretString>,
    /// Pairs, encoded.
    pub(super) cookies: Vec<SecretString>,
    /// Tokens that can be fetched again.
    pub(super) tokens: Vec<(Arc<Source>, SecretString)>,
}

/// Gathers them; `refused` are tokens that the server did not take.
///
/// # Errors
/// `secret_missing`, `http_token`, `argument_unsendable`; the tool was not reached.
pub(super) async fn gather(
    ask: &Ask<'_>,
    auth: &[HttpAuth],
    tokens: &Tokens,
    known: &mut Known,
    refused: &[(Arc<Source>, SecretString)],
) -> Result<Credentials, ToolError> {
    let mut all = Credentials::default();
    for one in auth {
        match one {
            HttpAuth::Bearer(name) => {
                let secret = secret::read(name).await?;
                known.note(&secret);
                all.headers.push((AUTHORIZATION, header("Bearer ", &secret)?));
            }
            HttpAuth::Basic { user, password } => {
                let (name, user) = (user, secret::read(user).await?);
                known.note(&user);
                // By a colon the user ends (RFC 7617): what follows would be taken for the password.
                if user.expose_secret().contains(':') {
                    return Err(secret::missing(name, "a user holds no colon"));
                }
                let password = match password {
                    Some(name) => secret::read(name).await?,
                    None => SecretString::default(),
                };
                known.note(&password);
                let joined = format!("{}:{}", user.expose_secret(), password.expose_secret());
                let basic: SecretString = base64::engine::general_purpose::STANDARD.encode(joined).into();
                known.note(&basic);
                all.headers.push((AUTHORIZATION, header("Basic ", &basic)?));
            }
            HttpAuth::ApiKey { place, name, secret } => {
                let secret = secret::read(secret).await?;
                known.note(&secret);
                match place {
                    KeyPlace::Header => {
                        let bad = |_| unsendable(format!("`{name}` cannot be the name of a header"));
                        let header_name = HeaderName::from_bytes(name.as_bytes()).map_err(bad)?;
                        all.headers.push((header_name, header("", &secret)?));
                    }
                    KeyPlace::Query => all.query.push(pair(name, secret.expose_secret()).into()),
                    KeyPlace::Cookie => all.cookies.push(cookie(name, secret.expose_secret()).into()),
                }
            }
            HttpAuth::OAuth2 { .. } => {
                let source = tokens.source(one);
                let refused = refused.iter().find(|(other, _)| Arc::ptr_eq(other, &source)).map(|(_, token)| token);
                let token = source.token(&Ask { auth: one, ..*ask }, known, refused).await?;
                all.headers.push((AUTHORIZATION, header("Bearer ", &token)?));
                all.tokens.push((source, token));
            }
        }
    }
    Ok(all)
}

/// A header with a secret, which is not shown by `Debug` and not put into the tables of HTTP/2.
pub(super) fn header(prefix: &str, secret: &SecretString) -> Result<HeaderValue, ToolError> {
    let mut value = header_value("authorization", &format!("{prefix}{}", secret.expose_secret()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// As it is where a cookie can hold it (RFC 6265, 4.1.1), else encoded.
fn cookie(name: &str, secret: &str) -> String {
    let plain = secret.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b',' | b';' | b'\\'));
    if plain { format!("{name}={secret}") } else { pair(name, secret) }
}
