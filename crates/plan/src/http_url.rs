//! URLs of tools as people write them: `https://api.example.com/pets/${args.id}?limit=${args.limit}`.
//! It does not know the rest of the tool.

use crate::http_spec::{HttpParam, ParamStyle, PathPiece};
use crate::process_spec::TextTemplate;
use crate::reference::{Scanned, scan};

/// A URL, or what stands behind a base.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct UrlTemplate {
    /// `https://api.example.com:8443`; absent in what stands behind a base.
    pub(crate) origin: Option<String>,
    /// From the `/` on.
    pub(crate) path: Vec<PathPiece>,
    /// Behind the `?`.
    pub(crate) query: Vec<HttpParam>,
}

/// A piece of the text.
enum Piece {
    Text(String),
    /// `${args.…}`, as it was written.
    Value(String),
}

impl UrlTemplate {
    /// Reads one.
    ///
    /// # Errors
    /// Says what is wrong: no host, a host with an argument in it, a user or password, a fragment, steps in the path.
    pub(crate) fn parse(source: &str) -> Result<UrlTemplate, String> {
        let mut pieces = Vec::new();
        scan(source, |piece| {
            pieces.push(match piece {
                Scanned::Text(text) => Piece::Text(text.to_owned()),
                Scanned::Reference { inner, .. } => Piece::Value(format!("${{{inner}}}")),
            });
            Ok(())
        })?;
        let origin = match pieces.first_mut() {
            Some(Piece::Text(text)) if text.starts_with('/') => None,
            Some(Piece::Text(text)) => {
                let (origin, rest) = cut_origin(text, source.contains("${"))?;
                *text = rest;
                Some(origin)
            }
            _ => return Err("a URL begins with `https://` and a host, or with `/` behind a `base_url`".to_owned()),
        };
        if pieces.iter().any(|piece| matches!(piece, Piece::Text(text) if text.contains('#'))) {
            return Err("a part behind `#` is never sent; leave it out".to_owned());
        }
        let (path, query) = cut_query(pieces);
        Ok(UrlTemplate { origin, path: read_path(path)?, query: read_query(query)? })
    }

    /// The same behind a base, whose path comes first.
    pub(crate) fn behind(mut self, base: &UrlTemplate) -> UrlTemplate {
        let mut path = base.path.clone();
        if let Some(PathPiece::Text(text)) = path.last_mut() {
            text.truncate(text.trim_end_matches('/').len());
        }
        path.append(&mut self.path);
        let query = base.query.iter().cloned().chain(self.query).collect();
        UrlTemplate { origin: base.origin.clone(), path: merge(path), query }
    }
}

/// The scheme and the host, and what stands behind them.
fn cut_origin(text: &str, templated: bool) -> Result<(String, String), String> {
    let cut = |scheme: &'static str| text.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme));
    let scheme =
        cut("https://").or(cut("http://")).ok_or("a URL begins with `https://`, or with `/` behind a `base_url`")?;
    let rest = &text[scheme.len()..];
    let end = rest.find(['/', '?', '#', '\\']);
    let (host, behind) = rest.split_at(end.unwrap_or(rest.len()));
    if end.is_none() && templated {
        // What follows at once is an argument.
        return Err("the host of a URL is literal: a tool may go only where its declaration says".to_owned());
    }
    if host.contains('@') {
        // It is not repeated: it may be a password.
        return Err("a user or password has no place in a URL; use `auth = { basic = … }`".to_owned());
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control() || "<>\"`{}|^%".contains(c)) {
        return Err(format!("`{}` is not a host", crate::path::shorten(host, 60)));
    }
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(format!("`{}` is not a host and a port", crate::path::shorten(host, 60)));
    }
    Ok((format!("{}{}", scheme.to_ascii_lowercase(), host.to_ascii_lowercase()), behind.to_owned()))
}

/// What stands before and behind the first literal `?`.
fn cut_query(pieces: Vec<Piece>) -> (Vec<Piece>, Vec<Piece>) {
    let (mut path, mut query, mut behind) = (Vec::new(), Vec::new(), false);
    for piece in pieces {
        match piece {
            Piece::Text(text) if !behind => match text.split_once('?') {
                Some((before, after)) => {
                    behind = true;
                    path.push(Piece::Text(before.to_owned()));
                    query.push(Piece::Text(after.to_owned()));
                }
                None => path.push(Piece::Text(text)),
            },
            piece if behind => query.push(piece),
            piece => path.push(piece),
        }
    }
    (path, query)
}

fn read_path(pieces: Vec<Piece>) -> Result<Vec<PathPiece>, String> {
    let mut path = Vec::new();
    let mut shown = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => {
                shown.push_str(&text);
                path.push(PathPiece::Text(encode(&text)));
            }
            Piece::Value(source) => {
                shown.push('x');
                path.push(PathPiece::Value(param(&name(&source), &source, false)?));
            }
        }
    }
    let dots = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    if shown.split(['/', '\\']).any(dots) {
        return Err("a path without the steps `.` and `..`".to_owned());
    }
    Ok(merge(path))
}

fn read_query(pieces: Vec<Piece>) -> Result<Vec<HttpParam>, String> {
    // `a=1&b=${args.x}y` as pairs of templates.
    let mut pairs: Vec<(String, Option<String>)> = vec![(String::new(), None)];
    for piece in pieces {
        match piece {
            Piece::Text(text) => {
                for (at, part) in text.split('&').enumerate() {
                    if at > 0 {
                        pairs.push((String::new(), None));
                    }
                    let Some((name, value)) = pairs.last_mut() else { continue };
                    match (value, part.split_once('=')) {
                        (Some(value), _) => value.push_str(&literal(part)),
                        (value @ None, Some((before, after))) => {
                            name.push_str(before);
                            *value = Some(literal(after));
                        }
                        (None, None) => name.push_str(part),
                    }
                }
            }
            Piece::Value(source) => match pairs.last_mut() {
                Some((_, Some(value))) => value.push_str(&source),
                _ => return Err(format!("`{source}` stands for the name of a parameter; write it as `name={source}`")),
            },
        }
    }
    let pairs = pairs.into_iter().filter(|(name, value)| !name.is_empty() || value.is_some());
    pairs.map(|(name, value)| param(&decode(&name), &value.unwrap_or_default(), true)).collect()
}

/// A parameter of a query, or of a path.
fn param(name: &str, source: &str, optional: bool) -> Result<HttpParam, String> {
    let style = if optional { ParamStyle::Form } else { ParamStyle::Simple };
    let value = TextTemplate::parse(source)?;
    Ok(HttpParam { name: name.into(), value, optional, style, explode: optional, reserved: false })
}

/// A literal of a query as a template: decoded, since it will be encoded, and without references.
fn literal(text: &str) -> String {
    decode(text).replace("${", "$${")
}

/// `id` of `${args.id}`, for messages.
fn name(source: &str) -> String {
    source.trim_start_matches("${").trim_end_matches('}').trim().trim_start_matches("args").trim_matches('.').to_owned()
}

/// What cannot stand in a path is encoded; what is encoded already stays so.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => encoded.push(byte.into()),
            b'-' | b'.' | b'_' | b'~' | b'/' | b'%' | b':' | b'@' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*'
            | b'+' | b',' | b';' | b'=' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// `a%20b` as `a b`; what is not encoded stays, and what would not be UTF-8.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex =
            text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(hex.unwrap_or(if bytes[at] == b'+' { b' ' } else { bytes[at] }));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

/// Joins neighbouring literals.
fn merge(pieces: Vec<PathPiece>) -> Vec<PathPiece> {
    let mut merged: Vec<PathPiece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match (merged.last_mut(), piece) {
            (_, PathPiece::Text(text)) if text.is_empty() => {}
            (Some(PathPiece::Text(before)), PathPiece::Text(text)) => before.push_str(&text),
            (_, piece) => merged.push(piece),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(source: &str) -> String {
        let url = match UrlTemplate::parse(source) {
            Ok(url) => url,
            Err(message) => return format!("{source}: {message}\n"),
        };
        let path: Vec<String> = url
            .path
            .iter()
            .map(|piece| match piece {
                PathPiece::Text(text) => text.clone(),
                PathPiece::Value(param) => format!("<{}>", param.value.source()),
            })
            .collect();
        let query: Vec<String> =
            url.query.iter().map(|param| format!("{:?}={:?}", param.name, param.value.source())).collect();
        format!("{source}: {:?} {} {}\n", url.origin, path.concat(), query.join(" "))
    }

    #[test]
    fn urls_are_cut_into_their_parts() {
        let shown: String = [
            "https://api.example.com",
            "HTTPS://API.example.com:8443/a b/${args.id}.json",
            "https://api.example.com/a?x=1&y=${args.y}&z=a%20b+c&flag&w=p${args.q}r&",
            "/pets/${args.id}/${args.a.b}",
            "https://[::1]:8080/x",
            "https://a/x$${y}",
            "https://${args.host}/x",
            "https://api.${args.host}/x",
            "https://api.example.com:${args.port}/x",
            "https://api.example.com${args.path}",
            "https://user:word@example.com/",
            "https://example.com/a/../b",
            "https://example.com/a/%2E%2e/b",
            "https://example.com/a/${args.x}..",
            "https://example.com/a#b",
            "https://example.com/?${args.name}=1",
            "https://exa mple.com/",
            "https:///x",
            "https://example.com:99999/",
            "ftp://example.com/",
            "example.com/x",
            "${args.url}",
            "",
        ]
        .into_iter()
        .map(show)
        .collect();
        expect_test::expect![[r#"
            https://api.example.com: Some("https://api.example.com")  
            HTTPS://API.example.com:8443/a b/${args.id}.json: Some("https://api.example.com:8443") /a%20b/<${args.id}>.json 
            https://api.example.com/a?x=1&y=${args.y}&z=a%20b+c&flag&w=p${args.q}r&: Some("https://api.example.com") /a "x"="1" "y"="${args.y}" "z"="a b c" "flag"="" "w"="p${args.q}r"
            /pets/${args.id}/${args.a.b}: None /pets/<${args.id}>/<${args.a.b}> 
            https://[::1]:8080/x: Some("https://[::1]:8080") /x 
            https://a/x$${y}: Some("https://a") /x$%7By%7D 
            https://${args.host}/x: the host of a URL is literal: a tool may go only where its declaration says
            https://api.${args.host}/x: the host of a URL is literal: a tool may go only where its declaration says
            https://api.example.com:${args.port}/x: the host of a URL is literal: a tool may go only where its declaration says
            https://api.example.com${args.path}: the host of a URL is literal: a tool may go only where its declaration says
            https://user:word@example.com/: a user or password has no place in a URL; use `auth = { basic = … }`
            https://example.com/a/../b: a path without the steps `.` and `..`
            https://example.com/a/%2E%2e/b: a path without the steps `.` and `..`
            https://example.com/a/${args.x}..: Some("https://example.com") /a/<${args.x}>.. 
            https://example.com/a#b: a part behind `#` is never sent; leave it out
            https://example.com/?${args.name}=1: `${args.name}` stands for the name of a parameter; write it as `name=${args.name}`
            https://exa mple.com/: `exa mple.com` is not a host
            https:///x: `` is not a host
            https://example.com:99999/: `example.com:99999` is not a host and a port
            ftp://example.com/: a URL begins with `https://`, or with `/` behind a `base_url`
            example.com/x: a URL begins with `https://`, or with `/` behind a `base_url`
            ${args.url}: a URL begins with `https://` and a host, or with `/` behind a `base_url`
            : a URL begins with `https://` and a host, or with `/` behind a `base_url`
        "#]].assert_eq(&shown);
    }

    #[test]
    fn behind_a_base() {
        let base = UrlTemplate::parse("https://a.example/v1/?key=1").unwrap();
        let url = UrlTemplate::parse("/pets/${args.id}?x=2").unwrap().behind(&base);
        assert_eq!(url.origin.as_deref(), Some("https://a.example"));
        assert_eq!(url.path[0], PathPiece::Text("/v1/pets/".into()));
        assert_eq!(url.query.len(), 2);
    }
}
