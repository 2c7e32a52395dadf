use std::fmt;

use async_trait::async_trait;
use pushgrid_types::{Epoch, SessionRef, UserAgentId};

use crate::StoreError;

/// Claim of a session on a user agent: the registration by which routers find the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Order among all claims on the user agent; the highest holds.
    pub epoch: Epoch,
    /// Session of the user agent.
    pub session: SessionRef,
}

/// Registry of connected user agents and their sessions. May lose everything: then the sessions register
/// again.
#[async_trait]
pub trait Presence: Send + Sync + fmt::Debug {
    /// Makes `session` the holder of `user_agent`, in place of any other. Returns the new claim, and the
    /// replaced one.
    async fn claim(
        &self,
        user_agent: UserAgentId,
        session: SessionRef,
    ) -> Result<(Claim, Option<Claim>), StoreError>;

    /// Restores earlier claims, after the registry or the caller has lost them: each holds unless a later
    /// claim was made since. Returns for each, in order, the present claim.
    async fn resume(&self, claims: &[(UserAgentId, Claim)]) -> Result<Vec<Claim>, StoreError>;

    /// The claims that hold `user_agents`, in order; `None` for a user agent without one.
    async fn locate(&self, user_agents: &[UserAgentId]) -> Result<Vec<Option<Claim>>, StoreError>;

    /// Ends the claim of `epoch`; a later claim stays.
    async fn release(&self, user_agent: UserAgentId, epoch: Epoch) -> Result<(), StoreError>;
}
