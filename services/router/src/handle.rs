//! Calls of connection nodes and the ingress to one partition: subscriptions and claims go to the stores
//! directly, everything else becomes an [`Event`] of the worker that owns the partition. Not here: the choice
//! of the partition (`router/registry`).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use pushgrid_store::{
    Cancelled, Claim, Eviction, Held, IngressLink, LinkError, Mailbox, NodeLink, Opened, Presence,
    ReceiptLink, Registered, Resource, ResourceLink, RouterLink, Settlement, Standing, Subscription,
    Subscriptions,
};
use pushgrid_types::{
    ChannelId, Incarnation, Message, MessageRef, NodeId, Restriction, SessionRef, SubscriptionRef, Timestamp,
    Urgency, UserAgentId, WebhookUrl,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tracing::{Instrument, Span};

use crate::RouterContext;
use crate::hooked::Hooked;
use crate::partition::{CancelReply, Found};

/// Backoff between attempts to resume announced sessions while the presence cannot be reached.
const RESUME_PAUSE: Duration = Duration::from_millis(250);

/// Deadline of a cancellation: beyond the waits for the log and for a flush, for a store that cannot write meanwhile.
/// The message may end after that.
const CANCEL_DEADLINE: Duration = Duration::from_secs(10);

/// Names no channel: no user agent chooses it, for all are random.
const NO_CHANNEL: ChannelId = ChannelId::from_octets([0; ChannelId::SIZE]);

/// An event for the worker of the user agent's partition.
#[derive(Debug)]
pub(crate) enum Event {
    Open {
        user_agent: UserAgentId,
        claim: Claim,
        min_urgency: Urgency,
    },
    Resume {
        user_agent: UserAgentId,
        claim: Claim,
        min_urgency: Urgency,
    },
    SetUrgency {
        user_agent: UserAgentId,
        session: SessionRef,
        min_urgency: Urgency,
    },
    Gone {
        node: NodeId,
    },
    Settle {
        user_agent: UserAgentId,
        ended: Vec<Settlement>,
    },
    Close {
        user_agent: UserAgentId,
        session: SessionRef,
        done: oneshot::Sender<()>,
    },
    /// Asks which of the user agents have a session.
    AreConnected {
        user_agents: Vec<UserAgentId>,
        reply: oneshot::Sender<Vec<bool>>,
    },
    Cancel {
        message: MessageRef,
        reply: CancelReply,
    },
    Find {
        message: MessageRef,
        reply: oneshot::Sender<Found>,
    },
    /// `dismiss`: the session ends too.
    Unsubscribe {
        user_agent: UserAgentId,
        channel: ChannelId,
        dismiss: bool,
        done: oneshot::Sender<()>,
    },
}

/// Calls one partition's worker. Cheap to clone; fails with [`LinkError::Unavailable`] once the worker is
/// gone.
#[derive(Debug, Clone)]
pub struct Handle {
    inbox: mpsc::Sender<Event>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) context: Arc<RouterContext>,
    pub(crate) subscriptions: Arc<dyn Subscriptions>,
    pub(crate) mailbox: Arc<dyn Mailbox>,
    pub(crate) presence: Arc<dyn Presence>,
    /// Receipt subscriptions with a webhook.
    pub(crate) hooked: Hooked,
    /// Span of the partition.
    pub(crate) span: Span,
}

impl Shared {
    pub(crate) fn now(&self) -> Timestamp {
        self.context.clock.now()
    }
}

impl Handle {
    pub(crate) fn new(inbox: mpsc::Sender<Event>, shared: Arc<Shared>) -> Self {
        Self { inbox, shared }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Span of the partition, for log lines.
    pub(crate) fn span(&self) -> &Span {
        &self.shared.span
    }

    pub(crate) async fn tell(&self, event: Event) -> Result<(), LinkError> {
        self.inbox.send(event).await.map_err(|_| LinkError::Unavailable)
    }

    /// Ends one incarnation of a channel: the subscription with all stored messages, then the messages in
    /// flight.
    async fn end_subscription(&self, user_agent: UserAgentId, channel: ChannelId) -> Result<(), LinkError> {
        // First: once look-ups miss the subscription, no new message joins those that end below.
        self.shared.subscriptions.remove(user_agent, channel).await?;
        self.end_in_flight(user_agent, channel, false).await
    }

    /// Ends all subscriptions of a user agent, as [`Self::end_subscription`] does. Tells whether there was one.
    async fn end_subscriptions(&self, user_agent: UserAgentId) -> Result<bool, LinkError> {
        let subscriptions = &self.shared.subscriptions;
        let all = subscriptions.all(user_agent).await?;
        let channels: Vec<_> = all.iter().map(|it| it.id.channel).collect();
        // At most as many as a user agent may have, and of one mind: they ride in one commit.
        let removing = channels.iter().map(|channel| subscriptions.remove(user_agent, *channel));
        let removed = try_join_all(removing).await?;
        for channel in &channels {
            self.end_in_flight(user_agent, *channel, false).await?;
        }
        if subscriptions.count(user_agent).await? > 0 {
            // Another one has joined meanwhile, or is one that only a newer release can read.
            return Err(LinkError::Unavailable);
        }
        Ok(removed.contains(&true))
    }

    /// Ends the messages in flight of a subscription that has ended, and the session if told to `dismiss` the user
    /// agent.
    pub(crate) async fn end_in_flight(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        dismiss: bool,
    ) -> Result<(), LinkError> {
        let (done, ended) = oneshot::channel();
        self.tell(Event::Unsubscribe { user_agent, channel, dismiss, done }).await?;
        ended.await.map_err(|_| LinkError::Unavailable)
    }

    /// Ends a message by its address. A dropped reply means an unknown outcome, or an end that is not durable.
    async fn end_message(
        &self,
        message: MessageRef,
        reply: impl FnOnce(oneshot::Sender<Cancelled>) -> CancelReply,
    ) -> Result<Cancelled, LinkError> {
        let (sender, ended) = oneshot::channel();
        self.tell(Event::Cancel { message, reply: reply(sender) }).await?;
        ended.await.map_err(|_| LinkError::Unavailable)
    }

    /// Resumes sessions opened at an earlier owner of the partition, or thought lost. A session superseded by
    /// a later claim is evicted.
    ///
    /// Returns at once; the task retries until the presence answers or the worker is gone, for nodes do not
    /// announce twice.
    pub(crate) fn resume(&self, held: Vec<Held>, nodes: Arc<dyn NodeLink>) {
        let handle = self.clone();
        let resuming = async move {
            let claims: Vec<_> = held.iter().map(|held| (held.user_agent, held.claim)).collect();
            let Some(holding) = handle.make_hold(&claims).await else { return };
            for (Held { user_agent, claim, min_urgency }, holds) in held.into_iter().zip(holding) {
                if holds.session != claim.session {
                    nodes.evict(claim.session, Eviction::Superseded);
                    continue;
                }
                let resume = Event::Resume { user_agent, claim: holds, min_urgency };
                if handle.tell(resume).await.is_err() {
                    return;
                }
            }
        };
        tokio::spawn(resuming.instrument(self.span().clone()));
    }

    /// Present claims, in the order of `claims`. `None` once the partition is no longer owned here.
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

    /// Closes the session without waiting until messages in flight are stored.
    pub(crate) async fn forget(&self, user_agent: UserAgentId, session: SessionRef) -> Result<(), LinkError> {
        let (done, _nobody) = oneshot::channel();
        self.tell(Event::Close { user_agent, session, done }).await
    }

    /// Ends all sessions of a node whose lease has run out.
    pub(crate) async fn gone(&self, node: NodeId) -> Result<(), LinkError> {
        self.tell(Event::Gone { node }).await
    }

    fn registered(&self, subscription: Subscription) -> Registered {
        let RouterContext { tokens, public_url, .. } = &*self.shared.context;
        let token = tokens.seal(&subscription.id, subscription.restriction);
        Registered { subscription, endpoint: format!("{public_url}/push/{token}") }
    }
}

#[async_trait]
impl RouterLink for Handle {
    async fn open(
        &self,
        user_agent: UserAgentId,
        session: SessionRef,
        min_urgency: Urgency,
    ) -> Result<Opened, LinkError> {
        let subscriptions = self.shared.subscriptions.all(user_agent).await?;
        // Those that only a newer release can read are there, too.
        if subscriptions.is_empty() && self.shared.subscriptions.count(user_agent).await? == 0 {
            return Ok(Opened::Unknown);
        }
        let (claim, _earlier) = self.shared.presence.claim(user_agent, session).await?;
        self.tell(Event::Open { user_agent, claim, min_urgency }).await?;
        self.note_visit(subscriptions);
        Ok(Opened::Known { epoch: claim.epoch, min_urgency })
    }

    async fn set_urgency(
        &self,
        user_agent: UserAgentId,
        session: SessionRef,
        min_urgency: Urgency,
    ) -> Result<(), LinkError> {
        self.tell(Event::SetUrgency { user_agent, session, min_urgency }).await
    }

    async fn register(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        restriction: Restriction,
    ) -> Result<Registered, LinkError> {
        let Shared { context, subscriptions, .. } = &*self.shared;
        match subscriptions.find(user_agent, channel).await? {
            Some(existing) if existing.restriction == restriction => return Ok(self.registered(existing)),
            Some(_restricted_otherwise) => self.end_subscription(user_agent, channel).await?,
            None => {
                let limit = context.config.max_subscriptions();
                if subscriptions.count(user_agent).await? >= limit {
                    return Err(LinkError::TooManySubscriptions { limit });
                }
            }
        }
        //= RFC 8030 section 8.2
        //# A user agent MUST be able to create new subscriptions with new identifiers at any time.
        let incarnation = Incarnation::random(&*context.rng);
        let new = Subscription {
            id: SubscriptionRef { user_agent, channel, incarnation },
            restriction,
            seen_at: self.shared.now(),
            is_noted: true,
            webhook: None,
        };
        match subscriptions.put(None, new).await? {
            Some(kept) if kept.restriction == restriction => Ok(self.registered(kept)),
            // Another session of this user agent is registering the channel with another restriction.
            Some(_) | None => Err(LinkError::Unavailable),
        }
    }

    async fn unregister(&self, user_agent: UserAgentId, channel: ChannelId) -> Result<(), LinkError> {
        self.end_subscription(user_agent, channel).await
    }

    async fn unregister_all(&self, user_agent: UserAgentId) -> Result<(), LinkError> {
        self.end_subscriptions(user_agent).await.map(drop)
    }

    async fn settle(&self, user_agent: UserAgentId, ended: Vec<Settlement>) -> Result<(), LinkError> {
        self.tell(Event::Settle { user_agent, ended }).await
    }

    async fn close(&self, user_agent: UserAgentId, session: SessionRef) -> Result<(), LinkError> {
        let (done, closed) = oneshot::channel();
        self.tell(Event::Close { user_agent, session, done }).await?;
        closed.await.map_err(|_| LinkError::Unavailable)
    }
}

#[async_trait]
impl ReceiptLink for Handle {
    async fn open_receipts(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        webhook: Option<WebhookUrl>,
    ) -> Result<SubscriptionRef, LinkError> {
        let Shared { context, subscriptions, .. } = &*self.shared;
        let incarnation = Incarnation::random(&*context.rng);
        let new = Subscription {
            id: SubscriptionRef { user_agent, channel, incarnation },
            restriction: Restriction::Open,
            seen_at: self.shared.now(),
            is_noted: true,
            webhook,
        };
        let kept = subscriptions.put(None, new.clone()).await?;
        let kept = kept.filter(|kept| kept.webhook == new.webhook).ok_or(LinkError::Unavailable)?;
        if kept.webhook.is_some() {
            self.shared.hooked.add(user_agent);
        }
        Ok(kept.id)
    }
}

#[async_trait]
impl ResourceLink for Handle {
    async fn acknowledge(&self, message: MessageRef) -> Result<Cancelled, LinkError> {
        let now = self.shared.now();
        self.end_message(message, |sender| CancelReply::to_acknowledgement(now, sender)).await
    }

    async fn join(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        restriction: Restriction,
    ) -> Result<Option<Registered>, LinkError> {
        if self.shared.subscriptions.count(user_agent).await? == 0 {
            return Ok(None);
        }
        self.register(user_agent, channel, restriction).await.map(Some)
    }

    async fn end_set(&self, user_agent: UserAgentId) -> Result<Cancelled, LinkError> {
        let was_there = self.end_subscriptions(user_agent).await?;
        // In any case, for an earlier attempt may have come no further than this.
        self.end_in_flight(user_agent, NO_CHANNEL, true).await?;
        Ok(if was_there { Cancelled::Ended } else { Cancelled::Gone })
    }

    async fn read(&self, message: MessageRef) -> Result<Option<Arc<Message>>, LinkError> {
        let (reply, found) = oneshot::channel();
        self.tell(Event::Find { message, reply }).await?;
        let (once, routed) = match found.await.map_err(|_| LinkError::Unavailable)? {
            Found::Here(message) => return Ok(Some(message)),
            Found::Ended => return Ok(None),
            Found::Stored { once, routed } => (once, routed),
        };
        once.await.map_err(|_| LinkError::Unavailable)?;
        let stored = self.shared.mailbox.message(message.user_agent, message.id).await?;
        match stored {
            Some(stored) => Ok((!stored.is_expired(self.shared.now())).then(|| Arc::new(stored))),
            None if routed => Ok(None),
            None => Err(LinkError::Unavailable),
        }
    }

    async fn look_up(&self, resource: Resource) -> Result<Standing, LinkError> {
        let subscriptions = &self.shared.subscriptions;
        let members = subscriptions.count(resource.user_agent()).await?;
        let Resource::Subscription(id) = resource else {
            return Ok(Standing { members, endpoint: None, has_webhook: false });
        };
        let found = subscriptions.find(id.user_agent, id.channel).await?.filter(|found| found.id == id);
        let has_webhook = found.as_ref().is_some_and(|found| found.webhook.is_some());
        Ok(Standing { members, endpoint: found.map(|found| self.registered(found).endpoint), has_webhook })
    }

    async fn unsubscribe(&self, id: SubscriptionRef) -> Result<Cancelled, LinkError> {
        let SubscriptionRef { user_agent, channel, .. } = id;
        let subscriptions = &self.shared.subscriptions;
        if subscriptions.find(user_agent, channel).await?.is_some_and(|other| other.id != id) {
            return Ok(Cancelled::Gone);
        }
        let was_there = subscriptions.remove(user_agent, channel).await?;
        // In any case, for an earlier attempt may have come no further than this.
        let dismiss = subscriptions.count(user_agent).await? == 0;
        self.end_in_flight(user_agent, channel, dismiss).await?;
        Ok(if was_there { Cancelled::Ended } else { Cancelled::Gone })
    }
}

#[async_trait]
impl IngressLink for Handle {
    async fn cancel(&self, message: MessageRef) -> Result<Cancelled, LinkError> {
        let ended = timeout(CANCEL_DEADLINE, self.end_message(message, CancelReply::to_cancellation)).await;
        ended.unwrap_or(Err(LinkError::Unavailable))
    }

    async fn alive(&self, id: SubscriptionRef) -> Result<bool, LinkError> {
        Ok(self.shared.subscriptions.alive(&[id]).await? == [true])
    }
}
