//! Calls of the stores that a partition has decided on, for its worker to carry out.

use std::sync::Arc;

use pushgrid_store::{End, PageLimit};
use pushgrid_types::{Epoch, Message, MessageId, Outcome, Sequence, SessionRef, UserAgentId};
use tokio::sync::oneshot;

use super::{Cancelling, EndAsker};

/// Store calls of a turn.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// Messages ended without leaving the log.
    pub(crate) settle_log: Vec<End>,
    /// Messages to store; the answer goes to [`Partition::stored`].
    pub(crate) store: Vec<Arc<Message>>,
    /// Callers to answer once all of `store` is done.
    pub(crate) after_store: Vec<oneshot::Sender<()>>,
    /// Messages to end in the mailbox.
    pub(crate) settle_mailbox: Vec<SettleStored>,
    /// Pages to read; the answer goes to [`Partition::page`].
    pub(crate) pages: Vec<PageRequest>,
    /// Those who ask for the end of the log; the answer goes to [`Partition::log_ends_at`].
    pub(crate) ask_end: Vec<EndAsker>,
    /// Claims to release.
    pub(crate) releases: Vec<(UserAgentId, Epoch)>,
}

/// Messages of one user agent to end in the mailbox.
#[derive(Debug)]
pub(crate) struct SettleStored {
    pub(crate) user_agent: UserAgentId,
    pub(crate) ended: Vec<(MessageId, Outcome)>,
    /// Cancellation to tell of the result, through [`Partition::cancel_met`].
    pub(crate) cancel: Option<Cancelling>,
}

/// Page to read from the mailbox.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageRequest {
    pub(crate) user_agent: UserAgentId,
    pub(crate) session: SessionRef,
    pub(crate) after: Sequence,
    pub(crate) limit: PageLimit,
}

impl Work {
    pub(crate) fn is_empty(&self) -> bool {
        self.settle_log.is_empty()
            && self.store.is_empty()
            && self.after_store.is_empty()
            && self.settle_mailbox.is_empty()
            && self.pages.is_empty()
            && self.ask_end.is_empty()
            && self.releases.is_empty()
    }

    /// Ends a stored message.
    pub(super) fn end_stored(&mut self, user_agent: UserAgentId, id: MessageId, outcome: Outcome) {
        match self.settle_mailbox.last_mut() {
            Some(last) if last.user_agent == user_agent && last.cancel.is_none() => {
                last.ended.push((id, outcome));
            }
            _ => self.settle_mailbox.push(SettleStored {
                user_agent,
                ended: vec![(id, outcome)],
                cancel: None,
            }),
        }
    }
}
