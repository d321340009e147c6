//! The gateway's own tools: running plans, finding tools, reading large results.
//! It does not know MCP's wire, nor which client asks.

use crate::answer::Answer;
use fanout::{Engine, Peer};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A tool as it is listed.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) name: Arc<str>,
    pub(crate) description: String,
    pub(crate) args_schema: Value,
    pub(crate) result_schema: Option<Value>,
    /// MCP's annotations as their JSON object: `readOnlyHint` and its like.
    pub(crate) annotations: Option<Value>,
}

/// The own tools of one gateway. Cheap to clone.
#[derive(Clone)]
pub(crate) struct OwnTools {
    engine: Engine,
}

/// What a call of an own tool may use of who asked.
pub(crate) struct Asked {
    /// Which client: runs and kept results of one are not shown to another.
    pub(crate) session: Arc<str>,
    /// The client, told of progress and asked questions.
    pub(crate) peer: Option<Arc<dyn Peer>>,
}

impl OwnTools {
    /// For the tools of this engine.
    pub(crate) fn new(engine: Engine) -> OwnTools {
        OwnTools { engine }
    }

    /// All own tools, in the order in which they are listed.
    pub(crate) fn list(&self) -> Vec<Listed> {
        Vec::new()
    }

    /// Calls the own tool `name`; `None` when there is none of that name. Dropping the future cancels what it began.
    pub(crate) async fn call(&self, name: &str, args: Map<String, Value>, asked: Asked) -> Option<Answer> {
        let _ = (name, args, asked, &self.engine);
        None
    }
}
