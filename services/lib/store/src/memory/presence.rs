use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use pushgrid_types::{Epoch, SessionRef, UserAgentId};

use crate::{Claim, Presence, StoreError};

/// Shards of the map: so many that sessions which come and go on every core rarely meet at one lock.
const SHARDS: usize = 64;

/// Below this many free places a shard is not worth making smaller.
const SPARE: usize = 1024;

/// [`Presence`] in the memory of one process: 40 octets for each connected user agent, nothing for any other.
///
/// Guarantee: an epoch is never given twice to one user agent in the life of this value, whether or not its claims
/// were released, for each shard counts on for all of its user agents.
pub struct MemoryPresence {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

#[derive(Default)]
struct Shard {
    /// The last epoch given to any user agent of the shard.
    epoch: u64,
    claims: HashMap<UserAgentId, Claim>,
}

impl Default for MemoryPresence {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryPresence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryPresence").finish_non_exhaustive()
    }
}

impl MemoryPresence {
    /// Nobody is here.
    pub fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new() }
    }

    /// How many user agents are held. A moment old when it returns.
    pub fn held(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).claims.len()).sum()
    }

    fn shard(&self, user_agent: UserAgentId) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(user_agent);
        let index = usize::try_from(hash % SHARDS as u64).expect("less than the number of shards");
        lock(&self.shards[index])
    }
}

/// No code can panic while it holds this lock and leave a shard half changed, so a poisoned one is sound.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Presence for MemoryPresence {
    async fn claim(
        &self,
        user_agent: UserAgentId,
        session: SessionRef,
    ) -> Result<(Claim, Option<Claim>), StoreError> {
        let mut shard = self.shard(user_agent);
        shard.epoch += 1;
        let claim = Claim { epoch: Epoch(shard.epoch), session };
        let earlier = shard.claims.insert(user_agent, claim);
        Ok((claim, earlier))
    }

    async fn resume(&self, claims: &[(UserAgentId, Claim)]) -> Result<Vec<Claim>, StoreError> {
        let resumed = claims.iter().map(|(user_agent, claim)| {
            let mut shard = self.shard(*user_agent);
            shard.epoch = shard.epoch.max(claim.epoch.0);
            let held = shard.claims.entry(*user_agent).or_insert(*claim);
            if held.epoch < claim.epoch {
                *held = *claim;
            }
            *held
        });
        Ok(resumed.collect())
    }

    async fn locate(&self, user_agents: &[UserAgentId]) -> Result<Vec<Option<Claim>>, StoreError> {
        let found = user_agents.iter().map(|it| self.shard(*it).claims.get(it).copied());
        Ok(found.collect())
    }

    async fn release(&self, user_agent: UserAgentId, epoch: Epoch) -> Result<(), StoreError> {
        let mut shard = self.shard(user_agent);
        if shard.claims.get(&user_agent).is_some_and(|claim| claim.epoch == epoch) {
            shard.claims.remove(&user_agent);
            // A wave of user agents that has gone must not keep its memory for ever.
            let used = shard.claims.len();
            if shard.claims.capacity() > 4 * used + SPARE {
                shard.claims.shrink_to(2 * used);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use pushgrid_types::{NodeId, SessionId};

    use super::*;

    #[tokio::test]
    async fn a_wave_of_user_agents_leaves_no_memory_behind() {
        let presence = MemoryPresence::new();
        let session = SessionRef { node: NodeId(1), session: SessionId(1) };
        let user_agents: Vec<_> =
            (0..200_000_u128).map(|label| UserAgentId::from_octets(label.to_be_bytes())).collect();
        let mut claims = Vec::new();
        for user_agent in &user_agents {
            claims.push(presence.claim(*user_agent, session).await.unwrap().0);
        }
        assert_eq!(presence.held(), 200_000);
        for (user_agent, claim) in user_agents.iter().zip(&claims) {
            presence.release(*user_agent, claim.epoch).await.unwrap();
        }
        assert_eq!(presence.held(), 0);
        let room: usize = presence.shards.iter().map(|shard| lock(shard).claims.capacity()).sum();
        assert!(room <= SHARDS * 2 * SPARE, "{room} places are kept for nobody");
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<(UserAgentId, Claim)>(), 40);
    }
}
