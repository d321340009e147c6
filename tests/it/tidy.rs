//! The rules of the repository that no compiler checks: layers, first lines, lengths, words, paths and pages.
//! It does not know what the code does.

use fanout_tests::root;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Which of our packages a crate may name, as in ARCHITECTURE.md. Arrows go down only.
const LAYERS: &[(&str, &[&str])] = &[
    ("plan", &[]),
    ("core", &["fanout-plan"]),
    ("store", &["fanout-plan", "fanout-core"]),
    ("tools", &["fanout-plan"]),
    ("engine", &["fanout-plan", "fanout-core", "fanout-store", "fanout-tools"]),
    ("server", &["fanout-plan", "fanout"]),
    ("cli", &["fanout", "fanout-server"]),
];

/// What must not be named in a crate, because its promise forbids it.
const BANNED: &[(&str, &[&str])] = &[
    (
        "plan",
        &[
            "std::fs",
            "std::net",
            "std::process",
            "std::thread",
            "Instant",
            "SystemTime",
            "tokio",
            "async fn",
            "println!",
        ],
    ),
    (
        "core",
        &[
            "std::fs",
            "std::net",
            "std::process",
            "std::thread",
            "Instant",
            "SystemTime",
            "tokio",
            "async fn",
            "println!",
            "Mutex",
            "RwLock",
            "RefCell",
            "serde",
            "std::collections::HashMap",
            "std::collections::HashSet",
            "rand::",
        ],
    ),
    ("store", &["std::net", "Instant", "SystemTime", "tokio", "async fn", "println!", "eprintln!"]),
    ("tools", &["fanout_core", "fanout_store", "println!"]),
    ("engine", &["axum", "clap", "println!", "eprintln!"]),
    ("server", &["fanout_core", "fanout_store", "fanout_tools", "clap", "println!", "eprintln!"]),
    ("cli", &["fanout_core", "fanout_store", "fanout_tools", "fanout_plan", " println!", "eprintln!"]),
];

/// Words that say nothing; names of types have better ones. Each exemption has its reason.
const EMPTY_WORDS: &[&str] = &["Task", "Job", "Step", "Node", "Workflow", "Manager", "Helper", "Util"];
const WORD_EXEMPTIONS: &[(&str, &str)] = &[
    ("crates/plan/src/node.rs", "a node of a YAML or JSON document, not of a plan"),
    ("crates/plan/src/path.rs", "a step of a path into a value, not of a plan"),
    ("crates/core/src/keys.rs", "a node of the tree of keys, not of a plan"),
    ("crates/core/src/sim/cells.rs", "a node of the simulated store's tree, not of a plan"),
    ("benches/src/eval/nestful_reading.rs", "a step of a path into a value, not of a plan"),
];

/// Files longer than this are not read.
const LINES_MAX: usize = 800;
const LENGTH_EXEMPTIONS: &[(&str, &str)] = &[];

#[test]
fn crates_depend_downward_only() {
    let mut wrong = Vec::new();
    for (name, allowed) in LAYERS {
        let manifest = read(&root().join(format!("crates/{name}/Cargo.toml")));
        for dependency in dependencies(&manifest) {
            if dependency.starts_with("fanout") && !allowed.contains(&dependency.as_str()) {
                wrong.push(format!("crates/{name} depends on {dependency}"));
            }
        }
        for file in rust_files(&format!("crates/{name}")) {
            let text = read(&file);
            for ours in ["fanout_plan", "fanout_core", "fanout_store", "fanout_tools", "fanout_server"] {
                let named = text.lines().any(|line| code(line).contains(&format!("{ours}::")));
                if named && !allowed.contains(&ours.replace('_', "-").as_str()) && **name != ours[7..] {
                    wrong.push(format!("{} names {ours}", short(&file)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn crates_do_not_do_what_they_promise_not_to() {
    let mut wrong = Vec::new();
    for (name, words) in BANNED {
        for file in rust_files(&format!("crates/{name}/src")) {
            for (number, line) in read(&file).lines().enumerate() {
                for word in words.iter().filter(|word| is_named(code(line), word)) {
                    wrong.push(format!("{}:{}: {word}", short(&file), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The library for MCP is large, and changes: what is ours is not made of its types.
#[test]
fn rmcp_is_named_where_mcp_is_spoken_only() {
    let places = ["crates/tools/src/mcp/", "crates/server/src/mcp/", "crates/tools/tests/", "crates/server/tests/"];
    let mut wrong = Vec::new();
    for (name, _) in LAYERS {
        for file in rust_files(&format!("crates/{name}")) {
            let short = short(&file);
            if places.iter().any(|place| short.starts_with(place)) {
                continue;
            }
            let text = read(&file);
            wrong.extend(text.lines().any(|line| code(line).contains("rmcp::")).then_some(short));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_say_what_they_are_for_and_what_they_do_not_know() {
    let mut wrong = Vec::new();
    for file in all_rust_files() {
        let text = read(&file);
        let mut lines = text.lines();
        let two = [lines.next().unwrap_or(""), lines.next().unwrap_or("")];
        if !two.iter().all(|line| line.starts_with("//! ") && line.len() > 12) {
            wrong.push(short(&file));
        }
    }
    assert!(wrong.is_empty(), "the first two lines are not `//! …`: {wrong:#?}");
}

#[test]
fn files_can_be_read_in_one_go() {
    let mut wrong = Vec::new();
    for file in all_rust_files() {
        let lines = read(&file).lines().count();
        if lines > LINES_MAX && !LENGTH_EXEMPTIONS.iter().any(|(name, _)| *name == short(&file)) {
            wrong.push(format!("{}: {lines} lines", short(&file)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let architecture = read(&root().join("ARCHITECTURE.md")).lines().count();
    assert!(architecture < 400, "ARCHITECTURE.md has {architecture} lines");
}

#[test]
fn types_have_names_that_say_something() {
    let mut wrong = Vec::new();
    for file in all_rust_files() {
        if WORD_EXEMPTIONS.iter().any(|(name, _)| *name == short(&file)) {
            continue;
        }
        for line in read(&file).lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            for pair in words.windows(2).filter(|pair| ["struct", "enum", "trait"].contains(&pair[0])) {
                let name: String = pair[1].chars().take_while(|c| c.is_alphanumeric()).collect();
                if !line.trim_start().starts_with("//") && EMPTY_WORDS.iter().any(|word| has_word(&name, word)) {
                    wrong.push(format!("{}: {name}", short(&file)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn packages_obey_the_lints_of_the_workspace() {
    let folders = [
        "crates/plan",
        "crates/core",
        "crates/store",
        "crates/tools",
        "crates/engine",
        "crates/server",
        "crates/cli",
        "tests",
        "benches",
        "xtask",
    ];
    for folder in folders {
        let manifest = read(&root().join(folder).join("Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{folder}");
        assert!(manifest.contains("\ndescription = "), "{folder}");
    }
}

#[test]
fn paths_named_in_documents_exist() {
    let mut wrong = Vec::new();
    for file in files_with("md", root()) {
        for (number, line) in read(&file).lines().enumerate() {
            for path in named_paths(line) {
                let beside = file.parent().unwrap_or(root()).join(&path);
                if !beside.exists() && !root().join(&path).exists() {
                    wrong.push(format!("{}:{}: {path}", short(&file), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "documents name what is not there: {wrong:#?}");
}

#[test]
fn every_error_code_has_a_page_and_every_page_a_code() {
    let pages: BTreeSet<String> = files_with("md", &root().join("docs/errors"))
        .iter()
        .filter_map(|file| Some(file.file_stem()?.to_str()?.to_string()))
        .filter(|name| name != "README")
        .collect();
    let mut codes = BTreeSet::new();
    let mut literals = BTreeSet::new();
    for name in ["plan", "store", "tools", "engine", "server"] {
        for file in rust_files(&format!("crates/{name}/src")) {
            let text = read(&file);
            // Tests stand at the end of their files and name codes that do not exist.
            let text = text.split("#[cfg(test)]").next().unwrap_or("");
            codes_in(text, &mut codes);
            for reasons in text.split("let (code, message) = match").skip(1) {
                let arms = reasons.split("};").next().unwrap_or("");
                let arms = arms.split_whitespace().collect::<Vec<_>>().join(" ");
                codes_in(&arms.replace("=> { (", "=> (").replace("=> (", "code("), &mut codes);
            }
            literals.extend(text.split('"').filter(|word| is_code(word)).map(str::to_string));
        }
    }
    assert!(codes.len() > 20, "the codes were not found: {codes:?}");
    let without_page: Vec<&String> = codes.difference(&pages).collect();
    assert!(without_page.is_empty(), "codes without a page docs/errors/<code>.md: {without_page:?}");
    let without_code: Vec<&String> = pages.difference(&literals).collect();
    assert!(without_code.is_empty(), "pages whose code nothing gives: {without_code:?}");
    for page in &pages {
        let text = read(&root().join(format!("docs/errors/{page}.md")));
        assert!(
            text.starts_with(&format!("# {page}\n")) || text.starts_with(&format!("# `{page}`\n")),
            "title of {page}.md"
        );
        assert!(text.lines().count() >= 5, "{page}.md says too little");
    }
}

/// `UPDATE_EXPECT=1` writes it anew.
#[test]
fn the_index_of_errors_is_up_to_date() {
    let mut index = String::from(
        "# Errors\n\nEvery error has a code that stays the same. `fanout explain CODE` prints its page.\n\n| code | what it means |\n|---|---|\n",
    );
    for file in files_with("md", &root().join("docs/errors")) {
        let code = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_string();
        if code != "README" {
            let page = read(&file);
            let first = page.lines().skip(1).find(|line| !line.trim().is_empty()).unwrap_or("");
            let sentence = first.split_inclusive(". ").next().unwrap_or(first).trim().replace('|', "\\|");
            index.push_str(&format!("| [`{code}`]({code}.md) | {sentence} |\n"));
        }
    }
    let path = root().join("docs/errors/README.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &index).unwrap();
    }
    assert!(read(&path) == index, "run: UPDATE_EXPECT=1 cargo test -p fanout-tests the_index_of_errors");
}

#[test]
fn the_checks_can_fail() {
    assert!(is_named("let x = std::fs::read(y);", "std::fs"));
    assert!(!is_named("let x = Instantly;", "Instant"));
    assert!(is_named("Instant::now()", "Instant"));
    assert_eq!(code("let x = 1; // Mutex"), "let x = 1; ");
    assert!(has_word("TaskQueue", "Task") && !has_word("Multitasking", "Task"));
    assert_eq!(
        named_paths("see `crates/core/src/nothing.rs` and [x](docs/no.md#a)"),
        ["crates/core/src/nothing.rs", "docs/no.md"]
    );
    let mut codes = BTreeSet::new();
    codes_in(
        "Diagnostic::error(\n  \"some_code\", x); E { code: \"other_code\", y }; .error(&at, \"third_code\", format!())",
        &mut codes,
    );
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), ["other_code", "some_code", "third_code"]);
    assert_eq!(
        dependencies("[dependencies]\nfanout-core.workspace = true\n[dev-dependencies]\nfanout.workspace = true"),
        ["fanout-core"]
    );
}

/// The codes given in a source text: literals that stand where codes stand.
fn codes_in(text: &str, codes: &mut BTreeSet<String>) {
    const FIRST: &[&str] = &["error(", "code: ", "code(", "problem(", "not_reached(", "Bad::new(", "refuse("];
    const SECOND: &[&str] = &[".error(", ".error_at_key(", ".warning("];
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for rest in FIRST.iter().flat_map(|before| flat.split(before).skip(1)) {
        let literal = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
        codes.extend(literal.filter(|word| is_code(word)).map(str::to_string));
    }
    // Behind the place, which may be named by fields: `.error(&at.field("tool"), "unknown_tool", …)`.
    let mut parts = flat.split(".field(\"");
    let mut flat = parts.next().unwrap_or("").to_string();
    parts.for_each(|part| flat.push_str(part.split_once("\")").map_or("", |(_, rest)| rest)));
    for rest in SECOND.iter().flat_map(|before| flat.split(before).skip(1)) {
        let mut pieces = rest.split('"');
        let is_second = pieces.next().is_some_and(|first| first.trim_end().ends_with(','));
        codes.extend(pieces.next().filter(|word| is_second && is_code(word)).map(str::to_string));
    }
}

fn is_code(word: &str) -> bool {
    word.len() > 3
        && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && word.starts_with(|c: char| c.is_ascii_lowercase())
}

/// The names in `[dependencies]`, not in `[dev-dependencies]`.
fn dependencies(manifest: &str) -> Vec<String> {
    let section = manifest.split("\n[").find(|part| part.trim_start_matches('[').starts_with("dependencies]"));
    section
        .unwrap_or("")
        .lines()
        .skip(1)
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_string)
        .collect()
}

/// A line without its comment.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or("")
}

/// Whether a word stands in a line as a name of its own.
fn is_named(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let first = word.chars().next();
        let last = word.chars().next_back();
        !(joins(before) && joins(first) || joins(after) && joins(last))
    })
}

/// Whether a CamelCase name has this word in it.
fn has_word(name: &str, word: &str) -> bool {
    name.match_indices(word).any(|(at, _)| !name[at + word.len()..].starts_with(|c: char| c.is_lowercase()))
}

/// The paths of this repository that a line of a document names: in backquotes, or as the target of a link.
fn named_paths(line: &str) -> Vec<String> {
    const FOLDERS: &[&str] = &["crates/", "docs/", "tests/", "examples/", "xtask/", "benches/", ".ci/"];
    let quoted = line.split('`').skip(1).step_by(2).flat_map(str::split_whitespace);
    let quoted = quoted.filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)));
    let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let links = links.filter(|link| !link.contains("://") && !link.starts_with('#') && !link.starts_with("mailto:"));
    let is_path = |path: &&str| !path.contains(['*', '<', '$', '{', '…', '|']) && !path.is_empty();
    quoted
        .chain(links)
        .map(|path| path.split('#').next().unwrap_or(""))
        .map(|path| path.trim_end_matches([',', '.', ':', ';']))
        .filter(is_path)
        .map(str::to_string)
        .collect()
}

fn all_rust_files() -> Vec<PathBuf> {
    ["crates", "tests", "benches", "xtask"].iter().flat_map(|folder| rust_files(folder)).collect()
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    files_with("rs", &root().join(folder))
}

/// The files with this extension below a folder, sorted; not those that are built or hidden.
fn files_with(extension: &str, folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && name != "corpus" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
