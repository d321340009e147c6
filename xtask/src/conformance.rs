//! The official MCP conformance suite, run against the gateway and against the client (`conformance-client`, in
//! `tests/`), for two revisions of the spec.
//! It does not know what is checked; it starts both sides and reads what the suite says.

use crate::{cargo, command, peers, root};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The revisions that are required, each run as its own wire.
const REVISIONS: [&str; 2] = ["2025-11-25", "2026-07-28"];

/// A scenario of a client that takes longer than this many seconds hangs; the suite's own bound is 30.
const CLIENT_SECONDS_MAX: &str = "120";

/// What the suite says of required scenarios, all runs together.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

/// Runs all of it.
pub(crate) fn run() -> Result<Verdict> {
    peers::install()?;
    check_reasons()?;
    let built = Built::new()?;
    let mut verdict = Verdict::default();
    let everything = Listening::everything()?;
    for revision in REVISIONS {
        // Straight first: what fails here is a fault of the server behind, not of the gateway.
        let url = format!("http://localhost:{}/mcp", everything.said);
        verdict.add("server alone", revision, "server", &["--url", &url], false)?;
    }
    let gateway = Listening::gateway(&built, &everything.said)?;
    for revision in REVISIONS {
        verdict.add("gateway", revision, "server", &["--url", &gateway.said], true)?;
    }
    for revision in REVISIONS {
        verdict.add_clients(&built.client, revision)?;
    }
    Ok(verdict)
}

/// Each expected failure has a line above it that says why.
fn check_reasons() -> Result<()> {
    let text = std::fs::read_to_string(expected_failures())?;
    let mut is_said = false;
    for line in text.lines().map(str::trim) {
        ensure!(!line.starts_with("- ") || is_said, "{}: no reason above `{line}`", expected_failures().display());
        is_said = line.starts_with('#');
    }
    Ok(())
}

/// The scenarios of a mode that are expected to fail, or some checks of theirs.
fn expected(mode: &str) -> Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(expected_failures())?;
    let part = text.lines().skip_while(|line| *line != format!("{mode}:")).skip(1);
    let named = part.take_while(|line| line.starts_with(' ')).filter_map(|line| line.trim().strip_prefix("- "));
    Ok(named.map(|name| name.split(':').next().unwrap_or(name).to_owned()).collect())
}

fn expected_failures() -> PathBuf {
    root().join("tests/mcp/expected-failures.yaml")
}

/// What is built of ours.
struct Built {
    fanout: PathBuf,
    /// What the suite starts as a client.
    client: PathBuf,
}

impl Built {
    fn new() -> Result<Built> {
        let fanout = command("dev")?;
        let mut build = cargo();
        build.args(["build", "--quiet", "--package", "fanout-tests", "--bin", "conformance-client"]);
        ensure!(build.status().context("cannot start cargo")?.success(), "the client does not build");
        let client = peers::folder()?.with_file_name("debug").join("conformance-client");
        Ok(Built { fanout, client })
    }
}

/// The toolbox file of the gateway: the server's tools under their own names.
fn gateway_tools(port: &str) -> String {
    let mcp = format!("mcp = {{ url = \"http://127.0.0.1:{port}/mcp\", private = \"127.0.0.1\", proxies = false }}");
    format!("[toolbox.everything]\n{mcp}\nprefix = false\n")
}

/// A server that said where it listens; ended with this value.
struct Listening {
    process: Child,
    /// The line it said.
    said: String,
}

impl Listening {
    /// The conformant server.
    fn everything() -> Result<Listening> {
        let mut node = Command::new(peers::node()?);
        node.arg(root().join("tests/mcp/everything.mjs")).env("MCP_PEERS", peers::folder()?);
        Listening::start(&mut node)
    }

    /// `fanout mcp` before that server, without prefixes.
    fn gateway(built: &Built, port: &str) -> Result<Listening> {
        let folder = peers::folder()?.join("gateway");
        std::fs::create_dir_all(&folder)?;
        let tools = folder.join("fanout.toml");
        std::fs::write(&tools, gateway_tools(port))?;
        let mut gateway = Command::new(&built.fanout);
        gateway.args(["mcp", "--http", "127.0.0.1:0", "--no-token", "--tools"]).arg(&tools).current_dir(&folder);
        Listening::start(&mut gateway)
    }

    fn start(command: &mut Command) -> Result<Listening> {
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut process = started.with_context(|| format!("cannot start {command:?}"))?;
        let told = process.stdout.take().context("its output was piped")?;
        let mut listening = Listening { process, said: String::new() };
        BufReader::new(told).read_line(&mut listening.said)?;
        listening.said = listening.said.trim().to_owned();
        ensure!(!listening.said.is_empty(), "{command:?} ended instead of listening");
        Ok(listening)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // One that is gone is as good.
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

impl Verdict {
    /// One run of the suite: its required scenarios are counted, its output is kept beside the packages.
    fn add(&mut self, who: &str, revision: &str, mode: &str, args: &[&str], may_fail: bool) -> Result<()> {
        let folder = peers::folder()?;
        let kept = empty(&format!("{}-{revision}", who.replace(' ', "-")))?;
        let mut suite = Command::new(peers::node()?);
        suite.arg(folder.join("node_modules/@modelcontextprotocol/conformance/dist/index.js"));
        suite.arg(mode).args(args).args(["--requirements", revision, "--output-dir"]).arg(&kept);
        if may_fail {
            suite.arg("--expected-failures").arg(expected_failures());
        }
        let output = suite.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cannot start the suite")?;
        let text = String::from_utf8_lossy(&output.stdout);
        std::fs::write(kept.join("output.txt"), text.as_bytes())?;
        let required = required(&folder, revision, mode)?;
        let (mut passed, mut failed) = (0, Vec::new());
        for (line, mark, name) in text.lines().filter_map(scenario) {
            match mark {
                _ if !required.contains(name) => {}
                '✓' => passed += 1,
                _ => failed.push(line.to_owned()),
            }
        }
        let (seen, wanted) = (passed + failed.len(), required.len());
        ensure!(seen == wanted, "{who} {revision}: {wanted} scenarios are required, {seen} were run; see {kept:?}");
        println!("{who:14} {revision}: {passed} of {wanted} required scenarios pass");
        failed.iter().for_each(|line| println!("    {line}"));
        self.passed += passed as u64;
        if !output.status.success() {
            // Those expected to fail do not end it so, those expected to fail that pass do.
            self.failed += (failed.len() as u64).max(1);
            println!("{}", text.split("=== S").last().unwrap_or_default());
            println!("    more is in {}", kept.display());
        }
        Ok(())
    }

    /// The required scenarios of a client, one at a time: the suite would start all of them at once, and it times some.
    fn add_clients(&mut self, client: &Path, revision: &str) -> Result<()> {
        let folder = peers::folder()?;
        let kept = empty(&format!("client-{revision}"))?;
        let (required, expected) = (required(&folder, revision, "client")?, expected("client")?);
        let (mut passed, mut failed) = (0, Vec::new());
        for name in &required {
            let mut suite = Command::new("timeout");
            suite.args(["--kill-after", "5", CLIENT_SECONDS_MAX]).arg(peers::node()?);
            suite.arg(folder.join("node_modules/@modelcontextprotocol/conformance/dist/index.js"));
            suite.args(["client", "--scenario", name, "--spec-version", revision, "--force"]);
            suite.arg("--command").arg(client).arg("--output-dir").arg(&kept);
            let is_expected = expected.contains(name);
            if is_expected {
                suite.arg("--expected-failures").arg(expected_failures());
            }
            let output = suite.stdin(Stdio::null()).output().context("cannot start the suite")?;
            let text = [output.stderr, output.stdout].concat();
            let text = String::from_utf8_lossy(&text);
            std::fs::write(kept.join(format!("{}.txt", name.replace('/', "-"))), text.as_bytes())?;
            // Of what is expected to fail the exit code says that it failed so and not otherwise.
            match (output.status.success(), is_expected) {
                (true, false) if text.contains("OVERALL: PASSED") => passed += 1,
                (true, true) => println!("    ✗ {name}, as expected"),
                _ => failed.push((name, text.into_owned())),
            }
        }
        println!("{:14} {revision}: {passed} of {} required scenarios pass", "client", required.len());
        for (name, text) in &failed {
            println!("    ✗ {name}\n{text}\n    more is in {}", kept.display());
        }
        self.passed += passed;
        self.failed += failed.len() as u64;
        Ok(())
    }
}

/// A folder for what the suite says in a run, with nothing in it.
fn empty(name: &str) -> Result<PathBuf> {
    let kept = peers::folder()?.join("results").join(name);
    let _absent = std::fs::remove_dir_all(&kept);
    std::fs::create_dir_all(&kept)?;
    Ok(kept)
}

/// A line of the suite's summary: `✓ tools-list: 3 passed, 0 failed`, its mark and its scenario.
fn scenario(line: &str) -> Option<(&str, char, &str)> {
    let mark = line.chars().next().filter(|mark| ['✓', '✗'].contains(mark))?;
    let (name, rest) = line[mark.len_utf8()..].trim_start().split_once(": ")?;
    rest.contains(" passed, ").then_some((line, mark, name))
}

/// The scenarios that a revision requires of a client or a server, from the suite's own list.
fn required(folder: &Path, revision: &str, mode: &str) -> Result<BTreeSet<String>> {
    let list = format!("node_modules/@modelcontextprotocol/conformance/requirements/{revision}.yaml");
    let text = std::fs::read_to_string(folder.join(&list)).with_context(|| list.clone())?;
    let part = text.lines().skip_while(|line| *line != format!("{mode}:")).skip(1);
    let names: BTreeSet<_> = part.map_while(|line| line.strip_prefix("  - ")).map(str::to_owned).collect();
    if names.is_empty() {
        bail!("{list} has no `{mode}`");
    }
    Ok(names)
}
