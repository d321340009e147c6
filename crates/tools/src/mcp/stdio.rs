//! A server that is a program: started on a leash, spoken to line by line (`Pipes`), ended politely.
//! It does not know what the lines mean beyond who waits for them.

use super::direct::{Direct, is_direct};
use super::ledger::{Handed, InFlight, Ledger, Slot, Where, lock};
use super::wire;
use super::words::{Texts, not_started};
use crate::characters;
use crate::process::Processes;
use crate::process::command::{PATH_DEFAULT, find_program};
use crate::process::leash::{Leash, Reaped};
use crate::process::output::Tail;
use crate::tool::{AttemptId, Reached, ToolError};
use fanout_plan::McpCommand;
use rmcp::RoleClient;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, GetExtensions, GetMeta, JsonRpcMessage, NumberOrString,
    RequestId, ServerJsonRpcMessage, ServerResult,
};
use rmcp::transport::Transport;
use rustix::process::Signal;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::future::Future;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Variables that every server is given if they are there: what programs need to find programs, files and time.
const BASE: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TMPDIR", "LANG"];
/// So many lines wait to be written before more are not taken.
const LINES_MAX: usize = 1_024;
/// As much is written at once.
const BATCH_BYTES: usize = 64 << 10;
/// How much is read at once.
const READ_BYTES: usize = 64 << 10;
/// How much of both ends of a line that is too long is looked at.
const ENDS: usize = 256;
/// How long a killed process may take to end before it is left to be reaped in the background.
const KILL_BOUND: Duration = Duration::from_secs(10);

/// A started server.
pub(super) struct Started {
    pub(super) leash: Leash,
    pub(super) pipes: Pipes,
    pub(super) tail: Arc<Mutex<Tail>>,
    /// What it is called in messages.
    pub(super) name: String,
}

/// Starts a server.
///
/// # Errors
/// `mcp_not_started`, `secret_missing`, `guard_not_started`.
pub(super) async fn start(
    command: &McpCommand,
    processes: &Processes,
    ledger: Arc<Ledger>,
    id: &AttemptId,
    texts: &mut Texts,
    line_max: usize,
) -> Result<Started, ToolError> {
    let mut env: BTreeMap<String, OsString> = BASE
        .into_iter()
        .chain(command.pass.iter().map(String::as_str))
        .filter_map(|name| Some((name.to_owned(), std::env::var_os(name)?)))
        .collect();
    for (name, text) in &command.set {
        env.insert(name.clone(), texts.fill(text).await?.into());
    }
    let program = texts.fill(&command.command).await?;
    let mut args = Vec::with_capacity(command.args.len());
    for arg in &command.args {
        args.push(texts.fill(arg).await?);
    }
    let base = std::path::absolute(match command.base_dir.as_os_str().is_empty() {
        true => Path::new("."),
        false => &command.base_dir,
    })
    .map_err(|error| not_started(&program, &format!("there is no working directory: {error}"), false))?;
    let cwd = match &command.cwd {
        Some(cwd) => base.join(texts.fill(cwd).await?),
        None => base.clone(),
    };
    let path = env.get("PATH").cloned().unwrap_or_else(|| PATH_DEFAULT.into());
    let found = find_program(&program, &path, &base).map_err(|error| ToolError { code: "mcp_not_started", ..error })?;
    let mut started = Command::new(found);
    started.arg0(&program).args(&args).current_dir(&cwd).process_group(0);
    // The marks come last: no declared variable can take them off.
    started.env_clear().envs(&env).env("FANOUT_ENGINE", processes.engine_id());
    started.env("FANOUT_RUN", &*id.run).env("FANOUT_CALL", &*id.call).env("FANOUT_ATTEMPT", id.attempt.to_string());
    started.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    processes.ensure_guard().map_err(|error| {
        let message = format!("the process that ends what is left behind could not be started: {error}");
        ToolError::permanent(message).code("guard_not_started").reached(Reached::No)
    })?;
    let failed = |error: std::io::Error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound && !cwd.is_dir();
        let why = if missing { format!("its directory {} does not exist", cwd.display()) } else { error.to_string() };
        not_started(&program, &why, !missing && error.kind() != std::io::ErrorKind::NotFound)
    };
    let mut leash = Leash::start(processes, &mut started, id).map_err(failed)?;
    let child = leash.child().map(|child| (child.stdin.take(), child.stdout.take(), child.stderr.take()));
    let Some((Some(stdin), Some(stdout), Some(stderr))) = child else {
        return Err(not_started(&program, "its pipes are not there", false));
    };
    let tail = Arc::<Mutex<Tail>>::default();
    tokio::spawn(keep_tail(ChildStderr::from_std(stderr).map_err(failed)?, Arc::clone(&tail)));
    let (out, lines) = mpsc::channel(LINES_MAX);
    tokio::spawn(write(ChildStdin::from_std(stdin).map_err(failed)?, lines));
    let read = ChildStdout::from_std(stdout).map_err(failed)?;
    let pipes = Pipes {
        name: Arc::clone(&id.call),
        out: Some(out),
        read,
        lines: Lines::new(line_max),
        ready: VecDeque::new(),
        ledger,
        greeting: Greeting::default(),
    };
    let name = std::iter::once(program.as_str()).chain(args.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    Ok(Started { leash, pipes, tail, name: texts.strike(crate::mcp::shown(&name, 120)) })
}

/// One line on its way to a server.
pub(super) struct Line {
    pub(super) bytes: Vec<u8>,
    pub(super) slot: Option<Arc<Slot>>,
}

/// Both pipes of a server, as the library wants them.
pub(super) struct Pipes {
    /// What the toolbox is called.
    name: Arc<str>,
    /// Absent once it is closed.
    out: Option<mpsc::Sender<Line>>,
    read: ChildStdout,
    lines: Lines,
    /// What the library is to hear, of a line that held several messages.
    ready: VecDeque<ServerJsonRpcMessage>,
    ledger: Arc<Ledger>,
    greeting: Greeting,
}

/// The question for the protocol (`server/discover`), which is given up when no answer comes, for an older greeting. A
/// server that was only slow to start answers it after that, and the library takes that for the answer to the greeting.
#[derive(Default)]
struct Greeting {
    asked: Option<RequestId>,
    given_up: Option<RequestId>,
}

impl Greeting {
    fn sent(&mut self, item: &ClientJsonRpcMessage) {
        let JsonRpcMessage::Request(request) = item else { return };
        match request.request {
            ClientRequest::DiscoverRequest(_) => self.asked = Some(request.id.clone()),
            ClientRequest::InitializeRequest(_) => self.given_up = self.asked.take(),
            _ => {}
        }
    }

    fn is_late(&self, heard: &ServerJsonRpcMessage) -> bool {
        let id = match heard {
            JsonRpcMessage::Response(response) => Some(&response.id),
            JsonRpcMessage::Error(error) => error.id.as_ref(),
            _ => None,
        };
        id.is_some() && id == self.given_up.as_ref()
    }
}

impl Transport<RoleClient> for Pipes {
    type Error = std::io::Error;

    fn send(&mut self, item: ClientJsonRpcMessage) -> impl Future<Output = std::io::Result<()>> + Send + 'static {
        self.greeting.sent(&item);
        let made = self.line(item);
        let out = self.out.clone();
        async move {
            let Some(line) = made? else { return Ok(()) };
            let gone = || std::io::Error::new(std::io::ErrorKind::BrokenPipe, "it reads no more");
            out.ok_or_else(gone)?.send(line).await.map_err(|_| gone())
        }
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            if let Some(message) = self.heard() {
                return Some(message);
            }
            // Dropping this half way loses nothing: what was read is in the buffer.
            while let Some(line) = self.lines.next() {
                match line {
                    Read::Line(line) => {
                        if let Err(why) = take(&self.ledger, line, &mut self.ready) {
                            // Whoever waits for it would wait in vain.
                            let (head, tail) =
                                (&line[..line.len().min(ENDS)], &line[line.len().saturating_sub(ENDS)..]);
                            if let Whose::Request(id) = Whose::of(head, tail) {
                                let failed = super::words::bad_answer(&self.name, &why);
                                self.ready.extend(fail(&self.ledger, id, failed));
                            }
                        }
                    }
                    // Whom it answers has been looked for in what there is of it.
                    Read::TooLong { head, tail, bytes } => match Whose::of(&head, &tail) {
                        Whose::Request(id) => {
                            self.ready.extend(fail(&self.ledger, id, super::words::too_large(bytes)));
                        }
                        Whose::Nobodys => {}
                        // Somebody waits for it in vain, and nobody knows who: that ends with the connection.
                        Whose::Unknown => return None,
                    },
                }
                if let Some(message) = self.heard() {
                    return Some(message);
                }
            }
            // An unreadable pipe has ended.
            if self.lines.fill(&mut self.read).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn close(&mut self) -> std::io::Result<()> {
        // The writer ends with its last line, and closes the server's standard input.
        self.out = None;
        Ok(())
    }
}

impl Pipes {
    /// A way to the server beside the library's.
    pub(super) fn direct(&self) -> Option<Direct> {
        self.out.as_ref().map(|out| Direct::new(out.downgrade()))
    }

    /// The next message for the library.
    fn heard(&mut self) -> Option<ServerJsonRpcMessage> {
        let greeting = &self.greeting;
        std::iter::from_fn(|| self.ready.pop_front()).find(|message| !greeting.is_late(message))
    }

    /// What is written for a message; nothing for one that takes back what was never sent.
    fn line(&self, item: ClientJsonRpcMessage) -> std::io::Result<Option<Line>> {
        let mut slot = None;
        match &item {
            JsonRpcMessage::Request(request) => {
                slot = request.request.extensions().get::<InFlight>().map(|one| Arc::clone(&one.0));
                match (&slot, number(&request.id)) {
                    (Some(slot), Some(id)) => {
                        let token = request.request.get_meta().get_progress_token();
                        self.ledger.enter(slot, id, token.and_then(|token| number(&token.0)));
                    }
                    (None, Some(id)) => self.ledger.greet(id),
                    (_, None) => {}
                }
            }
            JsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) = &notification.notification
                    && let Some(id) = cancelled.params.request_id.as_ref().and_then(number)
                    && let Some(one) = self.ledger.find(id)
                    && one.withdrawn()
                {
                    self.ledger.leave(&one);
                    return Ok(None);
                }
            }
            _ => {}
        }
        let mut bytes = serde_json::to_vec(&item)?;
        bytes.push(b'\n');
        Ok(Some(Line { bytes, slot }))
    }
}

/// The number that an id is.
pub(super) fn number(id: &RequestId) -> Option<u64> {
    match id {
        NumberOrString::Number(number) => u64::try_from(*number).ok(),
        NumberOrString::String(text) => text.parse().ok(),
    }
}

/// What the library hears of an answer that somebody else has.
pub(super) fn done(id: u64) -> ServerJsonRpcMessage {
    let id = NumberOrString::Number(i64::try_from(id).unwrap_or(i64::MAX));
    JsonRpcMessage::response(ServerResult::empty(()), id)
}

/// An answer cannot be had; what the library hears of that, if anybody waited for it.
fn fail(ledger: &Ledger, id: u64, why: ToolError) -> Option<ServerJsonRpcMessage> {
    let slot = ledger.find(id)?;
    ledger.leave(&slot);
    slot.end(super::ledger::Answer::Failed(why));
    // Of some the library knows nothing.
    (!is_direct(id)).then(|| done(id))
}

/// Takes one line, which is a message, or several, or nothing that could be understood.
///
/// # Errors
/// What is wrong with what looks like a message.
fn take(ledger: &Ledger, line: &[u8], ready: &mut VecDeque<ServerJsonRpcMessage>) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(line) else { return Err("what is not UTF-8".to_owned()) };
    let text = text.trim();
    if text.starts_with('[') {
        // 2025-03-26 knew batches.
        let batch: Vec<&serde_json::value::RawValue> = serde_json::from_str(text).unwrap_or_default();
        for message in batch {
            ready.extend(take_one(ledger, message.get(), Where::Pipe));
        }
        return Ok(());
    }
    // What is no JSON is a program that prints what it should not; it is passed over.
    if text.starts_with('{') {
        ready.extend(read_one(ledger, text, Where::Pipe)?);
    }
    Ok(())
}

/// Takes one message, and passes over what cannot be read; what of it is for the library.
pub(super) fn take_one(ledger: &Ledger, text: &str, from: Where<'_>) -> Option<ServerJsonRpcMessage> {
    read_one(ledger, text, from).ok().flatten()
}

/// Takes one message; what of it is for the library.
///
/// # Errors
/// Why it cannot be read.
fn read_one(ledger: &Ledger, text: &str, from: Where<'_>) -> Result<Option<ServerJsonRpcMessage>, String> {
    let mended = characters::mended(text);
    let text = mended.as_deref().unwrap_or(text);
    let heard = wire::read(text).map_err(|error| format!("what is not JSON: {error}"))?;
    Ok(match ledger.hear(heard, from) {
        // The library knows nothing of it.
        Handed::Answered(id) if is_direct(id) => None,
        Handed::Answered(id) => Some(done(id)),
        // Late, or sent twice.
        Handed::Unknown(id) if !ledger.is_greeting(id) => None,
        Handed::Unknown(_) | Handed::Library => serde_json::from_str(text).ok(),
        Handed::Done => None,
    })
}

/// Writes lines, as many at once as there are, until nobody has any more or the server reads no more.
async fn write(mut pipe: ChildStdin, mut lines: mpsc::Receiver<Line>) {
    let mut batch = Vec::new();
    while let Some(line) = lines.recv().await {
        let mut next = Some(line);
        while let Some(Line { bytes, slot }) = next.take() {
            // From here on the server can have it.
            if slot.is_none_or(|slot| slot.send()) {
                match batch.is_empty() {
                    true => batch = bytes,
                    false => batch.extend_from_slice(&bytes),
                }
            }
            if batch.len() < BATCH_BYTES {
                next = lines.try_recv().ok();
            }
        }
        if pipe.write_all(&batch).await.is_err() {
            return;
        }
        batch.clear();
    }
}

async fn keep_tail(mut pipe: ChildStderr, tail: Arc<Mutex<Tail>>) {
    let mut piece = vec![0; 4 << 10];
    // An unreadable pipe has ended.
    while let Ok(n @ 1..) = pipe.read(&mut piece).await {
        lock(&tail).push(&piece[..n]);
    }
}

/// A line that was read.
enum Read<'a> {
    Line(&'a [u8]),
    /// Only its ends are left.
    TooLong {
        head: Vec<u8>,
        tail: Vec<u8>,
        bytes: u64,
    },
}

/// Bytes as lines, none longer than a bound.
struct Lines {
    buffer: Vec<u8>,
    /// Where the next line begins.
    from: usize,
    /// No line end is between `from` and here.
    seen: usize,
    line_max: usize,
    /// Of a line that is too long: its first bytes and how many there were.
    skipped: Option<(Vec<u8>, u64)>,
}

impl Lines {
    fn new(line_max: usize) -> Lines {
        Lines { buffer: Vec::new(), from: 0, seen: 0, line_max, skipped: None }
    }

    /// Reads more. Dropping it half way loses nothing.
    async fn fill(&mut self, from: &mut ChildStdout) -> std::io::Result<usize> {
        if self.from > 0 {
            self.buffer.drain(..self.from);
            self.seen -= self.from;
            self.from = 0;
        }
        if self.buffer.is_empty() {
            // The room of a huge line is not kept.
            self.buffer.shrink_to(READ_BYTES);
        }
        self.buffer.reserve(READ_BYTES);
        from.read_buf(&mut self.buffer).await
    }

    /// The next line, without its end, if all of it is there.
    fn next(&mut self) -> Option<Read<'_>> {
        let end = self.buffer[self.seen..].iter().position(|byte| *byte == b'\n').map(|at| self.seen + at);
        let Some(end) = end else {
            self.seen = self.buffer.len();
            self.skip();
            return None;
        };
        let start = std::mem::replace(&mut self.from, end + 1);
        self.seen = self.from;
        let line = &self.buffer[start..end];
        match self.skipped.take() {
            Some((head, before)) => {
                let tail = line[line.len().saturating_sub(ENDS)..].to_vec();
                Some(Read::TooLong { head, tail, bytes: before + line.len() as u64 })
            }
            None if line.len() > self.line_max => {
                let (head, tail) = (line[..ENDS.min(line.len())].to_vec(), line[line.len() - ENDS..].to_vec());
                Some(Read::TooLong { head, tail, bytes: line.len() as u64 })
            }
            None => Some(Read::Line(line)),
        }
    }

    /// Lets go of a line that has become too long, but for its ends.
    fn skip(&mut self) {
        let have = self.buffer.len() - self.from;
        if self.skipped.is_none() && have <= self.line_max || have <= 2 * ENDS {
            return;
        }
        let cut = have - ENDS;
        let (_, bytes) =
            self.skipped.get_or_insert_with(|| (self.buffer[self.from..self.from + ENDS.min(have)].to_vec(), 0));
        *bytes += cut as u64;
        self.from += cut;
    }
}

/// Which request a line answers that cannot be read, or of which only the ends are known.
#[derive(Debug, PartialEq)]
enum Whose {
    Request(u64),
    /// It is no answer.
    Nobodys,
    Unknown,
}

impl Whose {
    /// `"id":5` stands at one of the ends.
    fn of(head: &[u8], tail: &[u8]) -> Whose {
        let head = String::from_utf8_lossy(head).into_owned();
        let tail = String::from_utf8_lossy(tail).into_owned();
        let before = head.split(r#""result""#).next().unwrap_or_default();
        // What a server asks or tells has ids of its own; and not all that is printed is a message.
        let is_message = head.contains(r#""jsonrpc""#) || tail.contains(r#""jsonrpc""#);
        if !is_message || before.contains(r#""method""#) || before.contains(r#""params""#) {
            return Whose::Nobodys;
        }
        let after = |text: &str| {
            let digits: String =
                text.trim_start().strip_prefix(':')?.trim_start().chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u64>().ok()
        };
        // At the front it stands before the result, at the end after it.
        let front = before.split(r#""id""#).nth(1).and_then(after);
        let back = || tail.rsplit(r#""id""#).next().filter(|rest| rest.matches('}').count() == 1).and_then(after);
        front.or_else(back).map_or(Whose::Unknown, Whose::Request)
    }
}

/// Ends a server whose input is closed: time to go by itself, TERM, time again, KILL; then nothing of it is left.
/// How it ended, if that is known.
pub(super) async fn end(leash: Leash, grace: Duration) -> Option<ExitStatus> {
    if timeout(grace, leash.exited()).await.is_err() {
        leash.signal(Signal::TERM);
        // A stopped process hears TERM only when it goes on.
        leash.signal(Signal::CONT);
        if timeout(grace, leash.exited()).await.is_err() {
            leash.signal(Signal::KILL);
            if timeout(KILL_BOUND, leash.exited()).await.is_err() {
                // The kernel holds it; the leash reaps it in the background.
                return None;
            }
        }
    }
    match leash.end(true).await {
        Ok(Reaped { status, .. }) => Some(status),
        Err(_) => None,
    }
}

/// How a process ended, in words.
pub(super) fn ended(status: Option<ExitStatus>) -> String {
    match status {
        None => "it ended".to_owned(),
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("it exited with code {code}"),
            (None, Some(signal)) => format!("it was killed by signal {signal}"),
            (None, None) => "it ended".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(max: usize, pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::new(max);
        let mut shown = Vec::new();
        for piece in pieces {
            lines.buffer.extend_from_slice(piece);
            while let Some(line) = lines.next() {
                shown.push(match line {
                    Read::Line(line) => String::from_utf8_lossy(line).into_owned(),
                    Read::TooLong { head, tail, bytes } => format!("{bytes}: {:?}", Whose::of(&head, &tail)),
                });
            }
        }
        assert!(lines.buffer.len() - lines.from <= max.max(2 * ENDS), "no more is kept than a line may have");
        shown
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        assert_eq!(lines(1_000, &[b"a\nb", b"c\n", b"\n", b"d"]), ["a", "bc", ""]);
    }

    #[test]
    fn lines_that_are_too_long_are_passed_over_and_still_answer() {
        let front = [br#"{"jsonrpc":"2.0","id":7,"result":""#.as_slice(), &[b'x'; 5_000], b"\"}\nnext\n"].concat();
        let back = [br#"{"result":{"text":""#.as_slice(), &[b'x'; 5_000], b"\"},\"jsonrpc\":\"2.0\",\"id\":8}\nnext\n"]
            .concat();
        for (line, id) in [(&front, 7), (&back, 8)] {
            let expected = [format!("{}: Request({id})", line.len() - 6), "next".to_owned()];
            assert_eq!(lines(1_000, &[line]), expected);
            let pieces: Vec<&[u8]> = line.chunks(700).collect();
            assert_eq!(lines(1_000, &pieces), expected);
        }
        let inside = br#"{"jsonrpc":"2.0","result":{"id":9,"text":""#.as_slice();
        let inside = [inside, &[b'x'; 5_000], b"\",\"id\":3}}\n"].concat();
        assert!(lines(1_000, &[&inside])[0].ends_with("Unknown"), "an id inside a result is no id of a message");
        let noise = [[b'x'; 5_000].as_slice(), b"\n"].concat();
        assert!(lines(1_000, &[&noise])[0].ends_with("Nobodys"));
    }

    #[test]
    fn what_is_no_answer_ends_no_request() {
        let whose = |line: &str| Whose::of(line.as_bytes(), line.as_bytes());
        for line in [
            r#"{"jsonrpc":"2.0","id":7,"result":{"x":NaN}}"#,
            r#"{"result":{"x":NaN},"id":7,"jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":NaN}}"#,
        ] {
            assert_eq!(whose(line), Whose::Request(7), "{line}");
        }
        for line in [
            r#"{"jsonrpc":"2.0","id":7,"method":"roots/list","params":{"x":NaN}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"id":7,"x":NaN}}"#,
            r#"{"id":7,"level":"debug","x":NaN}"#,
        ] {
            assert_eq!(whose(line), Whose::Nobodys, "{line}");
        }
    }

    #[test]
    fn a_late_answer_to_the_question_that_was_given_up_is_not_heard() {
        let sent = |greeting: &mut Greeting, id: u64, method: &str| {
            let info = serde_json::json!({"name": "n", "version": "1"});
            let params = serde_json::json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info});
            let item = serde_json::json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
            greeting.sent(&serde_json::from_value(item).unwrap());
        };
        let mut greeting = Greeting::default();
        sent(&mut greeting, 0, "server/discover");
        assert!(!greeting.is_late(&done(0)), "it is waited for");
        sent(&mut greeting, 1, "initialize");
        assert!(greeting.is_late(&done(0)) && !greeting.is_late(&done(1)));
        let refused = serde_json::json!({"jsonrpc": "2.0", "id": 0, "error": {"code": -32601, "message": "no"}});
        assert!(greeting.is_late(&serde_json::from_value(refused).unwrap()));
    }
}
