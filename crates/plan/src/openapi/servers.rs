//! Where requests go: servers with their variables, relative ones, and the paths of operations (`Servers`).
//! It does not know parameters.

use super::document::{Document, short};
use super::source::{DocumentPlace, OpenApiSource};
use crate::diagnostic::Diagnostic;
use crate::node::{Content, Node};

/// Where a server is: `https://api.example.com` and `/v2`, percent-encoded, without a `/` at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) origin: String,
    pub(super) path: String,
}

/// Reads the URL of a server.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(url: &str) -> Result<Server, String> {
    let bad = |why: &str| Err(format!("`{}` {why}", short(url)));
    let url = url.trim();
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let Some(scheme @ ("http" | "https")) = scheme.as_deref() else {
        return bad("is not a URL that begins with `https://` or `http://`");
    };
    let rest = &url[scheme.len() + 3..];
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    if host.contains('@') {
        return Err("the URL of a server holds no user or password: `auth` names secrets".to_owned());
    }
    let port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let (name, port) = port.unwrap_or((host, ""));
    let fits = |c: char| c.is_alphanumeric() || ".-_".contains(c);
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let is_host = match address {
        Some(address) => address.parse::<core::net::Ipv6Addr>().is_ok(),
        None => !name.is_empty() && name.chars().all(fits),
    };
    if !is_host || !port.is_empty() && port.parse::<u16>().is_err() {
        return bad("has no host that can be used");
    }
    let path = path.split(['?', '#']).next().unwrap_or_default();
    Ok(Server { origin: format!("{scheme}://{host}"), path: encoded(&dots_gone(path)) })
}

/// The server of an operation: one that somebody named, its own, its path's, or the document's.
///
/// # Errors
/// Why there is none, and where it should be.
pub(super) fn of_operation<'n>(
    doc: &Document<'n>,
    source: &OpenApiSource,
    item: &'n Node,
    operation: &'n Node,
    named: Option<&str>,
) -> Result<Server, Box<Diagnostic>> {
    if let Some(url) = named.or(source.server.as_deref()) {
        return read(url).map_err(|why| Box::new(Diagnostic::error("openapi_server", why)));
    }
    let nodes = [operation, item, doc.root()];
    let first = nodes.into_iter().find_map(|node| doc.list(node, "servers").first());
    let (node, url) = match first {
        Some(node) => (node, url(doc, source, node)?),
        None => (doc.root(), "/".to_owned()),
    };
    let url = absolute(&url, &source.document).map_err(|why| {
        Box::new(doc.error(node, "openapi_server", why).with_help("name it in the toolbox: server = \"https://…\""))
    })?;
    if url.contains(['?', '#']) {
        let message = format!("what stands behind `?` or `#` in the server `{}` is not sent", short(&url));
        doc.warn(node, "openapi_ignored", message);
    }
    read(&url).map_err(|why| Box::new(doc.error(node, "openapi_server", why)))
}

/// The URL of a server with its variables filled in.
fn url<'n>(doc: &Document<'n>, source: &OpenApiSource, server: &'n Node) -> Result<String, Box<Diagnostic>> {
    let template = doc.text(server, "url").unwrap_or("/");
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((name, behind)) = behind.split_once('}') else { break };
        filled.push_str(before);
        let variables = doc.get(server, "variables").and_then(|variables| doc.get(variables, name));
        let given = source.variables.iter().find(|variable| variable.name == name);
        let default = variables.and_then(|variable| doc.text(variable, "default"));
        let Some(value) = given.map(|given| given.value.as_str()).or(default) else {
            let message = format!("the variable `{}` of the server `{}` has no value", short(name), short(template));
            let help = format!("give it one: variables = {{ {name} = \"…\" }}");
            return Err(Box::new(doc.error(server, "openapi_server", message).with_help(help)));
        };
        if let (Some(given), Some(variable)) = (given, variables) {
            let known: Vec<&str> = doc.list(variable, "enum").iter().filter_map(text_of).collect();
            if !known.is_empty() && !known.contains(&value) {
                let message = format!(
                    "the variable `{}` is one of `{}`, not `{}`",
                    short(name),
                    known.join("`, `"),
                    short(value)
                );
                let problem = Diagnostic::error("openapi_server", message).with_path(&given.path);
                return Err(Box::new(Diagnostic { place: given.place.clone(), ..problem }));
            }
        }
        filled.push_str(value);
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn text_of(node: &Node) -> Option<&str> {
    match &node.value {
        Content::Text(text) => Some(text),
        _ => None,
    }
}

/// The names of all variables of all servers.
pub(super) fn variables<'n>(
    doc: &Document<'n>,
    operations: impl Iterator<Item = (&'n Node, &'n Node)>,
) -> Vec<&'n str> {
    let mut names = Vec::new();
    let nodes = std::iter::once(doc.root()).chain(operations.flat_map(|(item, operation)| [item, operation]));
    for server in nodes.flat_map(|node| doc.list(node, "servers")) {
        names.extend(doc.map(server, "variables").iter().map(|(name, _)| name.text.as_str()));
        let url = doc.text(server, "url").unwrap_or_default();
        names.extend(url.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name));
    }
    names
}

/// A URL of a server that may be relative to the document.
fn absolute(url: &str, document: &DocumentPlace) -> Result<String, String> {
    if url.contains("://") {
        return Ok(url.to_owned());
    }
    let DocumentPlace::Url(base) = document else {
        return Err(match url {
            "/" => "the document names no server, and it is a file".to_owned(),
            _ => format!("the server `{}` is relative to the document, which is a file", short(url)),
        });
    };
    let Server { origin, .. } = read(base)?;
    if let Some(rest) = url.strip_prefix("//") {
        let scheme = origin.split_once("://").map_or("https", |(scheme, _)| scheme);
        return Ok(format!("{scheme}://{rest}"));
    }
    let path = base[origin.len()..].split(['?', '#']).next().unwrap_or_default();
    let folder = path.rfind('/').map_or("", |at| &path[..at]);
    Ok(if url.starts_with('/') { format!("{origin}{url}") } else { format!("{origin}{folder}/{url}") })
}

/// A path without `.` and `..`, and without `/` at its end.
fn dots_gone(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => _ = kept.pop(),
            _ => kept.push(part),
        }
    }
    while kept.last().is_some_and(|part| part.is_empty()) {
        kept.pop();
    }
    kept.into_iter().map(|part| format!("/{part}")).collect()
}

/// A literal of a path as it is sent: what may not stand in one is percent-encoded, what is encoded stays.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        let hex = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
        let fits = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte);
        if fits || byte == b'%' && hex(at + 1) && hex(at + 2) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_servers() {
        let show = |url: &str| match read(url) {
            Ok(server) => format!("{} {}", server.origin, server.path),
            Err(why) => why,
        };
        assert_eq!(show("https://a.example/v1/../v2/./"), "https://a.example /v2");
        assert_eq!(show("HTTP://a.example:8080"), "http://a.example:8080 ");
        assert_eq!(show("https://a.example/a b"), "https://a.example /a%20b");
        assert_eq!(show("ftp://a.example"), "`ftp://a.example` is not a URL that begins with `https://` or `http://`");
        assert_eq!(show("http://[::1]:80/x"), "http://[::1]:80 /x");
        for url in ["https://", "http://h:99999", "http://[::1", "http://h:1:2", "http://[h]/", "http://:80"] {
            assert_eq!(show(url), format!("`{url}` has no host that can be used"));
        }
        assert!(show("https://u:secret@a.example/").contains("auth"), "the secret is not repeated");
    }

    #[test]
    fn relative_servers() {
        let at = |url: &str| absolute(url, &DocumentPlace::Url("https://a.example/docs/api.yaml?x".into()));
        assert_eq!(at("/v2").as_deref(), Ok("https://a.example/v2"));
        assert_eq!(at("../v2").as_deref(), Ok("https://a.example/docs/../v2"));
        assert_eq!(at("//b.example/x").as_deref(), Ok("https://b.example/x"));
        assert!(absolute("/v2", &DocumentPlace::File("api.yaml".into())).is_err());
    }
}
