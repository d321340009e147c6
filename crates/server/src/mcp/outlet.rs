//! Where messages to a client go (`Outlet`): a line, or the stream of one of its requests.
//! It does not know what carries them.

use super::wire::{self, RpcError};
use fanout::JsonText;
use tokio::sync::mpsc;

/// How many messages wait for a client that does not read. Beyond, what may be lost is lost, and answers wait.
const WAITING_MAX: usize = 1_024;

/// A message to a client.
pub(super) struct Sent {
    /// One line.
    pub(super) text: String,
    /// It is the answer to a request: with the code of its error, if it is one.
    pub(super) answers: Option<Option<i32>>,
}

impl Sent {
    /// The answer to a request.
    pub(super) fn answer(id: &str, answer: &Result<JsonText, RpcError>) -> Sent {
        let code = answer.as_ref().err().map(|error| error.code);
        Sent { text: wire::answer(id, answer), answers: Some(code) }
    }
}

/// A place for one message that must arrive.
pub(super) type SentPlace<'a> = mpsc::Permit<'a, Sent>;

/// Takes messages to a client.
#[derive(Clone)]
pub(super) struct Outlet(mpsc::Sender<Sent>);

impl Outlet {
    /// An outlet, and what comes out of it until its last clone is gone.
    pub(super) fn new() -> (Outlet, mpsc::Receiver<Sent>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Outlet(sender), receiver)
    }

    /// Sends what may be lost: when the client does not read, or is gone.
    pub(super) fn offer(&self, text: String) {
        let _ = self.0.try_send(Sent { text, answers: None });
    }

    /// Sends what must arrive; gives up only when the client is gone.
    pub(super) async fn send(&self, text: String) {
        let _ = self.0.send(Sent { text, answers: None }).await;
    }

    /// Waits for a place; `None` when the client is gone.
    pub(super) async fn place(&self) -> Option<SentPlace<'_>> {
        self.0.reserve().await.ok()
    }

    /// Refuses a request that was not begun. A client that sends on and on what is refused and reads no answer does
    /// not get all of them.
    pub(super) fn refuse(&self, id: &str, error: RpcError) {
        let _ = self.0.try_send(Sent::answer(id, &Err(error)));
    }

    /// Waits until nobody listens any more.
    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }

    /// Nobody listens any more.
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}
