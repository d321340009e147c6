//! One connection to a server (`Link`): a request goes out, and its answer, its failure or its abort comes back.
//! It does not know how the connection came about, nor what the requests are.

use super::direct::{Direct, Request, is_direct};
use super::ledger::{Answer, Caller, InFlight, Ledger, RpcError, Slot};
use super::stdio::number;
use super::words::{bad_answer, lost};
use crate::tool::{Aborted, JsonText, Reached, ToolError};
use rmcp::model::{
    CancelledNotification, CancelledNotificationParam, ClientRequest, GetExtensions, ProtocolVersion, RequestId,
    ServerPeerInfo, ServerResult,
};
use rmcp::service::{Peer, PeerRequestOptions, RequestHandle};
use rmcp::{RoleClient, ServiceError};
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long handing over a cancellation may take.
const CANCEL_SEND_MAX: Duration = Duration::from_secs(1);

/// How long it may take until it is known how a connection ended.
const END_TOLD_MAX: Duration = Duration::from_secs(2);

/// A connection to a server that has been greeted.
pub(super) struct Link {
    /// What the toolbox is called.
    pub(super) name: Arc<str>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) info: Arc<ServerPeerInfo>,
    /// It is spoken to by requests of HTTP: one may be lost without the others.
    pub(super) http: bool,
    /// Requests end with their stream: what was cancelled is not answered any more.
    pub(super) streams: bool,
    /// Fires when it has ended, and all that was in flight with it.
    pub(super) ended: CancellationToken,
    pub(super) peer: Peer<RoleClient>,
    /// How requests get to a server on pipes without the library; absent where the library must know of them.
    pub(super) direct: Option<Direct>,
}

/// How a request ended without a result.
#[derive(Debug)]
pub(super) enum Ended {
    /// With an error of the protocol.
    Rpc(RpcError),
    /// Before an answer came.
    Failed(ToolError),
}

impl Link {
    /// Whether requests say everything by themselves (2026-07-28), without a session.
    pub(super) fn is_modern(&self) -> bool {
        self.info.protocol_version >= ProtocolVersion::V_2026_07_28
    }

    /// Whether it still stands.
    pub(super) fn stands(&self) -> bool {
        !self.ended.is_cancelled() && !self.peer.is_transport_closed()
    }

    /// Makes a request. When `aborted` fires, the server is told, and its answer still waited for during `grace`.
    /// Dropping the future tells the server too.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        request: Request,
        caller: Caller,
        aborted: Option<&Aborted>,
        grace: Duration,
    ) -> Result<JsonText, Ended> {
        let slot = Slot::new(caller);
        let mut open = Open { link: self, slot: &slot, id: None };
        let mut abort = pin!(async {
            match aborted {
                Some(aborted) => aborted.cancelled().await,
                None => pending().await,
            }
        });
        let response = match &self.direct {
            Some(direct) => {
                open.send(direct, request, abort.as_mut()).await?;
                None
            }
            None => {
                let handle = self.by_library(request, &slot).await?;
                open.id = Some(handle.id);
                Some(handle.rx)
            }
        };
        let response = async {
            match response {
                Some(response) => response.await,
                None => pending().await,
            }
        };
        let ended = tokio::select! {
            biased;
            answer = slot.ended() => Some(answer),
            response = response => {
                let answer = slot.taken();
                if answer.is_none() {
                    open.close();
                    return Err(self.unanswered(&slot, response.ok()).await);
                }
                answer
            }
            () = self.ended.cancelled() => {
                open.close();
                return slot.taken().map_or_else(|| Err(self.gone(&slot)), read);
            }
            () = &mut abort => None,
        };
        if let Some(answer) = ended {
            open.close();
            return read(answer);
        }
        let withdrawn = slot.withdraw();
        open.cancel().await;
        if withdrawn {
            return Err(Ended::Failed(ToolError::aborted(Reached::No)));
        }
        let grace = if self.streams { Duration::ZERO } else { grace };
        match timeout(grace, slot.ended()).await {
            Ok(answer) => read(answer),
            Err(_) => Err(Ended::Failed(ToolError::aborted(slot.reached()))),
        }
    }

    /// Hands a request to the library.
    async fn by_library(&self, request: Request, slot: &Arc<Slot>) -> Result<RequestHandle<RoleClient>, Ended> {
        let mut request = request.typed().map_err(Ended::Failed)?;
        let mut options = PeerRequestOptions::no_options();
        options.meta = slot.caller.meta.clone();
        request.extensions_mut().insert(InFlight(Arc::clone(slot)));
        let sent = self.peer.send_request_with_option(request, options).await;
        sent.map_err(|_| self.gone(slot))
    }

    /// What the library said instead of an answer.
    async fn unanswered<T>(&self, slot: &Slot, said: Option<Result<T, ServiceError>>) -> Ended {
        match said {
            // Whoever keeps the connection knows more in a moment.
            None | Some(Err(ServiceError::TransportClosed)) => {
                let wait = if self.http { Duration::ZERO } else { END_TOLD_MAX };
                let _late = timeout(wait, self.ended.cancelled()).await;
                slot.taken().map_or_else(
                    || self.gone(slot),
                    |answer| match read(answer) {
                        Err(ended) => ended,
                        Ok(_) => self.gone(slot),
                    },
                )
            }
            Some(Err(ServiceError::McpError(error))) => Ended::Rpc(RpcError::of(error)),
            Some(Err(error)) => {
                let how = super::shown(&error.to_string(), 500);
                Ended::Failed(lost(&self.name, &how, "", slot.reached()))
            }
            Some(Ok(_)) => Ended::Failed(bad_answer(&self.name, "a result of another kind")),
        }
    }

    /// As [`Link::exchange`], and what the library makes of the answer.
    pub(super) async fn exchange_list(
        self: &Arc<Self>,
        mut request: ClientRequest,
        caller: Caller,
    ) -> Result<(JsonText, Option<ServerResult>), Ended> {
        let slot = Slot::new(caller);
        slot.keep.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(InFlight(Arc::clone(&slot)));
        let sent = self.peer.send_request_with_option(request, PeerRequestOptions::no_options()).await;
        let Ok(handle) = sent else { return Err(self.gone(&slot)) };
        let mut open = Open { link: self, slot: &slot, id: Some(handle.id) };
        let response = handle.rx.await;
        open.close();
        match slot.taken() {
            Some(answer) => Ok((read(answer)?, response.ok().and_then(Result::ok))),
            None => Err(self.unanswered(&slot, response.ok()).await),
        }
    }

    /// Tells the server that nobody waits for the answer to a request any more.
    async fn tell_cancelled(&self, id: RequestId, slot: &Slot) {
        let param = CancelledNotificationParam::new(Some(id.clone()), Some("nobody waits for it any more".into()));
        let notification = CancelledNotification::new(param).into();
        let told = async {
            // What the library was asked for it has to know of itself.
            match self.direct.as_ref().filter(|_| number(&id).is_some_and(is_direct)) {
                // The server never heard of it.
                Some(_) if slot.withdrawn() => {}
                Some(direct) => direct.notify(notification).await,
                None => _ = self.peer.send_notification(notification).await,
            }
        };
        // A server that cannot even be told is as good as gone.
        let _untold = timeout(CANCEL_SEND_MAX, told).await;
    }

    fn gone(&self, slot: &Slot) -> Ended {
        slot.withdraw();
        Ended::Failed(lost(&self.name, "the connection has ended", "", slot.reached()))
    }
}

fn read(answer: Answer) -> Result<JsonText, Ended> {
    match answer {
        Answer::Result(text) => Ok(text),
        Answer::Error(error) => Err(Ended::Rpc(error)),
        Answer::Failed(error) => Err(Ended::Failed(error)),
    }
}

/// A request that is waited for; dropped before its end, the server is told.
struct Open<'a> {
    link: &'a Arc<Link>,
    slot: &'a Arc<Slot>,
    id: Option<RequestId>,
}

impl Open<'_> {
    /// Sends it without the library.
    async fn send(
        &mut self,
        direct: &Direct,
        request: Request,
        abort: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), Ended> {
        let (id, line) = direct.line(request, self.slot, &self.link.ledger).map_err(Ended::Failed)?;
        tokio::select! {
            biased;
            sent = direct.send(line) => match sent {
                true => {
                    self.id = Some(id);
                    Ok(())
                }
                false => Err(self.link.gone(self.slot)),
            },
            // A server that reads nothing is not waited for.
            () = self.link.ended.cancelled() => Err(self.link.gone(self.slot)),
            () = abort => {
                self.slot.withdraw();
                Err(Ended::Failed(ToolError::aborted(Reached::No)))
            }
        }
    }

    /// It has ended.
    fn close(&mut self) {
        self.id = None;
    }

    /// Tells the server that nobody waits any more.
    async fn cancel(&mut self) {
        let Some(id) = self.id.take() else { return };
        self.link.tell_cancelled(id, self.slot).await;
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.link.ledger.leave(self.slot);
        let Some(id) = self.id.take() else { return };
        self.slot.withdraw();
        let (link, slot) = (Arc::clone(self.link), Arc::clone(self.slot));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { link.tell_cancelled(id, &slot).await });
        }
    }
}
