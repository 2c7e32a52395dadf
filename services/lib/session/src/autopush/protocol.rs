//! The state machine of one autopush connection: a text frame in, an action for the caller out.
//!
//! Invariant: until the user agent is identified, the only actions are to identify and to close. Which messages are
//! sent is decided by the session, and what an action needs of the service is done by the caller.

use pushgrid_crypto::vapid;
use pushgrid_types::{
    AskedBroadcast, BroadcastId, BroadcastVersion, ChannelId, Restriction, Timestamp, Urgency, UserAgentId,
};
use smallvec::SmallVec;

use super::pings::Pings;
use super::{Acknowledged, Close, Kind, PingAllowance, Request, reply};

/// Progress of one connection through the protocol.
///
/// ```text
/// (connected) --hello--> Action::Identify --identified()--> everything else, any number of times
/// ```
///
/// One frame at a time: the caller completes the action of a frame before the next call of [`Protocol::receive`].
#[derive(Debug, Default)]
pub struct Protocol {
    identified: bool,
    pings: Pings,
}

/// Action that a frame asks of the caller.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Look up the user agent `claimed`, or make a new one when the service does not know the claimed id. Then put
    /// [`Protocol::identified`] on the wire, before any notification.
    Identify {
        /// Id that the user agent presents, if any.
        claimed: Option<UserAgentId>,
        /// Least urgency of the messages that it takes.
        min_urgency: Urgency,
        /// Broadcasts for which it asks.
        broadcasts: Vec<AskedBroadcast>,
    },
    /// Send the versions of these broadcasts from now on, and answer with [`reply::broadcast`] if there is anything to
    /// tell.
    AskBroadcasts(Vec<AskedBroadcast>),
    /// Set the least urgency of the messages that the user agent takes, and answer with [`reply::urgency`].
    SetUrgency {
        /// The least urgency.
        min_urgency: Urgency,
    },
    /// Put this text on the wire.
    Send(String),
    /// Make the subscription, and answer with [`reply::registered`] or [`reply::refused`].
    Register {
        /// The channel to subscribe.
        channel: ChannelId,
        /// Hash of the VAPID key to which the subscription is restricted; `None` leaves it open.
        restriction: Restriction,
    },
    /// Answer with [`reply::refused`]: the key is no VAPID public key.
    RefuseKey {
        /// The channel.
        channel: ChannelId,
    },
    /// End the subscription, and answer with [`reply::unregistered`].
    Unregister {
        /// The channel to end.
        channel: ChannelId,
    },
    /// End all subscriptions of the user agent, and answer with [`reply::unregistered_all`].
    UnregisterAll,
    /// End these messages, also those sent on earlier connections. No answer.
    Settle(SmallVec<[Acknowledged; 1]>),
    /// Count the report of the user agent that the handler of a message has failed.
    Nack {
        /// As in [`Request::Nack`].
        code: Option<i64>,
    },
    /// No action.
    Nothing,
    /// Close the connection.
    Close(Close),
}

impl Protocol {
    /// True once the user agent has said hello.
    pub const fn is_identified(&self) -> bool {
        self.identified
    }

    /// Takes one text frame. Returns the kind of frame, for counting, and the action for the caller.
    pub fn receive(&mut self, text: &str, now: Timestamp, allowance: &PingAllowance) -> (Kind, Action) {
        let request = match Request::parse(text) {
            Ok(request) => request,
            Err(close) => return (Kind::Invalid, Action::Close(close)),
        };
        let kind = request.kind();
        let action = match (request, self.identified) {
            (Request::Hello { user_agent, min_urgency, broadcasts }, false) => {
                Action::Identify { claimed: user_agent, min_urgency, broadcasts }
            }
            (_, false) => Action::Close(Close::HelloExpected),
            (request, true) => self.serve(request, now, allowance),
        };
        (kind, action)
    }

    /// Fixes the identity of the user agent, and returns the answer to hello, with the versions of `broadcasts`.
    pub fn identified(
        &mut self,
        user_agent: UserAgentId,
        broadcasts: &[(BroadcastId, BroadcastVersion)],
    ) -> String {
        self.identified = true;
        reply::hello(user_agent, broadcasts)
    }

    fn serve(&mut self, request: Request<'_>, now: Timestamp, allowance: &PingAllowance) -> Action {
        match request {
            Request::Hello { .. } => Action::Close(Close::SecondHello),
            Request::Register { channel, key } => match key.as_deref().map(vapid::PublicKey::from_text) {
                None => Action::Register { channel, restriction: Restriction::Open },
                Some(Ok(key)) => Action::Register { channel, restriction: Restriction::VapidKey(key.hash()) },
                Some(Err(_)) => Action::RefuseKey { channel },
            },
            Request::Unregister { channel } => Action::Unregister { channel },
            Request::UnregisterAll => Action::UnregisterAll,
            Request::Ack { updates } if updates.is_empty() => Action::Nothing,
            Request::Ack { updates } => Action::Settle(updates),
            Request::Nack { code } => Action::Nack { code },
            Request::Urgency { min: Some(min_urgency) } => Action::SetUrgency { min_urgency },
            Request::Urgency { min: None } => Action::Send(reply::urgency(400)),
            Request::Ping if self.pings.allow(now, allowance) => Action::Send(reply::PONG.to_owned()),
            Request::Ping => Action::Close(Close::PingFlood),
            Request::BroadcastSubscribe { broadcasts } if broadcasts.is_empty() => Action::Nothing,
            Request::BroadcastSubscribe { broadcasts } => Action::AskBroadcasts(broadcasts),
        }
    }
}

#[cfg(test)]
mod tests;
