//! Judges a history: what was promised for each message, and was it kept?

use std::collections::BTreeMap;
use std::time::Duration;

use pushgrid_types::limits::TTL_ZERO_GRACE;

use super::history::{Answer, Entry, Event, Message, Subscription};

#[cfg(test)]
mod tests;

/// How long a message may take from the service's look at its expiry to the line in the history, on a busy machine.
const ON_THE_WAY: Duration = Duration::from_secs(1);

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Violation {
    /// It was accepted, had not expired when the history ends, was replaced by nothing that came, and never came.
    Lost(Message),
    /// It came after it had expired.
    Late(Message),
    /// It came under two ids.
    SecondId(Message),
    /// Two messages came under one id.
    SharedId(Message, Message),
    /// It came, but was never posted, or not there, or was refused.
    NotPosted(Message),
    /// The first came for the first time after the second, which was accepted later.
    OutOfOrder(Message, Message),
    /// The first came after the second, which is newer and has the same topic; and it had not come before, or nothing
    /// was killed in between.
    OlderOfTopic(Message, Message),
    /// The first has waited to the end, though the second is newer and has the same topic.
    NotReplaced(Message, Message),
}

impl Violation {
    /// Whom it is about.
    pub(super) fn messages(&self) -> Vec<Message> {
        match *self {
            Self::Lost(it) | Self::Late(it) | Self::SecondId(it) | Self::NotPosted(it) => vec![it],
            Self::SharedId(one, other)
            | Self::OutOfOrder(one, other)
            | Self::OlderOfTopic(one, other)
            | Self::NotReplaced(one, other) => vec![one, other],
        }
    }
}

/// One posted message and what came of it.
#[derive(Debug)]
struct Fate<'a> {
    to: Subscription,
    topic: Option<u8>,
    ttl: Duration,
    posted: Duration,
    answered: Option<Duration>,
    answer: Answer,
    version: Option<&'a str>,
}

impl Fate<'_> {
    fn life(&self) -> Duration {
        if self.ttl.is_zero() { TTL_ZERO_GRACE } else { self.ttl }
    }

    /// Whether it may have expired at `at`: its life began when it was posted, or later. With TTL 0 it is now or
    /// never, and never is allowed.
    fn may_have_expired(&self, at: Duration) -> bool {
        self.ttl.is_zero() || self.posted + self.life() <= at
    }

    /// Whether it must have expired at `at`: its life began before it was answered.
    fn must_have_expired(&self, at: Duration) -> bool {
        self.answered.is_some_and(|answered| answered + self.life() <= at)
    }

    fn of_one_topic(&self, other: &Self) -> bool {
        self.topic.is_some() && self.topic == other.topic && self.to == other.to
    }
}

/// All promises that the history breaks.
pub(super) fn check(entries: &[Entry]) -> Vec<Violation> {
    let mut checker = Checker::default();
    for entry in entries {
        checker.take(entry);
    }
    checker.find_lost(entries.last().map(|entry| entry.at).unwrap_or_default());
    checker.violations
}

#[derive(Debug, Default)]
struct Checker<'a> {
    fates: BTreeMap<Message, Fate<'a>>,
    by_version: BTreeMap<&'a str, Message>,
    /// The newest that has come to each subscription.
    newest: BTreeMap<Subscription, Message>,
    /// The newest of each topic that has come.
    newest_of_topic: BTreeMap<(Subscription, u8), NewestOfTopic>,
    kills: usize,
    /// How many of them were before the connection of each subscription.
    kills_before: BTreeMap<Subscription, usize>,
    drained: bool,
    violations: Vec<Violation>,
}

#[derive(Debug, Clone, Copy, Default)]
struct NewestOfTopic {
    since_kill: Option<Message>,
    ever: Option<Message>,
}

impl<'a> Checker<'a> {
    fn take(&mut self, entry: &'a Entry) {
        match &entry.event {
            Event::Posted { message, to, ttl, topic } => {
                let fate = Fate {
                    to: *to,
                    topic: *topic,
                    ttl: *ttl,
                    posted: entry.at,
                    answered: None,
                    answer: Answer::Unknown,
                    version: None,
                };
                self.fates.insert(*message, fate);
            }
            Event::Answered { message, answer } => {
                if let Some(fate) = self.fates.get_mut(message) {
                    fate.answered = Some(entry.at);
                    fate.answer = *answer;
                    // The delivery may be written before the answer.
                    if *answer == Answer::Refused && fate.version.is_some() {
                        self.violations.push(Violation::NotPosted(*message));
                    }
                }
            }
            Event::Delivered { message, to, version } => self.deliver(entry.at, *message, *to, version),
            Event::Acknowledged { .. } => {}
            Event::Connected { to } => self.connect(*to),
            Event::Killed => self.kills += 1,
            Event::Drained => self.drained = true,
        }
    }

    /// What came before the connection broke was of the life before, though it may be written after the kill.
    fn connect(&mut self, to: Subscription) {
        if self.kills_before.insert(to, self.kills) != Some(self.kills) {
            for (_, newest) in self.newest_of_topic.range_mut((to, 0)..=(to, u8::MAX)) {
                newest.since_kill = None;
            }
        }
    }

    fn deliver(&mut self, at: Duration, message: Message, to: Subscription, version: &'a str) {
        let Some(fate) =
            self.fates.get_mut(&message).filter(|fate| fate.to == to && fate.answer != Answer::Refused)
        else {
            return self.violations.push(Violation::NotPosted(message));
        };
        if fate.must_have_expired(at.saturating_sub(ON_THE_WAY)) {
            self.violations.push(Violation::Late(message));
        }
        let first = fate.version.is_none();
        if *fate.version.get_or_insert(version) != version {
            self.violations.push(Violation::SecondId(message));
        }
        let owner = *self.by_version.entry(version).or_insert(message);
        if owner != message {
            self.violations.push(Violation::SharedId(owner, message));
        }
        let (topic, zero) = (fate.topic, fate.ttl.is_zero());
        if first && !zero {
            self.judge_order(message, to);
        }
        if let Some(topic) = topic {
            self.judge_topic(message, to, topic, first);
        }
    }

    /// What is to come now or never may overtake; nothing else may.
    fn judge_order(&mut self, message: Message, to: Subscription) {
        let newest = self.newest.entry(to).or_insert(message);
        if *newest > message {
            self.violations.push(Violation::OutOfOrder(message, *newest));
        }
        *newest = message.max(*newest);
    }

    fn judge_topic(&mut self, message: Message, to: Subscription, topic: u8, first: bool) {
        let newest = self.newest_of_topic.entry((to, topic)).or_default();
        // A kill may undo that the older one was replaced: then it comes again, and the newer one after it.
        let seen = if first { newest.ever } else { newest.since_kill };
        if let Some(newer) = seen.filter(|newer| *newer > message) {
            self.violations.push(Violation::OlderOfTopic(message, newer));
        }
        newest.ever = newest.ever.max(Some(message));
        newest.since_kill = newest.since_kill.max(Some(message));
        if self.drained {
            let accepted = |(_, fate): &(Message, &Fate<'_>)| fate.answer == Answer::Accepted;
            let newer = self.newer_of_topic(message).find(accepted).map(|(newer, _)| newer);
            self.violations.extend(newer.map(|newer| Violation::NotReplaced(message, newer)));
        }
    }

    fn newer_of_topic(&self, message: Message) -> impl Iterator<Item = (Message, &Fate<'a>)> {
        let of = &self.fates[&message];
        let newer = self.fates.range(message + 1..);
        newer.filter(move |(_, fate)| fate.of_one_topic(of)).map(|(newer, fate)| (*newer, fate))
    }

    fn find_lost(&mut self, end: Duration) {
        let owed = |fate: &Fate<'_>| {
            fate.answer == Answer::Accepted && fate.version.is_none() && !fate.may_have_expired(end)
        };
        // One that was accepted is judged by itself. One of which nobody knows has replaced others only if it was
        // kept, and then it has come or has expired.
        let replaces = |fate: &Fate<'_>| match fate.answer {
            Answer::Accepted => true,
            Answer::Refused => false,
            Answer::Unknown => fate.version.is_some() || fate.may_have_expired(end),
        };
        let lost = self.fates.iter().filter(|(_, fate)| owed(fate)).map(|(message, _)| *message);
        let lost: Vec<Message> =
            lost.filter(|message| !self.newer_of_topic(*message).any(|(_, newer)| replaces(newer))).collect();
        self.violations.extend(lost.into_iter().map(Violation::Lost));
    }
}
