//! Where an OpenAPI document is and what a toolbox file says about it (`OpenApiSource`).
//! It does not know what is in the document.

use crate::diagnostic::Place;
use crate::http_spec::{HttpResponse, HttpSpec, HttpWaits, PathPiece, SecretName};
use crate::read::READ_BYTES_MAX;
use crate::spec::{EffectsSpec, Rate, SettingsSpec};
use std::path::PathBuf;
use std::time::Duration;

/// A document is fetched in less.
const FETCH_MAX: Duration = Duration::from_secs(60);

/// A toolbox whose tools are the operations of an OpenAPI document.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenApiSource {
    /// Where the document is.
    pub document: DocumentPlace,
    /// Where all requests go, instead of to the document's servers: `https://api.example.com/v2`.
    pub server: Option<String>,
    /// Values of the variables in the URLs of servers.
    pub variables: Vec<Given<String>>,
    /// Only these operations; all when it is empty.
    pub include: OperationFilter,
    /// Not these operations.
    pub exclude: OperationFilter,
    /// Secrets, by the names of the document's security schemes.
    pub auth: Vec<Given<SchemeSecret>>,
    /// What all requests have in common. Its method, origin and path are not used.
    pub base: HttpSpec,
    /// What is said of single tools, by their names without the toolbox's.
    pub overrides: Vec<Given<ToolOverride>>,
}

/// Where a document is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentPlace {
    /// A file.
    File(PathBuf),
    /// An `https:` or `http:` URL.
    Url(String),
}

/// Something a toolbox file says under a name, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given<T> {
    /// The name.
    pub name: String,
    /// What is said.
    pub value: T,
    /// Where the name stands, when there is a text.
    pub place: Option<Place>,
    /// The same as a path: `toolbox.petstore.tools.listPets`.
    pub path: String,
}

/// Which operations; one that meets any of these is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperationFilter {
    /// Those with one of these tags.
    pub tags: Vec<Given<()>>,
    /// Those of these paths: `*` is all within a segment, `**` all.
    pub paths: Vec<Given<()>>,
    /// Those whose tools are named so, without the toolbox's name: `*` is anything.
    pub names: Vec<Given<()>>,
}

/// The secrets for a security scheme. Never secrets themselves: where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemeSecret {
    /// A key or a token.
    Token(SecretName),
    /// A user and a password.
    Basic {
        /// The user.
        user: SecretName,
        /// The password; empty when absent.
        password: Option<SecretName>,
    },
    /// A client of OAuth 2, which gets its tokens by itself.
    Client {
        /// The client.
        client_id: SecretName,
        /// Its secret.
        client_secret: SecretName,
        /// What is asked for; what the operation needs when absent.
        scopes: Option<Vec<String>>,
        /// The audience, where the server wants one.
        audience: Option<String>,
        /// The client's credentials go into the body instead of a header.
        in_body: bool,
    },
}

/// What a toolbox file says of one tool; what is absent is as the document has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolOverride {
    /// What it does.
    pub description: Option<String>,
    /// What it touches.
    pub effects: Option<EffectsSpec>,
    /// Which of the body's media types is sent.
    pub content_type: Option<String>,
    /// Where its requests go.
    pub server: Option<String>,
    /// At most this many attempts at once.
    pub running_max: Option<u32>,
    /// At most this many starts in a time.
    pub rate: Option<Rate>,
    /// Its settings.
    pub settings: SettingsSpec,
}

impl OpenApiSource {
    /// Everything of this document, nothing said about it.
    pub fn new(document: DocumentPlace) -> OpenApiSource {
        OpenApiSource {
            document,
            server: None,
            variables: Vec::new(),
            include: OperationFilter::default(),
            exclude: OperationFilter::default(),
            auth: Vec::new(),
            base: HttpSpec::new("GET", ""),
            overrides: Vec::new(),
        }
    }

    /// The request that fetches the document from this URL: through what the toolbox says of the way there, without
    /// what proves who is asking.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn request(&self, url: &str) -> Result<HttpSpec, String> {
        let server = super::servers::read(url)?;
        let (url, _) = url.split_once('#').unwrap_or((url, ""));
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let accept = ("Accept", "application/json, application/yaml, text/yaml, */*;q=0.5");
        Ok(HttpSpec {
            path: vec![PathPiece::Text(server.path)],
            query: pairs.map(|(name, value)| super::operation::fixed(name, value)).collect(),
            headers: vec![super::operation::fixed(accept.0, accept.1)],
            response: HttpResponse::Text,
            output_max: READ_BYTES_MAX as u64,
            inline_max: READ_BYTES_MAX as u64,
            waits: HttpWaits { total: Some(FETCH_MAX), ..self.base.waits },
            reach: self.base.reach.clone(),
            base_dir: self.base.base_dir.clone(),
            ..HttpSpec::new("GET", &server.origin)
        })
    }
}

impl OperationFilter {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.paths.is_empty() && self.names.is_empty()
    }
}

impl<T> Given<T> {
    /// Without a place.
    pub fn new(name: impl Into<String>, value: T) -> Given<T> {
        Given { name: name.into(), value, place: None, path: String::new() }
    }
}
