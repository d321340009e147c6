//! An engine that is killed: its guard ends what it started.
//! It does not know anything about engines but their process tools.

use crate::world::{GuardKind, World, attempt, eventually, marked};
use fanout_tools::Progress;
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Tools that would outlive anything: one that ignores TERM, one in a session of its own, one doubly forked.
const OUTLIVING: [&str; 3] = [
    "trap '' TERM HUP INT; echo up; while :; do sleep 1000; done",
    "setsid sh -c 'sleep 1000' >/dev/null 2>&1 & echo up; sleep 1000",
    "(setsid sh -c '(exec sleep 1000) &' >/dev/null 2>&1 &) ; echo up; sleep 1000",
];

#[test]
fn a_killed_engine_leaves_nothing() {
    let _alone = crate::world::turn();
    for guard in ["program", "script"] {
        let mut engine = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "killed::engine_program"])
            .env("TEST_ENGINE_GUARD", guard)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(engine.stdout.take().unwrap()).lines();
        let id = lines.find_map(|line| Some(line.unwrap().strip_prefix("engine ")?.to_owned())).unwrap();
        assert!(lines.any(|line| line.unwrap() == "all up"), "the tools of the engine did not start");
        eventually("the daemons run", || marked(&id).len() >= 6);
        a_guard_stands(&id);
        engine.kill().unwrap();
        engine.wait().unwrap();
        eventually("nothing bears the mark of the engine", || marked(&id).is_empty());
        eventually("the guard is gone too", || guards(&id) == 0);
    }
}

#[test]
fn an_engine_that_ends_well_leaves_no_guard() {
    crate::world::alone(|_world| async {
        for guard in [GuardKind::Program, GuardKind::Script] {
            let world = World::new(guard, false);
            let id = world.processes.engine_id().to_owned();
            crate::world::run(&world.sh("exit 0", |_| ())).await.unwrap();
            a_guard_stands(&id);
            drop(world);
            assert_eq!(guards(&id), 0);
        }
    });
}

#[test]
fn a_guard_that_was_killed_is_replaced() {
    crate::world::alone(|world| async move {
        let tool = world.sh("exit 0", |_| ());
        crate::world::run(&tool).await.unwrap();
        let id = world.processes.engine_id().to_owned();
        a_guard_stands(&id);
        let killed = guard_pids(&id);
        for pid in &killed {
            Command::new("kill").args(["-KILL", pid]).status().unwrap();
        }
        eventually("the guard has ended", || killed.iter().all(|pid| has_ended(pid)));
        crate::world::run(&tool).await.unwrap();
        a_guard_stands(&id);
    });
}

#[test]
fn a_guard_that_does_not_start_is_an_error_of_the_call() {
    crate::world::alone(|_| async {
        let guard = fanout_tools::GuardCommand { program: "/does/not/exist".into(), args: Vec::new() };
        let dir = tempfile::tempdir().unwrap();
        let options =
            fanout_tools::ProcessOptions { guard: Some(guard), ..fanout_tools::ProcessOptions::new(dir.path()) };
        let processes = fanout_tools::Processes::new(options);
        let tool = processes.tool(fanout_plan::ProcessSpec::new(crate::world::argv(&["true"])));
        assert_eq!(crate::world::run(&tool).await.unwrap_err().code, "guard_not_started");
    });
}

/// Not a test: the guard of the engines in these tests.
#[test]
#[ignore = "started by other tests as their guard"]
fn guard_program() {
    if std::env::var_os("FANOUT_GUARD").is_some() {
        fanout_tools::guard::main();
    }
}

/// Not a test: an engine that is going to be killed.
#[test]
#[ignore = "started by another test, to be killed"]
fn engine_program() {
    let Ok(guard) = std::env::var("TEST_ENGINE_GUARD") else { return };
    let guard = if guard == "script" { GuardKind::Script } else { GuardKind::Program };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let world = World::new(guard, false);
        println!("\nengine {}", world.processes.engine_id());
        for script in OUTLIVING {
            let (progress, sign) = crate::world::signs();
            tokio::spawn(world.sh(script, |_| ()).call(attempt(json!({}), progress).0));
            sign.notified().await;
        }
        println!("\nall up");
        // Whatever happens to the test, this ends.
        let sleeper = world.sh("sleep 60", |_| ());
        let _ended = sleeper.call(attempt(json!({}), Progress::none()).0).await;
    });
}

/// Exactly one: a process that was just made has no environment for a moment.
fn a_guard_stands(engine: &str) {
    eventually("a guard stands", || guards(engine) == 1);
}

/// Whether a process is gone or a zombie without other threads: one that is still dying has lost its environment, and
/// nobody can reap it yet, nor one whose first thread ended before the others.
fn has_ended(pid: &str) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let is_dead = stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'));
    is_dead && threads <= 1
}

fn guards(engine: &str) -> usize {
    guard_pids(engine).len()
}

fn guard_pids(engine: &str) -> Vec<String> {
    let mark = format!("FANOUT_GUARD={engine}");
    let bears = |pid: &String| {
        std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.split(|b| *b == 0).any(|entry| entry == mark.as_bytes()))
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().into_string().ok()).filter(bears).collect()
}
