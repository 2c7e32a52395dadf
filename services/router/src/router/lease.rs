//! One partition's stay at this router: take-over, work, hand-over. The registry lists the partition only
//! while its worker runs, and `done` is dropped, which lets the next owner begin, only after the state is
//! closed.

use std::sync::Arc;
use std::time::Duration;

use pushgrid_runtime::{Shutdown, spans};
use pushgrid_store::{ErrorKind, NodeLink, PartitionLoader, PartitionState, Share};
use pushgrid_types::Partition;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::account::Counts;
use super::registry::{Owned, PartitionRegistry};
use crate::{PartitionWorker, RouterContext};

/// Deadline of calls under way at a hand-over. The next owner redelivers the unfinished.
const FINISH: Duration = Duration::from_secs(3);

/// Dependencies of every lease of a router.
#[derive(Debug)]
pub(super) struct LeaseDeps {
    pub(super) context: Arc<RouterContext>,
    pub(super) loader: Arc<dyn PartitionLoader>,
    pub(super) nodes: Arc<dyn NodeLink>,
    pub(super) registry: PartitionRegistry,
}

/// One partition, from gain to hand-over.
#[derive(Debug)]
pub(super) struct PartitionLease {
    deps: Arc<LeaseDeps>,
    partition: Partition,
    given_up: oneshot::Receiver<oneshot::Sender<()>>,
}

impl PartitionLease {
    pub(super) fn new(
        deps: Arc<LeaseDeps>,
        partition: Partition,
        given_up: oneshot::Receiver<oneshot::Sender<()>>,
    ) -> Self {
        Self { deps, partition, given_up }
    }

    /// Takes the partition over, runs its worker, and hands it on. To be run in the span of the partition.
    pub(super) async fn run(mut self, share: Share) {
        let taken = tokio::select! {
            taken = self.deps.loader.take_over(share) => taken,
            // Dropping the sender tells the assignment that nothing is held.
            _ = &mut self.given_up => return,
        };
        match taken {
            Ok(state) => {
                spans::leads(state.leader_epoch);
                tracing::info!("the partition is served here");
                Box::pin(self.own(state)).await;
            }
            Err(error) if error.kind == ErrorKind::Closed => {
                tracing::info!("the partition was another router's before it was taken over");
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "the partition cannot be taken over: its messages wait");
            }
        }
    }

    async fn own(mut self, state: PartitionState) {
        let LeaseDeps { context, nodes, registry, .. } = &*self.deps;
        let (partition, leader_epoch) = (self.partition, state.leader_epoch);
        let lifecycle = state.lifecycle.clone();
        let (router, handle) = PartitionWorker::new(context, state, nodes.clone());
        let counted = lifecycle.account();
        registry.enter(partition, Owned { leader_epoch, handle, lifecycle: lifecycle.clone(), counted });
        let shutdown = Shutdown::new();
        let mut running = std::pin::pin!(router.run(shutdown.clone()));
        let done = tokio::select! {
            failed = &mut running => {
                if let Err(error) = failed {
                    tracing::error!(%error, "the partition has failed");
                }
                None
            }
            () = lifecycle.ended() => {
                tracing::info!("another router has the partition");
                None
            }
            done = &mut self.given_up => done.ok(),
        };
        // Callers no longer find the partition; calls already in its queue are answered or turned away.
        let owned = registry.leave(partition, leader_epoch);
        if done.is_some() {
            shutdown.drain();
            if timeout(FINISH, running).await.is_err() {
                tracing::warn!("calls were unfinished at the deadline; the next owner repeats them");
            }
        }
        lifecycle.close().await;
        if let Some(mut owned) = owned {
            Counts::new(&context.meter).catch_up(&mut owned);
        }
        tracing::info!("the partition is given up");
        drop(done);
    }
}
