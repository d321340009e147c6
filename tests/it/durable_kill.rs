//! The kill test: `fanout run --durable` is killed by KILL at random moments, gone on with, killed again, until it ends.
//! It does not know how a run is recorded.

use fanout_tests::{Ended, Folder, bearing, until};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// At least so many kills, unless `FANOUT_KILLS` says another number.
const KILLS_MIN: usize = 200;
/// More than that as long as it takes no longer than this.
const TIME_MAX: Duration = Duration::from_secs(30);
/// A run that was killed so often may end.
const LIVES_MAX: usize = 6;

const TOOLS: &str = r#"
tools:
  list: {argv: [printf, '%s', '["x","y","z"]'], stdout: json, effects: {reads: ["db:list"]}}
  add:  {argv: [sh, add.sh, idempotent, "${args.n}"], args: {n: {type: string}}, set: {MARK: "@mark"}, env: [PATH],
         effects: {writes: ["db:add/${args.n}"], idempotent: true}}
  pay:  {argv: [sh, add.sh, once, "${args.n}"], args: {n: {type: string}}, set: {MARK: "@mark"}, env: [PATH],
         effects: {writes: ["db:pay"]}}
"#;

/// Small plans of different shapes: chains, lists, conditions, a call that stands in for another.
const PLANS: [&str; 3] = [
    r#"
calls:
  - {id: list, tool: list}
  - {id: adds, tool: add, foreach: "${list}", args: {n: "${item}"}}
  - {id: pays, tool: pay, foreach: "${list}", args: {n: "${item}"}}
  - {id: never, tool: pay, args: {n: never}, when: "list[0] == 'a'"}
  - {id: last, tool: pay, args: {n: "last ${adds[2]}"}}
output: {adds: "${adds}", pays: "${pays}", last: "${last}"}
"#,
    r#"
calls:
  - {id: a, tool: pay, args: {n: a}}
  - {id: b, tool: add, args: {n: "b ${a}"}}
  - {id: c, tool: pay, args: {n: "c ${b}"}}
  - {id: d, tool: add, args: {n: "d ${c}"}}
output: "${d}"
"#,
    r#"
calls:
  - {id: a, tool: add, args: {n: a}}
  - {id: b, tool: pay, args: {n: b}, on_failure: {value: nothing}}
  - {id: c, tool: add, args: {n: c}, after: [b]}
  - {id: d, tool: pay, args: {n: "d ${a}"}}
  - {id: e, tool: pay, args: {n: "e ${c}"}}
output: ["${d}", "${e}"]
"#,
];

/// A generator of numbers that a seed repeats (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

/// One plan, run without and with kills.
struct Case {
    folder: Folder,
    mark: String,
    /// Outcome and result of each call of an uninterrupted run.
    whole: BTreeMap<String, (String, Value)>,
    took: Duration,
}

impl Case {
    fn new(plan: &str, mark: String) -> Case {
        let folder = Folder::with_plan(&format!("name: killed{}{plan}", TOOLS.replace("@mark", &mark)));
        // One write of one line: appended as a whole or not at all.
        folder
            .write("add.sh", "echo \"$FANOUT_CALL $FANOUT_IDEMPOTENCY_KEY\" >> \"$1\"\nsleep 0.01\necho \"done $2\"\n");
        // Built first: what is measured is a run.
        fanout_tests::fanout();
        let begun = Instant::now();
        folder.fanout(["run", "plan.yaml", "--durable", "--state", "state", "--report", "whole.json"]).with_code(0);
        let took = begun.elapsed();
        let whole = shape(&folder.read("whole.json"));
        Case { folder, mark, whole, took }
    }

    /// Lives one run to its end; gives how often it was killed.
    fn live(&self, key: &str, looks: bool, chance: &mut Chance) -> usize {
        for ledger in ["once", "idempotent"] {
            self.folder.write(ledger, "");
        }
        let (mut id, mut kills): (Option<String>, usize) = (None, 0);
        let ended = loop {
            let answers = if looks && id.is_some() { self.answers() } else { Vec::new() };
            let mut args = match &id {
                None => vec!["run", "plan.yaml", "--key", key],
                Some(id) => {
                    answers.iter().fold(vec!["resume", id], |args, answer| [args, vec!["--in-doubt", answer]].concat())
                }
            };
            args.extend(["--state", "state", "--report", "report.json", "--no-progress"]);
            let mut child = self.folder.command(&args).stdin(Stdio::null()).spawn().expect("fanout starts");
            if kills < LIVES_MAX && chance.below(8) > 0 {
                let most = u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX);
                // The moment is what is tested, so this is no wait for something.
                std::thread::park_timeout(Duration::from_micros(chance.below(most + most / 4)));
                child.kill().expect("a child of ours");
            }
            // What it left running is waited for by who goes on with the run; only who looks has to wait for it too.
            let ended = end(child);
            match ended.code {
                None => kills += 1,
                Some(6) => {
                    let hint = ended.stderr.split_once("`fanout resume ").and_then(|(_, hint)| hint.split_once('`'));
                    id = Some(hint.unwrap_or_else(|| panic!("{ended:?}")).0.to_owned());
                }
                Some(0 | 1) => break ended,
                Some(_) => panic!("it cannot be gone on with: {ended:?}"),
            }
        };
        let said = |what: &str| {
            format!("{what} (the answers {})\n{}", if looks { "looked up" } else { "left out" }, ended.stderr)
        };
        self.check(looks, &said);
        kills
    }

    /// Whether some process has the lock of a run.
    fn is_locked(&self) -> bool {
        let locks = std::fs::read_dir(self.folder.path("state/locks")).into_iter().flatten().flatten();
        let locks = locks.filter_map(|entry| std::fs::File::open(entry.path()).ok());
        locks.into_iter().any(|file| file.try_lock_shared().is_err())
    }

    /// What somebody who looks into the ledger says about each call that must not be done twice.
    fn answers(&self) -> Vec<String> {
        // What has not yet become its tool has no mark, but has the lock of the run.
        until("nobody has a lock", || !self.is_locked());
        until("nothing is left", || bearing(&format!("MARK={}", self.mark)) == 0);
        let paid: BTreeSet<String> = self.ledger("once").into_keys().collect();
        let of = |id: &String| match (paid.contains(id), &self.whole[id].1) {
            (true, result) => format!("{id}=succeeded:{result}"),
            (false, _) => format!("{id}=rerun"),
        };
        self.whole.keys().filter(|id| is_once(id, &self.folder)).map(of).collect()
    }

    /// How often each call wrote a line, and with which keys.
    fn ledger(&self, name: &str) -> BTreeMap<String, Vec<String>> {
        let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in self.folder.read(name).lines() {
            let (call, key) = line.split_once(' ').expect("a call and a key");
            lines.entry(call.to_owned()).or_default().push(key.to_owned());
        }
        lines
    }

    fn check(&self, looks: bool, said: &dyn Fn(&str) -> String) {
        let report = shape(&self.folder.read("report.json"));
        let (once, idempotent) = (self.ledger("once"), self.ledger("idempotent"));
        for (call, keys) in &once {
            assert_eq!(keys.len(), 1, "{}", said(&format!("{call} was done more than once")));
        }
        let mut all_keys = BTreeSet::new();
        for (call, keys) in idempotent.iter().chain(&once) {
            let keys: BTreeSet<&String> = keys.iter().collect();
            assert_eq!(keys.len(), 1, "{}", said(&format!("the keys of {call} differ")));
            assert!(all_keys.is_disjoint(&keys), "{}", said(&format!("the key of {call} is that of another")));
            all_keys.extend(keys);
        }
        let lost = report.values().any(|(outcome, _)| outcome == "in_doubt");
        for (call, (outcome, result)) in &report {
            let did = once.contains_key(call) || idempotent.contains_key(call);
            match outcome.as_str() {
                "succeeded" => {
                    assert_eq!(result, &self.whole[call].1, "{}", said(&format!("{call} gave something else")));
                    let writes = call.starts_with("list") || call == "adds" || call == "pays" || did;
                    assert!(writes, "{}", said(&format!("{call} succeeded and did nothing")));
                }
                "in_doubt" => {
                    assert!(!looks && !idempotent.contains_key(call), "{}", said(&format!("{call} is in doubt")))
                }
                _ => assert!(!did, "{}", said(&format!("{call} was done and is {outcome}"))),
            }
        }
        if looks || !lost {
            assert_eq!(report, self.whole, "{}", said("nothing is in doubt, and the report is another"));
        }
        let calls = |report: &BTreeMap<String, _>| report.keys().cloned().collect::<Vec<_>>();
        let both = [calls(&report), calls(&self.whole)];
        assert_eq!(both[0], both[1], "{}", said("the calls are others"));
    }
}

/// Whether a call is one of a tool that must not be repeated.
fn is_once(id: &str, folder: &Folder) -> bool {
    let name = id.split('[').next().unwrap_or(id);
    folder.read("plan.yaml").contains(&format!("id: {name}, tool: pay")) && id != "pays"
}

fn end(child: Child) -> Ended {
    Ended::from(child.wait_with_output().expect("fanout ends"))
}

/// Outcome and result of each call.
fn shape(report: &str) -> BTreeMap<String, (String, Value)> {
    let report: Value = serde_json::from_str(report).unwrap_or_else(|error| panic!("{error} in {report}"));
    let one = |call: &Value| {
        let outcome = call["outcome"].as_str().unwrap_or_default().to_owned();
        (call["id"].as_str().unwrap_or_default().to_owned(), (outcome, call["result"].clone()))
    };
    report["calls"].as_array().expect("calls").iter().map(one).collect()
}

#[test]
fn a_run_that_is_killed_again_and_again_does_nothing_twice_and_loses_nothing() {
    let given = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = given("FANOUT_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let least = given("FANOUT_KILLS").map_or(KILLS_MIN, |kills| usize::try_from(kills).unwrap_or(usize::MAX));
    println!("FANOUT_SEED={seed} FANOUT_KILLS={least}");
    let (begun, kills, runs) = (Instant::now(), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for (number, plan) in PLANS.iter().enumerate() {
            let (kills, runs) = (&kills, &runs);
            scope.spawn(move || {
                let case = Case::new(plan, format!("killed_{}_{number}", std::process::id()));
                let mut chance = Chance(seed + 1_000 * number as u64);
                for turn in 0.. {
                    let goes_on = kills.load(Ordering::Relaxed) < least
                        || (given("FANOUT_KILLS").is_none() && begun.elapsed() < TIME_MAX);
                    if !goes_on {
                        return;
                    }
                    let killed = case.live(&format!("run {turn}"), turn % 2 == 0, &mut chance);
                    kills.fetch_add(killed, Ordering::Relaxed);
                    runs.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let (kills, runs) = (kills.into_inner(), runs.into_inner());
    println!("{kills} kills in {runs} runs, {:?}", begun.elapsed());
    assert!(kills >= least && runs > 10, "{kills} kills in {runs} runs");
}
