//! An application server as a library: RFC 8030 requests with RFC 8291 encryption and RFC 8292 signatures.
//!
//! Invariant: one request has one time limit, connecting and the whole answer included. After a time-out the message
//! may have been accepted; repeating it is the caller's decision.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, LINK, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use pushgrid_crypto::encryption::encrypt_aes128gcm;
use pushgrid_crypto::vapid;
use pushgrid_types::{Rng, SystemClock, SystemRng, Topic, Ttl, Urgency, WallClock};
use tokio::time::timeout;

use self::signatures::Signatures;
use crate::response::Response;
use crate::{PushSubscription, Refusal, SendError, Tls};

mod signatures;
#[cfg(test)]
mod tests;

/// Largest answer that is read, in octets.
const ANSWER_MAX: usize = 4 * 1024 * 1024;

/// Time that an unused connection is kept open.
const IDLE_FOR: Duration = Duration::from_mins(1);

const TTL: HeaderName = HeaderName::from_static("ttl");
const TOPIC: HeaderName = HeaderName::from_static("topic");
const URGENCY: HeaderName = HeaderName::from_static("urgency");
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Relation of a link to a receipt subscription (RFC 8030 section 5.1).
const RECEIPT: &str = "urn:ietf:params:push:receipt";

/// An application server: encrypts, signs and posts push messages over a pool of HTTP/1.1 connections.
///
/// A clone shares the pool and the signatures. The pool has as many connections as requests are under way at a time.
#[derive(Clone)]
pub struct ApplicationServer {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    signatures: Option<Signatures>,
    timeout: Duration,
    clock: Arc<dyn WallClock>,
    rng: Arc<dyn Rng>,
}

/// Settings of an application server. The default has no key.
#[derive(Debug)]
pub struct Setup {
    /// The VAPID key that signs every message (RFC 8292); `None` sends unsigned.
    pub key: Option<vapid::KeyPair>,
    /// Contact for questions about the messages, `mailto:` or `https:` (RFC 8292 section 2.1). Some push services
    /// demand one.
    pub subject: Option<String>,
    /// Limit for one request and its whole answer, connecting included. 30 s unless set.
    pub timeout: Duration,
    /// Unused connections that are kept for each push service. 64 unless set.
    pub idle_connections: usize,
    /// Trust in `https` servers.
    pub tls: Tls,
    /// Clock by which signatures are made.
    pub clock: Arc<dyn WallClock>,
    /// Source of the keys and salts of encryption.
    pub rng: Arc<dyn Rng>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            key: None,
            subject: None,
            timeout: Duration::from_secs(30),
            idle_connections: 64,
            tls: Tls::public_roots(),
            clock: Arc::new(SystemClock),
            rng: Arc::new(SystemRng),
        }
    }
}

/// Header fields that decide the way of a push message (RFC 8030 section 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendOptions {
    /// Time that the message may wait for the user agent. 60 s unless set.
    pub ttl: Ttl,
    /// Replaces the waiting message of the same topic.
    pub topic: Option<Topic>,
    /// Urgency of the message; `None` leaves the field out, which means normal.
    pub urgency: Option<Urgency>,
    /// Wish for a receipt (RFC 8030 section 5.1).
    pub receipt: ReceiptWish,
}

/// The wish for a receipt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ReceiptWish {
    /// None.
    #[default]
    Unwanted,
    /// A receipt, by a new receipt subscription.
    New,
    /// A receipt, by the receipt subscription of this URL.
    To(String),
}

impl Default for SendOptions {
    fn default() -> Self {
        let receipt = ReceiptWish::Unwanted;
        Self { ttl: Ttl::from_secs(60), topic: None, urgency: None, receipt }
    }
}

/// Answer of a push service that has accepted a message.
#[derive(Clone, PartialEq, Eq)]
pub struct Accepted {
    /// 201, or 202 when a receipt was asked for and will be given.
    pub status: u16,
    /// Address of the message: a `DELETE` there cancels the message.
    pub location: Option<String>,
    /// Time that the service keeps the message; may be shorter than the TTL asked for.
    pub ttl: Option<Ttl>,
    /// Address of the receipt subscription: a `GET` there reads receipts.
    pub receipts: Option<String>,
}

impl fmt::Debug for Accepted {
    /// Hides the addresses, with which anybody can cancel the message and read the receipts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted")
            .field("status", &self.status)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

impl ApplicationServer {
    /// With the machine's clock and randomness, and the defaults of [`Setup`].
    pub fn new(key: Option<vapid::KeyPair>) -> Self {
        Self::with(Setup { key, ..Setup::default() })
    }

    /// An application server with these settings.
    pub fn with(setup: Setup) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(setup.timeout));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config((*setup.tls.config()).clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let pool = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(setup.idle_connections)
            .build(https);
        let signatures = setup.key.map(|key| Signatures::new(key, setup.subject));
        let inner = Inner { pool, signatures, timeout: setup.timeout, clock: setup.clock, rng: setup.rng };
        Self { inner: Arc::new(inner) }
    }

    /// Encrypts `payload` (RFC 8291, at most 3993 octets), signs when there is a key, and posts the message. An empty
    /// payload is posted as no body at all: the push event then has no data.
    ///
    /// Fails unless the service accepts. After [`SendError::Timeout`] the message may have been accepted or not.
    pub async fn send(
        &self,
        to: &PushSubscription,
        payload: &[u8],
        options: &SendOptions,
    ) -> Result<Accepted, SendError> {
        let uri = uri(&to.endpoint)?;
        let mut request = Request::new(Bytes::new());
        let fields = request.headers_mut();
        fields.insert(TTL, HeaderValue::from(options.ttl.as_secs()));
        if let Some(topic) = &options.topic {
            fields.insert(TOPIC, HeaderValue::from_str(topic.as_str()).expect("a topic is ASCII"));
        }
        if let Some(urgency) = options.urgency {
            fields.insert(URGENCY, HeaderValue::from_static(urgency.as_str()));
        }
        wish(fields, &options.receipt)?;
        if let Some(authorization) = self.authorization(&uri) {
            fields.insert(AUTHORIZATION, authorization);
        }
        if !payload.is_empty() {
            fields.insert(CONTENT_ENCODING, HeaderValue::from_static("aes128gcm"));
            fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            let body = encrypt_aes128gcm(&*self.inner.rng, &to.p256dh, &to.auth, payload);
            *request.body_mut() = body.map_err(SendError::Encrypt)?.into();
        }
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        accepted(&self.request(request).await?)
    }

    /// Posts any fields and body, unsigned. Every status is an answer, not an error.
    pub async fn post(
        &self,
        endpoint: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response, SendError> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri(endpoint)?;
        for (name, value) in headers {
            let field = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
            let (name, value) = field.ok_or_else(|| SendError::Field((*name).to_owned()))?;
            request.headers_mut().append(name, value);
        }
        self.request(request).await
    }

    /// Cancels the message at `location` (RFC 8030 section 5 gives the address). Answers with the status: 204 for a
    /// message cancelled now, 404 for one that had ended before.
    pub async fn delete(&self, location: &str) -> Result<u16, SendError> {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = Method::DELETE;
        *request.uri_mut() = uri(location)?;
        Ok(self.request(request).await?.status)
    }

    /// Sends any request. Every status is an answer, not an error; the answer is read whole, up to 4 MiB.
    pub async fn request(&self, request: Request<Bytes>) -> Result<Response, SendError> {
        let limit = self.inner.timeout;
        let exchange = async {
            let answer =
                self.inner.pool.request(request.map(Full::new)).await.map_err(SendError::Unreachable)?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_MAX).collect().await.map_err(SendError::Answer)?.to_bytes();
            Ok(Response { status: head.status.as_u16(), headers: head.headers, body })
        };
        timeout(limit, exchange).await.map_err(|_| SendError::Timeout(limit))?
    }

    /// Sends a request, and returns the answer with its body still to be read.
    pub(crate) async fn open(
        &self,
        request: Request<Bytes>,
    ) -> Result<http::Response<hyper::body::Incoming>, SendError> {
        let limit = self.inner.timeout;
        let answer = timeout(limit, self.inner.pool.request(request.map(Full::new))).await;
        answer.map_err(|_| SendError::Timeout(limit))?.map_err(SendError::Unreachable)
    }

    /// The `Authorization` for the origin of `endpoint`, one signature serving for hours; `None` without a key.
    pub fn authorization_for(&self, endpoint: &str) -> Result<Option<HeaderValue>, SendError> {
        Ok(self.authorization(&uri(endpoint)?))
    }

    fn authorization(&self, uri: &Uri) -> Option<HeaderValue> {
        let signatures = self.inner.signatures.as_ref()?;
        Some(signatures.of(&origin(uri), self.inner.clock.wall()))
    }
}

impl fmt::Debug for ApplicationServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signs = self.inner.signatures.is_some();
        f.debug_struct("ApplicationServer").field("signs", &signs).finish_non_exhaustive()
    }
}

/// Parses an absolute `http` or `https` URL.
fn uri(text: &str) -> Result<Uri, SendError> {
    let uri: Uri = text.parse().map_err(|_| SendError::Endpoint)?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(_)) => Ok(uri),
        _ => Err(SendError::Endpoint),
    }
}

/// Scheme, host and any port other than the scheme's own (RFC 6454 section 6.1).
fn origin(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("https");
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    match (scheme, uri.port_u16()) {
        (_, None) | ("https", Some(443)) | ("http", Some(80)) => format!("{scheme}://{host}"),
        (_, Some(port)) => format!("{scheme}://{host}:{port}"),
    }
}

/// Adds the fields of a wish for a receipt.
fn wish(fields: &mut HeaderMap, receipt: &ReceiptWish) -> Result<(), SendError> {
    if *receipt != ReceiptWish::Unwanted {
        fields.insert(PREFER, HeaderValue::from_static("respond-async"));
    }
    if let ReceiptWish::To(url) = receipt {
        let link = HeaderValue::try_from(format!("<{url}>; rel=\"{RECEIPT}\""));
        fields.insert(LINK, link.map_err(|_| SendError::Field("link".to_owned()))?);
    }
    Ok(())
}

fn accepted(response: &Response) -> Result<Accepted, SendError> {
    if !(200..300).contains(&response.status) {
        return Err(SendError::Refused(Box::new(Refusal::of(response))));
    }
    let mut links = response.headers.get_all(LINK).iter().filter_map(|line| line.to_str().ok());
    let ending = format!(">; rel=\"{RECEIPT}\"");
    let receipts = links.find_map(|line| line.strip_prefix('<')?.strip_suffix(&*ending));
    Ok(Accepted {
        status: response.status,
        location: response.header(LOCATION.as_str()).map(str::to_owned),
        ttl: response.header(TTL.as_str()).and_then(|text| text.parse().ok()),
        receipts: receipts.map(str::to_owned),
    })
}
