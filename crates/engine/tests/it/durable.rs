//! Durable runs: recorded, and gone on with by another engine where the first died.
//! It does not know how they stand on disk.

use crate::timeline;
use expect_test::expect;
use fanout::state::{Reader, RunState};
use fanout::{
    Approve, Durable, Engine, Native, Plan, Reached, RecordedRun, Report, Resume, RunHandle, RunOptions, Started,
    ToolError, ValidPlan, What,
};
use serde_json::Map;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// What tools of one test did, over all its engines.
#[derive(Clone, Default)]
pub(crate) struct World {
    ledger: Arc<Mutex<Vec<String>>>,
    /// Calls of `hang` that hang, before one does not.
    pub(crate) hangs: Arc<AtomicU32>,
    /// Something was written, so that what was recorded before is on disk.
    wrote: Arc<Notify>,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Args {
    what: String,
}

impl World {
    pub(crate) fn engine(&self, state: &Path) -> Engine {
        let mut tools = Native::new("");
        let ledger = self.ledger.clone();
        let wrote = self.wrote.clone();
        let note = move |what: &str| {
            ledger.lock().expect("no panic").push(what.to_owned());
            wrote.notify_one();
        };
        let noted = note.clone();
        tools
            .add("write", "Writes.", move |args: Args| {
                noted(&args.what);
                async move { Ok(args.what + "!") }
            })
            .writes("db:x");
        let (hangs, noted) = (self.hangs.clone(), note.clone());
        tools
            .add("lose", "Loses its connection instead of hanging.", move |args: Args| {
                noted(&args.what);
                let lost = hangs.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
                let error = ToolError::transient("the connection was lost").reached(Reached::Unknown);
                async move { if lost { Err(error) } else { Ok(args.what) } }
            })
            .writes("db:z");
        let noted = note.clone();
        tools
            .add("read", "Reads.", move |args: Args| {
                noted(&args.what);
                async move { Ok(vec![args.what.clone(), args.what + "2"]) }
            })
            .reads("db:y");
        for (name, idempotent) in [("hang", false), ("hang_idempotent", true)] {
            let (hangs, noted) = (self.hangs.clone(), note.clone());
            let tool = tools.add(name, "Hangs some times.", move |args: Args| {
                noted(&args.what);
                let hang = hangs.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
                async move {
                    if hang {
                        std::future::pending::<()>().await;
                    }
                    Ok(args.what)
                }
            });
            let tool = tool.writes("db:z");
            if idempotent {
                tool.idempotent();
            }
        }
        Engine::builder()
            .toolbox(tools.into())
            .state_dir(state)
            .seed(7)
            .build()
            .unwrap_or_else(|wrong| panic!("{wrong:?}"))
    }

    /// Waits until this was done.
    async fn until(&self, what: &str) {
        while !self.ledger.lock().expect("no panic").iter().any(|done| done == what) {
            self.wrote.notified().await;
        }
    }

    pub(crate) fn did(&self) -> String {
        std::mem::take(&mut *self.ledger.lock().expect("no panic")).join(" ")
    }
}

fn read(plan: &str) -> Plan {
    Plan::read("plan.yaml", plan.as_bytes()).unwrap_or_else(|wrong| panic!("{wrong:#?}"))
}

fn valid(engine: &Engine, plan: Plan) -> ValidPlan {
    engine.validate(plan, Map::new()).unwrap_or_else(|wrong| panic!("{wrong:#?}"))
}

async fn begin(engine: &Engine, plan: &str, key: Option<&str>) -> Started {
    let plan = read(plan);
    let durable = Durable::new(&plan, &Map::new());
    let durable = key.into_iter().fold(durable, Durable::key);
    let started = engine.start_durable(valid(engine, plan), RunOptions::default(), durable).await;
    started.unwrap_or_else(|error| panic!("{error:?}"))
}

pub(crate) async fn begun(engine: &Engine, plan: &str) -> RunHandle {
    match begin(engine, plan, None).await {
        Started::New(run) => run,
        Started::There(info) => panic!("{info:?}"),
    }
}

/// The engine dies with all its runs: nothing of it is told to anybody, and its locks go.
fn die(engine: Engine, runtime: tokio::runtime::Runtime) {
    std::mem::forget(engine);
    runtime.shutdown_background();
}

/// Lives the first life of a run in a runtime that dies when this was done; gives the run's id.
fn first_life(world: &World, state: &Path, plan: &str, until: &str) -> String {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (engine, id) = runtime.block_on(async {
        let engine = world.engine(state);
        let run = begun(&engine, plan).await;
        world.until(until).await;
        (engine, run.id().to_owned())
    });
    die(engine, runtime);
    id
}

async fn resumed(world: &World, state: &Path, id: &str, resume: Resume) -> Arc<Report> {
    let engine = world.engine(state);
    let recorded = RecordedRun::read(state, id).unwrap_or_else(|error| panic!("{error:?}"));
    continued(&engine, &recorded, resume).await.report().await
}

/// Goes on with a run as soon as the threads of its first engine let go of it.
pub(crate) async fn continued(engine: &Engine, recorded: &RecordedRun, resume: Resume) -> RunHandle {
    loop {
        let plan = Plan::from_value(recorded.plan.clone()).unwrap_or_else(|wrong| panic!("{wrong:#?}"));
        match engine.resume(recorded, valid(engine, plan), resume.clone()).await {
            Ok(run) => return run,
            Err(error) if error.code == "run_locked" => tokio::task::yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// The timeline without its times, which differ.
pub(crate) fn shape(report: &Report) -> String {
    let mut lines = Vec::new();
    for line in timeline(report).lines() {
        let line = line.split(" [").next().unwrap_or(line);
        let words: Vec<&str> = line.split_whitespace().filter(|word| !word.contains("..")).collect();
        lines.push(words.join(" "));
    }
    lines.truncate(report.calls.len());
    lines.join("\n")
}

const PLAN: &str = r#"
name: lives
calls:
  - {id: a, tool: write, args: {what: a}}
  - {id: b, tool: read, args: {what: b}}
  - {id: no, tool: write, args: {what: no}, when: "a == 'x'"}
  - {id: all, tool: write, foreach: "${b}", args: {what: "${item}"}}
  - {id: h, tool: hang, args: {what: "h${a}"}, after: [all]}
  - {id: c, tool: write, args: {what: "${all[0]} ${h}"}, after: [no]}
output: "${c}"
"#;

#[test]
fn a_run_goes_on_and_does_nothing_twice() {
    let (world, dir) = (World::default(), tempfile::tempdir().expect("a folder"));
    let whole = {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let report = runtime.block_on(async { begun(&world.engine(dir.path()), PLAN).await.report().await });
        shape(&report)
    };
    let mut did: Vec<String> = world.did().split(' ').map(str::to_owned).collect();
    did.sort();
    world.hangs.store(1, Ordering::SeqCst);
    let id = first_life(&world, dir.path(), PLAN, "ha!");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let answers = [("h".to_owned(), fanout::DoubtAnswer::Succeeded("ha!".into()))].into();
    let report = runtime.block_on(resumed(&world, dir.path(), &id, Resume { in_doubt: answers, ..Resume::default() }));
    assert_eq!(shape(&report), whole);
    let mut again: Vec<String> = world.did().split(' ').map(str::to_owned).collect();
    again.sort();
    assert_eq!(again, did, "each effect once, over both lives");
    let kept = RecordedRun::report(dir.path(), &id).expect("it can be read").expect("it has ended");
    let kept: Report = serde_json::from_str(kept.get()).expect("a report");
    assert_eq!(timeline(&kept), timeline(&report));
}

/// What is remembered begins with the first durable run and ends with the last; the others come and go beside it.
#[test]
fn runs_that_are_not_durable_are_not_remembered_and_disturb_nothing() {
    const PLAIN: &str = "{name: plain, calls: [{id: p, tool: write, args: {what: p}}, \
                         {id: q, tool: read, args: {what: q}, after: [p]}, {id: r, tool: write, args: {what: '${q[0]}'}}]}";
    let (world, dir) = (World::default(), tempfile::tempdir().expect("a folder"));
    let whole = {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let report = runtime.block_on(async { begun(&world.engine(dir.path()), PLAN).await.report().await });
        shape(&report)
    };
    let effects = || {
        let did = world.did();
        let mut did: Vec<String> =
            did.split(' ').filter(|done| !["p", "q"].contains(done)).map(str::to_owned).collect();
        did.sort();
        did
    };
    let did = effects();
    world.hangs.store(1, Ordering::SeqCst);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (engine, id) = runtime.block_on(async {
        let engine = world.engine(dir.path());
        let plain = || engine.run(valid(&engine, read(PLAIN)));
        let before = engine.commits();
        assert_eq!(plain().report().await.outcome, fanout::RunOutcome::Succeeded);
        assert_eq!(engine.commits(), before, "nothing is to be remembered");
        let beside: Vec<RunHandle> = (0..8).map(|_| plain()).collect();
        let run = begun(&engine, PLAN).await;
        world.until("ha!").await;
        for run in beside.into_iter().chain([plain()]) {
            assert_eq!(run.report().await.outcome, fanout::RunOutcome::Succeeded);
        }
        let id = run.id().to_owned();
        (engine, id)
    });
    die(engine, runtime);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let engine = world.engine(dir.path());
        let recorded = RecordedRun::read(dir.path(), &id).unwrap_or_else(|error| panic!("{error:?}"));
        let answers = [("h".to_owned(), fanout::DoubtAnswer::Succeeded("ha!".into()))].into();
        let run = continued(&engine, &recorded, Resume { in_doubt: answers, ..Resume::default() }).await;
        let beside = engine.run(valid(&engine, read(PLAIN)));
        assert_eq!(shape(&*run.report().await), whole);
        assert_eq!(beside.report().await.outcome, fanout::RunOutcome::Succeeded);
        let before = engine.commits();
        assert_eq!(engine.run(valid(&engine, read(PLAIN))).report().await.outcome, fanout::RunOutcome::Succeeded);
        assert_eq!(engine.commits(), before, "nothing is to be remembered any more");
    });
    assert_eq!(effects(), did, "each effect of the durable run once, over both lives");
}

#[test]
fn the_critical_path_goes_through_all_lives() {
    let (world, dir) = (World::default(), tempfile::tempdir().expect("a folder"));
    world.hangs.store(1, Ordering::SeqCst);
    let plan = "{name: path, calls: [{id: a, tool: write, args: {what: a}}, {id: b, tool: write, args: {what: b}}, \
                {id: h, tool: hang, args: {what: h}, after: [b], in_doubt: rerun}]}";
    let id = first_life(&world, dir.path(), plan, "h");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let report = runtime.block_on(resumed(&world, dir.path(), &id, Resume::default()));
    assert_eq!(report.critical_path.iter().map(|id| &**id).collect::<Vec<_>>(), ["a", "b", "h"], "{report:?}");
}

#[test]
fn what_was_lost_is_in_doubt_or_done_again() {
    let cases =
        [("hang", "fail", "h in_doubt"), ("hang", "rerun", "h succeeded"), ("hang_idempotent", "fail", "h succeeded")];
    for (tool, policy, expected) in cases {
        let (world, dir) = (World::default(), tempfile::tempdir().expect("a folder"));
        world.hangs.store(1, Ordering::SeqCst);
        let plan = format!("{{name: lost, calls: [{{id: h, tool: {tool}, args: {{what: h}}, in_doubt: {policy}}}]}}");
        let id = first_life(&world, dir.path(), &plan, "h");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let report = runtime.block_on(resumed(&world, dir.path(), &id, Resume::default()));
        let outcome = format!("{:?}", report.calls[0].outcome);
        let outcome = if outcome == "InDoubt" { "in_doubt".to_owned() } else { outcome.to_lowercase() };
        assert_eq!(format!("h {outcome}"), expected, "{tool} {policy} {report:?}");
        assert_eq!(world.did(), if expected.ends_with("doubt") { "h" } else { "h h" });
    }
}

#[test]
fn a_question_survives_the_process_that_asked_it() {
    let (world, dir) = (World::default(), tempfile::tempdir().expect("a folder"));
    let plan = r#"{name: asks, calls: [{id: u, tool: write, args: {what: u}}, {id: w, tool: write, args: {what: w}, approval: always}, {id: v, tool: write, args: {what: v}}]}"#;
    let first = tokio::runtime::Runtime::new().expect("a runtime");
    let (engine, id) = first.block_on(async {
        let engine = world.engine(dir.path());
        let run = begun(&engine, plan).await;
        let mut events = run.events();
        let (mut asked, mut ended) = (false, false);
        while !asked || !ended {
            match events.next().await.expect("it goes on").what {
                What::ApprovalAsked { .. } => asked = true,
                What::CallEnded { .. } => ended = true,
                _ => {}
            }
        }
        (engine, run.id().to_owned())
    });
    die(engine, first);
    let second = tokio::runtime::Runtime::new().expect("a runtime");
    let report = second.block_on(async {
        let engine = world.engine(dir.path());
        let recorded = RecordedRun::read(dir.path(), &id).expect("it can be read");
        assert_eq!(recorded.info.state, RunState::Waiting);
        let run = continued(&engine, &recorded, Resume::default()).await;
        let mut events = run.events();
        loop {
            if let What::ApprovalAsked { call, args, .. } = events.next().await.expect("it goes on").what {
                assert_eq!((&*call, args.to_string()), ("w", r#"{"what":"w"}"#.to_owned()));
                run.approve("w", Approve::With(serde_json::json!({"what": "edited"}))).await.expect("it was asked");
                break;
            }
        }
        run.report().await
    });
    expect![[r#"
        u succeeded "u!"
        w succeeded "edited!"
        v succeeded "v!""#]]
    .assert_eq(&shape(&report));
    assert_eq!(world.did(), "u edited v", "in serial order");
}

#[test]
fn a_doubt_that_was_settled_leaves_nothing_to_wait_for() {
    let (world, dir) = (World::default(), tempfile::tempdir().expect("a folder"));
    world.hangs.store(2, Ordering::SeqCst);
    let plan = "{name: lost, calls: [{id: h, tool: hang, args: {what: h}, in_doubt: ask}]}";
    let id = first_life(&world, dir.path(), plan, "h");
    world.did();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let state = || Reader::open(dir.path()).expect("it is there").run(&id).expect("it began").state;
    let report = runtime.block_on(async {
        let engine = world.engine(dir.path());
        let recorded = RecordedRun::read(dir.path(), &id).expect("it can be read");
        let run = continued(&engine, &recorded, Resume::default()).await;
        let mut events = run.events();
        while !matches!(events.next().await.expect("it goes on").what, What::CallDoubted { .. }) {}
        until(&state, RunState::Waiting).await;
        run.settle("h", fanout::DoubtAnswer::Rerun);
        world.until("h").await;
        // Its start is on disk, and with it that nobody is asked any more.
        assert_eq!(state(), RunState::Running);
        run.cancel(fanout::Cancel::Kill);
        run.report().await
    });
    assert_eq!(report.calls[0].attempts, 2);
}

/// Waits until the record says so.
async fn until(state: &impl Fn() -> RunState, wanted: RunState) {
    let wait = async {
        while state() != wanted {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap_or_else(|_| panic!("it stays {:?}", state()));
}

#[tokio::test]
async fn a_key_starts_a_run_once() {
    let (world, dir) = (World::default(), tempfile::tempdir().expect("a folder"));
    let engine = world.engine(dir.path());
    let Started::New(run) = begin(&engine, PLAN, Some("nightly")).await else { panic!("it is new") };
    run.report().await;
    let Started::There(info) = begin(&engine, PLAN, Some("nightly")).await else { panic!("it is there") };
    assert_eq!((info.id.as_str(), info.state), (run.id(), RunState::Succeeded));
    let plan = read("{name: other, calls: []}");
    let durable = Durable::new(&plan, &Map::new()).key("nightly");
    let other = engine.start_durable(valid(&engine, plan), RunOptions::default(), durable).await;
    assert_eq!(other.err().map(|error| error.code), Some("run_key_taken"));
    let recorded = RecordedRun::read(dir.path(), run.id()).expect("it can be read");
    let plan = valid(&engine, Plan::from_value(recorded.plan.clone()).expect("a plan"));
    let ended = engine.resume(&recorded, plan, Resume::default()).await;
    assert_eq!(ended.err().map(|error| error.code), Some("run_ended"));
}

#[tokio::test]
async fn a_run_that_lives_cannot_be_taken_nor_one_whose_tools_changed() {
    let (world, dir) = (World::default(), tempfile::tempdir().expect("a folder"));
    world.hangs.store(1, Ordering::SeqCst);
    let engine = world.engine(dir.path());
    let run = begun(&engine, "{name: lives, calls: [{id: h, tool: hang, args: {what: h}}]}").await;
    world.until("h").await;
    let recorded = RecordedRun::read(dir.path(), run.id()).expect("it can be read");
    let plan = || valid(&engine, Plan::from_value(recorded.plan.clone()).expect("a plan"));
    let taken = engine.resume(&recorded, plan(), Resume::default()).await;
    assert_eq!(taken.err().map(|error| error.code), Some("run_locked"));
    let mut changed = recorded.clone();
    let hang = changed.tools.get_mut("hang").expect("it is used");
    hang.hash = "another".into();
    hang.fields.insert("timeout".into(), "1".into());
    hang.fields.insert("args".into(), "other".into());
    let taken = engine.resume(&changed, plan(), Resume::default()).await.err().expect("it has changed");
    assert_eq!(taken.code, "run_changed");
    assert!(taken.message.contains("`hang` (`args`, `timeout`)"), "{taken}");
    changed.tools.get_mut("hang").expect("it is used").fields.clear();
    let taken = engine.resume(&changed, plan(), Resume::default()).await.err().expect("it has changed");
    assert!(taken.message.contains("changed: `hang`;"), "of old records only the name is known: {taken}");
    run.cancel(fanout::Cancel::Kill);
    tokio::time::timeout(Duration::from_secs(20), run.report()).await.expect("it ends");
}
