//! Look-ups of a batch from the log: whether the subscriptions live, and where sessions are that are not known here.

use std::sync::Arc;

use pushgrid_store::{Claim, ErrorKind, Subscriptions};
use pushgrid_types::{Message, SubscriptionRef, Timestamp, UserAgentId};

use super::PartitionWorker;
use super::carry_out::{BACKOFF, Done};
use crate::handle::Shared;

impl PartitionWorker {
    /// Looks a batch from the log up in one call, then decides each message. A user agent without a session
    /// here may have one known to an earlier owner of the partition, so presence is asked too; the node
    /// corrects a stale claim.
    pub(super) fn look_up(&mut self, batch: Vec<Arc<Message>>) {
        self.looking_up = true;
        let read_to = self.consumer.read_to();
        let ids: Vec<_> = batch.iter().map(|message| message.to).collect();
        let mut unknown: Vec<_> = ids.iter().map(|id| id.user_agent).collect();
        unknown.retain(|user_agent| !self.partition.is_connected(*user_agent));
        unknown.sort_unstable();
        unknown.dedup();
        let shared = self.shared.clone();
        self.calls.push(Box::pin(async move {
            // A message with TTL 0 and no topic cannot wait in the mailbox, so its look-up is retried until it
            // expires.
            let now_or_never = batch.iter().filter(|message| {
                message.ttl.is_zero()
                    && message.topic.is_none()
                    && unknown.binary_search(&message.to.user_agent).is_ok()
            });
            let until = now_or_never.map(|message| message.expires_at).max().unwrap_or_default();
            let (alive, located) =
                tokio::join!(alive(&*shared.subscriptions, &ids), locate(&shared, unknown, until));
            Done::LookedUp { batch, alive, located, read_to }
        }));
    }
}

async fn alive(subscriptions: &dyn Subscriptions, ids: &[SubscriptionRef]) -> Vec<bool> {
    let mut backoff = BACKOFF;
    loop {
        match subscriptions.alive(ids).await {
            Ok(alive) => return alive,
            // The mailbox checks subscriptions again when it stores, so a message for a dead one can only reach the
            // socket of its own user agent, which refuses it. An unreadable user agent so delays no other.
            Err(error) if matches!(error.kind, ErrorKind::Closed | ErrorKind::Corrupt) => {
                return vec![true; ids.len()];
            }
            Err(error) => backoff.wait_after(&error, "look up subscriptions").await,
        }
    }
}

/// Looks sessions up, retrying until presence answers or `until` has passed.
async fn locate(
    shared: &Shared,
    user_agents: Vec<UserAgentId>,
    until: Timestamp,
) -> Vec<(UserAgentId, Claim)> {
    if user_agents.is_empty() {
        return Vec::new();
    }
    let mut backoff = BACKOFF;
    loop {
        match shared.presence.locate(&user_agents).await {
            Ok(found) => {
                let found = user_agents.into_iter().zip(found);
                return found.filter_map(|(user_agent, claim)| Some((user_agent, claim?))).collect();
            }
            Err(error) if error.is_retryable() && shared.now() < until => {
                backoff.wait_after(&error, "look up sockets").await;
            }
            Err(error) => {
                // The messages are stored, and are delivered when the node announces the session, or on the next one.
                tracing::debug!(%error, "could not look up sockets");
                return Vec::new();
            }
        }
    }
}
