//! Real documents import whole: as many tools as operations, and every schema compiles.
//! It does not know what the documents are about.

use super::source;
use fanout_plan::openapi::import;
use fanout_plan::{Catalog, DeclaredToolbox, ToolboxSpec};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Instant;

/// Where real documents are, as `cargo xtask eval` looks for them.
fn documents() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/openapi");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: there is no folder {}", folder.display());
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files
}

/// Operations as somebody else counts them.
fn count(text: &str, is_json: bool) -> usize {
    let document: Value = match is_json {
        true => serde_json::from_str(text).expect("it is JSON"),
        false => {
            serde_saphyr::from_str_with_options(text, serde_saphyr::options! { budget: None }).expect("it is YAML")
        }
    };
    let methods = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
    let items = document["paths"].as_object().expect("it has paths").values();
    items.map(|item| methods.iter().filter(|method| item.get(**method).is_some()).count()).sum()
}

#[test]
fn they_import_whole() {
    for file in documents() {
        let name = file.file_name().expect("it is a file").to_string_lossy().into_owned();
        let bytes = std::fs::read(&file).expect("it can be read");
        let start = Instant::now();
        let toolbox = ToolboxSpec { name: "api".into(), ..ToolboxSpec::default() };
        let DeclaredToolbox { spec, adapters, .. } = match import(&name, &bytes, toolbox, &source()) {
            Ok(made) => made,
            Err(problems) => panic!("{name}: {}", problems[0]),
        };
        let imported = start.elapsed();
        for warning in &spec.warnings {
            println!("{warning}");
        }
        let operations = count(&String::from_utf8(bytes).expect("it is text"), name.ends_with(".json"));
        let (tools, warnings) = (spec.tools.len(), spec.warnings.len());
        assert_eq!((tools, adapters.len()), (operations, operations), "{name}");
        let start = Instant::now();
        if let Err(problems) = Catalog::new([spec]) {
            panic!("{name}: {}", problems[0]);
        }
        println!(
            "{name}: {tools} tools, {warnings} warnings, imported in {imported:?}, compiled in {:?}",
            start.elapsed()
        );
    }
}
