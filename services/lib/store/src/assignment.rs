//! Assignment of partitions to routers, and the part of the log that comes with each: messages in, offsets
//! out.
//!
//! Invariant: once a partition is another router's, commits of its offsets fail. Fencing of the changelog and
//! the view is by leader epoch, not by this assignment.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_types::{Message, Partition, Sequence};
use tokio::sync::oneshot;

use crate::StoreError;

/// Change of a router's share of the partitions: the rebalance of a consumer group, one partition at a time.
#[derive(Debug)]
pub enum Assignment {
    /// A partition is this router's from now on.
    Gained(Share),
    /// A partition is to be given up. The next owner begins when `done` is dropped or answered, or after a
    /// time-out; until then [`Offsets::commit`] succeeds. Also sent for a partition that is lost already:
    /// then commits fail.
    Lost {
        /// The partition to give up.
        partition: Partition,
        /// Answered once nothing of the partition is under way any more.
        done: oneshot::Sender<()>,
    },
}

/// One partition of the log, as handed to its owner.
#[derive(Debug)]
pub struct Share {
    /// The partition.
    pub partition: Partition,
    /// Reader of the partition's messages.
    pub reader: Box<dyn LogReader>,
    /// Offsets of the partition, to be committed by the owner alone.
    pub offsets: Arc<dyn Offsets>,
}

/// The assignment of partitions to routers: membership in a consumer group.
#[async_trait]
pub trait Assignments: Send + fmt::Debug {
    /// Number of partitions, the same for every router.
    fn partitions(&self) -> u16;

    /// The next change. `None` once the router has left: nothing is owned any more. Cancel safe.
    async fn next(&mut self) -> Result<Option<Assignment>, StoreError>;

    /// Begins to leave: every partition is reported as lost, then [`Self::next`] returns `None`.
    fn leave(&self);
}

/// The messages of one partition.
#[async_trait]
pub trait LogReader: Send + fmt::Debug {
    /// Begins at `from`: the messages from there on come. Called once, before the first [`Self::next`].
    /// Returns the sequence after the last message in the log at the time of the call, or a later one.
    async fn seek(&mut self, from: Sequence) -> Result<Sequence, StoreError>;

    /// The next messages, oldest first, at most `limit`. Waits for a message, or for an entry in
    /// [`Self::newer`]. An empty batch with no such entry: the partition is lost. Cancel safe.
    async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Message>>, StoreError>;

    /// Sequences that the log has lost, rising: their messages were due among or before those that
    /// [`Self::next`] has returned since the last call.
    fn take_lost(&mut self) -> Vec<Range<Sequence>>;

    /// Sequences of messages accepted by a newer release and unreadable here, among all that [`Self::next`]
    /// has passed since the last call. Such messages are still pending: an owner of the newer release must
    /// find them in the log.
    fn newer(&mut self) -> Vec<Sequence> {
        Vec::new()
    }
}

/// Committed offsets of a partition, kept for the next owner.
#[async_trait]
pub trait Offsets: Send + Sync + fmt::Debug {
    /// The last commit; `None` before the first.
    async fn committed(&self) -> Result<Option<Commit>, StoreError>;

    /// The sequence of the next message to be accepted, as of now.
    async fn end(&self) -> Result<Sequence, StoreError>;

    /// Commits offset and note in one piece. An error of kind [`crate::ErrorKind::Closed`] means that another
    /// router owns the partition.
    async fn commit(&self, commit: Commit) -> Result<(), StoreError>;
}

/// Committed progress of a partition: offset and offset metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Every message before this sequence has ended or is stored.
    pub next: Sequence,
    /// Offset metadata for the next owner: printable ASCII, at most [`Commit::MAX_NOTE`] octets.
    pub note: String,
}

impl Commit {
    /// Longest note, in octets; a little below the default limit of a Kafka broker.
    pub const MAX_NOTE: usize = 4000;
}
