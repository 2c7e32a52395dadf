use std::sync::Arc;
use std::time::Duration;

use pushgrid_crypto::EndpointTokens;
use pushgrid_runtime::Shutdown;
use pushgrid_runtime::metrics::Meter;
use pushgrid_store::{ErrorKind, NodeLink, Share};
use pushgrid_types::{Clock, Partition, Rng};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::account::Counts;
use super::keeper::{Estate, Keeper};
use super::table::{Owned, Table};
use crate::Config;
use crate::worker::{Deps, Router};

/// How long what is under way may take to end when a partition is handed over. The rest comes again at the next owner.
const FINISH: Duration = Duration::from_secs(3);

/// What all partitions are held with.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) config: Config,
    pub(super) keeper: Arc<dyn Keeper>,
    pub(super) nodes: Arc<dyn NodeLink>,
    pub(super) tokens: EndpointTokens,
    pub(super) public_url: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rng: Arc<dyn Rng>,
    pub(super) meter: Meter,
    pub(super) table: Table,
}

/// One partition, from when it is gained until it is given up.
#[derive(Debug)]
pub(super) struct Holding {
    hold: Arc<Hold>,
    partition: Partition,
    given_up: oneshot::Receiver<oneshot::Sender<()>>,
}

impl Holding {
    pub(super) fn new(
        hold: Arc<Hold>,
        partition: Partition,
        given_up: oneshot::Receiver<oneshot::Sender<()>>,
    ) -> Self {
        Self { hold, partition, given_up }
    }

    /// Takes the partition over, runs it, and hands it on.
    pub(super) async fn run(mut self, share: Share) {
        let partition = self.partition.0;
        let taken = tokio::select! {
            taken = self.hold.keeper.take_over(share) => taken,
            // Whoever is to be told learns it as the sender is dropped.
            _ = &mut self.given_up => return,
        };
        match taken {
            Ok(estate) => {
                tracing::info!(partition, tenure = estate.tenure.0, "a partition is taken over");
                Box::pin(self.own(estate)).await;
            }
            Err(error) if error.kind == ErrorKind::Closed => {
                tracing::info!(partition, "a partition was another router's before it was taken over");
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(partition, error, "a partition cannot be taken over: its messages wait");
            }
        }
    }

    async fn own(mut self, estate: Estate) {
        let Self { hold, partition, .. } = &self;
        let partition = *partition;
        let (router, handle) = Router::new(
            hold.config.clone(),
            Deps {
                consumer: estate.consumer,
                mailbox: estate.mailbox,
                subscriptions: estate.subscriptions,
                presence: estate.presence,
                nodes: hold.nodes.clone(),
                tokens: hold.tokens.clone(),
                public_url: hold.public_url.clone(),
                clock: hold.clock.clone(),
                rng: hold.rng.clone(),
                meter: hold.meter.clone(),
            },
        );
        let counted = estate.life.account();
        let owned = Owned { tenure: estate.tenure, handle, life: estate.life.clone(), counted };
        hold.table.enter(partition, owned);
        let shutdown = Shutdown::new();
        let mut running = std::pin::pin!(router.run(shutdown.clone()));
        let done = tokio::select! {
            failed = &mut running => {
                if let Err(error) = failed {
                    tracing::error!(partition = partition.0, %error, "a partition has failed");
                }
                None
            }
            () = estate.life.ended() => {
                tracing::info!(partition = partition.0, "another router has the partition");
                None
            }
            done = &mut self.given_up => done.ok(),
        };
        // From here on nobody finds the partition; those who have found it already are answered or turned away.
        let owned = self.hold.table.leave(partition, estate.tenure);
        if done.is_some() {
            shutdown.drain();
            if timeout(FINISH, running).await.is_err() {
                tracing::warn!(
                    partition = partition.0,
                    "not all was finished in time; the next owner does it"
                );
            }
        }
        estate.life.close().await;
        if let Some(mut owned) = owned {
            Counts::new(&self.hold.meter).catch_up(&mut owned);
        }
        tracing::info!(partition = partition.0, "a partition is given up");
        drop(done);
    }
}
