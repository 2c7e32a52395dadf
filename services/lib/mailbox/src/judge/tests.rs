use std::convert::Infallible;

use bytes::Bytes;
use pushgrid_types::{ChannelId, Content, Incarnation, MessageId, Timestamp, Ttl, Urgency, UserAgentId};

use super::*;

/// Facts as a table, and the questions that were asked.
#[derive(Debug)]
struct Table {
    place: Place,
    is_alive: bool,
    rival: Option<u64>,
    asked: Vec<&'static str>,
}

impl Facts for Table {
    type Stored = u64;
    type Error = Infallible;

    fn place(&mut self, _: &Message) -> Result<Place, Infallible> {
        self.asked.push("place");
        Ok(self.place)
    }

    fn is_alive(&mut self, _: SubscriptionRef) -> Result<bool, Infallible> {
        self.asked.push("is_alive");
        Ok(self.is_alive)
    }

    fn in_topic(
        &mut self,
        _: SubscriptionRef,
        _: &ReplaceKey,
    ) -> Result<Option<(Sequence, u64)>, Infallible> {
        self.asked.push("in_topic");
        Ok(self.rival.map(|rival| (Sequence(rival), rival)))
    }
}

const IN_LOG: Place = Place { in_log: true, in_mailbox: None };
const ENDED: Place = Place { in_log: false, in_mailbox: None };

fn table(place: Place) -> Table {
    Table { place, is_alive: true, rival: None, asked: Vec::new() }
}

/// The message with sequence 5.
fn message(topic: Option<&str>) -> Message {
    let to = SubscriptionRef {
        user_agent: UserAgentId::from_octets([1; UserAgentId::SIZE]),
        channel: ChannelId::from_octets([2; ChannelId::SIZE]),
        incarnation: Incarnation::from_octets([3; Incarnation::SIZE]),
    };
    let (accepted_at, ttl) = (Timestamp::from_millis(1), Ttl::from_secs(60));
    Message {
        id: MessageId::from_octets([4; MessageId::SIZE]),
        to,
        sequence: Sequence(5),
        accepted_at,
        ttl,
        expires_at: Message::expiry(accepted_at, ttl),
        urgency: Urgency::Normal,
        topic: topic.map(|topic| topic.parse().expect("a valid topic")),
        receipt: None,
        content: Content { body: Bytes::new(), ..Content::default() },
    }
}

fn judged(topic: Option<&str>, mut table: Table) -> (Decision<u64>, Vec<&'static str>) {
    let Ok(decision) = judge(&message(topic), &mut table);
    (decision, table.asked)
}

#[test]
fn a_message_of_a_live_subscription_is_kept() {
    let (decision, asked) = judged(None, table(IN_LOG));
    let change = Some(Change::Keep { replaces: None });
    assert_eq!(decision, Decision { answer: Stored::Kept, change });
    assert_eq!(asked, ["place", "is_alive"], "without a topic nothing is looked up for one");
}

#[test]
fn the_newest_of_a_topic_stays_in_whatever_order_they_come() {
    let (decision, asked) = judged(Some("t"), Table { rival: Some(4), ..table(IN_LOG) });
    let change = Some(Change::Keep { replaces: Some(4) });
    assert_eq!(decision, Decision { answer: Stored::Kept, change });
    assert_eq!(asked, ["place", "is_alive", "in_topic"]);

    let (decision, _) = judged(Some("t"), Table { rival: Some(6), ..table(IN_LOG) });
    let change = Some(Change::End(Outcome::Replaced));
    assert_eq!(decision, Decision { answer: Stored::Ended(Outcome::Replaced), change });
}

#[test]
fn a_message_without_its_subscription_ends_and_replaces_nothing() {
    let (decision, asked) = judged(Some("t"), Table { is_alive: false, rival: Some(4), ..table(IN_LOG) });
    let change = Some(Change::End(Outcome::Unsubscribed));
    assert_eq!(decision, Decision { answer: Stored::Ended(Outcome::Unsubscribed), change });
    assert_eq!(asked, ["place", "is_alive"]);
}

#[test]
fn a_message_that_waits_is_only_taken_from_the_log() {
    for in_log in [true, false] {
        let place = Place { in_log, in_mailbox: Some(Sequence(5)) };
        let (decision, asked) = judged(Some("t"), Table { is_alive: false, ..table(place) });
        let change = in_log.then_some(Change::Moved);
        assert_eq!(decision, Decision { answer: Stored::Kept, change });
        assert_eq!(asked, ["place"], "nothing else matters");
    }
}

#[test]
fn a_message_that_the_log_has_twice_waits_once() {
    let place = Place { in_log: true, in_mailbox: Some(Sequence(3)) };
    let (decision, _) = judged(None, table(place));
    let change = Some(Change::EndRepeat);
    assert_eq!(decision, Decision { answer: Stored::Ended(REPEAT), change });
}

#[test]
fn a_message_that_has_ended_is_judged_and_changes_nothing() {
    for (is_alive, rival, answer) in [
        (true, None, Stored::Kept),
        (true, Some(4), Stored::Kept),
        (true, Some(6), Stored::Ended(Outcome::Replaced)),
        (false, None, Stored::Ended(Outcome::Unsubscribed)),
    ] {
        let (decision, _) = judged(Some("t"), Table { is_alive, rival, ..table(ENDED) });
        assert_eq!(decision, Decision { answer, change: None });
    }
}
