//! Runs of the library on stub tools under paused time: what ran when, what waited for what, what came out.
//! It does not know how the engine does it.
mod approvals;
mod cache_disk;
mod durable;
mod durable_prefix;
mod events;
mod failures;
mod files;
mod forget;
mod reuse;
mod runs;
mod serial;
mod stubs;
mod submit;
mod toolboxes;
mod values;

use expect_test::Expect;
use fanout::{Engine, Plan, Report};
use std::fmt::Write as _;
use std::sync::Arc;

/// Runs a plan (YAML) on the stubs and compares what happened.
async fn check(plan: &str, expect: Expect) {
    let engine = stubs::engine();
    let report = run(&engine, plan).await;
    expect.assert_eq(&timeline(&report));
}

async fn run(engine: &Engine, plan: &str) -> Arc<Report> {
    engine.run(valid(engine, plan)).report().await
}

fn valid(engine: &Engine, plan: &str) -> fanout::ValidPlan {
    let plan = Plan::read("plan.yaml", plan.as_bytes()).unwrap_or_else(|wrong| panic!("{wrong:#?}"));
    engine.validate(plan, serde_json::Map::new()).unwrap_or_else(|wrong| panic!("{wrong:#?}"))
}

/// A line per call: when its first attempt started and when it ended, how, its result or error, its waits.
fn timeline(report: &Report) -> String {
    let mut text = String::new();
    for call in &report.calls {
        let start = call.started_ms.map_or("-".to_owned(), |at| format!("{at:.0}"));
        let outcome = format!("{:?}", call.outcome).to_lowercase();
        let _ = write!(text, "{:<6} {start}..{:.0} {outcome}", call.id, call.ended_ms);
        if call.after_doubt {
            text.push_str(" after doubt");
        }
        if call.attempts > 1 {
            let _ = write!(text, " x{}", call.attempts);
        }
        if let Some(result) = &call.result {
            let _ = write!(text, " {result}");
        }
        if let Some(error) = &call.error {
            let _ = write!(text, " {}: {}", error.code, error.message);
        }
        for wait in call.waits.iter().filter(|wait| wait.ms >= 0.5) {
            let on = wait.on.as_ref().map(|on| format!(" {on}")).unwrap_or_default();
            let key = wait.key.as_ref().map(|key| format!(" {key}")).unwrap_or_default();
            let _ = write!(text, " [{}{on}{key} {:.0}]", wait.cause, wait.ms);
        }
        text.push('\n');
    }
    let outcome = format!("{:?}", report.outcome).to_lowercase();
    let _ =
        write!(text, "{outcome} {:.0} of {:.0}: {}", report.wall_ms, report.calls_ms, report.critical_path.join(" "));
    if let Some(output) = &report.output {
        let _ = write!(text, "\noutput {output}");
    }
    for hint in &report.hints {
        let _ = write!(text, "\nhint {hint}");
    }
    text
}
