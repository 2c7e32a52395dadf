use std::sync::Arc;

use pushgrid_store::{ErrorKind, StoreError, Stored, Subscription};
use pushgrid_types::{ChannelId, Message, MessageId, Outcome, SubscriptionRef, Timestamp, UserAgentId};
use tokio::sync::oneshot;

/// Where an answer goes. Whoever asked may be gone: the deed is done all the same.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked for.
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
    Purge {
        user_agent: UserAgentId,
        channel: ChannelId,
        reply: Reply<()>,
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
    /// Answered when everything before it has been.
    Flush {
        reply: Reply<()>,
    },
}

impl Operation {
    /// How much of a cycle it takes.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Store { messages, .. } => messages.len(),
            Self::Settle { ended, .. } => ended.len(),
            Self::Expire { limit, .. } => *limit,
            Self::Purge { .. } | Self::Put { .. } | Self::Remove { .. } | Self::Flush { .. } => 1,
        }
    }

    /// Answers that it failed.
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
            Self::Purge { reply, .. } | Self::Flush { reply } => send(reply, kind),
        }
    }
}
