//! The versions of broadcasts in memory, as last committed.

use std::sync::Arc;

use pushgrid_store::{BroadcastVersions, VersionsWatch};
use pushgrid_types::{BroadcastId, BroadcastVersion};
use tokio::sync::{Mutex, watch};

/// A change of a broadcast: the version, or `None` for its removal.
pub(crate) type BroadcastChange = (BroadcastId, Option<BroadcastVersion>);

/// The versions, as last committed.
#[derive(Debug)]
pub(crate) struct Shown {
    versions: watch::Sender<Option<Arc<BroadcastVersions>>>,
    /// Held while a version is set, so that there are never too many.
    pub(crate) setting: Mutex<()>,
}

impl Shown {
    pub(crate) fn new(versions: BroadcastVersions) -> Self {
        Self { versions: watch::Sender::new(Some(Arc::new(versions))), setting: Mutex::default() }
    }

    /// Watch of the versions.
    pub(crate) fn watch(&self) -> VersionsWatch {
        self.versions.subscribe()
    }

    /// Shows committed changes.
    pub(crate) fn publish(&self, changes: Vec<BroadcastChange>) {
        if changes.is_empty() {
            return;
        }
        self.versions.send_modify(|versions| {
            let mut new = versions.as_deref().cloned().unwrap_or_default();
            for (id, version) in changes {
                new.change(id, version);
            }
            *versions = Some(Arc::new(new));
        });
    }
}
