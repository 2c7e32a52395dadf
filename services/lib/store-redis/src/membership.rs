use std::time::Duration;

use async_trait::async_trait;
use pushgrid_store::{Member, Membership, StoreError};
use pushgrid_types::NodeId;

use crate::failure::{Effect, corrupt};
use crate::{Redis, answer, key, member};

/// The longest lease, in milliseconds: a day. A member that is there renews it every second or so.
const LEASE_MAX: u64 = 86_400_000;

/// [`Membership`] over Redis, which times the leases by its own clock. A renewal is one round trip.
///
/// When Redis has lost everything, a member is back with its next renewal.
#[derive(Debug, Clone)]
pub struct RedisMembership {
    redis: Redis,
}

impl RedisMembership {
    /// The membership on `redis`.
    pub const fn new(redis: Redis) -> Self {
        Self { redis }
    }
}

#[async_trait]
impl Membership for RedisMembership {
    async fn renew(&self, me: Option<&Member>, lease: Duration) -> Result<Vec<Member>, StoreError> {
        let key = key::members(self.redis.prefix());
        let lease = u64::try_from(lease.as_millis()).unwrap_or(LEASE_MAX).min(LEASE_MAX);
        let me = me.map(|me| member::encode(me).map(|said| (me.id, said))).transpose()?;
        let script = &self.redis.scripts().renew;
        let answer = self.redis.run(script, Effect::Writes, [&key], |command| {
            command.arg(lease);
            if let Some((id, said)) = &me {
                command.arg(&id.0.to_be_bytes()[..]).arg(said.as_slice());
            }
        });
        let (_, mut items) = answer::open(answer.await?)?;
        let mut members = Vec::with_capacity(items.len() / 2);
        while let Some(id) = items.next() {
            let id: [u8; 8] = answer::octets(Some(id))?
                .try_into()
                .map_err(|_| corrupt("a member's name is not 8 octets"))?;
            let said = answer::octets(items.next())?;
            members.push(member::decode(NodeId(u64::from_be_bytes(id)), &said)?);
        }
        Ok(members)
    }

    async fn leave(&self, id: NodeId) -> Result<(), StoreError> {
        let mut command = redis::cmd("HDEL");
        command.arg(key::members(self.redis.prefix())).arg(&id.0.to_be_bytes()[..]);
        self.redis.send(Effect::Writes, &command).await.map(drop)
    }
}
