use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_types::{Message, MessageId, Outcome, Timestamp, UserAgentId};

use super::Shared;
use pushgrid_store::{Mailbox, Page, PageLimit, PageStart, StoreError, Stored, Usage};

/// The model of [`Mailbox`].
#[derive(Debug, Clone)]
pub struct MemoryMailbox(Arc<Shared>);

impl MemoryMailbox {
    pub(super) fn over(shared: Arc<Shared>) -> Self {
        Self(shared)
    }
}

#[async_trait]
impl Mailbox for MemoryMailbox {
    async fn store(&self, messages: Vec<Arc<Message>>) -> Result<Vec<Stored>, StoreError> {
        self.0.lock().store(&messages)
    }

    async fn page(
        &self,
        user_agent: UserAgentId,
        start: PageStart,
        now: Timestamp,
        limit: PageLimit,
    ) -> Result<Page, StoreError> {
        let state = self.0.lock();
        state.check_open()?;
        Ok(state.page(user_agent, &start, now, limit))
    }

    async fn message(&self, user_agent: UserAgentId, id: MessageId) -> Result<Option<Message>, StoreError> {
        let state = self.0.lock();
        state.check_open()?;
        Ok(state.find(user_agent, id))
    }

    async fn settle(
        &self,
        user_agent: UserAgentId,
        ended: Vec<(MessageId, Outcome)>,
    ) -> Result<Vec<bool>, StoreError> {
        let mut state = self.0.lock();
        state.check_open()?;
        Ok(ended.into_iter().map(|(id, outcome)| state.settle_stored(user_agent, id, outcome)).collect())
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut state = self.0.lock();
        state.check_open()?;
        Ok(state.expire(now, limit))
    }

    async fn usage(&self, user_agent: UserAgentId) -> Result<Usage, StoreError> {
        let state = self.0.lock();
        state.check_open()?;
        Ok(state.usage(user_agent))
    }
}
