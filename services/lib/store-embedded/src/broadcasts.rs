//! Broadcasts over the file, all of them in memory as well. The committer publishes a change, so that what is shown is
//! what was committed last.

use async_trait::async_trait;
use pushgrid_store::{BroadcastNotSet, BroadcastVersions, Broadcasts, StoreError, VersionsWatch};
use pushgrid_types::{BroadcastId, BroadcastVersion};

use crate::Embedded;
use crate::write::{RemoveBroadcast, SetBroadcast};

/// Octets of the queue for a change of a broadcast.
const CHANGE_OCTETS: usize = 512;

#[async_trait]
impl Broadcasts for Embedded {
    async fn set(&self, id: BroadcastId, version: BroadcastVersion) -> Result<(), BroadcastNotSet> {
        self.check_open()?;
        let shown = &self.shared().broadcasts;
        let _setting = shown.setting.lock().await;
        let versions = BroadcastVersions::known(&shown.watch())?;
        if !versions.fits(&id) {
            return Err(BroadcastNotSet::Full);
        }
        if versions.get(id.as_str()).is_some_and(|(_, present)| *present == version) {
            return Ok(());
        }
        Ok(self.change(SetBroadcast { id, version }, CHANGE_OCTETS).await?)
    }

    async fn remove(&self, id: &BroadcastId) -> Result<bool, StoreError> {
        self.change(RemoveBroadcast(id.clone()), CHANGE_OCTETS).await
    }

    fn versions(&self) -> VersionsWatch {
        self.shared().broadcasts.watch()
    }
}
