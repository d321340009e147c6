//! What a program prints or a server answers: collected within bounds, spilled to a file when large, read as text,
//! lines or JSON. It does not know how the attempt ended or whether that was a failure.

use crate::characters;
use crate::tool::{JsonText, ToolError};
use fanout_plan::Stdout;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::fs::{DirBuilder, File};
use std::io::{BufReader, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::NamedTempFile;
use tokio::io::{AsyncRead, AsyncReadExt};

/// How much is read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// The first room for output; most tools print less.
const FIRST_BYTES: usize = 4 << 10;
/// How much of the end of standard error is kept.
const TAIL_BYTES: usize = 8 << 10;
/// What the name of a file begins and ends with that a result is spilled to; between is what nobody can guess.
const NAME: (&str, &str) = ("result-", ".out");
/// How much of a spilled result is shown.
const HEAD_BYTES: usize = 4 << 10;
/// As deep as a JSON value may be nested where it is looked into later.
const DEPTH_MAX: usize = 127;

/// The output of one attempt.
pub(crate) struct Output {
    /// What it is, for messages.
    what: &'static str,
    /// A text ends with a line end that isn't part of it.
    lines: bool,
    /// All of it, or with a file what is not written there yet.
    memory: Vec<u8>,
    file: Option<NamedTempFile>,
    head: Vec<u8>,
    bytes: u64,
    inline_max: u64,
    output_max: u64,
    spill_dir: PathBuf,
}

/// Why no more was read.
#[derive(Debug)]
pub(crate) enum ReadEnd {
    /// More than `output_max`.
    TooLarge,
    /// The spill file could not be written.
    Spill(std::io::Error),
}

impl Output {
    /// Of a program.
    pub(super) fn new(inline_max: u64, output_max: u64, spill_dir: &Path) -> Output {
        Output { lines: true, ..Output::of("standard output", inline_max, output_max, spill_dir) }
    }

    /// Of something else, which is called `what` in messages.
    pub(crate) fn of(what: &'static str, inline_max: u64, output_max: u64, spill_dir: &Path) -> Output {
        Output {
            what,
            lines: false,
            memory: Vec::new(),
            file: None,
            head: Vec::new(),
            bytes: 0,
            inline_max,
            output_max,
            spill_dir: spill_dir.to_path_buf(),
        }
    }

    /// Reads to the end. Can be dropped and begun again without a loss.
    pub(super) async fn read(
        &mut self,
        mut from: impl AsyncRead + Unpin,
        mut progress: impl FnMut(),
    ) -> Result<(), ReadEnd> {
        loop {
            if self.memory.capacity() - self.memory.len() < FIRST_BYTES / 2 {
                let more =
                    if self.bytes < CHUNK_BYTES as u64 { FIRST_BYTES.max(self.memory.len()) } else { CHUNK_BYTES };
                self.memory.reserve(more);
            }
            // An unreadable pipe has ended.
            let n = from.read_buf(&mut self.memory).await.unwrap_or(0);
            if n == 0 {
                return Ok(());
            }
            progress();
            self.grown(n)?;
        }
    }

    /// Takes a piece of it.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), ReadEnd> {
        self.memory.extend_from_slice(piece);
        self.grown(piece.len())
    }

    fn grown(&mut self, by: usize) -> Result<(), ReadEnd> {
        self.bytes += by as u64;
        if self.bytes > self.output_max {
            return Err(ReadEnd::TooLarge);
        }
        if self.bytes > self.inline_max && (self.file.is_none() || self.memory.len() >= CHUNK_BYTES / 2) {
            self.spill().map_err(ReadEnd::Spill)?;
        }
        Ok(())
    }

    /// A file with all of it, whatever it holds.
    ///
    /// # Errors
    /// `spill_failed`.
    pub(crate) fn into_file(self) -> Result<JsonText, ToolError> {
        self.spilled(None)
    }

    /// Whether reading it would hold up others.
    pub(crate) fn is_large(&self) -> bool {
        self.file.is_some() || self.bytes > CHUNK_BYTES as u64
    }

    /// The result.
    ///
    /// # Errors
    /// `output_not_utf8`, `output_not_json`, `spill_failed`.
    pub(crate) fn result(self, kind: Stdout) -> Result<JsonText, ToolError> {
        // Output that grew over the limit while it was read is in a file by now; a limit of 0 has no other case.
        if self.file.is_some() {
            return self.spilled(Some(kind));
        }
        let what = self.what;
        let text =
            String::from_utf8(self.memory).map_err(|error| not_utf8(what, error.utf8_error().valid_up_to() as u64))?;
        match kind {
            Stdout::Json => {
                let text = characters::mended(&text).unwrap_or(text);
                let value = text.trim();
                let is_blank = value.is_empty();
                // Without another copy, where it is nothing but the value.
                let read =
                    if value.len() == text.len() { RawValue::from_string(text) } else { serde_json::from_str(value) };
                let value = read.map_err(|error| not_json(what, &error, is_blank))?;
                check_depth(what, value.get())?;
                Ok(Arc::from(value))
            }
            Stdout::Text if self.lines => to_json(&without_final_newline(&text)),
            Stdout::Text => to_json(&text),
            Stdout::Lines => to_json(&text.lines().collect::<Vec<_>>()),
        }
    }

    fn spill(&mut self) -> std::io::Result<()> {
        if self.file.is_none() {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.spill_dir)?;
            let file = tempfile::Builder::new().prefix(NAME.0).suffix(NAME.1).tempfile_in(&self.spill_dir)?;
            self.head = self.memory[..self.memory.len().min(HEAD_BYTES)].to_vec();
            self.file = Some(file);
        }
        if let Some(file) = &mut self.file {
            file.write_all(&self.memory)?;
        }
        self.memory.clear();
        self.memory.shrink_to(CHUNK_BYTES);
        Ok(())
    }

    fn spilled(mut self, kind: Option<Stdout>) -> Result<JsonText, ToolError> {
        self.spill().map_err(|error| spill_failed(&self.spill_dir, &error))?;
        let Some(mut file) = self.file.take() else { return to_json(&()) };
        if let Some(kind) = kind {
            check_file(self.what, file.as_file_mut(), kind).map_err(|error| match error {
                FileFault::Io(error) => spill_failed(&self.spill_dir, &error),
                FileFault::Tool(error) => error,
            })?;
        }
        // Kept only now: the file of a result that cannot be read goes with `file`.
        let (_, path) = file.keep().map_err(|error| spill_failed(&self.spill_dir, &error.error))?;
        let cut = match std::str::from_utf8(&self.head) {
            Ok(_) => self.head.len(),
            Err(error) => error.valid_up_to(),
        };
        let head = String::from_utf8_lossy(&self.head[..cut]);
        to_json(&serde_json::json!({"spilled": {"path": path.to_string_lossy(), "bytes": self.bytes, "head": head}}))
    }
}

/// Why a program was stopped reading from.
pub(super) fn read_failed(end: &ReadEnd, name: &str, output_max: u64, spill_dir: &Path) -> ToolError {
    match end {
        ReadEnd::TooLarge => ToolError::permanent(format!(
            "`{name}` printed more than {output_max} bytes and was killed; raise `output_max` or make it print less"
        ))
        .code("output_too_large"),
        ReadEnd::Spill(error) => spill_failed(spill_dir, error),
    }
}

/// The end of what was written to standard error.
#[derive(Default)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    /// Reads to the end and keeps the last of it. Can be dropped and begun again without a loss.
    pub(super) async fn read(&mut self, mut from: impl AsyncRead + Unpin, mut progress: impl FnMut()) {
        loop {
            self.bytes.reserve(TAIL_BYTES / 4);
            // An unreadable pipe has ended.
            if from.read_buf(&mut self.bytes).await.unwrap_or(0) == 0 {
                return;
            }
            progress();
            self.cut();
        }
    }

    /// Takes a piece.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        self.cut();
    }

    fn cut(&mut self) {
        if self.bytes.len() > 2 * TAIL_BYTES {
            self.bytes.drain(..self.bytes.len() - TAIL_BYTES);
            self.cut = true;
        }
    }

    /// What was kept, as text.
    pub(crate) fn text(&self) -> String {
        let from = self.bytes.len().saturating_sub(TAIL_BYTES);
        let text = String::from_utf8_lossy(&self.bytes[from..]);
        let text = text.trim_end();
        if self.cut || from > 0 { format!("…{text}") } else { text.to_owned() }
    }
}

enum FileFault {
    Io(std::io::Error),
    Tool(ToolError),
}

/// The file that a result says it is in. A tool can say so of any file: only one that results are spilled to counts.
///
/// # Example
/// ```
/// let lie = serde_json::json!({"spilled": {"path": "/etc/passwd", "bytes": 1}});
/// assert_eq!(fanout_tools::spilled_to(&lie), None);
/// ```
pub fn spilled_to(result: &Value) -> Option<PathBuf> {
    let only = result.as_object().filter(|fields| fields.len() == 1)?;
    let told = only.get("spilled").filter(|told| told["bytes"].is_u64())?;
    let path = Path::new(told["path"].as_str()?);
    let name = path.file_name()?.to_str()?;
    let is_named_so = name.starts_with(NAME.0) && name.ends_with(NAME.1);
    let is_file = is_named_so && path.symlink_metadata().is_ok_and(|file| file.is_file());
    is_file.then(|| path.to_owned())
}

/// Checks a spilled result without holding it in memory.
fn check_file(what: &str, file: &mut File, kind: Stdout) -> Result<(), FileFault> {
    check_utf8(what, file)?;
    if kind == Stdout::Json {
        file.rewind().map_err(FileFault::Io)?;
        let mut reader = serde_json::Deserializer::from_reader(BufReader::with_capacity(CHUNK_BYTES, file));
        let read = serde::de::IgnoredAny::deserialize(&mut reader).and_then(|_| reader.end());
        read.map_err(|error| match error.is_io() {
            true => FileFault::Io(error.into()),
            false => FileFault::Tool(not_json(what, &error, false)),
        })?;
    }
    Ok(())
}

fn check_utf8(what: &str, file: &mut File) -> Result<(), FileFault> {
    file.rewind().map_err(FileFault::Io)?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let (mut kept, mut checked) = (0, 0_u64);
    loop {
        let n = file.read(&mut buffer[kept..]).map_err(FileFault::Io)?;
        let have = kept + n;
        let valid = match std::str::from_utf8(&buffer[..have]) {
            Ok(_) => have,
            // A character cut by the end of the chunk goes to the next one, unless there is none.
            Err(error) if error.error_len().is_none() && n > 0 => error.valid_up_to(),
            Err(error) => return Err(FileFault::Tool(not_utf8(what, checked + error.valid_up_to() as u64))),
        };
        if n == 0 {
            return Ok(());
        }
        buffer.copy_within(valid..have, 0);
        kept = have - valid;
        checked += valid as u64;
    }
}

/// A value nested too deep would be refused only where it is looked into, far from its cause.
fn check_depth(what: &str, json: &str) -> Result<(), ToolError> {
    if few_brackets(json) {
        return Ok(());
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in json.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
        if depth > DEPTH_MAX {
            let message = format!("{what} is JSON nested deeper than {DEPTH_MAX} levels, at byte {at}");
            return Err(ToolError::permanent(message).code("output_not_json"));
        }
    }
    Ok(())
}

/// Whether there are too few to be deep, as nearly everywhere. They are counted in pieces so short that a byte can hold
/// the count: so the compiler counts many bytes at a time.
fn few_brackets(json: &str) -> bool {
    let in_piece = |piece: &[u8]| piece.iter().fold(0_u8, |sum, byte| sum + u8::from(matches!(byte, b'[' | b'{')));
    json.as_bytes().chunks(usize::from(u8::MAX)).map(|piece| usize::from(in_piece(piece))).sum::<usize>() <= DEPTH_MAX
}

fn without_final_newline(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

fn to_json(value: &impl serde::Serialize) -> Result<JsonText, ToolError> {
    Ok(Arc::from(serde_json::value::to_raw_value(value)?))
}

fn not_utf8(what: &str, at: u64) -> ToolError {
    let message =
        format!("{what} is not UTF-8, at byte {at}; make the tool give UTF-8, or encode what it gives (base64)");
    ToolError::permanent(message).code("output_not_utf8")
}

fn not_json(what: &str, error: &serde_json::Error, is_blank: bool) -> ToolError {
    let message = if is_blank {
        format!("{what} is empty where JSON was expected; make the tool give a value, or declare it as text")
    } else {
        let is = if error.is_eof() { "JSON that breaks off" } else { "not one JSON value" };
        format!("{what} is {is}: {error}; make the tool give one JSON value, or declare it as text")
    };
    ToolError::permanent(message).code("output_not_json")
}

pub(crate) fn spill_failed(dir: &Path, error: &std::io::Error) -> ToolError {
    let message = format!(
        "the result is over the inline limit and could not be written to a file in {}: {error}; make room, or raise \
         `inline_max`",
        dir.display()
    );
    ToolError::transient(message).code("spill_failed")
}
