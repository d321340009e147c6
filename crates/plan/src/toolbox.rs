//! Toolboxes of process tools as files declare them (`ProcessToolbox`).
//! It does not know how a process is started.

use crate::diagnostic::Diagnostic;
use crate::process_spec::ProcessSpec;
use crate::spec::ToolboxSpec;

/// A toolbox of process tools.
#[derive(Clone, Debug, Default)]
pub struct ProcessToolbox {
    /// What its tools are.
    pub spec: ToolboxSpec,
    /// How each is called, in the order of `spec.tools`.
    pub processes: Vec<ProcessSpec>,
}

/// Reads a toolbox file (`fanout.toml`): the toolbox `local` of its `[tools.NAME]`, and each `[toolbox.NAME]`.
/// Relative directories in it are relative to the directory in `file_name`.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub fn read_toolbox(file_name: &str, bytes: &[u8]) -> Result<Vec<ProcessToolbox>, Vec<Diagnostic>> {
    crate::toolbox_read::read(file_name, bytes)
}
