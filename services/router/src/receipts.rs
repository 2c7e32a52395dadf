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

use std::collections::{BTreeSet, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pushgrid_runtime::Backoff;
use pushgrid_store::StoreError;
use pushgrid_types::{Message, UserAgentId};
use tokio::sync::Notify;
use tracing::Instrument;

use crate::handle::Handle;
use desk::Desk;

/// Pauses between attempts to find those with a webhook.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// User agents of one page of those with a webhook.
const PAGE: usize = 256;

/// Receipt subscriptions with a webhook, by their user agents, and those for which something may wait.
#[derive(Debug, Default)]
pub(crate) struct Hooked {
    state: Mutex<State>,
    woken: Notify,
}

#[derive(Debug, Default)]
struct State {
    known: HashSet<UserAgentId>,
    due: BTreeSet<UserAgentId>,
}

impl Hooked {
    /// Adds a user agent: something may wait for it.
    pub(crate) fn add(&self, user_agent: UserAgentId) {
        let mut state = self.state.lock();
        state.known.insert(user_agent);
        state.due.insert(user_agent);
        drop(state);
        self.woken.notify_one();
    }

    /// Notes stored messages.
    pub(crate) fn stored(&self, messages: &[Arc<Message>]) {
        let mut state = self.state.lock();
        if state.known.is_empty() {
            return;
        }
        let State { known, due } = &mut *state;
        let before = due.len();
        due.extend(messages.iter().map(|message| message.to.user_agent).filter(|of| known.contains(of)));
        let is_due = due.len() > before;
        drop(state);
        if is_due {
            self.woken.notify_one();
        }
    }

    fn forget(&self, user_agent: UserAgentId) {
        self.state.lock().known.remove(&user_agent);
    }

    /// Those for which something may wait, at least one. Cancel safe.
    async fn due(&self) -> BTreeSet<UserAgentId> {
        loop {
            let due = std::mem::take(&mut self.state.lock().due);
            if !due.is_empty() {
                return due;
            }
            self.woken.notified().await;
        }
    }
}

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
        found.iter().for_each(|user_agent| self.shared().hooked.add(*user_agent));
        Ok(found.last().copied())
    }
}
