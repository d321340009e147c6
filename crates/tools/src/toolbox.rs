//! A toolbox ready for an engine: what its tools are, and for each how it is called.
//! It does not know which adapter a tool has.

use crate::tool::Tool;
use fanout_plan::ToolboxSpec;
use std::sync::Arc;

/// Tools and their adapters, side by side: `tools[i]` calls what `spec.tools[i]` describes.
pub struct Toolbox {
    /// What the tools are.
    pub spec: ToolboxSpec,
    /// How each is called, in the order of `spec.tools`.
    pub tools: Vec<Arc<dyn Tool>>,
}
