//! The webhooks themselves: URLs checked, secrets shown, receipts posted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use pushgrid_crypto::{EndpointKeys, WebhookSecrets};
use pushgrid_runtime::Backoff;
use pushgrid_runtime::metrics::{Meter, WEBHOOK_POSTS};
use pushgrid_types::{SubscriptionRef, WebhookUrl};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::address::judge;
use crate::connector::{Connector, connector, roots};
use crate::post::{DELIVERED, PostError, RESULTS, judge_answer};
use crate::resolver::Resolver;
use crate::signature::{is_id, secret_text, sign};
use crate::url::Rules;
use crate::{Config, InvalidCaFile, InvalidWebhook};

/// Attempts under way at once; more wait.
const MAX_ATTEMPTS: usize = 64;

/// Pool of connections: idle ones for each host, and the time until an idle one is closed.
const IDLE_CONNECTIONS: usize = 1;
const IDLE_FOR: Duration = Duration::from_secs(30);

/// Most octets that are held of the head of an answer, and of a body that nobody reads.
const ANSWER_MAX: u16 = 16 * 1024;

/// Longest pause between failed attempts.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// Posts to webhooks. A clone is cheap, and shares connections and the bound on attempts.
#[derive(Clone)]
pub struct Webhooks {
    inner: Arc<Inner>,
}

struct Inner {
    rules: Rules,
    secrets: WebhookSecrets,
    client: Client<Connector, Full<Bytes>>,
    timeout: Duration,
    first_pause: Duration,
    room: Semaphore,
    counts: [(&'static str, metrics::Counter); RESULTS.len()],
}

impl Webhooks {
    /// Webhooks under these settings. Reads the file of `webhook.ca_file`, and fails without use of it.
    pub fn new(config: &Config, keys: &EndpointKeys, meter: &Meter) -> Result<Self, InvalidCaFile> {
        Self::with_resolver(config, keys, meter, Resolver::system(judge(config.allow_private)))
    }

    /// The same with names resolved by `resolver`, which judges addresses by itself.
    pub(crate) fn with_resolver(
        config: &Config,
        keys: &EndpointKeys,
        meter: &Meter,
        resolver: Resolver,
    ) -> Result<Self, InvalidCaFile> {
        let connector = connector(resolver, roots(config.ca_file.as_deref())?, config.timeout);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .http1_max_buf_size(ANSWER_MAX.into())
            .http2_max_header_list_size(ANSWER_MAX.into())
            .http2_initial_stream_window_size(u32::from(ANSWER_MAX))
            // A connection that has died without a word is given up within one attempt: the next makes another.
            .http2_keep_alive_interval(config.timeout / 2)
            .http2_keep_alive_timeout(config.timeout / 4)
            .build(connector);
        let inner = Inner {
            rules: Rules::new(config.allow_private, config.allow_http),
            secrets: WebhookSecrets::new(keys),
            client,
            timeout: config.timeout,
            first_pause: config.first_pause,
            room: Semaphore::new(MAX_ATTEMPTS),
            counts: RESULTS.map(|result| (result, meter.counter(&WEBHOOK_POSTS, &[("result", result)]))),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Checks a URL that an application server names: absolute, `https` (or `http`, if allowed), at most
    /// [`WebhookUrl::MAX`] octets of ASCII, without user information and fragment, at a host that is not an address of
    /// a refused range. A name is not resolved: [`Self::post`] judges its addresses each time. The error says what to
    /// write.
    pub fn check(&self, url: &str) -> Result<WebhookUrl, InvalidWebhook> {
        self.inner.rules.parse(url)?;
        WebhookUrl::new(url).ok_or(InvalidWebhook::TooLong)
    }

    /// The secret by which the receiver verifies signatures: `whsec_` and base64 of 32 octets, the same for the life
    /// of the receipt subscription and of the last (oldest) endpoint key, see [`WebhookSecrets`].
    pub fn secret(&self, of: &SubscriptionRef) -> String {
        secret_text(&self.inner.secrets.secret(of))
    }

    /// Pauses between failed attempts for one webhook.
    pub fn backoff(&self) -> Backoff {
        Backoff::new(self.inner.first_pause, LONGEST_PAUSE)
    }

    /// Posts `body`, which is JSON, in one attempt. `id` becomes the `webhook-id` (1 to 256 of `A-Z a-z 0-9 - _`, the
    /// same in each attempt), `at` the `webhook-timestamp` (seconds since 1970, the time of this attempt).
    ///
    /// Succeeds with an answer 2xx. Takes at most `webhook.timeout`, after a wait while 64 other attempts are under
    /// way. Dropping the future gives the attempt up, and counts nothing.
    pub async fn post(
        &self,
        of: &SubscriptionRef,
        url: &WebhookUrl,
        id: &str,
        at: u64,
        body: Bytes,
    ) -> Result<(), PostError> {
        let result = self.inner.post(of, url, id, at, body).await;
        let label = match &result {
            Ok(()) => Some(DELIVERED),
            Err(error) => error.label(),
        };
        if let Some((_, count)) = self.inner.counts.iter().find(|(result, _)| Some(*result) == label) {
            count.increment(1);
        }
        result
    }
}

impl Inner {
    async fn post(
        &self,
        of: &SubscriptionRef,
        url: &WebhookUrl,
        id: &str,
        at: u64,
        body: Bytes,
    ) -> Result<(), PostError> {
        // Judged again: the URL comes from a database, and the settings may have changed since it was named.
        let uri = self.rules.parse(url.as_str())?;
        let request = self.request(of, uri, id, at, body)?;
        let _room = self.room.acquire().await.expect("nobody closes the semaphore");
        let answer = timeout(self.timeout, self.client.request(request)).await;
        let answer = answer.map_err(|_| PostError::TimedOut)??;
        judge_answer(answer.status(), answer.headers())
    }

    fn request(
        &self,
        of: &SubscriptionRef,
        uri: Uri,
        id: &str,
        at: u64,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, PostError> {
        let id_value = HeaderValue::from_str(id).ok().filter(|_| is_id(id)).ok_or(PostError::InvalidId)?;
        let signature = sign(&self.secrets.secret(of), id, at, &body);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static("pushgrid"));
        headers.insert("webhook-id", id_value);
        headers.insert("webhook-timestamp", HeaderValue::from(at));
        headers
            .insert("webhook-signature", HeaderValue::try_from(signature).expect("base64 fits into a field"));
        Ok(request)
    }
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks").field("timeout", &self.inner.timeout).finish_non_exhaustive()
    }
}
