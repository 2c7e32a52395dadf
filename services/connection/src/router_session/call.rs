//! The calls to the router for the requests of a session.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use pushgrid_runtime::spans;
use pushgrid_store::{LinkError, Opened};
use pushgrid_types::{ChannelId, Restriction, SessionRef, Urgency, UserAgentId};
use tokio::time::{Sleep, sleep};
use tracing::Level;

use super::{Answer, Answered, NotRegistered, Request, RouterFailure};
use crate::node::Slot;
use crate::send_queue::{Ending, SendQueue};
use crate::shared::Shared;

/// Most attempts to open a session while the partition goes from owner to owner.
const OPENS: u32 = 4;

/// A call under way.
type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T, LinkError>> + Send + 'a>>;

/// Caller of the router: carries out one request at a time for a connection, each call bounded in time.
pub(super) struct Caller {
    /// Protocol of the user agent.
    pub(super) protocol: &'static str,
    pub(super) session: SessionRef,
    /// Holder of the session, if one may be open.
    pub(super) opened: Option<UserAgentId>,
    pub(super) shared: Arc<Shared>,
    pub(super) queue: Arc<SendQueue>,
}

impl Caller {
    /// Answers the user agent whose session may be open now, and the result of the request.
    pub(super) async fn carry_out(mut self, request: Request) -> (Option<UserAgentId>, Answered) {
        let answer = match request {
            Request::TellUrgency { dropped } => {
                let told = self.tell_urgency(dropped).await;
                return (self.opened, told.map(|()| None));
            }
            Request::Identify { claimed } => self.identify(claimed).await.map(Answer::identified),
            Request::Register { user_agent, channel, restriction } => {
                let registered = self.register(user_agent, channel, restriction).await;
                registered
                    .map(|made| Answer::Registered { channel, endpoint: made.map_err(NotRegistered::Failed) })
            }
            Request::RegisterWithBadKey { channel } => {
                Ok(Answer::Registered { channel, endpoint: Err(NotRegistered::BadKey) })
            }
            Request::Unregister { channel } => {
                self.unregister(channel).await.map(|ended| Answer::Unregistered { channel, ended })
            }
            Request::UnregisterAll => self.unregister_all().await.map(Answer::UnregisteredAll),
            Request::SetUrgency { min_urgency } => {
                self.set_urgency(min_urgency).await.map(Answer::UrgencySet)
            }
        };
        (self.opened, answer.map(Some))
    }

    /// Finds out the identity of a user agent: the claimed one if known to the router, and then the session
    /// holds it; else a new one.
    async fn identify(&mut self, claimed: UserAgentId) -> Result<UserAgentId, RouterFailure> {
        match self.open(claimed).await? {
            Ok(Opened::Known { .. }) => Ok(claimed),
            Ok(Opened::Unknown) => Ok(UserAgentId::random(&*self.shared.rng)),
            // No answer of the user agent without an id: one may not come back by itself.
            Err(_) => Err(RouterFailure::Unavailable),
        }
    }

    /// Makes a subscription, and opens the session if this is the first: messages accepted in between are
    /// stored, and come when the session opens. Answers the endpoint.
    async fn register(
        &mut self,
        user_agent: UserAgentId,
        channel: ChannelId,
        restriction: Restriction,
    ) -> Result<Result<String, LinkError>, RouterFailure> {
        let call = self.shared.router.register(user_agent, channel, restriction);
        let registered = within(&self.shared, &self.queue, call).await?;
        let endpoint = match registered {
            Ok(registered) => registered.endpoint,
            Err(error) => return Ok(Err(error)),
        };
        if self.opened.is_none() {
            match self.open(user_agent).await? {
                Ok(Opened::Known { .. }) => {}
                // The subscription is there, but its messages would not come: the user agent is to try again.
                Ok(Opened::Unknown) => return Ok(Err(LinkError::Unavailable)),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(endpoint))
    }

    /// Ends a subscription. A user agent without a session has none.
    async fn unregister(&self, channel: ChannelId) -> Result<Result<(), LinkError>, RouterFailure> {
        let Some(user_agent) = self.opened else { return Ok(Ok(())) };
        within(&self.shared, &self.queue, self.shared.router.unregister(user_agent, channel)).await
    }

    /// Ends all subscriptions, but not the session: a register that follows finds it open. A user agent without a session
    /// has no subscriptions.
    async fn unregister_all(&self) -> Result<Result<(), LinkError>, RouterFailure> {
        let Some(user_agent) = self.opened else { return Ok(Ok(())) };
        within(&self.shared, &self.queue, self.shared.router.unregister_all(user_agent)).await
    }

    /// Sets the least urgency of the messages that the user agent takes. Without a session, it counts from the opening
    /// on.
    ///
    /// While a router is asked, the node takes what either of the two urgencies allows: what the router releases at
    /// once is not dropped.
    async fn set_urgency(&self, min_urgency: Urgency) -> Result<Result<(), LinkError>, RouterFailure> {
        let before = self.queue.min_urgency();
        if self.opened.is_none() {
            self.queue.set_min_urgency(min_urgency);
            return Ok(Ok(()));
        }
        self.queue.set_min_urgency(before.min(min_urgency));
        // The router takes back what was dropped before it hears of another urgency.
        if let Some(dropped) = self.queue.take_dropped() {
            self.take_back(dropped).await?;
        }
        let set = self.call_set_urgency(min_urgency).await?;
        self.queue.set_min_urgency(if set.is_ok() { min_urgency } else { before });
        Ok(set)
    }

    /// Has a router that has sent messages below an urgency take them back.
    async fn tell_urgency(&self, dropped: Urgency) -> Result<(), RouterFailure> {
        self.take_back(dropped).await?;
        let min_urgency = self.queue.min_urgency();
        if min_urgency == dropped {
            return Ok(());
        }
        self.call_set_urgency(min_urgency).await?.map_err(|_| RouterFailure::Unavailable)
    }

    /// Without an answer the session has to end, which gives the messages back, too.
    async fn take_back(&self, dropped: Urgency) -> Result<(), RouterFailure> {
        self.call_set_urgency(dropped).await?.map_err(|_| RouterFailure::Unavailable)
    }

    async fn call_set_urgency(&self, min_urgency: Urgency) -> Result<Result<(), LinkError>, RouterFailure> {
        let Some(user_agent) = self.opened else { return Ok(Ok(())) };
        let call = self.shared.router.set_urgency(user_agent, self.session, min_urgency);
        within(&self.shared, &self.queue, call).await
    }

    /// A call cut short or failed may have opened the session: only a clear "unknown" has not.
    ///
    /// An answer by an owner about to hand the partition on is followed by a second call: the next owner
    /// asked the nodes for their sessions before this one was open.
    async fn open(&mut self, user_agent: UserAgentId) -> Result<Result<Opened, LinkError>, RouterFailure> {
        self.opened = Some(user_agent);
        let mut left = OPENS;
        loop {
            left -= 1;
            self.queue.opening(user_agent);
            let call = self.shared.router.open(user_agent, self.session, self.queue.min_urgency());
            let opened = within(&self.shared, &self.queue, call).await?;
            match &opened {
                Ok(Opened::Known { epoch, min_urgency }) => {
                    if self.queue.opened(user_agent, *epoch, *min_urgency) && left > 0 {
                        continue;
                    }
                }
                Ok(Opened::Unknown) => self.opened = None,
                Err(error) => {
                    let (protocol, session) = (self.protocol, self.session);
                    let context = spans::Session { protocol, session, user_agent: Some(user_agent) };
                    log("open", error, &context);
                }
            }
            return Ok(opened);
        }
    }
}

/// Closes a session. Once.
pub(super) async fn close(user_agent: UserAgentId, slot: &Slot, shared: &Shared, protocol: &'static str) {
    let session = slot.session();
    if let Ok(Err(error)) = within(shared, &slot.queue, shared.router.close(user_agent, session)).await {
        log("close", &error, &spans::Session { protocol, session, user_agent: Some(user_agent) });
    }
}

/// Waits for a call, but not longer than a router may take, and not when the node stops at once.
async fn within<T>(
    shared: &Shared,
    queue: &SendQueue,
    mut call: Call<'_, T>,
) -> Result<Result<T, LinkError>, RouterFailure> {
    let mut deadline: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        if let Poll::Ready(answer) = call.as_mut().poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        if queue.poll_ending(cx, Ending::Abandoned).is_ready() {
            return Poll::Ready(Err(RouterFailure::Abandoned));
        }
        let deadline = deadline.get_or_insert_with(|| Box::pin(sleep(shared.config.router_timeout)));
        deadline.as_mut().poll(cx).map(|()| Ok(Err(LinkError::Unavailable)))
    })
    .await
}

/// Only for debugging: the router itself reports the fault, and a user agent can cause one at will.
pub(super) fn log(call: &'static str, error: &LinkError, context: &spans::Session) {
    if tracing::enabled!(Level::DEBUG) {
        let line = || tracing::debug!(call, %error, "the router did not do what it was asked");
        context.span().in_scope(line);
    }
}
