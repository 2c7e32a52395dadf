//! The user agent and the application server of the tests of behaviour.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use pushgrid_client::{
    Ack, ApplicationServer, ClientError, Event, Message, Notification, Response, Setup, UserAgent, codes,
};
use pushgrid_crypto::vapid::{KeyPair, PublicKey};
use pushgrid_types::{ChannelId, SystemRng, Urgency, UserAgentId};
use serde_json::Value;

/// Deadline of an event that should be immediate, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Fields of a message with a TTL of a minute.
pub(crate) const MINUTE: &[(&str, &str)] = &[("ttl", "60")];

/// User agent that keeps its identity over connections.
#[derive(Debug)]
pub(crate) struct Agent {
    url: String,
    id: UserAgentId,
    socket: Option<UserAgent>,
}

/// Subscription of an [`Agent`].
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    pub(crate) id: ChannelId,
    pub(crate) endpoint: String,
}

impl Agent {
    /// Makes a new user agent, connected to `url`.
    pub(crate) async fn new(url: &str) -> Result<Self> {
        let mut socket = UserAgent::connect(url).await?;
        let id = socket.hello(None).await?.user_agent;
        Ok(Self { url: url.to_owned(), id, socket: Some(socket) })
    }

    /// Makes a user agent that the service should know, not connected.
    pub(crate) fn known(url: &str, id: UserAgentId) -> Self {
        Self { url: url.to_owned(), id, socket: None }
    }

    pub(crate) fn id(&self) -> UserAgentId {
        self.id
    }

    pub(crate) fn socket(&mut self) -> Result<&mut UserAgent> {
        self.socket.as_mut().context("the user agent is not connected")
    }

    /// Makes an unrestricted subscription.
    pub(crate) async fn subscribe(&mut self) -> Result<Channel> {
        let id = ChannelId::random(&SystemRng);
        Ok(Channel { id, endpoint: self.socket()?.register(id, None).await? })
    }

    /// Makes a subscription restricted to `key`.
    pub(crate) async fn subscribe_for(&mut self, key: &PublicKey) -> Result<Channel> {
        let id = ChannelId::random(&SystemRng);
        Ok(Channel { id, endpoint: self.socket()?.register(id, Some(key)).await? })
    }

    pub(crate) async fn unsubscribe(&mut self, channel: &Channel) -> Result<()> {
        Ok(self.socket()?.unregister(channel.id, codes::UNREGISTERED_BY_HAND).await?)
    }

    /// Closes the connection, and waits for the service's close.
    pub(crate) async fn leave(&mut self) -> Result<()> {
        Ok(self.socket.take().context("the user agent is not connected")?.close().await?)
    }

    /// Drops the connection without a close frame.
    pub(crate) fn vanish(&mut self) {
        self.socket = None;
    }

    /// Reconnects. The service must know the user agent.
    pub(crate) async fn come_back(&mut self) -> Result<()> {
        self.come_back_for(None).await
    }

    /// Reconnects, for messages of `min_urgency` and above.
    pub(crate) async fn come_back_for(&mut self, min_urgency: Option<Urgency>) -> Result<()> {
        let mut socket = UserAgent::connect(&self.url).await?;
        let id = socket.hello_for(Some(self.id), min_urgency).await?.user_agent;
        ensure!(id == self.id, "the service has forgotten its user agent");
        self.socket = Some(socket);
        Ok(())
    }

    /// Reconnects to another node. The service must know the user agent.
    pub(crate) async fn come_back_to(&mut self, url: &str) -> Result<()> {
        url.clone_into(&mut self.url);
        self.come_back().await
    }

    /// Next message.
    pub(crate) async fn next(&mut self) -> Result<Notification> {
        match self.event().await? {
            Event::Notification(notification) => Ok(notification),
            other => bail!("not a message: {other:?}"),
        }
    }

    /// Next event.
    pub(crate) async fn event(&mut self) -> Result<Event> {
        self.socket()?.next_within(SOON).await?.context("nothing came")
    }

    /// Receives and acknowledges the next message.
    pub(crate) async fn take(&mut self) -> Result<Notification> {
        let notification = self.next().await?;
        self.ack(&notification).await?;
        Ok(notification)
    }

    /// Receives the next `count` messages, and acknowledges one by one.
    pub(crate) async fn take_all(&mut self, count: usize) -> Result<Vec<Notification>> {
        let mut all = Vec::with_capacity(count);
        while all.len() < count {
            let so_far = || format!("after {} of {count} messages", all.len());
            let notification = self.take().await.with_context(so_far)?;
            all.push(notification);
        }
        Ok(all)
    }

    pub(crate) async fn ack(&mut self, notification: &Notification) -> Result<()> {
        Ok(self.socket()?.ack(&[notification.ack(codes::DELIVERED)]).await?)
    }

    pub(crate) async fn ack_all(&mut self, notifications: &[Notification]) -> Result<()> {
        let updates: Vec<Ack<'_>> = notifications.iter().map(|it| it.ack(codes::DELIVERED)).collect();
        Ok(self.socket()?.ack(&updates).await?)
    }

    /// Next text frame, as JSON and as text.
    pub(crate) async fn frame(&mut self) -> Result<(Value, String)> {
        let socket = self.socket()?;
        frame(socket).await
    }

    /// Checks that no message is stored or in flight: a message sent now must be the next one, for messages to one user
    /// agent are delivered in the order of acceptance.
    pub(crate) async fn nothing_waits(&mut self, channel: &Channel) -> Result<()> {
        let body = ChannelId::random(&SystemRng).to_string();
        Application::new().send(&channel.endpoint, &body).await?;
        let notification = self.take().await?;
        let data = notification.data.unwrap_or_default();
        ensure!(data == body, "a message came that must not: {:?}", String::from_utf8_lossy(&data));
        Ok(())
    }
}

/// Next text frame of a connection, as JSON and as text.
pub(crate) async fn frame(socket: &mut UserAgent) -> Result<(Value, String)> {
    loop {
        match pushgrid_it::within(SOON, "a frame", socket.next_frame()).await?? {
            Message::Text(text) => return Ok((serde_json::from_str(&text)?, text.to_string())),
            Message::Ping(_) | Message::Pong(_) => {}
            other => bail!("not a text frame: {other:?}"),
        }
    }
}

/// Application server with a connection pool of its own.
#[derive(Debug)]
pub(crate) struct Application(ApplicationServer);

/// Answer of the service to an accepted message.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) location: String,
    pub(crate) ttl: u32,
}

impl Application {
    pub(crate) fn new() -> Self {
        Self(ApplicationServer::new(None))
    }

    /// Makes an application server with a single connection.
    pub(crate) fn with_one_connection() -> Self {
        Self(ApplicationServer::with(Setup { idle_connections: 1, ..Setup::default() }))
    }

    /// Posts a message. Every status is an answer, not an error.
    pub(crate) async fn post(
        &self,
        endpoint: &str,
        fields: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Response> {
        let body = body.into();
        let mut all = fields.to_vec();
        if !body.is_empty() && !fields.iter().any(|(name, _)| *name == "content-encoding") {
            all.push(("content-encoding", "aes128gcm"));
        }
        Ok(self.0.post(endpoint, &all, body).await?)
    }

    /// Posts a message, which the service must accept.
    pub(crate) async fn accepted(
        &self,
        endpoint: &str,
        fields: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Accepted> {
        let response = self.post(endpoint, fields, body).await?;
        let text = String::from_utf8_lossy(&response.body);
        ensure!(response.status == 201, "{fields:?} was answered {}: {text}", response.status);
        ensure!(response.body.is_empty(), "a 201 came with a body: {text}");
        let field = |name| response.header(name).with_context(|| format!("a 201 came without {name}"));
        Ok(Accepted { location: field("location")?.to_owned(), ttl: field("ttl")?.parse()? })
    }

    /// Posts a message, which the service must refuse with `status`.
    pub(crate) async fn refused(
        &self,
        status: u16,
        endpoint: &str,
        fields: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Response> {
        let response = self.post(endpoint, fields, body).await?;
        ensure!(response.status == status, "{fields:?} was answered {}, not {status}", response.status);
        let error: Value = serde_json::from_slice(&response.body).context("a refusal is JSON")?;
        ensure!(error["code"] == status, "{error}");
        ensure!(
            error["message"].as_str().is_some_and(|text| text.len() > 10),
            "{error} does not say what to do"
        );
        Ok(response)
    }

    /// Sends `body` with a TTL of a minute, and returns the address for cancelling.
    pub(crate) async fn send(&self, endpoint: &str, body: &str) -> Result<String> {
        Ok(self.accepted(endpoint, MINUTE, body.to_owned()).await?.location)
    }

    /// Sends `body` with a topic.
    pub(crate) async fn send_of(&self, topic: &str, endpoint: &str, body: &str) -> Result<String> {
        let fields = [("ttl", "60"), ("topic", topic)];
        Ok(self.accepted(endpoint, &fields, body.to_owned()).await?.location)
    }

    /// Deletes the message at `location`, and returns the status.
    pub(crate) async fn cancel(&self, location: &str) -> Result<u16> {
        Ok(self.0.delete(location).await?)
    }

    pub(crate) fn inner(&self) -> &ApplicationServer {
        &self.0
    }
}

/// `Authorization` of the holder of `key` for the service of `endpoint`, valid for an hour.
pub(crate) fn signature(key: &KeyPair, endpoint: &str) -> Result<String> {
    let field = ApplicationServer::new(Some(key.clone())).authorization_for(endpoint)?;
    Ok(field.context("it has a key")?.to_str()?.to_owned())
}

/// Bodies of messages, as text.
pub(crate) fn bodies(notifications: &[Notification]) -> Vec<String> {
    let text =
        |it: &Notification| String::from_utf8_lossy(it.data.as_deref().unwrap_or_default()).into_owned();
    notifications.iter().map(text).collect()
}

/// Body of a message, as text.
pub(crate) fn body(notification: &Notification) -> String {
    bodies(std::slice::from_ref(notification)).remove(0)
}

/// Waits for the close by the service: code and reason.
pub(crate) async fn ending(socket: &mut UserAgent) -> Result<(u16, String)> {
    let mut before = VecDeque::new();
    loop {
        match socket.next_within(SOON).await {
            Ok(Some(Event::Closed { code: Some(code), reason }))
            | Err(ClientError::Closed { code: Some(code), reason }) => return Ok((code, reason)),
            Ok(Some(Event::Closed { code: None, .. })) => {
                bail!("closed without a close frame, after {before:?}")
            }
            Ok(Some(other)) => before.push_back(other),
            Ok(None) => bail!("not closed, but {before:?}"),
            Err(fault) => return Err(fault.into()),
        }
    }
}
