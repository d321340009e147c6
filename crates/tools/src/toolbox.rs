//! A toolbox ready for an engine: what its tools are, and for each how it is called.
//! It does not know which adapter a tool has.

use crate::remote::Live;
use crate::tool::Tool;
use fanout_plan::ToolboxSpec;
use std::sync::Arc;

/// Tools and their adapters, side by side: `tools[i]` calls what `spec.tools[i]` describes.
pub struct Toolbox {
    /// What the tools are.
    pub spec: ToolboxSpec,
    /// How each is called, in the order of `spec.tools`.
    pub tools: Vec<Arc<dyn Tool>>,
    /// The server it comes from, when there is one.
    pub live: Option<Live>,
}

impl Toolbox {
    /// A toolbox that stays as it is.
    pub fn new(spec: ToolboxSpec, tools: Vec<Arc<dyn Tool>>) -> Toolbox {
        Toolbox { spec, tools, live: None }
    }
}
