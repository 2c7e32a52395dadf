use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_store::{LogConsumer, StoreError};
use pushgrid_types::{Message, Outcome, Sequence};
use rusqlite::params;

use crate::embedded::Owner;
use crate::feed::Next;
use crate::row::{self, message_columns};
use crate::write::SettleLogged;

/// Messages read from the file at once, however many were asked for.
const READ: usize = 512;

/// In the order of the rows, so of the sequences.
pub(crate) const LOGGED: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM message WHERE stored = 0 AND seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3"
);

/// The log has its consumer: there can be one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log is being consumed already")]
pub struct ConsumerTaken;

/// The router's side of the log. Keeps the store open.
///
/// What it is behind by is read from memory as far as the ring reaches back, and from the file beyond that; so its
/// lag costs no memory and loses nothing. A message that was handed out and not settled comes again from the next
/// consumer, in this life or another.
#[derive(Debug)]
pub struct EmbeddedConsumer {
    owner: Arc<Owner>,
    /// Everything up to here has been handed out.
    cursor: Sequence,
}

impl EmbeddedConsumer {
    pub(crate) fn attach(owner: &Arc<Owner>) -> Result<Self, ConsumerTaken> {
        if owner.shared.feed.attach() {
            Ok(Self { owner: Arc::clone(owner), cursor: Sequence(0) })
        } else {
            Err(ConsumerTaken)
        }
    }

    /// Reads what the file has in the log after the cursor, up to `until`.
    async fn read(&self, until: Sequence, limit: usize) -> Result<Vec<Arc<Message>>, StoreError> {
        let (after, until) = (row::to_integer(self.cursor.0), row::to_integer(until.0));
        let limit = row::octets(limit.min(READ));
        let readers = &self.owner.shared.readers;
        readers
            .run(move |connection| {
                let mut statement = connection.prepare_cached(LOGGED)?;
                row::messages(statement.query(params![after, until, limit])?)
            })
            .await
    }
}

impl Drop for EmbeddedConsumer {
    fn drop(&mut self) {
        self.owner.shared.feed.detach();
    }
}

#[async_trait]
impl LogConsumer for EmbeddedConsumer {
    async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Message>>, StoreError> {
        let limit = limit.max(1);
        loop {
            let batch = match self.owner.shared.feed.next(self.cursor, limit) {
                Next::Messages(messages) => messages,
                Next::InFile(until) => {
                    let messages = self.read(until, limit).await?;
                    if messages.is_empty() {
                        self.cursor = until;
                        continue;
                    }
                    messages
                }
                Next::Nothing => {
                    self.owner.shared.feed.changed().await;
                    continue;
                }
                Next::Closed => return Ok(Vec::new()),
            };
            if let Some(last) = batch.last() {
                self.cursor = last.sequence;
            }
            return Ok(batch);
        }
    }

    fn settle(&self, ended: Vec<(Sequence, Outcome)>) {
        if !ended.is_empty() {
            // Once the store is closed they come again in its next life (promise P3). Each is a message that was
            // handed out, so their number is bounded by what is pending.
            drop(self.owner.shared.queue.push_anyway(Box::new(SettleLogged(ended))));
        }
    }
}
