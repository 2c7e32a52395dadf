//! How a router comes by its partitions, and the part of the log that belongs to each.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_types::{Message, Partition, Sequence};
use tokio::sync::oneshot;

use crate::StoreError;

/// What happens to a router's share of the partitions.
#[derive(Debug)]
pub enum Assignment {
    /// A partition is this router's from now on.
    Gained(Share),
    /// A partition is to be given up. The next owner begins when `done` is dropped or answered, or after a time-out; until
    /// then [`Offsets::commit`] counts. Also said of a partition that is lost already: then commits fail.
    Lost {
        /// Which.
        partition: Partition,
        /// Answered when nothing of it is under way any more.
        done: oneshot::Sender<()>,
    },
}

/// One partition of the log, as its owner has it.
#[derive(Debug)]
pub struct Share {
    /// Which.
    pub partition: Partition,
    /// Where its messages come from.
    pub reader: Box<dyn LogReader>,
    /// Where it is kept how far they have been dealt with.
    pub offsets: Arc<dyn Offsets>,
}

/// Where partitions are shared out among routers.
#[async_trait]
pub trait Assignments: Send + fmt::Debug {
    /// How many partitions there are.
    fn partitions(&self) -> u16;

    /// The next change. `None`: the router has left, and nothing is its own any more. Cancel safe.
    async fn next(&mut self) -> Result<Option<Assignment>, StoreError>;

    /// Begins to leave: every partition is said to be lost, then [`Self::next`] answers `None`.
    fn leave(&self);
}

/// The messages of one partition.
#[async_trait]
pub trait LogReader: Send + fmt::Debug {
    /// Begins at `from`: the messages at and after it come. Once, before the first [`Self::next`].
    async fn seek(&mut self, from: Sequence) -> Result<(), StoreError>;

    /// The next messages, oldest first: at least one, at most `limit`. Waits until there is one. An empty batch: the
    /// partition is lost. Cancel safe.
    async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Message>>, StoreError>;
}

/// How far a partition has been dealt with: kept where the next owner finds it.
#[async_trait]
pub trait Offsets: Send + Sync + fmt::Debug {
    /// What was committed last; `None` when nothing ever was.
    async fn committed(&self) -> Result<Option<Commit>, StoreError>;

    /// Keeps `commit`, in one piece. An error of kind [`crate::ErrorKind::Closed`] means that the partition is another
    /// router's now.
    async fn commit(&self, commit: Commit) -> Result<(), StoreError>;
}

/// How far a partition has been dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Everything before this sequence has ended or is stored.
    pub next: Sequence,
    /// What else the next owner has to know: printable ASCII, at most [`Commit::MAX_NOTE`] octets.
    pub note: String,
}

impl Commit {
    /// The longest note, in octets: what a Kafka broker takes by default is a little more.
    pub const MAX_NOTE: usize = 4000;
}
