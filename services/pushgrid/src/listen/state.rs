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
    user_agent: UserAgentId,
    subscription: Subscription,
}

/// Content of the file.
#[derive(Serialize, Deserialize)]
struct Saved {
    url: String,
    user_agent: String,
    subscription: Subscription,
}

impl State {
    /// Reads the file, if there is one. Fails when another process uses the file, or when it belongs to another
    /// service.
    pub(super) fn open(path: PathBuf, url: &str) -> Result<Self> {
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
        let user_agent = saved.user_agent.parse().with_context(advice)?;
        let kept = Some(Kept { user_agent, subscription: saved.subscription });
        Ok(Self { path, file: Some(file), kept })
    }

    pub(super) fn user_agent(&self) -> Option<UserAgentId> {
        self.kept.as_ref().map(|kept| kept.user_agent)
    }

    pub(super) fn subscription(&self) -> Option<&Subscription> {
        self.kept.as_ref().map(|kept| &kept.subscription)
    }

    /// Drops the subscription. The file stays until another subscription replaces it.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }

    /// Keeps this identity from now on; on disk at return.
    pub(super) fn keep(
        &mut self,
        url: &str,
        user_agent: UserAgentId,
        subscription: Subscription,
    ) -> Result<()> {
        let saved = Saved {
            url: url.to_owned(),
            user_agent: user_agent.to_hex(),
            subscription: subscription.clone(),
        };
        let text = serde_json::to_string_pretty(&saved).expect("texts have a JSON form");
        let file = secret_file::replace(&self.path, &format!("{text}\n"))?;
        lock(&file, &self.path.display().to_string())?;
        self.file = Some(file);
        self.kept = Some(Kept { user_agent, subscription });
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
        let mut state = State::open(path.clone(), URL).unwrap();
        assert!(state.user_agent().is_none());
        let subscription = subscription();
        state.keep(URL, WHO, subscription.clone()).unwrap();
        drop(state);
        let state = State::open(path, URL).unwrap();
        assert_eq!(state.user_agent(), Some(WHO));
        assert_eq!(state.subscription().unwrap().to_json(), subscription.to_json());
    }

    #[test]
    fn one_process_at_a_time_has_the_identity_also_after_it_was_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let mut state = State::open(path.clone(), URL).unwrap();
        for _ in 0..2 {
            state.keep(URL, WHO, subscription()).unwrap();
            let error = State::open(path.clone(), URL).err().unwrap();
            assert!(error.to_string().contains("is in use"), "{error}");
        }
    }

    #[test]
    fn a_file_of_another_service_or_of_another_kind_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        State::open(path.clone(), URL).unwrap().keep(URL, WHO, subscription()).unwrap();
        let error = State::open(path.clone(), "ws://other").err().unwrap();
        assert!(error.to_string().contains("belongs to ws://localhost:8081"), "{error}");
        std::fs::write(&path, "{}").unwrap();
        assert!(State::open(path, URL).err().unwrap().to_string().contains("is not a state file"));
    }
}
