//! What the command line can say, and the help that teaches it.
//! It does not know what is done with it.

use clap::builder::NonEmptyStringValueParser;
use clap::builder::styling::{AnsiColor, Styles};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use fanout::DoubtAnswer;
use fanout::state::CacheBounds;
use std::ffi::OsString;
use std::path::PathBuf;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Paragraphs are one line each: clap breaks them to the width of the terminal.
const AFTER: &str = "\
A plan lists calls of tools; what a call needs of another it names with ${id}:

    calls:
      - {id: files, tool: list,  args: {folder: src}}
      - {id: sizes, tool: count, foreach: \"${files}\", args: {path: \"${item}\"}}
    output: \"${sizes}\"

Calls start as soon as what they need is there and run at the same time, except where one writes what another \
reads or writes: those keep the order in which the plan lists them. The result is that of running the calls one \
by one. Tools are described in `fanout.toml`, which is looked for beside the plan and upward from the working \
directory; `fanout init` writes a first one.

Standard output holds the plan's output and nothing else; everything else goes to standard error.

Exit codes:
    0      succeeded
    1      a call failed
    2      wrong usage: nothing was started
    3      the plan or a toolbox file is not valid: nothing was started
    4      cancelled: by the first Ctrl-C, or the deadline passed
    5      succeeded, but the output, report, events or a picture could not be written
    6      a durable run is there and was not gone on with: it runs elsewhere, was interrupted or has changed
    128+n  ended by signal n: 130 by the second Ctrl-C, 143 by TERM, 129 by HUP

Every error has a code in brackets, such as [unknown_tool]: `fanout explain unknown_tool` says more.";

/// Runs the tool calls of a plan in parallel, with the results and effects of running them one by one.
#[derive(Parser)]
#[command(name = "fanout", version, styles = STYLES, after_long_help = AFTER, max_term_width = 110)]
#[command(after_help = "`fanout --help` says more; `fanout init` writes a first plan.", subcommand_required = true)]
pub(crate) struct Cli {
    /// Whether to use colour; `auto` is for terminals, and obeys NO_COLOR and TERM=dumb.
    #[arg(long, global = true, value_enum, default_value_t = When::Auto, value_name = "WHEN", hide_short_help = true)]
    pub(crate) color: When,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A choice with a default that depends on where the output goes.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// When it is a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Say everything that is wrong with a plan; start nothing.
    Check(CheckArgs),
    /// Show what would run when, and what waits for what; start nothing.
    Plan(PlanArgs),
    /// Run a plan and print its output.
    Run(RunArgs),
    /// Go on with a durable run whose process died, where it was; nothing is done twice.
    Resume(ResumeArgs),
    /// List durable runs: how far each is, and what it waits for; `prune` and `discard` remove some.
    Runs(RunsArgs),
    /// Say what the cache on disk holds, or clear it.
    Cache(CacheArgs),
    /// Tell how a durable run ended, or how far it is.
    Report(ReportArgs),
    /// Let a call run that waits to be approved, in a run of another process.
    Approve(ApproveArgs),
    /// Refuse a call that waits to be approved, in a run of another process.
    Deny(DenyArgs),
    /// Draw a run that has ended, from its report.
    Timeline(TimelineArgs),
    /// List the tools, or show one with its arguments, effects and limits.
    Tools(ToolsArgs),
    /// Call one tool and print its result.
    Call(CallArgs),
    /// Be an MCP server with all tools, for agents: on standard input and output, or over HTTP.
    #[command(after_long_help = crate::mcp::HELP)]
    Mcp(McpArgs),
    /// Print the JSON Schema of a format.
    Schema(SchemaArgs),
    /// Explain the code of an error.
    Explain(ExplainArgs),
    /// Write a toolbox file and a first plan that runs at once.
    Init(InitArgs),
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
    /// The process that ends what an engine leaves behind when it is killed.
    #[command(name = "__guard", hide = true)]
    Guard(GuardArgs),
}

/// Which plan, with what inputs and tools.
#[derive(Args, Clone)]
pub(crate) struct Source {
    /// The plan, YAML or JSON; `-` reads standard input.
    #[arg(value_name = "PLAN", value_hint = clap::ValueHint::FilePath)]
    pub(crate) plan: PathBuf,
    /// An input of the plan. The value is read as JSON where the input's schema allows more than strings.
    #[arg(long = "arg", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) inputs: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) tools: ToolFiles,
    #[command(flatten)]
    pub(crate) limits: Limits,
}

/// Where tools come from.
#[derive(Args, Clone, Default)]
pub(crate) struct ToolFiles {
    /// A toolbox file; may be repeated. Instead of the `fanout.toml` beside the plan and upward from here.
    #[arg(long = "tools", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// A file in which Claude, Cursor or VS Code is told of MCP servers (`mcpServers`); may be repeated. Each server is a
    /// toolbox, beside those of the toolbox files.
    #[arg(long = "mcp-config", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) mcp_configs: Vec<PathBuf>,
}

/// Amounts shared by all calls.
#[derive(Args, Clone, Default)]
pub(crate) struct Limits {
    /// A named amount that calls share: `running=8` is how many may run at once, `gpu=2` what `uses: {gpu: 1}` takes from.
    #[arg(long = "limit", value_name = "NAME=AMOUNT", value_parser = name_and_amount)]
    pub(crate) limits: Vec<(String, u64)>,
}

#[derive(Args)]
pub(crate) struct McpArgs {
    #[command(flatten)]
    pub(crate) tools: ToolFiles,
    #[command(flatten)]
    pub(crate) limits: Limits,
    /// Which tools are listed: `all` of them, or only those that `find` the others and call them, for a client that
    /// would be given hundreds.
    #[arg(long, value_enum, default_value_t = Expose::All)]
    pub(crate) expose: Expose,
    /// Serve any number of clients over streamable HTTP instead, at this address of this machine; port 0 is any free
    /// one. The URL is the first line of standard output.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) http: Option<std::net::SocketAddr>,
    /// The variable of the environment with the token that HTTP clients must send. Default: a new token, which is told
    /// on standard error.
    #[arg(long, value_name = "NAME", requires = "http")]
    pub(crate) token_env: Option<String>,
    /// Ask HTTP clients for no token: whoever has an account on this machine may then call all tools. Only for an
    /// address that no other machine can reach.
    #[arg(long, requires = "http", conflicts_with = "token_env")]
    pub(crate) no_token: bool,
    #[command(flatten)]
    pub(crate) cache: CacheLimits,
    #[command(flatten)]
    pub(crate) state: StateDir,
}

/// Which tools an MCP client sees.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Expose {
    /// All tools.
    All,
    /// Only `find_tools`, `call_tool`, `run_plan` and what goes with them.
    Find,
}

#[derive(Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Print the problems as a JSON array on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) source: Source,
    /// How to print it; `dot` is for graphviz: `fanout plan --format dot PLAN | dot -Tsvg > plan.svg`.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// How `fanout plan` prints.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for people.
    Text,
    /// A graph for graphviz.
    Dot,
    /// JSON for programs; docs/command.md describes it.
    Json,
}

#[derive(Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) outputs: Outputs,
    /// Cancel what has not ended after this time, such as `90s`, `10m`, `1h`. Instead of the plan's own deadline.
    #[arg(long, value_name = "TIME")]
    pub(crate) deadline: Option<String>,
    /// Where chance is used (the jitter of retries), begin here: the same seed, the same delays.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Hand on no results: what `cache` says of tools and calls counts for nothing.
    #[arg(long)]
    pub(crate) no_cache: bool,
    #[command(flatten)]
    pub(crate) cache: CacheLimits,
    /// Record the run as it goes: when this process dies, `fanout resume` goes on with it and does nothing twice.
    #[arg(long)]
    pub(crate) durable: bool,
    /// Start a durable run once under this name: the same again gives the run there is, its output if it has ended.
    #[arg(long, value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) state: StateDir,
}

/// Where a run writes to, and how much it says.
#[derive(Args, Clone)]
pub(crate) struct Outputs {
    /// Write events as JSON lines while they happen; `-` is standard output, which then holds nothing else.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-", require_equals = true)]
    pub(crate) events: Option<PathBuf>,
    /// Write the full report as JSON: every call with its result, its times and what it waited for; `-` is standard
    /// output, which then holds nothing else.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) report: Option<PathBuf>,
    /// Draw the run when it has ended, as FILE.svg or FILE.html: a row per call, what ran when and what waited for what.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, value_parser = OsStringValueParser::new().try_map(timeline_file))]
    pub(crate) timeline: Option<PathBuf>,
    /// Write the run in Chrome's trace event format when it has ended; ui.perfetto.dev opens it.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) trace: Option<PathBuf>,
    /// Show only failures and the last two lines.
    #[arg(long)]
    pub(crate) no_progress: bool,
    /// Print an output that is a string as it is, without quotes.
    #[arg(long, short)]
    pub(crate) raw: bool,
}

/// How much is kept of results on disk.
#[derive(Args, Clone)]
pub(crate) struct CacheLimits {
    /// Keep this much at most in the cache on disk (`cache: {scope: disk}`); the oldest results go. Default: 256MiB.
    #[arg(long, value_name = "SIZE", value_parser = size, hide_short_help = true)]
    pub(crate) cache_size: Option<u64>,
    /// Keep this many results at most in the cache on disk. Default: 100000.
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(crate) cache_entries: Option<u64>,
}

impl CacheLimits {
    pub(crate) fn bounds(&self) -> CacheBounds {
        let usual = CacheBounds::default();
        let entries = self.cache_entries.unwrap_or(usual.entries);
        CacheBounds { bytes: self.cache_size.unwrap_or(usual.bytes), entries }
    }
}

#[derive(Args)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    pub(crate) command: CacheCommand,
}

#[derive(Subcommand)]
pub(crate) enum CacheCommand {
    /// Say what is kept, by tool.
    Stats(CacheStatsArgs),
    /// Remove what is kept: all of it, or that of one tool.
    Clear(CacheClearArgs),
}

#[derive(Args)]
pub(crate) struct CacheStatsArgs {
    /// Of this tool only.
    #[arg(long, value_name = "NAME")]
    pub(crate) tool: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) state: StateDir,
}

#[derive(Args)]
pub(crate) struct CacheClearArgs {
    /// Only results of this tool.
    #[arg(long, value_name = "NAME")]
    pub(crate) tool: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) state: StateDir,
}

/// Where durable runs are recorded, and results kept.
#[derive(Args, Clone)]
pub(crate) struct StateDir {
    /// Where durable runs are recorded, and results kept on disk. Default: `fanout` in $XDG_STATE_HOME, or ~/.local/state/fanout.
    #[arg(long = "state", env = "FANOUT_STATE", value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
}

/// Which durable run.
#[derive(Args)]
pub(crate) struct RunName {
    /// The run: its id, the beginning of it, or `last` for the one begun last.
    #[arg(value_name = "RUN", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) run: String,
    #[command(flatten)]
    pub(crate) state: StateDir,
}

#[derive(Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub(crate) name: RunName,
    /// What became of a call that ran when the process died: `rerun` it, count it as `failed`, or
    /// `succeeded:RESULT` with a result as JSON. May be repeated.
    #[arg(long, value_name = "CALL=ANSWER", value_parser = doubt_answer)]
    pub(crate) in_doubt: Vec<(String, DoubtAnswer)>,
    #[command(flatten)]
    pub(crate) cache: CacheLimits,
    /// Go on with the recorded plan although the plan file or tools have changed since.
    #[arg(long)]
    pub(crate) changed: bool,
    /// Where that is missing, print what has changed as JSON on standard output.
    #[arg(long, conflicts_with = "changed")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) outputs: Outputs,
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RunsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<RunsCommand>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) state: StateDir,
}

#[derive(Subcommand)]
pub(crate) enum RunsCommand {
    /// Remove runs that have ended; those that have not always stay.
    Prune(PruneArgs),
    /// Remove one run that no process runs, although it has not ended; says what of it nobody knows.
    Discard(RunName),
}

#[derive(Args)]
#[group(id = "which", required = true, multiple = true, args = ["keep", "older_than", "max_size"])]
pub(crate) struct PruneArgs {
    /// Keep this many of the newest.
    #[arg(long, value_name = "N")]
    pub(crate) keep: Option<usize>,
    /// Remove those that ended longer ago than this, such as `30d`.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) older_than: Option<std::time::Duration>,
    /// Remove the oldest until all take no more than this, such as `1GB`.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max_size: Option<u64>,
    /// Only say what would go.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) state: StateDir,
}

#[derive(Args)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    pub(crate) name: RunName,
    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the report as JSON to a file.
    #[arg(long, short, value_name = "FILE", value_hint = clap::ValueHint::FilePath, conflicts_with = "json")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct ApproveArgs {
    #[command(flatten)]
    pub(crate) name: RunName,
    /// The call, as `fanout runs` names it: `hold`, or `fares[3]` for an element.
    #[arg(value_name = "CALL")]
    pub(crate) call: String,
    /// Other arguments for it, a JSON object. They are checked as those of the plan, and may touch nothing else.
    #[arg(long, value_name = "JSON")]
    pub(crate) args: Option<String>,
}

#[derive(Args)]
pub(crate) struct DenyArgs {
    #[command(flatten)]
    pub(crate) name: RunName,
    /// The call, as `fanout runs` names it.
    #[arg(value_name = "CALL")]
    pub(crate) call: String,
    /// Why, for the report.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Args)]
pub(crate) struct TimelineArgs {
    /// What `fanout run --report` wrote; `-` reads standard input.
    #[arg(value_name = "REPORT", value_hint = clap::ValueHint::FilePath)]
    pub(crate) report: PathBuf,
    /// Where to: FILE.svg and FILE.html are pictures, FILE.json is a trace for ui.perfetto.dev; `-` is SVG on standard
    /// output.
    #[arg(long, short, value_name = "FILE", value_hint = clap::ValueHint::FilePath, default_value = "-")]
    pub(crate) output: PathBuf,
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ToolsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ToolsCommand>,
    /// Only this tool, with all there is to know about it.
    pub(crate) name: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) tools: ToolFiles,
}

#[derive(Subcommand)]
pub(crate) enum ToolsCommand {
    /// Let fanout in at an MCP server that asks who is asking (OAuth): a browser is opened.
    Login(LoginArgs),
}

#[derive(Args)]
pub(crate) struct LoginArgs {
    /// The toolbox that the server is.
    #[arg(value_name = "SERVER")]
    pub(crate) server: String,
    #[command(flatten)]
    pub(crate) tools: ToolFiles,
}

#[derive(Args)]
pub(crate) struct CallArgs {
    /// The tool.
    pub(crate) tool: String,
    /// An argument. The value is read as JSON where the tool's schema allows more than strings.
    #[arg(long = "arg", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) arg: Vec<(String, String)>,
    /// All arguments as one JSON object; `--arg` adds to it.
    #[arg(long, value_name = "JSON")]
    pub(crate) args: Option<String>,
    /// Print a result that is a string as it is, without quotes.
    #[arg(long, short)]
    pub(crate) raw: bool,
    #[command(flatten)]
    pub(crate) tools: ToolFiles,
    #[command(flatten)]
    pub(crate) state: StateDir,
}

#[derive(Args)]
pub(crate) struct SchemaArgs {
    /// Of what.
    #[arg(value_enum)]
    pub(crate) of: SchemaOf,
}

/// The formats that have a schema.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// A plan file.
    Plan,
    /// A toolbox file, fanout.toml.
    Toolbox,
    /// What `fanout run --report` writes.
    Report,
    /// One line of what `fanout run --events` writes.
    Events,
}

#[derive(Args)]
pub(crate) struct ExplainArgs {
    /// The code; without one, all codes are listed.
    pub(crate) code: Option<String>,
}

#[derive(Args)]
pub(crate) struct InitArgs {
    /// Where; it is made if it is not there.
    #[arg(default_value = ".", value_hint = clap::ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
}

#[derive(Args)]
pub(crate) struct CompletionsArgs {
    /// For which shell.
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Args)]
pub(crate) struct GuardArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<OsString>,
}

fn timeline_file(name: OsString) -> Result<PathBuf, String> {
    let path = PathBuf::from(name);
    crate::timeline::Format::of(&path).map(|_| path).ok_or_else(|| "write FILE.svg or FILE.html".to_string())
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_string(), value.to_string())),
        _ => Err("write NAME=VALUE".to_string()),
    }
}

/// `CALL=rerun`, `CALL=failed` or `CALL=succeeded:RESULT`.
fn doubt_answer(text: &str) -> Result<(String, DoubtAnswer), String> {
    let (call, answer) = name_and_value(text).map_err(|_| "write CALL=rerun, CALL=failed or CALL=succeeded:RESULT")?;
    let answer = match answer.as_str() {
        "rerun" => DoubtAnswer::Rerun,
        "failed" => DoubtAnswer::Fail,
        "succeeded" => DoubtAnswer::Succeeded(serde_json::Value::Null),
        other => match other.strip_prefix("succeeded:").map(serde_json::from_str) {
            Some(Ok(value)) => DoubtAnswer::Succeeded(value),
            Some(Err(error)) => return Err(format!("its result is not JSON: {error}")),
            None => return Err(format!("`{other}` is none of rerun, failed, succeeded:RESULT")),
        },
    };
    Ok((call, answer))
}

fn duration(text: &str) -> Result<std::time::Duration, String> {
    fanout::plan::read_duration(text).ok_or_else(|| "write a time such as 30d, 12h or 90m".to_owned())
}

fn size(text: &str) -> Result<u64, String> {
    fanout::plan::read_size(text).ok_or_else(|| "write a size such as 1GB or 500MiB".to_owned())
}

fn name_and_amount(text: &str) -> Result<(String, u64), String> {
    let (name, value) = name_and_value(text).map_err(|_| "write NAME=AMOUNT, such as running=8".to_string())?;
    match value.parse() {
        Ok(amount) if amount > 0 => Ok((name, amount)),
        _ => Err(format!("`{value}` is not a whole number above 0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn limits_are_names_and_amounts() {
        assert_eq!(name_and_amount("running=8"), Ok(("running".into(), 8)));
        assert!(name_and_amount("running=0").is_err());
        assert!(name_and_amount("=1").is_err());
        assert_eq!(name_and_value("a=b=c"), Ok(("a".into(), "b=c".into())));
    }
}
