//! A user agent without a WebSocket: an ordinary HTTP client that reads Server-Sent Events.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use pushgrid_client::{ApplicationServer, Response};
use pushgrid_it::within;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::wire::party::SOON;

/// Media type of the streams.
pub(crate) const EVENTS: (&str, &str) = ("accept", "text/event-stream");

/// Fields of a request for what waits.
pub(crate) const NO_WAIT: &[(&str, &str)] = &[EVENTS, ("prefer", "wait=0")];

/// A subscription, and its address for application servers.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    /// URL of the service, without a slash at its end.
    origin: String,
    /// Path, for the user agent alone.
    pub(crate) path: String,
    pub(crate) endpoint: String,
    /// Path of the set, for the user agent alone.
    pub(crate) set: String,
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) data: Value,
}

/// A stream of events.
#[derive(Debug)]
pub(crate) struct Reader {
    body: Incoming,
    text: String,
    /// Comments so far.
    pub(crate) comments: usize,
}

/// Origin of the service for a client that speaks HTTP to `url`, the address for user agents.
pub(crate) fn origin(url: &str) -> String {
    url.trim_end_matches('/').replacen("ws://", "http://", 1)
}

/// Sends a request, and reads the answer to its end.
pub(crate) async fn ask(
    method: Method,
    url: &str,
    fields: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Response> {
    let request = fields.iter().fold(Request::builder().method(method).uri(url), |request, (name, value)| {
        request.header(*name, *value)
    });
    Ok(ApplicationServer::new(None).request(request.body(body.into())?).await?)
}

impl Subscription {
    /// Subscribes at the address for user agents.
    pub(crate) async fn new(url: &str) -> Result<Self> {
        Self::with(url, &[], "").await
    }

    /// Subscribes with fields and a body.
    pub(crate) async fn with(url: &str, fields: &[(&str, &str)], body: impl Into<Bytes>) -> Result<Self> {
        let origin = origin(url);
        let answer = ask(Method::POST, &format!("{origin}/subscribe"), fields, body).await?;
        let text = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status == 201 && text.is_empty(), "answered {}: {text}", answer.status);
        let path = answer.header("location").context("no Location")?.to_owned();
        let links: Vec<_> = answer.headers.get_all("link").iter().collect();
        ensure!(links.len() == 2, "{} links", links.len());
        let target = |link: &http::HeaderValue, relation| {
            let link = link.to_str()?.strip_prefix('<');
            let target = link.and_then(|rest| rest.strip_suffix(&format!(">; rel=\"{relation}\"")));
            let target = target.context("not the one form that every client reads")?;
            ensure!(!target.contains([',', ';', '>']), "a list would be split within it");
            Ok(target.to_owned())
        };
        let endpoint = target(links[0], "urn:ietf:params:push")?;
        let set = target(links[1], "urn:ietf:params:push:set")?;
        ensure!(answer.header("cache-control") == Some("no-store") && answer.header("etag").is_none());
        Ok(Self { origin, path, endpoint, set })
    }

    /// The resource at `url`, which is read as a subscription is.
    pub(crate) fn at_url(url: &str) -> Result<Self> {
        let begin = url.find("://").context("a URL has a scheme")? + 3;
        let end = begin + url[begin..].find('/').context("a URL has a path")?;
        let (origin, path) = (url[..end].replace("localhost", "127.0.0.1"), url[end..].to_owned());
        Ok(Self { origin, path, endpoint: String::new(), set: String::new() })
    }

    /// One more subscription of the same set.
    pub(crate) async fn another(&self) -> Result<Self> {
        let link = format!("<{}>; rel=\"urn:ietf:params:push:set\"", self.set);
        let other = Self::with(&self.origin, &[("link", &link)], "").await?;
        ensure!(other.set == self.set && other.path != self.path && other.endpoint != self.endpoint);
        Ok(other)
    }

    /// The set, read as a subscription is.
    pub(crate) fn all(&self) -> Self {
        Self { path: self.set.clone(), ..self.clone() }
    }

    /// The same subscription at another address for user agents.
    pub(crate) fn at(&self, url: &str) -> Self {
        Self { origin: origin(url), ..self.clone() }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }

    /// Opens the stream of messages.
    pub(crate) async fn read(&self) -> Result<Reader> {
        let address = self.origin.strip_prefix("http://").context("it speaks HTTP")?;
        let io = TokioIo::new(TcpStream::connect(address).await?);
        let (mut requests, connection) = http1::handshake(io).await?;
        tokio::spawn(connection);
        let request = Request::get(&self.path).header("host", address).header(EVENTS.0, EVENTS.1);
        let request = requests.send_request(request.body(Empty::<Bytes>::new())?);
        let response = within(SOON, "the head of a stream", request).await??;
        ensure!(response.status() == 200, "answered {}", response.status());
        ensure!(response.headers()["content-type"] == "text/event-stream");
        Ok(Reader { body: response.into_body(), text: String::new(), comments: 0 })
    }

    /// Reads with these fields, up to the end of the answer.
    pub(crate) async fn get(&self, fields: &[(&str, &str)]) -> Result<Response> {
        ask(Method::GET, &self.url(), fields, "").await
    }

    /// Messages that wait: the events of an answer of 200, or none of 204.
    pub(crate) async fn waiting(&self) -> Result<Vec<Event>> {
        self.waiting_with(&[]).await
    }

    /// The same, with more fields in the request.
    pub(crate) async fn waiting_with(&self, fields: &[(&str, &str)]) -> Result<Vec<Event>> {
        let answer = self.get(&[NO_WAIT, fields].concat()).await?;
        let text = String::from_utf8(answer.body.to_vec())?;
        let blocks: Vec<_> = text.split_terminator("\n\n").filter(|block| !block.starts_with(':')).collect();
        ensure!(answer.status == if blocks.is_empty() { 204 } else { 200 }, "answered {}", answer.status);
        blocks.into_iter().map(Event::parse).collect()
    }

    /// Ends the subscription, and returns the status.
    pub(crate) async fn end(&self) -> Result<u16> {
        Ok(ask(Method::DELETE, &self.url(), &[], "").await?.status)
    }

    /// Acknowledges a receipt, and returns the status.
    pub(crate) async fn take(&self, receipt: &Event) -> Result<u16> {
        let path = receipt.data["receipt"].as_str().context("a receipt has an address")?;
        Ok(ask(Method::DELETE, &format!("{}{path}", self.origin), &[], "").await?.status)
    }

    /// Acknowledges a message, and returns the status.
    pub(crate) async fn ack(&self, event: &Event) -> Result<u16> {
        let path = event.data["message"].as_str().context("a message has an address")?;
        Ok(ask(Method::DELETE, &format!("{}{path}", self.origin), &[], "").await?.status)
    }
}

impl Event {
    fn parse(block: &str) -> Result<Self> {
        let mut event = Self { name: String::new(), id: String::new(), data: Value::Null };
        for line in block.split('\n') {
            let (field, value) = line.split_once(": ").with_context(|| format!("no field: {line:?}"))?;
            match field {
                "id" => value.clone_into(&mut event.id),
                "event" => value.clone_into(&mut event.name),
                "data" => event.data = serde_json::from_str(value)?,
                _ => anyhow::bail!("an unknown field: {line:?}"),
            }
        }
        Ok(event)
    }
}

impl Reader {
    /// The next message.
    pub(crate) async fn next(&mut self) -> Result<Event> {
        let event = self.event().await?.context("the stream has ended")?;
        ensure!(event.name == "message", "not a message: {event:?}");
        Ok(event)
    }

    /// The next receipt.
    pub(crate) async fn receipt(&mut self) -> Result<Event> {
        let event = self.event().await?.context("the stream has ended")?;
        ensure!(event.name == "receipt", "not a receipt: {event:?}");
        Ok(event)
    }

    /// The reason in the last event, after which the stream ends.
    pub(crate) async fn ending(&mut self) -> Result<String> {
        let last = self.event().await?.context("the stream has ended without a word")?;
        ensure!(last.name == "close" && last.data["message"].is_string(), "not a close: {last:?}");
        ensure!(self.event().await?.is_none(), "something came after {last:?}");
        Ok(last.data["reason"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits for so many comments in all; no event may come.
    pub(crate) async fn comments(&mut self, count: usize) -> Result<()> {
        within(SOON, "comments", async {
            while self.comments < count {
                if let Some(block) = self.block().await? {
                    ensure!(block.starts_with(':'), "an event came: {block}");
                    self.comments += 1;
                } else {
                    anyhow::bail!("the stream has ended");
                }
            }
            Ok(())
        })
        .await?
    }

    /// The next event; `None` at the end.
    async fn event(&mut self) -> Result<Option<Event>> {
        within(SOON, "an event", async {
            while let Some(block) = self.block().await? {
                if !block.starts_with(':') {
                    return Ok(Some(Event::parse(&block)?));
                }
                self.comments += 1;
            }
            Ok(None)
        })
        .await?
    }

    async fn block(&mut self) -> Result<Option<String>> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Ok(Some(block));
            }
            let Some(frame) = self.body.frame().await else {
                ensure!(self.text.is_empty(), "cut off: {:?}", self.text);
                return Ok(None);
            };
            self.text += std::str::from_utf8(frame?.data_ref().context("no trailers")?)?;
        }
    }
}
