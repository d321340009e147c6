//! A disk that fails at any sync, or is full at any write, under the real command: durable runs stop cleanly, what is
//! on disk is read, and goes on. It does not know where the command syncs and writes.

use fanout_tests::{Ended, Folder, root};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

const PLAN: &str = "name: pays
tools:
  pay: {argv: [sh, -c, 'echo $FANOUT_CALL >> ledger; echo \"$1\"', sh, '${args.n}'], args: {n: {type: string}}, effects: {writes: ['db:x']}}
calls:
  - {id: a, tool: pay, args: {n: a}}
  - {id: b, tool: pay, args: {n: 'b ${a}'}}
  - {id: c, tool: pay, args: {n: 'c ${b}'}}
output: '${c}'";

/// More syncs or writes than these runs make.
const FAILURES_MAX: u32 = 400;

/// The shared object that makes a disk fail; `None` where there is no C compiler.
fn bad_disk(folder: &Folder) -> Option<PathBuf> {
    let object = folder.path("bad_disk.so");
    let source = root().join("tests/it/bad_disk.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&object, &source]).args(["-ldl"]).status();
    built.is_ok_and(|status| status.success()).then_some(object)
}

/// A run during which the disk fails from the sync or write numbered `from` on.
fn failing(folder: &Folder, object: &PathBuf, kind: &str, from: u32, state: &str) -> Ended {
    let mut command = folder.command(&["run", "plan.yaml", "--durable", "--state", state]);
    command.env("LD_PRELOAD", object).env("BAD_DISK_DIR", folder.path(state)).env(kind, from.to_string());
    Ended::from(command.output().expect("fanout starts"))
}

/// What is there afterwards, on a disk that is well again.
fn goes_on(folder: &Folder, state: &str, what: &str) {
    let listed = folder.fanout(["runs", "--json", "--state", state]).with_code(0).json();
    let Some(run) = listed.as_array().expect("a list").first() else {
        assert_eq!(folder.read("ledger"), "", "{what}: nothing starts that is not recorded");
        return;
    };
    folder.fanout(["report", "last", "--json", "--state", state]).with_code(0);
    let ended = folder.fanout(["resume", "last", "--report", "report.json", "--state", state]);
    let report: Value =
        serde_json::from_str(&folder.read("report.json")).unwrap_or_else(|_| panic!("{what}: {ended:?}"));
    let ledger = folder.read("ledger");
    for call in report["calls"].as_array().expect("calls") {
        let id = call["id"].as_str().expect("an id");
        let times = ledger.lines().filter(|line| *line == id).count();
        let expected = match call["outcome"].as_str().expect("an outcome") {
            "succeeded" => times == 1,
            "in_doubt" => times <= 1,
            _ => times == 0,
        };
        assert!(expected, "{what}: {id} took effect {times} times\n{call}\n{run}");
    }
    if ended.code == Some(0) {
        assert_eq!(ended.stdout, "\"c b a\"\n", "{what}");
    } else {
        assert!(ledger.lines().count() < 3 || report.to_string().contains("in_doubt"), "{what}: {report}");
    }
}

fn at_each(kind: &str, code: &str, step: usize, fresh: bool) {
    let folder = Folder::with_plan(PLAN);
    let Some(object) = bad_disk(&folder) else { return };
    for (stopped, from) in (1..FAILURES_MAX).step_by(step).enumerate() {
        let (state, what) = (format!("state{from}"), format!("{kind} {from}"));
        if !fresh {
            folder.fanout(["run", "plan.yaml", "--durable", "--state", &state]).with_code(0);
            folder.fanout(["runs", "prune", "--keep", "0", "--state", &state]).with_code(0);
        }
        folder.write("ledger", "");
        let ended = failing(&folder, &object, kind, from, &state);
        assert!(!ended.stderr.contains("panicked"), "{what}: {ended:?}");
        if ended.code == Some(0) && !ended.stderr.contains("could not be recorded") {
            assert!(stopped > 3, "{what} {stopped}");
            return;
        }
        assert!(matches!(ended.code, Some(0 | 2 | 3 | 4)), "{what}: {ended:?}");
        assert!(ended.stderr.contains(code) || ended.stderr.contains("[state_io]"), "{what}: {ended:?}");
        goes_on(&folder, &state, &what);
    }
    panic!("{kind}: it never succeeds");
}

#[test]
fn a_sync_that_fails_stops_the_run_and_it_goes_on() {
    at_each("BAD_DISK_SYNC", "[state_io]", 1, false);
}

#[test]
fn a_disk_that_is_full_stops_the_run_and_it_goes_on() {
    at_each("BAD_DISK_WRITE", "[state_full]", 2, false);
}

#[test]
fn a_disk_that_fails_at_the_first_run_is_told() {
    at_each("BAD_DISK_SYNC", "[state_io]", 1, true);
}
