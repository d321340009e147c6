//! A toolbox that lives elsewhere (`Remote`): what its server offers beside tools, and what changes.
//! It does not know a protocol: requests and answers are texts.

use crate::peer::{AnswerFuture, Peer, PeerRequest};
use crate::tool::JsonText;
use crate::toolbox::Toolbox;
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc};

/// The server behind a toolbox, for a face that hands on what is no tool: resources, prompts, completions.
pub trait Remote: Send + Sync + 'static {
    /// What it said of itself when it was connected to: `capabilities`, `serverInfo`, `instructions`, as the object
    /// that MCP's `initialize` (or `server/discover`) answers with.
    fn introduction(&self) -> JsonText;

    /// Makes one request (`resources/read`, `prompts/get`, …) and gives its result. What the server asks or tells
    /// meanwhile reaches `peer`. Dropping the future cancels the request.
    fn request(&self, request: PeerRequest, peer: Option<Arc<dyn Peer>>) -> AnswerFuture;

    /// What the server tells outside any request from now on (`notifications/resources/updated`, …), method and
    /// parameters. Who does not listen misses the oldest.
    fn notices(&self) -> broadcast::Receiver<PeerRequest>;
}

/// What makes a toolbox one that changes and that offers more than tools.
pub struct Live {
    /// Its server.
    pub server: Arc<dyn Remote>,
    /// The whole toolbox again, each time its tools have changed.
    pub updates: mpsc::Receiver<Toolbox>,
}
