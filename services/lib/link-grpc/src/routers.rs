//! The way of a connection node or an ingress to the routers.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pushgrid_proto::stored;
use pushgrid_proto::wire::router::v1 as wire;
use pushgrid_runtime::config::Reader;
use pushgrid_runtime::metrics::Meter;
use pushgrid_store::{
    Cancelled, ErrorKind, LinkError, Opened, Registered, RouterLink, Settlement, StoreError,
};
use pushgrid_types::{
    ChannelId, Epoch, Incarnation, MessageId, MessageRef, NodeId, SessionRef, SubscriptionRef, UserAgentId,
    VapidKeyHash,
};
use tokio::time::{Instant, timeout_at};

use crate::fault::Failure;
use crate::form;
use crate::roster::{Lineup, Roster};

mod batch;
mod breaker;
mod peer;

use breaker::Open;
use peer::Peer;

/// The first pause before a call is tried again; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause.
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// What an operator may choose of the way to the routers.
#[derive(Debug, Clone)]
pub struct RoutersConfig {
    /// How long a call may take in all, with every wait for an owner and every repeat.
    pub patience: Duration,
    /// How long one attempt may take.
    pub attempt: Duration,
    /// How long making a connection may take.
    pub connect: Duration,
    /// Failures in a row after which a router is left alone for a while.
    pub failures: u32,
    /// How long that is.
    pub pause: Duration,
    /// Sessions whose calls go to a router in one batch.
    pub batch: usize,
    /// Sessions whose calls may wait for the next batch to a router; more wait at their sockets.
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
    /// Reads the settings of the section `grid` that are about calls to routers.
    pub fn read(reader: &mut Reader) -> Self {
        let seconds = Duration::from_secs;
        Self {
            patience: reader.duration(
                "grid.patience",
                "8s",
                Duration::from_millis(100)..=Duration::from_mins(1),
                "How long a call to a router may take in all, while its partition moves to another one.",
            ),
            attempt: reader.duration(
                "grid.call_timeout",
                "4s",
                seconds(3)..=Duration::from_mins(1),
                "How long one attempt of a call to a router may take.",
            ),
            connect: crate::transport::read_connect_timeout(reader),
            ..Self::default()
        }
    }
}

/// The routers, as one [`RouterLink`]: each call goes to the one that owns the user agent's partition. Clones share the
/// connections.
///
/// A call for which no owner is known, that does not reach the owner, or that the owner answers with "unavailable" is
/// made again when the members have changed or a short growing pause is over, until [`RoutersConfig::patience`] ends
/// it. It may then happen twice, which is harmless: what is open, made or ended already stays so, and the answer is
/// the same; only a cancellation that has happened may be answered with [`Cancelled::Gone`].
///
/// [`RouterLink::settle`] and [`RouterLink::close`] of many sessions go to a router together: while one batch is under
/// way the next gathers.
#[derive(Clone)]
pub struct Routers(Arc<Inner>);

struct Inner {
    config: RoutersConfig,
    roster: Roster,
    meter: Meter,
    open: Arc<Open>,
    peers: Mutex<Peers>,
}

/// The routers that were called.
#[derive(Default)]
struct Peers {
    by_id: HashMap<NodeId, Arc<Peer>>,
    /// The members when it was last looked who has gone.
    of: Option<Arc<Lineup>>,
}

impl Routers {
    /// A way to the routers of `roster`. Nothing is connected before it is needed, and what has left is forgotten.
    /// Has to be used within a runtime.
    pub fn new(config: RoutersConfig, roster: Roster, meter: &Meter) -> Self {
        let open = Open::new(meter);
        Self(Arc::new(Inner { config, roster, meter: meter.clone(), open, peers: Mutex::default() }))
    }

    /// Makes a call at the owner of a user agent's partition, until one has answered or patience ends.
    async fn ask<T, F>(
        &self,
        user_agent: UserAgentId,
        attempt: impl Fn(Arc<Peer>) -> F,
    ) -> Result<T, LinkError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let Inner { config, roster, .. } = &*self.0;
        let deadline = Instant::now() + config.patience;
        let mut pause = FIRST_PAUSE;
        loop {
            // Before the owner is looked up, so that no change after that is missed.
            let mut changes = roster.changes();
            let lineup = changes.borrow_and_update().clone();
            let mut failure = Failure::Lost;
            if let Some(peer) = self.owner(&lineup, user_agent) {
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
            roster.touch();
            // An error would mean that the roster is gone, which this holds.
            let _ = timeout_at(deadline.min(now + pause), changes.changed()).await;
            pause = LAST_PAUSE.min(pause * 2);
        }
    }

    /// The router that owns the partition of a user agent.
    fn owner(&self, lineup: &Arc<Lineup>, user_agent: UserAgentId) -> Option<Arc<Peer>> {
        let owner = lineup.owner_of(user_agent)?;
        let mut peers = self.0.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if !peers.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, lineup)) {
            peers.by_id.retain(|id, _| lineup.has(*id));
            peers.of = Some(Arc::clone(lineup));
        }
        if let Some(peer) = peers.by_id.get(&owner.id) {
            return Some(Arc::clone(peer));
        }
        let open = Arc::clone(&self.0.open);
        let peer = Arc::new(Peer::new(&self.0.config, &owner.address, open, &self.0.meter)?);
        peers.by_id.insert(owner.id, Arc::clone(&peer));
        Some(peer)
    }
}

#[async_trait]
impl RouterLink for Routers {
    async fn open(&self, user_agent: UserAgentId, session: SessionRef) -> Result<Opened, LinkError> {
        let request = wire::OpenRequest {
            user_agent: form::of_user_agent(user_agent),
            session: Some(form::of_session(session)),
        };
        let call = |peer: Arc<Peer>| {
            let request = request.clone();
            async move { peer.call(async |mut router| router.open(request).await).await }
        };
        let opened = self.ask(user_agent, call).await?;
        Ok(opened.epoch.map_or(Opened::Unknown, |epoch| Opened::Known(Epoch(epoch))))
    }

    async fn register(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        vapid: Option<VapidKeyHash>,
    ) -> Result<Registered, LinkError> {
        let request = wire::RegisterRequest {
            user_agent: form::of_user_agent(user_agent),
            channel: form::of_channel(channel),
            vapid: vapid.map(|hash| Bytes::copy_from_slice(&hash.0)),
        };
        let call = |peer: Arc<Peer>| {
            let request = request.clone();
            async move { peer.call(async |mut router| router.register(request).await).await }
        };
        let answer = self.ask(user_agent, call).await?;
        registered(user_agent, channel, answer)
            .ok_or_else(|| StoreError::new(ErrorKind::Corrupt, "a router's answer cannot be read").into())
    }

    async fn unregister(&self, user_agent: UserAgentId, channel: ChannelId) -> Result<(), LinkError> {
        let request = wire::UnregisterRequest {
            user_agent: form::of_user_agent(user_agent),
            channel: form::of_channel(channel),
        };
        let call = |peer: Arc<Peer>| {
            let request = request.clone();
            async move { peer.call(async |mut router| router.unregister(request).await).await }
        };
        self.ask(user_agent, call).await?;
        Ok(())
    }

    async fn settle(
        &self,
        user_agent: UserAgentId,
        session: SessionRef,
        ended: Vec<Settlement>,
    ) -> Result<(), LinkError> {
        let mut ids = Vec::with_capacity(ended.len() * MessageId::SIZE);
        let mut outcomes = Vec::with_capacity(ended.len());
        for settlement in &ended {
            ids.extend_from_slice(settlement.id.as_octets());
            outcomes.push(u8::try_from(settlement.outcome.index()).expect("a handful of outcomes"));
        }
        let settled = wire::Settled {
            user_agent: form::of_user_agent(user_agent),
            session: Some(form::of_session(session)),
            ids: ids.into(),
            outcomes: outcomes.into(),
        };
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

    async fn cancel(&self, message: MessageRef) -> Result<Cancelled, LinkError> {
        let request = wire::CancelRequest {
            user_agent: form::of_user_agent(message.user_agent),
            channel: form::of_channel(message.channel),
            id: Bytes::copy_from_slice(message.id.as_octets()),
            sequence: message.sequence.0,
        };
        let call = |peer: Arc<Peer>| {
            let request = request.clone();
            async move { peer.call(async |mut router| router.cancel(request).await).await }
        };
        let answer = self.ask(message.user_agent, call).await?;
        Ok(if answer.ended { Cancelled::Ended } else { Cancelled::Gone })
    }

    async fn alive(&self, id: SubscriptionRef) -> Result<bool, LinkError> {
        let request = form::of_alive(id);
        let call = |peer: Arc<Peer>| {
            let request = request.clone();
            async move { peer.call(async |mut router| router.alive(request).await).await }
        };
        Ok(self.ask(id.user_agent, call).await?.alive)
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

impl fmt::Debug for Routers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routers").field("roster", &self.0.roster).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
