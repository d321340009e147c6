//! Plans as small language models wrote them: reads the format, writes it as fanout's, and finds what is wrong with it.
//! It shares no code with the product, and it repairs nothing: what is wrong stays wrong in what it writes.

use fanout_benches::stage::literal;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashSet};

/// A line of the set.
#[derive(Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    task_nodes: Vec<Map<String, Value>>,
    task_links: Vec<Map<String, Value>>,
}

/// Something wrong with a plan, and what a message about it must name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// No such tool.
    UnknownTool(String),
    /// The call with this id lacks its arguments, or they are no list.
    Arguments(String),
    /// A reference or link to what is not in the plan.
    Dangling(String),
    /// This call waits for itself.
    Itself(String),
    /// Each of these calls waits for another of them, in one or more circles.
    Cycle(Vec<String>),
}

/// What stands in a string: text, or a reference to the output of a call (`<node-2>`, `<node-2>.output`).
enum Piece<'a> {
    Text(&'a str),
    Reference { call: usize, field: Option<&'a str> },
}

/// A link between two calls, as far as its ends are in the plan; an end that is not has a made-up name.
struct Link {
    from: Result<usize, String>,
    to: Result<usize, String>,
}

/// Cuts a string. A reference is `<node-N>`, also spelt `<Node-N>` or `<node_N>`, and may name one field behind a
/// point. Whatever else models invented (`<output of step 2>`, `${TaskNodes[0]}`) is text.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut begin, mut from) = (0, 0);
    while let Some(at) = text[from..].find('<').map(|at| from + at) {
        let Some((call, mut end)) = reference(&text[at..]).map(|(call, length)| (call, at + length)) else {
            from = at + 1;
            continue;
        };
        let field = text[end..].strip_prefix('.').map(|behind| {
            &behind[..behind.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(behind.len())]
        });
        let field = field.filter(|field| field.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'));
        end += field.map_or(0, |field| field.len() + 1);
        if begin < at {
            pieces.push(Piece::Text(&text[begin..at]));
        }
        pieces.push(Piece::Reference { call, field });
        (begin, from) = (end, end);
    }
    if begin < text.len() {
        pieces.push(Piece::Text(&text[begin..]));
    }
    pieces
}

/// The number in `<node-N>` at the beginning of a text, and how long that is.
fn reference(text: &str) -> Option<(usize, usize)> {
    let behind = ["<node-", "<Node-", "<node_", "<Node_"].iter().find_map(|begin| text.strip_prefix(begin))?;
    let (digits, _) = behind.split_once('>')?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    Some((digits.parse().ok().filter(|_| plain)?, text.len() - behind.len() + digits.len() + 1))
}

/// The id of the n-th call.
pub(crate) fn id(call: usize) -> String {
    format!("node_{call}")
}

impl Record {
    /// How many calls it has.
    pub(crate) fn calls(&self) -> usize {
        self.task_nodes.len()
    }

    fn tool(&self, call: usize) -> &str {
        self.task_nodes[call].get("task").and_then(Value::as_str).unwrap_or_default()
    }

    /// The arguments as a stub gets them: the list is the one argument.
    fn arguments(&self, call: usize) -> Value {
        match self.task_nodes[call].get("arguments") {
            Some(arguments) => json!({"arguments": arguments}),
            None => json!({}),
        }
    }

    /// The plan as a document of fanout's. Links become `after`, and the output
    /// refers to both ends of each, so that an end that is not there is a fault.
    pub(crate) fn document(&self) -> Value {
        let links = self.links();
        let name = |end: &Result<usize, String>| end.as_ref().map_or_else(Clone::clone, |call| id(*call));
        let calls: Vec<Value> = (0..self.calls())
            .map(|call| {
                let froms = links.iter().filter(|link| link.to == Ok(call)).map(|link| name(&link.from));
                let after: BTreeSet<String> = froms.collect();
                json!({"id": id(call), "tool": self.tool(call), "args": converted(&self.arguments(call)), "after": after})
            })
            .collect();
        let both = |link: &Link| json!([&link.from, &link.to].map(|end| format!("${{{}}}", name(end))));
        let ends: Vec<Value> = links.iter().map(both).collect();
        json!({"name": format!("plan {}", self.id), "calls": calls, "output": {"links": ends}})
    }

    /// Links name tools, not calls. Where a tool is used several times, the link holds between each use of the
    /// target and the nearest use of the source before it; where there is none, between the first uses.
    fn links(&self) -> Vec<Link> {
        let mut links = Vec::new();
        for link in &self.task_links {
            let target = link.get("target").or_else(|| link.get("targets"));
            for source in ends(link.get("source")) {
                for target in ends(target) {
                    self.link(&source, &target, &mut links);
                }
            }
        }
        links
    }

    fn link(&self, source: &Value, target: &Value, links: &mut Vec<Link>) {
        let (sources, targets) = (self.uses(source), self.uses(target));
        if sources.is_empty() || targets.is_empty() {
            let end = |uses: &[usize], end: &Value| uses.first().copied().ok_or_else(|| made_up(end));
            links.push(Link { from: end(&sources, source), to: end(&targets, target) });
            return;
        }
        let before = links.len();
        for to in &targets {
            if let Some(from) = sources.iter().rfind(|from| *from < to) {
                links.push(Link { from: Ok(*from), to: Ok(*to) });
            }
        }
        if links.len() == before {
            links.push(Link { from: Ok(sources[0]), to: Ok(targets[0]) });
        }
    }

    /// The calls that an end of a link means: those of a tool, or the one with a number.
    fn uses(&self, end: &Value) -> Vec<usize> {
        match end {
            Value::Number(number) => {
                number.as_u64().map(|at| at as usize).filter(|at| *at < self.calls()).into_iter().collect()
            }
            Value::String(name) => (0..self.calls()).filter(|call| self.tool(*call) == name).collect(),
            _ => Vec::new(),
        }
    }

    /// All that is wrong, given the names of the tools.
    pub(crate) fn faults(&self, tools: &HashSet<String>) -> BTreeSet<Fault> {
        let mut faults = BTreeSet::new();
        let mut edges: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); self.calls()];
        for (call, edges) in edges.iter_mut().enumerate() {
            if !tools.contains(self.tool(call)) {
                faults.insert(Fault::UnknownTool(self.tool(call).to_owned()));
            } else if !self.task_nodes[call].get("arguments").is_some_and(Value::is_array) {
                faults.insert(Fault::Arguments(id(call)));
            }
            for (to, _) in referred(&self.arguments(call)) {
                if to < self.calls() {
                    edges.insert(to);
                } else {
                    faults.insert(Fault::Dangling(id(to)));
                }
            }
        }
        for Link { from, to } in self.links() {
            if let (Ok(from), Ok(to)) = (&from, &to) {
                edges[*to].insert(*from);
            }
            for missing in [from.err(), to.err()].into_iter().flatten() {
                faults.insert(Fault::Dangling(missing));
            }
        }
        for (call, edges) in edges.iter_mut().enumerate() {
            if edges.remove(&call) {
                faults.insert(Fault::Itself(id(call)));
            }
        }
        if let Some(calls) = cycle(&edges) {
            faults.insert(Fault::Cycle(calls.into_iter().map(id).collect()));
        }
        faults
    }

    /// What every stub answers: an object with an `output` and every field that some call asks it for.
    pub(crate) fn answers(&self) -> Vec<Value> {
        let mut answers: Vec<Value> =
            (0..self.calls()).map(|call| json!({"output": format!("output of {call} <node-0> ${{node_0}}")})).collect();
        for call in 0..self.calls() {
            for (to, field) in referred(&self.arguments(call)) {
                if let (Some(answer), Some(field)) = (answers.get_mut(to).and_then(Value::as_object_mut), field) {
                    answer.entry(field.as_str()).or_insert_with(|| json!([field, to]));
                }
            }
        }
        answers
    }

    /// What each call is to be given, when the plan has no faults.
    pub(crate) fn given(&self, answers: &[Value]) -> Vec<Value> {
        (0..self.calls()).map(|call| resolved(&self.arguments(call), answers)).collect()
    }
}

/// An end of a link may be a list of ends.
fn ends(end: Option<&Value>) -> Vec<Value> {
    match end {
        Some(Value::Array(ends)) => ends.clone(),
        Some(end) => vec![end.clone()],
        None => vec![Value::Null],
    }
}

/// A name that can stand in a plan for something that is not in it.
fn made_up(end: &Value) -> String {
    let text = end.as_str().map_or_else(|| end.to_string(), str::to_owned);
    let plain: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("missing_{plain}")
}

fn referred(value: &Value) -> Vec<(usize, Option<String>)> {
    match value {
        Value::String(text) => pieces(text)
            .into_iter()
            .filter_map(|piece| match piece {
                Piece::Reference { call, field } => Some((call, field.map(str::to_owned))),
                Piece::Text(_) => None,
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(referred).collect(),
        Value::Object(fields) => fields.values().flat_map(referred).collect(),
        _ => Vec::new(),
    }
}

fn converted(value: &Value) -> Value {
    let written = |piece: &Piece<'_>| match piece {
        Piece::Text(text) => literal(text),
        Piece::Reference { call, field: None } => format!("${{{}}}", id(*call)),
        Piece::Reference { call, field: Some(field) } => format!("${{{}.{field}}}", id(*call)),
    };
    match value {
        Value::String(text) => Value::String(pieces(text).iter().map(written).collect()),
        Value::Array(items) => items.iter().map(converted).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), converted(value))).collect(),
        other => other.clone(),
    }
}

fn resolved(value: &Value, answers: &[Value]) -> Value {
    let found = |call: usize, field: Option<&str>| match field {
        Some(field) => answers[call][field].clone(),
        None => answers[call].clone(),
    };
    match value {
        Value::String(text) => match &pieces(text)[..] {
            [Piece::Reference { call, field }] => found(*call, *field),
            pieces => Value::String(
                pieces
                    .iter()
                    .map(|piece| match piece {
                        Piece::Text(text) => (*text).to_owned(),
                        Piece::Reference { call, field } => match found(*call, *field) {
                            Value::String(text) => text,
                            other => other.to_string(),
                        },
                    })
                    .collect(),
            ),
        },
        Value::Array(items) => items.iter().map(|item| resolved(item, answers)).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), resolved(value, answers))).collect(),
        other => other.clone(),
    }
}

/// All calls that are on some cycle, found by walking from each call back to itself; `None` when there are none.
fn cycle(edges: &[BTreeSet<usize>]) -> Option<Vec<usize>> {
    let on_cycle = |start: usize| {
        let mut seen = BTreeSet::new();
        let mut open: Vec<usize> = edges[start].iter().copied().collect();
        while let Some(call) = open.pop() {
            if call == start {
                return true;
            }
            if seen.insert(call) {
                open.extend(&edges[call]);
            }
        }
        false
    };
    Some((0..edges.len()).filter(|call| on_cycle(*call)).collect()).filter(|calls: &Vec<usize>| !calls.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(nodes: Value, links: Value) -> Record {
        serde_json::from_value(json!({"id": "1", "task_nodes": nodes, "task_links": links})).expect("a record")
    }

    #[test]
    fn references_of_every_spelling_are_read() {
        let check = |text: &str, fanout: &str| assert_eq!(converted(&json!(text)), json!(fanout));
        check("<node-0>", "${node_0}");
        check("<Node-1>.output", "${node_1.output}");
        check("it is <node_12>.", "it is ${node_12}.");
        check("'<node-1>.speaker1.wav'", "'${node_1.speaker1}.wav'");
        check("<node-1>:output", "${node_1}:output");
        check("<node-1} <output of node-2> <node-x> <", "<node-1} <output of node-2> <node-x> <");
        check("${{TaskNodes[2].output}}", "$${{TaskNodes[2].output}}");
    }

    #[test]
    fn every_kind_of_fault_is_found() {
        let tools = HashSet::from(["A".to_owned(), "B".to_owned()]);
        let node = |tool: &str, args: Value| json!({"task": tool, "arguments": args});
        let plan = record(
            json!([node("A", json!(["<node-0>", {"value": "<node-2>"}])), node("C", json!(["<node-7>"])), {"task": "B"}]),
            json!([{"source": "A", "target": "none"}, {"source": "A", "target": ["B"]}]),
        );
        let faults: Vec<Fault> = plan.faults(&tools).into_iter().collect();
        assert_eq!(
            faults,
            [
                Fault::UnknownTool("C".into()),
                Fault::Arguments("node_2".into()),
                Fault::Dangling("missing_none".into()),
                Fault::Dangling("node_7".into()),
                Fault::Itself("node_0".into()),
                Fault::Cycle(vec!["node_0".into(), "node_2".into()]),
            ]
        );
    }

    #[test]
    fn a_link_means_the_nearest_use_before() {
        let node = |tool: &str| json!({"task": tool, "arguments": []});
        let links = json!([{"source": "A", "target": "B"}, {"source": "B", "target": "A"}]);
        let plan = record(json!([node("A"), node("B"), node("A")]), links);
        assert!(plan.faults(&HashSet::from(["A".to_owned(), "B".to_owned()])).is_empty());
        assert_eq!(plan.document()["calls"][2]["after"], json!(["node_1"]));
    }
}
