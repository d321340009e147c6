//! All tools of an engine, compiled once: schemas, effects with the defaults of what declares nothing, nearest names.
//! It does not know plans, nor how a tool is called.

use crate::diagnostic::Diagnostic;
use crate::effects::{Base, Effects, KeyTemplate};
use crate::spec::{SettingsSpec, ToolKind, ToolSpec, ToolboxSpec};
use crate::valid_args::Parts;
use hashbrown::HashMap;
use jsonschema::Validator;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The place of a tool in its catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ToolId(pub u32);

/// All tools of an engine.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Every version of every tool there ever was; `ToolId` is the index.
    pub(crate) versions: Vec<Arc<CatalogTool>>,
    /// Those there are now.
    pub(crate) tools: Vec<Arc<CatalogTool>>,
    pub(crate) names: HashMap<Arc<str>, ToolId>,
    /// The numbers that a name ever had.
    pub(crate) named: HashMap<Arc<str>, Vec<ToolId>>,
    pub(crate) toolboxes: Vec<Entry>,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// A toolbox of a catalog.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: Arc<str>,
    pub(crate) tools: Vec<ToolId>,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// What the tools of a toolbox have in common.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shared {
    /// What one that declares nothing writes.
    undeclared: Vec<KeyTemplate>,
    /// The same for a program.
    undeclared_program: Vec<KeyTemplate>,
    /// Whether there are limits that all of them count against.
    limited: (bool, bool),
}

impl Shared {
    pub(crate) fn of(toolbox: &ToolboxSpec) -> Shared {
        let undeclared = sibling_prefixes(toolbox);
        // A program may touch anything, unless somebody said what the toolbox is over.
        let undeclared_program = match toolbox.key {
            Some(_) => undeclared.clone(),
            None => KeyTemplate::parse("*", true).into_iter().collect(),
        };
        Shared { undeclared, undeclared_program, limited: (toolbox.running_max.is_some(), toolbox.rate.is_some()) }
    }

    /// The effects of a tool that declares none.
    fn effects(&self, spec: &ToolSpec) -> Effects {
        let program = spec.kind == ToolKind::Process;
        let keys = if program { &self.undeclared_program } else { &self.undeclared };
        Effects::hinted(keys.clone(), spec.hints.unwrap_or_default())
    }
}

/// A tool with everything about it compiled.
pub struct CatalogTool {
    /// What was declared.
    pub spec: ToolSpec,
    /// The name of its toolbox.
    pub toolbox: Arc<str>,
    /// Which of the toolboxes, in the order they were given.
    pub toolbox_index: u32,
    /// What it touches, the defaults of what declares nothing applied.
    pub effects: Arc<Effects>,
    /// Nothing was declared, nor is it known to write nothing: `effects` is the safe default.
    pub undeclared: bool,
    /// Its settings, shared by calls that set nothing.
    pub settings: Arc<SettingsSpec>,
    validator: Validator,
    /// What its result has to be, where it promises something.
    result: Option<Validator>,
    /// Whether there are limits that all tools of its toolbox count against.
    limited: (bool, bool),
    /// Whether no arguments at all are fine.
    accepts_empty: bool,
    defaults: Arc<Map<String, Value>>,
    pub(crate) parts: OnceLock<Parts>,
}

impl Catalog {
    /// Compiles all tools. Remote references in schemas are never fetched.
    ///
    /// # Errors
    /// Every duplicate name, schema that does not compile, and key template that cannot be read.
    pub fn new(toolboxes: impl IntoIterator<Item = ToolboxSpec>) -> Result<Catalog, Vec<Diagnostic>> {
        let mut catalog = Catalog::default();
        let mut wrong = Vec::new();
        for toolbox in toolboxes {
            if let Err(problems) = catalog.put(None, toolbox) {
                wrong.extend(problems);
            }
        }
        wrong.extend(catalog.index());
        if wrong.is_empty() { Ok(catalog) } else { Err(wrong) }
    }

    /// All tools there are, in the order they were given.
    pub fn tools(&self) -> &[Arc<CatalogTool>] {
        &self.tools
    }

    /// What of the toolboxes' sources is no tool, or not wholly.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The tool of this name.
    pub fn find(&self, name: &str) -> Option<ToolId> {
        self.names.get(name).copied()
    }

    /// The tool of this number, also when there is another of its name by now.
    pub fn tool(&self, id: ToolId) -> &CatalogTool {
        &self.versions[id.0 as usize]
    }

    /// As [`Catalog::tool`], to be kept.
    pub fn shared(&self, id: ToolId) -> &Arc<CatalogTool> {
        &self.versions[id.0 as usize]
    }

    /// How many numbers were given out: those of the tools there are, and of those there were.
    pub fn ids(&self) -> u32 {
        u32::try_from(self.versions.len()).unwrap_or(u32::MAX)
    }

    /// The name nearest to a wrong one.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        crate::nearest::nearest(name, self.tools.iter().map(|tool| &*tool.spec.name))
    }
}

/// What an undeclared tool of this toolbox writes: its key, and the literal prefix of every key its siblings declare.
fn sibling_prefixes(toolbox: &ToolboxSpec) -> Vec<KeyTemplate> {
    let own = toolbox.key.clone().unwrap_or_else(|| toolbox.name.to_string());
    let own = if own.is_empty() { "*".to_owned() } else { own };
    let declared = toolbox.tools.iter().filter_map(|tool| Some((tool, tool.effects.as_ref()?)));
    let declared = declared
        .flat_map(|(tool, effects)| effects.reads.iter().chain(&effects.writes).map(|text| (Base::of(tool), text)));
    let mut keys: Vec<KeyTemplate> = Vec::new();
    let prefixes = declared
        .filter_map(|(base, text)| Some(KeyTemplate::parse(text, true).ok()?.based(&base).literal_prefix(true)));
    for key in KeyTemplate::parse(&own, true).into_iter().chain(prefixes) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

impl CatalogTool {
    /// Whether it is what this would become in this toolbox.
    pub(crate) fn is(&self, spec: &ToolSpec, toolbox_index: u32, shared: &Shared) -> bool {
        self.toolbox_index == toolbox_index
            && self.limited == shared.limited
            && self.spec.is_as(spec)
            && (spec.effects.is_some() || self.effects.claims() == shared.effects(spec).claims())
    }

    pub(crate) fn compile(
        spec: ToolSpec,
        toolbox: &Arc<str>,
        toolbox_index: u32,
        shared: &Shared,
    ) -> Result<CatalogTool, Vec<Diagnostic>> {
        let name = &spec.name;
        let mut wrong = Vec::new();
        let bad_schema = |what: &str, message: String| {
            Diagnostic::error("bad_schema", format!("the schema of {what} of `{name}` does not compile: {message}"))
                .with_path(&**name)
        };
        let validator =
            validator(&spec.args_schema).map_err(|message| wrong.push(bad_schema("the arguments", message)));
        let result = spec.result_schema.as_ref().map(self::validator).transpose();
        let result = result.map_err(|message| wrong.push(bad_schema("the result", message)));
        let defaults = Arc::new(defaults(&spec.args_schema));
        let effects = match &spec.effects {
            Some(declared) => compile_effects(&spec, declared, &defaults).map_err(|problems| wrong.extend(problems)),
            None => Ok(shared.effects(&spec)),
        };
        let (Ok(validator), Ok(result), Ok(effects)) = (validator, result, effects) else { return Err(wrong) };
        Ok(CatalogTool {
            toolbox: toolbox.clone(),
            toolbox_index,
            effects: Arc::new(effects),
            undeclared: spec.effects.is_none() && !spec.hints.is_some_and(|hints| hints.read_only),
            settings: Arc::new(spec.settings.clone()),
            accepts_empty: validator.is_valid(&Value::Object(Map::new())),
            validator,
            result,
            limited: shared.limited,
            defaults,
            parts: OnceLock::new(),
            spec,
        })
    }

    /// Compiles effects that a call declares instead of the tool's.
    pub(crate) fn compile_effects(&self, effects: &crate::spec::EffectsSpec) -> Result<Effects, Vec<Diagnostic>> {
        compile_effects(&self.spec, effects, &self.defaults)
    }

    /// Checks complete arguments.
    ///
    /// # Errors
    /// Names the instance path of every violation and what was expected there.
    pub fn validate_args(&self, args: &Value) -> Result<(), String> {
        if self.accepts_empty && args.as_object().is_some_and(Map::is_empty) || self.validator.is_valid(args) {
            return Ok(());
        }
        Err(said(&violations(&self.validator, args)))
    }

    /// Whether it promises what its results look like.
    pub fn promises_result(&self) -> bool {
        self.result.is_some()
    }

    /// Checks a result against what the tool promises.
    ///
    /// # Errors
    /// Names the path of every violation and what was expected there.
    pub fn validate_result(&self, value: &Value) -> Result<(), String> {
        match &self.result {
            Some(result) if !result.is_valid(value) => Err(said(&violations(result, value))),
            _ => Ok(()),
        }
    }

    /// Everything wrong with complete arguments, with its path.
    pub(crate) fn violations(&self, args: &Value) -> Vec<Violation> {
        violations(&self.validator, args)
    }

    pub(crate) fn accepts_empty(&self) -> bool {
        self.accepts_empty
    }
}

impl fmt::Debug for CatalogTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatalogTool")
            .field("name", &self.spec.name)
            .field("toolbox", &self.toolbox)
            .field("effects", &self.effects)
            .finish_non_exhaustive()
    }
}

fn compile_effects(
    tool: &ToolSpec,
    spec: &crate::spec::EffectsSpec,
    defaults: &Arc<Map<String, Value>>,
) -> Result<Effects, Vec<Diagnostic>> {
    let bad = |path: String, message: String| Diagnostic::error("bad_key", message).with_path(path);
    let (base, schema, tool) = (Base::of(tool), &tool.args_schema, &*tool.name);
    let effects = Effects::compile(spec, defaults.clone()).map_err(|wrong| {
        wrong
            .into_iter()
            .map(|(list, at, message)| bad(format!("{tool}.effects.{list}[{at}]"), message))
            .collect::<Vec<_>>()
    })?;
    let effects = effects.based(&base);
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Ok(effects) };
    let unknown: Vec<_> = effects
        .claims()
        .iter()
        .flat_map(|claim| {
            claim.arguments().filter(|name| !properties.contains_key(*name)).map(move |name| (claim, name))
        })
        .map(|(claim, name)| {
            let problem = bad(
                format!("{tool}.effects"),
                format!("the key `{}` is made from the argument `{name}`, which `{tool}` does not have", claim.text),
            );
            match crate::nearest::nearest(name, properties.keys().map(String::as_str)) {
                Some(near) => problem.with_help(format!("did you mean `{near}`?")),
                None => problem,
            }
        })
        .collect();
    if unknown.is_empty() { Ok(effects) } else { Err(unknown) }
}

/// The values of arguments that are not given.
pub(crate) fn defaults(schema: &Value) -> Map<String, Value> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties
        .into_iter()
        .flatten()
        .filter_map(|(name, schema)| Some((name.clone(), schema.get("default")?.clone())))
        .collect()
}

/// One thing wrong with a value.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    /// Where in the value, as steps.
    pub(crate) at: Vec<String>,
    pub(crate) message: String,
    /// A property that is not known, for the nearest name.
    pub(crate) unknown: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.at.join("."), self.message)
        }
    }
}

/// At most this many violations of one value are told.
const VIOLATIONS_MAX: usize = 16;

/// Everything wrong with a value.
pub(crate) fn violations(validator: &Validator, value: &Value) -> Vec<Violation> {
    let mut found: Vec<Violation> = Vec::new();
    for error in validator.iter_errors(value).take(VIOLATIONS_MAX) {
        let path = error.instance_path().as_str();
        let at = path.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
        let unknown = match error.kind() {
            jsonschema::error::ValidationErrorKind::AdditionalProperties { unexpected } => unexpected.clone(),
            _ => Vec::new(),
        };
        found.push(Violation { at, message: crate::path::shorten(&error.to_string(), 300), unknown });
    }
    found
}

/// Violations in one line.
fn said(violations: &[Violation]) -> String {
    violations.iter().map(Violation::to_string).collect::<Vec<_>>().join("; ")
}

/// Whether a JSON Schema compiles. Remote references are never fetched.
///
/// # Errors
/// Says why not.
pub fn check_schema(schema: &Value) -> Result<(), String> {
    validator(schema).map(|_| ())
}

/// Compiles a schema without ever fetching anything.
pub(crate) fn validator(schema: &Value) -> Result<Validator, String> {
    jsonschema::options().offline().build(schema).map_err(|error| crate::path::shorten(&error.to_string(), 300))
}
