//! Checks of stored messages in a view: stored, found, ended.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use pushgrid_types::{
    ChannelId, Content, LeaderEpoch, Message, Outcome, Sequence, SubscriptionRef, UserAgentId,
};

use super::super::support::{channel, living, reborn, sized, subscription, topic, user_agent};
use super::{NOW, Owner, checks};
use pushgrid_store::{Change, PageLimit, PageStart, StoredMessage};

checks!(
    a_stored_message_is_known_until_it_ends,
    a_stored_message_is_known_with_the_subscription_that_it_was_sent_to,
    a_message_is_stored_once,
    a_record_of_a_later_leader_epoch_counts,
    a_repeat_with_another_sequence_changes_nothing,
    the_end_of_an_earlier_record_is_not_the_end_of_the_later,
    ends_and_stores_of_one_call_happen_in_their_order,
    the_end_of_a_subscription_ends_no_message,
    a_topic_leads_to_its_newest_message,
    topics_are_compared_octet_by_octet,
    a_channel_leads_to_all_its_messages,
    what_is_expired_is_due,
    usage_is_exact_after_many_changes,
);

/// Sequences of the stored messages of a user agent, in order.
async fn places(owner: &Owner) -> Vec<Sequence> {
    let limit = PageLimit { messages: 100, octets: 1 << 20 };
    let page = owner.view.page(owner.barrier, user_agent(1), PageStart::FIRST, NOW, limit).await;
    page.expect("page answers").messages.iter().map(|message| message.sequence).collect()
}

async fn in_topic(owner: &Owner, of: u8, on: u8, text: &str) -> Option<StoredMessage> {
    let asked = [(user_agent(of), channel(on), topic(text))];
    let found = owner.view.in_topic(owner.barrier, &asked).await.expect("in_topic answers");
    assert_eq!(found.len(), 1, "in_topic answers once for each topic");
    found[0]
}

async fn in_channel(owner: &Owner, of: UserAgentId, on: ChannelId) -> HashSet<StoredMessage> {
    let found = owner.view.in_channel(owner.barrier, of, on).await.expect("in_channel answers");
    let all: HashSet<_> = found.iter().copied().collect();
    assert_eq!(all.len(), found.len(), "each message is answered once");
    all
}

fn with_topic(to: SubscriptionRef, label: u64, text: &str) -> Arc<Message> {
    let plain = Message::clone(&Owner::message(to, label));
    Arc::new(Message { topic: Some(topic(text)), ..plain })
}

/// A stored message is found by user agent and id until its end; answers are in the order of the questions.
async fn a_stored_message_is_known_until_it_ends(mut owner: Owner) {
    let one = owner.keep(subscription(1, 1), [4]).await.remove(0);
    let two = owner.keep(subscription(2, 1), [6]).await.remove(0);
    let asked =
        [(user_agent(2), two.id), (user_agent(1), two.id), (user_agent(1), one.id), (user_agent(2), two.id)];
    let stored = owner.view.stored(owner.barrier, &asked).await.expect("stored answers");
    assert_eq!(stored, [Some(owner.known(&two)), None, Some(owner.known(&one)), Some(owner.known(&two))]);
    assert_eq!(owner.view.stored(owner.barrier, &[]).await.expect("stored answers"), []);
    owner.tell(&[owner.ends(&one)]).await;
    assert_eq!(owner.stored(&one).await, None);
    assert_eq!(owner.stored(&two).await, Some(owner.known(&two)), "the other waits on");
    owner.tell(&[owner.ends(&one)]).await;
    owner.assert_usage(1, 0, 0, 1).await;
    owner.assert_usage(2, 1, 10, 1).await;
}

/// Every answer names channel and incarnation, whatever the channel's present life is, and whatever else the
/// message holds.
async fn a_stored_message_is_known_with_the_subscription_that_it_was_sent_to(mut owner: Owner) {
    let id = subscription(1, 1);
    owner.subscribe(reborn(id)).await;
    let mut expected = HashSet::new();
    for (sequence, octets) in [(1, 0), (2, 40), (3, 130), (4, 20_000)] {
        let to = if sequence % 2 == 0 { id } else { reborn(id) };
        let plain = Message::clone(&*with_topic(to, sequence, &format!("t{sequence}")));
        let crypto_key = (octets > 0).then(|| "k".repeat(octets).into());
        let content = Content { crypto_key, ..plain.content.clone() };
        let kept = Arc::new(Message { content, ..plain });
        owner.tell(&[owner.stores(&kept)]).await;
        let known = owner.known(&kept);
        assert_eq!(known.to, to);
        assert_eq!(owner.stored(&kept).await, Some(known));
        assert_eq!(in_topic(&owner, 1, 1, &format!("t{sequence}")).await, Some(known));
        expected.insert(known);
    }
    assert_eq!(in_channel(&owner, id.user_agent, id.channel).await, expected);
    let late = NOW.plus(Duration::from_hours(9));
    let due = owner.view.due(owner.barrier, late, 10).await.expect("due answers");
    assert_eq!(due.into_iter().collect::<HashSet<_>>(), expected);
}

/// A message stored again is not stored twice.
async fn a_message_is_stored_once(mut owner: Owner) {
    let kept = owner.keep(subscription(1, 1), [1, 2]).await;
    owner.tell(&[owner.stores(&kept[1]), owner.stores(&kept[0]), owner.stores(&kept[1])]).await;
    owner.assert_usage(1, 2, 20, 2).await;
    owner.tell(&[owner.ends(&kept[0])]).await;
    owner.assert_usage(1, 1, 10, 1).await;
}

/// A record of a later leader epoch replaces the earlier one; the message stays the same.
async fn a_record_of_a_later_leader_epoch_counts(mut owner: Owner) {
    let kept = owner.keep(subscription(1, 1), [1]).await.remove(0);
    let earlier = owner.stores(&kept);
    let mut next = owner.successor().await;
    assert_eq!(next.stored(&kept).await, Some(owner.known(&kept)), "by whose right it was stored");
    next.tell(&[next.stores(&kept)]).await;
    assert_eq!(next.stored(&kept).await, Some(next.known(&kept)));
    next.tell(&[earlier]).await;
    assert_eq!(next.stored(&kept).await, Some(next.known(&kept)));
    next.assert_usage(1, 1, 10, 1).await;
    let topical = with_topic(subscription(1, 1), 2, "t");
    next.tell(&[Change::Stored { message: Arc::clone(&topical), since: LeaderEpoch(1) }]).await;
    next.tell(&[next.stores(&topical)]).await;
    assert_eq!(in_topic(&next, 1, 1, "t").await, Some(next.known(&topical)), "so it is for its topic");
}

/// A message twice in the log keeps its first sequence: the end of the repeat, by no leader epoch, does not
/// end the stored one.
async fn a_repeat_with_another_sequence_changes_nothing(mut owner: Owner) {
    let kept = owner.keep(subscription(1, 1), [1, 2]).await;
    let repeat = Arc::new(Message { sequence: Sequence(kept[1].sequence.0 + 9), ..Message::clone(&kept[0]) });
    let waiting = [owner.known(&kept[0]), owner.known(&kept[1])];
    owner.tell(&[owner.stores(&repeat)]).await;
    for _ in 0..2 {
        assert_eq!(places(&owner).await, [kept[0].sequence, kept[1].sequence], "it keeps its place");
        assert_eq!(owner.stored(&kept[0]).await, Some(waiting[0]));
        owner.assert_usage(1, 2, 20, 2).await;
        let stored = StoredMessage { since: LeaderEpoch(0), ..owner.known(&repeat) };
        owner.tell(&[stored.ended(Outcome::Replaced)]).await;
    }
    owner.tell(&[owner.ends(&kept[0])]).await;
    owner.assert_usage(1, 1, 10, 1).await;
    let mut next = owner.successor().await;
    let repeat = Arc::new(Message { sequence: repeat.sequence, ..Message::clone(&kept[1]) });
    next.tell(&[next.stores(&repeat)]).await;
    assert_eq!(next.stored(&kept[1]).await, Some(next.known(&kept[1])), "the right is the later one");
    assert_eq!(places(&next).await, [kept[1].sequence]);
}

/// Each leader epoch has its own record: the end of a replaced record ends nothing, the end of the latest
/// ends the message.
async fn the_end_of_an_earlier_record_is_not_the_end_of_the_later(mut owner: Owner) {
    let kept = owner.keep(subscription(1, 1), [1, 2]).await;
    let earlier = owner.ends(&kept[0]);
    let mut next = owner.successor().await;
    next.tell(&[next.stores(&kept[0]), earlier]).await;
    assert_eq!(next.stored(&kept[0]).await, Some(next.known(&kept[0])), "the later record stays");
    next.tell(&[next.ends(&kept[0]), next.ends(&kept[1])]).await;
    assert_eq!(next.stored(&kept[0]).await, None);
    assert_eq!(next.stored(&kept[1]).await, None, "who came later ends what is older");
    next.assert_usage(1, 0, 0, 0).await;
}

/// Changes of one call take effect in order.
async fn ends_and_stores_of_one_call_happen_in_their_order(mut owner: Owner) {
    let to = subscription(1, 1);
    let [one, two] = [1, 2].map(|label| with_topic(to, label, "t"));
    let changes =
        [owner.stores(&one), owner.ends(&one), owner.stores(&two), owner.stores(&one), owner.ends(&one)];
    owner.tell(&changes).await;
    owner.assert_usage(1, 1, 10, 1).await;
    assert_eq!(owner.stored(&one).await, None);
    assert_eq!(in_topic(&owner, 1, 1, "t").await, Some(owner.known(&two)));
}

/// The end of a subscription ends no message.
async fn the_end_of_a_subscription_ends_no_message(mut owner: Owner) {
    let to = subscription(1, 1);
    owner.subscribe(to).await;
    let kept = owner.keep(to, [1]).await.remove(0);
    owner.tell(&[Change::Unsubscribed(to)]).await;
    assert_eq!(in_channel(&owner, to.user_agent, to.channel).await, [owner.known(&kept)].into());
    owner.assert_usage(1, 1, 10, 1).await;
    owner.tell(&[owner.ends(&kept)]).await;
    owner.assert_usage(1, 0, 0, 0).await;
}

/// A topic of a channel leads to its newest stored message, in whatever order messages were stored.
async fn a_topic_leads_to_its_newest_message(mut owner: Owner) {
    let to = subscription(1, 1);
    let [old, new] = [5, 8].map(|label| with_topic(to, label, "t"));
    let other = with_topic(subscription(1, 2), 6, "t");
    let late = with_topic(reborn(to), 9, "t");
    assert_eq!(in_topic(&owner, 1, 1, "t").await, None);
    owner.tell(&[owner.stores(&new), owner.stores(&old), owner.stores(&other)]).await;
    assert_eq!(in_topic(&owner, 1, 1, "t").await, Some(owner.known(&new)), "the newest");
    assert_eq!(in_topic(&owner, 1, 2, "t").await, Some(owner.known(&other)), "of its own channel");
    assert_eq!(in_topic(&owner, 2, 1, "t").await, None, "of its own user agent");
    owner.tell(&[owner.ends(&old)]).await;
    assert_eq!(
        in_topic(&owner, 1, 1, "t").await,
        Some(owner.known(&new)),
        "the end of the older changes nothing"
    );
    owner.tell(&[owner.stores(&late), owner.ends(&new)]).await;
    assert_eq!(
        in_topic(&owner, 1, 1, "t").await,
        Some(owner.known(&late)),
        "the channel's, whatever its life"
    );
    owner.tell(&[owner.ends(&late)]).await;
    assert_eq!(in_topic(&owner, 1, 1, "t").await, None, "the topic is free again");
    assert_eq!(in_topic(&owner, 1, 2, "t").await, Some(owner.known(&other)));
}

/// Topics differ by case and length; a message without a topic is under none.
async fn topics_are_compared_octet_by_octet(mut owner: Owner) {
    let to = subscription(1, 1);
    owner.keep(to, [1]).await;
    let texts = ["t", "T", "t1", "t-", "tttttttttttttttttttttttttttttttt"];
    let messages: Vec<_> = (2..).zip(texts).map(|(label, text)| with_topic(to, label, text)).collect();
    let changes: Vec<_> = messages.iter().map(|it| owner.stores(it)).collect();
    owner.tell(&changes).await;
    let asked: Vec<_> = texts.iter().rev().map(|text| (to.user_agent, to.channel, topic(text))).collect();
    let found = owner.view.in_topic(owner.barrier, &asked).await.expect("in_topic answers");
    let expected: Vec<_> = messages.iter().rev().map(|it| Some(owner.known(it))).collect();
    assert_eq!(found, expected);
    assert_eq!(in_topic(&owner, 1, 1, "tt").await, None);
    assert_eq!(owner.view.in_topic(owner.barrier, &[]).await.expect("in_topic answers"), []);
}

/// A channel leads to all its stored messages, with or without topics and of every incarnation.
async fn a_channel_leads_to_all_its_messages(mut owner: Owner) {
    let to = subscription(1, 1);
    let topical = with_topic(to, 50, "t");
    let mut kept = owner.keep(to, 1..=30).await;
    kept.extend(owner.keep(reborn(to), [40]).await);
    owner.keep(subscription(1, 2), [60]).await;
    owner.keep(subscription(2, 1), [61]).await;
    owner.tell(&[owner.stores(&topical)]).await;
    kept.push(topical);
    let expected = kept.iter().map(|it| owner.known(it)).collect();
    assert_eq!(in_channel(&owner, to.user_agent, to.channel).await, expected);
    assert_eq!(in_channel(&owner, to.user_agent, channel(3)).await, HashSet::new());
    let ends: Vec<_> = kept.iter().map(|it| owner.ends(it)).collect();
    owner.tell(&ends).await;
    assert_eq!(in_channel(&owner, to.user_agent, to.channel).await, HashSet::new());
    owner.assert_usage(1, 1, 10, 2).await;
}

/// A message is due from its expiry until its end; a call returns at most the limit.
async fn what_is_expired_is_due(mut owner: Owner) {
    let mut expected = Vec::new();
    for (label, of, seconds) in [(1, 1, 10), (2, 2, 20), (3, 1, 10), (4, 1, 60)] {
        let plain = Message::clone(&Owner::message(subscription(of, 1), label));
        let kept = Arc::new(living(seconds, plain));
        owner.tell(&[owner.stores(&kept)]).await;
        expected.push((owner.known(&kept), kept));
    }
    let due = async |owner: &Owner, millis, limit| {
        let now = NOW.plus(Duration::from_millis(millis));
        let due = owner.view.due(owner.barrier, now, limit).await.expect("due answers");
        let all: HashSet<_> = due.iter().copied().collect();
        assert_eq!(all.len(), due.len(), "each is answered once");
        all
    };
    let of = |labels: &[usize]| -> HashSet<_> { labels.iter().map(|label| expected[label - 1].0).collect() };
    assert_eq!(due(&owner, 9_999, 10).await, HashSet::new(), "a millisecond before the expiry");
    assert_eq!(due(&owner, 10_000, 10).await, of(&[1, 3]), "at the expiry");
    assert_eq!(due(&owner, 20_000, 10).await, of(&[1, 2, 3]), "of all user agents");
    assert_eq!(due(&owner, 60_000, 2).await.len(), 2, "no more than the limit");
    assert_eq!(due(&owner, 60_000, 0).await.len(), 0);
    let ends = [owner.ends(&expected[0].1), owner.ends(&expected[2].1)];
    owner.tell(&ends).await;
    assert_eq!(due(&owner, 60_000, 10).await, of(&[2, 4]), "what has ended is not due");
    owner.assert_usage(1, 1, 10, 2).await;
}

/// Usage is exact to the octet after many changes.
async fn usage_is_exact_after_many_changes(mut owner: Owner) {
    let mut kept = Vec::new();
    for label in 1..=300_u64 {
        let to = subscription(u8::try_from(label % 3).expect("small"), 1);
        let octets = usize::try_from(label * 7 % 1100).expect("small");
        kept.push(Arc::new(sized(octets, Message::clone(&Owner::message(to, label)))));
    }
    let changes: Vec<_> = kept.iter().map(|it| owner.stores(it)).collect();
    owner.tell(&changes).await;
    let (gone, left): (Vec<_>, Vec<_>) = kept.into_iter().partition(|it| it.sequence.0 % 7 < 3);
    let changes: Vec<_> = gone.iter().map(|it| owner.known(it).ended(Outcome::Cancelled)).collect();
    owner.tell(&changes).await;
    for of in 0..3 {
        let its: Vec<_> = left.iter().filter(|it| it.to.user_agent == user_agent(of)).collect();
        let octets: usize = its.iter().map(|it| it.content.body.len()).sum();
        owner.assert_usage(of, its.len() as u64, octets as u64, left.len() as u64).await;
    }
}
