//! Subscriptions of a partition. Reads ask the view behind the read barrier; changes go through the writer.
//! Invariant: a subscription readable only by a newer release counts as alive.

use async_trait::async_trait;
use pushgrid_store::{ErrorKind, StoreError, Subscription, Subscriptions, SweepPlace};
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
        let barrier = self.barrier()?;
        let found = self.answer(self.view().find(barrier, &[(user_agent, channel)]).await)?;
        let found = found.into_iter().next().flatten();
        if found.is_none() && self.newer_of(user_agent).iter().any(|newer| newer.channel == channel) {
            // The subscription can be neither denied nor shown: denying it would give the channel a second one.
            return Err(StoreError::new(
                ErrorKind::Unavailable,
                "only a newer release can read the subscription",
            ));
        }
        Ok(found)
    }

    async fn alive(&self, ids: &[SubscriptionRef]) -> Result<Vec<bool>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let barrier = self.barrier()?;
        let mut alive = self.answer(self.view().alive(barrier, ids).await)?;
        for (id, alive) in ids.iter().zip(&mut alive).filter(|(_, alive)| !**alive) {
            *alive = self.has_newer(id);
        }
        Ok(alive)
    }

    async fn count(&self, user_agent: UserAgentId) -> Result<usize, StoreError> {
        let barrier = self.barrier()?;
        let count = self.answer(self.view().count(barrier, user_agent).await)?;
        let newer = self.newer_of(user_agent);
        if newer.is_empty() {
            return Ok(count);
        }
        // The view may have an earlier form of one of them.
        let counted = self.answer(self.view().alive(barrier, &newer).await)?;
        Ok(count + counted.iter().filter(|is_counted| !**is_counted).count())
    }

    async fn all(&self, user_agent: UserAgentId) -> Result<Vec<Subscription>, StoreError> {
        let barrier = self.barrier()?;
        self.answer(self.view().all(barrier, user_agent).await)
    }

    async fn sweep(
        &self,
        from: Option<SweepPlace>,
    ) -> Result<(Vec<Subscription>, Option<SweepPlace>), StoreError> {
        let barrier = self.barrier()?;
        let (mut swept, next) = self.answer(self.view().sweep(barrier, from).await)?;
        // Of these nobody here knows all.
        swept.retain(|it| self.newer_of(it.id.user_agent).is_empty());
        Ok((swept, next))
    }

    async fn webhooks(
        &self,
        after: Option<UserAgentId>,
        limit: usize,
    ) -> Result<Vec<UserAgentId>, StoreError> {
        let barrier = self.barrier()?;
        self.answer(self.view().webhooks(barrier, after, limit).await)
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
