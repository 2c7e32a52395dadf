//! A user agent as a library: one connection, requests with their answers, and the events between them.
//!
//! Invariant: no event is lost to a request: events that arrive before its answer are kept, up to [`WAITING_MAX`], in
//! order. Reconnecting and keeping subscriptions are the caller's.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use pushgrid_crypto::encryption::Receiver;
use pushgrid_crypto::vapid;
use pushgrid_types::{ChannelId, Rng, Urgency, UserAgentId};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::connect::{self, ConnectOptions, Socket};
use crate::event::{Ack, Event};
use crate::wire::{Incoming, Outgoing, Update, refused};
use crate::{ClientError, Subscription};

#[cfg(test)]
mod tests;

/// Largest number of events kept while a request waits for its answer: several times the window of a push service.
pub const WAITING_MAX: usize = 1024;

/// One WebSocket connection that speaks the autopush protocol as a user agent.
///
/// Events that come before an awaited answer are kept, and handed out by [`next`](Self::next) in the order of
/// arrival. Pings of the push service are answered by every call that reads. A lost connection is never made again
/// from here.
#[derive(Debug)]
pub struct UserAgent {
    socket: Socket,
    waiting: VecDeque<Event>,
    request_timeout: Duration,
    silence: Duration,
    /// Arrival of the last frame.
    heard: Instant,
}

/// The answer to `hello`.
#[derive(Debug, Clone)]
pub struct Hello {
    /// Identity of the user agent from now on. An id other than the one sent means that all earlier subscriptions are
    /// gone.
    pub user_agent: UserAgentId,
    /// Versions of the broadcasts asked for, by id.
    pub broadcasts: BTreeMap<String, serde_json::Value>,
}

impl UserAgent {
    /// Connects to `ws://` or `wss://` with the defaults of [`ConnectOptions`].
    pub async fn connect(url: &str) -> Result<Self, ClientError> {
        Self::connect_with(&ConnectOptions::new(url)).await
    }

    /// Connects with these settings. The first request must be [`hello`](Self::hello).
    pub async fn connect_with(options: &ConnectOptions) -> Result<Self, ClientError> {
        let socket = connect::connect(options).await?;
        Ok(Self {
            socket,
            waiting: VecDeque::new(),
            request_timeout: options.request_timeout,
            silence: options.silence,
            heard: Instant::now(),
        })
    }

    /// Identifies the user agent; `None` asks for a new identity. Stored messages come right after the answer.
    pub async fn hello(&mut self, user_agent: Option<UserAgentId>) -> Result<Hello, ClientError> {
        self.hello_for(user_agent, None).await
    }

    /// [`hello`](Self::hello), for messages of `min_urgency` and above: the others wait at the service. Services that
    /// do not know this extension send messages of any urgency.
    pub async fn hello_for(
        &mut self,
        user_agent: Option<UserAgentId>,
        min_urgency: Option<Urgency>,
    ) -> Result<Hello, ClientError> {
        let hello = Outgoing::Hello {
            uaid: user_agent.map(UserAgentId::to_hex),
            broadcasts: BTreeMap::new(),
            use_webpush: true,
            urgency: min_urgency.map(Urgency::as_str),
        };
        self.say_hello(&hello).await
    }

    /// [`hello`](Self::hello), asking for broadcasts: ids, and the version known of each, empty for none. Those that
    /// differ are in the answer, later changes come as [`Event::Broadcast`].
    pub async fn hello_asking(
        &mut self,
        user_agent: Option<UserAgentId>,
        broadcasts: &BTreeMap<String, String>,
    ) -> Result<Hello, ClientError> {
        let hello = Outgoing::Hello {
            uaid: user_agent.map(UserAgentId::to_hex),
            broadcasts: versions(broadcasts),
            use_webpush: true,
            urgency: None,
        };
        self.say_hello(&hello).await
    }

    async fn say_hello(&mut self, hello: &Outgoing<'_>) -> Result<Hello, ClientError> {
        let (user_agent, status, broadcasts) = self
            .ask("hello", hello, |incoming| match incoming {
                Incoming::Hello { user_agent, status, broadcasts } => {
                    ControlFlow::Break((user_agent, status, broadcasts))
                }
                other => ControlFlow::Continue(other),
            })
            .await?;
        if status != 200 {
            return Err(refused("hello", status, ""));
        }
        let user_agent =
            user_agent.ok_or(ClientError::Unreadable("the uaid of hello is not 32 hex digits"))?;
        Ok(Hello { user_agent, broadcasts })
    }

    /// Sets the least urgency of the messages that come from now on, of an extension of the protocol. When it falls, what
    /// has waited for that comes, the most urgent first.
    pub async fn set_urgency(&mut self, min_urgency: Urgency) -> Result<(), ClientError> {
        let set = Outgoing::Urgency { min: min_urgency.as_str() };
        let status = self
            .ask("urgency", &set, |incoming| match incoming {
                Incoming::UrgencySet { status } => ControlFlow::Break(status),
                other => ControlFlow::Continue(other),
            })
            .await?;
        if status == 200 { Ok(()) } else { Err(refused("urgency", status, "")) }
    }

    /// Subscribes: the endpoint accepts messages for `channel`; with a key, only messages signed with that key (RFC
    /// 8292 section 4).
    pub async fn register(
        &mut self,
        channel: ChannelId,
        key: Option<&vapid::PublicKey>,
    ) -> Result<String, ClientError> {
        let key = key.map(vapid::PublicKey::to_text);
        let register = Outgoing::Register { channel: channel.to_string(), key };
        let (status, endpoint) = self
            .ask("register", &register, |incoming| match incoming {
                Incoming::Registered { channel: of, status, endpoint } if of == channel => {
                    ControlFlow::Break((status, endpoint))
                }
                other => ControlFlow::Continue(other),
            })
            .await?;
        // On a refusal the place of the endpoint holds the reason.
        if status == 200 { Ok(endpoint) } else { Err(refused("register", status, &endpoint)) }
    }

    /// [`register`](Self::register) with a new channel and new keys.
    pub async fn subscribe(
        &mut self,
        rng: &dyn Rng,
        key: Option<&vapid::PublicKey>,
    ) -> Result<Subscription, ClientError> {
        let channel = ChannelId::random(rng);
        let endpoint = self.register(channel, key).await?;
        Ok(Subscription::new(channel, endpoint, Receiver::generate(rng), key.copied()))
    }

    /// Ends a subscription; one unknown to the service is no error. Codes: see [`codes`](crate::codes).
    pub async fn unregister(&mut self, channel: ChannelId, code: u32) -> Result<(), ClientError> {
        let unregister = Outgoing::Unregister { channel: channel.to_string(), code };
        let status = self
            .ask("unregister", &unregister, |incoming| match incoming {
                Incoming::Unregistered { channel: of, status } if of == channel => ControlFlow::Break(status),
                other => ControlFlow::Continue(other),
            })
            .await?;
        if status == 200 { Ok(()) } else { Err(refused("unregister", status, "")) }
    }

    /// Ends all subscriptions of this user agent, of an extension of the protocol; none at all is no error. The
    /// connection goes on, and a [`register`](Self::register) makes a new subscription. Services that do not know this
    /// extension close the connection. Codes: see [`codes`](crate::codes).
    pub async fn unregister_all(&mut self, code: u32) -> Result<(), ClientError> {
        let status = self
            .ask("unregister_all", &Outgoing::UnregisterAll { code }, |incoming| match incoming {
                Incoming::UnregisteredAll { status } => ControlFlow::Break(status),
                other => ControlFlow::Continue(other),
            })
            .await?;
        if status == 200 { Ok(()) } else { Err(refused("unregister_all", status, "")) }
    }

    /// Asks for broadcasts, as [`hello_asking`](Self::hello_asking). The answer is an [`Event::Broadcast`], if there is
    /// anything to say: its member `errors` names ids that the service does not know.
    pub async fn ask_broadcasts(&mut self, broadcasts: &BTreeMap<String, String>) -> Result<(), ClientError> {
        let ask = Outgoing::BroadcastSubscribe { broadcasts: versions(broadcasts) };
        self.send_text(&ask.to_text()).await
    }

    /// Time since a frame of any kind came, pings included, or since the connection was made.
    pub fn quiet_for(&self) -> Duration {
        self.heard.elapsed()
    }

    /// The next event. Waits as long as the connection is alive ([`ConnectOptions::silence`]). Cancel-safe: a dropped
    /// future loses no event.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        if let Some(event) = self.waiting.pop_front() {
            return Ok(event);
        }
        loop {
            // An answer whose request has given up: nobody awaits one any more.
            if let Incoming::Event(event) = self.read().await? {
                return Ok(event);
            }
        }
    }

    /// The next event, or `None` after `limit` without one.
    pub async fn next_within(&mut self, limit: Duration) -> Result<Option<Event>, ClientError> {
        timeout(limit, self.next()).await.ok().transpose()
    }

    /// Acknowledges messages. There is no answer.
    pub async fn ack(&mut self, updates: &[Ack<'_>]) -> Result<(), ClientError> {
        let updates = updates.iter().map(Update::from).collect();
        self.send_text(&Outgoing::Ack { updates }.to_text()).await
    }

    /// Reports a failed handler of a message: 301 uncaught exception, 302 unhandled rejection, 303 internal. There is
    /// no answer, and the message is not acknowledged.
    pub async fn nack(&mut self, version: &str, code: i32) -> Result<(), ClientError> {
        self.send_text(&Outgoing::Nack { version, code }.to_text()).await
    }

    /// Sends the ping of the protocol, `{}`; the answer is [`Event::Pong`]. Services take one in 45 seconds.
    pub async fn ping(&mut self) -> Result<(), ClientError> {
        self.send_text("{}").await
    }

    /// Sends any text frame.
    pub async fn send_text(&mut self, frame: &str) -> Result<(), ClientError> {
        self.send_frame(Message::text(frame)).await
    }

    /// Sends any frame.
    pub async fn send_frame(&mut self, frame: Message) -> Result<(), ClientError> {
        let after = self.request_timeout;
        timeout(after, self.socket.send(frame))
            .await
            .map_err(|_| ClientError::Timeout { request: "a write", after })?
            .map_err(ClientError::from_socket)
    }

    /// The next frame as it comes, pings, pongs and the close frame included; waits as [`next`](Self::next) does. The
    /// end of the connection is [`ClientError::Closed`].
    pub async fn next_frame(&mut self) -> Result<Message, ClientError> {
        let after = self.silence;
        match timeout(after, self.socket.next()).await {
            Err(_) => Err(ClientError::Silent { after }),
            Ok(None) => Err(ClientError::Closed { code: None, reason: String::new() }),
            Ok(Some(frame)) => {
                self.heard = Instant::now();
                frame.map_err(ClientError::from_socket)
            }
        }
    }

    /// Closes with code 1000 and waits for the close frame of the push service. Frames until then are discarded, and
    /// their messages, unacknowledged, are redelivered to the next connection. Dropping the value instead breaks the
    /// connection.
    pub async fn close(mut self) -> Result<(), ClientError> {
        let after = self.request_timeout;
        let goodbye = async {
            let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
            self.socket.close(Some(frame)).await.map_err(ClientError::from_socket)?;
            while let Some(Ok(_)) = self.socket.next().await {}
            Ok(())
        };
        match timeout(after, goodbye).await {
            Ok(Ok(()) | Err(ClientError::Closed { .. })) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ClientError::Timeout { request: "close", after }),
        }
    }

    /// Sends a request and waits for the answer that `wanted` picks; events that come first are kept.
    async fn ask<T>(
        &mut self,
        request: &'static str,
        message: &Outgoing<'_>,
        wanted: impl Fn(Incoming) -> ControlFlow<T, Incoming>,
    ) -> Result<T, ClientError> {
        let after = self.request_timeout;
        let deadline = Instant::now() + after;
        self.send_text(&message.to_text()).await?;
        loop {
            let incoming = timeout_at(deadline, self.read())
                .await
                .map_err(|_| ClientError::Timeout { request, after })??;
            match wanted(incoming) {
                ControlFlow::Break(answer) => return Ok(answer),
                ControlFlow::Continue(Incoming::Event(Event::Closed { code, reason })) => {
                    return Err(ClientError::Closed { code, reason });
                }
                ControlFlow::Continue(Incoming::Event(event)) => self.keep(event)?,
                // The answer to an earlier request that had timed out.
                ControlFlow::Continue(_) => {}
            }
        }
    }

    fn keep(&mut self, event: Event) -> Result<(), ClientError> {
        // A service that sends without end during one request must not fill the memory.
        if self.waiting.len() == WAITING_MAX {
            return Err(ClientError::Overflow(WAITING_MAX));
        }
        self.waiting.push_back(event);
        Ok(())
    }

    /// The next message of the protocol, or the end of the connection as an event.
    async fn read(&mut self) -> Result<Incoming, ClientError> {
        loop {
            match self.next_frame().await {
                Ok(Message::Text(text)) => return Incoming::read(&text),
                Ok(Message::Close(frame)) => return Ok(Incoming::Event(closed(frame))),
                Err(ClientError::Closed { code, reason }) => {
                    return Ok(Incoming::Event(Event::Closed { code, reason }));
                }
                Ok(Message::Binary(_)) => return Err(ClientError::Unreadable("a binary frame")),
                // The library queues the pong itself, and sends it with the next read.
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn versions(broadcasts: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    broadcasts.iter().map(|(id, version)| (id.as_str(), version.as_str())).collect()
}

fn closed(frame: Option<CloseFrame>) -> Event {
    match frame {
        Some(frame) => Event::Closed { code: Some(frame.code.into()), reason: frame.reason.to_string() },
        None => Event::Closed { code: Some(CloseCode::Status.into()), reason: String::new() },
    }
}
