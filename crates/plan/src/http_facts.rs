//! What a request is, in words for people: method and URL, where it may go, who asks (`HttpSpec::facts`).
//! It does not know secrets: only where they are.

use crate::http_spec::{HttpAuth, HttpParam, HttpSpec, KeyPlace, PathPiece, SecretName};

impl HttpSpec {
    /// What is to be known of it, as pairs of a name and a text. Values in the query that are no arguments are left
    /// out: they may be keys.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let template = |param: &HttpParam| String::from(param.value.clone());
        let path = self.path.iter().map(|piece| match piece {
            PathPiece::Text(text) => text.clone(),
            PathPiece::Value(param) => template(param),
        });
        let query = self.query.iter().map(|param| match param.value.arguments().next() {
            Some(_) => format!("{}={}", param.name, template(param)),
            None => format!("{}=…", param.name),
        });
        let query: Vec<String> = query.collect();
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!("{}{}{mark}{}", self.origin, path.collect::<String>(), query.join("&"));
        let mut facts = vec![("request", format!("{} {url}", self.method))];
        if !self.reach.hosts.is_empty() {
            facts.push(("hosts", self.reach.hosts.join(", ")));
        }
        if !self.reach.private.is_empty() {
            facts.push(("private", self.reach.private.join(", ")));
        }
        if !self.auth.is_empty() {
            facts.push(("auth", self.auth.iter().map(auth).collect::<Vec<_>>().join("; ")));
        }
        if let Some(header) = &self.idempotency_header {
            facts.push(("key in", header.to_string()));
        }
        facts
    }
}

fn auth(auth: &HttpAuth) -> String {
    let named = |name: &SecretName| String::from(name.clone());
    match auth {
        HttpAuth::Bearer(token) => format!("bearer {}", named(token)),
        HttpAuth::Basic { user, password } => {
            let password = password.as_ref().map(|password| format!(", password {}", named(password)));
            format!("basic user {}{}", named(user), password.unwrap_or_default())
        }
        HttpAuth::ApiKey { place, name, secret } => {
            let place = match place {
                KeyPlace::Header => "header",
                KeyPlace::Query => "query",
                KeyPlace::Cookie => "cookie",
            };
            format!("key {} in the {place} `{name}`", named(secret))
        }
        HttpAuth::OAuth2 { token_url, client_id, client_secret, .. } => {
            // Whatever stands behind a `?` or before an `@` may prove something.
            let url = token_url.split('?').next().unwrap_or_default();
            let url = url.split_once('@').map_or(url, |(_, rest)| rest);
            format!("OAuth 2 at {url}, client {}, secret {}", named(client_id), named(client_secret))
        }
    }
}
