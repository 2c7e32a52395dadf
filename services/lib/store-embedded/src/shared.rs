use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};

use pushgrid_store::{EndFeed, Ledger};
use pushgrid_types::{Clock, KeptTime, Timestamp};

use crate::cache::SubscriptionCache;
use crate::damage::Damage;
use crate::feed::Feed;
use crate::queue::Queue;
use crate::readers::Readers;
use crate::shown::Shown;
use crate::usage::Usages;

/// State shared by the committer and the handles.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) queue: Queue,
    pub(crate) feed: Feed,
    pub(crate) readers: Arc<Readers>,
    pub(crate) subscriptions: SubscriptionCache,
    pub(crate) broadcasts: Shown,
    pub(crate) usages: Usages,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) ends: Option<EndFeed>,
    /// Set with the partition: the clock goes on from what the store has kept.
    pub(crate) clock: OnceLock<Arc<dyn Clock>>,
    /// Transactions committed since the store was opened.
    pub(crate) commits: AtomicU64,
    /// Failures of lazy changes. Each is put back into the queue, or given up, before it is counted here.
    pub(crate) unwritten: AtomicU64,
    /// Set while changes that add something are refused.
    pub(crate) full: Arc<AtomicBool>,
    /// Clock of the previous life, as last kept.
    pub(crate) kept_time: Option<KeptTime>,
    pub(crate) damage: Arc<Damage>,
    /// Messages that an operator has accepted to lose, over all lives.
    pub(crate) lost: u64,
    /// Set if the file was made when the store was opened.
    pub(crate) is_new: bool,
}

impl Shared {
    /// The time of the ends of messages. No message ends before there is a partition.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.get().map_or(Timestamp::from_millis(0), |clock| clock.now())
    }
}
