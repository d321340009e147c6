//! What a call touches: key templates over its arguments (`Effects`) and the keys they name (`NamedKey`).
//! It does not know which calls conflict, nor the file system: canonicalising paths is a function of the caller.

use crate::path::{Step, walk};
use crate::process_spec::{TextPiece, TextTemplate, text_of};
use crate::spec::{EffectsSpec, Hints, ToolSpec};
use crate::template::{Kind, Seen, Template, look};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a tool or call touches, compiled.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    claims: Vec<KeyTemplate>,
    idempotent: bool,
    destructive: bool,
    /// Values of arguments that were not given.
    defaults: Arc<Map<String, Value>>,
}

/// The template of a key, such as `file:${args.path}`.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyTemplate {
    /// As it was written.
    pub text: Arc<str>,
    /// Whether the call may write it.
    pub write: bool,
    kind: KeyKind,
    base: Base,
}

/// What a relative path in a key is relative to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Base {
    /// A directory; absent where it is what all are relative to.
    dir: Option<Arc<Path>>,
    /// A path from there that depends on the arguments.
    cwd: Arc<[TextPiece]>,
}

#[derive(Clone, Debug, PartialEq)]
enum KeyKind {
    /// Overlaps everything.
    Root,
    /// Behind `file:`, a path; of no pieces: all files.
    File(Vec<TextPiece>),
    /// Segments, each made of pieces.
    Segments(Vec<Vec<TextPiece>>),
}

/// The name of a resource a call reads or writes, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedKey {
    /// `file:/src/a.rs`; a rest that is not known is shown as `…`: `db:orders/…`.
    pub text: Arc<str>,
    /// `["file:", "src", "a.rs"]`; empty for what overlaps everything.
    pub segments: Vec<String>,
    /// Whether the call may write it.
    pub write: bool,
    /// Whether nothing about it is open any more.
    pub known: bool,
    /// Which template it comes from.
    pub claim: u32,
}

/// The arguments as far as they are known.
#[derive(Clone, Copy)]
pub enum ArgsView<'a> {
    /// All of them.
    Known(&'a Value),
    /// Before references are followed.
    Partial(&'a Template),
    /// None of them.
    Unknown,
}

/// One call names at most this many keys; the rest is covered by what they have in common.
const KEYS_MAX: usize = 10_000;

impl Effects {
    /// Compiles a declaration. `defaults` are the values of arguments that were not given.
    ///
    /// # Errors
    /// Every template that cannot be read: which list, its index, and what is wrong.
    pub fn compile(
        spec: &EffectsSpec,
        defaults: Arc<Map<String, Value>>,
    ) -> Result<Effects, Vec<(&'static str, usize, String)>> {
        let mut claims = Vec::new();
        let mut wrong = Vec::new();
        for (list, write) in [(&spec.reads, false), (&spec.writes, true)] {
            for (at, text) in list.iter().enumerate() {
                match KeyTemplate::parse(text, write) {
                    Ok(claim) => claims.push(claim),
                    Err(message) => wrong.push((if write { "writes" } else { "reads" }, at, message)),
                }
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Effects { claims, idempotent: spec.idempotent, destructive: spec.destructive, defaults })
    }

    /// The same, with relative paths in `file:` keys relative to this.
    #[must_use]
    pub(crate) fn based(mut self, base: &Base) -> Effects {
        self.claims = self.claims.into_iter().map(|claim| claim.based(base)).collect();
        self
    }

    /// Touches these keys and nothing else: as these hints say, and writes them where nothing is hinted.
    pub(crate) fn hinted(mut claims: Vec<KeyTemplate>, hints: Hints) -> Effects {
        for claim in &mut claims {
            claim.write = !hints.read_only;
        }
        Effects { claims, idempotent: hints.idempotent, destructive: hints.destructive, ..Effects::default() }
    }

    /// The templates of its keys.
    pub fn claims(&self) -> &[KeyTemplate] {
        &self.claims
    }

    /// Whether it touches nothing that has a name.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// Running it twice is declared to be as running it once.
    pub fn idempotent(&self) -> bool {
        self.idempotent
    }

    /// It is declared to destroy something.
    pub fn destructive(&self) -> bool {
        self.destructive
    }

    /// It writes nothing.
    pub fn read_only(&self) -> bool {
        self.claims.iter().all(|claim| !claim.write)
    }

    /// Running it twice does no harm: it writes nothing, or is idempotent.
    pub fn repeatable(&self) -> bool {
        self.idempotent || self.read_only()
    }

    /// The names of arguments its keys depend on.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        self.claims.iter().flat_map(|claim| claim.arguments())
    }

    /// The keys for these arguments. While an argument is unknown or missing, a key is cut down to the whole
    /// segments before it. `canon` makes a path absolute and canonical.
    pub fn keys(&self, args: ArgsView<'_>, canon: &dyn Fn(&Path) -> PathBuf) -> Vec<NamedKey> {
        if self.claims.is_empty() {
            return Vec::new();
        }
        let parsed = match args {
            ArgsView::Partial(Template(Kind::Literal(text))) => Some(crate::template::parse(text)),
            _ => None,
        };
        let args = parsed.as_ref().map_or(args, ArgsView::Known);
        let see = |steps: &[Step]| self.see(args, steps);
        let mut keys = Vec::new();
        for (at, claim) in self.claims.iter().enumerate() {
            claim.keys(u32::try_from(at).unwrap_or(u32::MAX), &see, canon, &mut keys);
        }
        keys
    }

    fn see<'a>(&'a self, args: ArgsView<'a>, steps: &[Step]) -> Seen<'a> {
        let seen = match args {
            ArgsView::Known(value) => match walk(value, steps) {
                Ok(_) => walk_owned(value, steps),
                Err(_) => Seen::Missing,
            },
            ArgsView::Partial(Template(Kind::Holes(holes))) => look(&holes.tree, steps),
            ArgsView::Partial(Template(Kind::Literal(_))) | ArgsView::Unknown => Seen::Unknown,
        };
        match (seen, steps) {
            (Seen::Missing, [Step::Name(name), rest @ ..]) if !has(args, name) => match self.defaults.get(&**name) {
                Some(value) => walk_owned(value, rest),
                None => Seen::Missing,
            },
            (seen, _) => seen,
        }
    }
}

/// Whether an argument of this name was given at all.
fn has(args: ArgsView<'_>, name: &str) -> bool {
    match args {
        ArgsView::Known(value) => value.get(name).is_some(),
        ArgsView::Partial(Template(Kind::Holes(holes))) => {
            !matches!(look(&holes.tree, &[Step::Name(name.into())]), Seen::Missing)
        }
        ArgsView::Partial(_) | ArgsView::Unknown => true,
    }
}

fn walk_owned<'a>(value: &'a Value, steps: &[Step]) -> Seen<'a> {
    let mut found = value;
    for step in steps {
        match crate::path::enter(found, step) {
            Some(next) => found = next,
            None => return Seen::Missing,
        }
    }
    Seen::Known(Cow::Borrowed(found))
}

impl KeyTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str, write: bool) -> Result<KeyTemplate, String> {
        if text.trim().is_empty() {
            return Err("a key is not empty; `*` overlaps everything".into());
        }
        let kind = match TextTemplate::parse(text)?.pieces() {
            [TextPiece::Text(literal)] if literal == "*" => KeyKind::Root,
            [TextPiece::Text(literal)] if literal == "file:" => KeyKind::File(Vec::new()),
            [TextPiece::Text(first), rest @ ..] if first.starts_with("file:") => {
                let path = TextPiece::Text(first["file:".len()..].to_owned());
                KeyKind::File(std::iter::once(path).chain(rest.iter().cloned()).collect())
            }
            pieces => KeyKind::Segments(segments(pieces)),
        };
        if let KeyKind::Segments(segments) = &kind
            && segments.iter().any(|segment| *segment == [TextPiece::Text("*".into())])
        {
            return Err(format!(
                "`{text}`: `*` stands alone; a key covers all that begins with it, segment by segment"
            ));
        }
        Ok(KeyTemplate { text: text.into(), write, kind, base: Base::default() })
    }

    /// The same, with relative paths relative to this.
    #[must_use]
    pub(crate) fn based(mut self, base: &Base) -> KeyTemplate {
        self.base = base.clone();
        self
    }

    /// The names of arguments it depends on.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        let pieces: Box<dyn Iterator<Item = &TextPiece>> = match &self.kind {
            KeyKind::Root => Box::new(std::iter::empty()),
            KeyKind::File(pieces) => Box::new(pieces.iter().chain(&*self.base.cwd)),
            KeyKind::Segments(segments) => Box::new(segments.iter().flatten()),
        };
        pieces.filter_map(|piece| match piece {
            TextPiece::Arg(steps) => steps.first().and_then(|step| match step {
                Step::Name(name) => Some(&**name),
                Step::Index(_) => None,
            }),
            TextPiece::Text(_) => None,
        })
    }

    /// Whether it names a file: such keys are canonical, and can change their meaning.
    pub fn is_file(&self) -> bool {
        matches!(self.kind, KeyKind::File(_))
    }

    /// The whole literal segments it begins with, as a template of its own: `db:orders/${args.id}` gives `db:orders`.
    pub fn literal_prefix(&self, write: bool) -> KeyTemplate {
        let kind = match &self.kind {
            KeyKind::Root => KeyKind::Root,
            KeyKind::File(pieces) => {
                let literal = match pieces.as_slice() {
                    [TextPiece::Text(text)] => Some(text.clone()),
                    [TextPiece::Text(text), ..] => text.rfind('/').map(|at| text[..=at].to_owned()),
                    _ => None,
                };
                // Another tool's arguments do not say where this one works.
                let literal = literal.filter(|path| self.base.cwd.is_empty() || path.starts_with('/'));
                KeyKind::File(literal.map(TextPiece::Text).into_iter().collect())
            }
            KeyKind::Segments(segments) => {
                let literal = segments
                    .iter()
                    .take_while(|segment| segment.iter().all(|piece| matches!(piece, TextPiece::Text(_))));
                match literal.cloned().collect::<Vec<_>>() {
                    prefix if prefix.is_empty() => KeyKind::Root,
                    prefix => KeyKind::Segments(prefix),
                }
            }
        };
        let text = match &kind {
            KeyKind::Root => "*".into(),
            KeyKind::File(pieces) => format!("file:{}", show(pieces)),
            KeyKind::Segments(segments) => join(&segments.iter().map(|pieces| show(pieces)).collect::<Vec<_>>()),
        };
        KeyTemplate { text: text.into(), write, kind, base: Base { dir: self.base.dir.clone(), ..Base::default() } }
    }

    fn keys<'a>(
        &self,
        claim: u32,
        see: &dyn Fn(&[Step]) -> Seen<'a>,
        canon: &dyn Fn(&Path) -> PathBuf,
        keys: &mut Vec<NamedKey>,
    ) {
        let key = |segments: Vec<String>, text: String, known| NamedKey {
            text: text.into(),
            segments,
            write: self.write,
            known,
            claim,
        };
        match &self.kind {
            KeyKind::Root => keys.push(key(Vec::new(), "*".into(), true)),
            KeyKind::File(pieces) if pieces.is_empty() => {
                keys.push(key(vec!["file:".to_owned()], "file:/".into(), true))
            }
            KeyKind::File(pieces) => {
                let base = self.base.fill(see);
                for made in &fill(pieces, see, false) {
                    let (segments, cut) = base.file(made, canon);
                    let text = if cut.is_some() { open_text(&segments) } else { join(&segments) };
                    keys.push(key(segments, text, cut != Some(Cut::Unknown)));
                }
            }
            KeyKind::Segments(templates) => {
                for (segments, cut) in segment_keys(templates, see) {
                    let text = if cut.is_some() { open_text(&segments) } else { join(&segments) };
                    keys.push(key(segments, text, cut != Some(Cut::Unknown)));
                }
            }
        }
    }
}

/// Why a key ends before its template does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Unknown,
    Missing,
}

impl Cut {
    /// The reason of a key that is cut for two: it stays open while one of them can change.
    fn and(self, other: Cut) -> Cut {
        if self == Cut::Unknown { self } else { other }
    }
}

/// A text made from pieces, up to what is not there.
struct Made {
    text: String,
    cut: Option<Cut>,
}

/// All texts these pieces make: one per element of a list. `segment`: what is put in is one segment.
fn fill<'a>(pieces: &[TextPiece], see: &dyn Fn(&[Step]) -> Seen<'a>, segment: bool) -> Vec<Made> {
    let mut made = vec![Made { text: String::new(), cut: None }];
    for piece in pieces {
        let values: Cow<'_, Value> = match piece {
            TextPiece::Text(literal) => {
                made.iter_mut().for_each(|made| made.text.push_str(literal));
                continue;
            }
            TextPiece::Arg(steps) => {
                let cut = match see(steps) {
                    Seen::Known(value) if !value.is_null() => Ok(value),
                    Seen::Unknown => Err(Cut::Unknown),
                    Seen::Known(_) | Seen::Missing => Err(Cut::Missing),
                };
                match cut {
                    Ok(value) => value,
                    Err(cut) => {
                        made.iter_mut().for_each(|made| made.cut = Some(cut));
                        return made;
                    }
                }
            }
        };
        let one = std::slice::from_ref(&*values);
        let items = if let Value::Array(items) = &*values { items.as_slice() } else { one };
        if made.len().saturating_mul(items.len()) > KEYS_MAX {
            made.iter_mut().for_each(|made| made.cut = Some(Cut::Missing));
            return made;
        }
        made = made
            .iter()
            .flat_map(|before| {
                items.iter().map(move |item| {
                    let text = text_of(item);
                    let text = if segment { escape(&text) } else { text };
                    Made { text: format!("{}{text}", before.text), cut: None }
                })
            })
            .collect();
    }
    made
}

/// What is put into a segment stays in it.
fn escape(text: &str) -> Cow<'_, str> {
    if text.contains(['/', '%']) { text.replace('%', "%25").replace('/', "%2F").into() } else { text.into() }
}

/// All keys these segments make, each with what cut it.
fn segment_keys<'a>(
    templates: &[Vec<TextPiece>],
    see: &dyn Fn(&[Step]) -> Seen<'a>,
) -> Vec<(Vec<String>, Option<Cut>)> {
    let mut keys: Vec<Vec<String>> = vec![Vec::new()];
    for template in templates {
        let made = fill(template, see, true);
        if let Some(cut) = made.iter().find_map(|made| made.cut) {
            return keys.into_iter().map(|key| (key, Some(cut))).collect();
        }
        if keys.len().saturating_mul(made.len()) > KEYS_MAX {
            return keys.into_iter().map(|key| (key, Some(Cut::Missing))).collect();
        }
        keys = keys
            .iter()
            .flat_map(|key| {
                made.iter().map(move |made| {
                    key.iter().chain([&made.text].into_iter().filter(|text| !text.is_empty())).cloned().collect()
                })
            })
            .collect();
    }
    keys.into_iter().map(|key| (key, None)).collect()
}

/// Cuts pieces into segments at the `/` of literal texts; the scheme is a segment of its own.
fn segments(pieces: &[TextPiece]) -> Vec<Vec<TextPiece>> {
    let mut segments: Vec<Vec<TextPiece>> = vec![Vec::new()];
    for (at, piece) in pieces.iter().enumerate() {
        let TextPiece::Text(literal) = piece else {
            if let Some(last) = segments.last_mut() {
                last.push(piece.clone());
            }
            continue;
        };
        let mut rest = literal.as_str();
        if at == 0
            && let Some(len) = scheme_len(rest)
        {
            segments = vec![vec![TextPiece::Text(rest[..len].to_owned())], Vec::new()];
            rest = &rest[len..];
        }
        for (n, part) in rest.split('/').enumerate() {
            if n > 0 {
                segments.push(Vec::new());
            }
            if let (false, Some(last)) = (part.is_empty(), segments.last_mut()) {
                last.push(TextPiece::Text(part.to_owned()));
            }
        }
    }
    segments.retain(|segment| !segment.is_empty());
    segments
}

/// The length of `db:` in `db:orders/42`.
fn scheme_len(text: &str) -> Option<usize> {
    let colon = text.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '.' | '-' | '_'))?;
    (colon > 0 && text.as_bytes()[colon] == b':').then_some(colon + 1)
}

/// `["file:", "src", "a.rs"]` of `/src/a.rs`.
fn file_segments(path: &Path) -> Vec<String> {
    let text = path.to_string_lossy();
    std::iter::once("file:").chain(text.split('/').filter(|part| !part.is_empty())).map(str::to_owned).collect()
}

impl Base {
    /// Where this tool works.
    pub(crate) fn of(tool: &ToolSpec) -> Base {
        let cwd = tool.cwd.as_ref().map(|cwd| cwd.pieces().into()).unwrap_or_default();
        Base { dir: tool.base_dir.clone(), cwd }
    }

    fn fill<'a>(&self, see: &dyn Fn(&[Step]) -> Seen<'a>) -> FilledBase<'_> {
        // A list here is no directory: its process will not start.
        let cwd = fill(&self.cwd, see, false).into_iter().next();
        FilledBase {
            dir: self.dir.as_deref(),
            cwd: cwd.unwrap_or(Made { text: String::new(), cut: Some(Cut::Missing) }),
        }
    }
}

/// A base as far as the arguments are known.
struct FilledBase<'a> {
    dir: Option<&'a Path>,
    cwd: Made,
}

impl FilledBase<'_> {
    /// The key of a path, or what all files whose path begins so have in common: the whole directories of it. A
    /// relative path from a directory that is not known may be any file.
    fn file(&self, made: &Made, canon: &dyn Fn(&Path) -> PathBuf) -> (Vec<String>, Option<Cut>) {
        let all = || vec!["file:".to_owned()];
        let path = match made.cut {
            None => made.text.as_str(),
            Some(_) => match made.text.rfind('/') {
                Some(at) => &made.text[..=at],
                None => return (all(), made.cut),
            },
        };
        if let (Some(cut), false) = (self.cwd.cut, path.starts_with('/')) {
            return (all(), Some(made.cut.map_or(cut, |made| made.and(cut))));
        }
        let path = Path::new(&self.cwd.text).join(path);
        let path = self.dir.map_or_else(|| path.clone(), |dir| dir.join(&path));
        (file_segments(&canon(&path)), made.cut)
    }
}

fn show(pieces: &[TextPiece]) -> String {
    pieces.iter().map(|piece| if let TextPiece::Text(text) = piece { text.as_str() } else { "…" }).collect()
}

/// `db:orders/42` of `["db:", "orders", "42"]`; `*` of none.
fn join(segments: &[String]) -> String {
    match segments {
        [] => "*".into(),
        [scheme] if scheme == "file:" => "file:/".into(),
        [scheme, rest @ ..] if scheme == "file:" => format!("file:/{}", rest.join("/")),
        [scheme, rest @ ..] if scheme.ends_with(':') => format!("{scheme}{}", rest.join("/")),
        segments => segments.join("/"),
    }
}

fn open_text(segments: &[String]) -> String {
    match segments {
        [] => "…".into(),
        [scheme] if scheme.ends_with(':') => format!("{scheme}…"),
        segments => format!("{}/…", join(segments)),
    }
}

impl NamedKey {
    /// Whether one of the two covers the other.
    pub fn overlaps(&self, other: &NamedKey) -> bool {
        let n = self.segments.len().min(other.segments.len());
        self.segments[..n] == other.segments[..n]
    }

    /// Whether this is `other` or lies inside it.
    pub fn within(&self, other: &NamedKey) -> bool {
        self.segments.starts_with(&other.segments)
    }
}

/// The first of the `resolved` keys that lies outside what was announced for it while its arguments were unknown.
pub fn first_outside<'a>(announced: &[NamedKey], resolved: &'a [NamedKey]) -> Option<&'a NamedKey> {
    resolved.iter().find(|key| !announced.iter().any(|before| before.claim == key.claim && key.within(before)))
}
