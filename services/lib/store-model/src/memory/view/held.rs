use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pushgrid_types::{
    ChannelId, LeaderEpoch, Message, MessageId, Position, ReplaceKey, Sequence, Timestamp, UserAgentId,
};

use pushgrid_store::{
    Change, History, Page, PageLimit, PageStart, StoredMessage, Subscription, SweepPlace, Usage,
};

/// State of one partition in a view. Without waiting, and without a look at the caller's read barrier.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    pub(super) history: Option<History>,
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) position: Position,
    pub(super) complete: bool,
    pub(super) subscriptions: BTreeMap<(UserAgentId, ChannelId), Subscription>,
    messages: BTreeMap<(UserAgentId, Sequence), (Arc<Message>, LeaderEpoch)>,
    /// User agents set aside: unknown until restored.
    pub(super) aside: BTreeSet<UserAgentId>,
}

/// Change of a view, to be played again up to some point.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Begun(LeaderEpoch),
    Signed(History),
    Told { by: LeaderEpoch, changes: Vec<Change>, to: Position },
    Completed,
    SetAside(UserAgentId),
    Restored { user_agent: UserAgentId, changes: Vec<Change>, whole: bool },
}

impl Held {
    pub(super) fn play(&mut self, step: &Step) {
        match step {
            Step::Begun(leader_epoch) => self.leader_epoch = *leader_epoch,
            Step::Signed(history) => self.history = Some(*history),
            Step::Told { by, changes, to } => {
                self.leader_epoch = *by;
                self.position = *to;
                for change in changes {
                    if change.user_agent().is_none_or(|of| !self.aside.contains(&of)) {
                        self.change(change);
                    }
                }
            }
            Step::Completed => self.complete = true,
            Step::SetAside(user_agent) => {
                self.aside.insert(*user_agent);
                self.subscriptions.retain(|(of, _), _| of != user_agent);
                self.messages.retain(|(of, _), _| of != user_agent);
            }
            Step::Restored { user_agent, changes, whole } => {
                for change in changes {
                    self.change(change);
                }
                if *whole {
                    self.aside.remove(user_agent);
                }
            }
        }
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Claimed => {}
            Change::Subscribed(made) => {
                self.subscriptions.insert((made.id.user_agent, made.id.channel), made.clone());
            }
            Change::Unsubscribed(id) => {
                let key = (id.user_agent, id.channel);
                if self.subscriptions.get(&key).is_some_and(|there| there.id == *id) {
                    self.subscriptions.remove(&key);
                }
            }
            Change::Stored { message, since } => {
                let of = message.to.user_agent;
                let sequence = self.stored(of, message.id).map_or(message.sequence, |there| there.sequence);
                let (_, there) =
                    self.messages.entry((of, sequence)).or_insert_with(|| (Arc::clone(message), *since));
                *there = (*there).max(*since);
            }
            Change::Ended { user_agent, id, since, .. } => {
                let there = self.stored(*user_agent, *id).filter(|there| there.since <= *since);
                if let Some(there) = there {
                    self.messages.remove(&(*user_agent, there.sequence));
                }
            }
        }
    }

    /// The stored messages of a user agent, in the order of the sequences.
    fn of(&self, user_agent: UserAgentId) -> impl DoubleEndedIterator<Item = (&Arc<Message>, StoredMessage)> {
        let all = (user_agent, Sequence(0))..=(user_agent, Sequence(u64::MAX));
        self.messages.range(all).map(|(_, (message, since))| (message, StoredMessage::of(message, *since)))
    }

    pub(super) fn all(&self, user_agent: UserAgentId) -> impl Iterator<Item = Subscription> + '_ {
        let first = (user_agent, ChannelId::from_octets([0; ChannelId::SIZE]));
        let last = (user_agent, ChannelId::from_octets([u8::MAX; ChannelId::SIZE]));
        self.subscriptions.range(first..=last).map(|(_, it)| it.clone())
    }

    pub(super) fn count(&self, user_agent: UserAgentId) -> usize {
        self.all(user_agent).count()
    }

    pub(super) fn webhooks(&self, after: Option<UserAgentId>, limit: usize) -> Vec<UserAgentId> {
        super::super::webhooks(&self.subscriptions, after, limit)
    }

    pub(super) fn sweep(&self, from: Option<&SweepPlace>) -> (Vec<Subscription>, Option<SweepPlace>) {
        let (mut swept, next) = super::super::sweep(&self.subscriptions, from);
        swept.retain(|it| !self.aside.contains(&it.id.user_agent));
        (swept, next)
    }

    pub(super) fn message(&self, user_agent: UserAgentId, id: MessageId) -> Option<Message> {
        let (message, _) = self.of(user_agent).find(|(_, stored)| stored.id == id)?;
        Some(Message::clone(message))
    }

    pub(super) fn stored(&self, user_agent: UserAgentId, id: MessageId) -> Option<StoredMessage> {
        self.of(user_agent).map(|(_, stored)| stored).find(|stored| stored.id == id)
    }

    pub(super) fn in_topic(
        &self,
        of: UserAgentId,
        on: ChannelId,
        topic: &ReplaceKey,
    ) -> Option<StoredMessage> {
        let mut newest_first = self.of(of).rev();
        let found = newest_first.find(|(it, _)| it.to.channel == on && it.topic.as_ref() == Some(topic));
        found.map(|(_, stored)| stored)
    }

    pub(super) fn in_channel(&self, of: UserAgentId, on: ChannelId) -> Vec<StoredMessage> {
        self.of(of).filter(|(it, _)| it.to.channel == on).map(|(_, stored)| stored).collect()
    }

    pub(super) fn due(&self, now: Timestamp, limit: usize) -> Vec<StoredMessage> {
        let of_others = self.messages.iter().filter(|((of, _), _)| !self.aside.contains(of));
        let expired = of_others.filter(|(_, (message, _))| message.is_expired(now));
        expired.take(limit).map(|(_, (message, since))| StoredMessage::of(message, *since)).collect()
    }

    pub(super) fn page(&self, of: UserAgentId, start: &PageStart, now: Timestamp, limit: PageLimit) -> Page {
        super::super::page(|| self.of(of).map(|(message, _)| message), start, now, limit)
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
