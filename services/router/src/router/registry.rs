//! Registry of the partitions owned by a router process: routes each call to the worker of the user agent's
//! partition. A call for any other partition fails with [`LinkError::Unavailable`]. Not here: taking over and
//! handing on (`lease`).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use pushgrid_store::{
    Cancelled, ErrorKind, Held, IngressLink, LedgerSnapshot, LinkError, Opened, OwnershipLink,
    PartitionLifecycle, ReceiptLink, Registered, Resource, ResourceLink, RouterLink, SessionEvents,
    Settlement, Standing,
};
use pushgrid_types::{
    ChannelId, LeaderEpoch, Message, MessageRef, NodeId, Partition, Restriction, SessionRef, SubscriptionRef,
    Urgency, UserAgentId, WebhookUrl,
};

use crate::Handle;

/// Routes calls to the partition of their user agent. For a partition owned elsewhere a call fails with
/// [`LinkError::Unavailable`]; the caller finds the owner and retries. Clones share one table.
#[derive(Clone)]
pub struct PartitionRegistry(Arc<Inner>);

struct Inner {
    of: u16,
    nodes: Arc<dyn OwnershipLink>,
    changed: Box<dyn Fn() + Send + Sync>,
    owned: RwLock<HashMap<Partition, Owned>>,
}

/// Entry of an owned partition.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) handle: Handle,
    pub(super) lifecycle: Arc<dyn PartitionLifecycle>,
    /// Account up to which the metrics have been counted.
    pub(super) counted: LedgerSnapshot,
}

impl PartitionRegistry {
    pub(super) fn new(of: u16, nodes: Arc<dyn OwnershipLink>, changed: Box<dyn Fn() + Send + Sync>) -> Self {
        Self(Arc::new(Inner { of, nodes, changed, owned: RwLock::default() }))
    }

    /// Number of partitions of the grid.
    pub fn partitions(&self) -> u16 {
        self.0.of
    }

    /// Partitions owned here, each with its leader epoch.
    pub fn owns(&self) -> Vec<(Partition, LeaderEpoch)> {
        self.read().iter().map(|(partition, owned)| (*partition, owned.leader_epoch)).collect()
    }

    pub(super) fn enter(&self, partition: Partition, owned: Owned) {
        self.write().insert(partition, owned);
        (self.0.changed)();
        self.0.nodes.gained(partition);
    }

    /// Removes a partition, unless a newer leader epoch has entered meanwhile.
    pub(super) fn leave(&self, partition: Partition, leader_epoch: LeaderEpoch) -> Option<Owned> {
        let owned = {
            let mut all = self.write();
            all.get(&partition)
                .is_some_and(|owned| owned.leader_epoch == leader_epoch)
                .then(|| all.remove(&partition))
        }
        .flatten()?;
        self.0.nodes.lost(partition);
        (self.0.changed)();
        Some(owned)
    }

    /// Visits every entry under the lock.
    pub(super) fn for_each(&self, look: impl FnMut(&mut Owned)) {
        self.write().values_mut().for_each(look);
    }

    pub(super) fn handle(&self, user_agent: UserAgentId) -> Result<Handle, LinkError> {
        let partition = Partition::of(user_agent, self.0.of);
        self.read().get(&partition).map(|owned| owned.handle.clone()).ok_or(LinkError::Unavailable)
    }

    fn handles(&self) -> Vec<Handle> {
        self.read().values().map(|owned| owned.handle.clone()).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Partition, Owned>> {
        self.0.owned.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Partition, Owned>> {
        self.0.owned.write()
    }
}

impl fmt::Debug for PartitionRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionRegistry")
            .field("of", &self.0.of)
            .field("owns", &self.owns())
            .finish_non_exhaustive()
    }
}

/// Turns passing failures of a partition (it moves on, or its stores come back) into
/// [`LinkError::Unavailable`], on which callers retry.
fn passing(handle: &Handle) -> impl FnOnce(LinkError) -> LinkError {
    move |error| match error {
        LinkError::Store(error) if error.is_retryable() || error.kind == ErrorKind::Closed => {
            handle.span().in_scope(|| tracing::debug!(%error, "a call has to be repeated"));
            LinkError::Unavailable
        }
        LinkError::Store(_) | LinkError::Unavailable | LinkError::TooManySubscriptions { .. } => error,
    }
}

#[async_trait]
impl RouterLink for PartitionRegistry {
    async fn open(
        &self,
        user_agent: UserAgentId,
        session: SessionRef,
        min_urgency: Urgency,
    ) -> Result<Opened, LinkError> {
        let handle = self.handle(user_agent)?;
        // The node must be known before anybody can find the claim and deliver to its session.
        self.0.nodes.heard_from(session.node);
        handle.open(user_agent, session, min_urgency).await.map_err(passing(&handle))
    }

    async fn set_urgency(
        &self,
        user_agent: UserAgentId,
        session: SessionRef,
        min_urgency: Urgency,
    ) -> Result<(), LinkError> {
        let handle = self.handle(user_agent)?;
        handle.set_urgency(user_agent, session, min_urgency).await.map_err(passing(&handle))
    }

    async fn register(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        restriction: Restriction,
    ) -> Result<Registered, LinkError> {
        let handle = self.handle(user_agent)?;
        handle.register(user_agent, channel, restriction).await.map_err(passing(&handle))
    }

    async fn unregister(&self, user_agent: UserAgentId, channel: ChannelId) -> Result<(), LinkError> {
        let handle = self.handle(user_agent)?;
        handle.unregister(user_agent, channel).await.map_err(passing(&handle))
    }

    async fn unregister_all(&self, user_agent: UserAgentId) -> Result<(), LinkError> {
        let handle = self.handle(user_agent)?;
        handle.unregister_all(user_agent).await.map_err(passing(&handle))
    }

    async fn settle(&self, user_agent: UserAgentId, ended: Vec<Settlement>) -> Result<(), LinkError> {
        let handle = self.handle(user_agent)?;
        handle.settle(user_agent, ended).await.map_err(passing(&handle))
    }

    async fn close(&self, user_agent: UserAgentId, session: SessionRef) -> Result<(), LinkError> {
        let handle = self.handle(user_agent)?;
        handle.close(user_agent, session).await.map_err(passing(&handle))
    }
}

#[async_trait]
impl ReceiptLink for PartitionRegistry {
    async fn open_receipts(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        webhook: Option<WebhookUrl>,
    ) -> Result<SubscriptionRef, LinkError> {
        let handle = self.handle(user_agent)?;
        handle.open_receipts(user_agent, channel, webhook).await.map_err(passing(&handle))
    }
}

#[async_trait]
impl ResourceLink for PartitionRegistry {
    async fn acknowledge(&self, message: MessageRef) -> Result<Cancelled, LinkError> {
        let handle = self.handle(message.user_agent)?;
        handle.acknowledge(message).await.map_err(passing(&handle))
    }

    async fn join(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        restriction: Restriction,
    ) -> Result<Option<Registered>, LinkError> {
        let handle = self.handle(user_agent)?;
        handle.join(user_agent, channel, restriction).await.map_err(passing(&handle))
    }

    async fn end_set(&self, user_agent: UserAgentId) -> Result<Cancelled, LinkError> {
        let handle = self.handle(user_agent)?;
        handle.end_set(user_agent).await.map_err(passing(&handle))
    }

    async fn read(&self, message: MessageRef) -> Result<Option<Arc<Message>>, LinkError> {
        let handle = self.handle(message.user_agent)?;
        handle.read(message).await.map_err(passing(&handle))
    }

    async fn look_up(&self, resource: Resource) -> Result<Standing, LinkError> {
        let handle = self.handle(resource.user_agent())?;
        handle.look_up(resource).await.map_err(passing(&handle))
    }

    async fn unsubscribe(&self, id: SubscriptionRef) -> Result<Cancelled, LinkError> {
        let handle = self.handle(id.user_agent)?;
        handle.unsubscribe(id).await.map_err(passing(&handle))
    }
}

#[async_trait]
impl IngressLink for PartitionRegistry {
    async fn cancel(&self, message: MessageRef) -> Result<Cancelled, LinkError> {
        let handle = self.handle(message.user_agent)?;
        handle.cancel(message).await.map_err(passing(&handle))
    }

    async fn alive(&self, id: SubscriptionRef) -> Result<bool, LinkError> {
        let handle = self.handle(id.user_agent)?;
        handle.alive(id).await.map_err(passing(&handle))
    }
}

#[async_trait]
impl SessionEvents for PartitionRegistry {
    async fn refused(&self, user_agent: UserAgentId, session: SessionRef) {
        if let Ok(handle) = self.handle(user_agent)
            && let Err(error) = handle.forget(user_agent, session).await
        {
            handle.span().in_scope(|| tracing::debug!(%error, "a socket is gone, and so is its partition"));
        }
    }

    async fn announced(&self, held: Vec<Held>) {
        let mut by_partition: HashMap<Partition, Vec<Held>> = HashMap::new();
        for held in held {
            by_partition.entry(Partition::of(held.user_agent, self.0.of)).or_default().push(held);
        }
        for held in by_partition.into_values() {
            // The node announces sessions of a partition that has moved on to the new owner by itself.
            let Ok(handle) = self.handle(held[0].user_agent) else { continue };
            handle.resume(held, self.0.nodes.clone());
        }
    }

    async fn gone(&self, node: NodeId) {
        for handle in self.handles() {
            if let Err(error) = handle.gone(node).await {
                handle.span().in_scope(|| tracing::debug!(%error, "a node is gone, and so is the partition"));
            }
        }
    }
}
