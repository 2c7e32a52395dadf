use std::collections::HashMap;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use pushgrid_store::{Claim, Presence, StoreError};
use pushgrid_types::{Epoch, SessionRef, UserAgentId};

/// [`Presence`] in memory.
#[derive(Debug, Default)]
pub struct MemoryPresence(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The highest epoch so far.
    epoch: u64,
    claims: HashMap<UserAgentId, Claim>,
}

impl MemoryPresence {
    /// A presence without claims.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

#[async_trait]
impl Presence for MemoryPresence {
    async fn claim(
        &self,
        user_agent: UserAgentId,
        session: SessionRef,
    ) -> Result<(Claim, Option<Claim>), StoreError> {
        let mut state = self.lock();
        state.epoch += 1;
        let claim = Claim { epoch: Epoch(state.epoch), session };
        let earlier = state.claims.insert(user_agent, claim);
        Ok((claim, earlier))
    }

    async fn resume(&self, claims: &[(UserAgentId, Claim)]) -> Result<Vec<Claim>, StoreError> {
        let mut state = self.lock();
        let mut resumed = Vec::with_capacity(claims.len());
        for (user_agent, claim) in claims {
            state.epoch = state.epoch.max(claim.epoch.0);
            let held = state.claims.entry(*user_agent).or_insert(*claim);
            if held.epoch < claim.epoch {
                *held = *claim;
            }
            resumed.push(*held);
        }
        Ok(resumed)
    }

    async fn locate(&self, user_agents: &[UserAgentId]) -> Result<Vec<Option<Claim>>, StoreError> {
        let state = self.lock();
        Ok(user_agents.iter().map(|user_agent| state.claims.get(user_agent).copied()).collect())
    }

    async fn release(&self, user_agent: UserAgentId, epoch: Epoch) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.claims.get(&user_agent).is_some_and(|claim| claim.epoch == epoch) {
            state.claims.remove(&user_agent);
        }
        Ok(())
    }
}
