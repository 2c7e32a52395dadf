use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use pushgrid_client::ApplicationServer;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::content::{Content, Mark};
use super::ledger::Ledger;
use super::pace::{Pace, Rate};

/// Longer than any run: no message may expire in it.
const TTL: HeaderValue = HeaderValue::from_static("7200");

/// A sender that fails so often in a row gives up.
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

/// How much is posted, and how fast.
#[derive(Clone, Copy)]
pub(super) struct Volley {
    pub(super) rate: Rate,
    /// At most so many messages.
    pub(super) count: u64,
    /// Requests at a time. Each sender waits for its answer before it posts again, so its messages have an order.
    pub(super) senders: u32,
    /// None is begun after this.
    pub(super) until: Option<Instant>,
}

impl Poster {
    /// Posts to `targets`, and writes into `ledger` what was accepted.
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

    /// Posts a volley; returns when the last answer has come. Answers with how many messages were not accepted.
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

    /// One sender's share.
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
        let target = usize::try_from(mark.number % self.targets.len() as u64).expect("less than the targets");
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
