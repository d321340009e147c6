//! Results handed on: values kept in memory, and the cache on disk as the core orders it, with what is counted of both.
//! It does not know which result may be handed to which call, nor how the disk is read (`disk.rs`) or written.

use super::Driver;
use super::remember::Held;
use crate::disk::{self, Answer, Looker, Question};
use crate::durable::{identity, wall_clock};
use crate::ended::EndedRun;
use crate::handle::SharedGuard;
use crate::message::Message;
use crate::report::CacheCounts;
use crate::reuse::{self, Value};
use crate::run::RunData;
use fanout_core::{CallRef, EntryId, Event, Gone, RunId, Source, Stamp};
use fanout_plan::{CacheScope, ToolId};
use fanout_store::{
    CacheBounds, CacheChange, CacheEntry, CacheKey, CacheOwner, CacheWrite, Evicted, Fact, Journal, KeyPath, Ticket,
};
use hashbrown::HashMap;
use std::sync::Arc;

/// The cache on disk, once something may be kept there.
pub(crate) struct Shelf {
    looker: Looker,
    bounds: CacheBounds,
    /// What is being written, by run.
    open: HashMap<RunId, HashMap<CallRef, Arc<[KeyPath]>>>,
    /// What was found for calls and just told.
    found: HashMap<CallRef, Value>,
    /// What results of calls are kept by that looked and found nothing.
    keys: HashMap<CallRef, CacheKey>,
    /// What tools are, as far as their answers depend on it.
    tools: HashMap<ToolId, Arc<str>>,
    /// The last batch with a change to it.
    changed: Ticket,
}

impl Shelf {
    /// What was handed over with this ticket has a change to it.
    pub(super) fn changed(&mut self, ticket: Ticket) {
        self.changed = ticket;
    }
}

impl Driver {
    /// A run begins, or calls are added: from the first on that may keep results on disk, all writes are noted there.
    pub(super) fn use_disk(&mut self, run: RunId) {
        let (None, Some(memory)) = (&self.shelf, &self.memory) else { return };
        let on_disk = |scope: Option<CacheScope>| scope == Some(CacheScope::Disk);
        let mut tools = self.tables.catalog.tools().iter();
        let of_calls = self.runs.get(&run).is_some_and(|run| run.settings.wants_disk());
        if !of_calls
            && !memory.journal().cache_used()
            && !tools.any(|tool| on_disk(tool.spec.settings.cache.and_then(|cache| cache.scope)))
        {
            return;
        }
        let looker = Looker::start(memory.journal().dir().to_owned(), self.sender.clone());
        let bounds = self.cache_bounds;
        let on = !memory.has_failed();
        self.shelf = Some(Shelf {
            looker,
            bounds,
            open: HashMap::new(),
            found: HashMap::new(),
            keys: HashMap::new(),
            tools: HashMap::new(),
            changed: Ticket(0),
        });
        self.change(CacheChange::Bound(bounds));
        self.core.handle(self.now, Event::DiskSet { on });
    }

    /// A run has ended that is not recorded: told once what it kept on disk is there.
    pub(super) fn end_run(&mut self, shared: SharedGuard, data: Box<EndedRun>) {
        let changed = self.shelf.as_ref().map_or(Ticket(0), |shelf| shelf.changed);
        let over = Held::Over(shared, data);
        let ready = match &mut self.memory {
            Some(memory) => memory.hold(over, changed),
            None => Some(over),
        };
        if let Some(Held::Over(shared, data)) = ready {
            shared.0.end(Some(data));
        }
    }

    fn journal(&self) -> Option<&Arc<Journal>> {
        self.memory.as_ref().filter(|memory| !memory.has_failed()).map(|memory| memory.journal())
    }

    fn change(&mut self, change: CacheChange) {
        if let Some(memory) = self.memory.as_mut().filter(|memory| !memory.has_failed()) {
            memory.change(change);
        }
    }

    /// Nothing can be written any more: what is in memory goes on.
    pub(super) fn lose_disk(&mut self) {
        if self.shelf.is_some() {
            self.core.handle(self.now, Event::DiskSet { on: false });
        }
    }

    /// A call wants to know what is on disk for it: asked when all that was noted before is there.
    pub(super) fn look(&mut self, call: CallRef, look: u64) {
        let Some(question) = self.question(call, look) else {
            debug_assert!(false, "who looks is resolved, and there is a disk");
            return;
        };
        let changed = self.shelf.as_ref().map_or(Ticket(0), |shelf| shelf.changed);
        match &mut self.memory {
            Some(memory) => {
                if let Some(Held::Look(question)) = memory.hold(Held::Look(Box::new(question)), changed) {
                    self.ask_disk(*question);
                }
            }
            None => self.ask_disk(question),
        }
    }

    pub(super) fn ask_disk(&mut self, question: Question) {
        let answer = self.shelf.as_ref().and_then(|shelf| shelf.looker.ask(question));
        if let Some(answer) = answer {
            // As from the thread: it is told when all that is ordered now is done.
            let _ = self.sender.send(Message::LookedUp(vec![answer]));
        }
    }

    fn question(&mut self, call: CallRef, look: u64) -> Option<Question> {
        let run = self.runs.get(&call.run)?;
        let id = run.tool(call);
        let (args, reads) = (run.args(call)?.clone(), paths(run, call, false));
        let tables = &self.tables;
        let tool = self.shelf.as_mut()?.tools.entry(id).or_insert_with(|| {
            let tool = tables.catalog.tool(id);
            let version = tool.spec.version.as_deref().unwrap_or_default();
            // Programs and paths mean something else elsewhere.
            format!("{} {version} {} {}", tool.spec.name, identity(tool).hash, tables.base_dir.display()).into()
        });
        Some(Question { call, look, tool: tool.clone(), args, reads })
    }

    /// What was found for a call.
    pub(super) fn looked_up(&mut self, answer: Answer) {
        let Answer { call, look, key, stamp, found, damaged } = answer;
        if (damaged || stamp.is_none())
            && let Some(counts) = self.counts(call)
        {
            counts.damaged += 1;
        }
        if let Some(key) = key.filter(|_| damaged) {
            self.change(CacheChange::Remove(key));
        }
        let given = found.as_ref().and_then(|(_, stored)| disk::given(self.now, wall_clock(), *stored));
        if let Some(shelf) = &mut self.shelf {
            shelf.found.extend(found.map(|(value, _)| (call, value)));
            shelf.keys.extend(key.map(|key| (call, key)));
        }
        self.core.handle(self.now, Event::LookedUp { call, look, given, stamp });
        self.settle_turn();
        if let Some(shelf) = &mut self.shelf {
            shelf.found.remove(&call);
        }
    }

    /// A call has ended: what it looked for is not needed any more.
    pub(super) fn has_looked(&mut self, call: CallRef) {
        if let Some(shelf) = self.shelf.as_mut().filter(|shelf| !shelf.keys.is_empty()) {
            shelf.keys.remove(&call);
        }
    }

    /// A result is to be stored on disk.
    pub(super) fn store(&mut self, call: CallRef, entry: EntryId, stamp: Stamp) {
        let key = self.shelf.as_ref().and_then(|shelf| shelf.keys.get(&call).copied());
        let Some(run) = self.runs.get(&call.run) else { return };
        let (of, whole) = ((call.run, run.tool(call)), run.whole(call));
        let (Some(value), Some(key)) = (run.text(call), key) else { return };
        let reads = paths(run, call, false);
        self.kept.note(entry, of);
        let tool = self.tables.catalog.tool(of.1).spec.name.clone();
        let stored = wall_clock();
        let entry = CacheEntry { key, tool, value, whole, reads, stored, stamp, by: call.run.0 };
        if self.shelf.as_ref().is_some_and(|shelf| entry.bytes() <= shelf.bounds.bytes / 8) {
            self.change(CacheChange::Store(Box::new(entry)));
        }
        if let Some(counts) = self.counts(call) {
            counts.stored += 1;
        }
    }

    /// What a call writes is not what it was.
    pub(super) fn open_write(&mut self, call: CallRef) {
        let Some(run) = self.runs.get(&call.run) else { return };
        let paths = paths(run, call, true);
        let Some(write) = self.write(call, paths.clone()) else { return };
        if let Some(shelf) = &mut self.shelf {
            shelf.open.entry(call.run).or_default().insert(call, paths);
        }
        self.change(CacheChange::Open(write));
    }

    /// What a call wrote will not change by it any more.
    pub(super) fn close_write(&mut self, call: CallRef) {
        let known = self.shelf.as_mut().and_then(|shelf| shelf.open.get_mut(&call.run)?.remove(&call));
        // What is on disk from a life before this one is known there.
        let paths = known.or_else(|| self.runs.get(&call.run).map(|run| paths(run, call, true)));
        if let Some(write) = self.write(call, paths.unwrap_or_default()) {
            self.change(CacheChange::Close(write));
        }
    }

    /// A run has ended, and all its writes with it.
    pub(super) fn close_writes(&mut self, run: RunId) {
        let open = self.shelf.as_mut().and_then(|shelf| shelf.open.remove(&run));
        for (call, paths) in open.unwrap_or_default() {
            if let Some(write) = self.write(call, paths) {
                self.change(CacheChange::Close(write));
            }
        }
    }

    fn write(&self, call: CallRef, paths: Arc<[KeyPath]>) -> Option<CacheWrite> {
        let run = self.runs.get(&call.run)?;
        let element = call.element.map(|element| format!("[{element}]")).unwrap_or_default();
        let (owner, call) = match run.durable {
            Some(_) => (CacheOwner::Run(run.names.0.clone()), format!("{}{element}", call.call)),
            None => {
                (CacheOwner::Process(self.journal()?.token().clone()), format!("{}.{}{element}", call.run.0, call.call))
            }
        };
        Some(CacheWrite { owner, call: call.into(), paths })
    }

    /// Keeps a result in memory.
    pub(super) fn keep(&mut self, call: CallRef, entry: EntryId) {
        let Some(run) = self.runs.get(&call.run) else { return };
        let Some(value) = run.text(call) else { return };
        self.kept.keep(entry, (call.run, run.tool(call)), Value { value, whole: run.whole(call) });
        if let Some(counts) = self.counts(call) {
            counts.stored += 1;
        }
    }

    /// A result is not handed on any more.
    pub(super) fn forget_result(&mut self, entry: EntryId, why: Gone) {
        let Some((run, tool)) = self.kept.forget(entry) else { return };
        let Some(run) = self.runs.get_mut(&run) else { return };
        let counts = run.cache.entry(tool).or_default();
        match why {
            Gone::Written => counts.dropped += 1,
            Gone::Room => counts.evicted += 1,
            Gone::Over => {}
        }
    }

    /// Makes room for values. Only when no order is left that may name one.
    pub(super) fn evict(&mut self) {
        while let Some((entry, (run, tool))) = self.kept.evict() {
            if let Some(run) = self.runs.get_mut(&run) {
                run.cache.entry(tool).or_default().evicted += 1;
            }
            self.core.handle(self.now, Event::ResultDropped { entry });
        }
    }

    /// Results on disk had to make room.
    pub(super) fn evicted(&mut self, evicted: &[Evicted]) {
        for Evicted { by, tool } in evicted {
            let tool = self.tables.catalog.find(tool);
            if let (Some(run), Some(tool)) = (self.runs.get_mut(&RunId(*by)), tool) {
                run.cache.entry(tool).or_default().evicted += 1;
            }
        }
    }

    /// A call is handed a result instead of an attempt.
    pub(super) fn reuse(&mut self, call: CallRef, from: Source) {
        let value = match from {
            Source::Entry(entry) => self.kept.get(entry).cloned(),
            Source::Disk => self.shelf.as_mut().and_then(|shelf| shelf.found.remove(&call)),
            Source::Call(other) => self
                .runs
                .get(&other.run)
                .and_then(|run| Some(Value { value: run.text(other)?, whole: run.whole(other) })),
        };
        let Some(Value { value, whole }) = value else {
            debug_assert!(false, "what is handed on is there");
            return;
        };
        self.note(call.run, |_| Some(Fact::Reused { call: call.into(), value: value.clone().into() }));
        if let Some(counts) = self.counts(call) {
            match from {
                Source::Call(_) => counts.joined += 1,
                Source::Entry(_) | Source::Disk => counts.hits += 1,
            }
        }
        let Some(run) = self.runs.get_mut(&call.run) else { return };
        run.reused.insert(call);
        run.note_whole(call, whole);
        if let Some(slot) = run.slot_mut(call) {
            slot.set_text(Some(value));
        }
    }

    fn counts(&mut self, call: CallRef) -> Option<&mut CacheCounts> {
        let run = self.runs.get_mut(&call.run)?;
        let tool = run.tool(call);
        Some(run.cache.entry(tool).or_default())
    }
}

/// The first attempt of a call starts: it was not handed a result, if it could have been.
pub(super) fn count_miss(run: &mut RunData, call: CallRef) {
    let valid = run.call(call);
    if valid.settings.cache.is_some() && !run.settings.without_cache() && reuse::policy(valid).is_some() {
        let tool = valid.tool;
        run.cache.entry(tool).or_default().misses += 1;
    }
}

/// What a call reads, or writes.
fn paths(run: &RunData, call: CallRef, written: bool) -> Arc<[KeyPath]> {
    let own = run.slot(call).and_then(|slot| slot.keys.as_ref());
    let of_parent = || run.slot(CallRef { element: None, ..call }).and_then(|slot| slot.keys.as_ref());
    let names = own.or_else(of_parent).map_or(&[][..], |keys| &keys.names);
    let wanted = names.iter().filter(|name| !written || name.write);
    wanted.map(|name| KeyPath::new(name.segments.iter().map(String::as_str))).collect()
}
