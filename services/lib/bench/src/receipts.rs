//! An application server that takes the receipts of its messages by server push.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::header::LOCATION;
use http::{Method, Request};
use pushgrid_client::{ReceiptEvent, Receipts, Transport};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::site::Site;

/// Counts the receipts of one receipt subscription. Ends with its drop.
pub(super) struct Taker {
    pub(super) url: String,
    taken: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Taker {
    /// Makes a receipt subscription, and takes what comes there.
    pub(super) async fn start(site: &Site) -> Result<Self> {
        let origin = site.connection[0].replacen("ws", "http", 1);
        let origin = origin.trim_end_matches('/');
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = format!("{origin}/receipts").parse()?;
        let answer = site.http().request(request).await?;
        ensure!(answer.status == 201, "no receipt subscription was made: status {}", answer.status);
        let url = format!("{origin}{}", answer.header(LOCATION.as_str()).context("it has no address")?);
        let mut receipts = Receipts::open(&url, Transport::Push).await?;
        let taken = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&taken);
        let task = tokio::spawn(async move {
            while let Ok(event) = receipts.next().await {
                match event {
                    ReceiptEvent::Receipt(_) => count.fetch_add(1, Ordering::Relaxed),
                    ReceiptEvent::Alive => continue,
                    ReceiptEvent::Ended(_) | ReceiptEvent::Gone => break,
                };
            }
        });
        Ok(Self { url, taken, task })
    }

    /// Waits for `count` receipts, or until none has come for `patience`. Returns how many have.
    pub(super) async fn all(&self, count: u64, patience: Duration) -> u64 {
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let now = self.taken.load(Ordering::Relaxed);
            if now != last {
                (last, since) = (now, Instant::now());
            }
            if now >= count || since.elapsed() > patience {
                return now;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        self.task.abort();
    }
}
