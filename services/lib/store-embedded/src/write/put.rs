use pushgrid_store::Subscription;
use pushgrid_types::{SubscriptionRef, WebhookUrl};
use rusqlite::params;

use super::{Transaction, Write};
use crate::failure::Failure;
use crate::row;

pub(super) const PUT: &str =
    "INSERT OR REPLACE INTO subscription (user_agent, channel, incarnation, vapid, created_at, noted, webhook)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// Makes a subscription, if the present one is the expected one.
#[derive(Debug)]
pub(crate) struct Put {
    pub(crate) expected: Option<SubscriptionRef>,
    pub(crate) new: Subscription,
}

impl Write for Put {
    type Answer = Option<Subscription>;

    fn adds(&self) -> bool {
        true
    }

    fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Option<Subscription>, Failure> {
        let Subscription { id, restriction, seen_at, is_noted, webhook } = &self.new;
        let present = row::subscription(transaction.connection, id.user_agent, id.channel)?;
        if present.as_ref().map(|present| present.id) != self.expected {
            return Ok(present);
        }
        transaction.connection.prepare_cached(PUT)?.execute(params![
            id.user_agent.as_octets(),
            id.channel.as_octets(),
            id.incarnation.as_octets(),
            restriction.to_octets(),
            row::to_integer(seen_at.as_millis()),
            is_noted,
            webhook.as_ref().map(WebhookUrl::as_str),
        ])?;
        transaction.subscribed((id.user_agent, id.channel), Some(self.new.clone()));
        Ok(Some(self.new.clone()))
    }
}
