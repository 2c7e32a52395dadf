//! Membership: which routers and connection nodes are alive, by leases, with the clocks of each.
//!
//! Invariant: a member without a live lease is in no answer. Ownership in a member's entry only routes calls;
//! fencing is by leader epoch.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use pushgrid_types::{ClockOffset, ClockVote, NodeId, Partition};

use crate::StoreError;

/// Entry of a process that others have to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Random id of this life of the process.
    pub id: NodeId,
    /// Role of the process.
    pub role: Role,
    /// Address of the gRPC server: `host:port`.
    pub address: String,
    /// True while the process drains: no new calls or sessions are to be sent there.
    pub draining: bool,
}

/// Role of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// A router, which owns partitions.
    Router {
        /// Partitions owned now, each with the leader epoch. Of two routers that name one partition, the one
        /// with the higher leader epoch owns the partition.
        owns: Vec<(Partition, pushgrid_types::LeaderEpoch)>,
        /// Number of partitions of the grid.
        of: u16,
    },
    /// A connection node, which holds sockets.
    Connection,
}

/// Answer to a renewal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Renewed {
    /// All members with a live lease.
    pub members: Vec<Member>,
    /// Clocks of the members that report theirs.
    pub votes: Vec<ClockVote>,
    /// Number of members of a release without clock reports. A member that has not reported yet, but will, is
    /// not counted.
    pub without_vote: usize,
    /// The last reported judging clock of any member, at whatever time in the past.
    pub line: Option<ClockOffset>,
    /// Time of the lease keeper's clock at the answer, since 1970.
    pub time: Duration,
    /// Entries that could not be read.
    pub strange: Strange,
}

/// Entries among the members that could not be read: foreign, damaged, or of a newer release.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Strange {
    /// Number of entries without a readable lease, removed by this renewal.
    pub removed: u64,
    /// Entries passed over until their leases end: the name, and the reason.
    pub passed_over: Vec<(NodeId, &'static str)>,
}

/// The members of a grid. Each keeps a lease by renewing; one that stops is gone when the lease ends.
#[async_trait]
pub trait Membership: Send + Sync + fmt::Debug {
    /// Renews the lease of `me` (an ingress has none) for `lease` from now, with the member's entry and, once
    /// known, the member's clocks. Returns all members with a live lease, `me` among them. One round trip.
    ///
    /// Guarantee: an unreadable entry, whoever wrote it, hides no other member. The entry is removed when its
    /// lease ends, at once when there is none.
    async fn renew(
        &self,
        me: Option<&Member>,
        vote: Option<ClockVote>,
        lease: Duration,
    ) -> Result<Renewed, StoreError>;

    /// Ends the lease of `id`, so that others see the member gone at once.
    async fn leave(&self, id: NodeId) -> Result<(), StoreError>;
}
