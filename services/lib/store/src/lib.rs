//! The seams between the services and their state: small traits, each with a guarantee.
//!
//! A message's life across the seams, in order: [`EventLog::append`] makes the message durable and gives it a
//! sequence; [`LogConsumer::next`] hands it to the router; the message ends there ([`LogConsumer::settle`])
//! or waits in the [`Mailbox`] until a session takes it. [`Subscriptions`] knows the receivers, [`Presence`]
//! the node of each. [`NodeLink`] and [`RouterLink`] are the two directions between a router and a connection
//! node, [`IngressLink`] carries the questions of an ingress to a router, and by [`OwnershipLink`] nodes hear
//! of the owner of each partition. The state of a partition, for the owning router, is one
//! [`PartitionState`], made by a [`PartitionLoader`] of the partition's [`Share`] of the log. [`Broadcasts`] are
//! apart from all messages.
//!
//! Not here: any driver. Each lives in an adapter crate of its own. The models are in `lib/store-model`, with
//! the one suite for every adapter and every model.
//!
//! Invariant: not found is `Ok(None)`, never an error.
//! Invariant: every batch is bounded by its caller, every page by its `limit`.

mod assignment;
mod broadcasts;
mod changelog;
mod directory;
mod ends;
mod error;
mod ledger;
mod links;
mod log;
mod mailbox;
mod membership;
mod partition;
mod presence;
mod subscriptions;
mod view;

pub use assignment::{Assignment, Assignments, Commit, LogReader, Offsets, Share};
pub use broadcasts::{BroadcastNotSet, BroadcastVersions, Broadcasts, VersionsWatch};
pub use changelog::{
    Change, Changelog, ChangelogRecord, Entry, History, Reading, RecordKey, StoredMessage, Unreadable,
    UnreadableCause,
};
pub use directory::{Directory, OwnDirectory};
pub use ends::{End, EndFeed, Ends};
pub use error::{ErrorKind, StoreError};
pub use ledger::{Ledger, LedgerSnapshot};
pub use links::{
    Cancelled, Eviction, Held, IngressLink, LinkError, NodeLink, NotDelivered, Opened, OwnershipLink,
    ReceiptLink, Registered, Resource, ResourceLink, RouterLink, SessionEvents, Sessions, Settlement,
    Standing,
};
pub use log::{EventLog, Flushing, LogConsumer, LogEnd};
pub use mailbox::{Mailbox, Page, PageLimit, PageStart, Stored, Usage};
pub use membership::{Member, Membership, Renewed, Role, Strange};
pub use partition::{PartitionLifecycle, PartitionLoader, PartitionState};
pub use presence::{Claim, Presence};
pub use subscriptions::{Subscription, Subscriptions, SweepPlace};
pub use view::{ReadBarrier, Stamp, View, ViewError};
