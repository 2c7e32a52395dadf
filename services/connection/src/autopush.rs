//! The autopush protocol: the WebSocket of [`socket`] after the handshake of [`upgrade`], with the frames,
//! codes and close codes of [`pushgrid_session::autopush`].

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use pushgrid_runtime::metrics::Meter;
use pushgrid_session::autopush::reply::{self, Refused};
use pushgrid_session::autopush::{self, Action, Close};
use pushgrid_store::{LinkError, Settlement};
use pushgrid_types::{CloseReason, Timestamp};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use self::counts::{Counts, Sent};
use self::socket::Socket;
use crate::broadcasts::Told;
use crate::end::End;
use crate::protocol::{Command, Input, Output, Protocol};
use crate::router_session::{Answer, NotRegistered};
use crate::shared::Shared;

mod counts;
mod socket;
mod upgrade;

#[cfg(test)]
mod tests;

pub(crate) use upgrade::routes;

/// State shared by all autopush connections of a node.
pub(crate) struct Edge {
    shared: Arc<Shared>,
    counts: Counts,
}

/// One autopush connection.
struct Autopush {
    edge: Arc<Edge>,
    socket: Socket,
    state: autopush::Protocol,
}

/// Frame in answer to a request, made without the router.
struct Reply {
    kind: Sent,
    text: String,
}

impl Edge {
    pub(crate) fn new(shared: Arc<Shared>, meter: &Meter) -> Self {
        Self { shared, counts: Counts::new(meter) }
    }
}

impl Autopush {
    /// A connection after the upgrade.
    fn new(edge: Arc<Edge>, socket: Socket) -> Self {
        Self { edge, socket, state: autopush::Protocol::default() }
    }

    /// The frame for an answer.
    fn answer(&mut self, answer: Answer) -> (Sent, String) {
        match answer {
            Answer::Identified { user_agent, broadcasts } => {
                (Sent::Hello, self.state.identified(user_agent, &broadcasts))
            }
            Answer::Registered { channel, endpoint } => (
                Sent::Register,
                match endpoint {
                    Ok(endpoint) => reply::registered(channel, &endpoint),
                    Err(why) => reply::refused(channel, not_registered(&why)),
                },
            ),
            Answer::Unregistered { channel, ended } => {
                let status = ended.map_or_else(|error| refused(&error).status(), |()| 200);
                (Sent::Unregister, reply::unregistered(channel, status))
            }
            Answer::UnregisteredAll(ended) => {
                let status = ended.map_or_else(|error| refused(&error).status(), |()| 200);
                (Sent::UnregisterAll, reply::unregistered_all(status))
            }
            Answer::UrgencySet(set) => {
                let status = set.map_or_else(|error| refused(&error).status(), |()| 200);
                (Sent::Urgency, reply::urgency(status))
            }
        }
    }
}

impl Protocol for Autopush {
    const NAME: &'static str = "autopush";

    type Request = Utf8Bytes;
    type Reply = Reply;
    type Fault = Close;

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<Input<Utf8Bytes>, End<Close>>> {
        self.socket.poll_frame(cx).map(|frame| match frame? {
            Message::Text(text) => Ok(Input::Request(text)),
            Message::Binary(_) => Err(End::Fault(Close::Binary)),
            Message::Close(_) => Ok(Input::Goodbye),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(Input::Alive),
        })
    }

    fn decode(&mut self, text: Utf8Bytes, now: Timestamp) -> Result<Command<Reply>, End<Close>> {
        let counts = &self.edge.counts;
        let (kind, action) = self.state.receive(&text, now, &self.edge.shared.config.pings);
        counts.received(kind);
        Ok(match action {
            Action::Identify { claimed, min_urgency, broadcasts } => {
                Command::Identify { claimed, min_urgency, broadcasts }
            }
            Action::AskBroadcasts(broadcasts) => Command::Broadcasts(broadcasts),
            Action::SetUrgency { min_urgency } => Command::SetUrgency { min_urgency },
            Action::Register { channel, restriction } => Command::Register { channel, restriction },
            Action::RefuseKey { channel } => Command::RegisterWithBadKey { channel },
            Action::Unregister { channel } => Command::Unregister { channel },
            Action::UnregisterAll => Command::UnregisterAll,
            Action::Settle(updates) => Command::Acknowledge(
                updates
                    .into_iter()
                    .map(|update| {
                        counts.ack(update.code);
                        Settlement { id: update.id, outcome: update.outcome() }
                    })
                    .collect(),
            ),
            Action::Nack { code } => {
                counts.nack(code);
                Command::Nothing
            }
            Action::Send(text) => Command::Reply(Reply { kind: Sent::in_reply_to(kind), text }),
            Action::Nothing => Command::Nothing,
            Action::Close(why) => return Err(End::Fault(why)),
        })
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End<Close>>> {
        self.socket.poll_room(cx)
    }

    fn put(&mut self, output: Output<'_, Reply>) -> Result<(), End<Close>> {
        let (kind, text) = match output {
            Output::Answer(answer) => self.answer(answer),
            Output::Message(message) => (Sent::Notification, reply::notification(message)),
            Output::Broadcasts(Told { versions, unknown, refused }) => {
                (Sent::Broadcast, reply::broadcast(&versions, &unknown, &refused))
            }
            Output::Probe => return self.socket.put(Message::Ping(Bytes::new())),
            Output::Reply(Reply { kind, text }) => (kind, text),
        };
        self.edge.counts.sent(kind);
        self.socket.put(Message::text(text))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End<Close>>> {
        self.socket.poll_flush(cx)
    }

    async fn close(&mut self, why: End<Close>) {
        if let Some(close) = close_frame(why) {
            self.socket.close(close).await;
        }
    }
}

/// Close code and words for an end; `None` for those of which nobody is told.
const fn close_frame(why: End<Close>) -> Option<Close> {
    Some(match why {
        End::Fault(close) => close,
        End::For(CloseReason::Draining) => Close::Restarting,
        End::For(CloseReason::Resync) => Close::Resync,
        End::For(CloseReason::Superseded) => Close::Superseded,
        End::For(CloseReason::Unidentified) => Close::HelloTimeout,
        End::For(CloseReason::Idle) => Close::NoPong,
        End::For(CloseReason::TooLarge) => Close::TooLarge,
        End::For(CloseReason::Unavailable) => Close::Unavailable,
        // What a user agent does wrong in this protocol is always said as its fault.
        End::For(CloseReason::Protocol) => Close::Internal,
        End::For(CloseReason::Client | CloseReason::Slow | CloseReason::Io) | End::Abandoned => return None,
    })
}

const fn not_registered(why: &NotRegistered) -> Refused {
    match why {
        NotRegistered::BadKey => Refused::BadKey,
        NotRegistered::Failed(error) => refused(error),
    }
}

const fn refused(error: &LinkError) -> Refused {
    match error {
        LinkError::Unavailable => Refused::Unavailable,
        LinkError::TooManySubscriptions { limit } => Refused::TooManySubscriptions { limit: *limit },
        LinkError::Store(_) => Refused::Failed,
    }
}
