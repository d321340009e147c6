//! Plans, references, effects and keys, settings as data, and validation: everything that is known before a run.
//! Pure: no I/O, no clock, no threads. It does not know how anything is run.

mod catalog;
mod condition;
mod diagnostic;
mod effects;
mod fields;
mod nearest;
mod node;
mod order;
mod path;
mod plan;
mod plan_read;
mod process_spec;
mod read;
mod read_json;
mod read_toml;
mod read_yaml;
mod reference;
mod schema;
mod settings_read;
pub mod spec;
mod template;
mod toolbox;
mod toolbox_read;
mod units;
mod valid;
mod valid_args;
mod valid_call;

pub use catalog::{Catalog, CatalogTool, ToolId};
pub use condition::Condition;
pub use diagnostic::{Diagnostic, Place, Severity, Source};
pub use effects::{ArgsView, Effects, KeyTemplate, NamedKey, first_outside};
pub use order::{Cycle, serial_order};
pub use plan::{Call, CallOnFailure, InputSpec, Plan, PlanOnFailure};
pub use process_spec::{ArgTemplate, FillError, ProcessSpec, Stdin, Stdout, TextTemplate};
pub use read::{READ_BYTES_MAX, READ_DEPTH_MAX};
pub use schema::{plan_schema, toolbox_schema};
pub use spec::*;
pub use template::{ReferenceError, Scope, Template};
pub use toolbox::{ProcessToolbox, read_toolbox};
pub use units::{read_duration, read_rate, read_size};
pub use valid::{CALLS_MAX, ELEMENTS_MAX, Needs, ValidCall, ValidPlan};
