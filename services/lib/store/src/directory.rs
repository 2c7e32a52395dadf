use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_types::SubscriptionRef;

use crate::{Mailbox, StoreError, Subscriptions, Usage};

/// What an ingress asks before it accepts a message.
#[async_trait]
pub trait Directory: Send + Sync + fmt::Debug {
    /// What the user agent of `to` has waiting, if that very incarnation is alive; `None` when it is not, and that is
    /// certain. An error of kind [`crate::ErrorKind::Unavailable`] means that nobody can say now.
    async fn look_up(&self, to: &SubscriptionRef) -> Result<Option<Usage>, StoreError>;
}

/// A directory over the stores of the same process.
#[derive(Debug, Clone)]
pub struct OwnDirectory {
    /// Who may receive.
    pub subscriptions: Arc<dyn Subscriptions>,
    /// Where messages wait.
    pub mailbox: Arc<dyn Mailbox>,
}

#[async_trait]
impl Directory for OwnDirectory {
    async fn look_up(&self, to: &SubscriptionRef) -> Result<Option<Usage>, StoreError> {
        match self.subscriptions.alive(&[*to]).await?.as_slice() {
            [true] => self.mailbox.usage(to.user_agent).await.map(Some),
            _ => Ok(None),
        }
    }
}
