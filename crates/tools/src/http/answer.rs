//! From an answer to a result: bounded, decoded, checked, spilled to a file when large.
//! It does not know the request, nor whether a failure is tried again.

use super::failure::{self, Wait};
use crate::process::output::{Output, ReadEnd, spill_failed};
use crate::tool::{JsonText, Progress, Reached, ToolError};
use encoding_rs::{Decoder, Encoding, UTF_8};
use fanout_plan::{HttpResponse, HttpSpec, Stdout};
use futures_util::FutureExt;
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, SET_COOKIE};
use reqwest::{Method, Response};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::fmt::Display;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How much of the body of a failure is shown.
const DETAIL_BYTES: usize = 8 << 10;
/// How long the body of a failure is waited for.
const DETAIL_WAIT: Duration = Duration::from_secs(5);
/// What an answer is called in messages.
const WHAT: &str = "the body of the answer";

/// What a body is taken for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Json,
    Text,
    File,
}

/// The result of an answer whose status is one of success.
///
/// # Errors
/// `output_too_large`, `output_not_json`, `output_not_utf8`, `spill_failed`, `http_lost`, `http_bad_answer`,
/// `http_timeout`.
pub(super) async fn result(
    spec: &HttpSpec,
    what: &(dyn Display + Sync),
    method: &Method,
    mut response: Response,
    spill_dir: &Path,
    progress: &Progress,
) -> Result<JsonText, ToolError> {
    let content_type = header(response.headers(), CONTENT_TYPE);
    let (form, encoding) = form(spec.response, &content_type);
    // What is said of the length of a compressed answer has been taken away.
    let length = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if *method != Method::HEAD && length.is_some_and(|length| length > spec.output_max) {
        return Err(too_large(what, spec));
    }
    let mut output = Output::of(WHAT, spec.inline_max, spec.output_max, spill_dir);
    let mut text = Transcoder::new(form, encoding);
    let coding = coding(response.headers());
    let mut empty = true;
    loop {
        let mut piece = pin!(response.chunk());
        // What is there already, as all of a short answer mostly is, takes no timer.
        let piece = match piece.as_mut().now_or_never() {
            Some(piece) => Ok(piece),
            None => timeout(spec.waits.idle, piece).await,
        };
        let piece = piece.map_err(|_| failure::waited(what, Wait::Idle, spec.waits.idle, Reached::Unknown))?;
        let piece = piece.map_err(|error| failure::broken(what, error))?;
        progress.made();
        let Some(piece) = piece else { break };
        if let (true, Some(coding)) = (empty && !piece.is_empty(), &coding) {
            return Err(failure::not_decoded(what, coding));
        }
        empty &= piece.is_empty();
        text.push(&piece, &mut output).map_err(|end| unread(end, what, spec, spill_dir))?;
    }
    text.end(&mut output).map_err(|end| unread(end, what, spec, spill_dir))?;
    let nothing = empty && (spec.response == HttpResponse::Auto || carries_nothing(method, response.status().as_u16()));
    let body = if nothing { to_json(&Value::Null)? } else { read(form, output, &content_type).await? };
    if spec.full { whole(&response, &body) } else { Ok(body) }
}

/// The beginning of the body of an answer that is a failure, for a person or a model.
pub(super) async fn detail(spec: &HttpSpec, response: &mut Response) -> String {
    if let Some(coding) = coding(response.headers()) {
        return format!("(what it said is compressed as `{coding}`, which was not asked for)");
    }
    let mut bytes = Vec::new();
    let encoding = charset(&header(response.headers(), CONTENT_TYPE)).unwrap_or(UTF_8);
    let read = async {
        while bytes.len() < DETAIL_BYTES {
            let Ok(Some(piece)) = response.chunk().await else { break };
            bytes.extend_from_slice(&piece[..piece.len().min(DETAIL_BYTES)]);
        }
    };
    // A failure is told without all of its body rather than late, however slowly it drips.
    let _late = timeout(spec.waits.idle.min(DETAIL_WAIT), read).await;
    bytes.truncate(DETAIL_BYTES);
    let (text, _, _) = encoding.decode(&bytes);
    text.trim().trim_end_matches('\u{fffd}').to_owned()
}

async fn read(form: Form, output: Output, content_type: &str) -> Result<JsonText, ToolError> {
    let kind = match form {
        Form::Json => Stdout::Json,
        Form::Text => Stdout::Text,
        Form::File => {
            let file = output.into_file()?;
            let mut value: Value = serde_json::from_str(file.get())?;
            if !content_type.is_empty() {
                value["spilled"]["content_type"] = content_type.into();
            }
            return to_json(&value);
        }
    };
    if !output.is_large() {
        return output.result(kind);
    }
    match tokio::task::spawn_blocking(move || output.result(kind)).await {
        Ok(result) => result,
        Err(error) => Err(ToolError::permanent(format!("the answer could not be read: {error}"))),
    }
}

/// `{status, headers, body}`.
fn whole(response: &Response, body: &JsonText) -> Result<JsonText, ToolError> {
    let mut headers = Map::new();
    for name in response.headers().keys() {
        let values = response.headers().get_all(name).iter();
        let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        // The one header whose values cannot be joined: they hold commas of their own (RFC 9110, 5.3).
        let value = if name == SET_COOKIE { Value::from(values) } else { values.join(", ").into() };
        headers.insert(name.to_string(), value);
    }
    let headers = Value::Object(headers);
    let text = format!(r#"{{"status":{},"headers":{headers},"body":{}}}"#, response.status().as_u16(), body.get());
    Ok(Arc::from(RawValue::from_string(text)?))
}

/// What a body is taken for, and the encoding of its text where that isn't UTF-8.
fn form(response: HttpResponse, content_type: &str) -> (Form, Option<&'static Encoding>) {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let form = match response {
        HttpResponse::Json => Form::Json,
        HttpResponse::Text => Form::Text,
        HttpResponse::File => Form::File,
        HttpResponse::Auto if kind.ends_with("/json") || kind.ends_with("+json") => Form::Json,
        HttpResponse::Auto if is_text(&kind) => Form::Text,
        HttpResponse::Auto => Form::File,
    };
    let encoding = if form == Form::Text { charset(content_type) } else { None };
    (form, encoding.filter(|encoding| *encoding != UTF_8))
}

fn is_text(kind: &str) -> bool {
    kind.is_empty()
        || kind.starts_with("text/")
        || ["/xml", "+xml", "/yaml", "+yaml", "/javascript", "/x-ndjson", "/jsonl", "/graphql", "-urlencoded"]
            .iter()
            .any(|end| kind.ends_with(end))
}

fn charset(content_type: &str) -> Option<&'static Encoding> {
    let parameters = content_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let charset = parameters.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?.1;
    Encoding::for_label(charset.trim().trim_matches('"').as_bytes())
}

/// A coding of the body that was not taken away: only what was asked for is.
fn coding(headers: &HeaderMap) -> Option<String> {
    let coding = header(headers, CONTENT_ENCODING);
    let codings = coding.split(',').map(str::trim);
    let left = codings.into_iter().any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"));
    left.then(|| failure::one_line(&coding))
}

/// Whether an answer has no body by what HTTP says.
fn carries_nothing(method: &Method, status: u16) -> bool {
    *method == Method::HEAD || matches!(status, 204 | 205 | 304)
}

/// The byte order mark of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Makes UTF-8 of text in another encoding, and takes a byte order mark away, also where pieces cut it.
enum Transcoder {
    /// As it is.
    Bytes,
    /// Text of which nothing but so much of a mark has come.
    Begun(usize),
    /// A mark of its own goes before what the encoding was said to be.
    Other(Decoder),
}

impl Transcoder {
    fn new(form: Form, encoding: Option<&'static Encoding>) -> Transcoder {
        match (form, encoding) {
            (Form::File, _) => Transcoder::Bytes,
            (Form::Text, Some(encoding)) => Transcoder::Other(encoding.new_decoder()),
            _ => Transcoder::Begun(0),
        }
    }

    fn push(&mut self, piece: &[u8], output: &mut Output) -> Result<(), ReadEnd> {
        let had = match self {
            Transcoder::Bytes => return output.push(piece),
            Transcoder::Other(decoder) => return decode(decoder, piece, false, output),
            Transcoder::Begun(had) => *had,
        };
        let fits = MARK[had..].iter().zip(piece).take_while(|(mark, byte)| mark == byte).count();
        if had + fits == MARK.len() {
            *self = Transcoder::Bytes;
            output.push(&piece[fits..])
        } else if fits == piece.len() {
            *self = Transcoder::Begun(had + fits);
            Ok(())
        } else {
            *self = Transcoder::Bytes;
            output.push(&MARK[..had])?;
            output.push(piece)
        }
    }

    fn end(&mut self, output: &mut Output) -> Result<(), ReadEnd> {
        match self {
            Transcoder::Bytes => Ok(()),
            Transcoder::Begun(had) => output.push(&MARK[..*had]),
            Transcoder::Other(decoder) => decode(decoder, b"", true, output),
        }
    }
}

fn decode(decoder: &mut Decoder, piece: &[u8], last: bool, output: &mut Output) -> Result<(), ReadEnd> {
    let room = decoder.max_utf8_buffer_length(piece.len()).unwrap_or(piece.len().saturating_mul(4) + 16);
    let mut text = String::with_capacity(room);
    // The room is enough for all of it.
    let _read = decoder.decode_to_string(piece, &mut text, last);
    output.push(text.as_bytes())
}

fn unread(end: ReadEnd, what: &(dyn Display + Sync), spec: &HttpSpec, spill_dir: &Path) -> ToolError {
    match end {
        ReadEnd::TooLarge => too_large(what, spec),
        ReadEnd::Spill(error) => spill_failed(spill_dir, &error),
    }
}

fn too_large(what: &(dyn Display + Sync), spec: &HttpSpec) -> ToolError {
    let message = format!(
        "{what} was answered with more than {} bytes, and the rest was not read; raise `output_max` or ask for less",
        spec.output_max
    );
    ToolError::permanent(message).code("output_too_large")
}

fn header(headers: &HeaderMap, name: reqwest::header::HeaderName) -> String {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

fn to_json(value: &Value) -> Result<JsonText, ToolError> {
    Ok(Arc::from(serde_json::value::to_raw_value(value)?))
}
