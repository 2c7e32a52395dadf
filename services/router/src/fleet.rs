//! The partitions of one router process: each that it is assigned is taken over, run by a [`crate::Router`] of its own, and
//! handed on.
//!
//! A partition's way: `Assignments` says that it is gained; [`Keeper::take_over`] makes its state ready; it goes into
//! the `table`, where callers find it, and the nodes are asked for its sessions; when it is to be given up it leaves the
//! table, what is under way is finished, its state is closed, and the next owner may begin.

mod account;
mod hold;
mod keeper;
mod table;

use std::collections::HashMap;
use std::sync::Arc;

use pushgrid_crypto::EndpointTokens;
use pushgrid_runtime::Shutdown;
use pushgrid_runtime::metrics::{self, Meter};
use pushgrid_store::{Assignment, Assignments, NodeLink, StoreError};
use pushgrid_types::{Clock, Partition, Rng};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::Config;
use hold::{Hold, Holding};
pub use keeper::{Estate, Keeper, Life};
pub use table::Table;

/// What a fleet of partitions works with.
#[derive(Debug)]
pub struct FleetDeps {
    /// Which partitions are this router's.
    pub assignments: Box<dyn Assignments>,
    /// Makes the state of a partition ready.
    pub keeper: Arc<dyn Keeper>,
    /// The way to the sockets.
    pub nodes: Arc<dyn NodeLink>,
    /// Seals endpoints.
    pub tokens: EndpointTokens,
    /// What endpoints begin with: an origin without a slash at its end.
    pub public_url: String,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where new identifiers come from.
    pub rng: Arc<dyn Rng>,
    /// Where its figures go.
    pub meter: Meter,
}

/// Why a fleet gave up.
#[derive(Debug, thiserror::Error)]
pub enum FleetFailure {
    /// Partitions are not assigned any more.
    #[error("the router lost touch with the log")]
    Assignments(#[source] StoreError),
}

/// All partitions of a router process, built and not yet running.
#[derive(Debug)]
pub struct Fleet {
    assignments: Box<dyn Assignments>,
    hold: Arc<Hold>,
}

impl Fleet {
    /// Builds a fleet that owns nothing yet, and the way to its partitions. `changed` is called whenever what is owned has
    /// changed, for others to be told.
    pub fn new(config: Config, deps: FleetDeps, changed: impl Fn() + Send + Sync + 'static) -> (Self, Table) {
        let table = Table::new(deps.assignments.partitions(), deps.nodes.clone(), Box::new(changed));
        account::publish(&deps.meter, &table);
        let hold = Hold {
            config,
            keeper: deps.keeper,
            nodes: deps.nodes,
            tokens: deps.tokens,
            public_url: deps.public_url,
            clock: deps.clock,
            rng: deps.rng,
            meter: deps.meter,
            table: table.clone(),
        };
        (Self { assignments: deps.assignments, hold: Arc::new(hold) }, table)
    }

    /// Runs until `shutdown` drains; then every partition is handed over. When `shutdown` stops, what is left is dropped:
    /// the next owner goes on from what was committed.
    pub async fn run(mut self, shutdown: Shutdown) -> Result<(), FleetFailure> {
        let takeovers = self.hold.meter.counter(&metrics::ROUTER_TAKEOVERS, &[]);
        let mut held: HashMap<Partition, oneshot::Sender<oneshot::Sender<()>>> = HashMap::new();
        let mut holdings = JoinSet::new();
        let mut leaving = false;
        loop {
            tokio::select! {
                assignment = self.assignments.next() => match assignment.map_err(FleetFailure::Assignments)? {
                    Some(Assignment::Gained(share)) => {
                        takeovers.increment(1);
                        let (give_up, told) = oneshot::channel();
                        held.insert(share.partition, give_up);
                        holdings.spawn(Holding::new(self.hold.clone(), share.partition, told).run(share));
                    }
                    Some(Assignment::Lost { partition, done }) => {
                        // Dropped when the partition has ended by itself: then there is nothing to wait for.
                        if let Some(give_up) = held.remove(&partition) {
                            let _ = give_up.send(done);
                        }
                    }
                    None => break,
                },
                Some(_) = holdings.join_next(), if !holdings.is_empty() => {}
                () = shutdown.draining(), if !leaving => {
                    leaving = true;
                    tracing::info!(partitions = held.len(), "handing the partitions over");
                    self.assignments.leave();
                }
                () = shutdown.stopping() => break,
            }
        }
        holdings.shutdown().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
