//! What proves who is asking: security schemes of the document with the secrets a toolbox names (`Security`).
//! It does not know any secret.

use super::document::{Document, short};
use super::source::{Given, OpenApiSource, SchemeSecret};
use crate::diagnostic::Diagnostic;
use crate::http_spec::{HttpAuth, KeyPlace};
use crate::node::{Content, Name, Node};

/// The security schemes of a document.
pub(super) struct Security<'d, 'n> {
    doc: &'d Document<'n>,
    source: &'d OpenApiSource,
    schemes: &'n [(Name, Node)],
}

impl<'d, 'n> Security<'d, 'n> {
    pub(super) fn new(doc: &'d Document<'n>, source: &'d OpenApiSource) -> Security<'d, 'n> {
        let schemes = doc.get(doc.root(), "components").map_or(&[][..], |node| doc.map(node, "securitySchemes"));
        Security { doc, source, schemes }
    }

    /// Secrets that cannot be used as they are named.
    pub(super) fn check(&self) -> Vec<Diagnostic> {
        let mut wrong = Vec::new();
        for given in &self.source.auth {
            let at = |message: String| Diagnostic {
                place: given.place.clone(),
                ..Diagnostic::error("openapi_auth", message).with_path(&given.path)
            };
            match self.schemes.iter().find(|(name, _)| name.text == given.name) {
                None => {
                    let names = || self.schemes.iter().map(|(name, _)| name.text.as_str());
                    let problem = at(format!("the document has no security scheme `{}`", short(&given.name)));
                    let all: Vec<_> = names().map(|name| format!("`{}`", short(name))).collect();
                    wrong.push(match crate::nearest::nearest(&given.name, names()) {
                        Some(near) => problem.with_help(format!("did you mean `{near}`?")),
                        None if all.is_empty() => problem.with_help("it has none at all"),
                        None => problem.with_help(format!("it has {}", all.join(", "))),
                    });
                }
                Some((_, scheme)) => {
                    if let Err(why) = self.auth(scheme, given, &[]) {
                        wrong.push(at(format!("`{}`: {why}", short(&given.name))));
                    }
                }
            }
        }
        wrong
    }

    /// What an operation sends: the first of its alternatives for which all secrets are there.
    pub(super) fn of(&self, operation: &'n Node) -> Vec<HttpAuth> {
        let holder = [operation, self.doc.root()].into_iter().find(|node| self.doc.get(node, "security").is_some());
        let alternatives = holder.map_or(&[][..], |node| self.doc.list(node, "security"));
        let (mut optional, mut missing) = (alternatives.is_empty(), None);
        for alternative in alternatives {
            let Content::Map(wanted) = &alternative.value else { continue };
            match self.all_of(wanted) {
                // Nothing at all is enough, but a secret that is there is sent.
                Ok(auth) if auth.is_empty() => optional = true,
                Ok(auth) => return auth,
                Err(name) => _ = missing.get_or_insert(name),
            }
        }
        if let (false, Some(name)) = (optional, missing) {
            self.say_missing(name);
        }
        Vec::new()
    }

    fn all_of(&self, wanted: &'n [(Name, Node)]) -> Result<Vec<HttpAuth>, &'n Name> {
        let one = |(name, scopes): &'n (Name, Node)| {
            let given = self.source.auth.iter().find(|given| given.name == name.text).ok_or(name)?;
            let (_, scheme) = self.schemes.iter().find(|(known, _)| known.text == name.text).ok_or(name)?;
            let scopes: Vec<&str> = match &scopes.value {
                Content::List(list) => list.iter().filter_map(text_of).collect(),
                _ => Vec::new(),
            };
            self.auth(scheme, given, &scopes).map_err(|_| name)
        };
        wanted.iter().map(one).collect()
    }

    /// Says once per scheme that no secret was named for it.
    fn say_missing(&self, wanted: &Name) {
        let name = short(&wanted.text);
        let Some((_, node)) = self.schemes.iter().find(|(known, _)| known.text == wanted.text) else {
            let place = Node { value: Content::Null, start: wanted.start, end: wanted.end };
            let message = format!("the security scheme `{name}` is not in the document: requests go without it");
            self.doc.warn(&place, "openapi_auth", message);
            return;
        };
        let message = match self.advice(node) {
            Ok(advice) => {
                format!(
                    "the security scheme `{name}` has no secret, so requests go without: auth = {{ {name} = {advice} }}"
                )
            }
            Err(why) => format!("the security scheme `{name}` cannot be met, so requests go without: {why}"),
        };
        self.doc.warn(node, "openapi_auth", message);
    }

    /// What to write for a scheme.
    fn advice(&self, scheme: &'n Node) -> Result<&'static str, String> {
        Ok(match self.kind(scheme)? {
            Kind::Basic => "{ user = \"env:USER\", password = \"env:PASSWORD\" }",
            Kind::Client(_) => "{ client_id = \"env:ID\", client_secret = \"env:SECRET\" }",
            Kind::Bearer | Kind::Key(..) => "\"env:NAME\"",
        })
    }

    fn kind(&self, scheme: &'n Node) -> Result<Kind<'n>, String> {
        let doc = self.doc;
        let scheme = doc.follow(scheme)?;
        match doc.text(scheme, "type").unwrap_or_default() {
            "http" => match doc.text(scheme, "scheme").unwrap_or_default().to_ascii_lowercase().as_str() {
                "basic" => Ok(Kind::Basic),
                "bearer" => Ok(Kind::Bearer),
                other => Err(format!("`{}` is a way of HTTP that is not supported", short(other))),
            },
            "apiKey" => {
                let place = match doc.text(scheme, "in").unwrap_or_default() {
                    "header" => KeyPlace::Header,
                    "query" => KeyPlace::Query,
                    "cookie" => KeyPlace::Cookie,
                    other => return Err(format!("a key cannot be in `{}`", short(other))),
                };
                let name = doc
                    .text(scheme, "name")
                    .filter(|name| !name.is_empty() && name.bytes().all(super::arguments::is_token));
                Ok(Kind::Key(place, name.ok_or("the key has no `name` that can be sent")?))
            }
            "oauth2" => {
                let flow = doc.get(scheme, "flows").and_then(|flows| doc.get(flows, "clientCredentials"));
                let url =
                    flow.and_then(|flow| doc.text(flow, "tokenUrl")).filter(|url| super::servers::read(url).is_ok());
                // Of other flows, the token that came out of one can be given.
                Ok(url.map_or(Kind::Bearer, Kind::Client))
            }
            other @ ("openIdConnect" | "mutualTLS") => Err(format!("`{other}` is not supported")),
            other => Err(format!("`{}` is no type of a security scheme", short(other))),
        }
    }

    fn auth(&self, scheme: &'n Node, given: &Given<SchemeSecret>, scopes: &[&str]) -> Result<HttpAuth, String> {
        match (self.kind(scheme)?, &given.value) {
            (Kind::Bearer | Kind::Client(_), SchemeSecret::Token(secret)) => Ok(HttpAuth::Bearer(secret.clone())),
            (Kind::Key(place, name), SchemeSecret::Token(secret)) => {
                Ok(HttpAuth::ApiKey { place, name: name.into(), secret: secret.clone() })
            }
            (Kind::Basic, SchemeSecret::Basic { user, password }) => {
                Ok(HttpAuth::Basic { user: user.clone(), password: password.clone() })
            }
            (Kind::Client(url), SchemeSecret::Client { client_id, client_secret, scopes: own, audience, in_body }) => {
                let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
                Ok(HttpAuth::OAuth2 {
                    token_url: url.into(),
                    client_id: client_id.clone(),
                    client_secret: client_secret.clone(),
                    scopes: own.clone().unwrap_or(scopes),
                    audience: audience.clone(),
                    in_body: *in_body,
                })
            }
            _ => Err(format!("its secret is written as {}", self.advice(scheme)?)),
        }
    }
}

enum Kind<'n> {
    Bearer,
    Basic,
    Key(KeyPlace, &'n str),
    Client(&'n str),
}

fn text_of(node: &Node) -> Option<&str> {
    match &node.value {
        Content::Text(text) => Some(text),
        _ => None,
    }
}
