//! Checker of a history: every broken promise is a [`Violation`]. A run may leave several outcomes open; only those
//! that no run may have are reported.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pushgrid_types::limits::TTL_ZERO_GRACE;

use super::{Answer, Entry, Event, Message, Subscription};

#[cfg(test)]
mod tests;

/// Freedoms of the service under test.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Longest time from the service's check of the expiry to the line in the history, on a busy machine.
    on_the_way: Duration,
    /// The service has many processes, and any may be killed at any time. A message of unknown fate may then be
    /// accepted after those posted later; and a replacement may be undone unnoticed by the user agent: the older
    /// message is redelivered, and the newer one after it.
    many_processes: bool,
}

impl Rules {
    /// Rules of the service in one process. Kills are in the history.
    pub(crate) const ONE_PROCESS: Self = Self { on_the_way: Duration::from_secs(1), many_processes: false };

    /// Rules of the service as a grid, with brokers that start beside it.
    pub(crate) const GRID: Self = Self { on_the_way: Duration::from_secs(3), many_processes: true };
}

/// Broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Violation {
    /// Accepted, not expired at the end of the history, not replaced, and never delivered.
    Lost(Message),
    /// Delivered after its expiry.
    Late(Message),
    /// Delivered under two ids.
    SecondId(Message),
    /// Two messages delivered under one id.
    SharedId(Message, Message),
    /// Delivered, but never posted, to another subscription, or refused.
    NotPosted(Message),
    /// The first was first delivered after the second, which was accepted later.
    OutOfOrder(Message, Message),
    /// The first was delivered after the second, a newer one of its topic, and had not been delivered before, or
    /// nothing was killed in between.
    OlderOfTopic(Message, Message),
    /// Delivered after the end of its subscription.
    AfterEnd(Message),
    /// Refused for the end of its subscription, which has not ended.
    Forgotten(Message),
    /// The first was stored to the end, though the second is newer and has the same topic.
    NotReplaced(Message, Message),
}

impl Violation {
    /// Messages of the violation.
    pub(crate) fn messages(&self) -> Vec<Message> {
        match *self {
            Self::Lost(it)
            | Self::Late(it)
            | Self::SecondId(it)
            | Self::NotPosted(it)
            | Self::AfterEnd(it)
            | Self::Forgotten(it) => vec![it],
            Self::SharedId(one, other)
            | Self::OutOfOrder(one, other)
            | Self::OlderOfTopic(one, other)
            | Self::NotReplaced(one, other) => vec![one, other],
        }
    }
}

/// Posted message and its fate.
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

    /// True when the message may have expired at `at`: its life began when posted, or later. With TTL 0 the message may
    /// expire at once.
    fn may_have_expired(&self, at: Duration) -> bool {
        self.ttl.is_zero() || self.posted + self.life() <= at
    }

    /// True when the message must have expired at `at`: its life began before the answer.
    fn must_have_expired(&self, at: Duration) -> bool {
        self.answered.is_some_and(|answered| answered + self.life() <= at)
    }

    /// True when the service has refused the message.
    fn refused(&self) -> bool {
        matches!(self.answer, Answer::Refused | Answer::Gone)
    }
}

/// Returns all violations of a history.
pub(crate) fn check(entries: &[Entry], rules: Rules) -> Vec<Violation> {
    let unknown = entries.iter().filter_map(|entry| match entry.event {
        Event::Answered { message, answer: Answer::Unknown } => Some(message),
        _ => None,
    });
    let mut checker = Checker::new(rules, unknown.collect());
    for entry in entries {
        checker.take(entry);
    }
    checker.find_lost(entries.last().map(|entry| entry.at).unwrap_or_default());
    checker.violations
}

#[derive(Debug)]
struct Checker<'a> {
    rules: Rules,
    /// Messages of unknown fate at the end of posting.
    unknown: BTreeSet<Message>,
    fates: BTreeMap<Message, Fate<'a>>,
    by_version: BTreeMap<&'a str, Message>,
    /// Newest message delivered to each subscription.
    newest: BTreeMap<Subscription, Message>,
    /// Newest delivered message of each topic.
    newest_of_topic: BTreeMap<(Subscription, u8), NewestOfTopic>,
    kills: usize,
    /// Kills before the connection of each subscription.
    kills_before: BTreeMap<Subscription, usize>,
    drained: bool,
    /// Subscriptions that are ending, and that have ended.
    ending: BTreeSet<Subscription>,
    ended: BTreeSet<Subscription>,
    of_topic: BTreeMap<(Subscription, u8), Vec<Message>>,
    violations: Vec<Violation>,
}

#[derive(Debug, Clone, Copy, Default)]
struct NewestOfTopic {
    since_kill: Option<Message>,
    ever: Option<Message>,
}

impl<'a> Checker<'a> {
    fn new(rules: Rules, unknown: BTreeSet<Message>) -> Self {
        Self {
            rules,
            unknown,
            fates: BTreeMap::new(),
            by_version: BTreeMap::new(),
            newest: BTreeMap::new(),
            newest_of_topic: BTreeMap::new(),
            kills: 0,
            kills_before: BTreeMap::new(),
            drained: false,
            ending: BTreeSet::new(),
            ended: BTreeSet::new(),
            of_topic: BTreeMap::new(),
            violations: Vec::new(),
        }
    }

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
                if let Some(topic) = topic {
                    self.of_topic.entry((*to, *topic)).or_default().push(*message);
                }
            }
            Event::Answered { message, answer } => self.answer(entry.at, *message, *answer),
            Event::Delivered { message, to, version } => self.deliver(entry.at, *message, *to, version),
            Event::Acknowledged { .. } | Event::Fault(_) => {}
            Event::Ending { to } => drop(self.ending.insert(*to)),
            Event::Ended { to } => drop(self.ended.insert(*to)),
            Event::Connected { to } => self.connect(*to),
            Event::Killed => self.kills += 1,
            Event::Drained => self.drained = true,
        }
    }

    fn answer(&mut self, at: Duration, message: Message, answer: Answer) {
        let Some(fate) = self.fates.get_mut(&message) else { return };
        fate.answered = Some(at);
        fate.answer = answer;
        // The delivery may be written before the answer.
        if fate.refused() && fate.version.is_some() {
            self.violations.push(Violation::NotPosted(message));
        }
        if answer == Answer::Gone && !self.ending.contains(&fate.to) {
            self.violations.push(Violation::Forgotten(message));
        }
    }

    /// A delivery before the break belongs to the life before, though written after the kill.
    fn connect(&mut self, to: Subscription) {
        if self.kills_before.insert(to, self.kills) != Some(self.kills) {
            for (_, newest) in self.newest_of_topic.range_mut((to, 0)..=(to, u8::MAX)) {
                newest.since_kill = None;
            }
        }
    }

    fn deliver(&mut self, at: Duration, message: Message, to: Subscription, version: &'a str) {
        let Some(fate) = self.fates.get_mut(&message).filter(|fate| fate.to == to && !fate.refused()) else {
            return self.violations.push(Violation::NotPosted(message));
        };
        if fate.must_have_expired(at.saturating_sub(self.rules.on_the_way)) {
            self.violations.push(Violation::Late(message));
        }
        if self.ended.contains(&to) {
            self.violations.push(Violation::AfterEnd(message));
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

    /// True when messages posted after this one may have been accepted before it.
    fn may_be_later(&self, message: Message) -> bool {
        self.rules.many_processes && self.unknown.contains(&message)
    }

    /// Checks the order: only messages with TTL 0 may overtake.
    fn judge_order(&mut self, message: Message, to: Subscription) {
        let judged = !self.may_be_later(message);
        let newest = self.newest.entry(to).or_insert(message);
        if *newest > message && judged {
            self.violations.push(Violation::OutOfOrder(message, *newest));
        }
        *newest = message.max(*newest);
    }

    fn judge_topic(&mut self, message: Message, to: Subscription, topic: u8, first: bool) {
        let may_be_later = self.may_be_later(message);
        let newest = self.newest_of_topic.entry((to, topic)).or_default();
        // A kill may undo a replacement: then the older message is redelivered, and the newer one after it.
        let seen = match first {
            _ if may_be_later => None,
            true => newest.ever,
            false if self.rules.many_processes => None,
            false => newest.since_kill,
        };
        if let Some(newer) = seen.filter(|newer| *newer > message) {
            self.violations.push(Violation::OlderOfTopic(message, newer));
        }
        newest.ever = newest.ever.max(Some(message));
        newest.since_kill = newest.since_kill.max(Some(message));
        if self.drained && !may_be_later {
            let accepted = |newer: &Message| self.fates[newer].answer == Answer::Accepted;
            let newer = self.of_its_topic(message).iter().copied().find(|it| *it > message && accepted(it));
            self.violations.extend(newer.map(|newer| Violation::NotReplaced(message, newer)));
        }
    }

    /// Messages of the same topic, this one included, in the order of posting.
    fn of_its_topic(&self, message: Message) -> &[Message] {
        let fate = &self.fates[&message];
        let all = fate.topic.and_then(|topic| self.of_topic.get(&(fate.to, topic)));
        all.map(Vec::as_slice).unwrap_or_default()
    }

    fn find_lost(&mut self, end: Duration) {
        let owed = |fate: &Fate<'_>| {
            let kept = fate.answer == Answer::Accepted && fate.version.is_none();
            kept && !fate.may_have_expired(end) && !self.ending.contains(&fate.to)
        };
        // An accepted message is judged by itself. One of unknown fate has replaced others only if kept, and has then
        // been delivered or expired.
        let takes_its_place = |fate: &Fate<'_>| match fate.answer {
            Answer::Accepted => true,
            Answer::Refused | Answer::Gone => false,
            Answer::Unknown => fate.version.is_some() || fate.may_have_expired(end),
        };
        let replaced = |message: Message| {
            self.of_its_topic(message).iter().any(|&other| {
                let later = other > message || (other < message && self.may_be_later(other));
                later && takes_its_place(&self.fates[&other])
            })
        };
        let lost = self.fates.iter().filter(|(_, fate)| owed(fate)).map(|(message, _)| *message);
        let lost: Vec<Message> = lost.filter(|message| !replaced(*message)).collect();
        self.violations.extend(lost.into_iter().map(Violation::Lost));
    }
}
