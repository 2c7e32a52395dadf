//! Versions of broadcasts, the same for all user agents, kept until they are replaced or removed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_types::{BroadcastId, BroadcastVersion};
use tokio::sync::watch;

use crate::{ErrorKind, StoreError};

/// Watch of all versions; `None` until they are known to this process.
pub type VersionsWatch = watch::Receiver<Option<Arc<BroadcastVersions>>>;

/// Versions of all broadcasts at one moment, at most [`Self::MAX`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BroadcastVersions(BTreeMap<BroadcastId, BroadcastVersion>);

/// A version that was not set.
#[derive(Debug, thiserror::Error)]
pub enum BroadcastNotSet {
    /// There are as many broadcasts as there may be.
    #[error("there are {} broadcasts, which is the limit: remove one first", BroadcastVersions::MAX)]
    Full,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The versions of broadcasts, retained over all lives.
#[async_trait]
pub trait Broadcasts: Send + Sync + fmt::Debug {
    /// Sets a version in the place of the present one.
    ///
    /// Guarantee: durable at return; every [`Self::versions`] shows this version or a later one soon after. Of versions
    /// of one broadcast that are set at the same time, the same one stays for everybody.
    async fn set(&self, id: BroadcastId, version: BroadcastVersion) -> Result<(), BroadcastNotSet>;

    /// Removes a broadcast, durably. Tells whether there was one.
    async fn remove(&self, id: &BroadcastId) -> Result<bool, StoreError>;

    /// Watches all versions. A watch shows the newest state, and may leave out those before.
    fn versions(&self) -> VersionsWatch;
}

impl BroadcastVersions {
    /// Largest number of broadcasts.
    pub const MAX: usize = 64;

    /// The broadcast with this id.
    pub fn get(&self, id: &str) -> Option<(&BroadcastId, &BroadcastVersion)> {
        self.0.get_key_value(id)
    }

    /// All broadcasts, in the order of their ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&BroadcastId, &BroadcastVersion)> {
        self.0.iter()
    }

    /// Sets a version. `false` if that would make one broadcast too many: nothing is set then.
    #[must_use]
    pub fn set(&mut self, id: BroadcastId, version: BroadcastVersion) -> bool {
        let fits = self.fits(&id);
        if fits {
            self.0.insert(id, version);
        }
        fits
    }

    /// Removes a broadcast. Tells whether there was one.
    pub fn remove(&mut self, id: &BroadcastId) -> bool {
        self.0.remove(id).is_some()
    }

    /// Applies a change made elsewhere: a version, or `None` for a removal. One broadcast too many, which two processes
    /// may set at the same time, is left out.
    pub fn change(&mut self, id: BroadcastId, version: Option<BroadcastVersion>) {
        match version {
            Some(version) => _ = self.set(id, version),
            None => _ = self.remove(&id),
        }
    }

    /// True when there is room for a broadcast with this id, or one already.
    pub fn fits(&self, id: &BroadcastId) -> bool {
        self.0.len() < Self::MAX || self.0.contains_key(id)
    }

    /// Ids whose versions are not those of `before`, except for removed broadcasts.
    pub fn changed_since(&self, before: &Self) -> Vec<BroadcastId> {
        let changed = self.0.iter().filter(|(id, version)| before.0.get(*id) != Some(version));
        changed.map(|(id, _)| id.clone()).collect()
    }

    /// The versions of a watch, once they are known.
    pub fn known(watch: &VersionsWatch) -> Result<Arc<Self>, StoreError> {
        watch.borrow().clone().ok_or_else(|| {
            StoreError::new(ErrorKind::Unavailable, "the broadcasts have not been read yet; try again soon")
        })
    }
}
