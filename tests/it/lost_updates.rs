//! Many edits of one file and of many files in one plan: every edit is there, and what may run at once does.
//! It does not know how conflicts are found.

use fanout_tests::{Ended, Folder};
use serde_json::Value;

/// An editor as they are: it reads the whole file, takes a moment, and writes the whole file.
const EDIT: &str = "\
text=$(cat \"$1\" 2>/dev/null)
sleep 0.02
printf '%s\\n' \"$text\" \"$2\" > \"$1\"
";

const TOOLS: &str = "
tools:
  edit: {argv: [sh, edit.sh, '${args.path}', '${args.line}'], args: {path: {type: string}, line: {type: string}}, EFFECTS}
  edit_real: {argv: [sh, ../edit.sh, '${args.path}', '${args.line}'], args: {path: {type: string}, line: {type: string}}, cwd: real, EFFECTS}
  names: {argv: [printf, '%s', '${args.path}'], args: {path: {type: string}}, effects: none}
";
const DECLARED: &str = "effects: {writes: ['file:${args.path}']}";

const N: usize = 50;

/// Runs a plan of these calls with an editing tool of these effects.
fn run(folder: &Folder, effects: &str, calls: &str) -> Ended {
    folder.write("edit.sh", EDIT);
    let tools = TOOLS.replace("EFFECTS", effects);
    folder.write("plan.yaml", format!("name: edits\n{tools}\ncalls:\n{calls}"));
    folder
        .fanout(["run", "plan.yaml", "--no-progress", "--limit", "running=16", "--report", "report.json"])
        .with_code(0)
}

/// How many of the edits are in a file, and whether they are in order.
fn edits(folder: &Folder, name: &str) -> (usize, bool) {
    let numbers: Vec<usize> = folder.read(name).lines().filter_map(|l| l.strip_prefix("edit ")?.parse().ok()).collect();
    (numbers.len(), numbers.is_sorted())
}

/// The most calls whose id begins so that ran at one time.
fn together(folder: &Folder, prefix: &str) -> usize {
    let report: Value = serde_json::from_str(&folder.read("report.json")).unwrap();
    let mut moments: Vec<(f64, i32)> = Vec::new();
    for call in report["calls"].as_array().unwrap() {
        if call["id"].as_str().unwrap().starts_with(prefix) {
            moments.push((call["started_ms"].as_f64().unwrap(), 1));
            moments.push((call["ended_ms"].as_f64().unwrap(), -1));
        }
    }
    moments.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let (mut now, mut most) = (0, 0);
    for (_, change) in moments {
        now += change;
        most = most.max(now);
    }
    usize::try_from(most).unwrap()
}

#[test]
fn every_edit_is_there_and_other_files_run_at_once() {
    let folder = Folder::new();
    let calls: String = (0..N)
        .map(|i| {
            format!(
                "  - {{id: one_{i}, tool: edit, args: {{path: shared, line: edit {i}}}}}\n  - {{id: own_{i}, tool: edit, args: {{path: own/{i}, line: edit {i}}}}}\n"
            )
        })
        .collect();
    folder.write("own/.keep", "");
    run(&folder, DECLARED, &calls);
    assert_eq!(edits(&folder, "shared"), (N, true));
    for i in 0..N {
        assert_eq!(edits(&folder, &format!("own/{i}")), (1, true));
    }
    assert_eq!(together(&folder, "one_"), 1);
    assert!(together(&folder, "own_") >= 4, "the others ran one by one: {}", together(&folder, "own_"));
}

#[test]
fn paths_that_come_from_references() {
    let folder = Folder::new();
    let mut calls = String::from("  - {id: name, tool: names, args: {path: shared}}\n");
    for i in 0..N {
        // Half of the paths are known from the start, half only when `name` has its result.
        let path = if i % 2 == 0 { "'${name}'" } else { "shared" };
        calls.push_str(&format!("  - {{id: one_{i}, tool: edit, args: {{path: {path}, line: edit {i}}}}}\n"));
    }
    run(&folder, DECLARED, &calls);
    assert_eq!(edits(&folder, "shared"), (N, true));
    assert_eq!(together(&folder, "one_"), 1);
}

#[test]
fn paths_of_many_spellings_and_through_links() {
    let folder = Folder::new();
    folder.write("real/shared", "");
    std::os::unix::fs::symlink("real", folder.path("link")).unwrap();
    std::os::unix::fs::symlink("real/shared", folder.path("alias")).unwrap();
    let absolute = folder.path("real/shared").display().to_string();
    // The last one is relative to where its tool works.
    let spellings = [
        ("edit", "real/shared"),
        ("edit", "./real/../real/shared"),
        ("edit", "link/shared"),
        ("edit", "alias"),
        ("edit", absolute.as_str()),
        ("edit_real", "shared"),
    ];
    let mut calls = String::new();
    for i in 0..N {
        let (tool, path) = spellings[i % spellings.len()];
        calls.push_str(&format!("  - {{id: one_{i}, tool: {tool}, args: {{path: {path}, line: edit {i}}}}}\n"));
    }
    run(&folder, DECLARED, &calls);
    assert_eq!(edits(&folder, "real/shared"), (N, true));
    assert_eq!(together(&folder, "one_"), 1);
}

#[test]
fn elements_of_a_foreach() {
    let folder = Folder::new();
    folder.write("edit.sh", EDIT);
    folder.write(
        "plan.yaml",
        format!(
            "name: edits\n{}\n  numbers: {{argv: [seq, '{N}'], stdout: lines, effects: none}}\ncalls:
  - {{id: n, tool: numbers}}
  - {{id: one, tool: edit, foreach: '${{n}}', args: {{path: shared, line: 'edit ${{item}}'}}}}
  - {{id: own, tool: edit, foreach: '${{n}}', args: {{path: 'own-${{item}}', line: 'edit ${{item}}'}}}}",
            TOOLS.replace("EFFECTS", DECLARED)
        ),
    );
    folder.fanout(["run", "plan.yaml", "--no-progress", "--report", "report.json"]).with_code(0);
    assert_eq!(edits(&folder, "shared"), (N, true));
    assert!(together(&folder, "own[") >= 4);
}

/// Without declared effects the same edits must be lost, or the tests above show nothing.
#[test]
fn without_effects_edits_are_lost() {
    let folder = Folder::new();
    let calls: String =
        (0..N).map(|i| format!("  - {{id: one_{i}, tool: edit, args: {{path: shared, line: edit {i}}}}}\n")).collect();
    run(&folder, "effects: none", &calls);
    assert!(edits(&folder, "shared").0 < N, "no edit was lost although nothing was declared");
    assert!(together(&folder, "one_") >= 4);
}
