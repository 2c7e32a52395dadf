use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use pushgrid_store::StoreError;
use pushgrid_types::{LeaderEpoch, Position};

use crate::context::PartitionContext;

/// Claim of a failed take-over, kept for the next attempt. Clones share one claim; one value is for one
/// partition in one process.
///
/// Claims are never compacted, so repeated attempts must not leave one each. Reuse is safe because the claim
/// is as good as new: the attempt ended without handing the leader epoch to anybody, sent nothing to the
/// changelog under it, and nothing stands after the claim.
#[derive(Debug, Clone, Default)]
pub struct SpareClaim(Arc<Mutex<Option<LeaderEpoch>>>);

impl SpareClaim {
    pub(crate) fn keep(&self, leader_epoch: LeaderEpoch) {
        *self.lock() = Some(leader_epoch);
    }

    /// Takes the claim out if it is the last record of the changelog. An error leaves it in place.
    pub(crate) async fn still_last(
        &self,
        context: &PartitionContext,
    ) -> Result<Option<LeaderEpoch>, StoreError> {
        let Some(leader_epoch) = *self.lock() else { return Ok(None) };
        // A claim stands one place before the number of its leader epoch.
        let after = Position(leader_epoch.0);
        let end = context.changelog.read(context.partition, after).await?.end();
        *self.lock() = None;
        Ok((end == after).then_some(leader_epoch))
    }

    fn lock(&self) -> MutexGuard<'_, Option<LeaderEpoch>> {
        self.0.lock()
    }
}
