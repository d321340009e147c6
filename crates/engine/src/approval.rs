//! Approvals: which calls somebody has to approve, what that person is shown, and what an answer makes of the call.
//! It does not know who is asked, nor when the call then starts.

use crate::canonical::Canonical;
use crate::defaults;
use crate::event::What;
use crate::report::CallError;
use crate::resolve::within;
use crate::reuse;
use crate::run::RunData;
use crate::tables::Tables;
use crate::translate;
use fanout_core::{CallRef, Resolution};
use fanout_plan::{ArgsView, ValidCall};
use fanout_tools::JsonText;
use serde_json::Value;
use std::time::Duration;

/// What somebody says about a call that has to be approved.
#[derive(Clone, Debug)]
pub enum Approve {
    /// It may run as it is.
    Yes,
    /// It may run with these arguments instead. They are validated, and their keys must lie within those of the
    /// arguments that were shown, since what overlaps them only may have gone on.
    With(Value),
    /// It may not run; with a reason for the report.
    No(Option<String>),
}

/// How long an approval of the call may take; `None`: it needs none.
pub(crate) fn bound(call: &ValidCall) -> Option<Duration> {
    let needed = match call.settings.approval {
        Some(fanout_plan::Approval::Always) => true,
        Some(fanout_plan::Approval::Destructive) => call.effects.destructive(),
        Some(fanout_plan::Approval::Never) | None => false,
    };
    needed.then(|| call.settings.approval_timeout.unwrap_or(defaults::ASK_MAX))
}

/// What a resolved call waits for: to be approved, where that is needed. Denied at once where nobody can answer.
pub(crate) fn asked(run: &mut RunData, call: CallRef, resolution: Resolution) -> Resolution {
    let Resolution::Run { claims, same } = resolution else { return resolution };
    let Some(bound) = bound(run.call(call)) else { return Resolution::Run { claims, same } };
    let attended = run.attended;
    let Some(slot) = run.slot_mut(call) else { return Resolution::Denied };
    if !attended {
        slot.more().error = Some(denied("it needs an approval, and nobody can be asked here"));
        return Resolution::Denied;
    }
    slot.more().asked = true;
    run.questions.insert(call);
    Resolution::Ask { claims, bound }
}

/// The question as an event.
pub(crate) fn question(run: &RunData, tables: &Tables, call: CallRef, bound: Duration) -> What {
    let valid = run.call(call);
    What::ApprovalAsked {
        call: run.call_id(call),
        tool: tables.catalog.tool(valid.tool).spec.name.clone(),
        args: run.args(call).and_then(|args| serde_json::from_str(args.get()).ok()).unwrap_or_default(),
        destructive: valid.effects.destructive(),
        within_ms: bound.as_secs_f64() * 1e3,
    }
}

/// What an answer makes of the call. With an error the question stays open.
pub(crate) fn answered(
    tables: &Tables,
    run: &mut RunData,
    call: CallRef,
    answer: Approve,
) -> Result<Resolution, Box<CallError>> {
    let resolution = match answer {
        Approve::Yes => Resolution::Run { claims: None, same: None },
        Approve::With(args) => edited(tables, run, call, &args)?,
        Approve::No(reason) => {
            let reason = reason.map_or_else(|| "somebody refused it".to_owned(), |reason| format!("refused: {reason}"));
            if let Some(slot) = run.slot_mut(call) {
                slot.more().error = Some(denied(&reason));
            }
            Resolution::Denied
        }
    };
    if let Some(slot) = run.slot_mut(call) {
        slot.more().asked = false;
    }
    run.questions.remove(&call);
    Ok(reuse::identified(tables, run, call, resolution))
}

/// Other arguments than those shown: validated again, and within the keys that were held for them.
fn edited(tables: &Tables, run: &mut RunData, call: CallRef, args: &Value) -> Result<Resolution, Box<CallError>> {
    let wrong = |code: &'static str, message: String| Box::new(CallError { code: code.into(), message, detail: None });
    let valid = run.call(call);
    tables.catalog.tool(valid.tool).validate_args(args).map_err(|message| wrong("arguments_invalid", message))?;
    let keys = translate::keys(&valid.effects, ArgsView::Known(args), &Canonical::new(&tables.base_dir));
    let held = run.slot(call).and_then(|slot| slot.keys.as_ref());
    let held = held.or_else(|| run.top(call.call)?.keys.as_ref());
    if let (Some(keys), Some(held)) = (&keys, held) {
        within(keys, held)?;
    }
    let text = serde_json::value::to_raw_value(args).map_err(|error| wrong("arguments_invalid", error.to_string()))?;
    let claims = keys.as_ref().map(|keys| keys.claims.clone());
    if let Some(slot) = run.slot_mut(call) {
        slot.set_text(Some(JsonText::from(text)));
        slot.keys = keys;
    }
    Ok(Resolution::Run { claims, same: None })
}

fn denied(message: &str) -> Box<CallError> {
    Box::new(CallError { code: "denied".into(), message: message.to_owned(), detail: None })
}
