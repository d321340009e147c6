//! The wait for the head of an answer: until there is a connection, until the request is taken, until the first byte.
//! It does not know what is asked, or what becomes of the answer.

use super::body::Sent;
use super::client::Client;
use super::failure::{self, Wait};
use crate::tool::{Reached, ToolError};
use fanout_plan::HttpWaits;
use reqwest::{Request, Response};
use std::fmt::Display;
use std::time::Duration;
use tokio::time::sleep;

/// Sends one request, of which `sent` tells, and waits for the head of its answer as long as `waits` allow.
///
/// # Errors
/// `http_not_sent`, `http_not_allowed`, `http_bad_answer`, `http_lost`, `http_timeout`.
pub(super) async fn head(
    client: &Client,
    request: Request,
    sent: &Sent,
    waits: &HttpWaits,
    what: &(dyn Display + Sync),
) -> Result<Response, ToolError> {
    tokio::select! {
        biased;
        answer = client.execute(request) => answer.map_err(|error| failure::unanswered(what, error, sent)),
        (wait, limit) = late(sent, waits) => {
            let error = failure::waited(what, wait, limit, sent.reached());
            Err(if sent.reached() == Reached::No { error.code("http_not_sent") } else { error })
        }
    }
}

/// Ends when one of the waits was too long.
async fn late(sent: &Sent, waits: &HttpWaits) -> (Wait, Duration) {
    // It looks at least as often as the shortest of these waits lasts, so that none is noticed too late. Nearly
    // every answer comes before the first look, and takes one timer.
    let look = waits.connect.min(waits.idle).min(waits.first_byte);
    loop {
        let (wait, limit) = match (sent.finished(), sent.reached()) {
            (true, _) => (Wait::FirstByte, waits.first_byte),
            (false, Reached::No) => (Wait::Connect, waits.connect),
            (false, _) => (Wait::Idle, waits.idle),
        };
        let Some(left) = limit.checked_sub(sent.silent()).filter(|left| !left.is_zero()) else {
            return (wait, limit);
        };
        sleep(left.min(look)).await;
    }
}
