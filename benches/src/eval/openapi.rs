//! Real OpenAPI documents: each becomes as many tools as it has operations, and every schema compiles, in a second.
//! It does not know how a document is read: operations are counted by serde_json, or by the lines of a YAML text.

use crate::outcome::Row;
use anyhow::{Context, Result};
use fanout::plan::openapi::{DocumentPlace, OpenApiSource, import};
use fanout::plan::{Catalog, ToolboxSpec};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
/// A document is read, and its tools are compiled, in less.
const TIME_MAX: Duration = Duration::from_secs(1);
/// The quickest of so many.
const ROUNDS: usize = 3;

/// Imports every document of the folder.
pub(crate) fn judge(folder: &Path) -> Result<Vec<Row>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    files.iter().map(|file| document(file)).collect()
}

fn document(file: &Path) -> Result<Row> {
    let name = file.file_name().context("a file has a name")?.to_string_lossy().into_owned();
    let bytes = std::fs::read(file)?;
    let operations = operations(std::str::from_utf8(&bytes)?, name.ends_with(".json"))?;
    let mut row = Row::new(format!("openapi {name}"), "a tool per operation, < 1 s each");
    let source = OpenApiSource::new(DocumentPlace::Url("https://api.example/openapi".into()));
    let (mut imported, mut compiled) = (Duration::MAX, Duration::MAX);
    for round in 0..ROUNDS {
        let toolbox = ToolboxSpec { name: "api".into(), ..ToolboxSpec::default() };
        let start = worked();
        let made = import(&name, &bytes, toolbox, &source);
        imported = imported.min(worked() - start);
        let spec = match made {
            Ok(made) => made.spec,
            Err(problems) => {
                row.require(false, || problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
                return Ok(row);
            }
        };
        let (tools, left_out) = (spec.tools.len(), left_out(&spec));
        let start = worked();
        let catalog = Catalog::new([spec]);
        compiled = compiled.min(worked() - start);
        if round == 0 {
            row.cases = operations;
            row.right = tools.min(operations);
            row.require(tools == operations, || format!("{tools} tools of {operations} operations"));
            row.require(catalog.is_ok(), || catalog.err().map(|wrong| wrong[0].to_string()).unwrap_or_default());
            row.measure("tools", tools as f64);
            row.measure("left out", left_out as f64);
        }
    }
    row.measure("import ms", imported.as_secs_f64() * 1e3);
    row.measure("compile ms", compiled.as_secs_f64() * 1e3);
    row.require(imported < TIME_MAX, || format!("imported in {imported:?}"));
    row.require(compiled < TIME_MAX, || format!("compiled in {compiled:?}"));
    Ok(row)
}

/// How long this thread has had a processor: others on the machine do not count.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// What is said to be no tool, apart from what servers call.
fn left_out(spec: &ToolboxSpec) -> usize {
    let said = spec.warnings.iter().filter(|warning| warning.code == "openapi_left_out");
    said.filter(|warning| !warning.message.contains("it is the server that calls")).count()
}

fn operations(text: &str, is_json: bool) -> Result<usize> {
    if is_json {
        let document: Value = serde_json::from_str(text)?;
        let items = document["paths"].as_object().context("it has no paths")?;
        return Ok(items.values().map(|item| METHODS.iter().filter(|name| item.get(**name).is_some()).count()).sum());
    }
    // Blocks alone, as people write them: `paths:`, below it paths, below these methods.
    let behind = text.lines().skip_while(|line| line.trim_end() != "paths:").skip(1);
    let lines: Vec<&str> = behind.take_while(|line| line.starts_with([' ', '#']) || line.is_empty()).collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let path = lines.iter().find(|line| line.trim_start().starts_with('/')).map_or(2, |line| indent(line));
    let is_method = |line: &&&str| METHODS.iter().any(|name| line.trim() == format!("{name}:"));
    Ok(lines.iter().filter(|line| indent(line) == 2 * path).filter(is_method).count())
}
