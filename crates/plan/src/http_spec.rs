//! How an HTTP tool is called: where, with what, how the answer becomes the result (`HttpSpec`).
//! It does not know how a request is sent, and no secret: only where secrets are.

use crate::process_spec::TextTemplate;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How an HTTP tool is called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpSpec {
    /// The method, in capitals: `GET`.
    pub method: Arc<str>,
    /// Where it goes: `https://api.example.com:8443`, without a path. Always literal.
    pub origin: Arc<str>,
    /// The path, literals and arguments in turn. Literals are percent-encoded already.
    pub path: Vec<PathPiece>,
    /// The query, in order.
    pub query: Vec<HttpParam>,
    /// Headers. Not those that belong to the connection (`Host`, `Content-Length`, …).
    pub headers: Vec<HttpParam>,
    /// Cookies, sent as one header.
    pub cookies: Vec<HttpParam>,
    /// What is sent.
    pub body: HttpBody,
    /// Nothing is sent when the argument that is the body was not given; else that is an error.
    #[serde(default)]
    pub body_optional: bool,
    /// How the answer becomes the result.
    pub response: HttpResponse,
    /// The result is `{status, headers, body}` instead of the body alone.
    pub full: bool,
    /// Statuses that are not failure.
    pub success: StatusSet,
    /// Statuses worth another attempt.
    pub transient: StatusSet,
    /// Statuses by which the server says that it has done nothing, so that another attempt is safe also for a write.
    #[serde(default, skip_serializing_if = "StatusSet::is_empty")]
    pub not_reached: StatusSet,
    /// The header that carries the call's idempotency key, the same on each attempt.
    pub idempotency_header: Option<Arc<str>>,
    /// What proves who is asking; all of them are sent.
    pub auth: Vec<HttpAuth>,
    /// The longest waits.
    pub waits: HttpWaits,
    /// More bytes than this in an answer, after decompression, end the call with an error.
    pub output_max: u64,
    /// A result of more bytes than this is spilled to a file.
    pub inline_max: u64,
    /// Where it may go and through what; shared by the tools of a toolbox.
    pub reach: Arc<HttpReach>,
    /// Values of arguments that were not given.
    pub defaults: Map<String, Value>,
    /// What relative paths of files to send are relative to; the working directory when empty.
    pub base_dir: PathBuf,
}

/// A piece of a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathPiece {
    /// As it is sent.
    Text(String),
    /// A value, encoded so that it stays inside its segment.
    Value(HttpParam),
}

/// A named value of a path, query, header, cookie or form.
///
/// When the template is exactly one reference, the value keeps its type, and `style` says how a list or an object
/// is written; else it is a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpParam {
    /// Its name on the wire.
    pub name: Arc<str>,
    /// Its value.
    pub value: TextTemplate,
    /// Left out when an argument of it is missing or null; else that is an error.
    pub optional: bool,
    /// How a list or an object is written.
    pub style: ParamStyle,
    /// Lists and objects give a pair per element (`a=1&a=2`) instead of one for all (`a=1,2`).
    pub explode: bool,
    /// `:/?#[]@!$&'()*+,;=` in the value are sent as they are, where that cannot end the part they stand in.
    pub reserved: bool,
}

/// How lists and objects are written, by OpenAPI's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ParamStyle {
    /// `1,2` (paths, headers).
    Simple,
    /// `.1.2` (paths).
    Label,
    /// `;a=1;a=2` (paths).
    Matrix,
    /// `a=1&a=2` (queries, cookies, forms).
    #[default]
    Form,
    /// `a=1%202`.
    SpaceDelimited,
    /// `a=1|2`.
    PipeDelimited,
    /// `a[b]=1`.
    DeepObject,
    /// One value of compact JSON.
    Json,
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpBody {
    /// Nothing.
    None,
    /// JSON.
    Json(JsonTemplate),
    /// `application/x-www-form-urlencoded`.
    Form(Vec<HttpParam>),
    /// `multipart/form-data`.
    Multipart(Vec<HttpPart>),
    /// A text of this content type.
    Text {
        /// The text.
        text: TextTemplate,
        /// Such as `text/plain; charset=utf-8`.
        content_type: Arc<str>,
        /// The text is base64 of what is sent.
        base64: bool,
    },
}

/// JSON whose texts are templates. A text that is exactly one reference gives the argument with its type; a member
/// or element made from a missing argument is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JsonTemplate {
    /// As it is.
    Literal(Value),
    /// From arguments.
    Text(TextTemplate),
    /// One by one.
    List(Vec<JsonTemplate>),
    /// Member by member, in order.
    Object(Vec<(String, JsonTemplate)>),
    /// All arguments, as one object.
    Args,
}

/// One part of a multipart body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpPart {
    /// Its name.
    pub name: Arc<str>,
    /// Its value; a list gives a part per element.
    pub value: TextTemplate,
    /// What the value is.
    pub kind: PartKind,
    /// Its content type; by kind when absent.
    pub content_type: Option<Arc<str>>,
    /// Its file name.
    pub file_name: Option<TextTemplate>,
    /// Left out when an argument of it is missing or null.
    pub optional: bool,
}

/// What the value of a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartKind {
    /// Itself, a text or compact JSON.
    Text,
    /// Base64 of what is sent.
    Base64,
    /// The path of a file that is sent. Only where a person wrote the tool.
    File,
}

/// How an answer becomes the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpResponse {
    /// By its content type: JSON, text, or a file for everything else; null when there is no body.
    Auto,
    /// A JSON value; anything else is an error.
    Json,
    /// A text; by its charset, UTF-8 when it has none.
    Text,
    /// A file; the result refers to it.
    File,
}

/// Ranges of statuses, both ends included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusSet(pub Vec<(u16, u16)>);

/// The longest waits of one attempt, within its `timeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpWaits {
    /// Until there is a connection, TLS included.
    pub connect: Duration,
    /// From the sent request to the head of the answer.
    pub first_byte: Duration,
    /// Between two pieces of the answer.
    pub idle: Duration,
    /// For everything; the attempt's `timeout` alone when absent.
    pub total: Option<Duration>,
}

/// Where the tools of a toolbox may go, and through what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpReach {
    /// Hosts beside those in the tools' own URLs: `api.example.com`, `*.example.com`, `example.com:8443`.
    pub hosts: Vec<String>,
    /// Loopback, link-local and private addresses it may connect to: `127.0.0.1`, `10.0.0.0/8`, `::1`; `localhost` is
    /// both loopbacks.
    pub private: Vec<String>,
    /// Files of root certificates beside the system's.
    pub roots: Vec<PathBuf>,
    /// How many redirects are followed; all of them to hosts it may go to.
    pub redirects_max: u32,
    /// Proxies of the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`) are used.
    pub proxies: bool,
}

/// What proves who is asking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpAuth {
    /// `Authorization: Bearer …`.
    Bearer(SecretName),
    /// `Authorization: Basic …`.
    Basic {
        /// The user.
        user: SecretName,
        /// The password; empty when absent.
        password: Option<SecretName>,
    },
    /// A key in a header, query or cookie.
    ApiKey {
        /// Where.
        place: KeyPlace,
        /// The name of the header, parameter or cookie.
        name: Arc<str>,
        /// The key.
        secret: SecretName,
    },
    /// OAuth 2 client credentials (RFC 6749, 4.4): a token is fetched, kept, and fetched again before it ends or
    /// when it is refused.
    OAuth2 {
        /// Where tokens are.
        token_url: Arc<str>,
        /// The client.
        client_id: SecretName,
        /// Its secret.
        client_secret: SecretName,
        /// What is asked for.
        scopes: Vec<String>,
        /// The audience, where the server wants one.
        audience: Option<String>,
        /// The client's credentials go into the body instead of a header.
        in_body: bool,
    },
}

/// Where an API key goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPlace {
    /// A header.
    Header,
    /// The query.
    Query,
    /// A cookie.
    Cookie,
}

/// Where a secret is: `env:NAME` or `file:PATH`. Never the secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SecretName {
    /// A variable of the environment.
    Env(String),
    /// A file; its text without the final newline.
    File(PathBuf),
}

impl HttpSpec {
    /// A request without parameters and body, everything at its default.
    pub fn new(method: &str, origin: &str) -> HttpSpec {
        HttpSpec {
            method: method.into(),
            origin: origin.into(),
            path: Vec::new(),
            query: Vec::new(),
            headers: Vec::new(),
            cookies: Vec::new(),
            body: HttpBody::None,
            body_optional: false,
            response: HttpResponse::Auto,
            full: false,
            success: StatusSet(vec![(200, 299)]),
            transient: StatusSet(vec![(408, 408), (425, 425), (429, 429), (500, 500), (502, 504)]),
            not_reached: StatusSet::default(),
            idempotency_header: None,
            auth: Vec::new(),
            waits: HttpWaits::default(),
            output_max: 64 << 20,
            inline_max: 1 << 20,
            reach: Arc::default(),
            defaults: Map::new(),
            base_dir: PathBuf::new(),
        }
    }

    /// The arguments with the defaults of those not given.
    pub fn with_defaults(&self, args: Value) -> Value {
        crate::process_spec::with_defaults(args, &self.defaults)
    }
}

/// Whether a header belongs to the connection, so that no tool can set it: how long a body is and where it ends is not
/// for a caller to say.
pub fn is_connection_header(name: &str) -> bool {
    const NAMES: [&str; 11] = [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "upgrade",
        "te",
        "trailer",
        "expect",
        "proxy-authorization",
        "proxy-connection",
    ];
    NAMES.iter().any(|own| own.eq_ignore_ascii_case(name))
}

impl StatusSet {
    /// Whether a status is among them.
    ///
    /// ```
    /// assert!(fanout_plan::StatusSet(vec![(200, 299)]).contains(204));
    /// ```
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for HttpReach {
    fn default() -> HttpReach {
        HttpReach { hosts: Vec::new(), private: Vec::new(), roots: Vec::new(), redirects_max: 10, proxies: true }
    }
}

impl Default for HttpWaits {
    fn default() -> HttpWaits {
        HttpWaits {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(300),
            idle: Duration::from_secs(60),
            total: None,
        }
    }
}

impl TryFrom<String> for SecretName {
    type Error = String;
    fn try_from(text: String) -> Result<SecretName, String> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() && !name.contains(['=', '\0']) => Ok(SecretName::Env(name.into())),
            Some(("file", path)) if !path.is_empty() => Ok(SecretName::File(path.into())),
            // What was written may be the secret itself, so it is not repeated.
            _ => Err("a secret is named, not written: `env:NAME` or `file:PATH`".to_owned()),
        }
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> String {
        match name {
            SecretName::Env(name) => format!("env:{name}"),
            SecretName::File(path) => format!("file:{}", path.display()),
        }
    }
}
