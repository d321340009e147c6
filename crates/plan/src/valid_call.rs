//! Validation of one call: tool, arguments, references, condition, settings.
//! It does not know the order of calls, nor how they are run.

use crate::catalog::{Catalog, CatalogTool, ToolId};
use crate::condition::{self, Condition, Name};
use crate::diagnostic::Problems;
use crate::effects::Effects;
use crate::ids::Ids;
use crate::node::At;
use crate::path::Path;
use crate::plan::{Call, CallOnFailure, InputSpec};
use crate::reference::{From, Reference, Scanned, scan, split, whole};
use crate::spec::{RetrySpec, SettingsSpec};
use crate::template::{Piece, Template, Tree, raw, select};
use crate::valid::{ELEMENTS_MAX, Needs, ValidCall};
use hashbrown::HashSet;
use serde_json::{Map, Value};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Checks calls one after the other, sharing what they have in common.
pub(crate) struct Checker<'c> {
    catalog: &'c Catalog,
    ids: &'c Ids,
    inputs: &'c Map<String, Value>,
    amounts: &'c BTreeMap<String, u64>,
    problems: &'c mut Problems,
    /// Calls added to a run refer only to earlier ones.
    backwards: bool,
    inputs_value: Option<Arc<Value>>,
    inputs_used: BTreeSet<String>,
    /// The tool of the call before: plans use one tool many times.
    last_tool: Option<(Arc<str>, ToolId)>,
    /// Tools whose own settings and effects were looked at.
    seen_tools: HashSet<ToolId>,
    /// Tools whose own retries were warned of.
    warned_tools: HashSet<ToolId>,
    /// Comparisons of ids that may still be made to find what was meant.
    comparisons_left: usize,
    /// Merged settings, most recent last.
    merged: Vec<(ToolId, SettingsSpec, Arc<SettingsSpec>)>,
}

/// Where a reference stands.
#[derive(Clone, Copy)]
struct Here<'a> {
    /// The index of the call, `None` in `output`.
    call: Option<u32>,
    /// Whether there is an element.
    element: bool,
    at: &'a At<'a>,
}

type Edges = SmallVec<[(u32, Needs); 2]>;

/// Every call once, by index; a result wins over an outcome.
fn once(mut edges: Edges) -> Edges {
    if edges.len() > 1 {
        edges.sort_unstable_by_key(|(call, needs)| (*call, *needs != Needs::Result));
        edges.dedup_by_key(|(call, _)| *call);
    }
    edges
}

/// At most so many ids are compared in all to find what was meant: advice must not cost more than the check.
const COMPARISONS_MAX: usize = 1_000_000;
/// What to do about a reference to a call that may have been forgotten.
const FORGETS: &str = "this run forgets calls that have ended, so an added call refers only to calls of the plan and to those \
added in the same list; put the value itself in its place";
/// So many different merged settings are remembered for sharing.
const MERGED_MAX: usize = 16;

impl<'c> Checker<'c> {
    pub(crate) fn new(
        catalog: &'c Catalog,
        ids: &'c Ids,
        inputs: &'c Map<String, Value>,
        amounts: &'c BTreeMap<String, u64>,
        problems: &'c mut Problems,
        backwards: bool,
    ) -> Checker<'c> {
        Checker {
            catalog,
            ids,
            inputs,
            amounts,
            problems,
            backwards,
            inputs_value: None,
            inputs_used: BTreeSet::new(),
            last_tool: None,
            seen_tools: HashSet::new(),
            warned_tools: HashSet::new(),
            comparisons_left: COMPARISONS_MAX,
            merged: Vec::new(),
        }
    }

    /// Checks calls whose indexes begin at `first`. What cannot be checked is left out: then there is a problem.
    pub(crate) fn calls(&mut self, calls: Vec<Call>, first: usize) -> Vec<ValidCall> {
        let list = At::Root.field("calls");
        let mut valid = Vec::with_capacity(calls.len());
        for (place, call) in calls.into_iter().enumerate() {
            let at = list.index(place);
            valid.push(self.call(call, u32::try_from(first + place).unwrap_or(u32::MAX), &at));
        }
        valid
    }

    /// A call; its tool is the first one where it has none, so that references are still checked.
    fn call(&mut self, mut call: Call, index: u32, at: &At<'_>) -> ValidCall {
        let tool = self.tool(&call.tool, at);
        let mut edges = Edges::new();
        let element = call.foreach.is_some();
        let foreach = call.foreach.take().map(|list| Box::new(self.foreach(*list, index, &mut edges, at)));
        let args =
            self.args(call.args.take(), tool, Here { call: Some(index), element, at: &at.field("args") }, &mut edges);
        let when = call.when.as_deref().and_then(|text| {
            self.condition(text, Here { call: Some(index), element, at: &at.field("when") }, &mut edges)
        });
        for (place, id) in call.after.iter().enumerate() {
            let at = at.field("after");
            self.edge(id, Needs::Outcome, Here { call: Some(index), element, at: &at.index(place) }, &mut edges);
        }
        let known = tool.map(|id| self.catalog.tool(id));
        let effects = self.effects(&call, known, at);
        let settings = self.settings(&call, tool, at);
        if let Some(tool) = tool {
            self.warn_retry(&call, tool, &effects, &settings, at);
            self.refuse_cache(&call, tool, &effects, &settings, at);
        }
        ValidCall {
            id: call.id,
            tool: tool.unwrap_or(ToolId(0)),
            args,
            when,
            foreach,
            inputs: once(edges),
            effects,
            settings,
            on_failure_value: match call.on_failure {
                CallOnFailure::Fail => None,
                CallOnFailure::Value(value) => Some(raw(&value)),
            },
        }
    }

    fn tool(&mut self, name: &Arc<str>, at: &At<'_>) -> Option<ToolId> {
        if let Some((last, id)) = &self.last_tool
            && (Arc::ptr_eq(last, name) || last == name)
        {
            return Some(*id);
        }
        match self.catalog.find(name) {
            Some(id) => {
                self.last_tool = Some((name.clone(), id));
                self.tool_once(id, at);
                Some(id)
            }
            // What has no tool was told when the plan was read.
            None if name.is_empty() && self.problems.failed() => None,
            None => {
                let message = format!("there is no tool `{}`", crate::path::shorten(name, 60));
                let none = self.catalog.tools().is_empty().then_some("no tools are known: is there a toolbox file?");
                let near = if self.problems.full() { None } else { self.catalog.nearest(name) };
                let noted = self.problems.error(&at.field("tool"), "unknown_tool", message);
                match none {
                    Some(help) => noted.help(help),
                    None => noted.nearest(near),
                };
                None
            }
        }
    }

    /// What is told once for a tool however many calls use it.
    fn tool_once(&mut self, id: ToolId, at: &At<'_>) {
        if !self.seen_tools.insert(id) {
            return;
        }
        let tool = self.catalog.tool(id);
        self.uses(&tool.settings.uses, &format!("the tool `{}`", tool.spec.name), &at.field("tool"));
        if tool.undeclared {
            let mut keys: Vec<_> = tool.effects.claims().iter().map(|claim| format!("`{}`", claim.text)).collect();
            // Siblings may say the same of different directories, which is not seen here.
            let mut seen = std::collections::BTreeSet::new();
            keys.retain(|key| seen.insert(key.clone()));
            let message = format!(
                "`{}` does not declare what it touches, so it is taken to write {}",
                tool.spec.name,
                keys.join(", ")
            );
            self.problems
                .warning(&at.field("tool"), "undeclared_effects", message)
                .help("declare `effects` of the tool: `none`, or `reads` and `writes` of keys");
        }
    }

    fn uses(&mut self, uses: &BTreeMap<String, u64>, who: &str, at: &At<'_>) {
        for (name, amount) in uses {
            match self.amounts.get(name) {
                None => {
                    let near = crate::nearest::nearest(name, self.amounts.keys().map(String::as_str));
                    let message = format!("{who} uses `{name}`, which no limit names");
                    self.problems
                        .error(at, "unknown_limit", message)
                        .help(format!("name it: limits: {{{name}: …}}"))
                        .nearest(near);
                }
                Some(most) if amount > most => {
                    let message =
                        format!("{who} uses {amount} of `{name}`, and there are only {most}: it could never start");
                    self.problems
                        .error(at, "over_limit", message)
                        .help(format!("use less, or raise the limit `{name}`"));
                }
                Some(_) => {}
            }
        }
    }

    fn args(&mut self, args: Value, tool: Option<ToolId>, here: Here<'_>, edges: &mut Edges) -> Template {
        let known = tool.map(|id| self.catalog.tool(id));
        match &args {
            Value::Object(map) if map.is_empty() && known.is_some_and(CatalogTool::accepts_empty) => {
                return Template::of_value(&args);
            }
            Value::Object(_) => {}
            // What is no object was told when the plan was read.
            Value::Null if self.problems.failed() => return Template::of_value(&args),
            other => {
                let message = format!("`args` is an object, not {}", crate::path::describe(other));
                self.problems.error(here.at, "wrong_type", message);
                return Template::of_value(other);
            }
        }
        if crate::plan_read::deeper_than(&args, crate::read::READ_DEPTH_MAX) {
            self.problems.error(
                here.at,
                "too_deep",
                format!("the arguments are nested deeper than {}", crate::read::READ_DEPTH_MAX),
            );
            return Template::of_value(&Value::Null);
        }
        let before = self.problems.list.len();
        let tree = self.tree(args, here, edges);
        // A broken reference is told once, not again as an argument of the wrong type.
        if let (Some(tool), true) = (known, self.problems.list.len() == before) {
            self.check_args(tool, &tree, here.at);
            if crate::valid_args::fits_whatever_comes(tool, &tree) {
                return Template::of_open_tree(tree);
            }
        }
        Template::of_tree(tree)
    }

    fn check_args(&mut self, tool: &CatalogTool, tree: &Tree, at: &At<'_>) {
        for violation in crate::valid_args::check(tool, tree) {
            let properties = tool.spec.args_schema.get("properties").and_then(Value::as_object);
            let names = || properties.into_iter().flat_map(|map| map.keys().map(String::as_str));
            let message = format!("`{}` does not take these arguments: {violation}", tool.spec.name);
            let near =
                violation.unknown.first().and_then(|name| crate::nearest::nearest(name, names())).map(str::to_owned);
            let steps: Vec<&str> =
                violation.at.iter().map(String::as_str).chain(violation.unknown.first().map(String::as_str)).collect();
            with_path(at, &steps, &mut |at| {
                let key = !violation.unknown.is_empty();
                let noted = if key {
                    self.problems.error_at_key(at, "bad_args", message.clone())
                } else {
                    self.problems.error(at, "bad_args", message.clone())
                };
                noted.nearest(near.as_deref());
            });
        }
    }

    /// A value of the plan with its references read.
    fn tree(&mut self, value: Value, here: Here<'_>, edges: &mut Edges) -> Tree {
        match value {
            value if !has_references(&value) => Tree::Value(value),
            Value::String(text) => self.text(&text, here, edges),
            Value::Array(list) => {
                let mut trees = Vec::with_capacity(list.len());
                for (index, value) in list.into_iter().enumerate() {
                    trees.push(self.tree(value, Here { at: &here.at.index(index), ..here }, edges));
                }
                match trees.iter().map(|tree| tree.value().cloned()).collect::<Option<Vec<_>>>() {
                    Some(values) => Tree::Value(Value::Array(values)),
                    None => Tree::List(trees),
                }
            }
            Value::Object(map) => {
                let mut trees = Vec::with_capacity(map.len());
                for (name, value) in map {
                    let tree = self.tree(value, Here { at: &here.at.field(&name), ..here }, edges);
                    trees.push((name, tree));
                }
                let value = |(name, tree): &(String, Tree)| Some((name.clone(), tree.value()?.clone()));
                match trees.iter().map(value).collect::<Option<Map<_, _>>>() {
                    Some(values) => Tree::Value(Value::Object(values)),
                    None => Tree::Object(trees),
                }
            }
            other => Tree::Value(other),
        }
    }

    /// A text with references: typed when it is exactly one, else text.
    fn text(&mut self, text: &str, here: Here<'_>, edges: &mut Edges) -> Tree {
        enum Part {
            Text(String),
            Tree(Tree),
        }
        if let Some(inner) = whole(text) {
            return self.reference(inner, text, here, edges);
        }
        let mut parts: Vec<Part> = Vec::new();
        let scanned = scan(text, |piece| {
            match piece {
                Scanned::Text(literal) => parts.push(Part::Text(literal.to_owned())),
                Scanned::Reference { inner, range } => {
                    parts.push(Part::Tree(self.reference(inner, &text[range], here, edges)))
                }
            }
            Ok(())
        });
        if let Err(message) = scanned {
            self.problems.error(here.at, "bad_reference", message).help("a literal `${` is written `$${`");
            return Tree::Value(Value::Null);
        }
        if let [Part::Tree(_)] = &parts[..]
            && let Some(Part::Tree(tree)) = parts.pop()
        {
            return tree;
        }
        let mut pieces: Vec<Piece> = Vec::new();
        for part in parts {
            let literal = match part {
                Part::Text(text) => text,
                Part::Tree(Tree::Reference(reference)) => {
                    pieces.push(Piece::Reference(reference));
                    continue;
                }
                Part::Tree(tree) => {
                    tree.value().map(|value| crate::process_spec::text_of(value).into_owned()).unwrap_or_default()
                }
            };
            match pieces.last_mut() {
                Some(Piece::Text(before)) => before.push_str(&literal),
                _ => pieces.push(Piece::Text(literal)),
            }
        }
        match &mut pieces[..] {
            [] => Tree::Value(Value::String(String::new())),
            [Piece::Text(literal)] => Tree::Value(Value::String(std::mem::take(literal))),
            _ => Tree::Text(pieces),
        }
    }

    /// One reference. Where it is wrong, null stands for it, and there is a problem.
    fn reference(&mut self, inner: &str, whole: &str, here: Here<'_>, edges: &mut Edges) -> Tree {
        let nothing = Tree::Value(Value::Null);
        let (name, path_text) = match split(inner) {
            Ok(parts) => parts,
            Err(message) => {
                self.problems.error(here.at, "bad_reference", message).part(whole);
                return nothing;
            }
        };
        let path = match Path::parse(path_text) {
            Ok(path) => path,
            Err(message) => {
                let message = format!("`{whole}`: `{path_text}` is not a path: {message}");
                self.problems
                    .error(here.at, "bad_path", message)
                    .help("paths are RFC 9535 (JSONPath) behind the id, such as `.a.b[0]`, `[*].id`, `[\"odd-name\"]`")
                    .part(whole);
                return nothing;
            }
        };
        let from = match name {
            "inputs" => return self.input(&path, inner, whole, here),
            "item" | "index" if !here.element => {
                let message = format!("`{whole}`: only a call with `foreach` has `{name}`");
                self.problems.error(here.at, "no_element", message).part(whole);
                return nothing;
            }
            "item" => From::Item,
            "index" if path_text.is_empty() => From::Index,
            "index" => {
                self.problems
                    .error(here.at, "bad_path", format!("`{whole}`: the index is a number and has nothing inside"))
                    .part(whole);
                return nothing;
            }
            "outcome" => {
                let message = format!("`{whole}`: `outcome` can be asked for in `when` only, as in `outcome('id')`");
                self.problems.error(here.at, "bad_reference", message).part(whole);
                return nothing;
            }
            id => match self.edge_in(id, whole, Needs::Result, here, edges) {
                Some(call) => From::Call(call),
                None => return nothing,
            },
        };
        Tree::Reference(Reference { from, path, text: inner.trim().into() })
    }

    /// A reference to the inputs is replaced by what it finds.
    fn input(&mut self, path: &Path, inner: &str, whole: &str, here: Here<'_>) -> Tree {
        if let Some([crate::path::Step::Name(name), ..]) = path.steps() {
            self.inputs_used.insert(name.to_string());
            if !self.inputs.contains_key(&**name) {
                // Without a value it was told already, if it is an input at all.
                let near = crate::nearest::nearest(name, self.inputs.keys().map(String::as_str));
                let message = format!("`{whole}`: the plan has no value for an input `{name}`");
                self.problems
                    .error(here.at, "unknown_input", message)
                    .help(format!("declare it: inputs: {{{name}: {{}}}}"))
                    .nearest(near)
                    .part(whole);
                return Tree::Value(Value::Null);
            }
        } else {
            self.inputs_used.extend(self.inputs.keys().cloned());
        }
        let root = self.inputs_value();
        match select(path, &root, inner, false) {
            Ok(value) => Tree::Value(value.into_owned()),
            Err(error) => {
                self.problems.error(here.at, error.code, error.message).part(whole);
                Tree::Value(Value::Null)
            }
        }
    }

    fn inputs_value(&mut self) -> Arc<Value> {
        self.inputs_value.get_or_insert_with(|| Arc::new(Value::Object(self.inputs.clone()))).clone()
    }

    /// Notes that another call is needed.
    fn edge(&mut self, id: &str, needs: Needs, here: Here<'_>, edges: &mut Edges) {
        self.edge_in(id, id, needs, here, edges);
    }

    fn edge_in(&mut self, id: &str, whole: &str, needs: Needs, here: Here<'_>, edges: &mut Edges) -> Option<u32> {
        let Some(call) = self.ids.find(id) else {
            let near = self.comparisons_left.checked_sub(self.ids.names().len()).and_then(|left| {
                self.comparisons_left = left;
                crate::nearest::nearest(id, self.ids.names().map(|name| &**name))
            });
            let message = format!("there is no call `{}`", crate::path::shorten(id, 60));
            let noted = self.problems.error(here.at, "unknown_reference", message);
            match self.ids.forgets() {
                true => noted.help(FORGETS),
                false => noted.nearest(near),
            }
            .part(whole);
            return None;
        };
        if let Some(own) = here.call {
            if call == own {
                self.problems.error(here.at, "self_reference", format!("the call `{id}` waits for itself")).part(whole);
                return None;
            }
            if self.backwards && call > own {
                let message =
                    format!("`{id}` stands behind this call; calls added to a run refer only to earlier ones");
                self.problems.error(here.at, "forward_reference", message).part(whole);
                return None;
            }
        }
        edges.push((call, needs));
        Some(call)
    }

    fn foreach(&mut self, list: Value, index: u32, edges: &mut Edges, at: &At<'_>) -> Template {
        let at = at.field("foreach");
        if crate::plan_read::deeper_than(&list, crate::read::READ_DEPTH_MAX) {
            self.problems.error(
                &at,
                "too_deep",
                format!("the list is nested deeper than {}", crate::read::READ_DEPTH_MAX),
            );
            return Template::of_value(&Value::Null);
        }
        let before = self.problems.list.len();
        let tree = self.tree(list, Here { call: Some(index), element: false, at: &at }, edges);
        let wrong = match &tree {
            _ if self.problems.list.len() > before => None,
            Tree::Value(Value::Array(list)) if list.len() > ELEMENTS_MAX => {
                let message = format!("the list has {} elements; at most {ELEMENTS_MAX} are run", list.len());
                self.problems.error(&at, "too_many_elements", message);
                None
            }
            Tree::Value(Value::Array(_)) | Tree::List(_) | Tree::Reference(_) => None,
            Tree::Value(value) => Some(crate::path::describe(value)),
            Tree::Text(_) => Some("a text with references in it".to_owned()),
            Tree::Object(_) => Some("an object".to_owned()),
        };
        if let Some(what) = wrong {
            let message = format!("`foreach` is a list or one reference to a list, not {what}");
            self.problems.error(&at, "bad_foreach", message).help("such as `${search[*].id}`");
        }
        Template::of_tree(tree)
    }

    fn condition(&mut self, text: &str, here: Here<'_>, edges: &mut Edges) -> Option<Condition> {
        let parsed = match condition::parse(text) {
            Ok(parsed) => parsed,
            Err(message) => {
                let noted =
                    self.problems.error(here.at, "bad_expression", format!("`when` is not an expression: {message}"));
                if text.contains("${") || text.contains("{{") {
                    noted.help("names stand alone in `when`, without `${` or `{{`: `pick.price < 300`");
                }
                return None;
            }
        };
        let mut names = Vec::with_capacity(parsed.names.len());
        let mut inputs = None;
        for name in &parsed.names {
            let meaning = match name.as_str() {
                "inputs" => {
                    inputs = Some(self.inputs_value());
                    self.inputs_used.extend(self.inputs.keys().cloned());
                    Name::Inputs
                }
                "item" | "index" if !here.element => {
                    self.problems
                        .error(here.at, "no_element", format!("`{name}`: only a call with `foreach` has it"))
                        .part(name);
                    continue;
                }
                "item" => Name::Item,
                "index" => Name::Index,
                "null" | "None" | "nil" => {
                    self.problems
                        .error(here.at, "bad_expression", format!("`{name}` is written `none` in an expression"))
                        .part(name);
                    continue;
                }
                id => match self.edge_in(id, id, Needs::Result, here, edges) {
                    Some(call) => Name::Call(call),
                    None => continue,
                },
            };
            names.push((name.as_str().into(), meaning));
        }
        let mut outcomes = Vec::with_capacity(parsed.outcomes.len());
        for id in &parsed.outcomes {
            if let Some(call) = self.edge_in(id, id, Needs::Outcome, here, edges) {
                outcomes.push((id.as_str().into(), call));
            }
        }
        Some(Condition::new(text, parsed, names, outcomes, inputs))
    }

    fn effects(&mut self, call: &Call, tool: Option<&CatalogTool>, at: &At<'_>) -> Arc<Effects> {
        match (&call.effects, tool) {
            (None, Some(tool)) => tool.effects.clone(),
            (None, None) => Arc::new(Effects::default()),
            (Some(spec), tool) => {
                let compiled = match tool {
                    Some(tool) => tool.compile_effects(spec),
                    None => Ok(Effects::default()),
                };
                compiled.map(Arc::new).unwrap_or_else(|wrong| {
                    let at = at.field("effects");
                    for problem in wrong {
                        // A key that cannot be read was told when the plan was read, with a better place.
                        if !self
                            .problems
                            .list
                            .iter()
                            .any(|known| known.code == "bad_key" && known.message == problem.message)
                        {
                            let noted = self.problems.error(&at, problem.code, problem.message);
                            if let Some(help) = problem.help {
                                noted.help(help);
                            }
                        }
                    }
                    Arc::default()
                })
            }
        }
    }

    fn settings(&mut self, call: &Call, tool: Option<ToolId>, at: &At<'_>) -> Arc<SettingsSpec> {
        let base = tool.map(|id| self.catalog.tool(id).settings.clone());
        let Some(own) = &call.settings else { return base.unwrap_or_default() };
        self.uses(&own.uses, &format!("the call `{}`", call.id), &at.field("uses"));
        let tool = tool.unwrap_or(ToolId(0));
        if let Some((_, _, merged)) = self.merged.iter().rev().find(|(id, known, _)| *id == tool && *known == **own) {
            return merged.clone();
        }
        let merged = Arc::new(merge(base.as_deref().unwrap_or(&SettingsSpec::default()), own));
        if self.merged.len() >= MERGED_MAX {
            self.merged.remove(0);
        }
        self.merged.push((tool, (**own).clone(), merged.clone()));
        merged
    }

    /// Only what was read can be read again.
    fn refuse_cache(&mut self, call: &Call, id: ToolId, effects: &Effects, settings: &SettingsSpec, at: &At<'_>) {
        if effects.read_only() || settings.cache.is_none_or(|cache| cache.scope.is_none()) {
            return;
        }
        let own = call.settings.as_ref().is_some_and(|settings| settings.cache.is_some());
        let tool = &self.catalog.tool(id).spec.name;
        let message = format!("`{tool}` may write, so its results cannot be handed on");
        let at = if own { at.field("cache") } else { at.field("tool") };
        self.problems
            .error(&at, "cache_of_writer", message)
            .help("declare in its `effects` that it only reads, or take `cache` away");
    }

    /// A retry that the promise of at most one effect forbids most of the time. Told once for a tool, and for each
    /// call that sets it itself.
    fn warn_retry(&mut self, call: &Call, id: ToolId, effects: &Effects, settings: &SettingsSpec, at: &At<'_>) {
        let wants = settings.retry.and_then(|retry| retry.attempts).is_some_and(|attempts| attempts > 1);
        if !wants || effects.repeatable() {
            return;
        }
        let own = call.effects.is_some() || call.settings.as_ref().is_some_and(|settings| settings.retry.is_some());
        if !own && !self.warned_tools.insert(id) {
            return;
        }
        let tool = &self.catalog.tool(id).spec.name;
        let message = format!(
            "`{tool}` may write and is not declared idempotent: it is only tried again when it is proven not to have been reached"
        );
        self.problems
            .warning(&at.field("retry"), "retry_not_repeatable", message)
            .help("declare `idempotent: true` in its `effects` if running it twice is as running it once");
    }

    /// The plan's output.
    pub(crate) fn output(&mut self, output: Value) -> Template {
        let at = At::Root.field("output");
        if crate::plan_read::deeper_than(&output, crate::read::READ_DEPTH_MAX) {
            self.problems.error(
                &at,
                "too_deep",
                format!("the output is nested deeper than {}", crate::read::READ_DEPTH_MAX),
            );
            return Template::of_value(&Value::Null);
        }
        let tree = self.tree(output, Here { call: None, element: false, at: &at }, &mut Edges::new());
        Template::of_tree(tree)
    }

    /// Inputs nobody looks at.
    pub(crate) fn warn_unused(&mut self, declared: &BTreeMap<String, InputSpec>) {
        let list = At::Root.field("inputs");
        for name in declared.keys().filter(|name| !self.inputs_used.contains(*name)) {
            self.problems.warning(&list.field(name), "unused_input", format!("nothing uses the input `{name}`"));
        }
    }
}

/// Whether there is anything in a value that looks like a reference.
fn has_references(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("${"),
        Value::Array(list) => list.iter().any(has_references),
        Value::Object(map) => map.values().any(has_references),
        _ => false,
    }
}

/// Calls `then` with a path further down.
fn with_path(at: &At<'_>, steps: &[&str], then: &mut dyn FnMut(&At<'_>)) {
    match steps {
        [] => then(at),
        [step, rest @ ..] => match step.parse() {
            Ok(index) => with_path(&at.index(index), rest, then),
            Err(_) => with_path(&at.field(step), rest, then),
        },
    }
}

/// A call's settings over its tool's.
fn merge(base: &SettingsSpec, own: &SettingsSpec) -> SettingsSpec {
    let mut uses = base.uses.clone();
    uses.extend(own.uses.iter().map(|(name, amount)| (name.clone(), *amount)));
    let retry = match (base.retry, own.retry) {
        (Some(base), Some(own)) => Some(RetrySpec {
            attempts: own.attempts.or(base.attempts),
            backoff: own.backoff.or(base.backoff),
            factor: own.factor.or(base.factor),
            backoff_max: own.backoff_max.or(base.backoff_max),
        }),
        (base, own) => own.or(base),
    };
    SettingsSpec {
        timeout: own.timeout.or(base.timeout),
        idle_timeout: own.idle_timeout.or(base.idle_timeout),
        retry,
        priority: own.priority.or(base.priority),
        uses,
        expect: own.expect.or(base.expect),
        in_doubt: own.in_doubt.or(base.in_doubt),
        approval: own.approval.or(base.approval),
        approval_timeout: own.approval_timeout.or(base.approval_timeout),
        cache: own.cache.or(base.cache),
    }
}
