//! What connection nodes and the ingress ask of a router.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pushgrid_crypto::EndpointTokens;
use pushgrid_store::{
    Cancelled, Claim, Eviction, Held, LinkError, Mailbox, NodeLink, Opened, Presence, Registered, RouterLink,
    Settlement, Subscription, Subscriptions,
};
use pushgrid_types::{
    ChannelId, Clock, Incarnation, MessageRef, NodeId, Rng, SessionRef, SubscriptionRef, UserAgentId,
    VapidKeyHash,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

/// The pause before sessions that were announced are taken over again, when the presence cannot be reached.
const RESUME_PAUSE: Duration = Duration::from_millis(250);

/// An event for the worker that owns the user agent.
#[derive(Debug)]
pub(crate) enum Event {
    Open { user_agent: UserAgentId, claim: Claim },
    Resume { user_agent: UserAgentId, claim: Claim },
    Gone { node: NodeId },
    Settle { user_agent: UserAgentId, ended: Vec<Settlement> },
    Close { user_agent: UserAgentId, session: SessionRef, done: oneshot::Sender<()> },
    Cancel { message: MessageRef, reply: oneshot::Sender<Cancelled> },
    Unsubscribe { user_agent: UserAgentId, channel: ChannelId, done: oneshot::Sender<()> },
}

/// The way to a router. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    inbox: mpsc::Sender<Event>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) subscriptions: Arc<dyn Subscriptions>,
    pub(crate) mailbox: Arc<dyn Mailbox>,
    pub(crate) presence: Arc<dyn Presence>,
    pub(crate) tokens: EndpointTokens,
    pub(crate) public_url: String,
    pub(crate) max_subscriptions: usize,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
}

impl Handle {
    pub(crate) fn new(inbox: mpsc::Sender<Event>, shared: Arc<Shared>) -> Self {
        Self { inbox, shared }
    }

    async fn tell(&self, event: Event) -> Result<(), LinkError> {
        self.inbox.send(event).await.map_err(|_| LinkError::Unavailable)
    }

    /// Ends one life of a channel: nobody finds it any more, then what is in flight of it ends, then what waits.
    async fn end_subscription(&self, user_agent: UserAgentId, channel: ChannelId) -> Result<(), LinkError> {
        self.shared.subscriptions.remove(user_agent, channel).await?;
        let (done, ended) = oneshot::channel();
        self.tell(Event::Unsubscribe { user_agent, channel, done }).await?;
        ended.await.map_err(|_| LinkError::Unavailable)?;
        Ok(self.shared.mailbox.purge(user_agent, channel).await?)
    }

    /// Takes over sessions that were opened at an earlier owner of the partition, or that were thought lost. Those
    /// that a later claim has put out are closed.
    ///
    /// Goes on by itself, and as long as it takes: nobody announces them again.
    pub(crate) fn resume(&self, held: Vec<Held>, nodes: Arc<dyn NodeLink>) {
        let handle = self.clone();
        tokio::spawn(async move {
            let claims: Vec<_> = held.iter().map(|held| (held.user_agent, held.claim)).collect();
            let Some(holding) = handle.make_hold(&claims).await else { return };
            for ((user_agent, claim), holds) in claims.into_iter().zip(holding) {
                if holds.session != claim.session {
                    nodes.evict(claim.session, Eviction::Superseded);
                } else if handle.tell(Event::Resume { user_agent, claim: holds }).await.is_err() {
                    return;
                }
            }
        });
    }

    /// `None` when the partition is owned here no longer.
    async fn make_hold(&self, claims: &[(UserAgentId, Claim)]) -> Option<Vec<Claim>> {
        loop {
            match self.shared.presence.resume(claims).await {
                Ok(holding) => return Some(holding),
                Err(error) if !error.is_retryable() || self.inbox.is_closed() => return None,
                Err(error) => {
                    tracing::debug!(%error, "could not take sessions over; trying again");
                    sleep(RESUME_PAUSE).await;
                }
            }
        }
    }

    /// A socket is gone, and nobody waits to hear that what was in flight to it is kept.
    pub(crate) async fn forget(&self, user_agent: UserAgentId, session: SessionRef) -> Result<(), LinkError> {
        let (done, _nobody) = oneshot::channel();
        self.tell(Event::Close { user_agent, session, done }).await
    }

    /// Ends all sessions of a node that is no more.
    pub(crate) async fn gone(&self, node: NodeId) -> Result<(), LinkError> {
        self.tell(Event::Gone { node }).await
    }

    fn registered(&self, subscription: Subscription) -> Registered {
        let token = self.shared.tokens.seal(&subscription.id, subscription.vapid);
        Registered { subscription, endpoint: format!("{}/push/{token}", self.shared.public_url) }
    }
}

#[async_trait]
impl RouterLink for Handle {
    async fn open(&self, user_agent: UserAgentId, session: SessionRef) -> Result<Opened, LinkError> {
        if self.shared.subscriptions.count(user_agent).await? == 0 {
            return Ok(Opened::Unknown);
        }
        let (claim, _earlier) = self.shared.presence.claim(user_agent, session).await?;
        self.tell(Event::Open { user_agent, claim }).await?;
        Ok(Opened::Known(claim.epoch))
    }

    async fn register(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        vapid: Option<VapidKeyHash>,
    ) -> Result<Registered, LinkError> {
        let subscriptions = &self.shared.subscriptions;
        match subscriptions.find(user_agent, channel).await? {
            Some(existing) if existing.vapid == vapid => return Ok(self.registered(existing)),
            Some(_other_key) => self.end_subscription(user_agent, channel).await?,
            None => {
                let limit = self.shared.max_subscriptions;
                if subscriptions.count(user_agent).await? >= limit {
                    return Err(LinkError::TooManySubscriptions { limit });
                }
            }
        }
        let incarnation = Incarnation::random(&*self.shared.rng);
        let new = Subscription {
            id: SubscriptionRef { user_agent, channel, incarnation },
            vapid,
            created_at: self.shared.clock.now(),
        };
        match subscriptions.put(None, new).await? {
            Some(kept) if kept.vapid == vapid => Ok(self.registered(kept)),
            // Another session of this user agent registers the channel with another key at this moment.
            Some(_) | None => Err(LinkError::Unavailable),
        }
    }

    async fn unregister(&self, user_agent: UserAgentId, channel: ChannelId) -> Result<(), LinkError> {
        self.end_subscription(user_agent, channel).await
    }

    async fn settle(
        &self,
        user_agent: UserAgentId,
        _session: SessionRef,
        ended: Vec<Settlement>,
    ) -> Result<(), LinkError> {
        self.tell(Event::Settle { user_agent, ended }).await
    }

    async fn close(&self, user_agent: UserAgentId, session: SessionRef) -> Result<(), LinkError> {
        let (done, closed) = oneshot::channel();
        self.tell(Event::Close { user_agent, session, done }).await?;
        closed.await.map_err(|_| LinkError::Unavailable)
    }

    async fn cancel(&self, message: MessageRef) -> Result<Cancelled, LinkError> {
        let (reply, cancelled) = oneshot::channel();
        self.tell(Event::Cancel { message, reply }).await?;
        cancelled.await.map_err(|_| LinkError::Unavailable)
    }
    async fn alive(&self, id: SubscriptionRef) -> Result<bool, LinkError> {
        Ok(self.shared.subscriptions.alive(&[id]).await? == [true])
    }
}
