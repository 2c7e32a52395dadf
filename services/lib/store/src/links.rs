//! The two directions between a router and a connection node, the requests of user agents outside of a session, and
//! the questions of an ingress to a router: one seam for each caller, so that none can do the work of another. In one
//! process the links are queues; between processes, gRPC.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_types::{
    ChannelId, Epoch, Message, MessageId, MessageRef, NodeId, Outcome, Partition, Restriction, SessionRef,
    SubscriptionRef, Urgency, UserAgentId, WebhookUrl,
};

use crate::{Claim, StoreError, Subscription};

/// Router to node.
pub trait NodeLink: Send + Sync + fmt::Debug {
    /// Hands `message` to the socket `to`. `Ok` means that the node will settle the message, or close the
    /// session; the acknowledgement comes by [`RouterLink::settle`]. A message below the urgency that the session takes
    /// is dropped, and the node says so by [`RouterLink::set_urgency`]. Never waits: for a node not reachable
    /// yet the message is queued, and handed over when the node can be reached, or the node is given up
    /// ([`SessionEvents::gone`]). Expiry is checked at the socket, so the queue makes nothing late.
    fn deliver(&self, to: SessionRef, message: &Arc<Message>) -> Result<(), NotDelivered>;

    /// Tells the node to close a socket. No effect on a socket already gone.
    fn evict(&self, session: SessionRef, why: Eviction);
}

/// Router to nodes, where partitions change hands: the partitions owned, so that nodes announce the sessions
/// of each.
pub trait OwnershipLink: NodeLink {
    /// Notes a call by `node`: the node is alive, whatever else is known, so messages can be expected to
    /// arrive soon.
    fn heard_from(&self, node: NodeId);

    /// Announces that the router owns `partition` from now on: every node, present or future, is to announce
    /// its sessions of the partition ([`SessionEvents::announced`]).
    fn gained(&self, partition: Partition);

    /// The router owns `partition` no longer.
    fn lost(&self, partition: Partition);
}

/// A session held by a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Holder of the session.
    pub user_agent: UserAgentId,
    /// The socket, and the epoch of its claim at the opening.
    pub claim: Claim,
    /// Least urgency of the messages that the session takes.
    pub min_urgency: Urgency,
}

/// Open sessions of a node.
pub trait Sessions: Send + Sync + fmt::Debug {
    /// Name of the node.
    fn id(&self) -> NodeId;

    /// The open sessions of the user agents chosen by `chosen`.
    fn held(&self, chosen: &dyn Fn(UserAgentId) -> bool) -> Vec<Held>;
}

/// Events of nodes and sessions, from the link to the router.
#[async_trait]
pub trait SessionEvents: Send + Sync + fmt::Debug {
    /// Reports that a node refused a message queued by [`NodeLink::deliver`]: the session is over for the
    /// router, and the messages in flight are kept for the next one.
    async fn refused(&self, user_agent: UserAgentId, session: SessionRef);

    /// A node holds these sessions.
    async fn announced(&self, held: Vec<Held>);

    /// Reports that a node cannot be reached any more, or has gone: all its sessions are over for the router.
    async fn gone(&self, node: NodeId);
}

/// Reason that a node did not take a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotDelivered {
    /// No such socket (any more): the node says so, has gone, or was out of reach for too long. A node not
    /// reachable *yet* is no reason.
    NotHere,
    /// A socket at hand, or a node on the way, with a full queue. Other messages wait in the mailbox then; a
    /// message with TTL 0 ends as expired: no other place could keep it.
    Busy,
}

/// Reason for closing a socket on request of the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eviction {
    /// The user agent has connected again.
    Superseded,
    /// The router has lost track of the messages seen by the session; the user agent is to connect again.
    Resync,
}

/// End of a message, as reported by the user agent or by the node in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// Id of the message.
    pub id: MessageId,
    /// Outcome of the message.
    pub outcome: Outcome,
}

/// Node to router. All calls of one session come in order, one at a time; only [`RouterLink::settle`] may
/// come while an earlier register or unregister is under way.
#[async_trait]
pub trait RouterLink: Send + Sync + fmt::Debug {
    /// Opens a session for a user agent with a claim to an earlier visit. If the user agent is known, the
    /// session holds it from now on, an earlier session is evicted, and waiting messages of `min_urgency` and above
    /// begin to come over the [`NodeLink`].
    async fn open(
        &self,
        user_agent: UserAgentId,
        session: SessionRef,
        min_urgency: Urgency,
    ) -> Result<Opened, LinkError>;

    /// Sets the least urgency of the messages for an open session (RFC 8030 section 5.3). What is below waits in the
    /// mailbox, also messages that were on their way to the node. When it falls, what it releases begins to come, the
    /// most urgent first. No effect on a session that the router does not know: it hears of the urgency with the
    /// session.
    async fn set_urgency(
        &self,
        user_agent: UserAgentId,
        session: SessionRef,
        min_urgency: Urgency,
    ) -> Result<(), LinkError>;

    /// Makes a subscription, durably. A repeated call for one channel and restriction answers with the same
    /// subscription. Another restriction ends the old one (RFC 8292 section 4: a restriction cannot be
    /// changed).
    async fn register(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        restriction: Restriction,
    ) -> Result<Registered, LinkError>;

    /// Ends a subscription and all messages waiting for it, durably. An unknown channel is not an error.
    async fn unregister(&self, user_agent: UserAgentId, channel: ChannelId) -> Result<(), LinkError>;

    /// Ends all subscriptions of a user agent and all messages waiting for them, durably. Its session stays open: a
    /// register makes it known again. No subscription at all is not an error.
    ///
    /// Errors: [`LinkError::Unavailable`] also when another session registers meanwhile. Some subscriptions may have
    /// ended; a repeated call ends the others. A router of an earlier release refuses the call at once, as
    /// [`LinkError::Store`], and ends nothing.
    async fn unregister_all(&self, user_agent: UserAgentId) -> Result<(), LinkError>;

    /// Ends messages of a user agent, sent on any session. Unknown ids are passed over.
    async fn settle(&self, user_agent: UserAgentId, ended: Vec<Settlement>) -> Result<(), LinkError>;

    /// Ends a session: messages not settled are kept for the next one. Durable at return.
    async fn close(&self, user_agent: UserAgentId, session: SessionRef) -> Result<(), LinkError>;
}

/// Node to router, for a user agent that names a subscription or a message by an address of its own, outside of any
/// session (RFC 8030 sections 6.2 and 7.3).
#[async_trait]
pub trait ResourceLink: ReceiptLink {
    /// Ends a message as delivered: its user agent has acknowledged it. A session to which the message was sent
    /// has room for another. Not durable at return: a crash may have the message redelivered (promise P3).
    async fn acknowledge(&self, message: MessageRef) -> Result<Cancelled, LinkError>;

    /// Makes one more subscription of a user agent, as [`RouterLink::register`] does; `None` for one without any.
    async fn join(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        restriction: Restriction,
    ) -> Result<Option<Registered>, LinkError>;

    /// Ends all subscriptions of a user agent, as [`Self::unsubscribe`] does, and its session.
    async fn end_set(&self, user_agent: UserAgentId) -> Result<Cancelled, LinkError>;

    /// Reads a message that is pending, without any effect on it; `None` for one that has ended or expired.
    /// [`LinkError::Unavailable`] while it may still come out of the log.
    async fn read(&self, message: MessageRef) -> Result<Option<Arc<Message>>, LinkError>;

    /// Looks a resource up, by the owner's own knowledge.
    async fn look_up(&self, resource: Resource) -> Result<Standing, LinkError>;

    /// Ends exactly this incarnation of a subscription with all messages waiting for it, durably, as
    /// [`RouterLink::unregister`] does. A session of a user agent without any other subscription is closed, as
    /// superseded.
    async fn unsubscribe(&self, id: SubscriptionRef) -> Result<Cancelled, LinkError>;
}

/// Ingress and node to router: receipt subscriptions (RFC 8030 section 5.1).
#[async_trait]
pub trait ReceiptLink: Send + Sync + fmt::Debug {
    /// Makes the receipt subscription of an application server, durably: the only one of a user agent of its own. Its
    /// receipts are posted to `webhook`, or wait to be read. A repeated call answers with the same one.
    /// [`LinkError::Unavailable`] if the router knows no webhooks and there is one.
    async fn open_receipts(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        webhook: Option<WebhookUrl>,
    ) -> Result<SubscriptionRef, LinkError>;
}

/// A resource that a user agent can monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// One incarnation of a subscription.
    Subscription(SubscriptionRef),
    /// All subscriptions of a user agent, present and future: its subscription set.
    Set(UserAgentId),
}

impl Resource {
    /// The user agent whose resource it is.
    pub const fn user_agent(&self) -> UserAgentId {
        match self {
            Self::Subscription(id) => id.user_agent,
            Self::Set(user_agent) => *user_agent,
        }
    }
}

/// State of a resource, as the owner of its user agent knows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Standing {
    /// Number of the user agent's subscriptions.
    pub members: usize,
    /// The absolute URL for application servers' POSTs, if the resource is a subscription that is alive. A capability:
    /// never logged.
    pub endpoint: Option<String>,
    /// True if the messages of the subscription are posted to a webhook.
    pub has_webhook: bool,
}

impl Standing {
    /// True if the resource is there: a subscription that is alive, or a set with members.
    pub const fn has(&self, resource: &Resource) -> bool {
        match resource {
            Resource::Subscription(_) => self.endpoint.is_some(),
            Resource::Set(_) => self.members > 0,
        }
    }
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standing")
            .field("members", &self.members)
            .field("is_alive", &self.endpoint.is_some())
            .field("has_webhook", &self.has_webhook)
            .finish()
    }
}

/// Ingress to router.
#[async_trait]
pub trait IngressLink: ReceiptLink {
    /// Ends a message for its application server (`DELETE` of the message resource). Waits for a message
    /// accepted a moment ago and still in the log.
    ///
    /// Guarantee: after [`Cancelled::Ended`] no crash brings the message back: the end is durable at return. So is
    /// the end by an earlier cancellation, after [`Cancelled::Gone`].
    ///
    /// Errors: [`LinkError::Unavailable`] while the log cannot be read so far, when the end cannot be made durable in
    /// time, or when an earlier call waits for this very end. The message may have ended, and a crash may then bring it
    /// back; a repeated call is answered with [`Cancelled::Gone`] once the end is durable, or with
    /// [`Cancelled::Ended`] if the message was there after all.
    async fn cancel(&self, message: MessageRef) -> Result<Cancelled, LinkError>;

    /// Tells whether exactly this incarnation is alive, by the owner's own knowledge.
    async fn alive(&self, id: SubscriptionRef) -> Result<bool, LinkError>;
}

/// Result of opening a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// A known user agent, held by the session.
    Known {
        /// Epoch of the session's claim.
        epoch: Epoch,
        /// Least urgency that the router sends: below the one asked for if it knows of none.
        min_urgency: Urgency,
    },
    /// An unknown user agent, which is to start afresh.
    Unknown,
}

/// A subscription and its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The subscription.
    pub subscription: Subscription,
    /// The absolute URL for application servers' POSTs. A capability: never logged.
    pub endpoint: String,
}

/// Result of ending a message or a subscription by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It was there and has ended.
    Ended,
    /// There was none (any more).
    Gone,
}

/// Reason that a router did not carry out a request.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The router cannot be reached, is stopping, or has too much to do.
    #[error("the router is unavailable")]
    Unavailable,
    /// The user agent has reached its limit of subscriptions.
    #[error("the user agent has {limit} subscriptions, which is the limit")]
    TooManySubscriptions {
        /// The limit.
        limit: usize,
    },
    /// The router's store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
