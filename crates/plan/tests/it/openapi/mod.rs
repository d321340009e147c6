//! OpenAPI documents: what becomes of them, by rule, whole and hostile.
//! It does not know how requests are sent.

mod hostile;
mod real;
mod rules;

use fanout_plan::openapi::{DocumentPlace, OpenApiSource, import};
use fanout_plan::{DeclaredToolbox, Diagnostic, ToolboxSpec};

/// A document as the toolbox `api`, all at a server of the tests where it names none.
fn imported(document: &str) -> Result<DeclaredToolbox, Vec<Diagnostic>> {
    imported_as(document, &source())
}

fn imported_as(document: &str, source: &OpenApiSource) -> Result<DeclaredToolbox, Vec<Diagnostic>> {
    import("api.yaml", document.as_bytes(), ToolboxSpec { name: "api".into(), ..ToolboxSpec::default() }, source)
}

fn source() -> OpenApiSource {
    OpenApiSource::new(DocumentPlace::Url("https://api.example/docs/api.yaml".into()))
}
