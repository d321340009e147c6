//! Lists the pages of docs/errors, so that `fanout explain` has them inside the binary.
//! It does not know what they say.

use std::fmt::Write as _;
use std::path::Path;

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".md").map(str::to_string))
        .filter(|name| name != "README")
        .collect();
    names.sort();
    let mut code = String::from("pub(crate) const PAGES: &[(&str, &str)] = &[\n");
    for name in names {
        let path = folder.join(format!("{name}.md"));
        let _ = writeln!(code, "    ({name:?}, include_str!({:?})),", path.display().to_string());
    }
    code.push_str("];\n");
    let out = std::env::var_os("OUT_DIR").unwrap_or_default();
    if let Err(error) = std::fs::write(Path::new(&out).join("pages.rs"), code) {
        println!("cargo:error=cannot write the list of pages: {error}");
    }
}
