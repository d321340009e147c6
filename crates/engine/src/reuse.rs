//! Results handed on: what a call has in common with those that may have its result, and the values that are kept.
//! It does not know which result may be handed to which call: the core says so, since writes end it.

use crate::run::RunData;
use crate::tables::Tables;
use fanout_core::{CallRef, EntryId, Identity, Resolution, Reuse, RunId, Scope};
use fanout_plan::{CacheScope, ToolId, ValidCall};
use fanout_store::CacheKey;
use fanout_tools::JsonText;
use hashbrown::HashMap;
use std::collections::VecDeque;

/// Bytes of values kept to be handed on: of use to a run of thousands of reads, and small beside its results.
const BYTES_MAX: usize = 64 << 20;

/// Whether, and how, results of a call may be handed on.
pub(crate) fn policy(call: &ValidCall) -> Option<Reuse> {
    let spec = call.settings.cache?;
    let scope = match spec.scope? {
        CacheScope::Run => Scope::Run,
        CacheScope::Engine => Scope::Engine,
        CacheScope::Disk => Scope::Disk,
    };
    call.effects.read_only().then_some(Reuse { ttl: spec.ttl, scope })
}

/// What a call that is to run would be told: its tool as it is, and its arguments in their one form.
pub(crate) fn identified(tables: &Tables, run: &RunData, call: CallRef, resolution: Resolution) -> Resolution {
    let Resolution::Run { claims, same: None } = resolution else { return resolution };
    let valid = run.call(call);
    let same = policy(valid).filter(|_| !run.settings.without_cache()).and_then(|_| {
        let spec = &tables.catalog.tool(valid.tool).spec;
        let tool = [&spec.name, " ", spec.version.as_deref().unwrap_or_default()].concat();
        CacheKey::new(&tool, run.args(call)?)
    });
    Resolution::Run { claims, same: same.map(|key| Identity(key.number())) }
}

/// A result that may be handed on.
#[derive(Clone)]
pub(crate) struct Value {
    pub(crate) value: JsonText,
    /// What its tool answered with besides.
    pub(crate) whole: Option<JsonText>,
}

impl Value {
    fn bytes(&self) -> usize {
        self.value.get().len() + self.whole.as_ref().map_or(0, |whole| whole.get().len())
    }
}

/// Whose result an entry is.
pub(crate) type Of = (RunId, ToolId);

/// An entry of the core.
struct Entry {
    /// `None`: it is on disk.
    value: Option<Value>,
    of: Of,
}

/// The values the core wants kept.
#[derive(Default)]
pub(crate) struct Kept {
    values: HashMap<EntryId, Entry>,
    /// The oldest first; those that were forgotten may still be named.
    order: VecDeque<EntryId>,
    bytes: usize,
}

impl Kept {
    /// Keeps a value.
    pub(crate) fn keep(&mut self, entry: EntryId, of: Of, value: Value) {
        self.bytes += value.bytes();
        self.values.insert(entry, Entry { value: Some(value), of });
        self.order.push_back(entry);
        // Names of what is gone go when they are the most.
        if self.order.len() > 2 * self.values.len() + 64 {
            self.order.retain(|entry| self.values.contains_key(entry));
        }
    }

    /// Notes an entry whose value is on disk.
    pub(crate) fn note(&mut self, entry: EntryId, of: Of) {
        self.values.insert(entry, Entry { value: None, of });
    }

    /// The oldest value goes, if there is too much. Only when no order is left that may name it.
    pub(crate) fn evict(&mut self) -> Option<(EntryId, Of)> {
        while self.bytes > BYTES_MAX {
            let oldest = self.order.pop_front()?;
            if let Some(of) = self.forget(oldest) {
                return Some((oldest, of));
            }
        }
        None
    }

    /// A value is not needed any more; whose it was, if it was there.
    pub(crate) fn forget(&mut self, entry: EntryId) -> Option<Of> {
        let gone = self.values.remove(&entry)?;
        self.bytes -= gone.value.as_ref().map_or(0, Value::bytes);
        Some(gone.of)
    }

    pub(crate) fn get(&self, entry: EntryId) -> Option<&Value> {
        self.values.get(&entry)?.value.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    #[test]
    fn the_oldest_go_when_there_is_too_much() {
        let value = |bytes: usize| {
            let text = RawValue::from_string(format!("\"{}\"", "x".repeat(bytes - 2))).expect("JSON");
            Value { value: text.into(), whole: None }
        };
        let mut kept = Kept::default();
        let of = (RunId(1), ToolId(0));
        kept.keep(EntryId(1), of, value(BYTES_MAX / 2));
        kept.keep(EntryId(2), of, value(BYTES_MAX / 2));
        assert_eq!(kept.evict(), None);
        kept.keep(EntryId(3), of, value(10));
        assert_eq!((kept.evict(), kept.evict()), (Some((EntryId(1), of)), None));
        assert!(kept.get(EntryId(1)).is_none() && kept.get(EntryId(2)).is_some());
        // What comes and goes leaves nothing behind.
        for entry in 10..10_000 {
            kept.keep(EntryId(entry), of, value(10));
            assert_eq!(kept.forget(EntryId(entry)), Some(of));
        }
        assert_eq!((kept.values.len(), kept.bytes), (2, BYTES_MAX / 2 + 10));
        assert!(kept.order.len() < 200, "{}", kept.order.len());
    }
}
