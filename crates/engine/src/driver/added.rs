//! What comes to an engine at work: calls added to open runs, tools that are no longer what they were, progress of
//! attempts.
//! It does not know what follows from any of it.

use super::Driver;
use crate::event::What;
use crate::handle::run_ended;
use crate::message::NewTools;
use crate::submitted::Reply;
use crate::telling::CallProgress;
use crate::translate;
use fanout_core::{CallState, CallView, Event, RunId};
use fanout_plan::{Call, Diagnostic};
use fanout_store::Fact;
use std::sync::Arc;

impl Driver {
    pub(super) fn set_tools(&mut self, new: NewTools) {
        let NewTools { tables, adapters, events } = new;
        self.tables = tables;
        self.attempts.set_tools(adapters, &self.tables.catalog);
        for event in events {
            self.core.handle(self.now, event);
        }
    }

    /// An attempt told how far it is.
    pub(super) fn told_progress(&mut self, id: RunId, name: &Arc<str>, attempt: u32, progress: CallProgress) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let view = run.find(name).and_then(|call| self.core.view().call(call));
        let runs = |view: &CallView| matches!(view.state, CallState::Running | CallState::Aborting);
        match view.filter(|view| view.attempt == attempt && runs(view)) {
            Some(_) => run.emit(self.now, |_| What::CallProgressed { call: name.clone(), attempt, progress }),
            None => {
                if let Some(telling) = &run.telling {
                    telling.forget(|| name.clone());
                }
            }
        }
        self.touch(id);
    }

    pub(super) fn add_calls(&mut self, id: RunId, calls: Vec<Call>) -> Result<(), Vec<Diagnostic>> {
        let Some(run) = self.runs.get_mut(&id).filter(|run| run.open) else { return Err(vec![run_ended()]) };
        let durable = run.durable.is_some() && run.recovering.is_none();
        let written = durable.then(|| calls.iter().map(Call::to_value).collect::<serde_json::Value>());
        let written = written.and_then(|calls| crate::durable::text(&calls).ok());
        run.use_catalog(&self.tables.catalog);
        let valid = run.plan.extend(calls)?;
        let added = translate::calls(&self.tables, &valid, &mut run.settings);
        if run.later.is_some() {
            run.list_later(valid, added.keys, self.now);
        } else {
            if let Some(shared) = &run.shared {
                shared.0.log.name(valid.iter().map(|call| call.id.clone()));
            }
            let first = run.plan.calls.len();
            run.plan.calls.extend(valid);
            run.list(first, added.keys, self.now);
        }
        if let Some(text) = written {
            self.note(id, |_| Some(Fact::CallsAdded { calls: text.into() }));
        }
        self.use_disk(id);
        self.handle(Event::CallsAdded { run: id, calls: added.calls });
        Ok(())
    }

    pub(super) fn submit(&mut self, id: RunId, call: Call, reply: Reply) {
        let index = self.runs.get(&id).map_or(0, |run| run.listed_calls());
        // Known before the call is, since the core may end it at once.
        if let (Ok(index), Some(run)) = (u32::try_from(index), self.runs.get_mut(&id)) {
            run.owed.insert(index, reply);
            if let Err(problems) = self.add_calls(id, vec![call])
                && let Some(reply) = self.runs.get_mut(&id).and_then(|run| run.owed.remove(&index))
            {
                // Nobody minds when the one who asked does not wait for the answer.
                let _ = reply.send(Err(problems));
            }
        }
    }
}
