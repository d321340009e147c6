//! `fanout tools login`: a person lets fanout in at an MCP server, once.
//! It does not know how: the server and its authorisation server say that.

use crate::args::{LoginArgs, When};
use crate::load::{self, Refused};
use crate::text::{self, Paint};
use fanout::plan::{McpTransport, ToolSource};
use std::process::{Command, ExitCode, Stdio};

/// Opens a browser where the server asks for that, and lists its tools.
pub(crate) async fn main(args: &LoginArgs, color: When) -> Result<ExitCode, Refused> {
    let (toolboxes, texts) = load::declared(&args.tools)?;
    let named = toolboxes.into_iter().find(|toolbox| *toolbox.spec.name == *args.server);
    let Some(toolbox) = named else {
        return Err(Refused::Usage(format!("there is no toolbox `{}`", args.server)));
    };
    let at_url = match &toolbox.source {
        Some(ToolSource::Mcp(source)) => matches!(source.transport, McpTransport::Http(_)),
        _ => false,
    };
    if !at_url {
        return Err(Refused::Usage(format!("`{}` is not an MCP server at a URL", args.server)));
    }
    let opener = load::opener().with_person(|url| {
        text::say(&format!("Let fanout in here:\n  {}\n", text::line(url)));
        browse(url);
    });
    match opener.open(toolbox).await {
        Ok(toolbox) => {
            let paint = Paint::choose(color, text::stderr_is_terminal());
            let tools = text::count(toolbox.tools.len(), "tool");
            text::say(&format!("{} {}: {tools}\n", paint.green("✓"), paint.bold(&text::line(&args.server))));
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => Err(Refused::Invalid(problems, texts)),
    }
}

/// Opens a URL in a browser, if there is one.
fn browse(url: &str) {
    let own = std::env::var_os("BROWSER").filter(|browser| !browser.is_empty());
    let program = own.unwrap_or_else(|| if cfg!(target_os = "macos") { "open" } else { "xdg-open" }.into());
    let mut command = Command::new(program);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Without one the person opens what is printed.
    if let Ok(mut browser) = command.spawn() {
        std::thread::spawn(move || browser.wait());
    }
}
