//! What one connection to a server has in flight (`Ledger`): who waits for which answer, told and asked meanwhile.
//! It does not know a transport, nor what an answer means.

use super::wire::{Heard, Id};
use crate::http::Sent;
use crate::peer::{Peer, PeerRequest, Told};
use crate::tool::{Attempt, AttemptId, JsonText, Progress, Reached, ToolError};
use hashbrown::HashMap;
use rmcp::ErrorData;
use rmcp::model::RequestMetaObject;
use serde_json::value::RawValue;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, broadcast};

/// Who makes a request: told of its progress, asked what the server wants to know.
#[derive(Clone)]
pub(super) struct Caller {
    /// The attempt it is made for.
    pub(super) id: AttemptId,
    /// Where signs of life go.
    pub(super) progress: Progress,
    /// Who is behind it.
    pub(super) peer: Option<Arc<dyn Peer>>,
    /// What goes along with the request, where a request says everything by itself.
    pub(super) meta: Option<RequestMetaObject>,
}

/// One request on its way, and what became of it. Goes along with the request as an extension.
#[derive(Clone)]
pub(super) struct InFlight(pub(super) Arc<Slot>);

/// The inside of [`InFlight`].
pub(super) struct Slot {
    pub(super) caller: Caller,
    stage: AtomicU8,
    answer: Mutex<Option<Answer>>,
    sent: Mutex<Option<Arc<Sent>>>,
    answered: Notify,
    /// The id it was sent under, and the token of its progress: 0 before it was sent.
    id: AtomicU64,
    token: AtomicU64,
    /// The library wants to see its answer too.
    pub(super) keep: AtomicBool,
}

/// How a request ended.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// With a result.
    Result(JsonText),
    /// With an error of the protocol.
    Error(RpcError),
    /// Before an answer came.
    Failed(ToolError),
}

/// An error as JSON-RPC has them.
#[derive(Clone, Debug)]
pub(super) struct RpcError {
    pub(super) code: i64,
    pub(super) message: String,
    pub(super) data: Option<JsonText>,
}

impl RpcError {
    /// The same as the library has it.
    pub(super) fn of(error: ErrorData) -> RpcError {
        RpcError {
            code: error.code.0.into(),
            message: crate::mcp::shown(&error.message, 2_000),
            data: error.data.and_then(|data| Some(serde_json::value::to_raw_value(&data).ok()?.into())),
        }
    }
}

/// It was handed to the transport.
const QUEUED: u8 = 0;
/// It is not to be sent any more, and never was.
const WITHDRAWN: u8 = 1;
/// Some of it can have been sent.
const SENT: u8 = 2;

impl Caller {
    /// The caller that an attempt is.
    pub(super) fn of(attempt: &Attempt) -> Caller {
        Caller { id: attempt.id.clone(), progress: attempt.progress.clone(), peer: attempt.peer.clone(), meta: None }
    }

    /// Nobody: a request that is made for no call.
    pub(super) fn nobody(server: &str) -> Caller {
        let id = AttemptId { run: "mcp".into(), call: server.into(), attempt: 0 };
        Caller { id, progress: Progress::none(), peer: None, meta: None }
    }

    /// Tells whoever is behind it something, which is a sign of life too.
    pub(super) fn tell(&self, told: Told) {
        self.progress.told(&self.id, &told);
        if let Some(peer) = &self.peer {
            peer.told(&self.id, told);
        }
    }
}

impl Slot {
    pub(super) fn new(caller: Caller) -> Arc<Slot> {
        Arc::new(Slot {
            caller,
            stage: AtomicU8::new(QUEUED),
            answer: Mutex::default(),
            sent: Mutex::default(),
            keep: AtomicBool::new(false),
            answered: Notify::new(),
            id: AtomicU64::new(0),
            token: AtomicU64::new(0),
        })
    }

    /// Takes it back; true when nothing of it was sent, nor will be.
    pub(super) fn withdraw(&self) -> bool {
        self.stage.compare_exchange(QUEUED, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire).unwrap_or_else(|now| now)
            != SENT
    }

    /// It is being sent now; false when it was withdrawn before.
    pub(super) fn send(&self) -> bool {
        self.stage.compare_exchange(QUEUED, SENT, Ordering::AcqRel, Ordering::Acquire).unwrap_or_else(|now| now)
            != WITHDRAWN
    }

    /// It was withdrawn before anything of it was sent.
    pub(super) fn withdrawn(&self) -> bool {
        self.stage.load(Ordering::Acquire) == WITHDRAWN
    }

    /// Who knows how far its sending got, where that is not said by the stage.
    pub(super) fn watch(&self, sent: Arc<Sent>) {
        *lock(&self.sent) = Some(sent);
    }

    /// Whether it can have arrived.
    pub(super) fn reached(&self) -> Reached {
        match (self.stage.load(Ordering::Acquire), &*lock(&self.sent)) {
            (SENT, Some(sent)) => sent.reached(),
            (SENT, None) => Reached::Unknown,
            _ => Reached::No,
        }
    }

    /// Its end; the first one counts.
    pub(super) fn end(&self, answer: Answer) {
        lock(&self.answer).get_or_insert(answer);
        self.caller.progress.made();
        self.answered.notify_one();
    }

    /// How it ended, once it has.
    pub(super) fn taken(&self) -> Option<Answer> {
        lock(&self.answer).take()
    }

    /// Waits for its end. Can be dropped and asked again; only one waits.
    pub(super) async fn ended(&self) -> Answer {
        loop {
            if let Some(answer) = self.taken() {
                return answer;
            }
            self.answered.notified().await;
        }
    }
}

/// Everything in flight on one connection.
pub(super) struct Ledger {
    open: Mutex<Open>,
    /// What concerns no request.
    notices: broadcast::Sender<PeerRequest>,
    /// The list of tools has changed.
    pub(super) changed: Arc<Notify>,
    /// What the library asked last by itself.
    greeting: AtomicU64,
    /// Something was answered.
    answered: AtomicBool,
}

#[derive(Default)]
struct Open {
    by_id: HashMap<u64, Arc<Slot>>,
    by_token: HashMap<u64, Arc<Slot>>,
}

impl Ledger {
    pub(super) fn new(notices: broadcast::Sender<PeerRequest>, changed: Arc<Notify>) -> Ledger {
        Ledger {
            open: Mutex::default(),
            notices,
            changed,
            greeting: AtomicU64::new(u64::MAX),
            answered: AtomicBool::new(false),
        }
    }

    /// Notes a request that is about to be sent under this id, with this token for its progress.
    pub(super) fn enter(&self, slot: &Arc<Slot>, id: u64, token: Option<u64>) {
        let mut open = lock(&self.open);
        slot.id.store(id, Ordering::Release);
        open.by_id.insert(id, Arc::clone(slot));
        if let Some(token) = token {
            slot.token.store(token, Ordering::Release);
            open.by_token.insert(token, Arc::clone(slot));
        }
    }

    /// Notes that the library asks something by itself: an answer to what it asked before comes too late.
    pub(super) fn greet(&self, id: u64) {
        self.greeting.store(id, Ordering::Release);
    }

    /// Whether an answer that nobody here waits for is one that the library does.
    pub(super) fn is_greeting(&self, id: u64) -> bool {
        self.greeting.load(Ordering::Acquire) == id
    }

    /// Nobody waits for its answer any more.
    pub(super) fn leave(&self, slot: &Slot) {
        let mut open = lock(&self.open);
        let same = |other: &Arc<Slot>| std::ptr::eq(&**other, slot);
        let (id, token) = (slot.id.load(Ordering::Acquire), slot.token.load(Ordering::Acquire));
        if open.by_id.get(&id).is_some_and(same) {
            open.by_id.remove(&id);
        }
        if open.by_token.get(&token).is_some_and(same) {
            open.by_token.remove(&token);
        }
    }

    /// The request of this id, if somebody waits for it.
    pub(super) fn find(&self, id: u64) -> Option<Arc<Slot>> {
        lock(&self.open).by_id.get(&id).cloned()
    }

    /// For whom the server asks something when it does not say for whom: the one request in flight, or of several the
    /// oldest with somebody behind it.
    pub(super) fn asking(&self) -> Option<Caller> {
        let open = lock(&self.open);
        let with_peer = open.by_id.iter().filter(|(_, slot)| slot.caller.peer.is_some());
        let oldest = with_peer.min_by_key(|(id, _)| **id);
        oldest.map(|(_, slot)| slot.caller.clone())
    }

    /// Whether anything was ever answered.
    pub(super) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends all that is in flight: what was sent is unknown.
    pub(super) fn fail_all(&self, why: impl Fn(Reached) -> ToolError) {
        let open = std::mem::take(&mut *lock(&self.open));
        for slot in open.by_id.into_values() {
            slot.withdraw();
            slot.end(Answer::Failed(why(slot.reached())));
        }
    }

    /// Takes what was heard; gives it back where it is for the library.
    pub(super) fn hear(&self, heard: Heard<'_>, from: Where<'_>) -> Handed {
        match heard {
            Heard::Answer { id, result } => self.answer(&id, || Answer::Result(owned(result))),
            Heard::Error { id, code, message, data } => self.answer(&id, || {
                let message = crate::mcp::shown(&message, 2_000);
                Answer::Error(RpcError { code, message, data: data.map(owned) })
            }),
            Heard::Notice { method, params } => self.notice(&method, params, from),
            Heard::Request => Handed::Library,
        }
    }

    fn answer(&self, id: &Id, answer: impl FnOnce() -> Answer) -> Handed {
        let Some(number) = id.number() else { return Handed::Library };
        let Some(slot) = self.find(number) else { return Handed::Unknown(number) };
        self.leave(&slot);
        slot.end(answer());
        self.answered.store(true, Ordering::Relaxed);
        if slot.keep.load(Ordering::Relaxed) { Handed::Library } else { Handed::Answered(number) }
    }

    fn notice(&self, method: &str, params: Option<&RawValue>, from: Where<'_>) -> Handed {
        match method {
            "notifications/progress" => {
                if let Some((slot, told)) = params.and_then(|params| self.progress(params)) {
                    slot.caller.tell(told);
                }
            }
            "notifications/tools/list_changed" => self.changed.notify_one(),
            "notifications/message" => {
                let Some(params) = params else { return Handed::Done };
                let caller = match from {
                    Where::Pipe => self.asking(),
                    Where::Stream(slot) => slot.map(|slot| slot.caller.clone()).filter(|caller| caller.peer.is_some()),
                };
                match caller {
                    Some(caller) => caller.tell(Told::Log(owned(params))),
                    None => self.tell_all(method, Some(params)),
                }
            }
            // Of requests the server made; the library looks after those.
            "notifications/cancelled" => return Handed::Library,
            "notifications/subscriptions/acknowledged" => {}
            _ => self.tell_all(method, params),
        }
        Handed::Done
    }

    fn tell_all(&self, method: &str, params: Option<&RawValue>) {
        let params = params.map_or_else(|| RawValue::NULL.to_owned().into(), owned);
        // Nobody may be listening.
        let _unheard = self.notices.send(PeerRequest { method: method.into(), params });
    }

    fn progress(&self, params: &RawValue) -> Option<(Arc<Slot>, Told)> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Progressed {
            progress_token: Id,
            #[serde(default)]
            progress: f64,
            total: Option<f64>,
            message: Option<String>,
        }
        let told: Progressed = serde_json::from_str(params.get()).ok()?;
        let slot = lock(&self.open).by_token.get(&told.progress_token.number()?).cloned()?;
        let message = told.message.map(|text| crate::mcp::shown(&text, 500).into());
        Some((slot, Told::Progress { done: told.progress, total: told.total, message }))
    }
}

/// Where something was heard.
#[derive(Clone, Copy)]
pub(super) enum Where<'a> {
    /// Where everything is.
    Pipe,
    /// In the answer to this request, or to none.
    Stream(Option<&'a Arc<Slot>>),
}

/// What was done with something heard.
#[derive(Debug, PartialEq)]
pub(super) enum Handed {
    /// Whoever waited has the answer; the library is to be told that there was one.
    Answered(u64),
    /// An answer to what nobody waits for here: the library's own, or late, or sent twice.
    Unknown(u64),
    /// It is the library's.
    Library,
    /// Nothing more is to be done.
    Done,
}

/// A text that is kept.
pub(super) fn owned(text: &RawValue) -> JsonText {
    Arc::from(text.to_owned())
}

/// Nothing that can panic runs under these locks, so a poisoned one is as good as another.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
