use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_types::SubscriptionRef;

use crate::{Mailbox, StoreError, Subscriptions, Usage};

/// The questions of an ingress before a message is accepted.
#[async_trait]
pub trait Directory: Send + Sync + fmt::Debug {
    /// Usage of the mailbox of `to`'s user agent, if exactly this incarnation is alive; `None` when the
    /// incarnation is certainly dead.
    ///
    /// An error of kind [`crate::ErrorKind::Unavailable`] means that nobody can say now; one of kind
    /// [`crate::ErrorKind::Corrupt`] that the user agent's state cannot be read here, and that the router is
    /// to be asked.
    async fn look_up(&self, to: &SubscriptionRef) -> Result<Option<Usage>, StoreError>;
}

/// A directory over the stores of the same process.
#[derive(Debug, Clone)]
pub struct OwnDirectory {
    /// Live subscriptions.
    pub subscriptions: Arc<dyn Subscriptions>,
    /// Mailboxes of the user agents.
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
