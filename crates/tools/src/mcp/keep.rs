//! Where tokens are kept between runs (`Kept`): a file per server that only its owner can read.
//! It does not know what tokens are for.

use rmcp::transport::auth::{AuthError, CredentialRefreshGuard, CredentialStore, StoredCredentials};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A larger file holds no tokens.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// How long another process may take to refresh a token.
const LOCK_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The file of one server.
#[derive(Clone)]
pub(super) struct Kept(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    /// What they are for: written along, and what the name of the file is made from.
    url: String,
}

/// What is in the file.
#[derive(Serialize, Deserialize)]
struct Entry {
    url: String,
    credentials: StoredCredentials,
}

/// Where tokens are kept when nothing else is said: in fanout's directory for what lasts.
pub(super) fn default_dir() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = from("FANOUT_STATE").or_else(|| Some(from("XDG_STATE_HOME")?.join("fanout")));
    let state = state.or_else(|| Some(from("HOME")?.join(".local/state/fanout")));
    state.unwrap_or_else(|| PathBuf::from(".fanout")).join("mcp")
}

impl Kept {
    pub(super) fn new(dir: &Path, url: &str) -> Kept {
        Kept(Arc::new(Inner { dir: dir.to_owned(), url: url.to_owned() }))
    }

    fn file(&self, ending: &str) -> PathBuf {
        let name = blake3::hash(self.0.url.as_bytes()).to_hex();
        self.0.dir.join(format!("{}.{ending}", &name[..32]))
    }

    fn read(&self) -> std::io::Result<Option<StoredCredentials>> {
        let file = match File::open(self.file("json")) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut text = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
        // A file that was damaged is as none: whoever needs a token is let in again.
        let entry = serde_json::from_str::<Entry>(&text).ok().filter(|entry| entry.url == self.0.url);
        Ok(entry.map(|entry| entry.credentials))
    }

    fn write(&self, credentials: StoredCredentials) -> std::io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0.dir)?;
        let text = serde_json::to_vec(&Entry { url: self.0.url.clone(), credentials })?;
        let mut file = tempfile::Builder::new().prefix("token-").tempfile_in(&self.0.dir)?;
        // Made readable for its owner only, and complete before it is there.
        file.write_all(&text)?;
        file.as_file().sync_all()?;
        file.persist(self.file("json")).map_err(|error| error.error)?;
        Ok(())
    }
}

#[async_trait::async_trait]
impl CredentialStore for Kept {
    async fn load(&self) -> Result<Option<StoredCredentials>, AuthError> {
        let kept = self.clone();
        blocking(move || kept.read()).await
    }

    async fn save(&self, credentials: StoredCredentials) -> Result<(), AuthError> {
        let kept = self.clone();
        blocking(move || kept.write(credentials)).await
    }

    async fn clear(&self) -> Result<(), AuthError> {
        let kept = self.clone();
        blocking(move || match std::fs::remove_file(kept.file("json")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await
    }

    async fn acquire_refresh_guard(&self) -> Result<Option<CredentialRefreshGuard>, AuthError> {
        let kept = self.clone();
        let open = move || {
            DirBuilder::new().recursive(true).mode(0o700).create(&kept.0.dir)?;
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(kept.file("lock"))
        };
        let file = blocking(open).await?;
        let begun = Instant::now();
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if begun.elapsed() > LOCK_MAX {
                return Err(AuthError::CredentialStoreError(
                    "another process refreshes the token, and does not end".into(),
                ));
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(Some(CredentialRefreshGuard::new(file)))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, AuthError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| AuthError::CredentialStoreError(error.to_string())),
        Err(error) => Err(AuthError::CredentialStoreError(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn tokens_are_for_their_owner_and_their_server_only() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("mcp");
        let kept = Kept::new(&inner, "https://a.test/mcp");
        assert!(kept.load().await.unwrap().is_none());
        kept.save(StoredCredentials::new("client".into(), None, vec!["read".into()], Some(5))).await.unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&inner), mode(&kept.file("json"))), (0o700, 0o600));
        assert_eq!(kept.load().await.unwrap().unwrap().client_id, "client");
        assert!(Kept::new(&inner, "https://b.test/mcp").load().await.unwrap().is_none());
        std::fs::write(kept.file("json"), "{damaged").unwrap();
        assert!(kept.load().await.unwrap().is_none());
        let guard = kept.acquire_refresh_guard().await.unwrap().unwrap();
        drop(guard);
        assert!(kept.acquire_refresh_guard().await.unwrap().is_some());
        kept.clear().await.unwrap();
        kept.clear().await.unwrap();
    }
}
