//! A hundred parallel edits of ten files by a client of others: through the gateway, and straight to the server.
//! It does not know how the gateway orders them.

use super::{notes, served};
use fanout_tests::{Folder, fanout, peers, root};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

const FILES: usize = 10;
const EDITS: usize = 100;

/// What the client says of its edits when this is its server.
fn edits(folder: &Folder, server: &[String]) -> Value {
    let mut client = Command::new(peers().program("python3"));
    client
        .arg(root().join("tests/mcp/edits.py"))
        .arg(folder.path("files"))
        .args([FILES.to_string(), EDITS.to_string()]);
    let ended = client.arg("--").args(server).env("PATH", peers().path()).current_dir(folder.path("")).output();
    let ended = ended.expect("python starts");
    let told = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{told}\n{}", String::from_utf8_lossy(&ended.stderr));
    serde_json::from_str(told.lines().last().unwrap_or_default()).expect("it tells an object")
}

/// The most files of which a call was at the server at one moment, and the most calls of one file.
fn overlap(notes: &[Value]) -> (usize, usize) {
    let (mut open, mut by_id) = (BTreeMap::<String, usize>::new(), BTreeMap::new());
    let (mut files, mut of_one) = (0, 0);
    for note in notes {
        let id = note["id"].to_string();
        match note["way"].as_str() {
            Some("in") if note["tool"] == "edit_file" => {
                let path = note["path"].to_string();
                *open.entry(path.clone()).or_default() += 1;
                by_id.insert(id, path);
            }
            Some("out") => {
                if let Some(path) = by_id.remove(&id) {
                    *open.entry(path).or_default() -= 1;
                }
            }
            _ => {}
        }
        files = files.max(open.values().filter(|calls| **calls > 0).count());
        of_one = of_one.max(open.values().copied().max().unwrap_or(0));
    }
    (files, of_one)
}

#[test]
fn a_hundred_edits_of_ten_files_are_all_there_and_the_files_go_beside_each_other() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("files")).expect("a folder");
    // Answers are held for a moment, so that it shows what is open at the same time.
    let edit = "[toolbox.files.tools.edit_file]\neffects = { writes = [\"file:${args.path}\"] }";
    folder.write("fanout.toml", served("files").tapped(&folder, "0.02", edit));
    let gateway = [fanout().display().to_string(), "mcp".into(), "--tools".into(), "fanout.toml".into()];
    let told = edits(&folder, &gateway);
    assert_eq!((&told["failed"], &told["lost"], &told["in_order"]), (&0.into(), &0.into(), &true.into()), "{told}");
    let (files, of_one) = overlap(&notes(&folder, "files"));
    assert_eq!((files, of_one), (FILES, 1), "so many files at once, so many calls of one file at once");

    let straight = edits(&folder, &served("files").words(&folder));
    let all: BTreeSet<&str> = BTreeSet::from(["sent", "failed", "lost", "in_order", "first"]);
    assert_eq!(straight.as_object().map(|told| told.keys().map(String::as_str).collect()), Some(all));
    // What is lost depends on the moment: it is reported, not promised.
    println!(
        "{EDITS} edits of {FILES} files: through the gateway 0 lost, straight to the server {} lost",
        straight["lost"]
    );
}
