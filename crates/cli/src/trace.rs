//! A run in Chrome's trace event format (`--trace`), which ui.perfetto.dev and chrome://tracing open.
//! It does not know how they draw it.
//!
//! The format: <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>. What viewers demand
//! beyond it: slices of one thread nest, so calls that overlap are in lanes of their own; a flow binds to the slice
//! around its moment, so flows begin and end a nanosecond inside.

use crate::text;
use crate::timeline::parent;
use crate::timeline::stretches::{self, Stretch, What, sane};
use fanout::{CallReport, Report, WaitReport};
use serde_json::{Map, Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::io::{self, BufWriter, Write};

/// The processes of the trace: what ran, and what waited.
const RAN: u32 = 1;
const WAITED: u32 = 2;
/// The thread of the critical path; lanes have the numbers behind it.
const CRITICAL: usize = 1;
/// The longest name, in columns.
const COLUMNS_MAX: usize = 200;
/// No slice is shorter, in nanoseconds, so that flows can begin and end inside.
const SLICE_MIN_NS: u64 = 3;

/// Writes the trace of a run.
pub(crate) fn write(to: impl Write, report: &Report) -> io::Result<()> {
    let mut trace = Trace { to: BufWriter::new(to), first: true };
    let about = json!({"plan": name(&report.name), "run": name(&report.run), "outcome": report.outcome});
    write!(trace.to, "{{\"displayTimeUnit\":\"ms\",\"otherData\":{about},\"traceEvents\":[")?;
    trace.event(&json!({"ph": "M", "name": "process_name", "pid": RAN, "tid": 0,
        "args": {"name": format!("fanout: {}", name(&report.name))}}))?;
    trace.event(&json!({"ph": "M", "name": "process_name", "pid": WAITED, "tid": 0, "args": {"name": "waiting"}}))?;
    let calls = placed(report);
    trace.lanes(&calls)?;
    trace.critical_path(report, &calls)?;
    let critical: HashSet<&str> = report.critical_path.iter().map(|id| &**id).collect();
    for (index, call) in calls.iter().enumerate() {
        trace.attempts(call, critical.contains(&*call.call.id))?;
        trace.waits(index, call)?;
    }
    trace.dependencies(&calls)?;
    write!(trace.to, "\n]}}\n")?;
    trace.to.flush()
}

/// A call with its place in the trace.
struct Placed<'r> {
    call: &'r CallReport,
    stretches: Vec<Stretch<'r>>,
    /// Its thread; calls that never ran have none.
    lane: usize,
}

/// An attempt: where it is, from when to when.
#[derive(Clone, Copy)]
struct Slice {
    lane: usize,
    from: u64,
    to: u64,
}

impl Placed<'_> {
    fn attempts(&self) -> impl DoubleEndedIterator<Item = Slice> {
        let attempts = self.stretches.iter().filter(|one| matches!(one.what, What::Attempt { .. }));
        attempts.map(|one| slice(self.lane, one))
    }
}

fn slice(lane: usize, one: &Stretch<'_>) -> Slice {
    let from = ns(one.from);
    Slice { lane, from, to: ns(one.to).max(from + SLICE_MIN_NS) }
}

/// Each call in the first lane of its tool that is free from its first attempt to its end.
fn placed(report: &Report) -> Vec<Placed<'_>> {
    let mut calls: Vec<Placed<'_>> =
        report.calls.iter().map(|call| Placed { call, stretches: stretches::of(call), lane: 0 }).collect();
    let span = |call: &Placed<'_>| Some((call.attempts().next()?.from, call.attempts().next_back()?.to));
    let mut order: Vec<(u64, u64, usize)> = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        order.extend(span(call).map(|(from, to)| (from, to, index)));
    }
    order.sort_unstable();
    // Lanes of a tool stand together, so first how many each needs, in the order in which tools first occur.
    let mut tools: Vec<Lanes> = Vec::new();
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut lanes = vec![(0, 0); calls.len()];
    for call in report.calls.iter().filter(|call| call.started_ms.is_some()) {
        let next = numbers.len();
        numbers.entry(&*call.tool).or_insert(next);
    }
    tools.resize_with(numbers.len(), Lanes::default);
    for (from, to, index) in order {
        let Some(&tool) = numbers.get(&*calls[index].call.tool) else { continue };
        lanes[index] = (tool, tools[tool].take(from, to));
    }
    let mut firsts = Vec::with_capacity(tools.len());
    let mut next = CRITICAL + 1;
    for lanes in &tools {
        firsts.push(next);
        next += lanes.count;
    }
    for (call, (tool, lane)) in calls.iter_mut().zip(lanes) {
        if let Some(first) = firsts.get(tool).filter(|_| call.call.started_ms.is_some()) {
            call.lane = first + lane;
        }
    }
    calls
}

/// The lanes of a tool: how many there are, which are free, and when the others will be.
#[derive(Default)]
struct Lanes {
    count: usize,
    free: BinaryHeap<Reverse<usize>>,
    busy: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Lanes {
    /// The first lane that is free at a moment not before those asked for earlier.
    fn take(&mut self, from: u64, to: u64) -> usize {
        while let Some(Reverse((_, lane))) = self.busy.peek().filter(|Reverse((end, _))| *end <= from).copied() {
            self.busy.pop();
            self.free.push(Reverse(lane));
        }
        let lane = self.free.pop().map_or(self.count, |Reverse(lane)| lane);
        self.count = self.count.max(lane + 1);
        self.busy.push(Reverse((to, lane)));
        lane
    }
}

struct Trace<W: Write> {
    to: W,
    first: bool,
}

impl<W: Write> Trace<W> {
    fn event(&mut self, event: &Value) -> io::Result<()> {
        self.to.write_all(if self.first { b"\n" } else { b",\n" })?;
        self.first = false;
        serde_json::to_writer(&mut self.to, event)?;
        Ok(())
    }

    /// Names of threads, and their order.
    fn lanes(&mut self, calls: &[Placed<'_>]) -> io::Result<()> {
        let mut names: BTreeMap<usize, &str> = BTreeMap::from([(CRITICAL, "critical path")]);
        names.extend(calls.iter().filter(|call| call.lane > 0).map(|call| (call.lane, &*call.call.tool)));
        for (lane, named) in names {
            self.event(
                &json!({"ph": "M", "name": "thread_name", "pid": RAN, "tid": lane, "args": {"name": name(named)}}),
            )?;
            self.event(&json!({"ph": "M", "name": "thread_sort_index", "pid": RAN, "tid": lane,
                "args": {"sort_index": lane}}))?;
        }
        Ok(())
    }

    fn critical_path(&mut self, report: &Report, calls: &[Placed<'_>]) -> io::Result<()> {
        let by_id: HashMap<&str, &Placed<'_>> = calls.iter().map(|call| (&*call.call.id, call)).collect();
        let mut free = 0;
        for call in report.critical_path.iter().filter_map(|id| by_id.get(&**id)) {
            let (Some(first), Some(last)) = (call.attempts().next(), call.attempts().next_back()) else { continue };
            let slice = Slice { lane: CRITICAL, from: first.from.max(free), to: last.to };
            if slice.from >= slice.to {
                continue;
            }
            free = slice.to;
            self.slice(&slice, &name(&call.call.id), "critical path", json!({"tool": name(&call.call.tool)}))?;
        }
        Ok(())
    }

    fn attempts(&mut self, call: &Placed<'_>, critical: bool) -> io::Result<()> {
        for one in &call.stretches {
            let What::Attempt { number, outcome, code } = &one.what else { continue };
            let mut args = Map::new();
            args.insert("call".into(), name(&call.call.id).into());
            args.insert("tool".into(), name(&call.call.tool).into());
            args.insert("attempt".into(), (*number).into());
            args.insert("outcome".into(), json!(outcome));
            args.extend(code.map(|code| ("code".into(), name(code).into())));
            args.extend(critical.then(|| ("critical".into(), true.into())));
            args.extend(call.call.after_doubt.then(|| ("after_doubt".into(), true.into())));
            args.extend(call.call.cpu_ms.map(|ms| ("cpu_ms".into(), json!(ms))));
            args.extend(call.call.memory_bytes_max.map(|bytes| ("memory_bytes_max".into(), json!(bytes))));
            let again = if *number > 1 { format!(" (attempt {number})") } else { String::new() };
            let named = name(&call.call.id) + &again;
            self.slice(&slice(call.lane, one), &named, "attempt", Value::Object(args))?;
        }
        Ok(())
    }

    fn slice(&mut self, slice: &Slice, name: &str, category: &str, args: Value) -> io::Result<()> {
        self.event(&json!({"ph": "X", "name": name, "cat": category, "pid": RAN, "tid": slice.lane,
            "ts": us(slice.from), "dur": us(slice.to - slice.from), "args": args}))
    }

    /// Waits overlap as they like, so they are asynchronous: viewers put those of one cause together.
    fn waits(&mut self, index: usize, call: &Placed<'_>) -> io::Result<()> {
        for (number, one) in call.stretches.iter().enumerate() {
            let What::Wait(wait) = &one.what else { continue };
            let (from, to) = (ns(one.from), ns(one.to));
            let mut args = Map::new();
            args.insert("call".into(), name(&call.call.id).into());
            args.insert("cause".into(), name(&wait.cause).into());
            args.extend(wait.on.as_ref().map(|on| ("on".into(), name(on).into())));
            args.extend(wait.key.as_ref().map(|key| ("key".into(), name(key).into())));
            let id = format!("0x{index:x}.{number:x}");
            let event = |ph: &str, at: u64| json!({"ph": ph, "name": name(&wait.cause), "cat": "wait", "id": id, "pid": WAITED, "tid": 0, "ts": us(at)});
            let mut begin = event("b", from);
            begin["args"] = Value::Object(args);
            self.event(&begin)?;
            self.event(&event("e", to))?;
        }
        Ok(())
    }

    /// An arrow from each call that another waited for to that one, and from each attempt to the next.
    fn dependencies(&mut self, calls: &[Placed<'_>]) -> io::Result<()> {
        // What ends last stands for a `foreach` call, which has no attempts of its own.
        let mut ends: HashMap<&str, Slice> = HashMap::new();
        for call in calls {
            let Some(last) = call.attempts().next_back() else { continue };
            for id in [Some(&*call.call.id), parent(&call.call.id)].into_iter().flatten() {
                if ends.get(id).is_none_or(|known| known.to < last.to) {
                    ends.insert(id, last);
                }
            }
        }
        let waits: HashMap<&str, &[WaitReport]> =
            calls.iter().map(|call| (&*call.call.id, &*call.call.waits)).collect();
        let mut id = 0;
        for call in calls {
            let attempts: Vec<Slice> = call.attempts().collect();
            for pair in attempts.windows(2) {
                id += 1;
                self.arrow(id, "retry", &pair[0], &pair[1])?;
            }
            let Some(first) = attempts.first() else { continue };
            let mut told: HashSet<(&str, &str)> = HashSet::new();
            // An element starts no sooner than its `foreach` call could.
            let before = parent(&call.call.id).and_then(|id| waits.get(id)).copied().unwrap_or_default();
            for wait in before.iter().chain(&call.call.waits) {
                let Some(on) = wait.on.as_deref().filter(|on| told.insert((&*wait.cause, on))) else { continue };
                let Some(last) = ends.get(on) else { continue };
                if last.to <= first.from + SLICE_MIN_NS {
                    id += 1;
                    self.arrow(id, &name(&wait.cause), last, first)?;
                }
            }
        }
        Ok(())
    }

    fn arrow(&mut self, id: u32, named: &str, from: &Slice, to: &Slice) -> io::Result<()> {
        let start = from.to - 1;
        self.event(&json!({"ph": "s", "name": named, "cat": "dependency", "id": id, "pid": RAN, "tid": from.lane,
            "ts": us(start)}))?;
        self.event(
            &json!({"ph": "f", "bp": "e", "name": named, "cat": "dependency", "id": id, "pid": RAN, "tid": to.lane,
            "ts": us((to.from + 1).max(start))}),
        )
    }
}

/// A name from outside: one harmless line.
fn name(text: &str) -> String {
    text::cut(&text::line(text), COLUMNS_MAX)
}

fn ns(ms: f64) -> u64 {
    (sane(ms) * 1e6).round() as u64
}

/// Microseconds, with digits for nanoseconds.
fn us(ns: u64) -> f64 {
    ns as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_make_no_sense_do_no_harm() {
        for (from, to) in [(1e308, -5.0), (-1e308, 1e308), (1e308, 1e308)] {
            let calls = json!([
                {"id": "a", "tool": "t", "outcome": "succeeded", "attempts": 1, "started_ms": from, "ended_ms": to,
                    "waits": [{"cause": "key", "ms": from}]},
                {"id": "b", "tool": "t", "outcome": "succeeded", "attempts": 1, "started_ms": 1.0, "ended_ms": 2.0,
                    "waits": [{"cause": "input", "on": "a", "ms": to}]}]);
            let report = json!({"v": 1, "run": "r", "name": "n", "outcome": "succeeded", "wall_ms": from,
                "calls_ms": to, "critical_path": ["a", "b"], "critical_path_ms": to, "speed_up": from, "waits_ms": {},
                "hints": [], "calls": calls});
            let report: Report = serde_json::from_str(&report.to_string()).expect("a report");
            let mut trace = Vec::new();
            write(&mut trace, &report).expect("memory takes it");
            let trace: Value = serde_json::from_slice(&trace).expect("it is JSON");
            let events = trace["traceEvents"].as_array().expect("a list");
            let mut lengths = events.iter().filter_map(|event| event["dur"].as_f64());
            assert!(lengths.all(|length| (0.0..=1e15).contains(&length)), "{trace}");
        }
    }
}
