//! The partitions of one router process: each assigned partition is taken over, run by a
//! [`crate::PartitionWorker`] of its own, and handed on.
//!
//! Life of a partition: [`Assignments`] reports a gain; [`PartitionLoader::take_over`] loads the state; the
//! partition enters the `registry`, where callers find it, and the nodes announce its sessions. After a loss
//! the partition leaves the registry, calls under way are finished, the state is closed, and the next owner
//! may begin.

mod account;
mod lease;
mod registry;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use pushgrid_runtime::{Shutdown, metrics, spans};
use pushgrid_store::{Assignment, Assignments, OwnershipLink, PartitionLoader, StoreError};
use pushgrid_types::Partition;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::RouterContext;
use lease::{LeaseDeps, PartitionLease};
pub use registry::PartitionRegistry;

/// Seams of a [`Router`], beside its [`RouterContext`].
pub struct RouterDeps {
    /// Assignment of partitions to this router.
    pub assignments: Box<dyn Assignments>,
    /// Loads the state of a gained partition.
    pub loader: Arc<dyn PartitionLoader>,
    /// Link to the connection nodes.
    pub nodes: Arc<dyn OwnershipLink>,
    /// Called after each change of the owned partitions.
    pub changed: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for RouterDeps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouterDeps").finish_non_exhaustive()
    }
}

/// Failures that end a router.
#[derive(Debug, thiserror::Error)]
pub enum RouterFailure {
    /// The assignment of partitions failed for good.
    #[error("the router lost touch with the log")]
    Assignments(#[source] StoreError),
}

/// All partitions of a router process, built and not yet running.
#[derive(Debug)]
pub struct Router {
    assignments: Box<dyn Assignments>,
    leases: Arc<LeaseDeps>,
}

impl Router {
    /// Builds a router without partitions, and the registry of its partitions.
    pub fn new(context: Arc<RouterContext>, deps: RouterDeps) -> (Self, PartitionRegistry) {
        let RouterDeps { assignments, loader, nodes, changed } = deps;
        let registry = PartitionRegistry::new(assignments.partitions(), nodes.clone(), changed);
        account::publish(&context.meter, &registry);
        let leases = LeaseDeps { context, loader, nodes, registry: registry.clone() };
        (Self { assignments, leases: Arc::new(leases) }, registry)
    }

    /// Runs until `shutdown` drains and every partition is handed over. Once `shutdown` stops, remaining
    /// partitions are dropped, and the next owner goes on from the committed offsets.
    ///
    /// Errors: [`RouterFailure::Assignments`] when the assignment ends with an error.
    pub async fn run(mut self, shutdown: Shutdown) -> Result<(), RouterFailure> {
        let takeovers = self.leases.context.meter.counter(&metrics::ROUTER_TAKEOVERS, &[]);
        let mut held: HashMap<Partition, oneshot::Sender<oneshot::Sender<()>>> = HashMap::new();
        let mut leases = JoinSet::new();
        let mut leaving = false;
        loop {
            tokio::select! {
                assignment = self.assignments.next() => match assignment.map_err(RouterFailure::Assignments)? {
                    Some(Assignment::Gained(share)) => {
                        takeovers.increment(1);
                        let (give_up, told) = oneshot::channel();
                        held.insert(share.partition, give_up);
                        let span = spans::partition(share.partition);
                        let lease = PartitionLease::new(self.leases.clone(), share.partition, told);
                        leases.spawn(lease.run(share).instrument(span));
                    }
                    Some(Assignment::Lost { partition, done }) => {
                        // Dropped when the partition has ended by itself: then there is nothing to wait for.
                        if let Some(give_up) = held.remove(&partition) {
                            let _ = give_up.send(done);
                        }
                    }
                    None => break,
                },
                Some(_) = leases.join_next(), if !leases.is_empty() => {}
                () = shutdown.draining(), if !leaving => {
                    leaving = true;
                    tracing::info!(partitions = held.len(), "handing the partitions over");
                    self.assignments.leave();
                }
                () = shutdown.stopping() => break,
            }
        }
        leases.shutdown().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
