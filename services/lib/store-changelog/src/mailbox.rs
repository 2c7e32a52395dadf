//! Mailbox of a partition. Reads ask the view behind the read barrier; changes go through the writer.

use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_store::{Mailbox, Page, PageLimit, PageStart, StoreError, Stored, Usage};
use pushgrid_types::{Message, MessageId, Outcome, Timestamp, UserAgentId};

use crate::PartitionStore;
use crate::operation::Operation;

#[async_trait]
impl Mailbox for PartitionStore {
    async fn store(&self, messages: Vec<Arc<Message>>) -> Result<Vec<Stored>, StoreError> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(|reply| Operation::Store { messages, reply }).await
    }

    async fn page(
        &self,
        user_agent: UserAgentId,
        start: PageStart,
        now: Timestamp,
        limit: PageLimit,
    ) -> Result<Page, StoreError> {
        let barrier = self.barrier()?;
        self.answer(self.view().page(barrier, user_agent, start, now, limit).await)
    }

    async fn message(&self, user_agent: UserAgentId, id: MessageId) -> Result<Option<Message>, StoreError> {
        let barrier = self.barrier()?;
        self.answer(self.view().message(barrier, user_agent, id).await)
    }

    async fn settle(
        &self,
        user_agent: UserAgentId,
        ended: Vec<(MessageId, Outcome)>,
    ) -> Result<Vec<bool>, StoreError> {
        if ended.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(|reply| Operation::Settle { user_agent, ended, reply }).await
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.ask(|reply| Operation::Expire { now, limit, reply }).await
    }

    async fn usage(&self, user_agent: UserAgentId) -> Result<Usage, StoreError> {
        let barrier = self.barrier()?;
        self.answer(self.view().usage(barrier, user_agent).await)
    }
}
