//! The sessions of clients over HTTP: bounded in number and in idle time.
//! It does not know what they do.

use super::checks::secret;
use crate::mcp::Gateway;
use crate::mcp::session::Session;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// More sessions at once are not begun.
const SESSIONS_MAX: usize = 1_000;
/// A session in which nothing is asked and nobody listens for this long has ended.
const IDLE_MAX: Duration = Duration::from_secs(30 * 60);
/// How often it is looked for such.
const SWEEP: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<String, Known>>);

struct Known {
    session: Arc<Session>,
    used: Instant,
}

impl Sessions {
    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new session under an id that nobody can guess. Where there are too many, one goes in which nothing is under way:
    /// clients that begin anew when they start again seldom end what they left.
    pub(super) fn begin(&self, gateway: &Arc<Gateway>) -> Result<(String, Arc<Session>), String> {
        let id = secret().map_err(|error| format!("no id can be made: {error}"))?;
        let mut known = self.known();
        if known.len() >= SESSIONS_MAX {
            let idle = known.iter().filter(|(_, known)| known.session.is_idle());
            let Some(oldest) = idle.min_by_key(|(_, known)| known.used).map(|(id, _)| id.clone()) else {
                return Err(format!("{SESSIONS_MAX} sessions are open and at work; end one with DELETE"));
            };
            if let Some(gone) = known.remove(&oldest) {
                gone.session.end();
            }
        }
        let session = Session::new(gateway.clone(), id.as_str().into());
        known.insert(id.clone(), Known { session: session.clone(), used: Instant::now() });
        Ok((id, session))
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<Session>> {
        let mut known = self.known();
        let found = known.get_mut(id)?;
        found.used = Instant::now();
        Some(found.session.clone())
    }

    pub(super) fn remove(&self, id: &str) -> Option<Arc<Session>> {
        self.known().remove(id).map(|known| known.session)
    }

    /// Ends idle sessions, for ever.
    pub(super) async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let mut idle = Vec::new();
            self.known().retain(|_, known| {
                if !known.session.is_idle() {
                    known.used = Instant::now();
                }
                let stays = known.used.elapsed() < IDLE_MAX;
                if !stays {
                    idle.push(known.session.clone());
                }
                stays
            });
            idle.iter().for_each(|session| session.end());
        }
    }

    /// Ends all.
    pub(super) fn end(&self) {
        self.known().values().for_each(|known| known.session.end());
    }

    /// Waits until nothing of them runs any more.
    pub(super) async fn ended(&self) {
        let all: Vec<Known> = self.known().drain().map(|(_, known)| known).collect();
        for known in all {
            known.session.ended().await;
        }
    }
}
