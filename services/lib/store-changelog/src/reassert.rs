//! Compaction repair. Compaction keeps the last record of a key, even one without effect: a fenced router's,
//! or a damaged one. So the owner writes the change in force again, under the owner's leader epoch. Records
//! of a newer release are never overwritten.

use std::collections::BTreeSet;

use pushgrid_store::{Change, RecordKey, StoredMessage, Unreadable, UnreadableCause, ViewError};
use pushgrid_types::{ChannelId, Incarnation, LeaderEpoch, MessageId, Position, UserAgentId};

use crate::context::{Halt, PartitionContext, ReadResult};

type SubscriptionKey = (UserAgentId, ChannelId, Incarnation);
type MessageKey = (UserAgentId, MessageId, LeaderEpoch);

/// Key of compaction.
enum Key {
    Subscription(SubscriptionKey),
    Message(MessageKey),
}

impl From<RecordKey> for Key {
    fn from(key: RecordKey) -> Self {
        match key {
            RecordKey::Subscription(id) => Self::Subscription((id.user_agent, id.channel, id.incarnation)),
            RecordKey::Message { user_agent, id, since } => Self::Message((user_agent, id, since)),
        }
    }
}

/// Keys with a last record that does not count.
#[derive(Debug, Default)]
pub(crate) struct Stale {
    subscriptions: BTreeSet<SubscriptionKey>,
    messages: BTreeSet<MessageKey>,
}

impl Stale {
    /// Enters the key of a change without effect, such as a fenced router's.
    pub(crate) fn add(&mut self, change: &Change) {
        if let Some(key) = RecordKey::of(change) {
            self.insert(key);
        }
    }

    /// Removes the key of a later change in force, which compaction keeps.
    pub(crate) fn remove(&mut self, change: &Change) {
        if self.is_empty() {
            return;
        }
        if let Some(key) = RecordKey::of(change) {
            self.forget(key);
        }
    }

    /// Enters the key of a damaged record; removes the key of a record of a newer release.
    pub(crate) fn pass_over(&mut self, unreadable: &Unreadable) {
        match (unreadable.key, unreadable.cause) {
            (Some(key), UnreadableCause::Damaged) => self.insert(key),
            (Some(key), UnreadableCause::Newer) => self.forget(key),
            (None, _) => {}
        }
    }

    fn insert(&mut self, key: RecordKey) {
        match key.into() {
            Key::Subscription(key) => _ = self.subscriptions.insert(key),
            Key::Message(key) => _ = self.messages.insert(key),
        }
    }

    fn forget(&mut self, key: RecordKey) {
        match key.into() {
            Key::Subscription(key) => _ = self.subscriptions.remove(&key),
            Key::Message(key) => _ = self.messages.remove(&key),
        }
    }

    fn leave_out(&mut self, user_agents: &[UserAgentId]) {
        self.subscriptions.retain(|(of, _, _)| !user_agents.contains(of));
        self.messages.retain(|(of, _, _)| !user_agents.contains(of));
    }

    fn is_empty(&self) -> bool {
        self.subscriptions.is_empty() && self.messages.is_empty()
    }

    /// Takes the keys, and returns the changes by which the view's state of these keys is restored. `None`:
    /// the view is behind.
    pub(crate) async fn reassert(
        &mut self,
        context: &PartitionContext,
        position: Position,
    ) -> Result<Option<Vec<Change>>, Halt> {
        let mut pause = context.pause();
        while !self.is_empty() {
            let answer = self.ask(context, position).await;
            if let Err(ViewError::Unreadable(of)) = &answer {
                // The restoration of these user agents repairs their records too.
                self.leave_out(of);
                continue;
            }
            match context.asked(answer, &mut pause, "ask the view").await? {
                ReadResult::Answered(changes) => {
                    *self = Self::default();
                    return Ok(Some(changes));
                }
                ReadResult::Behind => return Ok(None),
                ReadResult::Again => {}
            }
        }
        Ok(Some(Vec::new()))
    }

    async fn ask(&self, context: &PartitionContext, position: Position) -> Result<Vec<Change>, ViewError> {
        let barrier = context.barrier(position);
        let mut changes = Vec::new();
        let channels: Vec<_> = self.subscriptions.iter().map(|(of, on, _)| (*of, *on)).collect();
        let present = context.view.find(barrier, &channels).await?;
        for ((_, _, incarnation), present) in self.subscriptions.iter().zip(present) {
            changes.extend(present.filter(|it| it.id.incarnation == *incarnation).map(Change::Subscribed));
        }
        let ids: Vec<_> = self.messages.iter().map(|(of, id, _)| (*of, *id)).collect();
        let stored = context.view.stored(barrier, &ids).await?;
        for ((of, _, since), stored) in self.messages.iter().zip(stored) {
            let Some(stored) = stored.filter(|stored| stored.since == *since) else { continue };
            changes.extend(whole(context, position, *of, stored).await?);
        }
        Ok(changes)
    }
}

/// Change for storing a waiting message again.
async fn whole(
    context: &PartitionContext,
    position: Position,
    of: UserAgentId,
    stored: StoredMessage,
) -> Result<Option<Change>, ViewError> {
    let message = context.view.message(context.barrier(position), of, stored.id).await?;
    let message = message.filter(|message| message.sequence == stored.sequence);
    Ok(message.map(|message| Change::Stored { message: message.into(), since: context.leader_epoch }))
}
