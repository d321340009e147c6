//! The cache on disk through the command: what outlives a process, what another's write ends, what kills leave.
//! It does not know how results are kept.

use fanout_tests::{Folder, until};
use serde_json::Value;

/// `look` says what is in a file and that it was asked; `put` writes one, slowly if told.
const TOOLS: &str = r#"
[tools.look]
argv = ['sh', '-c', 'echo look >> ledger; cat "$1" 2>/dev/null || echo none', 'sh', '${args.file}']
args = {file = {type = 'string'}}
effects = {reads = ['file:${args.file}']}
cache = {scope = 'disk'}

[tools.put]
argv = ['sh', '-c', 'echo put >> ledger; while [ -e hold ]; do sleep 0.01; done; printf %s "$2" > "$1"', 'sh', '${args.file}', '${args.text}']
args = {file = {type = 'string'}, text = {type = 'string'}}
effects = {writes = ['file:${args.file}'], idempotent = true}
"#;

fn folder() -> Folder {
    let folder = Folder::with_plan("{name: look, calls: [{id: r, tool: look, args: {file: a}}], output: '${r}'}");
    folder.write("fanout.toml", TOOLS);
    folder.write("put.yaml", "{name: put, calls: [{id: w, tool: put, args: {file: a, text: new}}]}");
    folder.write("a", "old");
    folder
}

/// What a process prints that looks, and how often the tool was asked for it.
fn look(folder: &Folder, more: &str) -> (String, usize) {
    let before = folder.read("ledger").matches("look").count();
    let ended = folder.fanout(["run", "plan.yaml", "--state", "state", more]).with_code(0);
    (ended.stdout.trim().to_owned(), folder.read("ledger").matches("look").count() - before)
}

fn held(folder: &Folder) -> Value {
    folder.fanout(["cache", "stats", "--json", "--state", "state"]).with_code(0).json()
}

#[test]
fn a_result_outlives_the_process_and_a_write_of_another_ends_it() {
    let folder = folder();
    assert_eq!(held(&folder)["entries"], 0);
    assert_eq!(look(&folder, "--cache-entries=9"), ("\"old\"".into(), 1));
    assert_eq!(look(&folder, "--cache-entries=9"), ("\"old\"".into(), 0));
    let told = folder.fanout(["run", "plan.yaml", "--state", "state", "--report", "r.json"]).with_code(0);
    assert!(told.stderr.contains("; cache: 1 hits"), "{}", told.stderr);
    let report: Value = serde_json::from_str(&folder.read("r.json")).unwrap();
    assert_eq!((&report["cache"]["hits"], &report["cache"]["tools"]["look"]["hits"]), (&1.into(), &1.into()));
    assert_eq!(look(&folder, "--no-cache"), ("\"old\"".into(), 1));
    folder.fanout(["run", "put.yaml", "--state", "state", "--no-cache"]).with_code(0);
    assert_eq!(look(&folder, "--cache-entries=9"), ("\"new\"".into(), 1));
    // One call by itself reads and writes with the others.
    folder.fanout(["call", "put", "--arg", "file=a", "--arg", "text=newer", "--state", "state"]).with_code(0);
    assert_eq!(look(&folder, "--cache-entries=9"), ("\"newer\"".into(), 1));
    let stats = folder.fanout(["cache", "stats", "--state", "state"]).with_code(0);
    assert!(stats.stdout.contains("look"), "{}", stats.stdout);
    assert!(held(&folder)["bytes"].as_u64().unwrap() > 100);
    let cleared = folder.fanout(["cache", "clear", "--tool", "look", "--json", "--state", "state"]).with_code(0);
    assert_eq!(cleared.json()["entries"], 1);
    assert_eq!(look(&folder, "--cache-entries=9"), ("\"newer\"".into(), 1));
}

#[test]
fn a_run_without_a_cache_on_disk_opens_no_database() {
    let folder = folder();
    folder.write("fanout.toml", TOOLS.replace("cache = {scope = 'disk'}", "cache = {scope = 'engine'}"));
    look(&folder, "--cache-entries=9");
    assert!(!folder.path("state").exists());
    let none = folder.fanout(["cache", "clear", "--state", "state"]).with_code(0);
    assert_eq!(none.stdout, "0 results removed, 0 KiB\n");
    assert!(!folder.path("state").exists());
}

/// A process that is killed while it writes: its write is open until somebody finds it dead, and what was there before
/// is not handed out.
#[test]
fn a_write_that_is_killed_leaves_nothing_stale() {
    let folder = folder();
    look(&folder, "--cache-entries=9");
    assert_eq!(held(&folder)["entries"], 1);
    folder.write("hold", "");
    let mut child = folder.start(["run", "put.yaml", "--state", "state"]);
    until("it writes", || folder.read("ledger").contains("put"));
    assert_eq!((&held(&folder)["entries"], &held(&folder)["open_writes"]), (&0.into(), &1.into()));
    // While it writes, others read for themselves, and keep nothing.
    assert_eq!(look(&folder, "--cache-entries=9"), ("\"old\"".into(), 1));
    assert_eq!(held(&folder)["entries"], 0);
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_file(folder.path("hold")).unwrap();
    look(&folder, "--cache-entries=9");
    assert_eq!(held(&folder)["open_writes"], 0);
    look(&folder, "--cache-entries=9");
    assert_eq!(look(&folder, "--cache-entries=9").1, 0);
}
