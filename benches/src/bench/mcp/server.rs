//! The server that is measured against: one tool that does nothing, as quick as can be, on pipes or over HTTP.
//! It does not know who calls it: the same bytes come back to everybody.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The option by which this program is a server.
const OPTION: &str = "--mcp-server";

/// The answer to the greeting.
const GREETING: &str =
    r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1"}}"#;
/// The list of its tools.
const TOOLS: &str = r#"{"tools":[{"name":"echo","description":"Does nothing.","inputSchema":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]},"annotations":{"readOnlyHint":true}}]}"#;
/// The answer to every call.
const DONE: &str = r#"{"content":[{"type":"text","text":"done"}],"isError":false}"#;

/// How this program is started to be a server that needs so long to start.
pub(super) fn arguments(after_ms: u64) -> [String; 2] {
    [OPTION.to_owned(), after_ms.to_string()]
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: &'a str,
}

/// What a message is answered; nothing where it wants no answer.
fn answer(message: &[u8], out: &mut Vec<u8>) -> std::io::Result<bool> {
    let message: Message<'_> = serde_json::from_slice(message)?;
    let Some(id) = message.id else { return Ok(false) };
    let result = match message.method {
        "initialize" => GREETING,
        "tools/list" => TOOLS,
        "tools/call" => DONE,
        _ => {
            write!(out, r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"not known"}}}}"#)?;
            return Ok(true);
        }
    };
    write!(out, r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)?;
    Ok(true)
}

/// Is a server on standard input and output until its input ends. It starts to read after this time.
pub(crate) fn serve_pipes(after: Duration) -> std::io::Result<()> {
    std::thread::sleep(after);
    let mut input = BufReader::with_capacity(64 << 10, std::io::stdin().lock());
    let mut output = std::io::stdout().lock();
    let (mut line, mut out) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if answer(&line, &mut out)? {
            out.push(b'\n');
        }
        // What has come already is answered with it.
        if !input.buffer().contains(&b'\n') {
            output.write_all(&out)?;
            output.flush()?;
            out.clear();
        }
    }
}

/// Is a server at the URL that is given back, on a thread of its own, since it is nobody's to account for.
pub(super) async fn serve_http() -> Result<String> {
    let (told, address) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(listen(told))
    });
    Ok(format!("http://{}/mcp", address.await.context("the server did not start")?))
}

async fn listen(told: tokio::sync::oneshot::Sender<SocketAddr>) -> std::io::Result<()> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    // A thousand connect at once.
    let listener: TcpListener = socket.listen(4_096)?;
    // Nobody waits for it when the measuring is over.
    let _gone = told.send(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream));
    }
}

/// Answers the requests of a connection one after the other.
async fn connection(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut bytes, mut body, mut out) = (Vec::with_capacity(4_096), Vec::new(), Vec::new());
    loop {
        while let Some(end) = request_end(&bytes) {
            body.clear();
            out.clear();
            let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(end, |at| at + 4);
            let is_post = bytes.starts_with(b"POST");
            let answered = is_post && answer(&bytes[head..end], &mut body)?;
            let status = if answered { "200 OK" } else { "202 Accepted" };
            // There is nothing to listen to.
            let status = if is_post { status } else { "405 Method Not Allowed" };
            let length = body.len();
            write!(out, "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n")?;
            out.extend_from_slice(&body);
            bytes.drain(..end);
            stream.write_all(&out).await?;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
}

/// Where the first request of some bytes ends, if all of it is there.
fn request_end(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let end = head + length.unwrap_or(0);
    (bytes.len() >= end).then_some(end)
}
