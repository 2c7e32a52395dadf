use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use pushgrid_store::Ledger;

use crate::cache::SubscriptionCache;
use crate::feed::Feed;
use crate::queue::Queue;
use crate::readers::Readers;
use crate::usage::Usages;

/// What the committer and the handles have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) queue: Queue,
    pub(crate) feed: Feed,
    pub(crate) readers: Arc<Readers>,
    pub(crate) subscriptions: SubscriptionCache,
    pub(crate) usages: Usages,
    pub(crate) ledger: Arc<Ledger>,
    /// Transactions committed since the store was opened.
    pub(crate) commits: AtomicU64,
}
