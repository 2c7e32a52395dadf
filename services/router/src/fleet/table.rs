use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use pushgrid_store::{
    Cancelled, ErrorKind, Held, LedgerSnapshot, LinkError, NodeLink, Opened, Registered, RouterLink,
    SessionEvents, Settlement,
};
use pushgrid_types::{
    ChannelId, MessageRef, NodeId, Partition, SessionRef, SubscriptionRef, Tenure, UserAgentId, VapidKeyHash,
};

use super::keeper::Life;
use crate::Handle;

/// The way to whichever of the router's partitions a user agent belongs to. What belongs to none of them is answered
/// with [`LinkError::Unavailable`]: its caller looks for the owner and comes back. Clones share one table.
#[derive(Clone)]
pub struct Table(Arc<Inner>);

struct Inner {
    of: u16,
    nodes: Arc<dyn NodeLink>,
    changed: Box<dyn Fn() + Send + Sync>,
    owned: RwLock<HashMap<Partition, Owned>>,
}

/// A partition in the table.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) tenure: Tenure,
    pub(super) handle: Handle,
    pub(super) life: Arc<dyn Life>,
    /// How the account stood when it was last counted from.
    pub(super) counted: LedgerSnapshot,
}

impl Table {
    pub(super) fn new(of: u16, nodes: Arc<dyn NodeLink>, changed: Box<dyn Fn() + Send + Sync>) -> Self {
        Self(Arc::new(Inner { of, nodes, changed, owned: RwLock::default() }))
    }

    /// How many partitions there are in all.
    pub fn partitions(&self) -> u16 {
        self.0.of
    }

    /// Which of them are owned here, by what right.
    pub fn owns(&self) -> Vec<(Partition, Tenure)> {
        self.read().iter().map(|(partition, owned)| (*partition, owned.tenure)).collect()
    }

    pub(super) fn enter(&self, partition: Partition, owned: Owned) {
        self.write().insert(partition, owned);
        (self.0.changed)();
        self.0.nodes.gained(partition);
    }

    /// Takes a partition out, unless it has been taken over anew meanwhile.
    pub(super) fn leave(&self, partition: Partition, tenure: Tenure) -> Option<Owned> {
        let owned = {
            let mut all = self.write();
            all.get(&partition).is_some_and(|owned| owned.tenure == tenure).then(|| all.remove(&partition))
        }
        .flatten()?;
        self.0.nodes.lost(partition);
        (self.0.changed)();
        Some(owned)
    }

    /// Looks at every entry, one after the other.
    pub(super) fn for_each(&self, look: impl FnMut(&mut Owned)) {
        self.write().values_mut().for_each(look);
    }

    fn handle(&self, user_agent: UserAgentId) -> Result<Handle, LinkError> {
        let partition = Partition::of(user_agent, self.0.of);
        self.read().get(&partition).map(|owned| owned.handle.clone()).ok_or(LinkError::Unavailable)
    }

    fn handles(&self) -> Vec<Handle> {
        self.read().values().map(|owned| owned.handle.clone()).collect()
    }

    /// No code panics while it holds the lock, so what a poisoned one guards is whole.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<Partition, Owned>> {
        self.0.owned.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Partition, Owned>> {
        self.0.owned.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("of", &self.0.of).field("owns", &self.owns()).finish_non_exhaustive()
    }
}

/// What will pass, because the partition moves on or its stores come back, is a reason to come again.
fn passing(error: LinkError) -> LinkError {
    match error {
        LinkError::Store(error) if error.is_retryable() || error.kind == ErrorKind::Closed => {
            tracing::debug!(%error, "a call has to come again");
            LinkError::Unavailable
        }
        LinkError::Store(_) | LinkError::Unavailable | LinkError::TooManySubscriptions { .. } => error,
    }
}

#[async_trait]
impl RouterLink for Table {
    async fn open(&self, user_agent: UserAgentId, session: SessionRef) -> Result<Opened, LinkError> {
        self.handle(user_agent)?.open(user_agent, session).await.map_err(passing)
    }

    async fn register(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        vapid: Option<VapidKeyHash>,
    ) -> Result<Registered, LinkError> {
        self.handle(user_agent)?.register(user_agent, channel, vapid).await.map_err(passing)
    }

    async fn unregister(&self, user_agent: UserAgentId, channel: ChannelId) -> Result<(), LinkError> {
        self.handle(user_agent)?.unregister(user_agent, channel).await.map_err(passing)
    }

    async fn settle(
        &self,
        user_agent: UserAgentId,
        session: SessionRef,
        ended: Vec<Settlement>,
    ) -> Result<(), LinkError> {
        self.handle(user_agent)?.settle(user_agent, session, ended).await.map_err(passing)
    }

    async fn close(&self, user_agent: UserAgentId, session: SessionRef) -> Result<(), LinkError> {
        self.handle(user_agent)?.close(user_agent, session).await.map_err(passing)
    }

    async fn cancel(&self, message: MessageRef) -> Result<Cancelled, LinkError> {
        self.handle(message.user_agent)?.cancel(message).await.map_err(passing)
    }

    async fn alive(&self, id: SubscriptionRef) -> Result<bool, LinkError> {
        self.handle(id.user_agent)?.alive(id).await.map_err(passing)
    }
}

#[async_trait]
impl SessionEvents for Table {
    async fn refused(&self, user_agent: UserAgentId, session: SessionRef) {
        if let Ok(handle) = self.handle(user_agent)
            && let Err(error) = handle.forget(user_agent, session).await
        {
            tracing::debug!(%error, "a socket is gone, and so is its partition");
        }
    }

    async fn announced(&self, held: Vec<Held>) {
        let mut by_partition: HashMap<Partition, Vec<Held>> = HashMap::new();
        for held in held {
            by_partition.entry(Partition::of(held.user_agent, self.0.of)).or_default().push(held);
        }
        for held in by_partition.into_values() {
            // Of a partition that has gone on to another router that one asks by itself.
            let Ok(handle) = self.handle(held[0].user_agent) else { continue };
            handle.resume(held, self.0.nodes.clone());
        }
    }

    async fn gone(&self, node: NodeId) {
        for handle in self.handles() {
            if let Err(error) = handle.gone(node).await {
                tracing::debug!(%error, "a node is gone, and so is a partition");
            }
        }
    }
}
