//! Durable runs through the command: left by TERM, gone on with, asked about from elsewhere, started once.
//! It does not know how a run is recorded.

use fanout_tests::{Ended, Folder, until};
use rustix::fs::inotify;
use rustix::process::{Pid, Signal, kill_process};

const PLAN: &str = "name: asks
tools:
  say: {argv: [sh, -c, 'echo $FANOUT_CALL >> ledger; echo $1', sh, '${args.n}'], args: {n: {type: string}}, effects: {writes: ['db:x']}}
calls:
  - {id: first, tool: say, args: {n: one}}
  - {id: hold, tool: say, args: {n: two}, approval: always}
output: '${hold}'";

fn runs(folder: &Folder) -> serde_json::Value {
    folder.fanout(["runs", "--json", "--state", "state"]).with_code(0).json()[0].clone()
}

#[test]
fn a_run_left_by_term_waits_and_is_answered_from_elsewhere() {
    let folder = Folder::with_plan(PLAN);
    let child = folder.start(["run", "plan.yaml", "--key", "k", "--state", "state"]);
    until("it waits", || {
        let run = runs(&folder);
        run["state"] == "waiting" && run["calls"]["ended"] == 1
    });
    let run = runs(&folder);
    assert_eq!(run["waits_for"][0]["args"]["n"], "two", "{run}");
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::TERM).unwrap();
    let left = Ended::from(child.wait_with_output().unwrap()).with_code(143);
    assert!(left.stderr.contains("fanout resume"), "{}", left.stderr);
    let again = folder.fanout(["run", "plan.yaml", "--key", "k", "--state", "state"]).with_code(6);
    assert!(again.stderr.contains("was interrupted"), "{}", again.stderr);
    folder.fanout(["approve", "last", "first", "--state", "state"]).with_code(2);
    let edited = ["approve", "last", "hold", "--args", "{\"n\": \"three\"}", "--state", "state"];
    let approved = folder.fanout(edited).with_code(0);
    assert!(approved.stderr.contains("instead with\n    {\n      \"n\": \"three\"\n"), "{}", approved.stderr);
    let plan = folder.read("plan.yaml");
    folder.write("plan.yaml", plan.replace("n: one", "n: other"));
    let changed = folder.fanout(["resume", "last", "--state", "state"]).with_code(6);
    assert!(changed.stderr.contains("`args.n` of the call `first`"), "{}", changed.stderr);
    let ended = folder.fanout(["resume", "last", "--changed", "--state", "state"]).with_code(0);
    assert_eq!(ended.stdout, "\"three\"\n", "{}", ended.stderr);
    folder.write("plan.yaml", plan);
    let told = folder.fanout(["run", "plan.yaml", "--key", "k", "--state", "state"]).with_code(0);
    assert_eq!(told.stdout, "\"three\"\n");
    assert_eq!(folder.read("ledger"), "first\nhold\n");
    let report = folder.fanout(["report", "last", "--json", "--state", "state"]).with_code(0).json();
    assert_eq!(report["outcome"], "succeeded");
    assert!(folder.fanout(["runs", "prune", "--keep", "0", "--state", "state"]).with_code(0).stdout.len() > 30);
    assert!(runs(&folder).is_null());
}

/// Starts a run and kills it while its one call runs.
fn interrupted(folder: &Folder) {
    let mut child = folder.start(["run", "plan.yaml", "--durable", "--tools", "tools.toml", "--state", "state"]);
    until("it runs", || !folder.read("ledger").is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_differs_is_named_field_by_field() {
    let plan = "{name: wait, calls: [{id: w, tool: wait, args: {s: 60}}]}";
    let tool = |more: &str, argv: &str| {
        format!(
            "[tools.wait]\nargv = ['sh', '-c', {argv}, 'sh', '${{args.s}}']\nargs = {{s = {{type = 'integer'}}}}\n\
             effects = {{writes = ['db:x']}}\n{more}"
        )
    };
    let (slow, fast) = ("'echo $FANOUT_CALL >> ledger; sleep $1'", "'echo $FANOUT_CALL >> ledger'");
    let folder = Folder::with_plan(plan);
    folder.write("tools.toml", tool("", slow));
    interrupted(&folder);
    folder.write("tools.toml", tool("description = 'Waits.'\ntimeout = '9s'\n", fast));
    folder.write("plan.yaml", plan.replace("s: 60}}", "s: 1}}, {id: x, tool: wait, args: {s: 1}}"));
    let refused = folder.fanout(["resume", "last", "--json", "--state", "state"]).with_code(6);
    assert!(refused.stderr.contains("these tools have changed: `wait` (`timeout`, `version`)"), "{}", refused.stderr);
    let json = refused.json();
    assert_eq!(json["tools"], serde_json::json!([{"tool": "wait", "fields": ["timeout", "version"]}]));
    let plan_changes = serde_json::json!([
        {"change": "call", "call": "w", "fields": ["args.s"]}, {"change": "call_added", "call": "x"}
    ]);
    assert_eq!((&json["plan"], &json["code"]), (&plan_changes, &"run_changed".into()));
    // What one resume went on with is what the next one compares with.
    folder.write("plan.yaml", plan);
    folder.write("tools.toml", tool("timeout = '9s'\n", slow));
    folder.write("ledger", "");
    let rerun = ["resume", "last", "--changed", "--in-doubt", "w=rerun", "--state", "state"];
    let mut child = folder.start(rerun);
    until("it runs", || !folder.read("ledger").is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    let ended = folder.fanout(["resume", "last", "--in-doubt", "w=succeeded:1", "--state", "state"]).with_code(0);
    assert_eq!(ended.stdout, "{\"w\":1}\n");
}

#[test]
fn an_interrupted_run_is_discarded_and_what_nobody_knows_is_named() {
    let folder = Folder::with_plan(
        "{name: wait, calls: [{id: a, tool: wait, args: {s: 0}}, {id: w, tool: wait, args: {s: 60}}]}",
    );
    let wait = "argv = ['sh', '-c', 'echo $FANOUT_CALL >> ledger; sleep $1', 'sh', '${args.s}']";
    folder.write(
        "tools.toml",
        format!("[tools.wait]\n{wait}\nargs = {{s = {{type = 'integer'}}}}\neffects = {{writes = ['db:x']}}"),
    );
    let run = ["run", "plan.yaml", "--key", "k", "--tools", "tools.toml", "--state", "state"];
    let mut child = folder.start(run);
    until("it runs", || folder.read("ledger").lines().count() == 2);
    let held = folder.fanout(["runs", "discard", "last", "--state", "state"]).with_code(6);
    assert!(held.stderr.contains("[run_locked]"), "{}", held.stderr);
    child.kill().unwrap();
    child.wait().unwrap();
    let told = folder.fanout(["report", "last", "--state", "state"]).with_code(0);
    assert!(told.stdout.contains("fanout runs discard"), "{}", told.stdout);
    let gone = folder.fanout(["runs", "discard", "last", "--state", "state"]).with_code(0);
    assert!(gone.stderr.contains("  w  had started; nobody knows whether it took effect"), "{}", gone.stderr);
    assert!(gone.stderr.contains("removed: 1 of 2 calls had ended"), "{}", gone.stderr);
    assert_eq!(gone.stdout.trim().len(), 36);
    assert!(runs(&folder).is_null());
    // Its key is free again.
    folder.write("plan.yaml", "{name: other, calls: []}");
    folder.fanout(run).with_code(0);
}

#[test]
fn a_name_that_is_empty_names_nothing() {
    // As from a variable of the shell that is not set.
    let folder = Folder::with_plan("{name: none, calls: []}");
    folder.fanout(["run", "plan.yaml", "--key", "", "--state", "state"]).with_code(2);
    folder.fanout(["run", "plan.yaml", "--durable", "--state", "state"]).with_code(0);
    for command in [vec!["resume", ""], vec!["report", ""], vec!["runs", "discard", ""], vec!["approve", "", "a"]] {
        let args = [command, vec!["--state", "state"]].concat();
        Ended::from(folder.command(&args).output().unwrap()).with_code(2);
    }
    assert_eq!(runs(&folder)["state"], "succeeded");
}

#[test]
fn a_journal_that_is_none_is_named() {
    let folder = Folder::with_plan("{name: none, calls: []}");
    folder.write("state/journal.db", "this is no database, but it is long enough to be looked at as one".repeat(99));
    for args in [["runs", "--state", "state"].as_slice(), &["run", "plan.yaml", "--durable", "--state", "state"]] {
        let told = Ended::from(folder.command(args).output().unwrap());
        assert!(told.stderr.contains("state/journal.db") && told.stderr.contains("[state_damaged]"), "{told:?}");
    }
}

/// The numbers of processes that have this in their environment.
fn pids_bearing(entry: &str) -> Vec<i32> {
    let bears = |pid: &i32| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|e| e == entry.as_bytes())
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(bears).collect()
}

/// What the tool of a call says of its engine.
fn engine_of(folder: &Folder) -> String {
    until("the tool has told", || folder.read("engine").ends_with('\n'));
    folder.read("engine").trim().to_owned()
}

#[test]
fn what_a_killed_engine_and_guard_left_is_ended_before_the_run_goes_on() {
    // Left alone, the first would write as soon as the second has.
    let late =
        "trap '' TERM; echo $FANOUT_ENGINE > engine; while [ ! -s ledger ]; do sleep 0.01; done; echo late >> ledger";
    let tool = |script: &str, writes: &str| {
        format!(
            "{{argv: [sh, -c, \"{script}\"], args: {{}}, set: {{MARK: left}}, effects: {{writes: ['db:{writes}']}}}}"
        )
    };
    let folder = Folder::with_plan(&format!(
        "name: late\ntools:\n  late: {}\n  next: {}\ncalls: [{{id: l, tool: late}}, {{id: n, tool: next, after: [l]}}]",
        tool(late, "x"),
        tool("echo next >> ledger; sleep 0.1", "y"),
    ));
    let mut child = folder.start(["run", "plan.yaml", "--key", "k", "--state", "state"]);
    let engine = engine_of(&folder);
    let guards = pids_bearing(&format!("FANOUT_GUARD={engine}"));
    assert_eq!(guards.len(), 1, "it has a guard");
    for pid in guards {
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!pids_bearing(&format!("FANOUT_ENGINE={engine}")).is_empty(), "its tool lives on");
    folder.fanout(["resume", "last", "--in-doubt", "l=succeeded:1", "--state", "state"]).with_code(0);
    assert_eq!(folder.read("ledger"), "next\n");
    assert_eq!(pids_bearing(&format!("FANOUT_ENGINE={engine}")), Vec::<i32>::new());
}

#[test]
fn what_is_not_yet_the_program_of_a_killed_engine_is_waited_for() {
    let folder = Folder::with_plan(
        "name: wait
tools: {wait: {argv: [sh, -c, 'echo $FANOUT_ENGINE > engine; sleep 60'], effects: {writes: ['db:x']}}}
calls: [{id: w, tool: wait}]",
    );
    let mut child = folder.start(["run", "plan.yaml", "--key", "k", "--state", "state"]);
    engine_of(&folder);
    let lock = std::fs::read_dir(folder.path("state/locks")).unwrap().flatten().map(|entry| entry.path());
    let lock = lock.into_iter().find(|path| path.file_name().unwrap().len() == 36 + ".lock".len()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // A copy of a process that is not yet another program holds its locks, as this does.
    let held = std::fs::File::open(&lock).unwrap();
    held.lock().unwrap();
    assert_eq!(runs(&folder)["state"], "interrupted", "nobody runs it");
    let again = folder.fanout(["run", "plan.yaml", "--key", "k", "--state", "state"]).with_code(6);
    assert!(again.stderr.contains("was interrupted"), "{}", again.stderr);
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, &lock, inotify::WatchFlags::OPEN).unwrap();
    let mut going_on = folder.start(["resume", "last", "--in-doubt", "w=succeeded:1", "--state", "state"]);
    // Whoever gives up at once opens it a few times.
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4_096];
    let mut opened = inotify::Reader::new(&watch, &mut buffer);
    let mut times = 0;
    until("it has tried again and again to have the run", || {
        times += usize::from(opened.next().is_ok());
        times > 20
    });
    assert!(going_on.try_wait().unwrap().is_none(), "it waits");
    drop(held);
    Ended::from(going_on.wait_with_output().unwrap()).with_code(0);
}
