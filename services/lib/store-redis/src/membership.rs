//! Membership over Redis: leases, roles and clock votes of processes. Invariant: an unreadable entry hides no other
//! member; it is passed over and reported. Not here: the form of an entry (`member`).

use std::time::Duration;

use async_trait::async_trait;
use pushgrid_store::{Member, Membership, Renewed, StoreError, Strange};
use pushgrid_types::{ClockVote, NodeId};
use redis::Value;

use crate::failure::{Effect, corrupt};
use crate::{Redis, answer, key, member};

/// Longest lease, in milliseconds: a day. A live member renews every second or so.
const LEASE_MAX: u64 = 86_400_000;

/// [`Membership`] over Redis, whose own clock times the leases. A renewal is one round trip.
///
/// After Redis has lost everything, or with a foreign value under the key, a member is back with its next renewal. A
/// lease given before the clock of Redis was set back is cut to its length.
#[derive(Debug, Clone)]
pub struct RedisMembership {
    redis: Redis,
}

impl RedisMembership {
    /// Builds the membership on `redis`.
    pub const fn new(redis: Redis) -> Self {
        Self { redis }
    }
}

#[async_trait]
impl Membership for RedisMembership {
    async fn renew(
        &self,
        me: Option<&Member>,
        vote: Option<ClockVote>,
        lease: Duration,
    ) -> Result<Renewed, StoreError> {
        let (members, clocks) = (key::members(self.redis.prefix()), key::clocks(self.redis.prefix()));
        let lease = u64::try_from(lease.as_millis()).unwrap_or(LEASE_MAX).min(LEASE_MAX);
        let me = me.map(|me| member::encode(me).map(|said| (me.id, said))).transpose()?;
        let vote = vote.map_or_else(|| member::UNDECIDED.to_vec(), member::encode_clocks);
        let script = &self.redis.scripts().renew;
        let answer = self.redis.run(script, Effect::Writes, [&members, &clocks], |command| {
            command.arg(lease);
            if let Some((id, said)) = &me {
                command.arg(&id.0.to_be_bytes()[..]).arg(said.as_slice()).arg(vote.as_slice());
            }
        });
        renewed(answer.await?)
    }

    async fn leave(&self, id: NodeId) -> Result<(), StoreError> {
        let mut command = redis::cmd("HDEL");
        command.arg(key::members(self.redis.prefix())).arg(&id.0.to_be_bytes()[..]);
        self.redis.send(Effect::Writes, &command).await.map(drop)
    }
}

/// Reads the answer of a renewal. Unreadable entries are passed over.
fn renewed(answer: Value) -> Result<Renewed, StoreError> {
    let (_, mut items) = answer::open(answer)?;
    let seconds = Duration::from_secs(answer::decimal(items.next())?);
    let micros = Duration::from_micros(answer::decimal(items.next())?);
    let removed = answer::count(items.next().as_ref())?;
    let line = member::decode_clocks(&answer::octets(items.next())?).map(|vote| vote.judged);
    let strange = Strange { removed, ..Strange::default() };
    let mut renewed = Renewed { line, time: seconds + micros, strange, ..Renewed::default() };
    while let Some(id) = items.next() {
        let id: [u8; 8] = answer::octets(Some(id))?
            .try_into()
            .map_err(|_| corrupt("the script has let a name through that is not 8 octets"))?;
        let id = NodeId(u64::from_be_bytes(id));
        match member::decode(id, &answer::octets(items.next())?) {
            Ok(member) => renewed.members.push(member),
            Err(why) => renewed.strange.passed_over.push((id, why)),
        }
        let clocks = answer::octets(items.next())?;
        renewed.votes.extend(member::decode_clocks(&clocks));
        renewed.without_vote += usize::from(clocks.is_empty());
    }
    Ok(renewed)
}
