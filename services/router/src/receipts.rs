//! Receipts for webhooks: what waits for a receipt subscription with a webhook is posted there, oldest first, in one post
//! at a time.
//!
//! Guarantee: a receipt leaves the mailbox after an answer 2xx, or at the end of its time. A crash in between, or an
//! answer that was lost, posts it again.
//!
//! Not here: HTTP, and which addresses are posted to (`lib/webhook`).
//!
//! Invariant: a webhook that does not answer takes one of the places of its partition while it is posted to, and none in
//! the pauses, which double.

mod desk;
mod post;

use std::convert::Infallible;
use std::time::Duration;

use pushgrid_runtime::Backoff;
use pushgrid_store::StoreError;
use pushgrid_types::UserAgentId;
use tracing::Instrument;

use crate::handle::Handle;
use desk::Desk;

/// Pauses between attempts to find those with a webhook.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// User agents of one page of those with a webhook.
const PAGE: usize = 256;

impl Handle {
    /// Posts receipts to webhooks, those first that earlier owners have left.
    pub(crate) async fn post_receipts(self) -> Infallible {
        let finding = tokio::spawn(self.clone().find_hooked().instrument(self.span().clone()));
        let never = Desk::new(self).run().await;
        finding.abort();
        never
    }

    /// Finds the receipt subscriptions with a webhook, however long it takes.
    async fn find_hooked(self) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut after = None;
        loop {
            match self.hooked_after(after).await {
                Ok(None) => return,
                Ok(last) => after = last,
                // The worker has ended, or another owner goes on.
                Err(error) if !error.is_retryable() => return,
                Err(error) => backoff.wait_after(&error, "find the webhooks").await,
            }
        }
    }

    async fn hooked_after(&self, after: Option<UserAgentId>) -> Result<Option<UserAgentId>, StoreError> {
        let found = self.shared().subscriptions.webhooks(after, PAGE).await?;
        for user_agent in &found {
            self.shared().hooked.add(*user_agent);
        }
        Ok(found.last().copied())
    }
}
