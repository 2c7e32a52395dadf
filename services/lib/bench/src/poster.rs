//! Senders: post marked messages in turn to all subscriptions, and note the answers in the ledger.
//!
//! Invariant: a sender waits for each answer before its next post, so the messages of one sender have an order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue, LINK};
use http::{Method, Request, Uri};
use pushgrid_client::ApplicationServer;
use pushgrid_types::cast::fitting;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::content::{Content, Mark};
use crate::ledger::Ledger;
use crate::pace::{Pace, Rate};

/// Longer than any run: no message may expire during one.
const TTL: HeaderValue = HeaderValue::from_static("7200");

/// Failures in a row after which a sender gives up.
const FAULTS_MAX: u32 = 20;

/// Posts marked messages to many subscriptions in turn.
pub(super) struct Poster {
    http: ApplicationServer,
    targets: Vec<Uri>,
    fields: HeaderMap,
    content: Content,
    next: AtomicU64,
    faults: AtomicU64,
    ledger: Arc<Ledger>,
}

/// Amount and rate of posts.
#[derive(Clone, Copy)]
pub(super) struct Volley {
    pub(super) rate: Rate,
    /// Largest number of messages.
    pub(super) count: u64,
    /// Requests at a time. Each sender waits for the answer before the next post, so the messages of one have an
    /// order.
    pub(super) senders: u32,
    /// Instant after which no post begins.
    pub(super) until: Option<Instant>,
}

impl Poster {
    /// A poster to `targets` that notes accepted messages in `ledger`.
    pub(super) fn new(
        http: &ApplicationServer,
        targets: Vec<Uri>,
        authorization: Option<HeaderValue>,
        content: Content,
        ledger: Arc<Ledger>,
    ) -> Self {
        let mut fields = HeaderMap::new();
        fields.insert(HeaderName::from_static("ttl"), TTL);
        fields.insert(CONTENT_ENCODING, HeaderValue::from_static("aes128gcm"));
        if let Some(authorization) = authorization {
            fields.insert(AUTHORIZATION, authorization);
        }
        let (next, faults) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { http: http.clone(), targets, fields, content, next, faults, ledger }
    }

    /// Asks for the receipt of each message, at this receipt subscription.
    pub(super) fn asking(mut self, receipts: &str) -> Result<Self> {
        let link = format!("<{receipts}>; rel=\"urn:ietf:params:push:receipt\"");
        self.fields.insert(HeaderName::from_static("prefer"), HeaderValue::from_static("respond-async"));
        self.fields.insert(LINK, HeaderValue::try_from(link)?);
        Ok(self)
    }

    /// Posts a volley; returns after the last answer, with the number of messages that were not accepted.
    pub(super) async fn fire(self: &Arc<Self>, volley: Volley) -> Result<u64> {
        let count = volley.count.min(self.ledger.capacity());
        let pace = Arc::new(Pace::start(volley.rate, count, self.ledger.started()));
        let mut senders = JoinSet::new();
        for sender in 0..volley.senders {
            let (poster, pace) = (Arc::clone(self), Arc::clone(&pace));
            let volley = Volley { count, ..volley };
            senders.spawn(async move { poster.send(sender, volley, &pace).await });
        }
        while let Some(sent) = senders.join_next().await {
            sent??;
        }
        Ok(self.faults.load(Ordering::Relaxed))
    }

    /// Posts one sender's share, until the volley ends or [`FAULTS_MAX`] posts in a row fail.
    async fn send(&self, sender: u32, volley: Volley, pace: &Pace) -> Result<()> {
        let mut faults_in_a_row = 0;
        while volley.until.is_none_or(|until| Instant::now() < until) {
            pace.next().await;
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= volley.count {
                break;
            }
            self.ledger.due(number, pace.due(number));
            match self.post(Mark { sender, number }).await {
                Ok(()) => {
                    self.ledger.accepted(number);
                    faults_in_a_row = 0;
                }
                Err(why) => {
                    if self.faults.fetch_add(1, Ordering::Relaxed) == 0 {
                        super::progress(&format!("a message was not accepted: {why:#}"));
                    }
                    faults_in_a_row += 1;
                    if faults_in_a_row == FAULTS_MAX {
                        return Err(why.context(format!("{FAULTS_MAX} messages in a row were not accepted")));
                    }
                }
            }
        }
        Ok(())
    }

    async fn post(&self, mark: Mark) -> Result<()> {
        let target = fitting::<usize>(mark.number % self.targets.len() as u64);
        let mut request: Request<Bytes> = Request::new(self.content.body(mark));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.targets[target].clone();
        *request.headers_mut() = self.fields.clone();
        let answer = self.http.request(request).await?;
        anyhow::ensure!(
            matches!(answer.status, 201 | 202),
            "status {}: {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
        Ok(())
    }
}
