//! Results handed on between calls of one identity, step by step.
//! It does not replace the simulation.
use expect_test::{Expect, expect};
use fanout_core::policy::RESULTS_MAX;
use fanout_core::*;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

const ONE: LimitId = LimitId(0);

fn settings(reuse: Option<Reuse>) -> Arc<Settings> {
    Arc::new(Settings { needs: [(ONE, 1)].into(), reuse, ..crate::settings() })
}

fn reads(scope: Scope) -> Arc<Settings> {
    settings(Some(Reuse { ttl: Some(Duration::from_nanos(100)), scope }))
}

/// A call that reads, or writes, one key; `after` these.
fn call(settings: &Arc<Settings>, key: &[&str], write: bool, after: &[u32]) -> CallSpec {
    CallSpec {
        inputs: after.iter().map(|&call| Input { call, kind: InputKind::Outcome }).collect(),
        claims: [Claim { key: Key::new(key.iter().copied()), write }].into(),
        foreach: false,
        resolve: !write,
        settings: settings.clone(),
    }
}

fn run(run: u32, calls: Vec<CallSpec>) -> Event {
    Event::RunAdded(Box::new(crate::run(RunId(run), calls)))
}

fn who(run: u32, call: u32) -> CallRef {
    CallRef { run: RunId(run), call, element: None }
}

fn finished(run: u32, call: u32, end: AttemptEnd) -> Event {
    Event::Finished { attempt: AttemptRef { call: who(run, call), attempt: 1 }, end }
}

const FAILED: AttemptEnd =
    AttemptEnd::Failed { class: FailureClass::Permanent, reached: Reached::Yes, retry_after: None };
const UNKNOWN: AttemptEnd =
    AttemptEnd::Failed { class: FailureClass::Permanent, reached: Reached::Unknown, retry_after: None };

/// Tells the events, resolves all that is asked with identity 1, and says what was ordered.
fn told(core: &mut Core, at: u64, events: impl IntoIterator<Item = Event>) -> String {
    let mut said = String::new();
    let name = |call: CallRef| format!("{}.{}", call.run.0, call.call);
    for event in events {
        core.handle(Time(at), event);
    }
    while let Some(action) = core.poll_action() {
        let _ = match action {
            Action::Resolve { call, .. } => {
                let resolution = Resolution::Run { claims: None, same: Some(Identity(1)) };
                core.handle(Time(at), Event::Resolved { call, resolution });
                Ok(())
            }
            Action::Start { attempt, .. } => write!(said, "start {}, ", name(attempt.call)),
            Action::Abort { attempt, .. } => write!(said, "abort {}, ", name(attempt.call)),
            Action::Reuse { call, from: Source::Entry(e) } => write!(said, "{} from entry {}, ", name(call), e.0),
            Action::Reuse { call, from: Source::Call(c) } => write!(said, "{} from {}, ", name(call), name(c)),
            Action::Keep { call, entry } => write!(said, "keep {} as {}, ", name(call), entry.0),
            Action::Reuse { call, from: Source::Disk } => write!(said, "{} from disk, ", name(call)),
            Action::Forget { entry, .. } => write!(said, "forget {}, ", entry.0),
            Action::Look { call, look } => write!(said, "look {} ({look}), ", name(call)),
            Action::Store { call, entry, stamp } => {
                write!(said, "store {} as {} since {}, ", name(call), entry.0, stamp.0)
            }
            Action::OpenWrite { call } => write!(said, "open {}, ", name(call)),
            Action::CloseWrite { call } => write!(said, "close {}, ", name(call)),
            Action::Ended(end) => write!(said, "end {} {:?} {:?}, ", name(end.call), end.outcome, end.reason),
            Action::RunEnded { run, .. } => write!(said, "run {} ended, ", run.0),
            Action::Retry { .. } | Action::Ask { .. } | Action::Illegal { .. } | Action::DropCall { .. } => Ok(()),
        };
    }
    said
}

fn check(core: &mut Core, at: u64, event: Event, expected: Expect) {
    expected.assert_eq(&told(core, at, [event]));
}

#[test]
fn a_result_serves_those_who_ask_meanwhile_and_later_until_it_is_written() {
    let (r, w) = (reads(Scope::Run), settings(None));
    let mut core = Core::new();
    let src = &["f", "src"];
    let calls = vec![
        call(&r, src, false, &[]),
        call(&r, src, false, &[]),
        call(&r, src, false, &[0]),
        call(&w, &["f", "src", "a"], true, &[]),
        call(&r, src, false, &[]),
    ];
    check(&mut core, 0, run(1, calls), expect!["start 1.0, "]);
    assert_eq!(core.view().call(who(1, 1)).and_then(|v| v.cause), Some(Cause::Flight(who(1, 0))));
    check(
        &mut core,
        10,
        finished(1, 0, AttemptEnd::Succeeded),
        expect![
            "keep 1.0 as 1, end 1.0 Succeeded Tool, 1.1 from 1.0, end 1.1 Succeeded Reused, 1.2 from entry 1, end 1.2 Succeeded Reused, forget 1, start 1.3, "
        ],
    );
    check(&mut core, 20, finished(1, 3, AttemptEnd::Succeeded), expect!["end 1.3 Succeeded Tool, start 1.4, "]);
    check(
        &mut core,
        30,
        finished(1, 4, AttemptEnd::Succeeded),
        expect!["keep 1.4 as 2, end 1.4 Succeeded Tool, forget 2, run 1 ended, "],
    );
    assert_eq!(core.sizes(), (0, 0, 1));
}

#[test]
fn a_failure_is_not_shared_and_a_cancelled_leader_goes_on_for_others() {
    let r = reads(Scope::Run);
    let mut core = Core::new();
    core.handle(Time(0), Event::LimitSet { limit: ONE, capacity: 1 });
    let calls = (0..4).map(|_| call(&r, &["f"], false, &[])).collect();
    check(&mut core, 0, run(1, calls), expect!["start 1.0, "]);
    check(&mut core, 1, finished(1, 0, FAILED), expect!["end 1.0 Failed Tool, start 1.1, "]);
    let cancel = |call| Event::CancelRequested { run: RunId(1), call, force: true };
    check(&mut core, 2, cancel(Some(1)), expect![""]);
    check(&mut core, 3, cancel(Some(2)), expect!["end 1.2 Cancelled Cancelled, "]);
    check(&mut core, 4, cancel(Some(3)), expect!["end 1.3 Cancelled Cancelled, abort 1.1, "]);
    let end = AttemptEnd::Aborted { reached: Reached::Yes };
    check(&mut core, 5, finished(1, 1, end), expect!["end 1.1 Cancelled Cancelled, run 1 ended, "]);
}

#[test]
fn results_of_the_engine_outlive_their_run_not_their_time() {
    let r = reads(Scope::Engine);
    let mut core = Core::new();
    let one = |n| run(n, vec![call(&r, &["f"], false, &[])]);
    check(&mut core, 0, one(1), expect!["start 1.0, "]);
    let given = finished(1, 0, AttemptEnd::Succeeded);
    check(&mut core, 10, given, expect!["keep 1.0 as 1, end 1.0 Succeeded Tool, run 1 ended, "]);
    check(&mut core, 109, one(2), expect!["2.0 from entry 1, end 2.0 Succeeded Reused, run 2 ended, "]);
    check(&mut core, 110, one(3), expect!["start 3.0, "]);
    let given = finished(3, 0, AttemptEnd::Succeeded);
    check(&mut core, 120, given, expect!["forget 1, keep 3.0 as 2, end 3.0 Succeeded Tool, run 3 ended, "]);
    check(&mut core, 121, Event::ResultDropped { entry: EntryId(2) }, expect![""]);
    check(&mut core, 122, one(4), expect!["start 4.0, "]);
    assert_eq!(told(&mut core, 123, [finished(4, 0, FAILED)]), "end 4.0 Failed Tool, run 4 ended, ");
    assert_eq!(core.sizes(), (0, 0, 1));
}

#[test]
fn nothing_is_kept_while_a_write_of_it_is_in_doubt() {
    let (r, w) = (reads(Scope::Engine), settings(None));
    let mut core = Core::new();
    let calls = vec![call(&w, &["f"], true, &[]), call(&w, &["g"], true, &[])];
    check(&mut core, 0, run(1, calls), expect!["start 1.0, start 1.1, "]);
    // A repeatable write that failed may still take effect, for all that is known.
    check(&mut core, 1, finished(1, 0, UNKNOWN), expect!["end 1.0 Failed Tool, "]);
    let read = |n| run(n, vec![call(&r, &["f", "a"], false, &[])]);
    check(&mut core, 2, read(2), expect!["start 2.0, "]);
    check(&mut core, 3, finished(2, 0, AttemptEnd::Succeeded), expect!["end 2.0 Succeeded Tool, run 2 ended, "]);
    check(&mut core, 4, read(3), expect!["start 3.0, "]);
    // With its run the doubt ends, and takes what was read during it along.
    check(&mut core, 5, finished(1, 1, AttemptEnd::Succeeded), expect!["end 1.1 Succeeded Tool, run 1 ended, "]);
    check(&mut core, 6, finished(3, 0, AttemptEnd::Succeeded), expect!["end 3.0 Succeeded Tool, run 3 ended, "]);
    check(&mut core, 7, read(4), expect!["start 4.0, "]);
    check(
        &mut core,
        8,
        finished(4, 0, AttemptEnd::Succeeded),
        expect!["keep 4.0 as 4, end 4.0 Succeeded Tool, run 4 ended, "],
    );
}

/// Results below a key that is written cost what they are; those beside it cost nothing.
#[test]
fn a_write_finds_what_it_overlaps_without_looking_at_the_rest() {
    let (r, w) = (settings(Some(Reuse { ttl: None, scope: Scope::Engine })), settings(None));
    let mut core = Core::new();
    let names: Vec<String> = (0..2_000).map(|i| i.to_string()).collect();
    let calls = names.iter().map(|name| call(&r, &["f", name], false, &[])).collect();
    core.handle(Time(0), run(1, calls));
    let mut same = 0;
    while let Some(action) = core.poll_action() {
        same += 1;
        let event = match action {
            Action::Resolve { call, .. } => {
                Event::Resolved { call, resolution: Resolution::Run { claims: None, same: Some(Identity(same)) } }
            }
            Action::Start { attempt, .. } => Event::Finished { attempt, end: AttemptEnd::Succeeded },
            _ => continue,
        };
        core.handle(Time(0), event);
    }
    let before = core.touched();
    assert_eq!(told(&mut core, 1, [run(2, vec![call(&w, &["f", "7", "x"], true, &[])])]), "forget 8, start 2.0, ");
    assert!(core.touched() - before < 40, "{} entries were touched", core.touched() - before);
    let rest = told(&mut core, 2, [run(3, vec![call(&w, &["f"], true, &[])])]);
    assert_eq!(rest, "", "the other run's attempt holds a key below");
    let rest = told(&mut core, 3, [finished(2, 0, AttemptEnd::Succeeded)]);
    assert_eq!(rest.matches("forget").count(), 1_999);
}

#[test]
fn the_oldest_result_goes_when_there_are_too_many() {
    let r = settings(Some(Reuse { ttl: None, scope: Scope::Engine }));
    let mut core = Core::new();
    let calls = (0..=RESULTS_MAX).map(|_| CallSpec { claims: [].into(), ..call(&r, &["f"], false, &[]) }).collect();
    core.handle(Time(0), run(1, calls));
    let (mut same, mut forgotten) = (0, vec![]);
    while let Some(action) = core.poll_action() {
        same += 1;
        let event = match action {
            Action::Resolve { call, .. } => {
                Event::Resolved { call, resolution: Resolution::Run { claims: None, same: Some(Identity(same)) } }
            }
            Action::Start { attempt, .. } => Event::Finished { attempt, end: AttemptEnd::Succeeded },
            Action::Forget { entry, .. } => {
                forgotten.push(entry.0);
                continue;
            }
            _ => continue,
        };
        core.handle(Time(0), event);
    }
    assert_eq!(forgotten, [1]);
}

fn looked(call: u32, look: u64, given: Option<u64>, stamp: u64) -> Event {
    let given = given.map(Time);
    Event::LookedUp { call: who(1, call), look, given, stamp: Some(Stamp(stamp)) }
}

#[test]
fn a_call_looks_on_the_disk_when_its_turn_has_come_and_a_write_is_open_there_before_it_starts() {
    let (r, w) = (reads(Scope::Disk), settings(None));
    let mut core = Core::new();
    core.handle(Time(0), Event::DiskSet { on: true });
    let src = &["f", "src"];
    let calls = vec![
        call(&r, src, false, &[]),
        call(&r, src, false, &[]),
        call(&w, &["f", "src", "a"], true, &[]),
        call(&r, src, false, &[]),
    ];
    check(&mut core, 0, run(1, calls), expect!["look 1.0 (1), look 1.1 (2), "]);
    assert_eq!(core.view().call(who(1, 1)).and_then(|v| v.cause), Some(Cause::Look));
    check(&mut core, 1, looked(0, 1, None, 7), expect!["start 1.0, "]);
    // What will do for it is in the air by now.
    check(&mut core, 2, looked(1, 2, None, 8), expect![""]);
    assert_eq!(core.view().call(who(1, 1)).and_then(|v| v.cause), Some(Cause::Flight(who(1, 0))));
    let kept = expect![
        "store 1.0 as 1 since 7, end 1.0 Succeeded Tool, 1.1 from 1.0, end 1.1 Succeeded Reused, forget 1, open 1.2, start 1.2, "
    ];
    check(&mut core, 3, finished(1, 0, AttemptEnd::Succeeded), kept);
    check(
        &mut core,
        4,
        finished(1, 2, AttemptEnd::Succeeded),
        expect!["close 1.2, end 1.2 Succeeded Tool, look 1.3 (3), "],
    );
    // An answer to another question, one that is too old, and one that will do.
    check(&mut core, 5, looked(3, 2, Some(5), 9), expect![""]);
    check(&mut core, 6, looked(3, 3, Some(6), 9), expect!["1.3 from disk, end 1.3 Succeeded Reused, run 1 ended, "]);
}

#[test]
fn what_is_too_old_or_cannot_be_read_is_not_there_and_what_nobody_looked_for_is_not_stored() {
    let r = reads(Scope::Disk);
    let mut core = Core::new();
    core.handle(Time(0), Event::DiskSet { on: true });
    check(&mut core, 0, run(1, vec![call(&r, &["f"], false, &[])]), expect!["look 1.0 (1), "]);
    let unread = Event::LookedUp { call: who(1, 0), look: 1, given: Some(Time(0)), stamp: None };
    check(&mut core, 100, unread, expect!["start 1.0, "]);
    check(&mut core, 101, finished(1, 0, AttemptEnd::Succeeded), expect!["end 1.0 Succeeded Tool, run 1 ended, "]);
}

#[test]
fn a_doubt_keeps_the_write_open_on_disk_until_the_run_ends() {
    let w = settings(None);
    let mut core = Core::new();
    core.handle(Time(0), Event::DiskSet { on: true });
    let calls = vec![call(&w, &["f"], true, &[]), call(&w, &["g"], true, &[0])];
    check(&mut core, 0, run(1, calls), expect!["open 1.0, start 1.0, "]);
    check(&mut core, 1, finished(1, 0, UNKNOWN), expect!["end 1.0 Failed Tool, open 1.1, start 1.1, "]);
    let ended = expect!["close 1.1, end 1.1 Succeeded Tool, close 1.0, run 1 ended, "];
    check(&mut core, 2, finished(1, 1, AttemptEnd::Succeeded), ended);
}

#[test]
fn who_looked_in_vain_looks_again_once_something_was_stored() {
    let one = Arc::new(Settings { needs: [(ONE, 1)].into(), ..(*reads(Scope::Disk)).clone() });
    let mut core = Core::new();
    core.handle(Time(0), Event::DiskSet { on: true });
    core.handle(Time(0), Event::LimitSet { limit: ONE, capacity: 1 });
    // The second is of another run, so that it cannot join.
    check(&mut core, 0, run(1, vec![call(&one, &["f"], false, &[])]), expect!["look 1.0 (1), "]);
    check(&mut core, 0, run(2, vec![call(&one, &["f"], false, &[])]), expect!["look 2.0 (2), "]);
    check(&mut core, 1, looked(0, 1, None, 0), expect!["start 1.0, "]);
    let nothing = Event::LookedUp { call: who(2, 0), look: 2, given: None, stamp: Some(Stamp(0)) };
    check(&mut core, 1, nothing, expect![""]);
    let again = expect!["store 1.0 as 1 since 0, end 1.0 Succeeded Tool, run 1 ended, look 2.0 (3), "];
    check(&mut core, 2, finished(1, 0, AttemptEnd::Succeeded), again);
}
