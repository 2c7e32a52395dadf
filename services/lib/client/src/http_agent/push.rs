//! A monitoring request that is answered by server push, on an HTTP/2 connection of its own.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, PushPromise, PushPromises, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, RecvStream};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::uri::Scheme;
use http::{HeaderMap, Request, Uri};
use pushgrid_types::ChannelId;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Monitored, REQUEST_TIMEOUT, Receipt, refused};
use crate::{ClientError, Notification, Response, Tls, connect};

/// Largest body that is read, in octets.
const BODY_MAX: usize = 256 * 1024;

/// Pushes at a time; the push service holds the rest back.
const STREAMS: u32 = 16;

/// Silence after which the push service is pinged.
const PING_AFTER: Duration = Duration::from_mins(1);

const ENCRYPTION: HeaderName = HeaderName::from_static("encryption");
const CRYPTO_KEY: HeaderName = HeaderName::from_static("crypto-key");

type Octets = Pin<Box<dyn Transfer>>;

trait Transfer: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Transfer for T {}

/// The request.
pub(super) struct Pushes {
    channel: ChannelId,
    connection: Connection<Octets>,
    pings: Option<PingPong>,
    promises: PushPromises,
    answer: ResponseFuture,
    /// Keeps the connection open for requests, though there is one only.
    _requests: SendRequest<Bytes>,
}

impl Pushes {
    pub(super) async fn open(
        request: Request<Bytes>,
        channel: ChannelId,
        tls: &Tls,
    ) -> Result<Self, ClientError> {
        let connecting = async {
            let octets = dial(request.uri(), tls).await?;
            let mut builder = Builder::new();
            builder.max_concurrent_streams(STREAMS);
            builder.handshake(octets).await.map_err(ClientError::stream)
        };
        let late = ClientError::Timeout { request: "connect", after: REQUEST_TIMEOUT };
        let (requests, mut connection): (SendRequest<Bytes>, _) =
            timeout(REQUEST_TIMEOUT, connecting).await.map_err(|_| late)??;
        let mut requests = drive(&mut connection, requests.ready()).await?.map_err(ClientError::stream)?;
        let request = request.map(drop);
        let (mut answer, _) = requests.send_request(request, true).map_err(ClientError::stream)?;
        let promises = answer.push_promises();
        let pings = connection.ping_pong();
        Ok(Self { channel, connection, pings, promises, answer, _requests: requests })
    }

    pub(super) async fn next(&mut self) -> Result<Monitored, ClientError> {
        let Self { connection, promises, .. } = self;
        match timeout(PING_AFTER, drive(connection, promises.push_promise())).await {
            Err(_silent) => self.ping().await.map(|()| Monitored::Alive),
            Ok(Err(_) | Ok(None)) => self.end().await,
            Ok(Ok(Some(promise))) => self.message(promise.map_err(ClientError::stream)?).await,
        }
    }

    async fn message(&mut self, promise: PushPromise) -> Result<Monitored, ClientError> {
        let (promise, answer) = promise.into_parts();
        let channel = self.channel;
        let read = async {
            let (head, body) = answer.await.map_err(ClientError::stream)?.into_parts();
            let body = read(body).await?;
            let status = head.status.as_u16();
            if matches!(status, 204 | 410) {
                let message = promise.uri().path().to_owned();
                return Ok(Monitored::Receipt(Receipt { message, status, acknowledge: None }));
            }
            let text = |name: HeaderName| Some(head.headers.get(name)?.to_str().ok()?.to_owned());
            Ok(Monitored::Message(Notification {
                channel,
                version: promise.uri().path().to_owned(),
                data: (!body.is_empty()).then_some(body),
                encoding: text(CONTENT_ENCODING),
                encryption: text(ENCRYPTION),
                crypto_key: text(CRYPTO_KEY),
                content_type: text(CONTENT_TYPE),
            }))
        };
        bounded("read a message", drive(&mut self.connection, read)).await?
    }

    /// The answer to the request: nothing is pushed any more.
    async fn end(&mut self) -> Result<Monitored, ClientError> {
        let Self { connection, answer, .. } = self;
        let ending = async {
            let (head, body) = answer.await.map_err(ClientError::stream)?.into_parts();
            Ok::<_, ClientError>((head.status.as_u16(), head.headers, read(body).await?))
        };
        let (status, headers, body): (u16, HeaderMap, Bytes) =
            bounded("monitor", drive(connection, ending)).await??;
        match status {
            200 | 204 => Ok(Monitored::Ended("the request is answered".to_owned())),
            404 => Ok(Monitored::Gone),
            _ => Err(refused("monitor", &Response { status, headers, body })),
        }
    }

    async fn ping(&mut self) -> Result<(), ClientError> {
        let Self { connection, pings, .. } = self;
        let Some(pings) = pings else { return Ok(()) };
        let pong = bounded("a ping", drive(connection, pings.ping(Ping::opaque()))).await?;
        pong.map(drop).map_err(ClientError::stream)
    }
}

async fn bounded<T>(
    request: &'static str,
    asked: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    let late = ClientError::Timeout { request, after: REQUEST_TIMEOUT };
    timeout(REQUEST_TIMEOUT, asked).await.map_err(|_| late)?
}

/// Runs the connection until `wanted` is there.
async fn drive<T>(
    connection: &mut Connection<Octets>,
    wanted: impl Future<Output = T>,
) -> Result<T, ClientError> {
    let mut wanted = pin!(wanted);
    poll_fn(|cx| {
        let ended = Pin::new(&mut *connection).poll(cx);
        if let Poll::Ready(there) = wanted.as_mut().poll(cx) {
            return Poll::Ready(Ok(there));
        }
        match ended {
            Poll::Ready(Ok(())) => {
                Poll::Ready(Err(ClientError::Closed { code: None, reason: String::new() }))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(ClientError::stream(error))),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn dial(uri: &Uri, tls: &Tls) -> Result<Octets, ClientError> {
    let is_secure = uri.scheme() == Some(&Scheme::HTTPS);
    let stream = connect::dial(uri, if is_secure { 443 } else { 80 }, None).await?;
    if !is_secure {
        return Ok(Box::pin(stream));
    }
    let host = uri.host().ok_or(ClientError::Url)?.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(|_| ClientError::Url)?;
    let mut config = (*tls.config()).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    Ok(Box::pin(stream.map_err(ClientError::stream)?))
}

async fn read(mut body: RecvStream) -> Result<Bytes, ClientError> {
    let mut octets = Vec::new();
    while let Some(part) = body.data().await {
        let part = part.map_err(ClientError::stream)?;
        body.flow_control().release_capacity(part.len()).map_err(ClientError::stream)?;
        octets.extend_from_slice(&part);
        if octets.len() > BODY_MAX {
            return Err(ClientError::Unreadable("a message is too large"));
        }
    }
    Ok(octets.into())
}

impl fmt::Debug for Pushes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pushes").field("channel", &self.channel).finish_non_exhaustive()
    }
}
