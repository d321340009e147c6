//! Small worlds of the core, step by step, in one binary.
//! They do not replace the simulation.

mod basic;
mod recover;
mod reuse;

use fanout_core::*;
use std::time::Duration;

/// Of a call that is tried once and may be repeated; it needs nothing.
fn settings() -> Settings {
    Settings {
        priority: 2,
        expect: Duration::from_secs(1),
        timeout: Duration::from_secs(60),
        idle_timeout: None,
        retry: Retry {
            attempts_max: 1,
            backoff: Duration::from_secs(1),
            factor: 2.0,
            backoff_max: Duration::from_secs(30),
        },
        repeatable: true,
        in_doubt: InDoubtPolicy::Fail,
        failure_has_value: false,
        rekey: false,
        needs: [].into(),
        reuse: None,
        rates: Box::new([]),
    }
}

/// A run of these calls.
fn run(run: RunId, calls: Vec<CallSpec>) -> RunSpec {
    RunSpec {
        run,
        weight: 1,
        deadline: None,
        stop_on_failure: false,
        open: false,
        forget: false,
        seed: 7,
        limits: vec![],
        parent: None,
        recovering: false,
        calls,
    }
}
