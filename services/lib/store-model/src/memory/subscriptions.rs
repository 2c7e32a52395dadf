use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_types::{ChannelId, SubscriptionRef, UserAgentId};

use super::Shared;
use pushgrid_store::{StoreError, Subscription, Subscriptions, SweepPlace};

/// The model of [`Subscriptions`].
#[derive(Debug, Clone)]
pub struct MemorySubscriptions(Arc<Shared>);

impl MemorySubscriptions {
    pub(super) fn over(shared: Arc<Shared>) -> Self {
        Self(shared)
    }
}

#[async_trait]
impl Subscriptions for MemorySubscriptions {
    async fn find(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
    ) -> Result<Option<Subscription>, StoreError> {
        let state = self.0.lock();
        state.check_open()?;
        Ok(state.subscriptions.get(&(user_agent, channel)).cloned())
    }

    async fn alive(&self, ids: &[SubscriptionRef]) -> Result<Vec<bool>, StoreError> {
        let state = self.0.lock();
        state.check_open()?;
        Ok(ids.iter().map(|id| state.alive(*id)).collect())
    }

    async fn count(&self, user_agent: UserAgentId) -> Result<usize, StoreError> {
        let state = self.0.lock();
        state.check_open()?;
        let first = (user_agent, ChannelId::from_octets([0; ChannelId::SIZE]));
        let last = (user_agent, ChannelId::from_octets([u8::MAX; ChannelId::SIZE]));
        Ok(state.subscriptions.range(first..=last).count())
    }

    async fn all(&self, user_agent: UserAgentId) -> Result<Vec<Subscription>, StoreError> {
        let state = self.0.lock();
        state.check_open()?;
        let first = (user_agent, ChannelId::from_octets([0; ChannelId::SIZE]));
        let last = (user_agent, ChannelId::from_octets([u8::MAX; ChannelId::SIZE]));
        Ok(state.subscriptions.range(first..=last).map(|(_, it)| it.clone()).collect())
    }

    async fn sweep(
        &self,
        from: Option<SweepPlace>,
    ) -> Result<(Vec<Subscription>, Option<SweepPlace>), StoreError> {
        let state = self.0.lock();
        state.check_open()?;
        Ok(super::sweep(&state.subscriptions, from.as_ref()))
    }

    async fn webhooks(
        &self,
        after: Option<UserAgentId>,
        limit: usize,
    ) -> Result<Vec<UserAgentId>, StoreError> {
        let state = self.0.lock();
        state.check_open()?;
        Ok(super::webhooks(&state.subscriptions, after, limit))
    }

    async fn put(
        &self,
        expected: Option<SubscriptionRef>,
        new: Subscription,
    ) -> Result<Option<Subscription>, StoreError> {
        let mut state = self.0.lock();
        state.check_open()?;
        let key = (new.id.user_agent, new.id.channel);
        let present = state.subscriptions.get(&key).cloned();
        if present.as_ref().map(|it| it.id) != expected {
            return Ok(present);
        }
        state.subscriptions.insert(key, new.clone());
        Ok(Some(new))
    }

    async fn remove(&self, user_agent: UserAgentId, channel: ChannelId) -> Result<bool, StoreError> {
        let mut state = self.0.lock();
        state.check_open()?;
        let was_there = state.subscriptions.remove(&(user_agent, channel)).is_some();
        if was_there {
            state.unsubscribe(user_agent, channel);
        }
        Ok(was_there)
    }
}
