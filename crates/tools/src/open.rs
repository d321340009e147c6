//! Makes toolboxes that can be called out of what files declare (`Opener`).
//! It does not know how any kind of tool is called.

use crate::http::Connections;
use crate::mcp::Servers;
use crate::process::{ProcessOptions, Processes};
use crate::tool::{Aborted, Attempt, AttemptId, Progress, Tool};
use crate::toolbox::Toolbox;
use fanout_plan::openapi::{DocumentPlace, OpenApiSource, import};
use fanout_plan::{AdapterSpec, DeclaredToolbox, Diagnostic, READ_BYTES_MAX, ToolSource, ToolboxSpec};
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

/// Opens the toolboxes of one engine: what they share (processes, connections) is here.
#[derive(Clone)]
pub struct Opener {
    processes: Processes,
    connections: Connections,
    servers: Servers,
}

impl Opener {
    /// With these options for the process tools, and the same directory for large results of all tools.
    pub fn new(options: ProcessOptions) -> Opener {
        let connections = Connections::new(&options.spill_dir);
        let processes = Processes::new(options);
        let servers = Servers::new(processes.clone(), connections.clone());
        Opener { connections, processes, servers }
    }

    /// The same, with a person who can let fanout in at MCP servers: `show` is given the URL at which, and the person's
    /// browser comes back to this machine.
    pub fn with_person(self, show: impl Fn(&str) + Send + Sync + 'static) -> Opener {
        Opener { servers: self.servers.with_person(Arc::new(show)), ..self }
    }

    /// The same, with the tokens of MCP servers kept in this directory instead of the default one (`mcp` in
    /// `$FANOUT_STATE`, or in fanout's directory for what lasts).
    pub fn with_tokens(self, dir: &std::path::Path) -> Opener {
        Opener { servers: self.servers.with_tokens(dir), ..self }
    }

    /// Ends the servers of all its toolboxes politely, and waits for that as [`Opener::closed`] does. Their tools find
    /// none any more.
    pub async fn close(&self) {
        self.servers.close().await;
    }

    /// Waits until the servers of toolboxes that are gone have ended politely, some seconds at most. What has not by
    /// then is killed with the last of the opener and its tools.
    pub async fn closed(&self) {
        self.servers.closed().await;
    }

    /// Makes the adapter of each declared tool.
    ///
    /// # Errors
    /// What keeps a toolbox from being opened.
    pub async fn open(&self, declared: DeclaredToolbox) -> Result<Toolbox, Vec<Diagnostic>> {
        let declared = match declared.source {
            Some(ToolSource::Mcp(source)) => return self.servers.open(declared.spec, *source).await,
            Some(ToolSource::OpenApi(source)) => self.imported(declared.spec, &source).await?,
            None => declared,
        };
        let DeclaredToolbox { mut spec, adapters, .. } = declared;
        for (tool, adapter) in spec.tools.iter_mut().zip(&adapters) {
            tool.version.get_or_insert_with(|| version(adapter));
            if let AdapterSpec::Http(http) = adapter {
                tool.facts = http.facts();
            }
        }
        let tools = adapters.into_iter().map(|adapter| self.tool(adapter)).collect::<Result<_, _>>()?;
        Ok(Toolbox::new(spec, tools))
    }

    /// The tools of an OpenAPI document.
    async fn imported(&self, spec: ToolboxSpec, source: &OpenApiSource) -> Result<DeclaredToolbox, Vec<Diagnostic>> {
        let (name, bytes) = match &source.document {
            DocumentPlace::File(path) => (path.display().to_string(), read(path.clone()).await),
            DocumentPlace::Url(url) => {
                let fetched = self.fetched(url, source).await;
                (told(url), fetched.map_err(|why| why.replace(url, &told(url))))
            }
        };
        let bytes = bytes.map_err(|why| {
            let message = format!("the document of the toolbox `{}` cannot be read: `{name}`: {why}", spec.name);
            let help = format!("where it is stands in `openapi` of `[toolbox.{}]`", spec.name);
            vec![Diagnostic::error("openapi_unreadable", message).with_help(help)]
        })?;
        // Of a large document this takes a while: others go on.
        let source = source.clone();
        let made = tokio::task::spawn_blocking(move || import(&name, &bytes, spec, &source)).await;
        made.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// The bytes of a document that is fetched, by the ways and to the hosts that its toolbox allows.
    async fn fetched(&self, url: &str, source: &OpenApiSource) -> Result<Vec<u8>, String> {
        let tool = self.connections.tool(source.request(url)?);
        let tool =
            tool.map_err(|wrong| wrong.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("; "))?;
        let attempt = Attempt {
            args: serde_json::value::to_raw_value(&serde_json::Map::new()).map_err(|error| error.to_string())?.into(),
            id: AttemptId { run: "document".into(), call: "openapi".into(), attempt: 1 },
            aborted: Aborted::new(),
            progress: Progress::none(),
            peer: None,
        };
        let output = tool.call(attempt).await.map_err(|error| match error.code {
            "output_too_large" => format!("it has more than {READ_BYTES_MAX} bytes, the most that are read"),
            _ => error.message,
        })?;
        serde_json::from_str::<String>(output.value.get()).map(String::into_bytes).map_err(|error| error.to_string())
    }

    fn tool(&self, adapter: AdapterSpec) -> Result<Arc<dyn Tool>, Vec<Diagnostic>> {
        match adapter {
            AdapterSpec::Process(process) => Ok(self.processes.tool(*process)),
            AdapterSpec::Http(http) => self.connections.tool(*http),
        }
    }
}

/// A URL for messages: without what may prove who is asking.
fn told(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    match bare.split_once("://") {
        // A password may hold anything, `/` too.
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, place)| place)),
        None => bare.to_owned(),
    }
}

/// A hash of how a tool is called.
fn version(adapter: &AdapterSpec) -> Arc<str> {
    // Written from memory, and of texts and numbers only.
    let text = serde_json::to_vec(adapter).unwrap_or_default();
    blake3::hash(&text).to_hex()[..16].into()
}

/// The bytes of a file; hardly more than a document may have.
async fn read(path: PathBuf) -> Result<Vec<u8>, String> {
    let read = move || {
        let mut bytes = Vec::new();
        let most = u64::try_from(READ_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
        std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(bytes) => bytes.map_err(|error: std::io::Error| error.to_string()),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
