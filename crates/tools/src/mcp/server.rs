//! One server of a toolbox (`Server`): started when it is first needed, shared by all calls, started again when it is
//! lost, ended with its toolbox. It does not know its tools.

use super::ask::{Ours, config};
use super::direct::{Direct, Request};
use super::grant::{Grant, Show};
use super::http::{Inner, Post};
use super::keep::Kept;
use super::ledger::{Caller, Ledger};
use super::link::Link;
use super::stdio;
use super::words::{Texts, lost, not_started};
use crate::http::Connections;
use crate::peer::PeerRequest;
use crate::process::Processes;
use crate::process::leash::Leash;
use crate::process::output::Tail;
use crate::tool::{AttemptId, ErrorClass, Reached, ToolError};
use fanout_plan::{McpEndpoint, McpSource, McpTransport};
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use rmcp::RoleClient;
use rmcp::model::{ClientRequest, CustomRequest, ProtocolVersion, ServerPeerInfo};
use rmcp::service::{ClientInitializeError, ClientLifecycleMode, RunningService, serve_client_with_lifecycle_and_ct};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::SseRetryPolicy;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// The delays before a server that was lost, or could not be started, is tried again: the first, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// How long the end of a process is waited for, to tell how it ended.
const STATUS_WAIT: Duration = Duration::from_millis(500);
/// How long a process that has ended may have its output held open by what it left running.
const LINGER: Duration = Duration::from_millis(200);
/// How many resources are watched at one server.
const SUBSCRIPTIONS_MAX: usize = 1_000;
/// How many notices wait for who listens.
const NOTICES_MAX: usize = 256;
/// How long a server may take to end after its input was closed, and again after TERM.
pub(super) const END_GRACE: Duration = Duration::from_secs(2);
/// How long the ends of all servers are waited for.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// How many requests to one server are on their way; how many there are at all, the engine decides.
const REQUESTS_MAX: usize = 4_096;

/// When a stream of events that broke off is asked for again.
#[derive(Debug)]
struct Again;

impl SseRetryPolicy for Again {
    fn retry(&self, times: usize) -> Option<Duration> {
        let delay = Duration::from_millis(500).saturating_mul(1 << times.min(5));
        (times < 8).then_some(delay.min(Duration::from_secs(10)))
    }
}

/// What the servers of one engine share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Servers {
    pub(super) processes: Processes,
    pub(super) connections: Connections,
    pub(super) spill_dir: Arc<Path>,
    /// Where tokens are kept.
    pub(super) tokens: Arc<Path>,
    /// How a person is asked to let fanout in.
    pub(super) show: Option<Show>,
    keepers: TaskTracker,
    /// How many processes were started. Their marks have its number: two toolboxes may have one name, one of them ending.
    started: Arc<AtomicU32>,
    /// Fires when all are to end.
    closing: CancellationToken,
}

/// The code by which a server says that it does not speak the version it was asked in.
const UNSUPPORTED_VERSION: i32 = -32_022;

impl Servers {
    /// For one engine. Starts nothing yet.
    pub(crate) fn new(processes: Processes, connections: Connections) -> Servers {
        let spill_dir = processes.spill_dir().into();
        let tokens = super::keep::default_dir().into();
        Servers {
            processes,
            connections,
            spill_dir,
            tokens,
            show: None,
            keepers: TaskTracker::new(),
            started: Arc::default(),
            closing: CancellationToken::new(),
        }
    }

    /// The same, with a person who may let fanout in.
    pub(crate) fn with_person(self, show: Show) -> Servers {
        Servers { show: Some(show), ..self }
    }

    /// The same, with tokens kept in this directory.
    pub(crate) fn with_tokens(self, dir: &Path) -> Servers {
        Servers { tokens: dir.into(), ..self }
    }

    /// Ends all servers, also those that are still in use.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        self.closed().await;
    }

    /// Waits until the servers whose toolboxes are gone have ended, but not for long.
    pub(crate) async fn closed(&self) {
        self.keepers.close();
        // What does not end by then is killed with the processes of the engine.
        let _late = timeout(CLOSE_MAX, self.keepers.wait()).await;
    }
}

/// A server, and the connection to it while there is one.
pub(super) struct Server {
    pub(super) name: Arc<str>,
    pub(super) source: McpSource,
    pub(super) shared: Servers,
    pub(super) notices: broadcast::Sender<PeerRequest>,
    /// The list of tools may be another by now.
    pub(super) changed: Arc<Notify>,
    state: Mutex<State>,
    /// What a client of an older protocol wants to be told of: resources, and from which level on.
    wanted: Mutex<(BTreeSet<String>, Option<String>)>,
    rewanted: Arc<Notify>,
    /// It did not know `server/discover`; it is not asked again.
    legacy: AtomicBool,
    /// It speaks the newest protocol and is slow to say so: it is not asked whether it knows an older one.
    modern: AtomicBool,
    pub(super) closing: CancellationToken,
    _close: DropGuard,
}

enum State {
    /// Not started, or lost and not needed since. Not to be started before then, after so many losses in a row.
    Idle {
        not_before: Option<(Instant, ToolError)>,
        losses: u32,
    },
    Opening(watch::Receiver<Option<Result<Arc<Link>, ToolError>>>, u32),
    Up(Arc<Link>, u32),
}

/// What whoever needs a connection waits for.
enum Next {
    /// The end of one that does not stand any more.
    Gone(Arc<Link>),
    Opening(watch::Receiver<Option<Result<Arc<Link>, ToolError>>>),
}

/// What is behind a connection to a program.
struct Behind {
    leash: Leash,
    tail: Arc<Mutex<Tail>>,
    name: String,
}

impl Server {
    pub(super) fn new(name: Arc<str>, source: McpSource, shared: Servers) -> Arc<Server> {
        let closing = shared.closing.child_token();
        Arc::new(Server {
            name,
            source,
            shared,
            notices: broadcast::channel(NOTICES_MAX).0,
            changed: Arc::default(),
            wanted: Mutex::default(),
            rewanted: Arc::default(),
            state: Mutex::new(State::Idle { not_before: None, losses: 0 }),
            legacy: AtomicBool::new(false),
            modern: AtomicBool::new(false),
            _close: closing.clone().drop_guard(),
            closing,
        })
    }

    /// The connection; made when there is none, once for all who need it.
    ///
    /// # Errors
    /// Why there is none. Nothing was reached.
    pub(super) async fn link(self: &Arc<Self>) -> Result<Arc<Link>, ToolError> {
        loop {
            let next = {
                let mut state = super::ledger::lock(&self.state);
                match &*state {
                    State::Up(link, _) if link.stands() => return Ok(Arc::clone(link)),
                    State::Up(link, _) => Next::Gone(Arc::clone(link)),
                    State::Opening(opening, _) => Next::Opening(opening.clone()),
                    State::Idle { not_before: Some((at, why)), .. } if *at > Instant::now() => {
                        return Err(why.clone().after(*at - Instant::now()));
                    }
                    State::Idle { losses, .. } => {
                        let losses = *losses;
                        let (tell, opening) = watch::channel(None);
                        *state = State::Opening(opening.clone(), losses);
                        // By itself: whoever needs it first may be aborted before it is there.
                        self.shared.keepers.spawn(open(Arc::downgrade(self), tell));
                        Next::Opening(opening)
                    }
                }
            };
            match next {
                // Whoever keeps it says when the next may be started, once it is known how this one ended.
                Next::Gone(link) => link.ended.cancelled().await,
                Next::Opening(mut opening) => {
                    return match opening.wait_for(Option::is_some).await.as_deref() {
                        Ok(Some(opened)) => opened.clone(),
                        _ => Err(not_started(&self.name, "starting it was given up", true)),
                    };
                }
            }
        }
    }

    /// Wants to be told when a resource changes, or no longer.
    pub(super) fn subscribe(&self, uri: String, on: bool) {
        let (uris, _) = &mut *super::ledger::lock(&self.wanted);
        if !on {
            uris.remove(&uri);
        } else if uris.len() < SUBSCRIPTIONS_MAX {
            uris.insert(uri);
        }
        self.rewanted.notify_one();
    }

    /// Wants to be told what is logged from this level on.
    pub(super) fn set_level(&self, level: String) {
        super::ledger::lock(&self.wanted).1 = Some(level);
    }

    /// From which level on it wants to be told.
    pub(super) fn level(&self) -> Option<String> {
        super::ledger::lock(&self.wanted).1.clone()
    }

    /// How many were lost in a row, when this one is lost too.
    fn losses(&self) -> u32 {
        match &*super::ledger::lock(&self.state) {
            State::Idle { losses, .. } | State::Opening(_, losses) | State::Up(_, losses) => losses + 1,
        }
    }

    /// There is no connection any more. One that was of use is tried again at once.
    fn down(&self, why: &ToolError, was_of_use: bool) {
        let losses = if was_of_use { 0 } else { self.losses() };
        let exponent = losses.saturating_sub(1).min(16);
        let delay = BACKOFF.0.saturating_mul(1 << exponent).min(BACKOFF.1);
        // What a person has to mend is not mended by waiting.
        let class = if why.code == "mcp_lost" { ErrorClass::Transient } else { why.class };
        let why = ToolError { class, reached: Reached::No, ..why.clone() };
        let not_before = (losses > 0).then(|| (Instant::now() + delay, why));
        *super::ledger::lock(&self.state) = State::Idle { not_before, losses };
    }

    async fn connect(self: &Arc<Self>) -> Result<Arc<Link>, ToolError> {
        let again = match self.connect_once().await {
            Err((error, true)) => error,
            Err((error, false)) => return Err(error),
            Ok(link) => return Ok(link),
        };
        // It died of a question it did not know: such a server is greeted as of old. Or it took longer than one waits to
        // answer it, and then refused the older greeting.
        self.legacy.store(!self.modern.load(Ordering::Relaxed), Ordering::Relaxed);
        self.connect_once().await.map_err(|_| again).inspect_err(|_| self.legacy.store(false, Ordering::Relaxed))
    }

    /// Starts and greets it; with an error, whether another greeting may do.
    async fn connect_once(self: &Arc<Self>) -> Result<Arc<Link>, (ToolError, bool)> {
        let ledger = Arc::new(Ledger::new(self.notices.clone(), Arc::clone(&self.changed)));
        let mut texts = Texts::default();
        match &self.source.transport {
            McpTransport::Stdio(command) => {
                let number = self.shared.started.fetch_add(1, Ordering::Relaxed) + 1;
                let id = AttemptId { run: "mcp".into(), call: Arc::clone(&self.name), attempt: number };
                let line_max = usize::try_from(self.source.output_max).unwrap_or(usize::MAX).saturating_add(64 << 10);
                let started =
                    stdio::start(command, &self.shared.processes, Arc::clone(&ledger), &id, &mut texts, line_max);
                let stdio::Started { leash, pipes, tail, name } = started.await.map_err(|error| (error, false))?;
                let behind = Behind { leash, tail, name };
                let direct = pipes.direct();
                match self.greet(pipes, &ledger).await {
                    Ok(running) => Ok(self.keep(running, ledger, direct, Some(behind))),
                    Err(error) => Err(self.not_greeted(error, behind, &texts).await),
                }
            }
            McpTransport::Http(endpoint) => {
                let post = self.post(endpoint, &ledger, &mut texts).await.map_err(|error| (error, false))?;
                let mut config = StreamableHttpClientTransportConfig::with_uri(post.0.url.as_str())
                    .max_concurrent_requests(REQUESTS_MAX);
                config.channel_buffer_capacity = REQUESTS_MAX;
                config.retry_config = Arc::new(Again);
                let failed = Arc::clone(&post.0);
                let transport = StreamableHttpClientTransport::with_client(post, config);
                match self.greet(transport, &ledger).await {
                    Ok(running) => Ok(self.keep(running, ledger, None, None)),
                    Err(error) => {
                        let failed = super::ledger::lock(&failed.failed).take();
                        let (error, again) = self.unreachable(&error, failed);
                        Err((texts.strike_error(error), again && !self.legacy.load(Ordering::Relaxed)))
                    }
                }
            }
        }
    }

    /// The way to a server at a URL.
    async fn post(&self, endpoint: &McpEndpoint, ledger: &Arc<Ledger>, texts: &mut Texts) -> Result<Post, ToolError> {
        let bad = |why: String| {
            let message = format!("the MCP server `{}` cannot be spoken to: {why}", self.name);
            ToolError::permanent(message).code("mcp_unreachable").reached(Reached::No)
        };
        let url = texts.fill(&endpoint.url).await?;
        let url: Url = url.parse().map_err(|error| bad(format!("`{}` is no URL: {error}", endpoint.url.shown())))?;
        let mut headers = HeaderMap::new();
        for (name, text) in &endpoint.headers {
            let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
            let value = HeaderValue::from_str(&texts.fill(text).await?).ok();
            let (Some(name), Some(mut value)) = (parsed, value) else {
                return Err(bad(format!("the header `{name}` cannot be sent")));
            };
            value.set_sensitive(!text.is_literal());
            headers.insert(name, value);
        }
        let road = self.shared.connections.road(&endpoint.base, &url).map_err(|wrong| bad(wrong.message))?;
        let road = Arc::new(road);
        let grant = Arc::new(Grant {
            name: Arc::clone(&self.name),
            kept: Kept::new(&self.shared.tokens, url.as_str()),
            url: url.clone(),
            oauth: endpoint.oauth.clone(),
            road: Arc::clone(&road),
            show: self.shared.show.clone(),
            declared: !endpoint.base.auth.is_empty() || headers.contains_key(AUTHORIZATION),
            state: Default::default(),
        });
        Ok(Post(Arc::new(Inner {
            road,
            what: format!("POST {}{}", url.origin().ascii_serialization(), url.path()),
            url,
            headers,
            known: texts.known(),
            grant,
            ledger: Arc::clone(ledger),
            output_max: usize::try_from(self.source.output_max).unwrap_or(usize::MAX),
            first_byte: endpoint.base.waits.first_byte,
            failed: Mutex::default(),
        })))
    }

    /// What is told of a server at a URL that was not greeted; whether it may be one of an older protocol.
    fn unreachable(&self, error: &ClientInitializeError, failed: Option<ToolError>) -> (ToolError, bool) {
        let again = match (&failed, error) {
            (Some(failed), _) => failed.reached != Reached::No,
            (None, ClientInitializeError::Cancelled) => false,
            (None, _) => true,
        };
        let why = match (&failed, error) {
            (Some(failed), _) => failed.message.clone(),
            (None, ClientInitializeError::Cancelled) => {
                format!("it did not answer within {:?} (`connect`)", self.source.connect)
            }
            (None, error) => super::shown(&error.to_string(), 300),
        };
        if let Some(failed) = failed.as_ref().filter(|failed| ["mcp_login", "secret_missing"].contains(&failed.code)) {
            return (failed.clone(), false);
        }
        let message = format!("the MCP server `{}` was not reached: {why}", self.name);
        let class = failed.map_or(ErrorClass::Permanent, |failed| failed.class);
        let error = ToolError { class, ..ToolError::permanent(message) };
        (error.code("mcp_unreachable").reached(Reached::No), again)
    }

    /// Greets a server by the newest protocol it knows.
    pub(super) async fn greet<T>(
        &self,
        transport: T,
        ledger: &Arc<Ledger>,
    ) -> Result<RunningService<RoleClient, Ours>, ClientInitializeError>
    where
        T: rmcp::transport::Transport<RoleClient> + 'static,
    {
        let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
        let lifecycle = match (self.legacy.load(Ordering::Relaxed), self.modern.load(Ordering::Relaxed)) {
            (true, _) => ClientLifecycleMode::Initialize,
            (false, true) => ClientLifecycleMode::Discover { preferred_versions },
            (false, false) => {
                ClientLifecycleMode::Auto { preferred_versions, legacy_version: Some(config().protocol_version) }
            }
        };
        let ours = Ours { ledger: Arc::clone(ledger) };
        let ct = self.closing.child_token();
        let greeted = serve_client_with_lifecycle_and_ct(ours, transport, lifecycle, ct);
        match timeout(self.source.connect, greeted).await {
            Ok(greeted) => greeted,
            Err(_) => Err(ClientInitializeError::Cancelled),
        }
    }

    /// What is told of a program that was started and not greeted; whether another greeting may do.
    async fn not_greeted(&self, error: ClientInitializeError, behind: Behind, texts: &Texts) -> (ToolError, bool) {
        let ended = timeout(STATUS_WAIT, behind.leash.exited()).await.is_ok();
        let late = matches!(error, ClientInitializeError::Cancelled);
        let first = matches!(&error, ClientInitializeError::ConnectionClosed(at) if at.contains("discover"))
            || matches!(&error, ClientInitializeError::TransportError { context, .. } if context.contains("discover"));
        let last = match &error {
            ClientInitializeError::LegacyFallbackFailed { fallback, .. } => fallback,
            error => error,
        };
        let newer = matches!(last, ClientInitializeError::JsonRpcError(error) if error.code.0 == UNSUPPORTED_VERSION);
        let status = stdio::end(behind.leash, if ended { END_GRACE } else { STATUS_WAIT }).await;
        let why = match (late, ended) {
            (true, false) => format!("it did not answer within {:?} (`connect`)", self.source.connect),
            (_, true) => stdio::ended(status),
            (false, false) => super::shown(&error.to_string(), 300),
        };
        let detail = super::ledger::lock(&behind.tail).text();
        let last = detail.lines().next_back().map(|line| super::shown(line.trim(), 200)).unwrap_or_default();
        let why = if last.is_empty() { why } else { format!("{why}: {last}") };
        let error = not_started(&behind.name, &why, false).detail(detail);
        let is_plain = !self.legacy.load(Ordering::Relaxed) && !self.modern.load(Ordering::Relaxed);
        self.modern.fetch_or(is_plain && newer, Ordering::Relaxed);
        (texts.strike_error(error), is_plain && (first || newer))
    }

    /// Takes a greeted server into service.
    fn keep(
        self: &Arc<Self>,
        running: RunningService<RoleClient, Ours>,
        ledger: Arc<Ledger>,
        direct: Option<Direct>,
        behind: Option<Behind>,
    ) -> Arc<Link> {
        let http = behind.is_none();
        // Known since it was greeted.
        let info = running.peer().peer_info();
        let info =
            info.unwrap_or_else(|| Arc::new(ServerPeerInfo::new(ProtocolVersion::default(), Default::default())));
        let is_modern = info.protocol_version >= ProtocolVersion::V_2026_07_28;
        let link = Link {
            name: Arc::clone(&self.name),
            ledger,
            http,
            streams: http && is_modern,
            // By the newer revision requests say who asks, and what a server asks is refused while nothing is asked of
            // it: the library does both.
            direct: direct.filter(|_| !is_modern),
            info,
            ended: CancellationToken::new(),
            peer: running.peer().clone(),
        };
        let link = Arc::new(link);
        if !link.is_modern() {
            self.legacy.store(true, Ordering::Relaxed);
        }
        self.shared.keepers.spawn(keep(Arc::downgrade(self), Arc::clone(&link), running, behind));
        if link.is_modern() {
            tokio::spawn(listen(Arc::downgrade(self), Arc::clone(&link)));
        }
        link
    }
}

/// Opens a connection for all who wait for it.
async fn open(server: Weak<Server>, tell: watch::Sender<Option<Result<Arc<Link>, ToolError>>>) {
    let Some(server) = server.upgrade() else { return };
    let opened = server.connect().await;
    match &opened {
        Ok(link) => {
            let losses = server.losses() - 1;
            let mut state = super::ledger::lock(&server.state);
            // Under the lock: of one that ends from here on its keeper finds that it is this one that was up.
            let stands = link.stands();
            if stands {
                *state = State::Up(Arc::clone(link), losses);
            }
            drop(state);
            if !stands {
                let gone = lost(&server.name, "it ended at once", "", Reached::No);
                server.down(&gone, false);
            }
        }
        Err(error) => server.down(error, false),
    }
    // Nobody may wait any more.
    let _unheard = tell.send(Some(opened));
}

/// Keeps a connection until it ends, however that comes; then nothing of it is left.
async fn keep(
    server: Weak<Server>,
    link: Arc<Link>,
    running: RunningService<RoleClient, Ours>,
    behind: Option<Behind>,
) {
    let cancel = running.cancellation_token();
    let mut waiting = std::pin::pin!(running.waiting());
    match &behind {
        Some(behind) => tokio::select! {
            _quit = &mut waiting => {}
            () = behind.leash.exited() => {
                // What it wrote last is still read.
                if timeout(LINGER, &mut waiting).await.is_err() {
                    cancel.cancel();
                    let _quit = waiting.await;
                }
            }
        },
        None => _ = waiting.await,
    }
    let (how, detail, leash) = match behind {
        Some(Behind { leash, tail, .. }) => {
            let exited = timeout(STATUS_WAIT, leash.exited()).await.is_ok();
            let detail = super::ledger::lock(&tail).text();
            match exited {
                true => (stdio::ended(stdio::end(leash, END_GRACE).await), detail, None),
                false => ("it closed its output".to_owned(), detail, Some(leash)),
            }
        }
        None => ("the connection has ended".to_owned(), String::new(), None),
    };
    if let Some(server) = server.upgrade() {
        let is_this = matches!(&*super::ledger::lock(&server.state), State::Up(up, _) if Arc::ptr_eq(up, &link));
        if is_this {
            server.down(&lost(&link.name, &how, &detail, Reached::No), link.ledger.has_answered());
        }
    }
    // Last: whoever hears of it may call again at once, and is to find what the next state is.
    link.ledger.fail_all(|reached| lost(&link.name, &how, &detail, reached));
    link.ended.cancel();
    if let Some(leash) = leash {
        let _status: Option<ExitStatus> = stdio::end(leash, END_GRACE).await;
    }
}

/// Asks a server of the newest protocol to tell when its lists change; those before tell without being asked.
async fn listen(server: Weak<Server>, link: Arc<Link>) {
    let capabilities = &link.info.capabilities;
    let changes = |list_changed: Option<bool>| list_changed.unwrap_or_default();
    let tools = capabilities.tools.as_ref().is_some_and(|tools| changes(tools.list_changed));
    let prompts = capabilities.prompts.as_ref().is_some_and(|prompts| changes(prompts.list_changed));
    let resources = capabilities.resources.as_ref().is_some_and(|resources| changes(resources.list_changed));
    let kept = |server: &Server| (Arc::clone(&server.rewanted), server.closing.clone());
    let Some((rewanted, closing)) = server.upgrade().map(|server| kept(&server)) else { return };
    while link.stands() {
        let mut wanted = serde_json::Map::new();
        let lists = [("toolsListChanged", tools), ("promptsListChanged", prompts), ("resourcesListChanged", resources)];
        for (name, _) in lists.into_iter().filter(|(_, there)| *there) {
            wanted.insert(name.to_owned(), true.into());
        }
        let Some(server) = server.upgrade() else { return };
        let uris: Vec<String> = super::ledger::lock(&server.wanted).0.iter().cloned().collect();
        // Not held while it is listened: a server ends with its toolbox.
        drop(server);
        if !uris.is_empty() {
            wanted.insert("resourceSubscriptions".to_owned(), uris.into());
        }
        let nothing = wanted.is_empty();
        let params = serde_json::json!({"notifications": wanted});
        let request = ClientRequest::CustomRequest(CustomRequest::new("subscriptions/listen", Some(params)));
        let listening = async {
            if !nothing {
                // It lasts as long as the connection does; a server that ends it, or will not listen, has its reasons.
                let caller = Caller::nobody(&link.name);
                let _ended = link.exchange(Request::Other(Box::new(request)), caller, None, Duration::ZERO).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = listening => {}
            () = rewanted.notified() => {}
            () = link.ended.cancelled() => return,
            () = closing.cancelled() => return,
        }
    }
}

/// Where results too large to be kept in memory go.
pub(super) fn spill_dir(server: &Server) -> PathBuf {
    server.shared.spill_dir.to_path_buf()
}
