//! Subscriptions over the file: look-ups are answered from the cache or read into it, changes go to the committer.

use async_trait::async_trait;
use pushgrid_store::{StoreError, Subscription, Subscriptions, SweepPlace};
use pushgrid_types::cast::saturating;
use pushgrid_types::{ChannelId, SubscriptionRef, UserAgentId};
use rusqlite::{Connection, params};

use crate::Embedded;
use crate::cache::{Key, Known};
use crate::failure::Failure;
use crate::row::{self, subscription_columns};
use crate::write::{Put, Remove};

pub(crate) const COUNT: &str = "SELECT COUNT(*) FROM subscription WHERE user_agent = ?1";

pub(crate) const ALL: &str =
    concat!("SELECT channel, ", subscription_columns!(), " FROM subscription WHERE user_agent = ?1");

/// User agents after a place, for a sweep.
pub(crate) const NEXT: &str =
    "SELECT DISTINCT user_agent FROM subscription WHERE user_agent > ?1 ORDER BY user_agent LIMIT ?2";

/// User agents with a webhook after a place.
pub(crate) const WITH_WEBHOOK: &str =
    "SELECT DISTINCT user_agent FROM subscription INDEXED BY subscription_with_webhook
    WHERE webhook IS NOT NULL AND user_agent > ?1 ORDER BY user_agent LIMIT ?2";

/// User agents of one call of a sweep.
const SWEPT: i64 = 256;

/// Octets of the queue for a change of a subscription.
const CHANGE_OCTETS: usize = 256;

#[async_trait]
impl Subscriptions for Embedded {
    async fn find(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
    ) -> Result<Option<Subscription>, StoreError> {
        self.check_open()?;
        let key = (user_agent, channel);
        match self.shared().subscriptions.get(&key) {
            Known::Present(subscription) => Ok(Some(subscription)),
            Known::Absent => Ok(None),
            Known::Nothing => Ok(self.read_subscriptions(vec![key]).await?.into_iter().next().flatten()),
        }
    }

    async fn alive(&self, ids: &[SubscriptionRef]) -> Result<Vec<bool>, StoreError> {
        self.check_open()?;
        let cache = &self.shared().subscriptions;
        let mut unknown = Vec::new();
        let mut answers = vec![false; ids.len()];
        for (at, id) in ids.iter().enumerate() {
            match cache.get(&(id.user_agent, id.channel)) {
                Known::Present(there) => answers[at] = there.id == *id,
                Known::Absent => {}
                Known::Nothing => unknown.push(at),
            }
        }
        if !unknown.is_empty() {
            let keys = unknown.iter().map(|at| (ids[*at].user_agent, ids[*at].channel)).collect();
            for (at, found) in unknown.iter().zip(self.read_subscriptions(keys).await?) {
                answers[*at] = found.is_some_and(|there| there.id == ids[*at]);
            }
        }
        Ok(answers)
    }

    async fn count(&self, user_agent: UserAgentId) -> Result<usize, StoreError> {
        self.check_open()?;
        let read = self.shared().readers.run(move |connection| {
            let mut statement = connection.prepare_cached(COUNT)?;
            let count: i64 = statement.query_row(params![user_agent.as_octets()], |row| row.get(0))?;
            row::to_unsigned(count)
        });
        Ok(saturating::<usize>(read.await?))
    }

    async fn all(&self, user_agent: UserAgentId) -> Result<Vec<Subscription>, StoreError> {
        self.check_open()?;
        self.shared().readers.run(move |connection| all(connection, user_agent)).await
    }

    async fn sweep(
        &self,
        from: Option<SweepPlace>,
    ) -> Result<(Vec<Subscription>, Option<SweepPlace>), StoreError> {
        self.check_open()?;
        let from = from.map_or_else(Vec::new, |place| place.0);
        let read = self.shared().readers.run(move |connection| {
            let mut statement = connection.prepare_cached(NEXT)?;
            let mut rows = statement.query(params![from, SWEPT])?;
            let (mut swept, mut last) = (Vec::new(), None);
            while let Some(row) = rows.next()? {
                let user_agent = row::identifier(row, 0, UserAgentId::from_slice)?;
                swept.extend(all(connection, user_agent)?);
                last = Some(SweepPlace(user_agent.as_octets().to_vec()));
            }
            Ok((swept, last))
        });
        read.await
    }

    async fn webhooks(
        &self,
        after: Option<UserAgentId>,
        limit: usize,
    ) -> Result<Vec<UserAgentId>, StoreError> {
        self.check_open()?;
        let read = self.shared().readers.run(move |connection| {
            let mut statement = connection.prepare_cached(WITH_WEBHOOK)?;
            let after = after.map_or_else(Vec::new, |after| after.as_octets().to_vec());
            let mut rows = statement.query(params![after, row::octets(limit)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(row::identifier(row, 0, UserAgentId::from_slice)?);
            }
            Ok(found)
        });
        read.await
    }

    async fn put(
        &self,
        expected: Option<SubscriptionRef>,
        new: Subscription,
    ) -> Result<Option<Subscription>, StoreError> {
        self.change(Put { expected, new }, CHANGE_OCTETS).await
    }

    async fn remove(&self, user_agent: UserAgentId, channel: ChannelId) -> Result<bool, StoreError> {
        self.change(Remove { user_agent, channel }, CHANGE_OCTETS).await
    }
}

fn all(connection: &Connection, user_agent: UserAgentId) -> Result<Vec<Subscription>, Failure> {
    let mut statement = connection.prepare_cached(ALL)?;
    let mut rows = statement.query(params![user_agent.as_octets()])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let channel = row::identifier(row, 0, ChannelId::from_slice)?;
        all.push(row::subscription_of(row, 1, user_agent, channel)?);
    }
    Ok(all)
}

impl Embedded {
    /// Reads keys that the cache does not know, one answer for each, and fills the cache.
    async fn read_subscriptions(&self, keys: Vec<Key>) -> Result<Vec<Option<Subscription>>, StoreError> {
        let shared = std::sync::Arc::clone(self.shared());
        let readers = &self.shared().readers;
        readers
            .run(move |connection| {
                let mut answers = Vec::with_capacity(keys.len());
                for key in keys {
                    let before = shared.subscriptions.generation(&key);
                    let found = row::subscription(connection, key.0, key.1)?;
                    shared.subscriptions.fill(key, found.clone(), before);
                    answers.push(found);
                }
                Ok(answers)
            })
            .await
    }
}
