//! One client (`Session`): what it asked is begun in the order in which it was read, and answered as it ends.
//! It does not know how messages travel, nor what most methods mean.

use super::client::{Asker, Greeted, Level};
use super::outlet::{Outlet, Sent};
use super::peer::RunPeer;
use super::rounds::{Called, Held, Rounds};
use super::wire::{self, Incoming, Request, RpcError, RpcId};
use super::{Gateway, calls, hello, listing, notices, passing};
use crate::approvals;
use fanout::{Call, Cancel, JsonText, Peer, Plan, RunHandle, RunOptions, Submitted};
use hashbrown::{HashMap, HashSet};
use rmcp::model::ErrorCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// At the end of a client its calls have this long to end; their tools' own bounds are shorter.
const END_MAX: Duration = Duration::from_secs(40);
/// More requests of one client than this are not under way at once. They are refused instead of left unread: the
/// answers to what tools ask of the client come on the same line.
pub(crate) const REQUESTS_MAX: usize = 10_000;

/// A client hears of no more resources than these.
const SUBSCRIBED_MAX: usize = 10_000;

/// What answers a request.
pub(super) type Answering = Pin<Box<dyn Future<Output = Result<JsonText, RpcError>> + Send>>;

/// One client, or all those that have no session and are told apart by nothing.
pub(crate) struct Session {
    pub(super) gateway: Arc<Gateway>,
    pub(super) id: Arc<str>,
    /// Begins with the first call, when it is known what the client can be asked.
    run: OnceLock<RunHandle>,
    me: Weak<Session>,
    /// Held for a few lines at a time, never while waiting.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    greeted: Option<Greeted>,
    level: Option<Level>,
    /// The number of the last request, and of the last question of ours.
    serial: u64,
    open: HashMap<u64, Open>,
    by_id: HashMap<RpcId, u64>,
    /// What the client was asked.
    questions: HashMap<u64, oneshot::Sender<Result<JsonText, RpcError>>>,
    /// By the number of the request that began a call: what it may ask of a client that is asked by results.
    rounds: HashMap<u64, Arc<Rounds>>,
    /// By the same: the request that the call is under way for now.
    turns: HashMap<u64, u64>,
    held: Held,
    /// Where what belongs to no request goes.
    loose: Option<Outlet>,
    /// The resources it wants to hear of.
    subscribed: HashSet<String>,
    /// What tells it of changes.
    following: Option<AbortHandle>,
    ended: bool,
}

/// A request that has not been answered.
struct Open {
    id: RpcId,
    asker: Arc<Asker>,
    /// What answers it, where that is not a call of the run.
    work: Option<AbortHandle>,
    /// The number of the call of the run that it is for.
    call: Option<u64>,
    /// The client does not want its answer any more.
    cancelled: bool,
    /// How far it said it is.
    done: f64,
}

impl Session {
    /// A client of which nothing is known yet.
    pub(super) fn new(gateway: Arc<Gateway>, id: Arc<str>) -> Arc<Session> {
        Arc::new_cyclic(|me| Session { gateway, id, run: OnceLock::new(), me: me.clone(), state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic of another thread leaves tables that are whole between any two lines.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a message. Calls take their place in the serial order before this returns, so whoever reads messages
    /// one by one decides it. The number is that of a request that is now under way, for [`Session::cancel`].
    pub(super) fn receive(self: &Arc<Session>, incoming: Incoming, outlet: &Outlet) -> Option<u64> {
        match incoming {
            Incoming::Request(request) => {
                let id = request.id.clone();
                match self.begin(request, outlet) {
                    Ok(number) => Some(number),
                    Err(error) => {
                        outlet.refuse(&id, error);
                        None
                    }
                }
            }
            Incoming::Notification { method, params } => {
                self.told(&method, params.as_ref());
                None
            }
            Incoming::Response { id, answer } => {
                let question = id.parse().ok().and_then(|number: u64| self.state().questions.remove(&number));
                if let Some(question) = question {
                    // Fails only when the question was taken back.
                    let _ = question.send(answer);
                }
                None
            }
        }
    }

    fn begin(self: &Arc<Session>, request: Request, outlet: &Outlet) -> Result<u64, RpcError> {
        let Request { id, method, params } = request;
        let greeting = matches!(&*method, "initialize" | "ping");
        let greeted = self.state().greeted.clone();
        let unknown = Greeted { capabilities: Arc::default() };
        let greeted = greeted.or_else(|| greeting.then_some(unknown));
        let asker = Arc::new(Asker::read(params.as_ref(), greeted.as_ref(), outlet.clone())?);
        let number = self.open(&id, &asker)?;
        let answering = match self.answering(number, &method, params.as_ref(), &asker) {
            Ok(answering) => answering,
            Err(error) => {
                self.close(number);
                return Err(error);
            }
        };
        let session = Arc::clone(self);
        let outlet = outlet.clone();
        let work = tokio::spawn(async move {
            let answer = answering.await;
            // Its place is free when its answer is on its way: of a client that does not read no more is taken on.
            let place = outlet.place().await;
            if session.close(number)
                && let Some(place) = place
            {
                place.send(Sent::answer(&id, &answer));
            }
        });
        match self.state().open.get_mut(&number) {
            Some(open) => open.work = Some(work.abort_handle()),
            // It was cancelled meanwhile, or the client is gone; or it is answered, which nothing can stop any more.
            None => work.abort(),
        }
        Ok(number)
    }

    /// What answers a request. Whatever must keep the order of requests is done before this returns.
    fn answering(
        self: &Arc<Session>,
        number: u64,
        method: &str,
        params: Option<&JsonText>,
        asker: &Arc<Asker>,
    ) -> Result<Answering, RpcError> {
        let ready =
            |answer: Result<JsonText, RpcError>| answer.map(|answer| Box::pin(async { Ok(answer) }) as Answering);
        match method {
            "tools/call" => calls::call(self, number, params, asker),
            "tools/list" => ready(listing::tools(&self.gateway, params, asker)),
            "server/discover" => ready(Ok(hello::discover(&self.gateway))),
            "initialize" if !asker.modern => ready(hello::initialize(self, params)),
            "subscriptions/listen" if asker.modern => notices::listen(self, number, params, asker),
            "ping" if !asker.modern => ready(Ok(wire::text(&Map::new()))),
            "logging/setLevel" if !asker.modern => ready(self.set_level(params)),
            _ if passing::is_passed(method, asker.modern) => passing::pass(self, number, method, params, asker),
            _ => Err(RpcError::no_method(method)),
        }
    }

    fn open(&self, id: &RpcId, asker: &Arc<Asker>) -> Result<u64, RpcError> {
        let mut state = self.state();
        if state.ended {
            return Err(RpcError::new(ErrorCode::INVALID_REQUEST, "this session has ended"));
        }
        if state.open.len() >= REQUESTS_MAX {
            let message = format!("{REQUESTS_MAX} requests are under way; wait for some of their answers");
            return Err(RpcError::new(ErrorCode(-32_000), message));
        }
        // Those that share a session without being one client choose their ids by themselves.
        if !asker.modern && state.by_id.contains_key(id) {
            let message = format!("a request with the id {} is under way", wire::shown(id));
            return Err(RpcError::new(ErrorCode::INVALID_REQUEST, message));
        }
        state.serial += 1;
        let number = state.serial;
        state.by_id.insert(id.clone(), number);
        let (id, asker) = (id.clone(), asker.clone());
        state
            .open
            .insert(number, Open { id, asker, work: None, call: None, cancelled: false, done: f64::NEG_INFINITY });
        Ok(number)
    }

    /// A request has been answered; whether the client still wants to hear it.
    fn close(&self, number: u64) -> bool {
        let mut state = self.state();
        let Some(open) = state.open.remove(&number) else { return false };
        if state.by_id.get(&open.id) == Some(&number) {
            state.by_id.remove(&open.id);
        }
        !open.cancelled
    }

    /// The client does not want the answer to a request any more.
    pub(super) fn cancel(&self, number: u64) {
        let mut state = self.state();
        let Some(open) = state.open.get_mut(&number) else { return };
        open.cancelled = true;
        if let Some(call) = open.call {
            // Its place stays taken until the call has ended.
            drop(state);
            self.run().cancel_call(&calls::name(call));
            return;
        }
        let work = open.work.take();
        drop(state);
        self.close(number);
        if let Some(work) = work {
            work.abort();
        }
    }

    /// Gives a call its place behind all that were given before.
    pub(super) fn submit(&self, number: u64, call: Call) -> Submitted {
        let is_wanted = self.state().open.get_mut(&number).map(|open| open.call = Some(number)).is_some();
        let submitted = self.run().submit(call);
        // Over HTTP others may be quicker: whoever cancelled it found no call yet, whoever ended the session no run.
        if !is_wanted {
            self.run().cancel_call(&calls::name(number));
        }
        if self.state().ended {
            self.run().cancel(Cancel::Kill);
        }
        submitted
    }

    /// The run that all calls of the client are in.
    fn run(&self) -> &RunHandle {
        self.run.get_or_init(|| {
            let engine = &self.gateway.engine;
            let empty = engine.validate(Plan::new("mcp"), Map::new()).expect("a plan without calls is valid");
            let peer: Arc<dyn Peer> = Arc::new(RunPeer(self.me.clone()));
            // One that is not greeted says with each request what it can be asked.
            let attended = self.greeted().is_none_or(|greeted| greeted.capabilities.get("elicitation").is_some());
            let options = RunOptions {
                open: true,
                forget: true,
                attended,
                // Only questions are listened to.
                events: attended,
                peer: Some(peer.clone()),
                ..RunOptions::default()
            };
            let run = engine.start(empty, options);
            if attended {
                tokio::spawn(approvals::follow(run.clone(), peer));
            }
            run
        })
    }

    fn told(&self, method: &str, params: Option<&JsonText>) {
        if method != "notifications/cancelled" {
            // `initialized` needs no answer; of `roots/list_changed` nobody here keeps anything.
            return;
        }
        let id = params.and_then(|params| {
            let cancelled: Cancelled<'_> = serde_json::from_str(params.get()).ok()?;
            self.state().by_id.get(cancelled.request_id.get()).copied()
        });
        if let Some(number) = id {
            self.cancel(number);
        }
    }

    /// The client is gone: nothing of what it began goes on.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        state.loose = None;
        state.questions.clear();
        if let Some(following) = state.following.take() {
            following.abort();
        }
        let open: Vec<Open> = state.open.drain().map(|(_, open)| open).collect();
        state.by_id.clear();
        let held = state.held.clear();
        drop(state);
        drop(held);
        if let Some(run) = self.run.get() {
            run.cancel(Cancel::Kill);
        }
        for work in open.into_iter().filter_map(|open| open.work) {
            work.abort();
        }
        self.gateway.own.end_session(&self.id);
    }

    /// Waits until nothing of what the client began runs any more, for as long as that may take.
    pub(super) async fn ended(&self) {
        if let Some(run) = self.run.get() {
            // Bounded by the grace of the tools.
            let _ = tokio::time::timeout(END_MAX, run.report()).await;
        }
    }

    pub(super) fn greeted(&self) -> Option<Greeted> {
        self.state().greeted.clone()
    }

    pub(super) fn greet(self: &Arc<Session>, greeted: Greeted) {
        let following = notices::follow(self);
        let mut state = self.state();
        state.greeted = Some(greeted);
        if let Some(before) = state.following.replace(following) {
            before.abort();
        }
    }

    /// Tells of changes of this resource from now on.
    pub(super) fn subscribe(&self, uri: String) {
        let mut state = self.state();
        if state.subscribed.len() < SUBSCRIBED_MAX {
            state.subscribed.insert(uri);
        }
    }

    pub(super) fn unsubscribe(&self, uri: &str) {
        self.state().subscribed.remove(uri);
    }

    pub(super) fn has_subscribed(&self, uri: &str) -> bool {
        self.state().subscribed.contains(uri)
    }

    /// The id of a request that is under way.
    pub(super) fn id_of(&self, number: u64) -> Option<RpcId> {
        self.state().open.get(&number).map(|open| open.id.clone())
    }

    /// Where what belongs to no request goes from now on.
    pub(super) fn listen(&self, outlet: Option<Outlet>) {
        self.state().loose = outlet;
    }

    /// Tells what belongs to no request, if somebody listens.
    pub(super) fn announce(&self, method: &str, params: &str) {
        let loose = self.state().loose.clone();
        if let Some(loose) = loose {
            loose.offer(wire::notification(method, params));
        }
    }

    /// Whether nothing is under way and nobody listens.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.state();
        state.open.is_empty() && state.loose.as_ref().is_none_or(Outlet::is_closed)
    }

    /// Who made a request that is under way, or the one that a call begun by that request is under way for now.
    pub(super) fn asker(&self, number: u64) -> Option<Arc<Asker>> {
        let state = self.state();
        state.open.get(state.turns.get(&number).unwrap_or(&number)).map(|open| open.asker.clone())
    }

    /// The call that this request begins can ask its client by results.
    pub(super) fn begin_rounds(&self, number: u64, asker: &Arc<Asker>) -> Arc<Rounds> {
        let rounds = Rounds::new(asker);
        self.state().rounds.insert(number, rounds.clone());
        rounds
    }

    /// What the call that this request began can ask its client by.
    pub(super) fn rounds(&self, number: u64) -> Option<Arc<Rounds>> {
        self.state().rounds.get(&number).cloned()
    }

    /// The call that this request began asks nothing any more.
    pub(super) fn is_over(&self, number: u64) {
        let mut state = self.state();
        state.rounds.remove(&number);
        state.turns.remove(&number);
    }

    /// A call waits for its client; gives the state that it goes on by.
    pub(super) fn hold(&self, called: Called) -> Result<String, String> {
        let mut state = self.state();
        let name = match state.ended {
            true => Err("this session has ended".to_owned()),
            false => state.held.new_state(),
        };
        match name {
            Ok(name) => {
                state.held.put(&name, called);
                Ok(name)
            }
            Err(why) => {
                drop(state);
                self.give_up(called);
                Err(why)
            }
        }
    }

    /// This request goes on with a call that waited.
    pub(super) fn take_held(
        &self,
        number: u64,
        take: impl FnOnce(&mut Held) -> Result<Called, RpcError>,
    ) -> Result<Called, RpcError> {
        let mut state = self.state();
        let called = take(&mut state.held)?;
        state.turns.insert(called.number, number);
        if let Some(open) = state.open.get_mut(&number).filter(|_| called.in_run) {
            open.call = Some(called.number);
        }
        Ok(called)
    }

    /// Nobody came for a call that waited.
    pub(super) fn let_go(&self, held: &str) {
        let called = self.state().held.take(held);
        if let Some(called) = called {
            self.give_up(called);
        }
    }

    fn give_up(&self, called: Called) {
        if called.in_run {
            self.run().cancel_call(&calls::name(called.number));
        }
        // What is no call of the run ends with this.
        drop(called);
    }

    /// The least level of log messages that the client wants.
    pub(super) fn level(&self) -> Option<Level> {
        self.state().level
    }

    fn set_level(&self, params: Option<&JsonText>) -> Result<JsonText, RpcError> {
        let name = params.and_then(|params| serde_json::from_str::<Value>(params.get()).ok());
        let name = name.as_ref().and_then(|params| params.get("level")?.as_str()).unwrap_or_default();
        let level = Level::read(name);
        let level =
            level.ok_or_else(|| RpcError::params(format!("`{}` is no level of log messages", wire::shown(name))))?;
        self.state().level = Some(level);
        passing::set_level(self.gateway.engine.servers(), level);
        Ok(wire::text(&Map::new()))
    }

    /// Notes how far a request says it is; whether that is farther than before.
    pub(super) fn is_farther(&self, number: u64, done: f64) -> bool {
        let mut state = self.state();
        let number = *state.turns.get(&number).unwrap_or(&number);
        let Some(open) = state.open.get_mut(&number) else { return false };
        let is_farther = done > open.done;
        if is_farther {
            open.done = done;
        }
        is_farther
    }

    /// A question to the client: its id, and where the answer comes in.
    pub(super) fn question(&self) -> (u64, oneshot::Receiver<Result<JsonText, RpcError>>) {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        state.serial += 1;
        let number = state.serial;
        if !state.ended {
            state.questions.insert(number, sender);
        }
        (number, receiver)
    }

    /// Nobody waits for the answer to a question any more; whether there was none yet.
    pub(super) fn take_back(&self, question: u64) -> bool {
        self.state().questions.remove(&question).is_some()
    }
}

/// The parameters of `notifications/cancelled`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cancelled<'a> {
    #[serde(borrow)]
    request_id: &'a RawValue,
}
