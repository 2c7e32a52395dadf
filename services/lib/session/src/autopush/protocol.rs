use pushgrid_crypto::vapid;
use pushgrid_types::{ChannelId, Timestamp, UserAgentId, VapidKeyHash};
use smallvec::SmallVec;

use super::pings::Pings;
use super::{Acknowledged, Close, Kind, PingAllowance, Request, reply};

/// Where one connection stands.
///
/// ```text
/// (connected) --hello--> Action::Identify --identified()--> everything else, any number of times
/// ```
///
/// One frame at a time: the action of a frame is done before the next one is received.
#[derive(Debug, Default)]
pub struct Protocol {
    user_agent: Option<UserAgentId>,
    pings: Pings,
}

/// What the caller is to do for a frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Find out who this is: the user agent `claimed` when the service knows it, or a new one. Then put
    /// [`Protocol::identified`] on the wire, before any notification.
    Identify {
        /// Who it says it is.
        claimed: Option<UserAgentId>,
    },
    /// Put this on the wire.
    Send(String),
    /// Make the subscription, and answer with [`reply::registered`] or [`reply::refused`].
    Register {
        /// The channel.
        channel: ChannelId,
        /// The only application server that may use it.
        vapid: Option<VapidKeyHash>,
    },
    /// End the subscription, and answer with [`reply::unregistered`].
    Unregister {
        /// The channel.
        channel: ChannelId,
    },
    /// End these messages, those of earlier connections too. No answer.
    Settle(SmallVec<[Acknowledged; 1]>),
    /// Count it: the user agent reports that the handler of a message has failed.
    Nack {
        /// As in [`Request::Nack`].
        code: Option<i64>,
    },
    /// Nothing.
    Nothing,
    /// Close the connection.
    Close(Close),
}

impl Protocol {
    /// Who it is, once that is known.
    pub const fn user_agent(&self) -> Option<UserAgentId> {
        self.user_agent
    }

    /// Takes one text frame: what kind it is, and what to do for it.
    pub fn receive(&mut self, text: &str, now: Timestamp, allowance: &PingAllowance) -> (Kind, Action) {
        let request = match Request::parse(text) {
            Ok(request) => request,
            Err(close) => return (Kind::Invalid, Action::Close(close)),
        };
        let kind = request.kind();
        let action = match (request, self.user_agent) {
            (Request::Hello { user_agent }, None) => Action::Identify { claimed: user_agent },
            (_, None) => Action::Close(Close::HelloExpected),
            (request, Some(_)) => self.serve(request, now, allowance),
        };
        (kind, action)
    }

    /// Settles who it is, and gives the answer to its hello.
    pub fn identified(&mut self, user_agent: UserAgentId) -> String {
        self.user_agent = Some(user_agent);
        reply::hello(user_agent)
    }

    fn serve(&mut self, request: Request<'_>, now: Timestamp, allowance: &PingAllowance) -> Action {
        match request {
            Request::Hello { .. } => Action::Close(Close::SecondHello),
            Request::Register { channel, key } => match key.as_deref().map(vapid::PublicKey::from_text) {
                None => Action::Register { channel, vapid: None },
                Some(Ok(key)) => Action::Register { channel, vapid: Some(key.hash()) },
                Some(Err(_)) => Action::Send(reply::refused(channel, reply::Refused::BadKey)),
            },
            Request::Unregister { channel } => Action::Unregister { channel },
            Request::Ack { updates } if updates.is_empty() => Action::Nothing,
            Request::Ack { updates } => Action::Settle(updates),
            Request::Nack { code } => Action::Nack { code },
            Request::Ping if self.pings.allow(now, allowance) => Action::Send(reply::PONG.to_owned()),
            Request::Ping => Action::Close(Close::PingFlood),
            Request::BroadcastSubscribe { broadcasts } => {
                reply::unknown_broadcasts(&broadcasts).map_or(Action::Nothing, Action::Send)
            }
        }
    }
}

#[cfg(test)]
mod tests;
