use async_trait::async_trait;
use pushgrid_store::{StoreError, Subscription, Subscriptions};
use pushgrid_types::{ChannelId, SubscriptionRef, UserAgentId};

use crate::PartitionStore;
use crate::operation::Operation;

#[async_trait]
impl Subscriptions for PartitionStore {
    async fn find(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
    ) -> Result<Option<Subscription>, StoreError> {
        let footing = self.footing()?;
        let found = self.answer(self.view().find(footing, &[(user_agent, channel)]).await)?;
        Ok(found.into_iter().next().flatten())
    }

    async fn alive(&self, ids: &[SubscriptionRef]) -> Result<Vec<bool>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let footing = self.footing()?;
        self.answer(self.view().alive(footing, ids).await)
    }

    async fn count(&self, user_agent: UserAgentId) -> Result<usize, StoreError> {
        let footing = self.footing()?;
        self.answer(self.view().count(footing, user_agent).await)
    }

    async fn put(
        &self,
        expected: Option<SubscriptionRef>,
        new: Subscription,
    ) -> Result<Option<Subscription>, StoreError> {
        self.ask(|reply| Operation::Put { expected, new, reply }).await
    }

    async fn remove(&self, user_agent: UserAgentId, channel: ChannelId) -> Result<bool, StoreError> {
        self.ask(|reply| Operation::Remove { user_agent, channel, reply }).await
    }
}
