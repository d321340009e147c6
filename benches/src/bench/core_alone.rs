//! The core alone, on one thread: a random DAG with keys, decided call by call.
//! It does not know values or tools; every attempt ends as soon as the core has nothing more to say.

use super::random::Random;
use super::runner::Best;
use super::table::{Budget, Row, Size};
use fanout_core::{
    Action, AttemptEnd, AttemptRef, CallSpec, Claim, Claims, Core, Event, InDoubtPolicy, Input, InputKind, Key,
    LimitId, Resolution, Retry, RunId, RunSpec, Settings, Time,
};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Attempts at once, as an engine has by default.
const RUNNING: u64 = 64;
/// How far back a call's inputs reach.
const WINDOW: u64 = 1_000;

/// What driving the core through a run took.
struct Driven {
    /// Facts told: a call listed, a call resolved, an attempt ended.
    events: u64,
    touched: u64,
}

/// Events a second at 100,000 calls, and how the cost of a call grows to a million.
pub(crate) fn rows(size: Size) -> Vec<Row> {
    let (few, many) = (size.of(100_000), size.of(1_000_000));
    let (few_calls, many_calls) = (calls(few), calls(many));
    let (mut few_time, mut many_time, mut peer_time) = (Best::new(), Best::new(), Best::new());
    let (mut few_driven, mut many_driven) = (None, None);
    for round in 0..size.rounds(5) {
        let copy = few_calls.clone();
        let begun = Instant::now();
        few_driven = Some(drive(copy));
        few_time.ended(begun);
        let begun = Instant::now();
        let taken = serial_order(&few_calls);
        peer_time.ended(begun);
        assert_eq!(taken, few, "every call has its place");
        if round < 2 {
            let copy = many_calls.clone();
            let begun = Instant::now();
            many_driven = Some(drive(copy));
            many_time.ended(begun);
        }
    }
    let (Some(few_driven), Some(many_driven)) = (few_driven, many_driven) else { return Vec::new() };
    let rate = few_driven.events as f64 / few_time.0.as_secs_f64() / 1e6;
    let peer = 2.0 * few as f64 / peer_time.0.as_secs_f64() / 1e6;
    let touched = |driven: &Driven, calls: usize| driven.touched as f64 / calls as f64;
    vec![
        Row::new(
            format!("core: random DAG with keys, {few} calls"),
            "M ev/s",
            rate,
            "the same DAG in serial order, no keys",
            peer,
            Budget::AtLeast(1.5),
        ),
        Row::new(
            format!("core: time per call at {many}"),
            "µs",
            many_time.per_call_us(many),
            &format!("at {few}"),
            few_time.per_call_us(few),
            Budget::Ratio(2.5),
        ),
        Row::new(
            format!("core: index entries touched per call at {many}"),
            "entries",
            touched(&many_driven, many),
            &format!("at {few}"),
            touched(&few_driven, few),
            Budget::Ratio(1.2),
        )
        .steady(),
    ]
}

/// Calls with up to two inputs and one key, a fifth of them writers, half of them to be resolved.
fn calls(count: usize) -> Vec<CallSpec> {
    let mut random = Random(7);
    let settings = Arc::new(Settings {
        priority: 2,
        expect: Duration::from_secs(1),
        timeout: Duration::from_secs(900),
        idle_timeout: None,
        retry: Retry {
            attempts_max: 1,
            backoff: Duration::from_secs(1),
            factor: 2.0,
            backoff_max: Duration::from_secs(30),
        },
        repeatable: false,
        in_doubt: InDoubtPolicy::Fail,
        failure_has_value: false,
        rekey: false,
        needs: [(LimitId(0), 1)].into(),
        rates: [].into(),
        reuse: None,
    });
    let names: Vec<(String, String)> =
        (0..(count as u64 / 10).max(1)).map(|at| (format!("dir{}", at % 100), format!("file{at}"))).collect();
    (0..count as u64)
        .map(|at| {
            let mut inputs: Vec<u32> = Vec::new();
            for _ in 0..random.below(3).min(at) {
                inputs.push((at - 1 - random.below(at.min(WINDOW))) as u32);
            }
            inputs.sort_unstable();
            inputs.dedup();
            let (dir, file) = &names[random.below(names.len() as u64) as usize];
            let claims: Claims = [Claim { key: Key::new(["file:", dir, file]), write: random.below(5) == 0 }].into();
            CallSpec {
                inputs: inputs.into_iter().map(|call| Input { call, kind: InputKind::Result }).collect(),
                claims,
                foreach: false,
                resolve: random.below(2) == 0,
                settings: settings.clone(),
            }
        })
        .collect()
}

/// Drives a run to its end.
fn drive(calls: Vec<CallSpec>) -> Driven {
    let count = calls.len();
    let mut core = Core::new();
    let mut now = Time(0);
    let mut events = count as u64;
    core.handle(now, Event::LimitSet { limit: LimitId(0), capacity: RUNNING });
    core.handle(
        now,
        Event::RunAdded(Box::new(RunSpec {
            run: RunId(0),
            weight: 1,
            deadline: None,
            stop_on_failure: false,
            open: false,
            forget: false,
            seed: 7,
            limits: Vec::new(),
            parent: None,
            recovering: false,
            calls,
        })),
    );
    let mut running: VecDeque<AttemptRef> = VecDeque::new();
    let mut ended = 0;
    loop {
        while let Some(action) = core.poll_action() {
            match action {
                Action::Resolve { call, .. } => {
                    events += 1;
                    core.handle(
                        now,
                        Event::Resolved { call, resolution: Resolution::Run { claims: None, same: None } },
                    );
                }
                Action::Start { attempt, .. } => running.push_back(attempt),
                Action::Ended(_) => ended += 1,
                _ => {}
            }
        }
        let Some(attempt) = running.pop_front() else { break };
        now = Time(now.0 + 1_000);
        events += 1;
        core.handle(now, Event::Finished { attempt, end: AttemptEnd::Succeeded });
    }
    assert_eq!(ended, count, "every call has ended");
    Driven { events, touched: core.touched() }
}

/// The least that has to be done: the serial order of the calls, by in-degrees and a heap.
fn serial_order(calls: &[CallSpec]) -> usize {
    let mut missing: Vec<usize> = calls.iter().map(|call| call.inputs.len()).collect();
    let mut after: Vec<Vec<u32>> = vec![Vec::new(); calls.len()];
    for (at, call) in calls.iter().enumerate() {
        for input in &call.inputs {
            after[input.call as usize].push(at as u32);
        }
    }
    let mut ready: BinaryHeap<Reverse<u32>> =
        (0..calls.len()).filter(|at| missing[*at] == 0).map(|at| Reverse(at as u32)).collect();
    let mut taken = 0;
    while let Some(Reverse(at)) = ready.pop() {
        taken += 1;
        for next in &after[at as usize] {
            missing[*next as usize] -= 1;
            if missing[*next as usize] == 0 {
                ready.push(Reverse(*next));
            }
        }
    }
    taken
}
