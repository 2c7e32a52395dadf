//! The models: every seam in memory, exact and plain.
//!
//! They say what the contracts mean, so that an adapter can be compared with them, and they let a service be tested
//! without a disk. Nothing of them outlives the process, but [`Memory::reopened`] plays the next life of one.
//! [`MemoryPresence`] is more than a model: a presence is lost with its process anyway, so one process uses it.
//!
//! [`Memory`] is what one process needs. What a cluster is made of stands apart, each with faults to play:
//! [`MemoryPartitionLog`], [`MemoryChangelog`] and [`MemoryView`].
//!
//! Invariant: one lock guards log, mailbox, subscriptions and account, so every change is seen whole or not at all.
//! Invariant: at most [`MAX_PENDING`] messages are held.

mod changelog;
mod log;
mod mailbox;
mod partition_log;
mod presence;
mod state;
mod subscriptions;
mod view;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

pub use changelog::{AppendFault, MemoryChangelog};
pub use log::{MemoryConsumer, MemoryLog};
pub use mailbox::MemoryMailbox;
pub use partition_log::MemoryPartitionLog;
pub use presence::MemoryPresence;
pub use subscriptions::MemorySubscriptions;
pub use view::MemoryView;

use crate::Ledger;
use state::State;

/// How many messages the models hold before an append is refused as [`crate::ErrorKind::Unavailable`]: more than
/// any test needs, and less than a laptop has room for.
pub const MAX_PENDING: usize = 1 << 20;

/// Log, mailbox, subscriptions and account over one state. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Memory {
    shared: Arc<Shared>,
}

/// What the models have in common.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes consumers when a message arrives or the log closes.
    arrived: Notify,
}

impl Shared {
    /// A poisoned lock is taken as it is: a model that panicked has failed its test already.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// Empty models.
    pub fn new() -> Self {
        Self::with(State::default())
    }

    fn with(state: State) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::new(state), arrived: Notify::new() }) }
    }

    /// The log.
    pub fn log(&self) -> MemoryLog {
        MemoryLog::over(Arc::clone(&self.shared))
    }

    /// The router's side of the log. Each consumer begins with the oldest message that has not ended, as the next
    /// life of a router would; use one at a time.
    pub fn consumer(&self) -> MemoryConsumer {
        MemoryConsumer::over(Arc::clone(&self.shared))
    }

    /// The mailbox.
    pub fn mailbox(&self) -> MemoryMailbox {
        MemoryMailbox::over(Arc::clone(&self.shared))
    }

    /// The subscriptions.
    pub fn subscriptions(&self) -> MemorySubscriptions {
        MemorySubscriptions::over(Arc::clone(&self.shared))
    }

    /// The account of what was accepted and how it ended.
    pub fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.shared.lock().ledger)
    }

    /// Refuses everything from now on; the consumer still hands out what the log holds.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.arrived.notify_waiters();
    }

    /// Closes these models and opens new ones on what they hold, as the next life of a process would.
    #[must_use]
    pub fn reopened(&self) -> Self {
        self.close();
        Self::with(self.shared.lock().next_life())
    }
}

#[cfg(test)]
mod tests;
