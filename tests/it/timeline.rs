//! Pictures of runs: `--timeline`, `--trace` and `fanout timeline`.
//! It does not know how they look; a person does.

use fanout_tests::{Ended, Folder};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const PLAN: &str = "
name: a <b>bold</b> plan
tools:
  say: {argv: [printf, '%s', '${args.text}'], args: {text: {type: string}}, effects: none}
  busy: {argv: [sh, -c, 'test -e made && exit 0; touch made; exit 75'], transient: [75], retry: {attempts: 2, backoff: 10ms}, effects: {writes: [made], idempotent: true}}
  break: {argv: [sh, -c, 'exit 3'], effects: none}
calls:
  - {id: a, tool: say, args: {text: x}}
  - {id: b, tool: say, foreach: '${inputs.list}', args: {text: '${item} ${a}'}}
  - {id: again, tool: busy}
  - {id: bad, tool: break}
  - {id: never, tool: say, args: {text: '${bad}'}}
  - {id: last, tool: say, args: {text: '${b} ${again}'}}
inputs: {list: {schema: {type: array}, default: [y, z]}}
";

/// One end of an arrow: phase, process, thread, moment.
type FlowEnd<'t> = (&'t str, u64, u64, f64);

/// What the format demands of a trace, and what viewers demand beyond it. See the comment in the source of the trace.
fn is_valid(trace: &Value) -> Result<(), String> {
    let events = trace["traceEvents"].as_array().ok_or("no events")?;
    let mut slices: BTreeMap<(u64, u64), Vec<(f64, f64)>> = BTreeMap::new();
    let mut flows: BTreeMap<(String, u64), Vec<FlowEnd<'_>>> = BTreeMap::new();
    let mut open: BTreeSet<&str> = BTreeSet::new();
    let mut named: BTreeSet<(u64, u64)> = BTreeSet::new();
    for event in events {
        let field = |name: &str| event[name].as_u64().ok_or(format!("no {name}: {event}"));
        let text = |name: &str| event[name].as_str().filter(|s| !s.is_empty()).ok_or(format!("no {name}: {event}"));
        let time = |name: &str| event[name].as_f64().filter(|t| *t >= 0.0).ok_or(format!("no {name}: {event}"));
        let (pid, tid) = (field("pid")?, field("tid")?);
        text("name")?;
        match text("ph")? {
            "M" => {
                let known = ["process_name", "thread_name", "thread_sort_index"].contains(&text("name")?);
                if !known || !event["args"].is_object() {
                    return Err(format!("metadata: {event}"));
                }
                named.insert((pid, tid));
            }
            "X" => slices.entry((pid, tid)).or_default().push((time("ts")?, time("ts")? + time("dur")?)),
            "b" if !open.insert(text("id")?) => return Err(format!("begun twice: {event}")),
            "e" if !open.remove(text("id")?) => return Err(format!("ends without begin: {event}")),
            "b" | "e" => _ = (time("ts")?, text("cat")?),
            ph @ ("s" | "f") => {
                if ph == "f" && event["bp"] != "e" {
                    return Err(format!("binds to the next slice: {event}"));
                }
                flows.entry((text("cat")?.into(), field("id")?)).or_default().push((ph, pid, tid, time("ts")?));
            }
            other => return Err(format!("a phase {other}")),
        }
    }
    if !open.is_empty() {
        return Err(format!("without end: {open:?}"));
    }
    for (thread, slices) in &mut slices {
        slices.sort_by(|a, b| a.0.total_cmp(&b.0));
        if !named.contains(thread) || slices.windows(2).any(|pair| pair[0].1 > pair[1].0) {
            return Err(format!("slices of {thread:?} overlap or it has no name: {slices:?}"));
        }
    }
    for (id, ends) in &flows {
        let [("s", .., from), ("f", .., to)] = ends[..] else { return Err(format!("flow {id:?}: {ends:?}")) };
        let inside = |(_, pid, tid, at): &FlowEnd<'_>| {
            slices.get(&(*pid, *tid)).is_some_and(|all| all.iter().any(|(from, to)| from <= at && at < to))
        };
        if from > to || !ends.iter().all(inside) {
            return Err(format!("flow {id:?} binds to nothing: {ends:?}"));
        }
    }
    Ok(())
}

/// A path is what the system says it is.
#[test]
fn files_may_have_names_that_are_not_utf8() {
    use std::os::unix::ffi::OsStrExt;
    let odd = |name: &[u8]| std::ffi::OsStr::from_bytes(name).to_owned();
    let folder = Folder::new();
    folder
        .write("plan.yaml", "name: n\ntools: {say: {argv: [printf, x], effects: none}}\ncalls: [{id: a, tool: say}]\n");
    let (report, picture) = (odd(b"r\xfe.json"), odd(b"t\xfe.svg"));
    let mut run = folder.command(&["run", "plan.yaml", "--report"]);
    let ended = run.arg(&report).arg("--timeline").arg(&picture).output().expect("fanout starts");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let mut draw = folder.command(&["timeline"]);
    let ended = draw.arg(&report).arg("-o").arg(odd(b"p\xfe.html")).output().expect("fanout starts");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let made = std::fs::read_dir(folder.path(".")).expect("a folder").count();
    assert_eq!(made, 4, "the plan, the report and two pictures");
}

#[test]
fn a_run_leaves_its_pictures() {
    let folder = Folder::with_plan(PLAN);
    let pictures = ["--timeline", "run.svg", "--trace", "run.trace.json", "--report", "run.json"];
    let mut command = folder.command(&["run", "plan.yaml"]);
    let ended = Ended::from(command.args(pictures).output().unwrap()).with_code(1);
    assert_eq!(ended.stdout.lines().count(), 1, "the output and nothing else: {}", ended.stdout);

    let svg = folder.read("run.svg");
    for text in ["a &lt;b&gt;bold", "b[1]", "again", "failed attempt", "before retries", ">skipped<", "one by one"] {
        assert!(svg.contains(text), "{text} is not in {svg}");
    }
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("prefers-color-scheme:dark"));

    let trace: Value = serde_json::from_str(&folder.read("run.trace.json")).unwrap();
    assert_eq!(is_valid(&trace), Ok(()));
    let events = trace["traceEvents"].as_array().unwrap();
    let attempts: Vec<(&str, &Value)> = events
        .iter()
        .filter(|event| event["cat"] == "attempt")
        .map(|event| (event["name"].as_str().unwrap(), &event["args"]["outcome"]))
        .collect();
    let succeeded = json!("succeeded");
    assert!(attempts.contains(&("again", &json!("failed"))), "{attempts:?}");
    assert!(attempts.contains(&("again (attempt 2)", &succeeded)), "{attempts:?}");
    assert!(attempts.contains(&("b[1]", &succeeded)), "{attempts:?}");
    let arrows = |name: &str| events.iter().filter(|event| event["ph"] == "s" && event["name"] == name).count();
    assert!(arrows("input") >= 3 && arrows("retry") == 1, "{trace:#}");

    // The report is enough for the same pictures.
    folder.fanout(["timeline", "run.json", "-o", "again.svg"]).with_code(0);
    assert_eq!(folder.read("again.svg"), svg);
    folder.fanout(["timeline", "run.json", "-o", "again.json"]).with_code(0);
    assert_eq!(serde_json::from_str::<Value>(&folder.read("again.json")).unwrap(), trace);
    assert_eq!(folder.fanout(["timeline", "run.json"]).with_code(0).stdout, svg);
    folder.fanout(["timeline", "run.json", "-o", "run.html"]).with_code(0);
    let html = folder.read("run.html");
    assert!(html.contains("default-src 'none'") && !html.contains("<script"), "{html}");
}

#[test]
fn pictures_overwrite_nothing_and_are_not_lost_in_silence() {
    let folder = Folder::with_plan(PLAN);
    folder.write("fine.yaml", PLAN.replace("exit 3", "exit 0"));
    std::fs::rename(folder.path("fine.yaml"), folder.path("plan.svg")).unwrap();
    let plan = folder.read("plan.svg");
    for arguments in [
        &["run", "plan.svg", "--timeline", "plan.svg"][..],
        &["run", "plan.svg", "--trace", "./plan.svg"],
        &["run", "plan.svg", "--timeline", "new.svg", "--trace", "new.svg"],
        &["run", "plan.svg", "--timeline", "-", "--trace", "-"],
        &["run", "plan.svg", "--timeline", "run.png"],
        &["run", "plan.svg", "--timeline", "no/such/folder.svg"],
        &["timeline", "not-there.json"],
        &["timeline", "plan.svg", "-o", "new.svg"],
    ] {
        Ended::from(folder.command(arguments).output().unwrap()).with_code(2);
    }
    assert_eq!(folder.read("plan.svg"), plan);
    std::os::unix::fs::symlink("/dev/full", folder.path("full.svg")).unwrap();
    for (flag, file, what) in [("--timeline", "full.svg", "the timeline"), ("--trace", "/dev/full", "the trace")] {
        let ended = folder.fanout(["run", "plan.svg", flag, file]).with_code(5);
        assert!(ended.stderr.contains(&format!("cannot write {what}")), "{}", ended.stderr);
    }
    folder.fanout(["run", "plan.svg", "--report", "r.json"]).with_code(0);
    let report = folder.read("r.json");
    folder.fanout(["timeline", "r.json", "-o", "r.json"]).with_code(2);
    folder.fanout(["timeline", "r.json", "-o", "r.png"]).with_code(2);
    assert_eq!(folder.read("r.json"), report);
    folder.write("later.json", report.replacen("\"v\": 1", "\"v\": 99", 1));
    let ended = folder.fanout(["timeline", "later.json"]).with_code(2);
    assert!(ended.stderr.contains("version 99"), "{}", ended.stderr);
}

#[test]
fn ten_thousand_calls_make_a_picture_of_bounded_size() {
    let folder = Folder::new();
    let calls: Vec<Value> = (0..10_000)
        .map(|n| {
            let (at, outcome) = (f64::from(n / 50) * 10.0, if n % 40 == 3 { "failed" } else { "succeeded" });
            let waits = [json!({"cause": "limit", "on": "running", "ms": at})];
            json!({"id": format!("call{n}<&>"), "tool": format!("tool{}", n % 7), "outcome": outcome, "attempts": 1,
                "started_ms": at, "ended_ms": at + 9.0, "waits": waits})
        })
        .collect();
    let path: Vec<&Value> = calls.iter().step_by(100).map(|call| &call["id"]).collect();
    let report = json!({"v": 1, "run": "r", "name": "many", "outcome": "failed", "wall_ms": 2_000.0, "calls_ms": 90_000.0,
        "critical_path": path, "critical_path_ms": 900.0, "speed_up": 45.0, "waits_ms": {}, "hints": [], "calls": calls});
    folder.write("r.json", report.to_string());
    for file in ["r.svg", "r.html"] {
        folder.fanout(["timeline", "r.json", "-o", file]).with_code(0);
        let picture = folder.read(file);
        assert!(picture.len() < 1_000_000, "{} bytes", picture.len());
        assert!(picture.contains("9800 of 10000 calls share rows"));
    }
    folder.fanout(["timeline", "r.json", "-o", "r.trace.json"]).with_code(0);
    let trace: Value = serde_json::from_str(&folder.read("r.trace.json")).unwrap();
    assert_eq!(is_valid(&trace), Ok(()));
    let slices = trace["traceEvents"].as_array().unwrap().iter().filter(|event| event["cat"] == "attempt");
    assert_eq!(slices.count(), 10_000);
}

#[test]
fn the_check_of_traces_can_fail() {
    let slice = |ts: f64, dur: f64| json!({"ph": "X", "name": "n", "pid": 1, "tid": 1, "ts": ts, "dur": dur});
    let name = json!({"ph": "M", "name": "thread_name", "pid": 1, "tid": 1, "args": {"name": "t"}});
    let flow = |ph: &str, ts: f64| json!({"ph": ph, "bp": "e", "name": "n", "cat": "c", "id": 1, "pid": 1, "tid": 1, "ts": ts});
    let wait = |ph: &str| json!({"ph": ph, "name": "n", "cat": "c", "id": "0x1", "pid": 1, "tid": 1, "ts": 0});
    let check = |events: Vec<Value>| is_valid(&json!({"traceEvents": events})).is_ok();
    assert!(check(vec![name.clone(), slice(0.0, 2.0), slice(2.0, 2.0), flow("s", 1.0), flow("f", 3.0)]));
    assert!(!check(vec![slice(0.0, 2.0)]), "without a name");
    assert!(!check(vec![name.clone(), slice(0.0, 2.0), slice(1.0, 2.0)]), "overlap");
    assert!(!check(vec![name.clone(), slice(0.0, 2.0), flow("s", 1.0)]), "half a flow");
    assert!(!check(vec![name.clone(), slice(0.0, 2.0), flow("s", 1.0), flow("f", 2.0)]), "a flow to nothing");
    assert!(check(vec![wait("b"), wait("e")]) && !check(vec![wait("b")]) && !check(vec![wait("e")]));
}
