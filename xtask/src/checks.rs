//! `cargo xtask test`: what CI runs, one check after the other, and how many passed.
//! It does not know what the checks look for; it starts them and reads their exit codes.

use crate::{cargo, command, conformance, peers, root};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct TestArgs {
    /// Only these checks, by name; may be repeated.
    #[arg(long, value_name = "CHECK")]
    only: Vec<String>,
    /// Print the names of the checks and end.
    #[arg(long)]
    list: bool,
}

/// How many tests a check ran.
#[derive(Clone, Copy, Default)]
struct Count {
    passed: u64,
    failed: u64,
}

/// A check: its name, what it is for, and how it is made.
struct Check {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<Count>,
}

const CHECKS: &[Check] = &[
    Check { name: "needs", about: "programs the tests use are there", run: needs },
    Check { name: "fmt", about: "the code is formatted", run: fmt },
    Check { name: "clippy", about: "no warnings, functions of at most 70 lines", run: clippy },
    Check { name: "tests", about: "unit, integration, tidy and doc tests", run: tests },
    Check { name: "doc", about: "documentation builds without warnings", run: doc },
    Check { name: "licences", about: "dependencies come from crates.io under accepted licences", run: licences },
    Check { name: "sim", about: "20,000 simulated worlds against the oracle", run: sim },
    Check { name: "mutants", about: "every planted fault is caught", run: mutants },
    Check { name: "differential", about: "the same decisions as a naive scheduler's", run: differential },
    Check { name: "mcp", about: "the MCP conformance suite, as server and as client", run: mcp },
    Check { name: "examples", about: "every example runs", run: examples },
    Check { name: "eval", about: "real plans, if their data is there", run: eval },
    Check { name: "bench", about: "every measurement works, in small", run: bench },
];

/// Runs the checks and prints `N passed, N failed` as the last line.
///
/// # Errors
/// When a check failed, after all have run.
pub(crate) fn main(args: &TestArgs) -> Result<()> {
    if args.list {
        for check in CHECKS {
            println!("{:12} {}", check.name, check.about);
        }
        return Ok(());
    }
    if let Some(unknown) = args.only.iter().find(|name| !CHECKS.iter().any(|c| c.name == name.as_str())) {
        bail!("no check is named `{unknown}`; `cargo xtask test --list` names them");
    }
    let mut sum = Count::default();
    let mut lines = Vec::new();
    for check in CHECKS.iter().filter(|c| args.only.is_empty() || args.only.iter().any(|n| n == c.name)) {
        println!("\n── {}: {}", check.name, check.about);
        let begun = Instant::now();
        let (count, note) = match (check.run)() {
            Ok(count) => (count, String::new()),
            Err(error) => (Count { passed: 0, failed: 1 }, format!("  {error:#}")),
        };
        sum.passed += count.passed;
        sum.failed += count.failed;
        let mark = if count.failed == 0 { "ok    " } else { "FAILED" };
        let Count { passed, failed } = count;
        lines.push(format!(
            "{mark} {:12} {passed:>5} passed {failed:>3} failed {:>6.1} s{note}",
            check.name,
            begun.elapsed().as_secs_f64()
        ));
    }
    println!("\n{}\n{} passed, {} failed", lines.join("\n"), sum.passed, sum.failed);
    match sum.failed {
        0 => Ok(()),
        _ => std::process::exit(1),
    }
}

/// Runs a command that stands for one test.
fn one(command: &mut Command) -> Result<Count> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start {command:?}"))?;
    match status.success() {
        true => Ok(Count { passed: 1, failed: 0 }),
        false => {
            let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
            bail!("`{}` ended with {status}", args.join(" "))
        }
    }
}

fn needs() -> Result<Count> {
    // Program, and the Debian package it is in.
    const NEEDED: &[(&str, &str)] = &[
        ("git", "git"),
        ("python3", "python3"),
        ("seq", "coreutils"),
        ("wc", "coreutils"),
        ("script", "bsdutils"),
        ("setsid", "util-linux"),
        ("npm", "npm"),
    ];
    let missing: BTreeSet<&str> = NEEDED.iter().filter(|(program, _)| !is_there(program)).map(|(_, p)| *p).collect();
    if !missing.is_empty() {
        println!("installing {missing:?}");
        let _ = one(Command::new("apt-get").args(["update", "-qq"]));
        one(Command::new("apt-get").args(["install", "-y", "-qq", "--no-install-recommends"]).args(&missing))
            .with_context(|| format!("install {missing:?} by hand"))?;
    }
    for component in ["rustfmt", "clippy"] {
        let program = if component == "clippy" { "cargo-clippy" } else { component };
        if !is_there(program) {
            one(Command::new("rustup").args(["component", "add", component]))?;
        }
    }
    peers::install()?;
    Ok(Count { passed: 1, failed: 0 })
}

/// Whether a program can be started.
fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn fmt() -> Result<Count> {
    one(cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<Count> {
    // `crates/core` has a clippy.toml of its own, which bans clocks, threads and locks; clippy finds it by itself.
    one(cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--keep-going", "--"]).args([
        "-D",
        "warnings",
        "-D",
        "clippy::too_many_lines",
    ]))
}

fn tests() -> Result<Count> {
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let mut count = Count::default();
    let stdout = child.stdout.take().context("no standard output")?;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        let text = String::from_utf8_lossy(&line);
        if let Some(result) = text.strip_prefix("test result: ") {
            count.passed += number_before(result, " passed");
            count.failed += number_before(result, " failed");
        }
        writeln!(std::io::stdout(), "{text}")?;
    }
    let status = child.wait()?;
    if !status.success() {
        // A build that broke or a test that died runs no tests to count.
        count.failed = count.failed.max(1);
    }
    Ok(count)
}

/// The number that stands before a word, such as 12 in `ok. 12 passed; 0 failed`.
fn number_before(text: &str, word: &str) -> u64 {
    text.split(word).next().and_then(|before| before.rsplit(' ').next()).and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn doc() -> Result<Count> {
    // Only libraries: the command and the library are both called `fanout`, and their pages would collide.
    one(cargo().env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--quiet", "--workspace", "--no-deps", "--lib"]))
}

fn licences() -> Result<Count> {
    if is_there("cargo-deny") {
        return one(cargo().args(["deny", "--log-level", "error", "check", "licenses", "bans", "sources"]));
    }
    // The same question without another program to install: deny.toml names what is accepted.
    let deny = std::fs::read_to_string(root().join("deny.toml"))?;
    let list =
        deny.split("allow = [").nth(1).and_then(|rest| rest.split(']').next()).context("no `allow` in deny.toml")?;
    let accepted: BTreeSet<&str> = list.split('"').skip(1).step_by(2).collect();
    let output = cargo().args(["metadata", "--format-version", "1", "--locked"]).stderr(Stdio::inherit()).output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let mut failed = 0;
    let mut passed = 0;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or("?");
        let licence = package["license"].as_str().unwrap_or("");
        let source = package["source"].as_str();
        let from_registry = source.is_none_or(|s| s == "registry+https://github.com/rust-lang/crates.io-index");
        if satisfied(licence, &accepted) && from_registry {
            passed += 1;
        } else {
            failed += 1;
            println!("{name}: licence `{licence}`, source {source:?}");
        }
    }
    println!("{passed} packages");
    match failed {
        0 => Ok(Count { passed: 1, failed: 0 }),
        _ => bail!("{failed} packages are not accepted by deny.toml"),
    }
}

/// Whether an SPDX expression can be met with accepted licences: every part joined by `AND` has an alternative.
fn satisfied(expression: &str, accepted: &BTreeSet<&str>) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    plain.split(" AND ").all(|part| part.split(" OR ").any(|licence| accepted.contains(licence.trim())))
}

fn sim() -> Result<Count> {
    one(Command::new(std::env::current_exe()?).current_dir(root()).args(["sim", "--seeds", "20000"]))
}

fn differential() -> Result<Count> {
    one(Command::new(std::env::current_exe()?).current_dir(root()).args(["sim", "--differential", "5000"]))
}

fn mutants() -> Result<Count> {
    one(Command::new(std::env::current_exe()?).current_dir(root()).args(["sim", "--mutants"]))
}

fn mcp() -> Result<Count> {
    let verdict = conformance::run()?;
    Ok(Count { passed: verdict.passed, failed: verdict.failed })
}

fn examples() -> Result<Count> {
    let mut count = Count::default();
    let mut tell = |name: &str, done: Result<Count>| match done {
        Ok(_) => count.passed += 1,
        Err(error) => {
            count.failed += 1;
            println!("example {name}: {error:#}");
        }
    };
    for name in entries("examples", None)? {
        let plan = format!("examples/{name}/plan.yaml");
        println!("\n$ fanout run {plan}");
        let mut run = cargo();
        run.args(["run", "--quiet", "--bin", "fanout", "--", "run", &plan]).env("PATH", peers::path()?);
        let server = SERVERS.iter().find(|(example, ..)| *example == name);
        tell(
            &name,
            match server.map(|(example, program, token)| Server::start(example, program, token)) {
                None => one(&mut run),
                // It is ended when the example is over.
                Some(Ok(server)) => one(run.env(server.token, SERVER_TOKEN)),
                Some(Err(error)) => Err(error),
            },
        );
    }
    for name in entries("crates/engine/examples", Some(".rs")).unwrap_or_default() {
        println!("\n$ cargo run -p fanout --example {name}");
        tell(&name, one(cargo().args(["run", "--quiet", "--package", "fanout", "--example", &name])));
    }
    Ok(count)
}

/// Examples whose tools are requests: their server, and the variable that names its token.
const SERVERS: [(&str, &str, &str); 2] = [("orders", "shop.py", "SHOP_TOKEN"), ("pets", "pets.py", "PETS_TOKEN")];

/// What the servers of the examples take for a token.
const SERVER_TOKEN: &str = "any";

/// The server of an example, ended with this value.
struct Server {
    process: std::process::Child,
    token: &'static str,
}

impl Server {
    /// Starts it and waits until it listens, which it tells by a line.
    fn start(example: &str, program: &str, token: &'static str) -> Result<Server> {
        let mut process = Command::new("python3")
            .arg(root().join("examples").join(example).join(program))
            .env(token, SERVER_TOKEN)
            .stdout(Stdio::piped())
            .spawn()
            .context("python3 is not there")?;
        let told = process.stdout.take().context("its output was piped")?;
        let server = Server { process, token };
        let mut line = String::new();
        BufReader::new(told).read_line(&mut line)?;
        anyhow::ensure!(!line.is_empty(), "{program} ended instead of listening");
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that is gone is as good.
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

/// The names in a folder, sorted; only those with this ending, which is cut off.
fn entries(folder: &str, ending: Option<&str>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root().join(folder)).with_context(|| folder.to_string())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        match ending {
            None => names.push(name),
            Some(ending) => names.extend(name.strip_suffix(ending).map(str::to_string)),
        }
    }
    names.sort();
    Ok(names)
}

fn eval() -> Result<Count> {
    let data = root().join("../shared/data");
    if !data.is_dir() {
        println!("{} is not there: nothing to evaluate", data.display());
        return Ok(Count::default());
    }
    one(cargo()
        .args(["run", "--quiet", "--profile", "sim", "--package", "fanout-benches", "--bin", "eval", "--", "--data"])
        .arg(data))
}

fn bench() -> Result<Count> {
    // Not in the profile that measures: this asks whether it works, and its dependencies are built already.
    one(cargo()
        .args(["run", "--quiet", "--profile", "sim", "--package", "fanout-benches", "--bin", "fanout-benches"])
        .args(["--", "--quick", "--fanout"])
        .arg(command("dev")?))
}
