//! Presence over Redis: claims of sessions on the user agents of one partition. Invariant: epochs rise within a
//! partition, even when Redis has lost everything or its clock was set back.

use async_trait::async_trait;
use pushgrid_store::{Claim, Presence, StoreError};
use pushgrid_types::{Epoch, LeaderEpoch, Partition, SessionRef, UserAgentId};
use redis::Value;

use crate::batch::exact;
use crate::failure::{Effect, corrupt};
use crate::{Redis, answer, key};

/// [`Presence`] of the user agents of one partition over Redis, for its owner. A call is one round trip.
///
/// An epoch is the time of Redis in microseconds, or one more than the last of the partition if that is later: so
/// epochs keep rising when Redis has lost everything, and when its clock was set back. A claim expires 7 days after
/// it was made or resumed.
///
/// Guarantee: once a later leader epoch has begun, claims and resumptions are refused as
/// [`pushgrid_store::ErrorKind::Closed`].
#[derive(Debug, Clone)]
pub struct RedisPresence {
    redis: Redis,
    partition: Partition,
    leader_epoch: LeaderEpoch,
}

impl RedisPresence {
    /// Builds the presence of `partition` on `redis`, fenced by `leader_epoch`.
    pub const fn new(redis: Redis, partition: Partition, leader_epoch: LeaderEpoch) -> Self {
        Self { redis, partition, leader_epoch }
    }

    fn meta(&self) -> Vec<u8> {
        key::meta(self.redis.prefix(), self.partition)
    }

    fn key(&self, user_agent: UserAgentId) -> Vec<u8> {
        key::claim(self.redis.prefix(), self.partition, user_agent)
    }
}

#[async_trait]
impl Presence for RedisPresence {
    async fn claim(
        &self,
        user_agent: UserAgentId,
        session: SessionRef,
    ) -> Result<(Claim, Option<Claim>), StoreError> {
        let (meta, key, leader_epoch) = (self.meta(), self.key(user_agent), exact(self.leader_epoch.0)?);
        let script = &self.redis.scripts().claim;
        let answer = self.redis.run(script, Effect::Writes, [&meta, &key], |command| {
            command.arg(leader_epoch).arg(&of_session(session)[..]);
        });
        let mut items = answer::open_fenced(answer.await?)?;
        let claim = answer::claim(&answer::octets(items.next())?)?;
        let earlier = match items.next() {
            None => None,
            item => answer::optional(item)?.map(|octets| answer::claim(&octets)).transpose()?,
        };
        // The driver of a cluster repeats a call that lost its connection: then this claim is the first call's own.
        Ok((claim, earlier.filter(|earlier| earlier.session != session)))
    }

    async fn resume(&self, claims: &[(UserAgentId, Claim)]) -> Result<Vec<Claim>, StoreError> {
        let (meta, leader_epoch) = (self.meta(), exact(self.leader_epoch.0)?);
        for (_, claim) in claims {
            exact(claim.epoch.0)?;
        }
        let script = &self.redis.scripts().resume;
        let answer = self.redis.run(script, Effect::Writes, [&meta], |command| {
            command.arg(leader_epoch);
            for (user_agent, claim) in claims {
                let epoch = claim.epoch.0.to_be_bytes();
                command.arg([&user_agent.as_octets()[..], &epoch, &of_session(claim.session)].concat());
            }
        });
        let items = answer::open_fenced(answer.await?)?;
        if items.len() != claims.len() {
            return Err(corrupt("a script has answered more or less than it was asked"));
        }
        answer::all(items, |octets| answer::claim(&octets))
    }

    async fn locate(&self, user_agents: &[UserAgentId]) -> Result<Vec<Option<Claim>>, StoreError> {
        if user_agents.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        for user_agent in user_agents {
            command.arg(self.key(*user_agent));
        }
        match self.redis.send(Effect::Reads, &command).await? {
            Value::Array(items) => answer::claims(items.into_iter(), user_agents.len()),
            _ => Err(corrupt("redis has not answered a list")),
        }
    }

    async fn release(&self, user_agent: UserAgentId, epoch: Epoch) -> Result<(), StoreError> {
        let (meta, key) = (self.meta(), self.key(user_agent));
        let script = &self.redis.scripts().release;
        let answer = self.redis.run(script, Effect::Writes, [&meta, &key], |command| {
            command.arg(&epoch.0.to_be_bytes()[..]);
        });
        answer::open_fenced(answer.await?).map(drop)
    }
}

/// Node and session, as one octet string.
fn of_session(session: SessionRef) -> [u8; 16] {
    let mut octets = [0; 16];
    octets[..8].copy_from_slice(&session.node.0.to_be_bytes());
    octets[8..].copy_from_slice(&session.session.0.to_be_bytes());
    octets
}
