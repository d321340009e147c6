//! Recovery and approval, step by step: what is told again is taken in where it can have happened, else refused.
//! They do not replace the simulation of crashes.
use fanout_core::*;
use std::sync::Arc;
use std::time::Duration;

const RUN: RunId = RunId(1);

fn settings(repeatable: bool, in_doubt: InDoubtPolicy) -> Arc<Settings> {
    Arc::new(Settings { repeatable, in_doubt, needs: [(LimitId(0), 1)].into(), ..crate::settings() })
}

fn call(settings: &Arc<Settings>, inputs: &[u32], resolve: bool) -> CallSpec {
    CallSpec {
        inputs: inputs.iter().map(|&call| Input { call, kind: InputKind::Result }).collect(),
        claims: Arc::from([Claim { key: Key::new(["f"]), write: !settings.repeatable }]),
        foreach: false,
        resolve,
        settings: settings.clone(),
    }
}

fn spec(recovering: bool, deadline: Option<Time>, calls: Vec<CallSpec>) -> RunSpec {
    RunSpec { deadline, recovering, ..crate::run(RUN, calls) }
}

fn run(recovering: bool, calls: Vec<CallSpec>) -> Core {
    let mut core = Core::new();
    core.handle(Time(0), Event::LimitSet { limit: LimitId(0), capacity: 1 });
    core.handle(Time(0), Event::RunAdded(Box::new(spec(recovering, None, calls))));
    core
}

fn who(call: u32) -> CallRef {
    CallRef { run: RUN, call, element: None }
}

fn attempt(call: u32, attempt: u32) -> AttemptRef {
    AttemptRef { call: who(call), attempt }
}

fn started(call: u32, nth: u32) -> Event {
    Event::Recorded(Recorded::Started { attempt: attempt(call, nth) })
}

fn finished(call: u32, nth: u32) -> Event {
    Event::Finished { attempt: attempt(call, nth), end: AttemptEnd::Succeeded }
}

fn lost(call: u32, answer: Option<DoubtAnswer>) -> Event {
    Event::Recorded(Recorded::Lost { attempt: attempt(call, 1), answer })
}

/// What the core orders now, in short.
fn orders(core: &mut Core) -> Vec<String> {
    let mut said = vec![];
    while let Some(action) = core.poll_action() {
        said.push(match action {
            Action::Start { attempt, .. } => format!("start {}#{}", attempt.call.call, attempt.attempt),
            Action::Ended(end) => format!("{:?} {} by {:?}", end.outcome, end.call.call, end.reason),
            Action::Ask { attempt, .. } => format!("ask {}", attempt.call.call),
            Action::Illegal { call, why } => format!("illegal {} {why:?}", call.call),
            Action::Resolve { call, .. } => format!("resolve {}", call.call),
            Action::RunEnded { .. } => "over".to_owned(),
            other => format!("{other:?}"),
        });
    }
    said
}

fn told(core: &mut Core, at: u64, events: impl IntoIterator<Item = Event>) -> Vec<String> {
    let mut said = vec![];
    for event in events {
        core.handle(Time(at), event);
        said.extend(orders(core));
    }
    said
}

#[test]
fn a_run_goes_on_where_its_record_ends() {
    let reads = settings(true, InDoubtPolicy::Fail);
    let mut core = run(true, vec![call(&reads, &[], false), call(&reads, &[0], false), call(&reads, &[1], false)]);
    assert_eq!(orders(&mut core), [] as [&str; 0], "nothing starts by itself while it recovers");
    let said = told(&mut core, 5, [started(0, 1), finished(0, 1), started(1, 1)]);
    assert_eq!(said, ["Succeeded 0 by Tool"]);
    // The attempt that was lost is followed by another, though the retry policy allows one only.
    let said = told(&mut core, 6, [lost(1, None), Event::Recovered { run: RUN }]);
    assert_eq!(said, ["start 1#2"]);
    assert_eq!(told(&mut core, 7, [finished(1, 2)]), ["Succeeded 1 by Tool", "start 2#1"]);
    assert_eq!(told(&mut core, 8, [finished(2, 1)]), ["Succeeded 2 by Tool", "over"]);
    assert_eq!(core.sizes(), (0, 0, 1));
}

#[test]
fn a_lost_write_is_in_doubt() {
    let cases = [
        (InDoubtPolicy::Fail, None, vec!["InDoubt 0 by Lost", "over"]),
        (InDoubtPolicy::Rerun, None, vec!["start 0#2"]),
        (InDoubtPolicy::Ask(Duration::from_secs(9)), None, vec!["ask 0"]),
        (InDoubtPolicy::Fail, Some(DoubtAnswer::Rerun), vec!["start 0#2"]),
        (InDoubtPolicy::Fail, Some(DoubtAnswer::Succeeded), vec!["Succeeded 0 by Settled", "over"]),
        (InDoubtPolicy::Rerun, Some(DoubtAnswer::Fail), vec!["InDoubt 0 by Settled", "over"]),
    ];
    for (policy, answer, expected) in cases {
        let mut core = run(true, vec![call(&settings(false, policy), &[], false)]);
        let said = told(&mut core, 1, [started(0, 1), lost(0, answer), Event::Recovered { run: RUN }]);
        assert_eq!(said, expected, "{policy:?} {answer:?}");
    }
}

#[test]
fn a_cancelled_run_starts_nothing_again() {
    for (repeatable, expected) in [(true, "Cancelled 0 by Cancelled"), (false, "InDoubt 0 by Lost")] {
        let mut core = run(true, vec![call(&settings(repeatable, InDoubtPolicy::Rerun), &[], false)]);
        let cancel = Event::CancelRequested { run: RUN, call: None, force: false };
        let said = told(&mut core, 1, [started(0, 1), cancel, lost(0, None), Event::Recovered { run: RUN }]);
        assert_eq!(said, [expected, "over"]);
    }
}

#[test]
fn what_cannot_have_happened_is_refused() {
    let (reads, writes) = (settings(true, InDoubtPolicy::Fail), settings(false, InDoubtPolicy::Fail));
    let calls = || vec![call(&writes, &[], false), call(&reads, &[], false), call(&writes, &[0], false)];
    let aborted = |reason| Event::Recorded(Recorded::Aborted { attempt: attempt(0, 1), reason });
    let cases: [(Vec<Event>, &str); 10] = [
        (vec![started(1, 1)], "illegal 1 NotReady"),
        (vec![started(2, 1)], "illegal 2 NotReady"),
        (vec![started(0, 2)], "illegal 0 WrongAttempt"),
        (vec![started(0, 1), started(0, 2)], "illegal 0 NotReady"),
        (vec![finished(0, 1)], "illegal 0 NotRunning"),
        (vec![started(0, 1), finished(0, 2)], "illegal 0 WrongAttempt"),
        (vec![started(7, 1)], "illegal 7 NoCall"),
        (vec![started(0, 1), aborted(AbortReason::Cancelled)], "illegal 0 NotAborted"),
        (vec![started(0, 1), Event::Recorded(Recorded::GivenUp { attempt: attempt(0, 1) })], "illegal 0 NotAborted"),
        (vec![Event::Recorded(Recorded::Unanswered { call: who(0) })], "illegal 0 NotAsked"),
    ];
    for (events, expected) in cases {
        let mut core = run(true, calls());
        assert_eq!(told(&mut core, 1, events.clone()), [expected], "{events:?}");
    }
    let mut core = run(false, calls());
    orders(&mut core);
    assert_eq!(told(&mut core, 1, [lost(0, None)]), ["illegal 0 NoCall"], "only of a recovering run");
}

/// What was due before all was told, or while nobody was there, comes after what is told.
#[test]
fn what_is_due_waits_until_all_is_told() {
    let asks = settings(false, InDoubtPolicy::Ask(Duration::ZERO));
    let answer = |answer| Event::DoubtSettled { attempt: attempt(0, 1), answer };
    let unknown = AttemptEnd::Failed { class: FailureClass::Transient, reached: Reached::Unknown, retry_after: None };
    let ended = Event::Finished { attempt: attempt(0, 1), end: unknown };
    for (last, expected) in [
        (Some(answer(DoubtAnswer::Succeeded)), vec!["ask 0", "Succeeded 0 by Settled", "over"]),
        (None, vec!["ask 0", "InDoubt 0 by Timeout", "over"]),
    ] {
        let mut core = run(true, vec![call(&asks, &[], false)]);
        let facts = [started(0, 1), ended.clone()].into_iter().chain(last);
        assert_eq!(told(&mut core, 1, facts.chain([Event::Recovered { run: RUN }])), expected);
    }
}

#[test]
fn a_deadline_passes_at_its_place_in_the_record_or_at_its_end() {
    let reads = settings(true, InDoubtPolicy::Fail);
    let late = Event::DeadlinePassed { run: RUN };
    let begun = || {
        let mut core = Core::new();
        let calls = vec![call(&reads, &[], false), call(&reads, &[0], false)];
        core.handle(Time(90), Event::RunAdded(Box::new(spec(true, Some(Time(50)), calls))));
        core
    };
    // The second call was cancelled before the first had failed: it is not skipped because of that.
    let aborted = Event::Recorded(Recorded::Aborted { attempt: attempt(0, 1), reason: AbortReason::Deadline });
    let ended = Event::Finished { attempt: attempt(0, 1), end: AttemptEnd::Aborted { reached: Reached::Yes } };
    let said = told(&mut begun(), 90, [started(0, 1), late, aborted, ended]);
    assert_eq!(said[1..], ["Cancelled 1 by Deadline", "Cancelled 0 by Deadline", "over"]);
    // Nobody was there when it passed: what is told happened before.
    let said = told(&mut begun(), 90, [started(0, 1), finished(0, 1), Event::Recovered { run: RUN }]);
    assert_eq!(said, ["Succeeded 0 by Tool", "Cancelled 1 by Deadline", "over"]);
}

#[test]
fn a_call_waits_to_be_approved_and_keeps_its_place() {
    let writes = settings(false, InDoubtPolicy::Fail);
    let resolved = |resolution| Event::Resolved { call: who(0), resolution };
    let ask = || resolved(Resolution::Ask { claims: None, bound: Duration::from_nanos(100) });
    let cases = [
        (Some(Resolution::Run { claims: None, same: None }), vec!["start 0#1"]),
        (Some(Resolution::Denied), vec!["Denied 0 by Denied", "start 1#1"]),
        (None, vec!["Denied 0 by Timeout", "start 1#1"]),
    ];
    for (answer, expected) in cases {
        let mut core = run(false, vec![call(&writes, &[], true), call(&writes, &[], false)]);
        assert_eq!(orders(&mut core), ["resolve 0"]);
        assert_eq!(told(&mut core, 10, [ask()]), [] as [&str; 0], "the other writer waits behind it");
        assert_eq!(core.view().call(who(0)).and_then(|call| call.cause), Some(Cause::Approval));
        let (at, answer) = answer.map_or((110, Event::Tick), |answer| (109, resolved(answer)));
        assert_eq!(told(&mut core, at, [answer]), expected);
    }
}
