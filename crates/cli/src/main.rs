//! The command `fanout`: reads the command line, does what it says, and ends with an exit code.
//! It does not know how plans are run; the library `fanout` does.

mod account;
mod answer;
mod args;
mod ask;
mod cache;
mod changed;
mod diagnostics;
mod durable;
mod elsewhere;
mod explain;
mod field;
mod follow;
mod form;
mod init;
mod json;
mod live;
mod load;
mod login;
mod mcp;
mod page;
mod peer;
mod pictures;
mod pipes;
mod plan_view;
mod run;
mod runs;
mod targets;
mod text;
mod timeline;
mod tools_view;
mod trace;

use args::{CheckArgs, Cli, Command, Format, PlanArgs, SchemaArgs, SchemaOf, ToolsArgs, ToolsCommand, When};
use clap::{CommandFactory, Parser};
use diagnostics::Texts;
use fanout::Diagnostic;
use load::{Changes, Loaded, Refused};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;
use text::Paint;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit codes; `docs/exit-codes.md` and `--help` explain them.
mod exit {
    /// A call failed.
    pub(crate) const FAILED: u8 = 1;
    /// Wrong usage.
    pub(crate) const USAGE: u8 = 2;
    /// The plan or a toolbox file is not valid.
    pub(crate) const INVALID: u8 = 3;
    /// Cancelled.
    pub(crate) const CANCELLED: u8 = 4;
    /// What was asked for was done, and could not be written.
    pub(crate) const LOST: u8 = 5;
    /// A durable run is there, and was not gone on with.
    pub(crate) const THERE: u8 = 6;
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Guard(_) = cli.command {
        // Before anything else: it reads its own arguments and blocks until its engine is gone.
        return fanout::tools::guard::main();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(Refused::Usage(format!("cannot start threads: {error}")), cli.color, false),
    };
    // Not on a worker: what is printed may block, and must not hold up what runs.
    let code = runtime.block_on(dispatch(cli));
    // What still blocks a thread (a read from a pipe nobody closes) is not waited for.
    runtime.shutdown_timeout(Duration::from_millis(100));
    if code == ExitCode::SUCCESS && text::is_lost() { ExitCode::from(exit::LOST) } else { code }
}

async fn dispatch(cli: Cli) -> ExitCode {
    let color = cli.color;
    let mut as_json = false;
    let done = match &cli.command {
        Command::Check(args) => {
            as_json = args.json;
            check(args, color).await
        }
        Command::Plan(args) => plan(args, color).await,
        Command::Run(args) => run::run(args, color).await,
        Command::Resume(args) => run::resume(args, color).await,
        Command::Runs(args) => runs::main(args, color),
        Command::Cache(args) => cache::main(args, color),
        Command::Report(args) => runs::report(args, color),
        Command::Approve(args) => answer::approve(args, color),
        Command::Deny(args) => answer::deny(args, color),
        Command::Timeline(args) => pictures::main(args),
        Command::Tools(args) => tools(args, color).await,
        Command::Call(args) => run::call(args, color).await,
        Command::Mcp(args) => mcp::main(args, color).await,
        Command::Schema(args) => Ok(schema(args)),
        Command::Explain(args) => Ok(explain::main(args.code.as_deref())),
        Command::Init(args) => Ok(init::main(&args.dir)),
        Command::Completions(args) => Ok(completions(args.shell)),
        Command::Guard(_) => Ok(ExitCode::SUCCESS),
    };
    load::close().await;
    done.unwrap_or_else(|refused| refuse(refused, color, as_json))
}

/// Says why nothing was started.
fn refuse(refused: Refused, color: When, as_json: bool) -> ExitCode {
    let paint = Paint::choose(color, text::stderr_is_terminal());
    match refused {
        Refused::Usage(why) => {
            text::say(&format!("{} {}\n", paint.red("error:"), text::line(&why)));
            ExitCode::from(exit::USAGE)
        }
        Refused::There(why) => {
            text::say(&format!("{} {}\n", paint.red("error:"), text::line(&why)));
            ExitCode::from(exit::THERE)
        }
        Refused::Invalid(problems, _) if as_json => {
            print_json(&problems);
            ExitCode::from(exit::INVALID)
        }
        Refused::Invalid(problems, texts) => {
            say_problems(&problems, &texts, paint);
            ExitCode::from(exit::INVALID)
        }
    }
}

fn say_problems(problems: &[Diagnostic], texts: &Texts, paint: Paint) {
    text::say(&diagnostics::render(problems, texts, text::terminal_size().1, paint));
}

fn print_json(problems: &[Diagnostic]) {
    text::print(&(serde_json::to_string_pretty(problems).unwrap_or_default() + "\n"));
}

async fn check(args: &CheckArgs, color: When) -> Result<ExitCode, Refused> {
    let Loaded { engine, plan, texts } = load::load(&args.source, Changes::default()).await?;
    let paint = Paint::choose(color, text::stderr_is_terminal());
    let warnings = [&plan.warnings[..], engine.catalog().warnings()].concat();
    if args.json {
        print_json(&warnings);
        return Ok(ExitCode::SUCCESS);
    }
    if !warnings.is_empty() {
        say_problems(&warnings, &texts, paint);
    }
    let name = text::line(&plan.name);
    text::say(&format!(
        "{} {}: {}, valid\n",
        paint.green("✓"),
        paint.bold(&name),
        text::count(plan.calls.len(), "call")
    ));
    Ok(ExitCode::SUCCESS)
}

async fn plan(args: &PlanArgs, color: When) -> Result<ExitCode, Refused> {
    let Loaded { engine, plan, texts } = load::load(&args.source, Changes::default()).await?;
    let terminal = std::io::stdout().is_terminal();
    if !plan.warnings.is_empty() {
        say_problems(&plan.warnings, &texts, Paint::choose(color, text::stderr_is_terminal()));
    }
    let schedule = engine.schedule(&plan);
    // On a pipe nothing is cut that a person could still want to search for.
    let columns = if terminal { text::terminal_size().1 } else { 4_096 };
    text::print(&match args.format {
        Format::Text => plan_view::table(&schedule, columns, Paint::choose(color, terminal)),
        Format::Dot => plan_view::dot(&schedule),
        Format::Json => serde_json::to_string_pretty(&schedule).unwrap_or_default() + "\n",
    });
    Ok(ExitCode::SUCCESS)
}

async fn tools(args: &ToolsArgs, color: When) -> Result<ExitCode, Refused> {
    if let Some(ToolsCommand::Login(args)) = &args.command {
        return login::main(args, color).await;
    }
    let engine = load::load_tools(&args.tools).await?;
    let catalog = engine.catalog();
    let terminal = std::io::stdout().is_terminal();
    let paint = Paint::choose(color, terminal);
    let Some(name) = &args.name else {
        let columns = if terminal { text::terminal_size().1 } else { 120 };
        text::print(&match args.json {
            true => pretty(&catalog.tools().iter().map(|tool| tools_view::as_json(tool)).collect()),
            false => tools_view::list(&catalog, columns, paint),
        });
        if !catalog.warnings().is_empty() {
            say_problems(catalog.warnings(), &Texts::default(), Paint::choose(color, text::stderr_is_terminal()));
        }
        return Ok(ExitCode::SUCCESS);
    };
    let tool = load::tool(&catalog, name)?;
    text::print(&match args.json {
        true => pretty(&tools_view::as_json(tool)),
        false => tools_view::one(tool, paint),
    });
    Ok(ExitCode::SUCCESS)
}

fn schema(args: &SchemaArgs) -> ExitCode {
    text::print(&pretty(&match args.of {
        SchemaOf::Plan => fanout::plan::plan_schema(),
        SchemaOf::Toolbox => fanout::plan::toolbox_schema(),
        SchemaOf::Report => schemars::schema_for!(fanout::Report).to_value(),
        SchemaOf::Events => schemars::schema_for!(fanout::RunEvent).to_value(),
    }));
    ExitCode::SUCCESS
}

fn completions(shell: clap_complete::Shell) -> ExitCode {
    let mut script = Vec::new();
    // Without what is hidden: nobody types it.
    clap_complete::generate(shell, &mut visible(&Cli::command()), "fanout", &mut script);
    text::print(&String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}

/// The command without its hidden parts.
fn visible(command: &clap::Command) -> clap::Command {
    let parts: Vec<clap::Command> = command.get_subcommands().filter(|c| !c.is_hide_set()).cloned().collect();
    let arguments: Vec<clap::Arg> = command.get_arguments().cloned().collect();
    clap::Command::new("fanout")
        .about(command.get_about().cloned().unwrap_or_default())
        .args(arguments)
        .subcommands(parts)
}

fn pretty(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}
