//! The data of one run: values, errors and times of its calls, by the numbers the core uses.
//! It does not know what happens next; it only keeps what the driver puts in.

use crate::breaks::Breaks;
use crate::ends::{End, EndPlace, Ends};
use crate::event::What;
use crate::event_log::{Happened, Noted};
use crate::forget::{Later, LaterCall};
use crate::handle::SharedGuard;
use crate::report::{CacheCounts, CallError, WaitReport};
use crate::submitted::Reply;
use crate::telling::Telling;
use crate::translate::SettingsCache;
use crate::words::outcome_name;
use fanout_core::{CallRef, Claims, LimitId, RunId, Time, Wait};
use fanout_plan::{Catalog, NamedKey, Needs, Scope, ToolId, ValidCall, ValidPlan};
use fanout_tools::{JsonText, Usage};
use hashbrown::{HashMap, HashSet};
use serde_json::Value;
use serde_json::value::RawValue;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One run.
pub(crate) struct RunData {
    pub(crate) id: RunId,
    pub(crate) plan: ValidPlan,
    /// The run's id and its plan's name, as people see them.
    pub(crate) names: (Arc<str>, Arc<str>),
    /// Taken when the run ends.
    pub(crate) shared: Option<SharedGuard>,
    /// One per call of `plan.calls`.
    pub(crate) slots: Vec<Slot>,
    /// Where calls that are added are forgotten: those, which are not in `plan.calls`.
    pub(crate) later: Option<Later>,
    pub(crate) ends: Ends,
    pub(crate) breaks: Breaks,
    pub(crate) began: Time,
    /// When calls were listed: the first index of each addition and its moment.
    pub(crate) listed: Vec<(u32, Time)>,
    pub(crate) limit_names: Vec<(LimitId, Arc<str>)>,
    pub(crate) settings: SettingsCache,
    pub(crate) open: bool,
    /// Calls about which somebody was asked something.
    pub(crate) questions: BTreeSet<CallRef>,
    /// This process owns it in the journal.
    pub(crate) durable: Option<crate::durable::Owned>,
    /// Its record is being told again.
    pub(crate) recovering: Option<Recovering>,
    /// What calls that ended in an earlier life waited for.
    pub(crate) told_waits: HashMap<CallRef, Vec<WaitReport>>,
    /// Calls that were handed the result of another.
    pub(crate) reused: HashSet<CallRef>,
    /// What became of results that may be handed on, by tool.
    pub(crate) cache: BTreeMap<ToolId, CacheCounts>,
    /// Calls to which an answer is owed, by index.
    pub(crate) owed: HashMap<u32, Reply>,
    /// What attempts answered with besides their value, until their call has ended.
    pub(crate) wholes: HashMap<CallRef, JsonText>,
    /// That of the call that ended last, for those it is handed to.
    pub(crate) last_whole: Option<(CallRef, JsonText)>,
    /// Why it could not be recorded any more.
    pub(crate) journal_error: Option<String>,
    /// Its deadline has its place in the record.
    pub(crate) deadline_noted: bool,
    /// Somebody can answer questions.
    pub(crate) attended: bool,
    /// What its attempts told.
    pub(crate) telling: Option<Telling>,
    /// Who is told and asked by its attempts.
    pub(crate) peer: Option<Arc<dyn fanout_tools::Peer>>,
    pub(crate) paused: bool,
    pub(crate) cancelled: bool,
    pub(crate) failed: bool,
    /// Some call was cancelled, if not the run.
    pub(crate) call_cancelled: bool,
    pub(crate) counts: Ended,
    /// Events not yet handed to the log, if they are kept.
    pub(crate) events: Option<Vec<Noted>>,
    /// Whether the driver has it on its list of runs to flush.
    pub(crate) touched: bool,
}

/// A run whose record is being told again.
#[derive(Default)]
pub(crate) struct Recovering {
    /// The moment of the fact that is being told.
    pub(crate) at: Time,
    /// Attempts that started and have not ended, with their begin.
    pub(crate) open: BTreeMap<CallRef, (u32, Time)>,
    /// When the first attempt of each call started that has not ended.
    pub(crate) started: HashMap<CallRef, Time>,
    /// What the core wants resolved, and whether again.
    pub(crate) unresolved: BTreeMap<CallRef, bool>,
    /// Why the record cannot be that of this run.
    pub(crate) illegal: Option<fanout_store::StoreError>,
}

/// How many calls ended how; a `foreach` call counts with its elements once it has them.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ended {
    pub(crate) succeeded: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    pub(crate) cancelled: usize,
    /// Exactly how, by [`fanout_core::Outcome`].
    pub(crate) by_outcome: [usize; 6],
    /// Elements so far.
    pub(crate) elements: usize,
    /// `foreach` calls that were expanded.
    pub(crate) expanded: usize,
}

/// What is known of one call or element. Small, since there may be millions; what few have is in `more`.
#[derive(Default)]
pub(crate) struct Slot {
    /// Until its end, its arguments where they are not literal, as no one looks at both. Then its result, or the
    /// value it has in place of one after a failure.
    text: Option<JsonText>,
    /// The result, parsed when first looked into.
    parsed: OnceCell<Arc<Value>>,
    /// Its keys, if it has any; an element without its own has those of its call.
    pub(crate) keys: Option<Arc<Keys>>,
    pub(crate) more: Option<Box<More>>,
    /// The time of all its attempts.
    pub(crate) ran_ns: u64,
    /// Calls that may still look into its result.
    users: u32,
    /// Where its end is kept, once it has one.
    pub(crate) end: Option<EndPlace>,
}

/// The keys of a call as they were last told to the core.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) claims: Claims,
    /// The same in words.
    pub(crate) names: Vec<NamedKey>,
}

/// What only some calls have.
#[derive(Default)]
pub(crate) struct More {
    pub(crate) error: Option<Box<CallError>>,
    pub(crate) elements: Option<Elements>,
    pub(crate) usage: Option<Usage>,
    /// The attempt that waits for an answer.
    pub(crate) doubt: Option<u32>,
    /// Somebody was asked to approve it.
    pub(crate) asked: bool,
    /// Why the running attempt was told to end.
    pub(crate) aborted: Option<fanout_core::AbortReason>,
    /// It started after something that overlaps its keys ended in doubt.
    pub(crate) after_doubt: bool,
}

/// The elements of a `foreach` call, side by side.
pub(crate) struct Elements {
    pub(crate) items: Vec<Arc<Value>>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) ids: Vec<Arc<str>>,
}

impl Slot {
    pub(crate) fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// What is not needed once the call has ended goes.
    pub(crate) fn settle(&mut self) {
        let Some(more) = &mut self.more else { return };
        more.doubt = None;
        more.asked = false;
        match &mut more.elements {
            Some(elements) => elements.items = Vec::new(),
            None if more.error.is_none() && more.usage.is_none() && !more.after_doubt => self.more = None,
            None => {}
        }
    }

    pub(crate) fn elements(&self) -> Option<&Elements> {
        self.more.as_ref()?.elements.as_ref()
    }

    pub(crate) fn error(&self) -> Option<&CallError> {
        self.more.as_ref()?.error.as_deref()
    }

    /// The arguments of a call that has not ended, where they are not literal.
    pub(crate) fn args(&self) -> Option<&JsonText> {
        self.text.as_ref().filter(|_| self.end.is_none())
    }

    /// The result of a call that has ended, or what it has in place of one.
    pub(crate) fn result(&self) -> Option<&JsonText> {
        self.text.as_ref().filter(|_| self.end.is_some())
    }

    /// Sets the arguments of a call that is to start, or the result of one that is about to end.
    pub(crate) fn set_text(&mut self, text: Option<JsonText>) {
        self.text = text;
    }

    /// As [`Slot::result`], for the last who looks.
    pub(crate) fn take_result(&mut self) -> Option<JsonText> {
        self.end.and(self.text.take())
    }

    /// Why there is a result that cannot be looked into, if it is one.
    pub(crate) fn unreadable(&self) -> Option<serde_json::Error> {
        let result = self.result().filter(|_| self.value().is_none())?;
        serde_json::from_str::<Value>(result.get()).err()
    }

    /// The value that those who refer to this call see.
    fn value(&self) -> Option<&Arc<Value>> {
        let result = self.result()?;
        if let Some(parsed) = self.parsed.get() {
            return Some(parsed);
        }
        // Adapters give valid JSON; only one nested too deep, or with a number that is too large, fails here, and then
        // counts as none.
        let value = serde_json::from_str(result.get()).ok()?;
        Some(self.parsed.get_or_init(|| Arc::new(value)))
    }
}

impl RunData {
    /// A run without calls listed, options and readers.
    pub(crate) fn new(id: RunId, plan: ValidPlan, names: (Arc<str>, Arc<str>), now: Time) -> RunData {
        RunData {
            id,
            names,
            shared: None,
            slots: Vec::with_capacity(plan.calls.len()),
            later: None,
            ends: Ends::new(),
            breaks: Breaks::default(),
            began: now,
            listed: Vec::new(),
            limit_names: Vec::new(),
            settings: SettingsCache::default(),
            open: false,
            questions: BTreeSet::new(),
            durable: None,
            recovering: None,
            told_waits: HashMap::new(),
            reused: HashSet::new(),
            cache: BTreeMap::new(),
            owed: HashMap::new(),
            wholes: HashMap::new(),
            last_whole: None,
            journal_error: None,
            deadline_noted: false,
            attended: true,
            telling: None,
            peer: None,
            paused: false,
            cancelled: false,
            failed: false,
            call_cancelled: false,
            counts: Ended::default(),
            events: None,
            touched: false,
            plan,
        }
    }

    /// Makes slots for the calls from `first` on and counts who uses whose result.
    pub(crate) fn list(&mut self, first: usize, keys: Vec<Option<Arc<Keys>>>, now: Time) {
        self.listed.push((u32::try_from(first).unwrap_or(u32::MAX), now));
        self.slots.extend(keys.into_iter().map(|keys| Slot { keys, ..Slot::default() }));
        let RunData { plan, slots, .. } = self;
        for call in &plan.calls[first..] {
            for (input, needs) in &call.inputs {
                slots[*input as usize].users += u32::from(*needs == Needs::Result);
            }
        }
    }

    /// Calls that are added from now on are checked against these tools.
    pub(crate) fn use_catalog(&mut self, catalog: &Arc<Catalog>) {
        if Arc::ptr_eq(self.plan.catalog(), catalog) {
            return;
        }
        self.plan.use_catalog(catalog.clone());
        if let Some(shared) = &self.shared {
            shared.0.log.use_catalog(catalog.clone());
        }
    }

    /// The calls that are added from now on are forgotten.
    pub(crate) fn forget_added(&mut self) {
        self.plan.forget_added();
        self.settings.forget_added();
        self.later = Some(Later::new(self.slots.len()));
    }

    /// As [`RunData::list`], of calls that are forgotten.
    pub(crate) fn list_later(&mut self, calls: Vec<ValidCall>, keys: Vec<Option<Arc<Keys>>>, now: Time) {
        for (valid, keys) in calls.into_iter().zip(keys) {
            let inputs = valid.inputs.clone();
            if let Some(later) = &mut self.later {
                later.push(LaterCall { valid, slot: Slot { keys, ..Slot::default() }, listed: now });
            }
            for (input, needs) in inputs {
                if let Some(slot) = self.top_mut(input) {
                    slot.users += u32::from(needs == Needs::Result);
                }
            }
        }
    }

    /// How many calls there are, without elements, and with those that were forgotten.
    pub(crate) fn listed_calls(&self) -> usize {
        self.later.as_ref().map_or(self.slots.len(), |later| later.next() as usize)
    }

    /// Whether this call is one that is forgotten.
    pub(crate) fn is_later(&self, call: u32) -> bool {
        self.later.is_some() && call as usize >= self.slots.len()
    }

    fn later(&self, call: u32) -> Option<&LaterCall> {
        self.later.as_ref()?.get(call)
    }

    pub(crate) fn call(&self, call: CallRef) -> &ValidCall {
        self.valid(call.call).expect("a call that is there")
    }

    fn valid(&self, call: u32) -> Option<&ValidCall> {
        match self.plan.calls.get(call as usize) {
            Some(valid) => Some(valid),
            None => self.later(call).map(|call| &call.valid),
        }
    }

    pub(crate) fn tool(&self, call: CallRef) -> ToolId {
        self.call(call).tool
    }

    /// The tool of a call that may be gone.
    pub(crate) fn tool_of(&self, call: CallRef) -> Option<ToolId> {
        let gone = || Some(self.later.as_ref()?.gone(call.call)?.1);
        self.valid(call.call).map(|valid| valid.tool).or_else(gone)
    }

    /// The id of a call that may be gone.
    pub(crate) fn name_of(&self, call: u32) -> Arc<str> {
        let gone = || Some(self.later.as_ref()?.gone(call)?.0.clone());
        self.valid(call).map(|valid| valid.id.clone()).or_else(gone).unwrap_or_else(|| "an earlier call".into())
    }

    /// The slot of a call, not of an element.
    pub(crate) fn top(&self, call: u32) -> Option<&Slot> {
        match self.slots.get(call as usize) {
            Some(slot) => Some(slot),
            None => self.later(call).map(|call| &call.slot),
        }
    }

    /// The slot of a call, not of an element.
    pub(crate) fn top_mut(&mut self, call: u32) -> Option<&mut Slot> {
        match self.slots.get_mut(call as usize) {
            Some(slot) => Some(slot),
            None => self.later.as_mut()?.get_mut(call).map(|call| &mut call.slot),
        }
    }

    /// The slot of a call or element.
    pub(crate) fn slot(&self, call: CallRef) -> Option<&Slot> {
        let slot = self.top(call.call)?;
        match call.element {
            None => Some(slot),
            Some(element) => slot.elements()?.slots.get(element as usize),
        }
    }

    /// The slot of a call or element.
    pub(crate) fn slot_mut(&mut self, call: CallRef) -> Option<&mut Slot> {
        let slot = self.top_mut(call.call)?;
        match call.element {
            None => Some(slot),
            Some(element) => slot.more.as_mut()?.elements.as_mut()?.slots.get_mut(element as usize),
        }
    }

    /// How a call or element ended, if it has.
    pub(crate) fn end(&self, slot: &Slot) -> Option<&End> {
        self.ends.get(slot.end?)
    }

    /// What a call or element waited for, once it has ended.
    pub(crate) fn waits(&self, slot: &Slot) -> impl Iterator<Item = Wait> {
        self.end(slot).into_iter().flat_map(|end| self.ends.waits(end))
    }

    /// What its slot holds: the arguments of one that has not ended, or the result of one that just did.
    pub(crate) fn text(&self, call: CallRef) -> Option<JsonText> {
        self.slot(call)?.text.clone()
    }

    /// The arguments of a call, once they are known.
    pub(crate) fn args(&self, call: CallRef) -> Option<&JsonText> {
        let resolved = self.slot(call).and_then(Slot::args);
        resolved.or_else(|| self.call(call).args.literal())
    }

    /// When a call was listed.
    pub(crate) fn listed_at(&self, call: u32) -> Time {
        if let Some(later) = self.later(call) {
            return later.listed;
        }
        let after = self.listed.partition_point(|(first, _)| *first <= call);
        after.checked_sub(1).map_or(self.began, |at| self.listed[at].1)
    }

    /// The index of the call at this place of the serial order.
    pub(crate) fn serial(&self, place: usize) -> u32 {
        self.plan.order.get(place).copied().unwrap_or_else(|| u32::try_from(place).unwrap_or(u32::MAX))
    }

    /// The indexes of the calls in serial order; added ones stand behind, in the order of their addition.
    pub(crate) fn serial_order(&self) -> impl Iterator<Item = u32> {
        let planned = u32::try_from(self.plan.order.len()).unwrap_or(u32::MAX);
        let listed = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.plan.order.iter().copied().chain(planned..listed)
    }

    /// A call and its elements.
    pub(crate) fn with_elements(&self, call: u32) -> impl Iterator<Item = CallRef> + use<> {
        let elements = self.top(call).and_then(Slot::elements).map_or(0, |elements| elements.slots.len());
        let run = self.id;
        let elements = (0..u32::try_from(elements).unwrap_or(u32::MAX)).map(Some);
        std::iter::once(None).chain(elements).map(move |element| CallRef { run, call, element })
    }

    /// The id of a call, with its index where it is an element.
    pub(crate) fn call_id(&self, call: CallRef) -> Arc<str> {
        let element =
            call.element.and_then(|element| self.top(call.call)?.elements()?.ids.get(element as usize).cloned());
        element.unwrap_or_else(|| self.name_of(call.call))
    }

    /// The call of this id, which may be one of an element.
    pub(crate) fn find(&self, id: &str) -> Option<CallRef> {
        let (name, element) = match id.split_once('[') {
            None => (id, None),
            Some((name, rest)) => (name, Some(rest.strip_suffix(']')?.parse().ok()?)),
        };
        let call = CallRef { run: self.id, call: self.plan.find(name)?, element };
        self.slot(call).map(|_| call)
    }

    /// What the references of a call are read from.
    pub(crate) fn scope(&self, call: CallRef) -> RunScope<'_> {
        let item = call.element.and_then(|element| {
            let index = element as usize;
            Some((self.top(call.call)?.elements()?.items.get(index)?, index))
        });
        RunScope { run: self, item }
    }

    /// The call has ended: what only it looked into need not stay parsed.
    pub(crate) fn release_inputs(&mut self, call: u32) {
        let mut at = 0;
        while let Some(&(input, needs)) = self.valid(call).and_then(|valid| valid.inputs.get(at)) {
            at += 1;
            if needs == Needs::Result
                && let Some(slot) = self.top_mut(input)
            {
                slot.users = slot.users.saturating_sub(1);
                if slot.users == 0 {
                    slot.parsed = OnceCell::new();
                }
            }
        }
    }

    /// An attempt of the call ended, and was not the end of the call.
    pub(crate) fn note_break(&mut self, call: CallRef, now: Time) {
        let code = self.slot(call).and_then(Slot::error).map(|error| error.code.clone());
        self.breaks.begin(call, now, code);
    }

    /// The moment of what happens now: while a record is told, the one it tells of.
    pub(crate) fn moment(&self, now: Time) -> Time {
        self.recovering.as_ref().map_or(now, |recovering| recovering.at)
    }

    /// Milliseconds from the begin of the run to `at`.
    pub(crate) fn ms(&self, at: Time) -> f64 {
        ms(at.0.saturating_sub(self.began.0))
    }

    /// Notes an event, if events are kept.
    pub(crate) fn emit(&mut self, now: Time, what: impl FnOnce(&RunData) -> What) {
        self.note(now, |run| Happened::Other(Box::new(what(run))));
    }

    /// As [`RunData::emit`], for what happens to every call.
    pub(crate) fn note(&mut self, now: Time, what: impl FnOnce(&RunData) -> Happened) {
        if self.events.is_none() {
            return;
        }
        let at_ns = now.0.saturating_sub(self.began.0);
        let mut what = what(self);
        if self.later.is_some() {
            what = what.named(|name| self.call_id(name.of_run(self.id)), self.plan.catalog());
        }
        if let Some(events) = &mut self.events {
            events.push(Noted { at_ns, what });
        }
    }

    /// An attempt answered with this besides its value. Kept only for who may be handed it.
    pub(crate) fn note_whole(&mut self, call: CallRef, whole: Option<JsonText>) {
        match whole {
            Some(whole) if self.owed.contains_key(&call.call) || self.call(call).settings.cache.is_some() => {
                self.wholes.insert(call, whole);
            }
            _ if self.wholes.is_empty() => {}
            _ => _ = self.wholes.remove(&call),
        }
    }

    /// What the last attempt of a call answered with besides its value, while that may be handed on.
    pub(crate) fn whole(&self, call: CallRef) -> Option<JsonText> {
        let last = self.last_whole.as_ref().filter(|(of, _)| *of == call).map(|(_, whole)| whole);
        self.wholes.get(&call).or(last).cloned()
    }

    /// Hands the noted events to the readers.
    pub(crate) fn flush(&mut self) {
        self.last_whole = None;
        if let (Some(events), Some(shared)) = (&mut self.events, &self.shared) {
            shared.0.log.append(events);
        }
    }
}

/// Nanoseconds in milliseconds.
pub(crate) fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// What the references of one call are read from.
pub(crate) struct RunScope<'a> {
    run: &'a RunData,
    item: Option<(&'a Arc<Value>, usize)>,
}

impl Scope for RunScope<'_> {
    fn result(&self, call: u32) -> Option<&Arc<Value>> {
        self.run.top(call)?.value()
    }

    fn text(&self, call: u32) -> Option<&RawValue> {
        self.run.top(call)?.result().map(|result| &**result)
    }

    fn outcome(&self, call: u32) -> &str {
        let end = self.run.top(call).and_then(|slot| self.run.end(slot));
        end.map_or("waiting", |end| outcome_name(end.outcome))
    }

    fn item(&self) -> Option<(&Arc<Value>, usize)> {
        self.item
    }
}
