//! A user agent that takes server push: the client of the crate h2 on one connection.

use std::future::poll_fn;
use std::task::Poll;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use h2::client::{Builder, PushPromises, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Method, Request};
use pushgrid_it::within;
use tokio::net::TcpStream;

use crate::wire::party::SOON;
use crate::wire::sse::origin;

/// A connection.
pub(crate) struct Connection {
    requests: SendRequest<Bytes>,
    origin: String,
}

/// An open request, and what is pushed beside it.
pub(crate) struct Monitoring {
    answer: ResponseFuture,
    promises: PushPromises,
}

/// A promise.
pub(crate) struct Promised {
    /// Path of the message, which is its address for the user agent.
    pub(crate) path: String,
    pub(crate) promise: Request<()>,
    answer: h2::client::PushedResponseFuture,
}

/// A pushed answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Push {
    pub(crate) path: String,
    pub(crate) promise: HeaderMap,
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Bytes,
}

impl Connection {
    /// Connects to the address for user agents.
    pub(crate) async fn new(url: &str) -> Result<Self> {
        Self::with(url, &Builder::new()).await
    }

    /// Connects with settings.
    pub(crate) async fn with(url: &str, builder: &Builder) -> Result<Self> {
        let origin = origin(url);
        let socket = TcpStream::connect(origin.trim_start_matches("http://")).await?;
        let (requests, connection) = builder.handshake(socket).await?;
        tokio::spawn(connection);
        let requests = within(SOON, "a connection", requests.ready()).await??;
        Ok(Self { requests, origin })
    }

    fn send(&mut self, method: Method, path: &str, fields: &[(&str, &str)]) -> Result<ResponseFuture> {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.origin));
        let request =
            fields.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(())?;
        Ok(self.requests.send_request(request, true)?.0)
    }

    /// Monitors a resource.
    pub(crate) fn monitor(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Monitoring> {
        let mut answer = self.send(Method::GET, path, fields)?;
        let promises = answer.push_promises();
        Ok(Monitoring { answer, promises })
    }

    /// Sends a request, and returns status, fields and body of the answer.
    pub(crate) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<(u16, HeaderMap, Bytes)> {
        let answer = within(SOON, "an answer", self.send(method, path, fields)?).await??;
        let (head, body) = answer.into_parts();
        Ok((head.status.as_u16(), head.headers, read(body).await?))
    }

    /// Messages that wait, and the status at the end.
    pub(crate) async fn waiting(&mut self, path: &str) -> Result<(Vec<Push>, u16)> {
        self.monitor(path, &[("prefer", "wait=0")])?.all().await
    }

    /// Waits for the end of the connection by the service.
    pub(crate) async fn ended(mut self) -> Result<()> {
        let is_over = async {
            loop {
                if end_of(&mut self.requests).await {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        within(SOON, "the end of a connection", is_over).await
    }

    /// Acknowledges a message, and returns the status.
    pub(crate) async fn ack(&mut self, push: &Push) -> Result<u16> {
        Ok(self.ask(Method::DELETE, &push.path, &[]).await?.0)
    }
}

impl Monitoring {
    /// The next promise.
    pub(crate) async fn promised(&mut self) -> Result<Promised> {
        let promised = within(SOON, "a promise", self.promises.push_promise()).await?;
        let (promise, answer) = promised.context("the request has ended")??.into_parts();
        let path = promise.uri().path().to_owned();
        Ok(Promised { path, promise, answer })
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Result<Push> {
        self.promised().await?.read().await
    }

    /// True while the request has no answer.
    pub(crate) async fn is_open(&mut self) -> bool {
        poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut self.answer).poll(cx).is_pending())).await
    }

    /// The status, whatever else there is.
    pub(crate) async fn status(self) -> Result<u16> {
        Ok(within(SOON, "the answer to the request", self.answer).await??.status().as_u16())
    }

    /// The status in the end; nothing more may have come.
    pub(crate) async fn end(self) -> Result<u16> {
        let (pushes, status) = self.all().await?;
        ensure!(pushes.is_empty(), "something came: {pushes:?}");
        Ok(status)
    }

    /// All up to the end.
    pub(crate) async fn all(mut self) -> Result<(Vec<Push>, u16)> {
        let status = within(SOON, "the answer to the request", self.answer).await??.status();
        let mut pushes = Vec::new();
        while let Some(promised) = within(SOON, "the end", self.promises.push_promise()).await? {
            let (promise, answer) = promised?.into_parts();
            let path = promise.uri().path().to_owned();
            pushes.push(Promised { path, promise, answer }.read().await?);
        }
        Ok((pushes, status.as_u16()))
    }
}

impl Promised {
    /// Reads the answer.
    pub(crate) async fn read(self) -> Result<Push> {
        let (head, body) = within(SOON, "a pushed answer", self.answer).await??.into_parts();
        ensure!(self.promise.method() == Method::GET, "promised {}", self.promise.method());
        Ok(Push {
            path: self.path,
            promise: self.promise.headers().clone(),
            status: head.status.as_u16(),
            fields: head.headers,
            body: read(body).await?,
        })
    }

    /// The reason for which the service gives the answer up.
    pub(crate) async fn given_up(self) -> Result<Option<Reason>> {
        match within(SOON, "a pushed answer", self.answer).await? {
            Err(error) => Ok(error.reason()),
            Ok(answer) => match read(answer.into_body()).await {
                Err(error) => Ok(error.downcast::<h2::Error>()?.reason()),
                Ok(body) => bail!("it came: {body:?}"),
            },
        }
    }
}

/// True if no request can be sent any more.
async fn end_of(requests: &mut SendRequest<Bytes>) -> bool {
    poll_fn(|cx| requests.poll_ready(cx)).await.is_err()
}

async fn read(mut body: RecvStream) -> Result<Bytes> {
    let mut octets = Vec::new();
    while let Some(part) = within(SOON, "a body", body.data()).await? {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        octets.extend_from_slice(&part);
    }
    Ok(octets.into())
}
