//! [`pushgrid_store::Ends`].

use std::sync::Arc;

use parking_lot::Mutex;
use pushgrid_store::{End, EndFeed, Ends, Subscription};
use pushgrid_types::{ManualClock, Message, Outcome, Restriction, Timestamp};

use super::support::{living, message, message_id, reborn, subscription, topic, user_agent};
use super::{Parts, checks};

checks!(
    what_ends_in_the_log_is_told_with_its_subscription,
    what_ends_instead_of_being_stored_is_told,
    what_ends_in_the_mailbox_is_told,
    an_end_names_the_life_of_the_channel_that_the_message_was_sent_to,
    an_end_is_told_once,
);

/// Subscriber that keeps every end told.
#[derive(Debug, Default)]
pub struct ToldEnds(Mutex<Vec<(Timestamp, End)>>);

impl ToldEnds {
    /// A subscriber without ends, and the feed to it for an adapter whose time stands at `now`.
    pub fn new(now: Timestamp) -> (Arc<Self>, EndFeed) {
        let told = Arc::new(Self::default());
        let feed = EndFeed::new(Arc::new(ManualClock::at(now)), Arc::clone(&told) as Arc<dyn Ends>);
        (told, feed)
    }

    /// All ends told, in order.
    pub fn all(&self) -> Vec<(Timestamp, End)> {
        self.0.lock().clone()
    }
}

impl Ends for ToldEnds {
    fn ended(&self, at: Timestamp, ends: &[End]) {
        assert!(!ends.is_empty(), "nothing is told of nothing");
        let mut told = self.0.lock();
        told.extend(ends.iter().map(|end| (at, *end)));
    }
}

impl Parts {
    /// Checks that exactly these messages were told of, each with its subscription, its outcome and the
    /// present time.
    async fn assert_told(&self, expected: &[(&Message, Outcome)]) {
        self.life.rest().await;
        let mut told = self.ends.all();
        told.sort_unstable_by_key(|(_, end)| (end.user_agent, end.sequence));
        let mut expected: Vec<_> =
            expected.iter().map(|(message, outcome)| End::of(message, *outcome)).collect();
        expected.sort_unstable_by_key(|end| (end.user_agent, end.sequence));
        for ((at, end), expected) in told.iter().zip(&expected) {
            assert_eq!(*at, self.now);
            assert_eq!(end, expected);
        }
        assert_eq!(told.len(), expected.len(), "each end is told once: {told:?}");
    }
}

/// A message settled in the log is told of, as named by the settling caller.
pub async fn what_ends_in_the_log_is_told_with_its_subscription(mut parts: Parts) {
    let accepted = parts.accept_all(subscription(1, 1), [1, 2, 3]).await;
    parts.hand_out(3).await;
    let ended = vec![End::of(&accepted[0], Outcome::Delivered), End::of(&accepted[2], Outcome::Expired)];
    parts.consumer.settle(ended.clone());
    parts.assert_told(&[(&accepted[0], Outcome::Delivered), (&accepted[2], Outcome::Expired)]).await;
    assert!(parts.ends.all().iter().all(|(_, end)| ended.contains(end)), "with the subscription");
}

/// Messages without a live subscription, or with a newer one of the same topic, end instead of being stored.
pub async fn what_ends_instead_of_being_stored_is_told(parts: Parts) {
    let to = subscription(1, 1);
    parts.subscribe(to).await;
    let of_topic = |label| Message { topic: Some(topic("t")), ..message(to, label, parts.now) };
    let (first, second, third) =
        (parts.accept(of_topic(1)).await, parts.accept(of_topic(2)).await, parts.accept(of_topic(3)).await);
    let stranger = parts.accept(message(reborn(to), 4, parts.now)).await;
    for message in [&second, &first, &third, &stranger] {
        parts.store(message).await;
    }
    let expected =
        [(&*first, Outcome::Replaced), (&*second, Outcome::Replaced), (&*stranger, Outcome::Unsubscribed)];
    parts.assert_told(&expected).await;
}

/// Waiting messages are acknowledged, cancelled, unsubscribed and expire.
pub async fn what_ends_in_the_mailbox_is_told(parts: Parts) {
    let (to, other) = (subscription(1, 1), subscription(1, 2));
    parts.subscribe(to).await;
    parts.subscribe(other).await;
    let kept = parts.keep(to, [1, 2]).await;
    let unsubscribed = parts.keep(other, [3, 4]).await;
    let short = parts.accept(living(1, message(to, 5, parts.now))).await;
    parts.store(&short).await;
    parts.settle(1, &[(1, Outcome::Delivered)]).await;
    assert!(parts.remove(other).await);
    assert_eq!(parts.mailbox.expire(short.expires_at, 10).await.expect("expire answers"), 1);
    parts.settle(1, &[(2, Outcome::Cancelled)]).await;
    let expected = [
        (&*kept[0], Outcome::Delivered),
        (&*kept[1], Outcome::Cancelled),
        (&*unsubscribed[0], Outcome::Unsubscribed),
        (&*unsubscribed[1], Outcome::Unsubscribed),
        (&*short, Outcome::Expired),
    ];
    parts.assert_told(&expected).await;
}

/// Messages of an earlier incarnation wait on under the next, and end alone or by the end of the channel,
/// never by a message of the same topic in the new life.
pub async fn an_end_names_the_life_of_the_channel_that_the_message_was_sent_to(parts: Parts) {
    let (former, present) = (subscription(1, 1), reborn(subscription(1, 1)));
    parts.subscribe(former).await;
    let of_topic = |to, label| Message { topic: Some(topic("t")), ..message(to, label, parts.now) };
    let mut kept = parts.keep(former, [1, 2]).await;
    kept.push(parts.accept(of_topic(former, 3)).await);
    parts.store(&kept[2]).await;
    let new = Subscription {
        id: present,
        restriction: Restriction::Open,
        seen_at: parts.now,
        is_noted: true,
        webhook: None,
    };
    let put = parts.subscriptions.put(Some(former), new.clone()).await.expect("put answers");
    assert_eq!(put, Some(new));
    for message in [of_topic(present, 4), of_topic(present, 5), message(present, 6, parts.now)] {
        kept.push(parts.accept(message).await);
        parts.store(&kept[kept.len() - 1]).await;
    }
    parts.settle(1, &[(1, Outcome::Delivered), (6, Outcome::Undecryptable)]).await;
    assert!(parts.remove(present).await);
    let expected = [
        (&*kept[0], Outcome::Delivered),
        (&*kept[1], Outcome::Unsubscribed),
        (&*kept[2], Outcome::Unsubscribed),
        (&*kept[3], Outcome::Replaced),
        (&*kept[4], Outcome::Unsubscribed),
        (&*kept[5], Outcome::Undecryptable),
    ];
    parts.assert_told(&expected).await;
}

/// A second outcome, a repeated call and an unknown message are no ends.
pub async fn an_end_is_told_once(mut parts: Parts) {
    let to = subscription(1, 1);
    parts.subscribe(to).await;
    let accepted = parts.accept_all(to, [1, 2, 3]).await;
    parts.hand_out(3).await;
    let (logged, stored, stranger) = (&accepted[0], &accepted[1], &accepted[2]);
    for outcome in [Outcome::Delivered, Outcome::Expired] {
        parts.consumer.settle(vec![End::of(logged, outcome)]);
        parts.life.rest().await;
    }
    parts.store(stored).await;
    for outcome in [Outcome::Cancelled, Outcome::Delivered] {
        let ended = vec![(message_id(2), outcome), (message_id(9), outcome)];
        parts.mailbox.settle(user_agent(1), ended).await.expect("settle answers");
    }
    parts.store(stored).await;
    parts.subscriptions.remove(to.user_agent, to.channel).await.expect("remove answers");
    parts.store(stranger).await;
    parts.store(stranger).await;
    let expected = [
        (&**logged, Outcome::Delivered),
        (&**stored, Outcome::Cancelled),
        (&**stranger, Outcome::Unsubscribed),
    ];
    parts.assert_told(&expected).await;
}
