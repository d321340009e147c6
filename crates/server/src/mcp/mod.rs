//! MCP as a server: any client sees all tools of an engine, over a pipe or over HTTP.
//! It does not know how a call is made or when it starts.

mod calls;
mod client;
mod hello;
mod http;
mod listing;
mod notices;
mod outlet;
mod passing;
mod peer;
mod results;
mod rounds;
mod session;
mod stdio;
mod wire;

use crate::own::{Listed, OwnTools};
use fanout::Engine;
use notices::Notices;
use std::future::Future;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

pub use http::new_token;

/// Which tools clients see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expose {
    /// All of them, and the gateway's own.
    #[default]
    All,
    /// The gateway's own, which find the others and call them: for a client that would be given too many.
    Find,
}

/// One MCP server in front of an engine. Cheap to share; all its clients share the engine.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use fanout::{Engine, Native};
/// use fanout_server::{Expose, Gateway};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// let mut math = Native::new("math");
/// math.add("double", "Doubles a number.", |n: std::collections::BTreeMap<String, i64>| async move { Ok(n["n"] * 2) });
/// let engine = Engine::builder().toolbox(math.into()).build().expect("a good toolbox");
/// let gateway = Gateway::new(engine, Expose::All);
///
/// let (mut client, server) = tokio::io::duplex(1 << 16);
/// let (read, write) = tokio::io::split(server);
/// let served = tokio::spawn(async move { gateway.serve(read, write, std::future::pending()).await });
/// client.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n").await.expect("a pipe");
/// let mut answer = [0; 36];
/// client.read_exact(&mut answer).await.expect("an answer");
/// assert_eq!(answer, *b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}");
/// drop(client);
/// served.await.expect("it ends with its client").expect("without an error");
/// # }
/// ```
pub struct Gateway {
    engine: Engine,
    own: OwnTools,
    own_tools: Vec<Listed>,
    expose: Expose,
    notices: Notices,
}

impl Gateway {
    /// In front of this engine.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn new(engine: Engine, expose: Expose) -> Arc<Gateway> {
        let own = OwnTools::new(engine.clone());
        let own_tools = own.list();
        let notices = Notices::of(&engine);
        Arc::new(Gateway { engine, own, own_tools, expose, notices })
    }

    /// Serves one client that writes lines and reads lines, until it ends or `stop` does. Then what it began is
    /// aborted, and this returns when that has ended.
    ///
    /// # Errors
    /// When what the client writes cannot be read for another reason than its end.
    pub async fn serve(
        self: Arc<Gateway>,
        read: impl AsyncRead + Send + Unpin,
        write: impl AsyncWrite + Send + Unpin + 'static,
        stop: impl Future<Output = ()> + Send,
    ) -> std::io::Result<()> {
        stdio::serve(self, read, write, stop).await
    }

    /// Serves any number of clients over streamable HTTP at the path `/mcp`, until `stop` ends. Then what they began is
    /// aborted, and this returns when that has ended. Each request must bring `token`; `None`: whoever reaches the
    /// address may ask.
    ///
    /// # Errors
    /// When the listener fails.
    ///
    /// # Panics
    /// Without a token on an address that other machines can reach.
    pub async fn serve_http(
        self: Arc<Gateway>,
        listener: TcpListener,
        token: Option<String>,
        stop: impl Future<Output = ()> + Send,
    ) -> std::io::Result<()> {
        http::serve(self, listener, token, stop).await
    }

    /// Whether the gateway has a tool of its own of this name.
    fn is_own(&self, name: &str) -> bool {
        self.own_tools.iter().any(|own| *own.name == *name)
    }
}
