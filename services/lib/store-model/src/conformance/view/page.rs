//! Checks of [`pushgrid_store::View::page`], as of [`pushgrid_store::Mailbox::page`].

use std::sync::Arc;
use std::time::Duration;

use pushgrid_types::{Content, Message, Sequence, Timestamp, Ttl, Urgency};

use super::super::support::{ALL, living, sized, subscription, topic, urgent, user_agent};
use super::{NOW, Owner, checks};
use pushgrid_store::{PageLimit, PageStart};

checks!(
    a_message_comes_as_it_was_stored,
    a_page_is_in_the_order_of_the_sequences,
    pages_after_a_cursor_lead_through_everything,
    a_page_ends_when_its_octets_are_reached,
    what_is_expired_is_in_no_page,
    a_long_run_of_expired_messages_hides_nothing,
    a_long_run_of_less_urgent_messages_hides_nothing,
);

async fn page(owner: &Owner, of: u8, after: u64, now: Timestamp, limit: PageLimit) -> Vec<Message> {
    let page =
        owner.view.page(owner.barrier, user_agent(of), PageStart::after(Sequence(after)), now, limit).await;
    page.expect("page answers").messages
}

async fn labels(owner: &Owner, of: u8, after: u64, limit: PageLimit) -> Vec<u64> {
    page(owner, of, after, NOW, limit).await.iter().map(|it| it.sequence.0).collect()
}

/// Every field and every octet of the body is kept.
async fn a_message_comes_as_it_was_stored(mut owner: Owner) {
    let to = subscription(1, 1);
    let plain = Message::clone(&Owner::message(to, (1 << 53) - 1));
    let full = Message {
        ttl: Ttl::from_secs(1 << 31),
        expires_at: Message::expiry(NOW, Ttl::from_secs(1 << 31)),
        urgency: Urgency::High,
        topic: Some(topic("upd_8-Z")),
        content: Content {
            body: (0..=255).cycle().take(4096).collect(),
            encoding: Some("aesgcm".into()),
            encryption: Some("salt=abc".into()),
            crypto_key: Some("dh=def".into()),
            content_type: Some("text/plain".into()),
            ..Content::default()
        },
        ..plain
    };
    let empty = Message { content: Content::default(), ..Message::clone(&Owner::message(to, 1)) };
    // The more urgent one comes first.
    let messages = [Arc::new(full), Arc::new(empty)];
    owner.tell(&[owner.stores(&messages[1]), owner.stores(&messages[0])]).await;
    let found: Vec<_> = page(&owner, 1, 0, NOW, ALL).await.into_iter().map(Arc::new).collect();
    assert_eq!(found, messages);
    let by_id =
        async |of, id| owner.view.message(owner.barrier, user_agent(of), id).await.expect("message answers");
    for message in &messages {
        assert_eq!(by_id(1, message.id).await.as_ref(), Some(&**message), "the same by its id");
        assert_eq!(by_id(2, message.id).await, None, "it is another user agent's");
    }
    assert_eq!(by_id(1, Owner::message(to, 77).id).await, None, "nobody has stored this one");
    owner.assert_usage(1, 2, 4096, 2).await;
}

/// Messages of all channels of a user agent are in the order of the sequences, whatever the order of storing.
async fn a_page_is_in_the_order_of_the_sequences(mut owner: Owner) {
    for label in [40, 2, 300, 9, 10] {
        owner.keep(subscription(1, u8::try_from(label % 2).expect("small")), [label]).await;
    }
    owner.keep(subscription(2, 1), [3]).await;
    assert_eq!(labels(&owner, 1, 0, ALL).await, [2, 9, 10, 40, 300]);
    assert_eq!(labels(&owner, 1, 9, ALL).await, [10, 40, 300]);
    assert_eq!(labels(&owner, 2, 0, ALL).await, [3]);
    assert_eq!(labels(&owner, 3, 0, ALL).await, [0_u64; 0], "nothing for the unknown");
}

/// Pages from cursor to cursor hold every message once; the page after the last is empty.
async fn pages_after_a_cursor_lead_through_everything(mut owner: Owner) {
    owner.keep(subscription(1, 1), 1..=523).await;
    let mut seen = Vec::new();
    loop {
        let after = seen.last().copied().unwrap_or_default();
        let page = labels(&owner, 1, after, PageLimit { messages: 50, ..ALL }).await;
        assert!(page.len() <= 50, "{} messages in a page of fifty", page.len());
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    assert_eq!(seen, (1..=523).collect::<Vec<_>>(), "the pages together hold every message once");
    assert_eq!(labels(&owner, 1, 0, ALL).await, seen, "and so does one large page");
    assert_eq!(labels(&owner, 1, u64::MAX, ALL).await, [0_u64; 0], "there is nothing after the end");
    assert_eq!(labels(&owner, 1, 0, PageLimit { messages: 0, ..ALL }).await, [0_u64; 0]);
}

/// A page ends once the bodies reach the limit, but always has the first message, however large.
async fn a_page_ends_when_its_octets_are_reached(mut owner: Owner) {
    for (label, octets) in [(1, 1000), (2, 10), (3, 10), (4, 10)] {
        let plain = Message::clone(&Owner::message(subscription(1, 1), label));
        let kept = Arc::new(sized(octets, plain));
        owner.tell(&[owner.stores(&kept)]).await;
    }
    for (after, octets, expected) in
        [(0, 1, 1), (0, 1000, 1), (0, 1001, 2), (0, 1021, 4), (1, 20, 2), (1, 0, 1)]
    {
        let within = labels(&owner, 1, after, PageLimit { messages: 10, octets }).await;
        assert_eq!(within.len(), expected, "after {after} within {octets} octets");
    }
}

/// A message is in no page from its expiry on (promise P4), and takes no room.
async fn what_is_expired_is_in_no_page(mut owner: Owner) {
    for (label, seconds) in [(1, 10), (2, 60), (3, 10), (4, 60)] {
        let plain = Message::clone(&Owner::message(subscription(1, 1), label));
        let kept = Arc::new(living(seconds, plain));
        owner.tell(&[owner.stores(&kept)]).await;
    }
    let after =
        async |millis, limit| page(&owner, 1, 0, NOW.plus(Duration::from_millis(millis)), limit).await.len();
    assert_eq!(after(9_999, ALL).await, 4, "a millisecond before the expiry all are there");
    assert_eq!(after(10_000, ALL).await, 2, "at the expiry the expired ones are gone");
    assert_eq!(after(10_000, PageLimit { messages: 2, ..ALL }).await, 2, "they take no room in the page");
    assert_eq!(after(60_000, ALL).await, 0, "later all are gone");
}

/// A run of expired messages of any length hides no message after it.
async fn a_long_run_of_expired_messages_hides_nothing(mut owner: Owner) {
    let messages = (1..=1000).map(|label| {
        let plain = Message::clone(&Owner::message(subscription(1, 1), label));
        Arc::new(living(if label < 998 { 1 } else { 60 }, plain))
    });
    let changes: Vec<_> = messages.map(|it| owner.stores(&it)).collect();
    owner.tell(&changes).await;
    let later = NOW.plus(Duration::from_secs(30));
    let found = page(&owner, 1, 0, later, PageLimit { messages: 2, ..ALL }).await;
    assert_eq!(found.iter().map(|it| it.sequence.0).collect::<Vec<_>>(), [998, 999]);
}

/// A run of less urgent messages of any length hides no message after it, and pages lead through all of them.
async fn a_long_run_of_less_urgent_messages_hides_nothing(mut owner: Owner) {
    let urgency = |label| match label {
        ..2000 => Urgency::Low,
        2000..2003 => Urgency::High,
        _ => Urgency::Normal,
    };
    let messages = (1..=2005).map(|label| {
        let plain = Message::clone(&Owner::message(subscription(1, 1), label));
        Arc::new(urgent(urgency(label), plain))
    });
    let changes: Vec<_> = messages.map(|it| owner.stores(&it)).collect();
    owner.tell(&changes).await;
    let in_order: Vec<_> = (2000..2003).chain(2003..=2005).chain(1..2000).collect();
    assert_eq!(all_from(&owner, PageStart::FIRST).await, in_order);
    let only = PageStart { min_urgency: Urgency::Normal, ..PageStart::FIRST };
    assert_eq!(all_from(&owner, only).await, in_order[..6]);
}

/// Sequences of all messages from a place on, page by page.
async fn all_from(owner: &Owner, mut start: PageStart) -> Vec<u64> {
    let mut seen = Vec::new();
    loop {
        let read =
            owner.view.page(owner.barrier, user_agent(1), start, NOW, PageLimit { messages: 90, ..ALL });
        let page = read.await.expect("page answers").messages;
        let Some(last) = page.last() else { return seen };
        start.after[usize::from(last.urgency.level())] = last.sequence;
        // Those above have all been read.
        for (urgency, _) in start.places().take_while(|(urgency, _)| *urgency > last.urgency) {
            start.after[usize::from(urgency.level())] = Sequence(2005);
        }
        seen.extend(page.iter().map(|it| it.sequence.0));
    }
}
