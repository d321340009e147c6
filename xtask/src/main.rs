//! The project's own commands: `cargo xtask test | sim | eval | bench`.
//! It does not know what fanout does; it starts other programs and counts.

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::Command;

mod checks;
mod conformance;
mod peers;
mod sim;

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Run everything that CI runs; install what it needs first.
    Test(checks::TestArgs),
    /// Run random plans under a simulated clock against an oracle.
    Sim(sim::SimArgs),
    /// Run real plans and traces (`--data DIR --only SET --json`).
    Eval(Passed),
    /// Measure against peers in the same run (`--json`).
    Bench(Passed),
}

/// Arguments handed on to another program.
#[derive(clap::Args)]
struct Passed {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

fn main() -> Result<()> {
    match Args::parse().what {
        What::Test(args) => checks::main(&args),
        What::Sim(args) => sim::main(args),
        What::Eval(passed) => hand_on("sim", "eval", &passed),
        What::Bench(mut passed) => {
            // MCP is measured through the command that people have.
            let fanout = command("release")?.display().to_string();
            passed.args.extend(["--fanout".to_owned(), fanout]);
            hand_on("release", "fanout-benches", &passed)
        }
    }
}

/// Builds a binary of `benches/` and runs it with these arguments.
fn hand_on(profile: &str, bin: &str, passed: &Passed) -> Result<()> {
    let status = cargo()
        .args(["run", "--quiet", "--profile", profile, "--package", "fanout-benches", "--bin", bin, "--"])
        .args(&passed.args)
        .status()
        .context("cannot start cargo")?;
    match status.success() {
        true => Ok(()),
        false => bail!("`{bin}` ended with {status}"),
    }
}

/// Builds the command `fanout`; where it is.
fn command(profile: &str) -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--quiet", "--profile", profile, "--package", "fanout-cli", "--bin", "fanout"]);
    ensure!(build.status().context("cannot start cargo")?.success(), "the command does not build");
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(peers::folder()?.with_file_name(folder).join("fanout"))
}

/// Cargo, in the root of the repository.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // What cargo sets for this program is not meant for the ones it starts.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "CARGO_CRATE_NAME" {
            command.env_remove(name);
        }
    }
    command
}

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}
