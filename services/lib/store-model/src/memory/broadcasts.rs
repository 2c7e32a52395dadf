use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_store::{BroadcastNotSet, BroadcastVersions, Broadcasts, StoreError, VersionsWatch};
use pushgrid_types::{BroadcastId, BroadcastVersion};
use tokio::sync::watch;

/// Model of [`Broadcasts`]. Clones share the versions.
#[derive(Debug, Clone)]
pub struct MemoryBroadcasts(Arc<watch::Sender<Option<Arc<BroadcastVersions>>>>);

impl Default for MemoryBroadcasts {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Some(Arc::default()))))
    }
}

impl MemoryBroadcasts {
    fn change<T>(&self, change: impl FnOnce(&mut BroadcastVersions) -> T) -> T {
        let mut answer = None;
        self.0.send_modify(|versions| {
            let mut new = versions.as_deref().cloned().unwrap_or_default();
            answer = Some(change(&mut new));
            *versions = Some(Arc::new(new));
        });
        answer.expect("the change is made at once")
    }

    /// The next life of the same versions.
    #[must_use]
    pub fn reopened(&self) -> Self {
        Self(Arc::new(watch::Sender::new(self.0.borrow().clone())))
    }
}

#[async_trait]
impl Broadcasts for MemoryBroadcasts {
    async fn set(&self, id: BroadcastId, version: BroadcastVersion) -> Result<(), BroadcastNotSet> {
        let set = self.change(|versions| versions.set(id, version));
        if set { Ok(()) } else { Err(BroadcastNotSet::Full) }
    }

    async fn remove(&self, id: &BroadcastId) -> Result<bool, StoreError> {
        Ok(self.change(|versions| versions.remove(id)))
    }

    fn versions(&self) -> VersionsWatch {
        self.0.subscribe()
    }
}
