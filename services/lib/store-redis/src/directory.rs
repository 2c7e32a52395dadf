use async_trait::async_trait;
use pushgrid_store::{Directory, ErrorKind, StoreError, Usage};
use pushgrid_types::{Partition, SubscriptionRef};

use crate::failure::Effect;
use crate::view::name;
use crate::{Redis, answer, key};

/// [`Directory`] over the views of all partitions, for an ingress. A look-up is one round trip.
///
/// Guarantee: it says that a subscription does not exist only while its owner's word that the view is complete stands.
#[derive(Debug, Clone)]
pub struct RedisDirectory {
    redis: Redis,
    partitions: u16,
}

impl RedisDirectory {
    /// A directory on `redis`, of so many partitions.
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
            (0, items) => answer::usage(items).map(Some),
            (1, _) => Ok(None),
            _ => Err(StoreError::new(ErrorKind::Unavailable, "the view is not complete")),
        }
    }
}
