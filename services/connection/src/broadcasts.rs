//! Broadcasts of a node: the versions that are now, and the ids for which each connection asks. Changes are brought to the
//! connections by `spread`.
//!
//! A connection has a set of ids, shared with all connections that ask for the same ones, and a mark for each id whose
//! version is to be sent to it (*due*). The version is looked up when there is room to send it, so a user agent gets the
//! newest.

use std::sync::Arc;

use pushgrid_runtime::metrics::{BROADCASTS, Meter};
use pushgrid_store::{BroadcastVersions, VersionsWatch};
use pushgrid_types::cast::saturating;
use pushgrid_types::{AskedBroadcast, BroadcastId, BroadcastVersion};

use crate::asked::Table;
use crate::send_queue::SendQueue;

pub(crate) mod admin;

#[cfg(test)]
mod tests;

/// The broadcasts as all connections of a node see them.
#[derive(Debug)]
pub(crate) struct Broadcasts {
    /// `None` if there are none on this node.
    versions: Option<VersionsWatch>,
    table: Table,
}

/// Answer to a user agent that asks for broadcasts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Versions that the user agent does not have.
    pub(crate) versions: Vec<(BroadcastId, BroadcastVersion)>,
    /// Ids that it asked for, and that have no version.
    pub(crate) unknown: Vec<String>,
    /// Ids beyond those that one connection may ask for.
    pub(crate) refused: Vec<String>,
}

impl Told {
    pub(crate) fn is_empty(&self) -> bool {
        self.versions.is_empty() && self.unknown.is_empty() && self.refused.is_empty()
    }
}

impl Broadcasts {
    /// Shows the number of broadcasts in `meter`.
    pub(crate) fn new(versions: Option<VersionsWatch>, meter: &Meter) -> Self {
        let (count, shown) = (meter.gauge(&BROADCASTS, &[]), versions.clone());
        meter.on_scrape(move || {
            let known = shown.as_ref().and_then(|shown| shown.borrow().clone());
            count.set(known.map_or(0.0, |known| f64::from(saturating::<u32>(known.iter().len()))));
        });
        Self { versions, table: Table::default() }
    }

    /// Notes that a connection asks for broadcasts, those without a version too, and marks those of which it has not
    /// the version that is now. [`Told::versions`] of the answer is empty: see [`Self::take_due`].
    pub(crate) fn ask(&self, queue: &SendQueue, broadcasts: Vec<AskedBroadcast>) -> Told {
        let mut told = Told::default();
        // First the note, then the look: a change in between is marked by whoever spreads it.
        let mut ids = Vec::new();
        let mut asked = Vec::new();
        for broadcast in broadcasts {
            match broadcast.id.parse::<BroadcastId>() {
                Ok(id) => {
                    ids.push(id.clone());
                    asked.push((id, broadcast.known));
                }
                Err(_) => told.unknown.push(broadcast.id),
            }
        }
        if ids.is_empty() {
            return told;
        }
        queue.ask_for_broadcasts(|present| self.table.with(present, &ids));
        let versions = self.now();
        for (id, known) in asked {
            let newest = versions.get(id.as_str()).map(|(_, version)| version);
            let is_new = newest.is_some_and(|version| known.as_deref() != Some(version.as_str()));
            match (queue.is_asked(&id), newest) {
                (false, _) => told.refused.push(id.to_string()),
                (true, None) => told.unknown.push(id.to_string()),
                (true, Some(_)) if is_new => queue.mark_broadcast(&id),
                (true, Some(_)) => {}
            }
        }
        told
    }

    /// Versions that are due at a connection, which are not due any more. A removed broadcast has none.
    pub(crate) fn take_due(&self, queue: &SendQueue) -> Vec<(BroadcastId, BroadcastVersion)> {
        let due = queue.take_due_broadcasts();
        if due.is_empty() {
            return Vec::new();
        }
        let versions = self.now();
        let of =
            |id: BroadcastId| versions.get(id.as_str()).map(|(id, version)| (id.clone(), version.clone()));
        due.into_iter().filter_map(of).collect()
    }

    /// Watch of the versions; `None` if there are none on this node.
    pub(crate) fn watch(&self) -> Option<VersionsWatch> {
        self.versions.clone()
    }

    /// All versions; none before they are known.
    fn now(&self) -> Arc<BroadcastVersions> {
        self.versions.as_ref().and_then(|versions| versions.borrow().clone()).unwrap_or_default()
    }
}
