//! Calls of a connection node or an ingress to the routers: each goes to the owner of the user agent's partition, and
//! is retried with exponential backoff until a deadline. Batching is in `batch`, connections are in `peer`, and the calls
//! about one subscription or message by its name in `addresses`.
//! Invariant: an error that a retry cannot mend is returned at once.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use pushgrid_proto::stored;
use pushgrid_proto::wire::router::v1 as wire;
use pushgrid_runtime::Backoff;
use pushgrid_runtime::config::Reader;
use pushgrid_runtime::metrics::{BREAKER_OPEN, Meter};
use pushgrid_store::{
    Cancelled, ErrorKind, LinkError, Opened, Registered, RouterLink, Settlement, StoreError,
};
use pushgrid_types::cast::fitting;
use pushgrid_types::{
    ChannelId, Epoch, Incarnation, MessageId, MessageRef, NodeId, Restriction, SessionRef, SubscriptionRef,
    Urgency, UserAgentId,
};
use tokio::time::{Instant, timeout_at};

use crate::fault::Failure;
use crate::form;
use crate::membership::{MemberList, MembershipView};

mod addresses;
mod batch;
mod peer;

use peer::Peer;

/// The session of a settlement: no router of this release reads it, and one of the release before refuses a settlement
/// without any.
const UNREAD: wire::Session = wire::Session { node: 0, session: 0 };

/// First backoff before a retry.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Longest backoff.
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// Settings and bounds of calls to routers.
#[derive(Debug, Clone)]
pub struct RoutersConfig {
    /// Deadline of a call, with all waits for an owner and all retries.
    pub patience: Duration,
    /// Deadline of one attempt.
    pub attempt: Duration,
    /// Deadline for connecting.
    pub connect: Duration,
    /// Consecutive failures that open the breaker of a router.
    pub failures: u32,
    /// Time for which the breaker stays open.
    pub pause: Duration,
    /// Most calls in one batch.
    pub batch: usize,
    /// Most calls queued for the next batch to a router; more wait at their sockets.
    pub queue: usize,
}

impl Default for RoutersConfig {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(8),
            attempt: Duration::from_secs(4),
            connect: Duration::from_secs(2),
            failures: 3,
            pause: Duration::from_secs(1),
            batch: 512,
            queue: 8192,
        }
    }
}

impl RoutersConfig {
    /// Reads the settings of the section `grid` for calls to routers.
    pub fn read(reader: &mut Reader) -> Self {
        let seconds = Duration::from_secs;
        Self {
            patience: reader.duration(
                "grid.patience",
                "8s",
                Duration::from_millis(100)..=Duration::from_mins(1),
                "Longest time for a call to a router in all, while its partition moves to another one.",
            ),
            attempt: reader.duration(
                "grid.call_timeout",
                "4s",
                seconds(3)..=Duration::from_mins(1),
                "Longest time for one attempt of a call to a router.",
            ),
            connect: crate::transport::read_connect_timeout(reader),
            ..Self::default()
        }
    }
}

/// [`RouterLink`], [`ResourceLink`](pushgrid_store::ResourceLink) and [`IngressLink`](pushgrid_store::IngressLink) over
/// the owners of partitions. Clones share the connections.
///
/// A call without a known owner, that does not reach the owner, or that the owner answers with "unavailable", is
/// retried when the member list changes or after an exponential backoff, until [`RoutersConfig::patience`]. A retried
/// call may happen twice, which is harmless: the answer is the same, except that what has been ended by name may
/// be answered with [`Cancelled::Gone`].
///
/// [`RouterLink::settle`] and [`RouterLink::close`] of many sessions go to a router in batches: while one is in flight
/// the next gathers.
#[derive(Clone)]
pub struct Routers(Arc<Inner>);

struct Inner {
    config: RoutersConfig,
    membership_view: MembershipView,
    meter: Meter,
    peers: Mutex<Peers>,
}

/// Connections to the routers called so far.
#[derive(Default)]
struct Peers {
    by_id: HashMap<NodeId, Arc<Peer>>,
    /// Member list of the last removal of departed routers.
    of: Option<Arc<MemberList>>,
}

impl Inner {
    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock()
    }

    /// Tells whether calls of any router fail at once.
    fn shuns(&self) -> bool {
        self.peers().by_id.values().any(|peer| peer.is_shunned())
    }
}

impl Routers {
    /// Makes a link to the routers of `membership_view`. Connects on first use, and forgets routers that left. Has to
    /// be used within a runtime.
    pub fn new(config: RoutersConfig, membership_view: MembershipView, meter: &Meter) -> Self {
        let inner = Inner { config, membership_view, meter: meter.clone(), peers: Mutex::default() };
        let (inner, open) = (Arc::new(inner), meter.gauge(&BREAKER_OPEN, &[("dependency", "router")]));
        let shunning = Arc::downgrade(&inner);
        meter.on_scrape(move || {
            let shuns = shunning.upgrade().is_some_and(|inner| inner.shuns());
            open.set(f64::from(u8::from(shuns)));
        });
        Self(inner)
    }

    /// Calls the owner of a user agent's partition, with retries, until an answer or the deadline.
    async fn ask<T, F>(
        &self,
        user_agent: UserAgentId,
        attempt: impl Fn(Arc<Peer>) -> F,
    ) -> Result<T, LinkError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let Inner { config, membership_view, .. } = &*self.0;
        let deadline = Instant::now() + config.patience;
        let mut backoff = Backoff::new(FIRST_PAUSE, LAST_PAUSE);
        loop {
            // Subscribed before the owner is looked up, so that no change after that is missed.
            let mut changes = membership_view.changes();
            let member_list = changes.borrow_and_update().clone();
            let mut failure = Failure::Lost;
            if let Some(peer) = self.owner(&member_list, user_agent) {
                match timeout_at(deadline, attempt(peer)).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(failed)) if !failed.may_pass() => return Err(failed.into_error()),
                    Ok(Err(failed)) => failure = failed,
                    Err(_elapsed) => {}
                }
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(failure.into_error());
            }
            membership_view.touch();
            // An error would mean that the membership view is gone, which this holds.
            let _ = timeout_at(deadline.min(now + backoff.fail()), changes.changed()).await;
        }
    }

    async fn end_subscription(
        &self,
        user_agent: UserAgentId,
        request: wire::UnregisterRequest,
    ) -> Result<Cancelled, LinkError> {
        let call = |peer: Arc<Peer>| {
            let request = request.clone();
            async move { peer.call(async |mut router| router.unregister(request).await).await }
        };
        let answer = self.ask(user_agent, call).await?;
        Ok(if answer.gone { Cancelled::Gone } else { Cancelled::Ended })
    }

    async fn make(
        &self,
        user_agent: UserAgentId,
        request: wire::RegisterRequest,
    ) -> Result<wire::RegisterResponse, LinkError> {
        let call = |peer: Arc<Peer>| {
            let request = request.clone();
            async move { peer.call(async |mut router| router.register(request).await).await }
        };
        self.ask(user_agent, call).await
    }

    async fn end_message(&self, message: MessageRef, acknowledged: bool) -> Result<Cancelled, LinkError> {
        let request = wire::CancelRequest {
            user_agent: form::of_user_agent(message.user_agent),
            channel: form::of_channel(message.channel),
            id: Bytes::copy_from_slice(message.id.as_octets()),
            sequence: message.sequence.0,
            acknowledged,
        };
        let call = |peer: Arc<Peer>| {
            let request = request.clone();
            async move { peer.call(async |mut router| router.cancel(request).await).await }
        };
        let answer = self.ask(message.user_agent, call).await?;
        Ok(if answer.ended { Cancelled::Ended } else { Cancelled::Gone })
    }

    /// Connection to the owner of the partition of a user agent.
    fn owner(&self, member_list: &Arc<MemberList>, user_agent: UserAgentId) -> Option<Arc<Peer>> {
        let owner = member_list.owner_of(user_agent)?;
        let mut peers = self.0.peers();
        if !peers.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, member_list)) {
            peers.by_id.retain(|id, _| member_list.has(*id));
            peers.of = Some(Arc::clone(member_list));
        }
        if let Some(peer) = peers.by_id.get(&owner.id) {
            return Some(Arc::clone(peer));
        }
        let peer = Arc::new(Peer::new(&self.0.config, &owner.address, &self.0.meter)?);
        peers.by_id.insert(owner.id, Arc::clone(&peer));
        Some(peer)
    }
}

#[async_trait]
impl RouterLink for Routers {
    async fn open(
        &self,
        user_agent: UserAgentId,
        session: SessionRef,
        min_urgency: Urgency,
    ) -> Result<Opened, LinkError> {
        let request = wire::OpenRequest {
            user_agent: form::of_user_agent(user_agent),
            session: Some(form::of_session(session)),
            min_urgency: form::of_min_urgency(min_urgency),
        };
        let call = |peer: Arc<Peer>| {
            let request = request.clone();
            async move { peer.call(async |mut router| router.open(request).await).await }
        };
        let opened = self.ask(user_agent, call).await?;
        let min_urgency = form::min_urgency(opened.min_urgency());
        let known = opened.epoch.map(|epoch| Opened::Known { epoch: Epoch(epoch), min_urgency });
        Ok(known.unwrap_or(Opened::Unknown))
    }

    async fn set_urgency(
        &self,
        user_agent: UserAgentId,
        session: SessionRef,
        min_urgency: Urgency,
    ) -> Result<(), LinkError> {
        let request = wire::SetUrgencyRequest {
            user_agent: form::of_user_agent(user_agent),
            session: Some(form::of_session(session)),
            min_urgency: form::of_min_urgency(min_urgency),
        };
        let call = |peer: Arc<Peer>| {
            let request = request.clone();
            async move { peer.call(async |mut router| router.set_urgency(request).await).await }
        };
        self.ask(user_agent, call).await.map(drop)
    }

    async fn register(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        restriction: Restriction,
    ) -> Result<Registered, LinkError> {
        let answer = self.make(user_agent, to_make(user_agent, channel, restriction)).await?;
        readable(registered(user_agent, channel, answer))
    }

    async fn unregister(&self, user_agent: UserAgentId, channel: ChannelId) -> Result<(), LinkError> {
        let request = wire::UnregisterRequest {
            user_agent: form::of_user_agent(user_agent),
            channel: form::of_channel(channel),
            incarnation: None,
        };
        self.end_subscription(user_agent, request).await?;
        Ok(())
    }

    async fn unregister_all(&self, user_agent: UserAgentId) -> Result<(), LinkError> {
        let request = wire::UnregisterAllRequest { user_agent: form::of_user_agent(user_agent) };
        let call = |peer: Arc<Peer>| {
            let request = request.clone();
            async move { peer.call(async |mut router| router.unregister_all(request).await).await }
        };
        self.ask(user_agent, call).await.map(drop)
    }

    async fn settle(&self, user_agent: UserAgentId, ended: Vec<Settlement>) -> Result<(), LinkError> {
        let settled = settled(user_agent, &ended);
        let call = |peer: Arc<Peer>| {
            let settled = settled.clone();
            async move { peer.settle(settled).await }
        };
        self.ask(user_agent, call).await
    }

    async fn close(&self, user_agent: UserAgentId, session: SessionRef) -> Result<(), LinkError> {
        let closed = wire::Closed {
            user_agent: form::of_user_agent(user_agent),
            session: Some(form::of_session(session)),
        };
        let call = |peer: Arc<Peer>| {
            let closed = closed.clone();
            async move { peer.close(closed).await }
        };
        self.ask(user_agent, call).await
    }
}

fn settled(user_agent: UserAgentId, ended: &[Settlement]) -> wire::Settled {
    let mut ids = Vec::with_capacity(ended.len() * MessageId::SIZE);
    let mut outcomes = Vec::with_capacity(ended.len());
    for settlement in ended {
        ids.extend_from_slice(settlement.id.as_octets());
        outcomes.push(fitting::<u8>(settlement.outcome.index()));
    }
    wire::Settled {
        user_agent: form::of_user_agent(user_agent),
        session: Some(UNREAD),
        ids: ids.into(),
        outcomes: outcomes.into(),
    }
}

/// A subscription to make, of a user agent with or without others.
fn to_make(user_agent: UserAgentId, channel: ChannelId, restriction: Restriction) -> wire::RegisterRequest {
    wire::RegisterRequest {
        user_agent: form::of_user_agent(user_agent),
        channel: form::of_channel(channel),
        restriction: restriction.to_octets().map(Bytes::from),
        joins: false,
        webhook: None,
    }
}

fn registered(
    user_agent: UserAgentId,
    channel: ChannelId,
    answer: wire::RegisterResponse,
) -> Option<Registered> {
    let incarnation = Incarnation::from_slice(&answer.incarnation)?;
    let id = SubscriptionRef { user_agent, channel, incarnation };
    let subscription = stored::subscription_from_wire(answer.subscription.as_ref()?, id).ok()?;
    Some(Registered { subscription, endpoint: answer.endpoint })
}

/// An answer that could be read, or the error for one that could not.
fn readable<T>(answer: Option<T>) -> Result<T, LinkError> {
    answer.ok_or_else(|| StoreError::new(ErrorKind::Corrupt, "a router's answer cannot be read").into())
}

impl fmt::Debug for Routers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routers").field("members", &self.0.membership_view).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
