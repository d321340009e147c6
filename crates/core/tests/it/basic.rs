//! The smallest worlds of the core, step by step.
//! They do not replace the simulation.
use fanout_core::*;
use std::sync::Arc;

fn settings(needs: &[(LimitId, u64)]) -> Arc<Settings> {
    let settings = crate::settings();
    Arc::new(Settings { retry: Retry { attempts_max: 3, ..settings.retry }, needs: needs.into(), ..settings })
}

fn call(settings: &Arc<Settings>, inputs: &[u32], claims: &[(&[&str], bool)]) -> CallSpec {
    CallSpec {
        inputs: inputs.iter().map(|&call| Input { call, kind: InputKind::Result }).collect(),
        claims: claims.iter().map(|(k, write)| Claim { key: Key::new(k.iter().copied()), write: *write }).collect(),
        foreach: false,
        resolve: false,
        settings: settings.clone(),
    }
}

fn run(calls: Vec<CallSpec>) -> Event {
    Event::RunAdded(Box::new(crate::run(RunId(1), calls)))
}

/// The calls that start now.
fn starts(core: &mut Core) -> Vec<u32> {
    let mut started = vec![];
    while let Some(action) = core.poll_action() {
        if let Action::Start { attempt, .. } = action {
            started.push(attempt.call.call);
        }
    }
    started
}

fn succeed(core: &mut Core, at: u64, call: u32) -> Vec<u32> {
    let call = CallRef { run: RunId(1), call, element: None };
    core.handle(Time(at), Event::Finished { attempt: AttemptRef { call, attempt: 1 }, end: AttemptEnd::Succeeded });
    starts(core)
}

#[test]
fn inputs_limits_and_keys_gate_starts() {
    let mut core = Core::new();
    core.handle(Time(0), Event::LimitSet { limit: LimitId(0), capacity: 2 });
    let s = settings(&[(LimitId(0), 1)]);
    core.handle(
        Time(0),
        run(vec![
            call(&s, &[], &[(&["f", "a"], true)]),
            call(&s, &[], &[(&["f"], false)]),
            call(&s, &[], &[(&["f", "b"], false)]),
            call(&s, &[0], &[]),
            call(&s, &[], &[(&["f", "b"], true)]),
        ]),
    );
    assert_eq!(starts(&mut core), [0, 2], "call 1 waits for a, call 4 for b");
    assert_eq!(succeed(&mut core, 10, 0), [1], "two fit");
    assert_eq!(succeed(&mut core, 20, 2), [3]);
    assert_eq!(succeed(&mut core, 30, 1), [4]);
    assert_eq!(succeed(&mut core, 40, 3), [] as [u32; 0]);
    assert_eq!(succeed(&mut core, 50, 4), [] as [u32; 0]);
    assert_eq!(core.sizes(), (0, 0, 1));
}

#[test]
fn notes_about_the_slots_of_a_large_run_go_with_them() {
    let mut core = Core::new();
    core.handle(Time(0), Event::LimitSet { limit: LimitId(0), capacity: 8 });
    let s = settings(&[(LimitId(0), 1)]);
    // Notes of the first run that outlived it would point at slots the second does not have.
    for (round, calls) in [(0_u64, 10_000), (1, 200)] {
        let begin = round * 1_000_000;
        core.handle(Time(begin), run((0..calls).map(|_| call(&s, &[], &[])).collect()));
        let mut running = std::collections::VecDeque::from(starts(&mut core));
        let mut ended = 0;
        while let Some(next) = running.pop_front() {
            ended += 1;
            running.extend(succeed(&mut core, begin + ended, next));
        }
        assert_eq!(ended, calls);
        assert_eq!(core.sizes(), (0, 0, 1));
        assert_eq!(core.poll_timeout(), None);
    }
}
