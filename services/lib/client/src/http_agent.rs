//! A user agent over HTTP as a library (RFC 8030): subscribes, monitors and acknowledges, without a WebSocket.
//!
//! Reconnecting and keeping subscriptions are the caller's.

mod events;
mod push;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LINK, LOCATION};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Uri};
use pushgrid_crypto::encryption::Receiver;
use pushgrid_crypto::vapid;
use pushgrid_types::{ChannelId, Rng, Urgency};

use self::events::Events;
use self::push::Pushes;
use crate::application_server::ApplicationServer;
use crate::{ClientError, Notification, Response, Setup, Subscription, Tls};

/// Longest silence of a monitoring request. A push service shows every five minutes that it is there.
const SILENCE: Duration = Duration::from_mins(11);

/// Limit for each request and its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A user agent over HTTP. Every address that it is given is a capability of this user agent alone.
pub struct HttpAgent {
    origin: Uri,
    requests: ApplicationServer,
    tls: Tls,
}

/// Way of the messages to the user agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Server push of HTTP/2 (RFC 8030 section 6).
    Push,
    /// Server-Sent Events in an answer of HTTP/1.1.
    Events,
}

/// Paths of a subscription, for its user agent.
#[derive(Clone, PartialEq, Eq)]
pub struct Paths {
    /// Path of the subscription.
    pub subscription: String,
    /// Path of its set.
    pub set: String,
}

/// An open request that monitors a subscription or a set.
#[derive(Debug)]
pub struct Monitor(Way);

#[derive(Debug)]
enum Way {
    Push(Box<Pushes>),
    Events(Box<Events>),
}

/// A receipt of a message (RFC 8030 section 6.3).
#[derive(Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Path of the message, or its whole address.
    pub message: String,
    /// 204 of a message that its user agent has acknowledged, 410 of one that was given up.
    pub status: u16,
    /// Path at which the receipt is acknowledged; `None` of one that is acknowledged by being taken.
    pub acknowledge: Option<String>,
}

impl fmt::Debug for Receipt {
    /// Hides the addresses, which are capabilities.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Event of a monitoring request. The first of one says at least that the request was taken.
#[derive(Debug, Clone, PartialEq)]
pub enum Monitored {
    /// A message. Its version is the path at which it is acknowledged.
    Message(Notification),
    /// A receipt, for an application server.
    Receipt(Receipt),
    /// Nothing: the push service is there.
    Alive,
    /// The request has ended in order; another one may follow.
    Ended(String),
    /// There is no such subscription (any more).
    Gone,
}

impl HttpAgent {
    /// A user agent of the push service at `url`: `http` or `https`, or its `WebSocket` address.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        let uri: Uri = url.parse().map_err(|_| ClientError::Url)?;
        let scheme = match uri.scheme_str() {
            Some("http" | "ws") => Scheme::HTTP,
            Some("https" | "wss") => Scheme::HTTPS,
            Some(_) | None => return Err(ClientError::Url),
        };
        let authority = uri.authority().cloned().ok_or(ClientError::Url)?;
        let origin = Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build();
        let tls = Tls::public_roots();
        let setup = Setup { timeout: REQUEST_TIMEOUT, tls: tls.clone(), ..Setup::default() };
        let origin = origin.map_err(|_| ClientError::Url)?;
        Ok(Self { origin, requests: ApplicationServer::with(setup), tls })
    }

    /// Subscribes, with keys made anew: for the holder of `key` alone, if there is one (RFC 8292 section 4.1).
    pub async fn subscribe(
        &self,
        rng: &dyn Rng,
        key: Option<&vapid::PublicKey>,
    ) -> Result<(Paths, Subscription), ClientError> {
        let mut request = self.request(Method::POST, "/subscribe")?;
        if let Some(key) = key {
            let media = HeaderValue::from_static("application/webpush-options+json");
            request.headers_mut().insert(CONTENT_TYPE, media);
            *request.body_mut() = serde_json::json!({ "vapid": key.to_text() }).to_string().into();
        }
        let answer = self.ask("subscribe", request, &[201]).await?;
        let path = answer.header(LOCATION.as_str()).ok_or(ClientError::Unreadable("no Location"))?;
        let link = |relation: &str| {
            let lines = answer.headers.get_all(LINK).iter().filter_map(|line| line.to_str().ok());
            let ending = format!(">; rel=\"{relation}\"");
            let mut targets = lines.filter_map(|line| line.strip_prefix('<')?.strip_suffix(&*ending));
            targets.next().map(str::to_owned)
        };
        let endpoint = link("urn:ietf:params:push").ok_or(ClientError::Unreadable("no push resource"))?;
        let set = link("urn:ietf:params:push:set").unwrap_or_default();
        let (channel, receiver) = (ChannelId::random(rng), Receiver::generate(rng));
        let subscription = Subscription::new(channel, endpoint, receiver, key.copied());
        Ok((Paths { subscription: path.to_owned(), set }, subscription))
    }

    /// Opens a request that monitors the resource at `path`, for messages of `min_urgency` and above. Messages name
    /// `channel`, for nothing in them says which it is of several.
    pub async fn monitor(
        &self,
        path: &str,
        channel: ChannelId,
        transport: Transport,
        min_urgency: Option<Urgency>,
    ) -> Result<Monitor, ClientError> {
        let mut request = self.request(Method::GET, path)?;
        if let Some(urgency) = min_urgency {
            request.headers_mut().insert("urgency", HeaderValue::from_static(urgency.as_str()));
        }
        Ok(Monitor(match transport {
            Transport::Push => Way::Push(Box::new(Pushes::open(request, channel, &self.tls).await?)),
            Transport::Events => Way::Events(Box::new(Events::open(request, channel, &self.requests).await?)),
        }))
    }

    /// Acknowledges a message by its path (RFC 8030 section 6.2). One that has ended needs no acknowledgement.
    pub async fn acknowledge(&self, message: &str) -> Result<(), ClientError> {
        let request = self.request(Method::DELETE, message)?;
        self.ask("acknowledge", request, &[204, 404]).await.map(drop)
    }

    /// Ends the subscription, or all of a set, at `path`.
    pub async fn end(&self, path: &str) -> Result<(), ClientError> {
        let request = self.request(Method::DELETE, path)?;
        self.ask("unsubscribe", request, &[204, 404]).await.map(drop)
    }

    fn request(&self, method: Method, path: &str) -> Result<Request<Bytes>, ClientError> {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = method;
        *request.uri_mut() = self.uri(path)?;
        Ok(request)
    }

    fn uri(&self, path: &str) -> Result<Uri, ClientError> {
        let mut parts = self.origin.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(path).map_err(|_| ClientError::Url)?);
        Uri::from_parts(parts).map_err(|_| ClientError::Url)
    }

    async fn ask(
        &self,
        what: &'static str,
        request: Request<Bytes>,
        expected: &[u16],
    ) -> Result<Response, ClientError> {
        let answer = self.requests.request(request).await.map_err(ClientError::Request)?;
        if expected.contains(&answer.status) { Ok(answer) } else { Err(refused(what, &answer)) }
    }
}

impl Monitor {
    /// The next event. After [`Monitored::Ended`] and [`Monitored::Gone`] there is none.
    pub async fn next(&mut self) -> Result<Monitored, ClientError> {
        match &mut self.0 {
            Way::Push(pushes) => pushes.next().await,
            Way::Events(events) => events.next().await,
        }
    }
}

/// A refusal with the text of the push service.
fn refused(request: &'static str, answer: &Response) -> ClientError {
    let error: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
    let text = error.as_ref().and_then(|error| error["message"].as_str()).unwrap_or_default();
    ClientError::Refused { request, status: answer.status, reason: text.chars().take(200).collect() }
}

impl fmt::Debug for HttpAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpAgent").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl fmt::Debug for Paths {
    /// Hides the paths, which are capabilities.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Paths(..)")
    }
}
