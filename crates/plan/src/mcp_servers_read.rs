//! Reading the `mcpServers` of other programs' configuration files (Claude, Cursor, VS Code) as they are.
//! It does not know the servers, nor which program wrote the file: what any of them has is understood.

use crate::diagnostic::Problems;
use crate::http_read::HttpBase;
use crate::mcp_read::check_url;
use crate::mcp_spec::{McpCommand, McpEndpoint, McpInput, McpOAuth, McpPiece, McpSource, McpText, McpTransport};
use crate::node::{At, Content, Name, Node};
use crate::spec::ToolboxSpec;
use crate::toolbox::{DeclaredToolbox, ToolSource};
use crate::toolbox_read::is_tool_name;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What the programs call the map of servers; VS Code's settings have it inside `mcp`.
const LISTS: [&[&str]; 3] = [&["mcpServers"], &["servers"], &["mcp", "servers"]];
/// Fields that are understood, or that only matter to the program whose file it is.
const KNOWN: [&str; 15] = [
    "type",
    "transport",
    "command",
    "args",
    "env",
    "cwd",
    "url",
    "serverUrl",
    "httpUrl",
    "headers",
    "disabled",
    "enabled",
    "timeout",
    "description",
    "name",
];

/// Whether a document is one of those files.
pub(crate) fn is_one(root: &Node) -> bool {
    LISTS.iter().any(|path| list(root, path).is_some())
}

/// Whether a text may be one of those files: then it may hold comments.
pub(crate) fn may_be_one(bytes: &[u8]) -> bool {
    [b"\"mcpServers\"".as_slice(), b"\"servers\""].iter().any(|word| bytes.windows(word.len()).any(|at| at == *word))
}

/// The same text without comments and commas at the end, which some of the programs allow: everything else stays where
/// it is.
pub(crate) fn without_comments(bytes: &[u8]) -> Vec<u8> {
    let mut plain = bytes.to_vec();
    let (mut at, mut text) = (0, false);
    let mut comma = None;
    while at < plain.len() {
        match plain[at] {
            b'\\' if text => at += 1,
            b'"' => {
                text = !text;
                comma = None;
            }
            b'/' if !text && matches!(plain.get(at + 1), Some(b'/' | b'*')) => {
                let end = match plain[at + 1] {
                    b'/' => plain[at..].iter().position(|b| *b == b'\n').map(|n| at + n),
                    _ => plain[at + 2..].windows(2).position(|two| two == b"*/").map(|n| at + n + 4),
                };
                let end = end.unwrap_or(plain.len());
                plain[at..end].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
                at = end;
                continue;
            }
            b',' if !text => comma = Some(at),
            b'}' | b']' if !text => {
                if let Some(comma) = comma.take() {
                    plain[comma] = b' ';
                }
            }
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ if !text => comma = None,
            _ => {}
        }
        at += 1;
    }
    plain
}

/// Reads the servers of such a file, each as a toolbox.
pub(crate) fn servers(root: &Node, file: &Path, problems: &mut Problems) -> Vec<DeclaredToolbox> {
    let place = Place { inputs: inputs(root), ..Place::of(file) };
    let mut boxes: Vec<DeclaredToolbox> = Vec::new();
    for path in LISTS {
        let Some(map) = list(root, path) else { continue };
        for (name, node) in map {
            let top = At::Root.field(path[0]);
            let inner = path.get(1).map(|part| top.field(part));
            let at = inner.as_ref().unwrap_or(&top).field(&name.text);
            let taken = |name: &str| boxes.iter().any(|other| &*other.spec.name == name);
            let toolbox = named(&name.text, taken, &at, problems);
            if let Some(source) = server(node, &at, &place, problems) {
                let spec = ToolboxSpec { name: toolbox.into(), ..ToolboxSpec::default() };
                let source = Some(ToolSource::Mcp(Box::new(source)));
                boxes.push(DeclaredToolbox { spec, source, ..DeclaredToolbox::default() });
            }
        }
    }
    boxes
}

/// What VS Code would ask the person for; what of it is not as VS Code has it says nothing.
fn inputs(root: &Node) -> Vec<McpInput> {
    let lists = [field(root, "inputs"), field(root, "mcp").and_then(|mcp| field(mcp, "inputs"))];
    let lists = lists.into_iter().flatten().filter_map(|node| match &node.value {
        Content::List(list) => Some(list),
        _ => None,
    });
    let one = |node: &Node| {
        let text = |name: &str| match &field(node, name)?.value {
            Content::Text(text) => Some(text.clone()),
            _ => None,
        };
        let secret = matches!(field(node, "password").map(|node| &node.value), Some(Content::Bool(true)));
        Some(McpInput { id: text("id")?, about: text("description"), secret, default: text("default") })
    };
    lists.flatten().filter_map(one).collect()
}

fn list<'n>(root: &'n Node, path: &[&str]) -> Option<&'n [(Name, Node)]> {
    let mut node = root;
    for part in path {
        node = field(node, part)?;
    }
    match &node.value {
        Content::Map(map) => Some(map),
        _ => None,
    }
}

fn field<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    match &node.value {
        Content::Map(map) => map.iter().find(|(key, _)| key.text == name).map(|(_, node)| node),
        _ => None,
    }
}

/// A name that a toolbox can have.
fn named(own: &str, taken: impl Fn(&str) -> bool, at: &At<'_>, problems: &mut Problems) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
    let plain: String = own.chars().map(fits).take(64).collect();
    let plain = if is_tool_name(&plain) { plain } else { "server".to_owned() };
    let mut name = plain.clone();
    let mut number = 2;
    while taken(&name) {
        name = format!("{plain}_{number}");
        number += 1;
    }
    if name != own {
        problems.warning(at, "mcp_renamed", format!("the MCP server `{own}` is the toolbox `{name}` here"));
    }
    name
}

/// One server; `None` for one that is switched off, or that cannot be understood, which is said.
fn server(node: &Node, at: &At<'_>, place: &Place, problems: &mut Problems) -> Option<McpSource> {
    let Content::Map(fields) = &node.value else {
        problems.error(at, "wrong_type", format!("a server is an object, not {}", node.kind()));
        return None;
    };
    let flag = |name: &str| matches!(field(node, name).map(|node| &node.value), Some(Content::Bool(true)));
    let off = matches!(field(node, "enabled").map(|node| &node.value), Some(Content::Bool(false)));
    if flag("disabled") || off {
        return None;
    }
    for (name, _) in fields.iter().filter(|(name, _)| !KNOWN.contains(&name.text.as_str())) {
        let message = format!("`{}` of a server is not heeded here", crate::path::shorten(&name.text, 60));
        problems.warning(&at.field(&name.text), "mcp_ignored", message);
    }
    let mut texts = Texts { place, problems };
    let url = ["url", "serverUrl", "httpUrl"].into_iter().find_map(|name| Some((name, field(node, name)?)));
    let transport = match (field(node, "command"), url) {
        (Some(command), _) => McpTransport::Stdio(Box::new(McpCommand {
            command: texts.text(command, &at.field("command"))?,
            args: texts.list(field(node, "args"), &at.field("args"))?,
            pass: Vec::new(),
            set: texts.map(field(node, "env"), &at.field("env"))?,
            cwd: match field(node, "cwd") {
                Some(cwd) => Some(texts.text(cwd, &at.field("cwd"))?),
                None => None,
            },
            base_dir: place.workspace.clone().into(),
        })),
        (None, Some((name, url))) => {
            let at_url = at.field(name);
            let text = texts.text(url, &at_url)?;
            if text.is_literal()
                && let Err(message) = check_url(&text.shown())
            {
                problems.error(&at_url, "bad_url", message);
                return None;
            }
            let headers = texts.map(field(node, "headers"), &at.field("headers"))?;
            let mut base = HttpBase::new(Path::new(&place.workspace)).spec;
            base.waits.first_byte = Duration::from_secs(60 * 60);
            let headers = headers.into_iter().map(|(name, text)| (Arc::from(name), text)).collect();
            McpTransport::Http(Box::new(McpEndpoint { url: text, headers, base, oauth: McpOAuth::default() }))
        }
        (None, None) => {
            problems.error(at, "missing_field", "a server has neither `command` nor `url`");
            return None;
        }
    };
    Some(McpSource::new(transport))
}

/// Where the file is, for what stands for directories, and what else texts are made from.
struct Place {
    /// The folder that is worked in: that of the file, or the one above where it is in the folder of a program.
    workspace: String,
    inputs: Vec<McpInput>,
}

impl Place {
    fn of(file: &Path) -> Place {
        let dir = file.parent().unwrap_or(Path::new(""));
        let of_program = dir.file_name().is_some_and(|name| name == ".vscode" || name == ".cursor");
        let workspace = if of_program { dir.parent().unwrap_or(Path::new("")) } else { dir };
        Place { workspace: workspace.display().to_string(), inputs: Vec::new() }
    }
}

/// Reads texts with `${…}` in them.
struct Texts<'a> {
    place: &'a Place,
    problems: &'a mut Problems,
}

impl Texts<'_> {
    fn text(&mut self, node: &Node, at: &At<'_>) -> Option<McpText> {
        let text = match &node.value {
            Content::Text(text) => text.clone(),
            Content::Number(number) => number.to_string(),
            Content::Bool(flag) => flag.to_string(),
            _ => {
                self.problems.error(at, "wrong_type", format!("this is a text, not {}", node.kind()));
                return None;
            }
        };
        let mut pieces = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, (inner, after))) =
            rest.split_once("${").and_then(|(before, behind)| Some((before, behind.split_once('}')?)))
        {
            if !before.is_empty() {
                pieces.push(McpPiece::Text(before.to_owned()));
            }
            match self.variable(inner) {
                Some(piece) => pieces.push(piece),
                None => {
                    let message = format!("`${{{}}}` is not known here", crate::path::shorten(inner, 60));
                    let help = "write the value, or `${env:NAME}` for a variable of the environment";
                    self.problems.error(at, "bad_value", message).help(help);
                    return None;
                }
            }
            rest = after;
        }
        if !rest.is_empty() || pieces.is_empty() {
            pieces.push(McpPiece::Text(rest.to_owned()));
        }
        Some(McpText(pieces))
    }

    /// What stands between the braces: `NAME`, `NAME:-default`, `env:NAME`, `input:ID`, or one of the programs' own words.
    fn variable(&self, inner: &str) -> Option<McpPiece> {
        let name = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        match inner {
            "workspaceFolder" => return Some(McpPiece::Directory(self.place.workspace.clone().into())),
            "workspaceFolderBasename" => {
                let base = Path::new(&self.place.workspace).file_name().unwrap_or_default();
                return Some(McpPiece::Text(base.to_string_lossy().into_owned()));
            }
            "userHome" => return Some(McpPiece::Variable("HOME".to_owned(), None)),
            "pathSeparator" | "/" => return Some(McpPiece::Text("/".to_owned())),
            _ => {}
        }
        if let Some(variable) = inner.strip_prefix("env:") {
            // Where there is none, VS Code and Cursor put in nothing.
            return name(variable).then(|| McpPiece::Variable(variable.to_owned(), Some(String::new())));
        }
        if let Some(id) = inner.strip_prefix("input:").filter(|id| !id.is_empty()) {
            let known = self.place.inputs.iter().find(|input| input.id == id).cloned();
            return Some(McpPiece::Input(
                known.unwrap_or_else(|| McpInput { id: id.to_owned(), ..McpInput::default() }),
            ));
        }
        match inner.split_once(":-") {
            Some((variable, default)) => {
                name(variable).then(|| McpPiece::Variable(variable.to_owned(), Some(default.to_owned())))
            }
            None => name(inner).then(|| McpPiece::Variable(inner.to_owned(), None)),
        }
    }

    fn list(&mut self, node: Option<&Node>, at: &At<'_>) -> Option<Vec<McpText>> {
        let Some(node) = node else { return Some(Vec::new()) };
        let Content::List(list) = &node.value else {
            self.problems.error(at, "wrong_type", format!("this is a list of texts, not {}", node.kind()));
            return None;
        };
        list.iter().enumerate().map(|(index, node)| self.text(node, &at.index(index))).collect()
    }

    fn map(&mut self, node: Option<&Node>, at: &At<'_>) -> Option<Vec<(String, McpText)>> {
        let Some(node) = node else { return Some(Vec::new()) };
        let Content::Map(map) = &node.value else {
            self.problems.error(at, "wrong_type", format!("this is an object of texts, not {}", node.kind()));
            return None;
        };
        // VS Code writes null for a variable that shall not be there.
        let there = map.iter().filter(|(_, node)| !matches!(node.value, Content::Null));
        there.map(|(name, node)| Some((name.text.clone(), self.text(node, &at.field(&name.text))?))).collect()
    }
}
