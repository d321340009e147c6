//! One call after the other through the real `fanout mcp`, against the same straight to the server.
//! It does not know what is between.

use super::super::runner::resident_mib;
use super::super::table::{Budget, Row, Size};
use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// So many calls are made each way before it counts.
const WARM: usize = 200;

/// So many calls are under way at once where many are made.
const AT_ONCE: usize = 64;

/// The median of a call through the gateway and of one that goes straight, both over pipes.
pub(super) fn rows(size: Size, fanout: &Path) -> Result<Vec<Row>> {
    let calls = size.of(10_000);
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("fanout.toml");
    std::fs::write(&file, super::toolbox("s", 0)?)?;
    let (mut through, mut straight) = both(fanout, &file)?;
    let mut rows = vec![in_turn("MCP call through `fanout mcp`, p50", &mut through, &mut straight, calls)?];
    if let Some(mut awake) = Awake::begin() {
        let row = in_turn("the same, no processor asleep", &mut through, &mut straight, calls)?;
        rows.extend(awake.lasted().then_some(row));
    }
    straight.end()?;
    rows.extend(on_one_processor(|| {
        let (mut through, mut straight) = both(fanout, &file)?;
        let row = in_turn("the same, all on one processor", &mut through, &mut straight, calls)?;
        through.end()?;
        straight.end()?;
        Ok(row)
    })?);
    // In small it may be a command that was not optimised.
    let many = if size == Size::Full { 300_000 } else { 3_000 };
    // What a session keeps it has by then.
    through.calls_at_once(many / 10)?;
    let before = through.resident_mib()?;
    through.calls_at_once(many)?;
    let grown = (through.resident_mib()? - before).max(0.0);
    through.end()?;
    let name = format!("`fanout mcp` over {many} calls: growth of memory");
    rows.push(Row::new(name, "MiB", grown, "none", 1.0, Budget::AtMost(16.0)));
    Ok(rows)
}

/// A client of the gateway, and one of its server without it.
fn both(fanout: &Path, toolbox: &Path) -> Result<(Client, Client)> {
    let mut server = Command::new(super::own()?);
    server.args(super::server::arguments(0));
    let mut gateway = Command::new(fanout);
    gateway.arg("mcp").arg("--tools").arg(toolbox);
    Ok((Client::greet(gateway, "s.echo")?, Client::greet(server, "echo")?))
}

/// Does this where it and all that it starts have one processor: nothing is woken on another, so what is left is work.
/// `None` where the system does not let a program choose.
fn on_one_processor<T>(doing: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
    let Ok(all) = sched_getaffinity(None) else { return Ok(None) };
    let mut one = CpuSet::new();
    let first = (0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu));
    one.set(first.context("there is no processor")?);
    if sched_setaffinity(None, &one).is_err() {
        return Ok(None);
    }
    let done = doing();
    sched_setaffinity(None, &all)?;
    done.map(Some)
}

/// Calls through the gateway and straight to the server, in turn.
fn in_turn(name: &str, through: &mut Client, straight: &mut Client, calls: usize) -> Result<Row> {
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for call in 0..WARM + calls {
        let (peer_took, ours_took) = (straight.call()?, through.call()?);
        if call >= WARM {
            peer.push(peer_took);
            ours.push(ours_took);
        }
    }
    Ok(Row::new(name, "µs", median(ours), "straight to the server", median(peer), Budget::Above(150.0)))
}

/// Work that gives way to any other, on every processor: none sleeps meanwhile. To wake one takes a virtual machine
/// tens of microseconds, which are the machine's and not the gateway's.
struct Awake(Vec<Child>);

impl Awake {
    /// `None` where there is no `chrt` (util-linux).
    fn begin() -> Option<Awake> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let mut awake = Awake(Vec::new());
        for _ in 0..processors {
            let mut command = Command::new("chrt");
            // It ends with this program, however that ends.
            let work = "while kill -0 $PPID 2>/dev/null; do :; done";
            command.args(["--idle", "0", "sh", "-c", work]).stdin(Stdio::null());
            awake.0.push(command.spawn().ok()?);
        }
        Some(awake)
    }

    /// Whether none has ended, as where it is not allowed.
    fn lasted(&mut self) -> bool {
        self.0.iter_mut().all(|process| matches!(process.try_wait(), Ok(None)))
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        for process in &mut self.0 {
            // One that has ended is as good.
            let _gone = process.kill();
            let _gone = process.wait();
        }
    }
}

/// A client that has one request under way at a time.
struct Client {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    tool: &'static str,
    calls: usize,
    line: String,
}

impl Client {
    fn greet(mut command: Command, tool: &'static str) -> Result<Client> {
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = process.with_context(|| format!("cannot start {command:?}"))?;
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().context("no standard output")?);
        let mut client = Client { process, input, output, tool, calls: 0, line: String::new() };
        let hello = r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"b","version":"1"}}"#;
        client.send(&format!(r#"{{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{hello}}}"#))?;
        client.hear("hello")?;
        client.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)?;
        Ok(client)
    }

    fn send(&mut self, message: &str) -> Result<()> {
        let input = self.input.as_mut().context("it was ended")?;
        Ok(input.write_all(format!("{message}\n").as_bytes())?)
    }

    /// Waits for the next line, which has to have this in it.
    fn hear(&mut self, what: &str) -> Result<()> {
        self.line.clear();
        self.output.read_line(&mut self.line)?;
        ensure!(self.line.contains(what), "an answer with `{what}` was awaited: {}", self.line);
        Ok(())
    }

    /// The next call as it is sent.
    fn request(&mut self) -> String {
        self.calls += 1;
        let (n, tool) = (self.calls, self.tool);
        let params = format!(r#"{{"name":"{tool}","arguments":{{"n":{n}}}}}"#);
        format!(r#"{{"jsonrpc":"2.0","id":{n},"method":"tools/call","params":{params}}}"#)
    }

    /// Makes a call; how long it took until its answer was there.
    fn call(&mut self) -> Result<Duration> {
        let request = self.request();
        let begun = Instant::now();
        self.send(&request)?;
        self.hear("done")?;
        Ok(begun.elapsed())
    }

    /// Makes so many calls, some of them at once.
    fn calls_at_once(&mut self, calls: usize) -> Result<()> {
        for _ in 0..calls / AT_ONCE {
            let requests: Vec<String> = (0..AT_ONCE).map(|_| self.request()).collect();
            self.send(&requests.join("\n"))?;
            for _ in 0..AT_ONCE {
                self.hear("done")?;
            }
        }
        Ok(())
    }

    fn resident_mib(&self) -> Result<f64> {
        resident_mib(&self.process.id().to_string())
    }

    /// Ends it as clients do: nothing more is said.
    fn end(mut self) -> Result<()> {
        drop(self.input.take());
        let status = self.process.wait()?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // One that has ended is as good.
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

/// The median in microseconds.
fn median(mut durations: Vec<Duration>) -> f64 {
    durations.sort_unstable();
    durations.get(durations.len() / 2).map_or(0.0, |median| median.as_secs_f64() * 1e6)
}
