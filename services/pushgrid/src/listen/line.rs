//! The connection of `pushgrid listen`, in any of the ways that the push service offers.

use anyhow::Result;
use pushgrid_client::{Event, HttpAgent, Monitor, Monitored, Notification, UserAgent};

/// Way of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Transport {
    /// A WebSocket, as browsers have it
    Ws,
    /// Server push of HTTP/2 (RFC 8030)
    H2,
    /// Server-Sent Events
    Sse,
}

impl Transport {
    /// The transport of a user agent over HTTP; `None` for a WebSocket.
    pub(super) const fn http(self) -> Option<pushgrid_client::Transport> {
        match self {
            Self::Ws => None,
            Self::H2 => Some(pushgrid_client::Transport::Push),
            Self::Sse => Some(pushgrid_client::Transport::Events),
        }
    }
}

/// An open connection.
pub(super) enum Line {
    WebSocket(Box<UserAgent>),
    Http(Box<HttpAgent>, Monitor),
}

/// Part of what the connection brings.
pub(super) enum Incoming {
    Message(Notification),
    /// The connection is at its end.
    Closed {
        code: Option<u16>,
        reason: String,
    },
    /// The subscription is no more.
    Gone,
    Nothing,
}

impl Line {
    pub(super) async fn next(&mut self) -> Result<Incoming> {
        Ok(match self {
            Self::WebSocket(user_agent) => match user_agent.next().await? {
                Event::Notification(notification) => Incoming::Message(notification),
                Event::Closed { code, reason } => Incoming::Closed { code, reason },
                Event::Broadcast(_) | Event::Pong => Incoming::Nothing,
            },
            Self::Http(_, monitor) => match monitor.next().await? {
                Monitored::Message(notification) => Incoming::Message(notification),
                Monitored::Ended(reason) => Incoming::Closed { code: None, reason },
                Monitored::Gone => Incoming::Gone,
                Monitored::Alive | Monitored::Receipt(_) => Incoming::Nothing,
            },
        })
    }

    /// Acknowledges a message. The code says more than HTTP has a place for.
    pub(super) async fn acknowledge(&mut self, message: &Notification, code: u16) -> Result<()> {
        match self {
            Self::WebSocket(user_agent) => user_agent.ack(&[message.ack(code)]).await?,
            Self::Http(agent, _) => agent.acknowledge(&message.version).await?,
        }
        Ok(())
    }

    /// Says goodbye, where there is a word for it.
    pub(super) async fn close(self) {
        if let Self::WebSocket(user_agent) = self {
            // The connection is over either way: a failed goodbye is the push service's affair.
            let _ = user_agent.close().await;
        }
    }
}
