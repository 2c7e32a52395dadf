use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_store::{ErrorKind, Mailbox, PageLimit, StoreError, Stored, Usage};
use pushgrid_types::{ChannelId, Message, MessageId, Outcome, Sequence, Timestamp, UserAgentId};
use rusqlite::{Connection, params};

use crate::Embedded;
use crate::failure::Failure;
use crate::row::{self, message_columns};
use crate::write::{Expire, Purge, Settle, Store};

/// The index has what it takes to pass over expired messages, so that only rows of the page are read.
pub(crate) const PAGE: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM message INDEXED BY message_of_user_agent \
     WHERE stored = 1 AND user_agent = ?1 AND seq > ?2 AND expires_at > ?3 ORDER BY seq LIMIT ?4"
);

/// What one more message or id takes of the queue's room, beyond what its caller holds anyway.
const ENTRY_OCTETS: usize = 64;

#[async_trait]
impl Mailbox for Embedded {
    async fn store(&self, messages: Vec<Arc<Message>>) -> Result<Vec<Stored>, StoreError> {
        let octets = messages.len() * ENTRY_OCTETS;
        self.change(Store(messages), octets).await
    }

    async fn page(
        &self,
        user_agent: UserAgentId,
        after: Sequence,
        now: Timestamp,
        limit: PageLimit,
    ) -> Result<Vec<Message>, StoreError> {
        self.check_open()?;
        // Most user agents have nothing waiting, and a look at the account says so.
        if self.shared().usages.of(user_agent) == Usage::default() {
            return Ok(Vec::new());
        }
        self.shared().readers.run(move |connection| page(connection, user_agent, after, now, limit)).await
    }

    async fn settle(
        &self,
        user_agent: UserAgentId,
        ended: Vec<(MessageId, Outcome)>,
    ) -> Result<Vec<bool>, StoreError> {
        let octets = ended.len() * ENTRY_OCTETS;
        self.change(Settle { user_agent, ended }, octets).await
    }

    async fn purge(&self, user_agent: UserAgentId, channel: ChannelId) -> Result<(), StoreError> {
        self.change(Purge { user_agent, channel }, ENTRY_OCTETS).await
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.check_open()?;
        // Mostly nothing is due, and then a look spares a transaction.
        if self.shared().usages.due(now, 1).is_empty() {
            return Ok(0);
        }
        self.change(Expire { now, limit }, ENTRY_OCTETS).await
    }

    async fn usage(&self, user_agent: UserAgentId) -> Result<Usage, StoreError> {
        self.check_open()?;
        Ok(self.shared().usages.of(user_agent))
    }
}

impl Embedded {
    /// Reads are refused as soon as changes are.
    pub(crate) fn check_open(&self) -> Result<(), StoreError> {
        if self.shared().queue.is_closed() { Err(StoreError::plain(ErrorKind::Closed)) } else { Ok(()) }
    }
}

fn page(
    connection: &Connection,
    user_agent: UserAgentId,
    after: Sequence,
    now: Timestamp,
    limit: PageLimit,
) -> Result<Vec<Message>, Failure> {
    let mut messages = Vec::new();
    let mut octets = 0;
    let mut statement = connection.prepare_cached(PAGE)?;
    let mut rows = statement.query(params![
        user_agent.as_octets(),
        row::to_integer(after.0),
        row::to_integer(now.as_millis()),
        row::octets(limit.messages),
    ])?;
    while let Some(row) = rows.next()? {
        let message = row::message(row)?;
        octets += message.content.body.len();
        messages.push(message);
        if octets >= limit.octets {
            break;
        }
    }
    Ok(messages)
}
