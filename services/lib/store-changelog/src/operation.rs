//! Operations queued for the writer. Each is answered once; a dropped reply means that the partition has
//! stopped, with the fate of the change unknown. Not here: the execution (`writer`).

use std::sync::Arc;

use pushgrid_store::{ErrorKind, StoreError, Stored, Subscription};
use pushgrid_types::{ChannelId, Message, MessageId, Outcome, SubscriptionRef, Timestamp, UserAgentId};
use tokio::sync::oneshot;

/// Channel of an answer. The caller may have gone away, which undoes nothing.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// Operation queued for the writer.
#[derive(Debug)]
pub(crate) enum Operation {
    Store {
        messages: Vec<Arc<Message>>,
        reply: Reply<Vec<Stored>>,
    },
    Settle {
        user_agent: UserAgentId,
        ended: Vec<(MessageId, Outcome)>,
        reply: Reply<Vec<bool>>,
    },
    Expire {
        now: Timestamp,
        limit: usize,
        reply: Reply<usize>,
    },
    Put {
        expected: Option<SubscriptionRef>,
        new: Subscription,
        reply: Reply<Option<Subscription>>,
    },
    Remove {
        user_agent: UserAgentId,
        channel: ChannelId,
        reply: Reply<bool>,
    },
    /// Answered once every earlier operation has been.
    Flush {
        reply: Reply<()>,
    },
}

impl Operation {
    /// Share of the operation in a cycle's bound.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Store { messages, .. } => messages.len(),
            Self::Settle { ended, .. } => ended.len(),
            Self::Expire { limit, .. } => *limit,
            Self::Put { .. } | Self::Remove { .. } | Self::Flush { .. } => 1,
        }
    }

    /// User agent of the operation, if there is exactly one.
    pub(crate) fn user_agent(&self) -> Option<UserAgentId> {
        match self {
            Self::Settle { user_agent, .. } | Self::Remove { user_agent, .. } => Some(*user_agent),
            Self::Put { new, .. } => Some(new.id.user_agent),
            Self::Store { .. } | Self::Expire { .. } | Self::Flush { .. } => None,
        }
    }

    /// Answers with an error.
    pub(crate) fn fail(self, kind: ErrorKind) {
        fn send<T>(reply: Reply<T>, kind: ErrorKind) {
            let _ = reply.send(Err(StoreError::plain(kind)));
        }
        match self {
            Self::Store { reply, .. } => send(reply, kind),
            Self::Settle { reply, .. } => send(reply, kind),
            Self::Expire { reply, .. } => send(reply, kind),
            Self::Put { reply, .. } => send(reply, kind),
            Self::Remove { reply, .. } => send(reply, kind),
            Self::Flush { reply } => send(reply, kind),
        }
    }
}
