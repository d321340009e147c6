//! What the inputs of a call make of it: `when`, the list of a `foreach`, arguments, keys.
//! It does not know when it is asked, nor what follows.

use crate::approval;
use crate::canonical::Canonical;
use crate::report::CallError;
use crate::reuse;
use crate::run::{Elements, Keys, RunData, RunScope, Slot};
use crate::tables::Tables;
use crate::translate;
use fanout_core::{CallRef, Resolution};
use fanout_plan::{ArgsView, Condition, ELEMENTS_MAX, ReferenceError, Scope, first_outside};
use fanout_tools::JsonText;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

type Refused = Box<CallError>;

/// Answers [`fanout_core::Action::Resolve`], keeping arguments, elements or the error in the slot of the call.
pub(crate) fn resolve(tables: &Tables, run: &mut RunData, call: CallRef, again: bool) -> Resolution {
    let made = match (again, call.element, &run.call(call).foreach) {
        (true, _, _) => rekey(tables, run, call),
        (false, None, Some(_)) => elements(run, call),
        (false, _, _) => arguments(tables, run, call),
    };
    let made = made.unwrap_or_else(|error| {
        let error = unreadable(run, call).filter(|_| error.code == "no_result").unwrap_or(error);
        if let Some(slot) = run.slot_mut(call) {
            slot.more().error = Some(error);
        }
        Resolution::Error
    });
    let made = reuse::identified(tables, run, call, made);
    if again { made } else { approval::asked(run, call, made) }
}

/// A result that is there but cannot be looked into looks like one that is not there; this tells which it is.
fn unreadable(run: &RunData, call: CallRef) -> Option<Refused> {
    run.call(call).inputs.iter().find_map(|(input, _)| unread(run, *input))
}

/// Why the result of a call cannot be looked into, if there is one and it cannot.
fn unread(run: &RunData, input: u32) -> Option<Refused> {
    let why = run.top(input)?.unreadable()?;
    let id = run.name_of(input);
    // The reader has no kind for it.
    let (code, message) = match why.to_string() {
        why if why.starts_with("recursion limit") => {
            ("result_too_deep", "is nested more than 127 levels deep".to_owned())
        }
        why => ("result_unreadable", format!("cannot be read ({why})")),
    };
    Some(error(code, format!("the result of `{id}` {message}, so no part of it can be referred to")))
}

/// The output of a plan whose calls have ended: with null for what has no result, but not for one that is there and
/// cannot be looked into.
///
/// # Errors
/// `filled_too_large`, `result_unreadable`, `result_too_deep`.
pub(crate) fn output(run: &RunData) -> Result<Option<JsonText>, Refused> {
    let Some(template) = &run.plan.output else { return Ok(None) };
    let scope = run.scope(CallRef { run: run.id, call: 0, element: None });
    let scope = Missing { scope, calls: RefCell::default() };
    let value = template.resolve_or_null(&scope).map_err(|error| {
        let message = format!("{}; say less in it", error.message);
        self::error(error.code, message)
    })?;
    match scope.calls.into_inner().into_iter().find_map(|call| unread(run, call)) {
        Some(error) => Err(error),
        None => Ok(serde_json::value::to_raw_value(&value).ok().map(Arc::from)),
    }
}

/// A scope that notes of which calls no result was found.
struct Missing<'a> {
    scope: RunScope<'a>,
    calls: RefCell<BTreeSet<u32>>,
}

impl Scope for Missing<'_> {
    fn result(&self, call: u32) -> Option<&Arc<Value>> {
        let found = self.scope.result(call);
        if found.is_none() {
            self.calls.borrow_mut().insert(call);
        }
        found
    }

    fn outcome(&self, call: u32) -> &str {
        self.scope.outcome(call)
    }

    fn item(&self) -> Option<(&Arc<Value>, usize)> {
        self.scope.item()
    }
}

/// The list of a `foreach` call becomes its elements.
fn elements(run: &mut RunData, call: CallRef) -> Result<Resolution, Refused> {
    let valid = run.call(call);
    let Some(foreach) = &valid.foreach else { return Ok(Resolution::Elements(0)) };
    let scope = run.scope(call);
    // A `when` about elements is asked for each; another decides about the call, and guards its list.
    if let Some(when) = valid.when.as_ref().filter(|when| !when.uses_item())
        && !when.is_true(&scope).map_err(refused)?
    {
        return Ok(Resolution::Skip);
    }
    let list = match foreach.resolve(&scope).map_err(refused)? {
        Value::Array(list) => list,
        other => {
            return Err(error("foreach_not_a_list", format!("`foreach` needs a list, and got {}", describe(&other))));
        }
    };
    if list.len() > ELEMENTS_MAX {
        let message = format!(
            "`foreach` over {} elements; at most {} are allowed: take a slice, or group them",
            list.len(),
            ELEMENTS_MAX
        );
        return Err(error("too_many_elements", message));
    }
    let id = valid.id.clone();
    let count = list.len();
    run.counts.elements += count;
    run.counts.expanded += 1;
    if let Some(top) = run.top_mut(call.call) {
        top.more().elements = Some(Elements {
            items: list.into_iter().map(Arc::new).collect(),
            slots: (0..count).map(|_| Slot::default()).collect(),
            ids: (0..count).map(|index| format!("{id}[{index}]").into()).collect(),
        });
    }
    Ok(Resolution::Elements(u32::try_from(count).unwrap_or(u32::MAX)))
}

/// `when`, arguments and keys of a call or element.
fn arguments(tables: &Tables, run: &mut RunData, call: CallRef) -> Result<Resolution, Refused> {
    let valid = run.call(call);
    let scope = run.scope(call);
    // Of an element, one that is not about elements was asked before there were any.
    let asked = |when: &&Condition| call.element.is_none() || when.uses_item();
    if let Some(when) = valid.when.as_ref().filter(asked)
        && !when.is_true(&scope).map_err(refused)?
    {
        return Ok(Resolution::Skip);
    }
    if valid.args.literal().is_some() {
        // Checked and named before the run.
        return Ok(Resolution::Run { claims: None, same: None });
    }
    if valid.effects.is_empty()
        && let Some(text) = valid.args.text(&scope)
    {
        if let Some(slot) = run.slot_mut(call) {
            slot.set_text(Some(text));
        }
        return Ok(Resolution::Run { claims: None, same: None });
    }
    let args = valid.args.resolve(&scope).map_err(refused)?;
    tables.catalog.tool(valid.tool).validate_args(&args).map_err(|message| error("arguments_invalid", message))?;
    let canonical = Canonical::new(&tables.base_dir);
    let keys = translate::keys(&valid.effects, ArgsView::Known(&args), &canonical);
    let announced = run.slot(call).and_then(|slot| slot.keys.as_ref());
    let announced = announced.or_else(|| run.top(call.call)?.keys.as_ref());
    if let (Some(keys), Some(announced)) = (&keys, announced) {
        within(keys, announced)?;
    }
    let text = serde_json::value::to_raw_value(&args).map_err(|wrong| error("arguments_invalid", wrong.to_string()))?;
    let claims = keys.as_ref().map(|keys| keys.claims.clone());
    if let Some(slot) = run.slot_mut(call) {
        slot.set_text(Some(text.into()));
        slot.keys = keys;
    }
    Ok(Resolution::Run { claims, same: None })
}

/// An overlapping writer has ended: links may lead elsewhere now.
fn rekey(tables: &Tables, run: &mut RunData, call: CallRef) -> Result<Resolution, Refused> {
    let valid = run.call(call);
    let canonical = Canonical::new(&tables.base_dir);
    let resolved = run.slot(call).and_then(|slot| slot.args());
    let parsed = resolved.and_then(|args| serde_json::from_str::<Value>(args.get()).ok());
    let view = parsed.as_ref().map_or(ArgsView::Partial(&valid.args), ArgsView::Known);
    let keys = translate::keys(&valid.effects, view, &canonical);
    let claims = keys.as_ref().map(|keys| keys.claims.clone());
    if let Some(slot) = run.slot_mut(call) {
        slot.keys = keys;
    }
    Ok(Resolution::Run { claims, same: None })
}

/// Keys that turn out to lie outside what was announced would have been overtaken already.
pub(crate) fn within(keys: &Keys, announced: &Keys) -> Result<(), Refused> {
    let Some(key) = first_outside(&announced.names, &keys.names) else { return Ok(()) };
    let known: Vec<&str> = announced.names.iter().map(|known| &*known.text).collect();
    let message = format!(
        "its key `{}` lies outside what its effects announced before its arguments were known ({}); \
         a path that leaves a directory by `..` or a link needs a key that covers where it leads",
        key.text,
        known.join(", ")
    );
    Err(error("key_outside_prefix", message))
}

/// What a value is, for a message.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => format!("the boolean {value}"),
        Value::Number(_) => format!("the number {value}"),
        Value::String(text) => format!("a text of {} characters", text.chars().count()),
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(map) => format!("an object with {} fields", map.len()),
    }
}

fn refused(wrong: ReferenceError) -> Refused {
    error(wrong.code, wrong.message)
}

fn error(code: &'static str, message: String) -> Refused {
    Box::new(CallError { code: code.into(), message, detail: None })
}
