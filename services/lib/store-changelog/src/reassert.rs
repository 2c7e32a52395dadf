//! What a fenced router wrote too late does not count, but compaction does not know that: such a record takes the
//! place of the earlier one with the same key. So the owner writes again, by its own right, what still holds.

use std::collections::BTreeSet;

use pushgrid_store::{Change, PageLimit, StoredMessage, ViewError};
use pushgrid_types::{
    ChannelId, Incarnation, MessageId, Position, Sequence, SubscriptionRef, Tenure, Timestamp, UserAgentId,
};

use crate::ground::{Asked, Ground, Halt};

type SubscriptionKey = (UserAgentId, ChannelId, Incarnation);
type MessageKey = (UserAgentId, MessageId, Tenure);

/// What compaction goes by.
enum Key {
    Subscription(SubscriptionKey),
    Message(MessageKey),
}

impl Key {
    /// A claim is not compacted.
    fn of(change: &Change) -> Option<Self> {
        let subscription =
            |id: &SubscriptionRef| Self::Subscription((id.user_agent, id.channel, id.incarnation));
        match change {
            Change::Claimed => None,
            Change::Subscribed(made) => Some(subscription(&made.id)),
            Change::Unsubscribed(id) => Some(subscription(id)),
            Change::Stored { message, since } => {
                Some(Self::Message((message.to.user_agent, message.id, *since)))
            }
            Change::Ended { user_agent, stored, .. } => {
                Some(Self::Message((*user_agent, stored.id, stored.since)))
            }
        }
    }
}

/// The keys whose last record does not count.
#[derive(Debug, Default)]
pub(crate) struct Stale {
    subscriptions: BTreeSet<SubscriptionKey>,
    messages: BTreeSet<MessageKey>,
}

impl Stale {
    /// Enters a change that does not count.
    pub(crate) fn add(&mut self, change: &Change) {
        match Key::of(change) {
            Some(Key::Subscription(key)) => _ = self.subscriptions.insert(key),
            Some(Key::Message(key)) => _ = self.messages.insert(key),
            None => {}
        }
    }

    /// Enters a later change that counts: compaction keeps this one.
    pub(crate) fn remove(&mut self, change: &Change) {
        if self.is_empty() {
            return;
        }
        match Key::of(change) {
            Some(Key::Subscription(key)) => _ = self.subscriptions.remove(&key),
            Some(Key::Message(key)) => _ = self.messages.remove(&key),
            None => {}
        }
    }

    fn is_empty(&self) -> bool {
        self.subscriptions.is_empty() && self.messages.is_empty()
    }

    /// Which changes make again what the view has of these records, and forgets them. `None`: the view has lost
    /// something.
    pub(crate) async fn reassert(
        &mut self,
        ground: &Ground,
        position: Position,
    ) -> Result<Option<Vec<Change>>, Halt> {
        let mut pause = ground.pause();
        while !self.is_empty() {
            let answer = self.ask(ground, position).await;
            match ground.asked(answer, &mut pause, "ask the view").await? {
                Asked::Answered(changes) => {
                    *self = Self::default();
                    return Ok(Some(changes));
                }
                Asked::Behind => return Ok(None),
                Asked::Again => {}
            }
        }
        Ok(Some(Vec::new()))
    }

    async fn ask(&self, ground: &Ground, position: Position) -> Result<Vec<Change>, ViewError> {
        let footing = ground.footing(position);
        let mut changes = Vec::new();
        let channels: Vec<_> = self.subscriptions.iter().map(|(of, on, _)| (*of, *on)).collect();
        let present = ground.view.find(footing, &channels).await?;
        for ((_, _, incarnation), present) in self.subscriptions.iter().zip(present) {
            changes.extend(present.filter(|it| it.id.incarnation == *incarnation).map(Change::Subscribed));
        }
        let ids: Vec<_> = self.messages.iter().map(|(of, id, _)| (*of, *id)).collect();
        let stored = ground.view.stored(footing, &ids).await?;
        for ((of, _, since), stored) in self.messages.iter().zip(stored) {
            let Some(stored) = stored.filter(|stored| stored.since == *since) else { continue };
            changes.extend(whole(ground, position, *of, stored).await?);
        }
        Ok(changes)
    }
}

/// The change that stores a message again which waits.
async fn whole(
    ground: &Ground,
    position: Position,
    of: UserAgentId,
    stored: StoredMessage,
) -> Result<Option<Change>, ViewError> {
    let before = Sequence(stored.sequence.0.saturating_sub(1));
    let one = PageLimit { messages: 1, octets: 1 };
    // At that time nothing was expired.
    let page = ground.view.page(ground.footing(position), of, before, Timestamp::default(), one).await?;
    let message = page.into_iter().next().filter(|message| message.sequence == stored.sequence);
    Ok(message.map(|message| Change::Stored { message: message.into(), since: ground.tenure }))
}
