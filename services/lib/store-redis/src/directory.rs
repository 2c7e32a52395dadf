use async_trait::async_trait;
use pushgrid_store::{Directory, ErrorKind, StoreError, Usage};
use pushgrid_types::{Partition, SubscriptionRef};

use crate::failure::Effect;
use crate::view::name;
use crate::{Redis, answer, key};

/// [`Directory`] over the views of all partitions, for an ingress. A look-up is one round trip.
///
/// Guarantee: a subscription is denied only while the owner's word stands that the view is complete.
#[derive(Debug, Clone)]
pub struct RedisDirectory {
    redis: Redis,
    partitions: u16,
}

impl RedisDirectory {
    /// Builds a directory on `redis`, of `partitions` partitions.
    pub const fn new(redis: Redis, partitions: u16) -> Self {
        Self { redis, partitions }
    }
}

#[async_trait]
impl Directory for RedisDirectory {
    async fn look_up(&self, to: &SubscriptionRef) -> Result<Option<Usage>, StoreError> {
        let partition = Partition::of(to.user_agent, self.partitions);
        let meta = key::meta(self.redis.prefix(), partition);
        let script = &self.redis.scripts().look_up;
        let answer = self.redis.run(script, Effect::Reads, [&meta], |command| {
            command.arg(&name(to)[..]);
        });
        match answer::open(answer.await?)? {
            (0, items) => Ok(Some(answer::usage(items).map_err(|_| spoilt())?)),
            (1, _) => Ok(None),
            (4, _) => Err(spoilt()),
            _ => Err(unsure()),
        }
    }
}

/// A user agent set aside, or about to be: its owner finds the same when asked, and restores the user agent.
fn spoilt() -> StoreError {
    StoreError::new(ErrorKind::Corrupt, "the view of the user agent cannot be read")
}

/// A view that may lack the subscription: only the owner of the partition knows.
fn unsure() -> StoreError {
    StoreError::new(ErrorKind::Unavailable, "the view is not complete")
}
