use std::collections::BTreeMap;
use std::sync::Arc;

use pushgrid_types::{
    ChannelId, Message, MessageId, Position, Sequence, Tenure, Timestamp, Topic, UserAgentId,
};

use crate::{Change, PageLimit, StoredMessage, Subscription, Usage};

/// What a view knows of one partition. Without waiting, and without a look at the caller's footing.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    pub(super) tenure: Tenure,
    pub(super) position: Position,
    pub(super) complete: bool,
    pub(super) subscriptions: BTreeMap<(UserAgentId, ChannelId), Subscription>,
    messages: BTreeMap<(UserAgentId, Sequence), (Arc<Message>, Tenure)>,
}

/// What has happened to a view, to be played again up to some point.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Begun(Tenure),
    Told { by: Tenure, changes: Vec<Change>, to: Position },
    Completed,
}

impl Held {
    pub(super) fn play(&mut self, step: &Step) {
        match step {
            Step::Begun(tenure) => self.tenure = *tenure,
            Step::Told { by, changes, to } => {
                self.tenure = *by;
                self.position = *to;
                for change in changes {
                    self.change(change);
                }
            }
            Step::Completed => self.complete = true,
        }
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Claimed => {}
            Change::Subscribed(made) => {
                self.subscriptions.insert((made.id.user_agent, made.id.channel), *made);
            }
            Change::Unsubscribed(id) => {
                let key = (id.user_agent, id.channel);
                if self.subscriptions.get(&key).is_some_and(|there| there.id == *id) {
                    self.subscriptions.remove(&key);
                }
            }
            Change::Stored { message, since } => {
                let key = (message.to.user_agent, message.sequence);
                if self.messages.get(&key).is_none_or(|(_, there)| there < since) {
                    self.messages.insert(key, (Arc::clone(message), *since));
                }
            }
            Change::Ended { user_agent, stored, .. } => {
                let key = (*user_agent, stored.sequence);
                if self.messages.get(&key).is_some_and(|(_, since)| *since <= stored.since) {
                    self.messages.remove(&key);
                }
            }
        }
    }

    /// The stored messages of a user agent, in the order of their sequences.
    fn of(&self, user_agent: UserAgentId) -> impl DoubleEndedIterator<Item = (&Arc<Message>, StoredMessage)> {
        let all = (user_agent, Sequence(0))..=(user_agent, Sequence(u64::MAX));
        self.messages.range(all).map(|(_, (message, since))| (message, known(message, *since)))
    }

    pub(super) fn count(&self, user_agent: UserAgentId) -> usize {
        let first = (user_agent, ChannelId::from_octets([0; ChannelId::SIZE]));
        let last = (user_agent, ChannelId::from_octets([u8::MAX; ChannelId::SIZE]));
        self.subscriptions.range(first..=last).count()
    }

    pub(super) fn stored(&self, user_agent: UserAgentId, id: MessageId) -> Option<StoredMessage> {
        self.of(user_agent).map(|(_, stored)| stored).find(|stored| stored.id == id)
    }

    pub(super) fn in_topic(&self, of: UserAgentId, on: ChannelId, topic: &Topic) -> Option<StoredMessage> {
        let mut newest_first = self.of(of).rev();
        let found = newest_first.find(|(it, _)| it.to.channel == on && it.topic.as_ref() == Some(topic));
        found.map(|(_, stored)| stored)
    }

    pub(super) fn in_channel(&self, of: UserAgentId, on: ChannelId) -> Vec<StoredMessage> {
        self.of(of).filter(|(it, _)| it.to.channel == on).map(|(_, stored)| stored).collect()
    }

    pub(super) fn due(&self, now: Timestamp, limit: usize) -> Vec<(UserAgentId, StoredMessage)> {
        let expired = self.messages.iter().filter(|(_, (message, _))| message.is_expired(now));
        expired.take(limit).map(|((of, _), (message, since))| (*of, known(message, *since))).collect()
    }

    pub(super) fn page(
        &self,
        of: UserAgentId,
        after: Sequence,
        now: Timestamp,
        limit: PageLimit,
    ) -> Vec<Message> {
        let mut page = Vec::new();
        let mut octets = 0;
        for (message, _) in self.of(of).filter(|(it, _)| it.sequence > after && !it.is_expired(now)) {
            if page.len() >= limit.messages || (!page.is_empty() && octets >= limit.octets) {
                break;
            }
            octets += message.content.body.len();
            page.push(Message::clone(message));
        }
        page
    }

    pub(super) fn usage(&self, of: UserAgentId) -> Usage {
        self.of(of).fold(Usage::default(), |sum, (message, _)| Usage {
            messages: sum.messages + 1,
            octets: sum.octets + u64::try_from(message.content.body.len()).expect("a length fits 64 bits"),
        })
    }

    pub(super) fn waiting(&self) -> u64 {
        u64::try_from(self.messages.len()).expect("a count of things in memory fits 64 bits")
    }
}

fn known(message: &Message, since: Tenure) -> StoredMessage {
    StoredMessage { id: message.id, sequence: message.sequence, since }
}
