//! Where an MCP server is and what is said of its tools (`McpSource`): a program or a URL, secrets by name.
//! It does not know the protocol, what tools there are, nor any secret.

use crate::http_spec::{HttpSpec, SecretName};
use crate::openapi::Given;
use crate::spec::{EffectsSpec, Rate, SettingsSpec};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// An MCP server, and what a file says of its tools.
#[derive(Clone, Debug, PartialEq)]
pub struct McpSource {
    /// How it is reached.
    pub transport: McpTransport,
    /// Its tools are called `TOOLBOX.TOOL`; else as the server calls them.
    pub prefix: bool,
    /// What it hints of the effects of its tools is believed.
    pub trusted: bool,
    /// Only these tools, by the server's names, `*` for any characters; all when it is empty.
    pub include: Vec<Given<()>>,
    /// Not these tools.
    pub exclude: Vec<Given<()>>,
    /// What is said of single tools, by the server's names.
    pub overrides: Vec<Given<McpOverride>>,
    /// How long starting it, greeting it and listing its tools may take.
    pub connect: Duration,
    /// More bytes than this in one answer end the call with an error.
    pub output_max: u64,
    /// A result of more bytes than this is spilled to a file.
    pub inline_max: u64,
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq)]
pub enum McpTransport {
    /// A program that speaks on its standard input and output.
    Stdio(Box<McpCommand>),
    /// A URL.
    Http(Box<McpEndpoint>),
}

/// A program that is a server.
#[derive(Clone, Debug, PartialEq)]
pub struct McpCommand {
    /// The program.
    pub command: McpText,
    /// Its arguments.
    pub args: Vec<McpText>,
    /// Names of variables that are passed on as they are.
    pub pass: Vec<String>,
    /// Variables that are set.
    pub set: Vec<(String, McpText)>,
    /// Where it works, behind `base_dir`.
    pub cwd: Option<McpText>,
    /// What relative paths are relative to; the working directory when empty.
    pub base_dir: PathBuf,
}

/// A server at a URL.
#[derive(Clone, Debug, PartialEq)]
pub struct McpEndpoint {
    /// Where.
    pub url: McpText,
    /// Headers of all requests.
    pub headers: Vec<(Arc<str>, McpText)>,
    /// Where requests may go, how long they wait, and what proves who is asking. Its method, origin and path are not
    /// used.
    pub base: HttpSpec,
    /// How a person lets fanout in, where the server asks for that.
    pub oauth: McpOAuth,
}

/// What is known of fanout at the authorisation server of an MCP server. All may be absent: then it registers itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct McpOAuth {
    /// The id under which it is registered.
    pub client_id: Option<SecretName>,
    /// The secret that goes with it.
    pub client_secret: Option<SecretName>,
    /// The URL of a document that describes it (a client id metadata document).
    pub client_metadata: Option<String>,
    /// What is asked for, beside what the server names.
    pub scopes: Vec<String>,
    /// The port of this machine at which the person's browser comes back; any free one when absent.
    pub port: Option<u16>,
}

/// What is said of one tool of a server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct McpOverride {
    /// What it does.
    pub description: Option<String>,
    /// What it touches.
    pub effects: Option<EffectsSpec>,
    /// What it is a version of.
    pub version: Option<Arc<str>>,
    /// At most this many attempts at once.
    pub running_max: Option<u32>,
    /// At most this many starts in a time.
    pub rate: Option<Rate>,
    /// Its settings.
    pub settings: SettingsSpec,
}

/// A text with parts that are known only where it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct McpText(pub Vec<McpPiece>);

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum McpPiece {
    /// As it stands.
    Text(String),
    /// A secret.
    Secret(SecretName),
    /// The path of this directory, whole.
    Directory(PathBuf),
    /// A variable of the environment, and what stands for it where there is none.
    Variable(String, Option<String>),
    /// What VS Code asks the person for: here a variable of the environment says it.
    Input(McpInput),
}

/// An input of a file of VS Code, `${input:ID}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct McpInput {
    /// Its id.
    pub id: String,
    /// What the person would be told.
    pub about: Option<String>,
    /// It is not to be shown.
    pub secret: bool,
    /// What is proposed.
    pub default: Option<String>,
}

impl McpInput {
    /// The variable that says it.
    ///
    /// ```
    /// use fanout_plan::McpInput;
    /// assert_eq!(McpInput { id: "api-key".into(), ..McpInput::default() }.variable(), "INPUT_API_KEY");
    /// ```
    pub fn variable(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        format!("INPUT_{}", self.id.chars().map(plain).collect::<String>())
    }
}

impl McpText {
    /// A text as it stands.
    pub fn literal(text: impl Into<String>) -> McpText {
        McpText(vec![McpPiece::Text(text.into())])
    }

    /// What it is, as far as it is no secret, for people.
    ///
    /// ```
    /// use fanout_plan::{McpPiece, McpText};
    /// let text = McpText(vec![McpPiece::Text("v=".into()), McpPiece::Variable("TOKEN".into(), None)]);
    /// assert_eq!(text.shown(), "v=${TOKEN}");
    /// ```
    pub fn shown(&self) -> String {
        let shown = |piece: &McpPiece| match piece {
            McpPiece::Text(text) => text.clone(),
            McpPiece::Secret(name) => format!("${{{}}}", String::from(name.clone())),
            McpPiece::Directory(path) => path.display().to_string(),
            McpPiece::Variable(name, _) => format!("${{{name}}}"),
            McpPiece::Input(input) => format!("${{input:{}}}", input.id),
        };
        self.0.iter().map(shown).collect()
    }

    /// Whether anything of it is known only where it is used.
    pub fn is_literal(&self) -> bool {
        self.0.iter().all(|piece| matches!(piece, McpPiece::Text(_)))
    }
}

impl McpSource {
    /// A server of which nothing else is said.
    pub fn new(transport: McpTransport) -> McpSource {
        McpSource {
            transport,
            prefix: true,
            trusted: true,
            include: Vec::new(),
            exclude: Vec::new(),
            overrides: Vec::new(),
            connect: Duration::from_secs(30),
            output_max: 64 << 20,
            inline_max: 1 << 20,
        }
    }

    /// Whether a tool that the server calls so is wanted.
    pub fn takes(&self, name: &str) -> bool {
        let among = |list: &[Given<()>]| list.iter().any(|given| matches(&given.name, name));
        (self.include.is_empty() || among(&self.include)) && !among(&self.exclude)
    }

    /// What is said of a tool that the server calls so.
    pub fn said_of(&self, name: &str) -> Option<&McpOverride> {
        self.overrides.iter().find(|given| given.name == name).map(|given| &given.value)
    }

    /// Whether a tool of this name can be one of this server's in the toolbox of that name.
    pub fn may_offer(&self, toolbox: &str, tool: &str) -> bool {
        !self.prefix || tool.strip_prefix(toolbox).is_some_and(|rest| rest.starts_with('.'))
    }
}

/// Whether a name fits a pattern in which `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_names() {
        for (pattern, name, fits) in [
            ("read_file", "read_file", true),
            ("read_file", "read_files", false),
            ("read_*", "read_", true),
            ("*_file", "read_file", true),
            ("*", "", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
