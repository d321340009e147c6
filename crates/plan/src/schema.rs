//! JSON Schemas of plan and toolbox files, for editors and models.
//! They are written by hand, since the readers work on values with places and not on types; tests hold both together.

use serde_json::Value;

/// The JSON Schema of a plan file.
pub fn plan_schema() -> Value {
    parse(include_str!("schema/plan.json"))
}

/// The JSON Schema of a toolbox file.
pub fn toolbox_schema() -> Value {
    let mut schema = parse(include_str!("schema/toolbox.json"));
    // Tools and their settings are the same in both.
    schema["$defs"] = plan_schema()["$defs"].take();
    schema
}

fn parse(text: &str) -> Value {
    // The texts are part of this crate and read in its tests.
    serde_json::from_str(text).unwrap_or_default()
}
