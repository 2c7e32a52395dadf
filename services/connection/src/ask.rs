use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use pushgrid_session::autopush::reply::Refused;
use pushgrid_session::autopush::{Close, reply};
use pushgrid_store::{LinkError, Opened, Settlement};
use pushgrid_types::{ChannelId, SessionRef, UserAgentId, VapidKeyHash};
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::outbox::{Ending, Outbox};
use crate::run::Shared;
use crate::socket::End;

/// The pause after the first attempt to end messages that failed; twice as long after each further one.
const SETTLE_PAUSE: Duration = Duration::from_millis(250);

/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Messages whose end is being told to the router.
pub(crate) type Settling = Pin<Box<dyn Future<Output = bool> + Send>>;

/// A call that is under way.
type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T, LinkError>> + Send + 'a>>;

/// A connection's session at the router, and the calls that it makes. One at a time, each bounded in time; nothing
/// else happens on the connection meanwhile.
#[derive(Debug)]
pub(crate) struct Asking {
    session: SessionRef,
    /// Whose session it is, from when it may be open until it is closed.
    opened: Option<UserAgentId>,
}

impl Asking {
    pub(crate) const fn new(session: SessionRef) -> Self {
        Self { session, opened: None }
    }

    /// Finds out who a user agent is: the one that it claims to be when the router knows it, and then the session
    /// holds it; else a new one, which the router need not hear of before it has a subscription.
    pub(crate) async fn identify(
        &mut self,
        claimed: Option<UserAgentId>,
        shared: &Shared,
        outbox: &Outbox,
    ) -> Result<UserAgentId, End> {
        if let Some(claimed) = claimed {
            match self.open(claimed, shared, outbox).await? {
                Ok(Opened::Known(_)) => return Ok(claimed),
                Ok(Opened::Unknown) => {}
                // Never a hello reply without a uaid: Firefox would not come back by itself.
                Err(_) => return Err(End::Close(Close::Unavailable)),
            }
        }
        Ok(UserAgentId::random(&*shared.rng))
    }

    /// Makes a subscription, and opens the session when this is the first: messages that were accepted in between
    /// are stored, and come when the session opens. Answers the frame to send.
    pub(crate) async fn register(
        &mut self,
        user_agent: UserAgentId,
        channel: ChannelId,
        vapid: Option<VapidKeyHash>,
        shared: &Shared,
        outbox: &Outbox,
    ) -> Result<String, End> {
        let registered = within(shared, outbox, shared.router.register(user_agent, channel, vapid)).await?;
        let endpoint = match registered {
            Ok(registered) => registered.endpoint,
            Err(error) => return Ok(reply::refused(channel, refused(&error))),
        };
        if self.opened.is_none() {
            match self.open(user_agent, shared, outbox).await? {
                Ok(Opened::Known(_)) => {}
                // The subscription is there, but its messages would not come: the user agent is to try again.
                Ok(Opened::Unknown) => return Ok(reply::refused(channel, Refused::Unavailable)),
                Err(error) => return Ok(reply::refused(channel, refused(&error))),
            }
        }
        Ok(reply::registered(channel, &endpoint))
    }

    /// Ends a subscription. A user agent without a session has none. Answers the frame to send.
    pub(crate) async fn unregister(
        &self,
        channel: ChannelId,
        shared: &Shared,
        outbox: &Outbox,
    ) -> Result<String, End> {
        let status = match self.opened {
            None => 200,
            Some(user_agent) => {
                let ended = within(shared, outbox, shared.router.unregister(user_agent, channel)).await?;
                ended.map_or_else(|error| refused(&error).status(), |()| 200)
            }
        };
        Ok(reply::unregistered(channel, status))
    }

    /// Ends messages, those that an earlier connection sent, too: to be polled beside all else. A user agent without a
    /// session has none. Without a router it waits for one, within the patience that is set; `false` when that is over.
    pub(crate) fn settling(&self, ended: Vec<Settlement>, shared: &Arc<Shared>) -> Option<Settling> {
        let (user_agent, session, shared) = (self.opened?, self.session, Arc::clone(shared));
        Some(Box::pin(async move {
            let until = Instant::now() + shared.config.router_patience;
            let mut pause = SETTLE_PAUSE;
            loop {
                let call = shared.router.settle(user_agent, session, ended.clone());
                match timeout(shared.config.router_timeout, call).await {
                    Ok(Ok(())) => return true,
                    Ok(Err(error)) => log("settle", &error),
                    Err(_elapsed) => log("settle", &LinkError::Unavailable),
                }
                if Instant::now() + pause > until {
                    return false;
                }
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }))
    }

    /// Closes the session if it may be open, whatever state it is in. Once.
    pub(crate) async fn close(&mut self, shared: &Shared, outbox: &Outbox) {
        if let Some(user_agent) = self.opened.take()
            && let Ok(Err(error)) =
                within(shared, outbox, shared.router.close(user_agent, self.session)).await
        {
            log("close", &error);
        }
    }

    /// A call that failed or was cut short may have opened the session: only a clear "unknown" has not.
    async fn open(
        &mut self,
        user_agent: UserAgentId,
        shared: &Shared,
        outbox: &Outbox,
    ) -> Result<Result<Opened, LinkError>, End> {
        self.opened = Some(user_agent);
        let opened = within(shared, outbox, shared.router.open(user_agent, self.session)).await?;
        match &opened {
            Ok(Opened::Known(epoch)) => outbox.opened(user_agent, *epoch),
            Ok(Opened::Unknown) => self.opened = None,
            Err(error) => log("open", error),
        }
        Ok(opened)
    }
}

/// Waits until the router has heard of what has ended, but not when the node stops at once.
pub(crate) async fn heard(settling: &mut Settling, outbox: &Outbox) -> Result<(), End> {
    poll_fn(|cx| {
        if let Poll::Ready(heard) = settling.as_mut().poll(cx) {
            // The messages come again on the next connection, and so do the acknowledgements.
            return Poll::Ready(if heard { Ok(()) } else { Err(End::Close(Close::Unavailable)) });
        }
        outbox.poll_ending(cx, Ending::Abandoned).map(|()| Err(End::Abandoned))
    })
    .await
}

/// Waits for a call, but not longer than a router may take, and not when the node stops at once.
async fn within<T>(
    shared: &Shared,
    outbox: &Outbox,
    mut call: Call<'_, T>,
) -> Result<Result<T, LinkError>, End> {
    let mut deadline: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        if let Poll::Ready(answer) = call.as_mut().poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        if outbox.poll_ending(cx, Ending::Abandoned).is_ready() {
            return Poll::Ready(Err(End::Abandoned));
        }
        let deadline = deadline.get_or_insert_with(|| Box::pin(sleep(shared.config.router_timeout)));
        deadline.as_mut().poll(cx).map(|()| Ok(Err(LinkError::Unavailable)))
    })
    .await
}

fn refused(error: &LinkError) -> Refused {
    match error {
        LinkError::Unavailable => Refused::Unavailable,
        LinkError::TooManySubscriptions { limit } => Refused::TooManySubscriptions { limit: *limit },
        LinkError::Store(_) => Refused::Failed,
    }
}

/// Only for debugging: the router itself reports what is wrong, and a user agent can make this happen at will.
fn log(call: &'static str, error: &LinkError) {
    tracing::debug!(call, %error, "the router did not do what it was asked");
}
