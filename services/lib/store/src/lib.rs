//! The seams between the services and what keeps their state: small traits, each with its guarantee.
//!
//! A message's life across them, in order: [`EventLog::append`] makes it durable and gives it its place;
//! [`LogConsumer::next`] hands it to the router; it ends there ([`LogConsumer::settle`]) or waits in the
//! [`Mailbox`] until a session takes it. [`Subscriptions`] knows who may receive, [`Presence`] where they are.
//! [`NodeLink`] and [`RouterLink`] are the two directions between a router and a connection node.
//!
//! What is not here: any driver. Each lives in an adapter crate of its own. [`memory`] holds the models, and
//! [`conformance`] the one suite that every adapter and every model runs.
//!
//! Invariant: not found is `Ok(None)`, never an error.
//! Invariant: every batch is bounded by its caller, every page by its `limit`.

mod assignment;
mod changelog;
pub mod conformance;
mod directory;
mod error;
mod ledger;
mod links;
mod log;
mod mailbox;
mod membership;
pub mod memory;
mod presence;
mod subscriptions;
mod view;

pub use assignment::{Assignment, Assignments, Commit, LogReader, Offsets, Share};
pub use changelog::{Change, Changelog, Entry, Reading, StoredMessage};
pub use directory::{Directory, OwnDirectory};
pub use error::{ErrorKind, StoreError};
pub use ledger::{Ledger, LedgerSnapshot};
pub use links::{
    Cancelled, Eviction, Held, LinkError, NodeLink, NotDelivered, Opened, Registered, RouterLink,
    SessionEvents, Sessions, Settlement,
};
pub use log::{EventLog, LogConsumer};
pub use mailbox::{Mailbox, PageLimit, Stored, Usage};
pub use membership::{Member, Membership, Role};
pub use presence::{Claim, Presence};
pub use subscriptions::{Subscription, Subscriptions};
pub use view::{Footing, View, ViewError};
