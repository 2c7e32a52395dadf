//! The identity of `pushgrid listen` between two starts: one file, locked while in use.
//!
//! Invariant: the file is replaced whole, so that it always holds a complete identity. Only its owner can read it.

use std::fs::{File, TryLockError};
use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use pushgrid_client::Subscription;
use pushgrid_types::UserAgentId;
use serde::{Deserialize, Serialize};

use crate::secret_file;

/// Identity and subscription of this user agent, kept in a file from one start to the next.
///
/// Invariant: while this lives, the file is locked: two processes with one identity would close each other's
/// connections in turn.
pub(super) struct State {
    path: PathBuf,
    /// Holds the lock.
    file: Option<File>,
    kept: Option<Kept>,
}

struct Kept {
    identity: Identity,
    subscription: Subscription,
}

/// Name of the user agent at its service.
#[derive(Clone)]
pub(super) enum Identity {
    /// Over a WebSocket.
    UserAgent(UserAgentId),
    /// Over HTTP: the path of the subscription.
    Path(String),
}

/// Content of the file.
#[derive(Serialize, Deserialize)]
struct Saved {
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    subscription: Subscription,
}

impl State {
    /// Reads the file, if there is one. Fails when another process uses the file, or when it belongs to another
    /// service, or to a user agent over HTTP and not `by_socket`, or the other way round.
    pub(super) fn open(path: PathBuf, url: &str, by_socket: bool) -> Result<Self> {
        let named = path.display().to_string();
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { path, file: None, kept: None });
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read the state file {named}")),
        };
        lock(&file, &named)?;
        let mut text = String::new();
        file.read_to_string(&mut text).with_context(|| format!("cannot read the state file {named}"))?;
        let advice =
            || format!("{named} is not a state file: move it away, or name another one with --state");
        let saved: Saved = serde_json::from_str(&text).with_context(advice)?;
        if saved.url != url {
            bail!("{named} belongs to {}: name another file with --state for {url}", saved.url);
        }
        let identity = match (saved.user_agent, saved.path) {
            (Some(id), _) => Identity::UserAgent(id.parse().with_context(advice)?),
            (None, Some(path)) => Identity::Path(path),
            (None, None) => bail!(advice()),
        };
        if matches!(identity, Identity::UserAgent(_)) != by_socket {
            let other = if by_socket { "h2 or sse" } else { "ws" };
            bail!("{named} is of a user agent with --transport {other}: name another file with --state");
        }
        let kept = Some(Kept { identity, subscription: saved.subscription });
        Ok(Self { path, file: Some(file), kept })
    }

    pub(super) fn user_agent(&self) -> Option<UserAgentId> {
        match self.kept.as_ref()?.identity {
            Identity::UserAgent(id) => Some(id),
            Identity::Path(_) => None,
        }
    }

    /// Path of the subscription over HTTP.
    pub(super) fn path(&self) -> Option<&str> {
        match &self.kept.as_ref()?.identity {
            Identity::Path(path) => Some(path),
            Identity::UserAgent(_) => None,
        }
    }

    pub(super) fn subscription(&self) -> Option<&Subscription> {
        self.kept.as_ref().map(|kept| &kept.subscription)
    }

    /// Drops the subscription. The file stays until another subscription replaces it.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }

    /// Keeps this identity from now on; on disk at return.
    pub(super) fn keep(&mut self, url: &str, identity: Identity, subscription: Subscription) -> Result<()> {
        let (user_agent, path) = match &identity {
            Identity::UserAgent(id) => (Some(id.to_hex()), None),
            Identity::Path(path) => (None, Some(path.clone())),
        };
        let saved = Saved { url: url.to_owned(), user_agent, path, subscription: subscription.clone() };
        let text = serde_json::to_string_pretty(&saved).expect("texts have a JSON form");
        let file = secret_file::replace(&self.path, &format!("{text}\n"))?;
        lock(&file, &self.path.display().to_string())?;
        self.file = Some(file);
        self.kept = Some(Kept { identity, subscription });
        Ok(())
    }
}

fn lock(file: &File, named: &str) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            bail!("{named} is in use: end the other pushgrid listen, or name another file with --state")
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {named}")),
    }
}

#[cfg(test)]
mod tests {
    use pushgrid_crypto::encryption::Receiver;
    use pushgrid_types::{ChannelId, SystemRng};

    use super::*;

    const URL: &str = "ws://localhost:8081";
    const WHO: UserAgentId = UserAgentId::from_octets([5; 16]);

    fn subscription() -> Subscription {
        let endpoint = "http://localhost:8080/push/x".to_owned();
        Subscription::new(ChannelId::random(&SystemRng), endpoint, Receiver::generate(&SystemRng), None)
    }

    #[test]
    fn the_next_start_goes_on_where_this_one_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let mut state = State::open(path.clone(), URL, true).unwrap();
        assert!(state.user_agent().is_none());
        let subscription = subscription();
        state.keep(URL, Identity::UserAgent(WHO), subscription.clone()).unwrap();
        drop(state);
        let state = State::open(path, URL, true).unwrap();
        assert_eq!(state.user_agent(), Some(WHO));
        assert_eq!(state.subscription().unwrap().to_json(), subscription.to_json());
    }

    #[test]
    fn one_process_at_a_time_has_the_identity_also_after_it_was_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let mut state = State::open(path.clone(), URL, true).unwrap();
        for _ in 0..2 {
            state.keep(URL, Identity::UserAgent(WHO), subscription()).unwrap();
            let error = State::open(path.clone(), URL, true).err().unwrap();
            assert!(error.to_string().contains("is in use"), "{error}");
        }
    }

    #[test]
    fn a_user_agent_over_http_has_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let mut state = State::open(path.clone(), URL, false).unwrap();
        state.keep(URL, Identity::Path("/s/x".to_owned()), subscription()).unwrap();
        drop(state);
        let error = State::open(path.clone(), URL, true).err().unwrap();
        assert!(error.to_string().contains("--transport h2 or sse"), "{error}");
        let state = State::open(path, URL, false).unwrap();
        assert_eq!((state.path(), state.user_agent()), (Some("/s/x"), None));
    }

    #[test]
    fn a_file_of_another_service_or_of_another_kind_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        State::open(path.clone(), URL, true)
            .unwrap()
            .keep(URL, Identity::UserAgent(WHO), subscription())
            .unwrap();
        let error = State::open(path.clone(), "ws://other", true).err().unwrap();
        assert!(error.to_string().contains("belongs to ws://localhost:8081"), "{error}");
        std::fs::write(&path, "{}").unwrap();
        assert!(State::open(path, URL, true).err().unwrap().to_string().contains("is not a state file"));
    }
}
