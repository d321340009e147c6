//! A server as a toolbox: its tools listed, and listed again when they change.
//! It does not know how it is connected to.

use super::list::{Listed, introduction, list};
use super::server::{Server, Servers};
use super::tool::McpTool;
use crate::remote::Live;
use crate::tool::{Tool, ToolError};
use crate::toolbox::Toolbox;
use fanout_plan::{Diagnostic, McpSource, ToolboxSpec};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// How long changes of a list are gathered before it is read again.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// How many lists wait for the engine.
const UPDATES_MAX: usize = 4;

impl Servers {
    /// Starts a server and lists its tools.
    ///
    /// # Errors
    /// Why it could not be started or listed: what it is, how it ended, the last it said.
    pub(crate) async fn open(&self, spec: ToolboxSpec, source: McpSource) -> Result<Toolbox, Vec<Diagnostic>> {
        let server = Server::new(Arc::clone(&spec.name), source, self.clone());
        // Whoever starts it holds it: when nobody waits for the toolbox any more, it is to end all the same.
        let given_up = server.closing.clone().drop_guard();
        let opened = async {
            let link = server.link().await?;
            list(&server, &link, &spec).await.map(|listed| (listed, introduction(&link.info)))
        };
        let connect = server.source.connect;
        // The start has a bound of its own, and so two of them are enough for both.
        let opened = match timeout(connect * 2, opened).await {
            Ok(opened) => opened,
            Err(_) => Err(super::words::not_started(&spec.name, &format!("no tools within {connect:?}"), true)),
        };
        let (listed, introduction) = opened.map_err(|error| vec![diagnostic(&spec.name, &error)])?;
        let (tell, updates) = mpsc::channel(UPDATES_MAX);
        let known = fingerprint(&listed);
        tokio::spawn(follow(Arc::downgrade(&server), spec, known, tell));
        let mut toolbox = toolbox(&server, listed);
        given_up.disarm();
        toolbox.live = Some(Live { server: super::remote::remote(server, introduction), updates });
        Ok(toolbox)
    }
}

/// Why a toolbox cannot be opened.
fn diagnostic(toolbox: &str, error: &ToolError) -> Diagnostic {
    let wrong = Diagnostic::error(error.code, error.message.clone()).with_path(format!("toolbox.{toolbox}"));
    match &error.detail {
        Some(detail) => wrong.with_help(format!("it said:\n{}", super::shown(detail, 2_000))),
        None => wrong,
    }
}

fn toolbox(server: &Arc<Server>, listed: Listed) -> Toolbox {
    let tools = listed.names.into_iter().zip(&listed.spec.tools).map(|(own, spec)| {
        let read_only = match &spec.effects {
            Some(effects) => effects.writes.is_empty(),
            None => spec.hints.is_some_and(|hints| hints.read_only),
        };
        let tool = McpTool { server: Arc::clone(server), own, name: Arc::clone(&spec.name), read_only };
        Arc::new(tool) as Arc<dyn Tool>
    });
    let tools = tools.collect();
    Toolbox::new(listed.spec, tools)
}

/// Tells two lists apart.
fn fingerprint(listed: &Listed) -> Vec<(Arc<str>, Option<Arc<str>>)> {
    listed.spec.tools.iter().map(|tool| (Arc::clone(&tool.name), tool.version.clone())).collect()
}

/// Lists the tools again whenever they may have changed, as long as somebody wants to know.
async fn follow(
    server: Weak<Server>,
    spec: ToolboxSpec,
    mut known: Vec<(Arc<str>, Option<Arc<str>>)>,
    tell: mpsc::Sender<Toolbox>,
) {
    let Some((changed, closing)) = server.upgrade().map(|server| (server.changed.clone(), server.closing.clone()))
    else {
        return;
    };
    loop {
        tokio::select! {
            () = changed.notified() => {}
            () = closing.cancelled() => return,
            () = tell.closed() => return,
        }
        // A server that changes ten tools tells it ten times.
        sleep(DEBOUNCE).await;
        let Some(server) = server.upgrade() else { return };
        let listed = async {
            let link = server.link().await?;
            list(&server, &link, &spec).await
        };
        // What cannot be listed now is as it was; the next call tells why.
        let Ok(Ok(listed)) = timeout(server.source.connect * 2, listed).await else { continue };
        let now = fingerprint(&listed);
        if now == known {
            continue;
        }
        known = now;
        if tell.send(toolbox(&server, listed)).await.is_err() {
            return;
        }
    }
}
