//! Presence in memory, for a single process: claims of sessions, sharded by user agent. Nothing is durable, for the
//! sockets end with the process.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use pushgrid_types::cast::fitting;
use pushgrid_types::{Epoch, SessionRef, UserAgentId};

use pushgrid_store::{Claim, Presence, StoreError};

/// Shards of the map: so many that concurrent sessions rarely meet at one lock.
const SHARDS: usize = 64;

/// Spare capacity below which a shard is not shrunk.
const SPARE: usize = 1024;

/// [`Presence`] in the memory of one process, whose sockets end with it: 40 octets for each connected user agent,
/// nothing for any other.
///
/// Guarantee: an epoch is never given twice to one user agent in the life of this value, whether or not its claims
/// were released: each shard has one rising counter for all of its user agents.
pub struct EmbeddedPresence {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

#[derive(Default)]
struct Shard {
    /// Last epoch given to any user agent of the shard.
    epoch: u64,
    claims: HashMap<UserAgentId, Claim>,
}

impl Default for EmbeddedPresence {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for EmbeddedPresence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedPresence").finish_non_exhaustive()
    }
}

impl EmbeddedPresence {
    /// Builds a presence without claims.
    pub fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new() }
    }

    /// Number of user agents held. A moment old when the call returns.
    pub fn held(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().claims.len()).sum()
    }

    fn shard(&self, user_agent: UserAgentId) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(user_agent);
        let index = fitting::<usize>(hash % SHARDS as u64);
        self.shards[index].lock()
    }
}

#[async_trait]
impl Presence for EmbeddedPresence {
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
            // Later claims must exceed an epoch given before this value existed.
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
        let presence = EmbeddedPresence::new();
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
        let room: usize = presence.shards.iter().map(|shard| shard.lock().claims.capacity()).sum();
        assert!(room <= SHARDS * 2 * SPARE, "{room} places are kept for nobody");
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<(UserAgentId, Claim)>(), 40);
    }
}
