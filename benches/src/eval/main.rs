//! Runs real plans and traces (`cargo xtask eval`) and says, set by set, what was right and how good it was.
//! It does not know how fanout works inside: every judgement comes from code of its own in this folder.

mod agent_cache;
mod agent_calls;
mod agent_effects;
mod asynchow;
mod bfcl;
mod llm_plans;
mod llm_reading;
mod nestful;
mod nestful_reading;
mod openapi;
mod outcome;
mod psplib;
mod workflows;

use anyhow::{Result, bail};
use clap::Parser;
use outcome::{Row, Verdict};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// JSON trees are made and dropped by the million here.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs real plans and traces, and judges the results by independent means.
#[derive(Parser)]
#[command(name = "cargo xtask eval")]
struct Args {
    /// The folder with the sets; other instances in the same formats can be put there.
    #[arg(long, value_name = "DIR", default_value = "../shared/data")]
    data: PathBuf,
    /// Only this set.
    #[arg(long, value_name = "SET")]
    only: Option<String>,
    /// Print the table as JSON.
    #[arg(long)]
    json: bool,
    /// Print everything that was wrong, not only the first few of each set.
    #[arg(long)]
    all: bool,
}

/// Judges one set, given its folder.
type Judge = fn(&Path) -> Result<Vec<Row>>;

/// The sets by the names of their folders, in the order of the table.
const SETS: [(&str, Judge); 8] = [
    ("nestful", nestful::judge),
    ("bfcl_parallel", bfcl::judge),
    ("llm_plans", llm_plans::judge),
    ("asynchow", asynchow::judge),
    ("workflows", workflows::judge),
    ("psplib_j30", psplib::judge),
    ("agent_calls", agent_calls::judge),
    ("openapi", openapi::judge),
];

fn main() -> ExitCode {
    match evaluate(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("eval: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every promise was kept.
fn evaluate(args: &Args) -> Result<bool> {
    let names: Vec<&str> = SETS.iter().map(|(name, _)| *name).collect();
    if let Some(only) = &args.only
        && !names.contains(&only.as_str())
    {
        bail!("no set is called `{only}`; the sets are {}", names.join(", "));
    }
    let mut rows = Vec::new();
    for (name, judge) in SETS {
        if args.only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        let folder = args.data.join(name);
        if !folder.is_dir() {
            rows.push(Row::skipped(name, format!("{} is not there", folder.display())));
            continue;
        }
        match judge(&folder) {
            Ok(judged) => rows.extend(judged),
            Err(error) => rows.push(Row::broken(name, format!("{error:#}"))),
        }
    }
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&rows)?),
        false => outcome::print(&rows, args.all),
    }
    Ok(rows.iter().all(|row| row.verdict != Verdict::Broken))
}
