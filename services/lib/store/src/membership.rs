use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use pushgrid_types::{NodeId, Partition};

use crate::StoreError;

/// A process that others have to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// This life of it.
    pub id: NodeId,
    /// What it does.
    pub role: Role,
    /// Where its gRPC is: `host:port`.
    pub address: String,
    /// It is about to go: nothing new is to be sent its way.
    pub draining: bool,
}

/// What a member does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// It owns partitions.
    Router {
        /// Which, at the moment, each by its tenure: of two routers that name one, the one with the higher tenure has it.
        owns: Vec<(Partition, pushgrid_types::Tenure)>,
        /// How many there are in all.
        of: u16,
    },
    /// It holds sockets.
    Connection,
}

/// Who is there. Each member keeps a lease; one that does not renew it is gone.
#[async_trait]
pub trait Membership: Send + Sync + fmt::Debug {
    /// Renews the lease of `me` (an ingress has none) for `lease` from now, with what it says of itself, and answers
    /// all members whose lease has not run out, `me` among them. One round trip.
    async fn renew(&self, me: Option<&Member>, lease: Duration) -> Result<Vec<Member>, StoreError>;

    /// Gives the lease of `id` up.
    async fn leave(&self, id: NodeId) -> Result<(), StoreError>;
}
