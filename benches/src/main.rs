//! Measures fanout against peers in the same run (`cargo xtask bench`): one table, a ratio and a budget per row.
//! It does not know how fanout works inside: it uses the library as anybody would, and the core as the engine does.

mod bench {
    //! The rows, by what they measure.
    pub(crate) mod allocator;
    pub(crate) mod core_alone;
    pub(crate) mod durable;
    pub(crate) mod engine_cost;
    pub(crate) mod http;
    pub(crate) mod makespan;
    pub(crate) mod mcp;
    pub(crate) mod memory;
    pub(crate) mod process;
    pub(crate) mod random;
    pub(crate) mod reuse;
    pub(crate) mod runner;
    pub(crate) mod shapes;
    pub(crate) mod table;
}

use anyhow::{Result, bail};
use bench::table::{self, Row, Size};
use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: bench::allocator::Counting = bench::allocator::Counting;

/// Measures fanout, each row against a peer in the same run.
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Args {
    /// Print the table as JSON.
    #[arg(long)]
    json: bool,
    /// Only the groups whose name holds this: core, noop, chain, one-call, memory, process, http, mcp, durable, cache,
    /// makespan, shapes, or the name of one shape.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// A tenth of the size and one round: shows that everything works, not how fast.
    #[arg(long)]
    quick: bool,
    /// The folder with the real DAGs, for the makespan.
    #[arg(long, value_name = "DIR", default_value = "../shared/data")]
    data: std::path::PathBuf,
    /// The command `fanout` that is measured; without it, the one beside this program.
    #[arg(long, value_name = "PATH")]
    fanout: Option<std::path::PathBuf>,
    /// Be the MCP server that is measured, which needs so many milliseconds to start.
    #[arg(long, value_name = "MS", hide = true)]
    mcp_server: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(after_ms) = args.mcp_server {
        let served = bench::mcp::serve_pipes(std::time::Duration::from_millis(after_ms));
        return if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match measure(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every row is within its budget.
fn measure(args: &Args) -> Result<bool> {
    let size = if args.quick { Size::Quick } else { Size::Full };
    let wanted = |name: &str| args.only.as_deref().is_none_or(|only| name.contains(only));
    let mut rows: Vec<Row> = Vec::new();
    let mut show = |made: Vec<Row>| {
        let made: Vec<Row> = made.into_iter().map(|row| row.judged(size)).collect();
        if !args.json {
            made.iter().for_each(table::print);
        }
        rows.extend(made);
    };
    if !args.json {
        table::print_head();
    }
    if wanted("core") {
        show(bench::core_alone::rows(size));
    }
    if wanted("noop") {
        show(bench::engine_cost::independent(size)?);
    }
    if wanted("chain") {
        show(bench::engine_cost::chain(size)?);
    }
    if wanted("one-call") {
        show(bench::engine_cost::one_call(size)?);
    }
    if wanted("memory") {
        show(bench::memory::rows(size)?);
    }
    if wanted("process") {
        show(bench::process::rows(size)?);
    }
    if wanted("http") {
        show(bench::http::rows(size)?);
    }
    if wanted("mcp") {
        show(bench::mcp::rows(size, args.fanout.as_deref())?);
    }
    if wanted("durable") {
        show(bench::durable::rows(size)?);
    }
    if wanted("cache") {
        show(bench::reuse::rows(size)?);
    }
    if wanted("makespan") {
        show(bench::makespan::rows(&args.data)?);
    }
    for shape in &bench::shapes::SHAPES {
        if wanted("shapes") || wanted(shape.name) {
            show(shape.rows(size)?);
        }
    }
    if rows.is_empty() {
        bail!("nothing is called {:?}", args.only);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    }
    Ok(rows.iter().all(|row| row.within != Some(false)))
}
