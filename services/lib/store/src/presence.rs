use std::fmt;

use async_trait::async_trait;
use pushgrid_types::{Epoch, SessionRef, UserAgentId};

use crate::StoreError;

/// Who holds a user agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Rises with every claim on the same user agent.
    pub epoch: Epoch,
    /// The socket.
    pub session: SessionRef,
}

/// Which socket each connected user agent is on. Lost when its keeper is lost: sessions make it anew.
#[async_trait]
pub trait Presence: Send + Sync + fmt::Debug {
    /// Makes `session` the holder of `user_agent`, whoever held it before. Answers the new claim, and the one that
    /// it put out.
    async fn claim(
        &self,
        user_agent: UserAgentId,
        session: SessionRef,
    ) -> Result<(Claim, Option<Claim>), StoreError>;

    /// Makes claims hold again that were made before, after their keeper has lost them or the caller has: each holds
    /// unless a later one was made since. Answers for each, in order, the claim that holds now.
    async fn resume(&self, claims: &[(UserAgentId, Claim)]) -> Result<Vec<Claim>, StoreError>;

    /// For each of `user_agents`, in order, who holds it.
    async fn locate(&self, user_agents: &[UserAgentId]) -> Result<Vec<Option<Claim>>, StoreError>;

    /// Ends the claim of `epoch`; a later claim stays.
    async fn release(&self, user_agent: UserAgentId, epoch: Epoch) -> Result<(), StoreError>;
}
