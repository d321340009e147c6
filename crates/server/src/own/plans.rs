//! Plans as data: checked, run, followed, cancelled (`run_plan`, `check_plan`, `run_status`, `cancel_run`).
//! It does not know who asks, nor how long results are cut.

use super::kept::Kept;
use super::policy;
use super::text;
use crate::answer::Answer;
use crate::approvals;
use fanout::{
    AttemptId, Cancel, Diagnostic, Engine, Peer, Plan, Report, RunHandle, RunOptions, Severity, Told, ValidPlan, What,
};
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long run_plan waits for the end when nothing else is said. Many clients give up on a call after a minute.
pub(super) const WAIT_SECONDS: u64 = 50;
/// The longest it can be told to wait.
pub(super) const WAIT_SECONDS_MAX: u64 = 3_600;
/// At most this many runs of one client are remembered; of those that have ended the oldest go.
const RUNS_MAX: usize = 100;

/// The runs of one client, the oldest first.
#[derive(Default)]
pub(super) struct Runs(Vec<RunHandle>);

impl Runs {
    /// Remembers a run.
    fn add(&mut self, run: RunHandle) -> Result<(), String> {
        if self.0.len() >= RUNS_MAX {
            let ended = self.0.iter().position(RunHandle::has_ended);
            let Some(ended) = ended else {
                return Err(format!("{RUNS_MAX} runs are under way; wait for one with run_status, or cancel_run one"));
            };
            self.0.remove(ended);
        }
        self.0.push(run);
        Ok(())
    }

    /// The run of this id.
    pub(super) fn find(&self, id: &str) -> Result<RunHandle, String> {
        self.0.iter().find(|run| run.id() == id).cloned().ok_or_else(|| {
            let last = self.0.last().map_or("there is none yet".to_owned(), |run| format!("the last is {}", run.id()));
            format!("there is no run `{id}` of this session; {last}")
        })
    }

    /// Ends all of them.
    pub(super) fn cancel(&self) {
        self.0.iter().for_each(|run| run.cancel(Cancel::Kill));
    }
}

/// A plan and what it is to be run with.
pub(super) struct Wanted {
    pub(super) plan: ValidPlan,
    pub(super) wait: Duration,
    /// What is not wrong, but hardly meant.
    pub(super) advice: Vec<String>,
}

/// Reads and checks a plan from the arguments of a call; what is wrong is said so that it can be mended.
pub(super) fn read(engine: &Engine, args: &Map<String, Value>, wait_default: u64) -> Result<Wanted, String> {
    let Some(given) = args.get("plan") else {
        return Err("`plan` is missing: {\"plan\": {\"calls\": [{\"id\": …, \"tool\": …, \"args\": {…}}]}}".into());
    };
    let wait = wait(args, wait_default)?;
    let inputs = match args.get("inputs") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(inputs)) => inputs.clone(),
        Some(other) => return Err(format!("`inputs` is to be an object, not {other}")),
    };
    let advised = |problems: Vec<Diagnostic>| text::problems(&problems, &policy::advice(given));
    let plan = match given {
        Value::String(text) => Plan::read("plan", text.as_bytes()),
        value => Plan::from_value(value.clone()),
    };
    let plan = plan.map_err(advised)?;
    let refused = policy::refused(&plan, engine);
    if !refused.is_empty() {
        return Err(advised(refused));
    }
    let plan = engine.validate(plan, inputs).map_err(advised)?;
    Ok(Wanted { plan, wait, advice: policy::advice(given) })
}

/// How long to wait for the end.
pub(super) fn wait(args: &Map<String, Value>, default: u64) -> Result<Duration, String> {
    let wrong = || format!("`wait_seconds` is to be a number from 0 to {WAIT_SECONDS_MAX}");
    let seconds = match args.get("wait_seconds") {
        None | Some(Value::Null) => return Ok(Duration::from_secs(default)),
        Some(value) => value.as_f64().ok_or_else(wrong)?,
    };
    let wait = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
    if wait > Duration::from_secs(WAIT_SECONDS_MAX) { Err(wrong()) } else { Ok(wait) }
}

/// What check_plan answers for a plan that is right.
pub(super) fn checked(engine: &Engine, plan: &ValidPlan) -> String {
    let mut said = text::schedule(&engine.schedule(plan));
    let warnings: Vec<Diagnostic> =
        plan.warnings.iter().filter(|problem| problem.severity == Severity::Warning).cloned().collect();
    if !warnings.is_empty() {
        said.push('\n');
        said.push_str(&text::problems(&warnings, &[]));
    }
    said
}

/// Starts a run and waits for its end, or until it is to be handed over. Dropping the future before cancels the run.
pub(super) async fn run(
    engine: &Engine,
    plan: ValidPlan,
    wait: Duration,
    runs: &Mutex<Runs>,
    peer: Option<Arc<dyn Peer>>,
) -> Result<(RunHandle, Option<Arc<Report>>), String> {
    let calls = plan.calls.len();
    let run = engine.start(plan, RunOptions { peer: peer.clone(), attended: peer.is_some(), ..RunOptions::default() });
    let mut guard = CancelUnlessKept(Some(run.clone()));
    runs.lock().unwrap_or_else(PoisonError::into_inner).add(run.clone())?;
    if let Some(peer) = peer.clone() {
        tokio::spawn(approvals::follow(run.clone(), peer));
    }
    let report = follow(&run, calls, peer, wait).await;
    guard.0 = None;
    Ok((run, report))
}

/// Waits for the end of a run and tells how far it is.
async fn follow(run: &RunHandle, calls: usize, peer: Option<Arc<dyn Peer>>, wait: Duration) -> Option<Arc<Report>> {
    let told = async {
        let Some(peer) = peer else { return std::future::pending().await };
        let id = AttemptId { run: run.id().into(), call: "run_plan".into(), attempt: 1 };
        let (mut events, mut done, mut total) = (run.events(), 0_u32, calls as f64);
        while let Some(event) = events.next().await {
            match event.what {
                What::CallExpanded { elements, .. } => total += f64::from(elements),
                What::CallEnded { call, outcome, .. } => {
                    done += 1;
                    let message = format!("{call} {}", text::outcome(outcome));
                    peer.told(
                        &id,
                        Told::Progress { done: done.into(), total: Some(total), message: Some(message.into()) },
                    );
                }
                _ => {}
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        biased;
        () = told => None,
        report = run.report() => Some(report),
        () = tokio::time::sleep(wait) => None,
    }
}

/// Ends a run when the one who waits for it goes.
struct CancelUnlessKept(Option<RunHandle>);

impl Drop for CancelUnlessKept {
    fn drop(&mut self) {
        if let Some(run) = &self.0 {
            run.cancel(Cancel::Kill);
        }
    }
}

/// What run_plan and run_status answer.
pub(super) async fn answer(
    run: &RunHandle,
    report: Option<Arc<Report>>,
    chars_max: usize,
    kept: &Mutex<Kept>,
) -> Answer {
    let report = match report {
        Some(report) => report,
        None => match run.snapshot().await {
            Some(snapshot) => return Answer::text(text::under_way(run.id(), &snapshot)),
            None => run.report().await,
        },
    };
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    Answer { is_error: text::is_bad(&report), ..Answer::text(text::report(&report, chars_max, &mut kept)) }
}
