//! One client on a pair of pipes: a message is a line.
//! It does not know what messages mean.

use super::Gateway;
use super::outlet::{Outlet, Sent};
use super::session::Session;
use super::wire::{self, MESSAGE_BYTES_MAX, RpcError};
use rmcp::model::ErrorCode;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

/// At the end a client has this long to read what is still to be said.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);
/// So many messages are written at once.
const WRITTEN_AT_ONCE: usize = 64;

pub(super) async fn serve(
    gateway: Arc<Gateway>,
    read: impl AsyncRead + Send + Unpin,
    write: impl AsyncWrite + Send + Unpin + 'static,
    stop: impl Future<Output = ()> + Send,
) -> std::io::Result<()> {
    let session = Session::new(gateway, "stdio".into());
    let (outlet, sent) = Outlet::new();
    session.listen(Some(outlet.clone()));
    let writer = tokio::spawn(write_out(sent, write));
    let read = tokio::select! {
        read = read_in(&session, BufReader::with_capacity(64 << 10, read), &outlet) => read,
        () = stop => Ok(()),
        // Nobody reads any more: nobody wants answers.
        () = outlet.closed() => Ok(()),
    };
    session.end();
    session.ended().await;
    drop((session, outlet));
    let _ = tokio::time::timeout(LAST_WORDS_MAX, writer).await;
    read
}

/// The one place where the order of calls is decided: as the lines stand.
async fn read_in(session: &Arc<Session>, mut lines: impl AsyncBufRead + Unpin, outlet: &Outlet) -> std::io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        match read_line(&mut lines, &mut line).await? {
            Line::End => return Ok(()),
            Line::Whole => match std::str::from_utf8(&line) {
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) => match wire::read(text) {
                    Ok(message) => _ = session.receive(message, outlet),
                    Err((id, error)) => outlet.offer(wire::refusal(id.as_deref(), &error)),
                },
                Err(error) => {
                    let error = RpcError::new(ErrorCode::PARSE_ERROR, format!("this is not UTF-8: {error}"));
                    outlet.offer(wire::refusal(None, &error));
                }
            },
            Line::TooLong => {
                let message = format!("a message has at most {} MiB", MESSAGE_BYTES_MAX >> 20);
                outlet.offer(wire::refusal(None, &RpcError::new(ErrorCode::INVALID_REQUEST, message)));
            }
        }
        // A large message does not keep its memory.
        if line.capacity() > 1 << 20 {
            line = Vec::new();
        }
    }
}

enum Line {
    Whole,
    TooLong,
    End,
}

/// The next line, without what is over the bound.
async fn read_line(lines: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> std::io::Result<Line> {
    let mut too_long = false;
    loop {
        let read = lines.fill_buf().await?;
        if read.is_empty() {
            // What ends without a line's end was cut off.
            return Ok(Line::End);
        }
        let end = read.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(read.len());
        too_long |= line.len() + taken > MESSAGE_BYTES_MAX;
        if !too_long {
            line.extend_from_slice(&read[..taken]);
        }
        lines.consume(end.map_or(taken, |end| end + 1));
        if end.is_some() {
            return Ok(if too_long { Line::TooLong } else { Line::Whole });
        }
    }
}

async fn write_out(mut sent: mpsc::Receiver<Sent>, mut write: impl AsyncWrite + Unpin) {
    let mut messages = Vec::with_capacity(WRITTEN_AT_ONCE);
    let mut bytes = Vec::new();
    while sent.recv_many(&mut messages, WRITTEN_AT_ONCE).await > 0 {
        bytes.clear();
        for message in messages.drain(..) {
            bytes.extend_from_slice(message.text.as_bytes());
            bytes.push(b'\n');
        }
        if write.write_all(&bytes).await.is_err() || write.flush().await.is_err() {
            // The client does not read any more; dropping the receiver says so.
            return;
        }
        if bytes.capacity() > 1 << 20 {
            bytes = Vec::new();
        }
    }
}
