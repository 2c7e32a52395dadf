//! The session of a connection with its router: the user agent's identity, requests and acknowledgements.
//!
//! Order of the calls: [`RouterSession::add`] and [`RouterSession::begin`] for requests, of which one at a
//! time is carried out while [`RouterSession::poll`] is called; [`RouterSession::identified`] once the user
//! agent's identity is found; at the end [`RouterSession::finish`], then [`RouterSession::close`].

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pushgrid_runtime::spans;
use pushgrid_store::{LinkError, Settlement};
use pushgrid_types::{BroadcastId, BroadcastVersion, ChannelId, Restriction, Urgency, UserAgentId};

use self::call::Caller;
pub(crate) use self::report::AckReport;
use crate::node::Slot;
use crate::shared::Shared;

mod call;
mod report;

/// Requests of one user agent allowed to wait for the one under way. With so many waiting the user agent is
/// not read any more; messages are still sent.
const WAITING: usize = 32;

/// Request of a user agent to its router, or one refused here, with a place among the former.
#[derive(Debug)]
pub(crate) enum Request {
    Identify {
        claimed: UserAgentId,
    },
    Register {
        user_agent: UserAgentId,
        channel: ChannelId,
        restriction: Restriction,
    },
    RegisterWithBadKey {
        channel: ChannelId,
    },
    Unregister {
        channel: ChannelId,
    },
    UnregisterAll,
    SetUrgency {
        min_urgency: Urgency,
    },
    /// Tells a router of the least urgency, below which it has sent messages, again.
    TellUrgency {
        dropped: Urgency,
    },
}

/// Answer to a request.
pub(crate) enum Answer {
    /// `broadcasts` has the versions that are new to the user agent, once the answer is sent.
    Identified {
        user_agent: UserAgentId,
        broadcasts: Vec<(BroadcastId, BroadcastVersion)>,
    },
    Registered {
        channel: ChannelId,
        endpoint: Result<String, NotRegistered>,
    },
    Unregistered {
        channel: ChannelId,
        ended: Result<(), LinkError>,
    },
    UnregisteredAll(Result<(), LinkError>),
    UrgencySet(Result<(), LinkError>),
}

impl Answer {
    pub(crate) const fn identified(user_agent: UserAgentId) -> Self {
        Self::Identified { user_agent, broadcasts: Vec::new() }
    }
}

/// Reason for the absence of a subscription.
pub(crate) enum NotRegistered {
    /// The key is no VAPID public key.
    BadKey,
    /// The router did not make the subscription.
    Failed(LinkError),
}

/// Failure of the session as a whole: the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouterFailure {
    /// The router could not be reached for too long.
    Unavailable,
    /// The node stops at once.
    Abandoned,
}

/// A connection's session at the router, and the requests to the router: one at a time, in order, each
/// bounded in time. Polled beside all else.
///
/// Small while nothing is asked, for most user agents never ask again.
#[derive(Default)]
pub(crate) struct RouterSession {
    /// User agent, once known.
    user_agent: Option<UserAgentId>,
    /// User agent of the session, from the first possible opening at the router until the close.
    opened: Option<UserAgentId>,
    asked: Option<Box<Asked>>,
}

/// Requests without an answer: never none.
#[derive(Default)]
struct Asked {
    under_way: Option<Call>,
    waiting: VecDeque<Waiting>,
}

/// A request being carried out. At the end the answer names the user agent whose session may be open.
type Call = Pin<Box<dyn Future<Output = (Option<UserAgentId>, Answered)> + Send>>;

/// Result of a request: an answer, unless the request was the node's own.
pub(crate) type Answered = Result<Option<Answer>, RouterFailure>;

#[derive(Debug)]
struct Waiting {
    request: Request,
    /// Messages acknowledged earlier; the router has to confirm the end of each first.
    unconfirmed: usize,
}

impl RouterSession {
    /// User agent, once known.
    pub(crate) const fn user_agent(&self) -> Option<UserAgentId> {
        self.user_agent
    }

    /// Notes the identity of the user agent.
    pub(crate) const fn identified(&mut self, user_agent: UserAgentId) {
        self.user_agent = Some(user_agent);
    }

    /// Begins to report the end of messages to the router. A user agent without a session has none.
    pub(crate) fn report_acks(
        &self,
        ended: Vec<Settlement>,
        shared: &Arc<Shared>,
        slot: &Slot,
        protocol: &'static str,
    ) -> Option<AckReport> {
        let user_agent = self.opened?;
        let context = spans::Session { protocol, session: slot.session(), user_agent: Some(user_agent) };
        Some(AckReport::begin(user_agent, ended, shared, context))
    }

    /// Closes the session if possibly open, in any state. Once.
    pub(crate) async fn close(&mut self, shared: &Shared, slot: &Slot, protocol: &'static str) {
        if let Some(user_agent) = self.opened.take() {
            call::close(user_agent, slot, shared, protocol).await;
        }
    }

    /// Takes a request, due after `unconfirmed` messages have been confirmed by the router.
    pub(crate) fn add(&mut self, request: Request, unconfirmed: usize) {
        self.asked.get_or_insert_default().waiting.push_back(Waiting { request, unconfirmed });
    }

    /// Adds the request to tell a router of the least urgency again; one that waits already is enough.
    pub(crate) fn tell_urgency(&mut self, dropped: Urgency) {
        let waiting = &mut self.asked.get_or_insert_default().waiting;
        let mut requests = waiting.iter_mut().map(|next| &mut next.request);
        let told = requests.find_map(|request| match request {
            Request::TellUrgency { dropped } => Some(dropped),
            _ => None,
        });
        match told {
            Some(told) => *told = dropped.max(*told),
            None => self.add(Request::TellUrgency { dropped }, 0),
        }
    }

    /// Tells whether the session is being opened: no message can be for the user agent yet, or none may be
    /// sent.
    pub(crate) fn is_opening(&self) -> bool {
        self.is_under_way() && self.opened.is_none()
    }

    /// Tells whether a request of the user agent is still without an answer.
    pub(crate) const fn is_busy(&self) -> bool {
        self.asked.is_some()
    }

    /// Tells whether as many requests wait as may.
    pub(crate) fn is_full(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.waiting.len() >= WAITING)
    }

    /// Notes the router's confirmation for the end of so many more messages.
    pub(crate) fn confirmed(&mut self, count: usize) {
        for waiting in self.asked.iter_mut().flat_map(|asked| &mut asked.waiting) {
            waiting.unconfirmed = waiting.unconfirmed.saturating_sub(count);
        }
    }

    /// Begins the next request, if there is one and none is under way. Answers whether one is.
    pub(crate) fn begin(&mut self, shared: &Arc<Shared>, slot: &Slot, protocol: &'static str) -> bool {
        if self.is_under_way() {
            return true;
        }
        let Some(asked) = &mut self.asked else { return false };
        let Some(next) = asked.waiting.pop_front_if(|next| next.unconfirmed == 0) else { return false };
        let caller = Caller {
            protocol,
            session: slot.session(),
            opened: self.opened,
            shared: Arc::clone(shared),
            queue: Arc::clone(&slot.queue),
        };
        asked.under_way = Some(Box::pin(caller.carry_out(next.request)));
        true
    }

    /// Ready when the one under way has ended. Pending when there is none.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answered> {
        let Some(asked) = &mut self.asked else { return Poll::Pending };
        let Some(call) = &mut asked.under_way else { return Poll::Pending };
        let (opened, answer) = ready!(call.as_mut().poll(cx));
        asked.under_way = None;
        self.opened = opened;
        self.asked.take_if(|asked| asked.waiting.is_empty());
        Poll::Ready(answer)
    }

    /// Ends the request under way, for a connection at its end, and carries out every unregistration still
    /// waiting: nobody is there to register for, but an unregistration is meant, however soon its user agent
    /// goes. All within the time limit of one call.
    pub(crate) async fn finish(
        &mut self,
        shared: &Arc<Shared>,
        slot: &Slot,
        protocol: &'static str,
    ) -> Answered {
        let answer = if self.is_under_way() { poll_fn(|cx| self.poll(cx)).await? } else { None };
        if let Some(asked) = &mut self.asked {
            asked
                .waiting
                .retain(|next| matches!(next.request, Request::Unregister { .. } | Request::UnregisterAll));
        }
        self.confirmed(usize::MAX);
        let all = async {
            while self.begin(shared, slot, protocol) {
                if poll_fn(|cx| self.poll(cx)).await.is_err() {
                    break;
                }
            }
        };
        // What is left is as if it had not been read.
        let _ = tokio::time::timeout(shared.config.router_timeout, all).await;
        self.asked = None;
        Ok(answer)
    }

    fn is_under_way(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.under_way.is_some())
    }
}
