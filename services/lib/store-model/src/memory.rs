//! The models: every seam in memory, exact and plain.
//!
//! The models state the meaning of the contracts, for comparison with an adapter, and let a service be tested
//! without a disk. Nothing in a model outlives the process, but [`Memory::reopened`] plays the next life of
//! one.
//!
//! [`Memory`] is everything for one process. The parts of a cluster stand apart, each with faults to play:
//! [`MemoryPartitionLog`], [`MemoryChangelog`] and [`MemoryView`].
//!
//! Invariant: one lock guards log, mailbox, subscriptions and account, so every change is seen whole or not
//! at all.
//! Invariant: at most [`MAX_PENDING`] messages are held.

mod broadcasts;
mod changelog;
mod log;
mod mailbox;
mod partition_log;
mod presence;
mod state;
mod subscriptions;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use pushgrid_types::{ChannelId, Message, Timestamp, UserAgentId};
use tokio::sync::Notify;

pub use broadcasts::MemoryBroadcasts;
pub use changelog::{AppendFault, MemoryChangelog};
pub use log::{MemoryConsumer, MemoryLog};
pub use mailbox::MemoryMailbox;
pub use partition_log::MemoryPartitionLog;
pub use presence::MemoryPresence;
pub use subscriptions::MemorySubscriptions;
pub use view::MemoryView;

use pushgrid_store::{EndFeed, Ledger, Page, PageLimit, PageStart, Subscription, SweepPlace};
use state::State;

/// Most messages in the models before an append is refused as [`pushgrid_store::ErrorKind::Unavailable`]:
/// more than any test needs, and less than a laptop has room for.
pub const MAX_PENDING: usize = 1 << 20;

/// User agents of one call of a sweep: few, so that a check needs several.
const SWEPT: usize = 3;

/// Log, mailbox, subscriptions and account over one state. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Memory {
    shared: Arc<Shared>,
}

/// State common to the models.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes consumers when a message arrives or the log closes.
    arrived: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
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

    /// Empty models, with a subscriber to all ends.
    pub fn telling(ends: EndFeed) -> Self {
        Self::with(State::telling(ends))
    }

    fn with(state: State) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::new(state), arrived: Notify::new() }) }
    }

    /// The log.
    pub fn log(&self) -> MemoryLog {
        MemoryLog::over(Arc::clone(&self.shared))
    }

    /// The router's side of the log. Each consumer begins with the oldest open message, as the next life of a
    /// router would; use one at a time.
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

    /// The account of accepted and ended messages.
    pub fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.shared.lock().ledger)
    }

    /// Refuses everything from now on; the consumer still hands out the rest of the log.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.arrived.notify_waiters();
    }

    /// Closes these models and opens new ones on the same state, as the next life of a process would.
    #[must_use]
    pub fn reopened(&self) -> Self {
        self.close();
        Self::with(self.shared.lock().next_life())
    }
}

#[cfg(test)]
mod tests;

/// Page of the messages that `all` goes through in the order of their sequences.
fn page<'a, I: Iterator<Item = &'a Arc<Message>>>(
    all: impl Fn() -> I,
    start: &PageStart,
    now: Timestamp,
    limit: PageLimit,
) -> Page {
    let mut page = Page::EMPTY;
    let mut octets = 0;
    for (urgency, after) in start.places() {
        let of_level = all().filter(|it| it.urgency == urgency && it.sequence > after && !it.is_expired(now));
        for message in of_level {
            if page.messages.len() >= limit.messages || (!page.messages.is_empty() && octets >= limit.octets)
            {
                page.is_last = false;
                return page;
            }
            octets += message.content.body.len();
            page.messages.push(Message::clone(message));
        }
    }
    page
}

/// User agents with a webhook after one, in their order.
fn webhooks(
    subscriptions: &BTreeMap<(UserAgentId, ChannelId), Subscription>,
    after: Option<UserAgentId>,
    limit: usize,
) -> Vec<UserAgentId> {
    let with_webhook = subscriptions.values().filter(|it| it.webhook.is_some()).map(|it| it.id.user_agent);
    let mut found: Vec<_> = with_webhook.filter(|of| after.is_none_or(|after| *of > after)).collect();
    found.dedup();
    found.truncate(limit);
    found
}

/// Subscriptions of the next few user agents after a place.
fn sweep(
    subscriptions: &BTreeMap<(UserAgentId, ChannelId), Subscription>,
    from: Option<&SweepPlace>,
) -> (Vec<Subscription>, Option<SweepPlace>) {
    let is_after = |of: &UserAgentId| from.is_none_or(|place| of.as_octets()[..] > place.0[..]);
    let mut user_agents: Vec<_> = subscriptions.keys().map(|(of, _)| *of).filter(is_after).collect();
    user_agents.dedup();
    user_agents.truncate(SWEPT);
    let swept = subscriptions.values().filter(|it| user_agents.contains(&it.id.user_agent)).cloned();
    let last = user_agents.last().map(|of| SweepPlace(of.as_octets().to_vec()));
    (swept.collect(), last)
}
