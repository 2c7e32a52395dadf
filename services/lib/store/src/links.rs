//! The two directions between a router and a connection node, and what an ingress asks of a router. In one process
//! they are queues; between processes they are gRPC.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_types::{
    ChannelId, Epoch, Message, MessageId, MessageRef, NodeId, Outcome, Partition, SessionRef,
    SubscriptionRef, UserAgentId, VapidKeyHash,
};

use crate::{Claim, StoreError, Subscription};

/// Router to node.
pub trait NodeLink: Send + Sync + fmt::Debug {
    /// Hands `message` to the socket `to`. `Ok` means that the node has taken it and will settle it, or close the
    /// session; the acknowledgement comes by [`RouterLink::settle`]. Never waits.
    fn deliver(&self, to: SessionRef, message: &Arc<Message>) -> Result<(), NotDelivered>;

    /// Tells the node to close a socket. Nothing happens when it is already gone.
    fn evict(&self, session: SessionRef, why: Eviction);

    /// The router owns `partition` from now on: every node, now and when it comes, is to announce the sessions that
    /// it holds of it ([`SessionEvents::announced`]). In one process nothing is announced, for nothing is taken over.
    fn gained(&self, _partition: Partition) {}

    /// The router owns `partition` no longer.
    fn lost(&self, _partition: Partition) {}
}

/// A session that a node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Whose it is.
    pub user_agent: UserAgentId,
    /// The socket, and the epoch that its claim had when it was opened.
    pub claim: Claim,
}

/// What a node can say of its sessions.
pub trait Sessions: Send + Sync + fmt::Debug {
    /// Its name.
    fn id(&self) -> NodeId;

    /// The open sessions of the user agents that `chosen` chooses.
    fn held(&self, chosen: &dyn Fn(UserAgentId) -> bool) -> Vec<Held>;
}

/// What the link to the nodes tells the router.
#[async_trait]
pub trait SessionEvents: Send + Sync + fmt::Debug {
    /// A node did not take a message that [`NodeLink::deliver`] had taken for it: the session is over for the router,
    /// and what was in flight to it is kept for the next one.
    async fn refused(&self, user_agent: UserAgentId, session: SessionRef);

    /// A node holds these sessions.
    async fn announced(&self, held: Vec<Held>);

    /// A node cannot be reached any more, or has gone: all its sessions are over for the router.
    async fn gone(&self, node: NodeId);
}

/// Why a node did not take a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotDelivered {
    /// That socket is not there (any more).
    NotHere,
    /// It is there, and its queue is full.
    Busy,
}

/// Why a router has a socket closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eviction {
    /// The user agent has connected again.
    Superseded,
    /// The router has lost track of what the session has seen; the user agent is to connect again.
    Resync,
}

/// How the user agent, or the node for it, ended a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// Which message.
    pub id: MessageId,
    /// How.
    pub outcome: Outcome,
}

/// Node or ingress to router. All calls of one session come in order, one at a time.
#[async_trait]
pub trait RouterLink: Send + Sync + fmt::Debug {
    /// Opens a session of a user agent that says it has been here before. When it is known, the session holds it
    /// from now on, an earlier one is evicted, and what waits begins to come over the [`NodeLink`].
    async fn open(&self, user_agent: UserAgentId, session: SessionRef) -> Result<Opened, LinkError>;

    /// Makes a subscription, durably. Repeated for one channel and key it answers with the same one. Another key
    /// ends the old subscription (RFC 8292 section 4: a restriction cannot be changed).
    async fn register(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        vapid: Option<VapidKeyHash>,
    ) -> Result<Registered, LinkError>;

    /// Ends a subscription and all that waits for it, durably. An unknown channel is not an error.
    async fn unregister(&self, user_agent: UserAgentId, channel: ChannelId) -> Result<(), LinkError>;

    /// Ends messages: those sent on this session, and those that an earlier one sent. Unknown ids are passed over.
    async fn settle(
        &self,
        user_agent: UserAgentId,
        session: SessionRef,
        ended: Vec<Settlement>,
    ) -> Result<(), LinkError>;

    /// Ends a session: what it has not settled is kept for the next one. Returns when that is durable.
    async fn close(&self, user_agent: UserAgentId, session: SessionRef) -> Result<(), LinkError>;

    /// Ends a message for its application server (`DELETE` of the message resource). Waits for one that was accepted a
    /// moment ago and has not come out of the log yet.
    async fn cancel(&self, message: MessageRef) -> Result<Cancelled, LinkError>;

    /// Whether that very incarnation is alive, by the one who knows.
    async fn alive(&self, id: SubscriptionRef) -> Result<bool, LinkError>;
}

/// Whether a session could be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// The user agent is known, and the session holds it by the claim of this epoch.
    Known(Epoch),
    /// Nobody has heard of that user agent: it is to start afresh.
    Unknown,
}

/// A subscription and its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The subscription.
    pub subscription: Subscription,
    /// The absolute URL that application servers post to. A capability: never logged.
    pub endpoint: String,
}

/// What a cancellation met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The message was pending and has ended.
    Ended,
    /// There was no such message (any more).
    Gone,
}

/// Why a router did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The router cannot be reached, is stopping, or has too much to do.
    #[error("the router is unavailable")]
    Unavailable,
    /// The user agent has as many subscriptions as it may have.
    #[error("the user agent has {limit} subscriptions, which is the limit")]
    TooManySubscriptions {
        /// The limit.
        limit: usize,
    },
    /// The router's store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
