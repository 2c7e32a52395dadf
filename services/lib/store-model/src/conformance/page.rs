//! Checks of [`pushgrid_store::Mailbox::page`]: order, limits, expiry.

use std::sync::Arc;
use std::time::Duration;

use pushgrid_types::{Outcome, Sequence, Urgency};

use super::support::{ALL, living, message, message_id, sized, subscription, urgent, user_agent};
use super::{Parts, checks};
use pushgrid_store::{PageLimit, PageStart, Stored};

checks!(
    a_page_is_in_the_order_of_the_sequences,
    pages_after_a_cursor_lead_through_everything,
    a_page_ends_when_its_octets_are_reached,
    what_is_expired_is_in_no_page,
    a_page_is_of_one_user_agent,
    a_message_stored_late_is_found_from_a_lower_cursor,
    the_most_urgent_come_first_and_each_urgency_from_its_own_place,
    a_stored_message_is_found_by_its_id_until_it_ends,
);

/// Messages are in the order of the sequences, whatever the order of storing.
pub async fn a_page_is_in_the_order_of_the_sequences(parts: Parts) {
    let (to, also) = (subscription(1, 1), subscription(1, 2));
    parts.subscribe(to).await;
    parts.subscribe(also).await;
    let mut accepted = Vec::new();
    for label in 0..6 {
        let to = if label % 2 == 0 { to } else { also };
        accepted.push(parts.accept(message(to, label, parts.now)).await);
    }
    for at in [4, 0, 5, 2, 1, 3] {
        assert_eq!(parts.store(&accepted[at]).await, Stored::Kept);
    }
    let page: Vec<_> = parts.waiting(1).await.into_iter().map(Arc::new).collect();
    assert_eq!(page, accepted, "a page is in the order of the sequences, over all channels");
    parts.assert_account(6, &[]).await;
}

/// Pages from cursor to cursor hold every message once; the page after the last is empty.
pub async fn pages_after_a_cursor_lead_through_everything(parts: Parts) {
    let to = subscription(1, 1);
    parts.subscribe(to).await;
    let stored = parts.keep(to, 0..23).await;
    let limit = PageLimit { messages: 5, ..ALL };
    let mut seen = Vec::new();
    let mut after = Sequence(0);
    loop {
        let page = parts.page(1, after, limit).await;
        assert!(page.len() <= 5, "{} messages in a page of five", page.len());
        let Some(last) = page.last() else { break };
        after = last.sequence;
        seen.extend(page.into_iter().map(Arc::new));
    }
    assert_eq!(seen, stored, "the pages together hold every message once");
    assert_eq!(parts.page(1, after, ALL).await, [], "there is nothing after the last");
    assert_eq!(parts.page(1, Sequence(u64::MAX), ALL).await, [], "nor after the end of all sequences");
    parts.assert_account(23, &[]).await;
}

/// A page ends once the bodies reach the limit, but always has the first message, however large.
pub async fn a_page_ends_when_its_octets_are_reached(parts: Parts) {
    let to = subscription(1, 1);
    parts.subscribe(to).await;
    for (label, octets) in [(1, 1000), (2, 10), (3, 10), (4, 10)] {
        let accepted = parts.accept(sized(octets, message(to, label, parts.now))).await;
        assert_eq!(parts.store(&accepted).await, Stored::Kept);
    }
    let labels_within =
        async |after, octets| parts.page(1, after, PageLimit { messages: 10, octets }).await.len();
    let none = Sequence(0);
    assert_eq!(labels_within(none, 1).await, 1, "the first comes though it is larger than the limit");
    assert_eq!(labels_within(none, 1000).await, 1, "the limit is reached with the first");
    assert_eq!(labels_within(none, 1001).await, 2, "one octet was left, so one more came");
    assert_eq!(labels_within(none, 1021).await, 4, "and so on");
    let first = parts.page(1, none, ALL).await[0].sequence;
    assert_eq!(labels_within(first, 20).await, 2, "octets count from the cursor");
    assert_eq!(labels_within(first, 0).await, 1, "the first always comes");
    parts.assert_account(4, &[]).await;
}

/// A message is in no page from its expiry on (promise P4), ended or not, and takes no room.
pub async fn what_is_expired_is_in_no_page(parts: Parts) {
    let to = subscription(1, 1);
    parts.subscribe(to).await;
    for (label, seconds) in [(1, 10), (2, 60), (3, 10), (4, 60)] {
        let accepted = parts.accept(living(seconds, message(to, label, parts.now))).await;
        assert_eq!(parts.store(&accepted).await, Stored::Kept);
    }
    let after = async |millis: u64, limit| {
        let now = parts.now.plus(Duration::from_millis(millis));
        let page =
            parts.mailbox.page(user_agent(1), PageStart::FIRST, now, limit).await.expect("page answers");
        page.messages.len()
    };
    assert_eq!(after(9_999, ALL).await, 4, "a millisecond before the expiry all are there");
    assert_eq!(after(10_000, ALL).await, 2, "at the expiry the expired ones are gone");
    assert_eq!(after(10_000, PageLimit { messages: 2, ..ALL }).await, 2, "they take no room in the page");
    assert_eq!(after(60_000, ALL).await, 0, "later all are gone");
    parts.assert_account(4, &[]).await;
}

/// A page holds messages of one user agent only.
pub async fn a_page_is_of_one_user_agent(parts: Parts) {
    parts.subscribe(subscription(1, 1)).await;
    parts.subscribe(subscription(2, 1)).await;
    parts.keep(subscription(1, 1), [1, 2]).await;
    parts.keep(subscription(2, 1), [3]).await;
    parts.assert_waiting(1, &[1, 2], "its own").await;
    parts.assert_waiting(2, &[3], "its own").await;
    parts.assert_waiting(3, &[], "nothing for the unknown").await;
    parts.assert_account(3, &[]).await;
}

/// A message stored late, below a cursor, is found from a lower cursor.
pub async fn a_message_stored_late_is_found_from_a_lower_cursor(parts: Parts) {
    let to = subscription(1, 1);
    parts.subscribe(to).await;
    let accepted = parts.accept_all(to, 1..=3).await;
    assert_eq!(parts.store(&accepted[0]).await, Stored::Kept);
    assert_eq!(parts.store(&accepted[2]).await, Stored::Kept);
    let cursor = parts.waiting(1).await.last().expect("two messages wait").sequence;
    assert_eq!(parts.store(&accepted[1]).await, Stored::Kept);
    assert_eq!(parts.page(1, cursor, ALL).await, [], "it is not after the cursor");
    let from_below: Vec<_> = parts.page(1, accepted[0].sequence, ALL).await;
    let ids: Vec<_> = from_below.iter().map(|it| it.id).collect();
    assert_eq!(ids, [accepted[1].id, accepted[2].id], "it stands in its place");
    parts.assert_account(3, &[]).await;
}

/// A page begins with the most urgent messages; each urgency is read from a place of its own, and none below the least
/// is.
pub async fn the_most_urgent_come_first_and_each_urgency_from_its_own_place(parts: Parts) {
    use Urgency::{High, Low, Normal, VeryLow};
    let to = subscription(1, 1);
    parts.subscribe(to).await;
    let mut sequences = Vec::new();
    for (label, urgency) in (0..).zip([Low, Normal, High, VeryLow, Normal, High, Low]) {
        let accepted = parts.accept(urgent(urgency, message(to, label, parts.now))).await;
        assert_eq!(parts.store(&accepted).await, Stored::Kept);
        sequences.push(accepted.sequence);
    }
    let read = async |start, limit| {
        let page = parts.page_from(1, start, limit).await;
        page.into_iter().map(|message| message.id).collect::<Vec<_>>()
    };
    let ids = |labels: &[u64]| labels.iter().map(|label| message_id(*label)).collect::<Vec<_>>();
    assert_eq!(
        read(PageStart::FIRST, ALL).await,
        ids(&[2, 5, 1, 4, 0, 6, 3]),
        "by urgency, then by sequence"
    );
    for (least, expected) in [(Low, &[2, 5, 1, 4, 0, 6][..]), (Normal, &[2, 5, 1, 4]), (High, &[2, 5])] {
        let start = PageStart { min_urgency: least, ..PageStart::FIRST };
        assert_eq!(read(start, ALL).await, ids(expected), "none below {least:?}");
    }
    let mut start = PageStart::FIRST;
    start.after[usize::from(High.level())] = sequences[2];
    start.after[usize::from(Low.level())] = sequences[6];
    assert_eq!(read(start, ALL).await, ids(&[5, 1, 4, 3]), "each from its own place");
    let three = PageLimit { messages: 3, ..ALL };
    assert_eq!(
        read(PageStart::FIRST, three).await,
        ids(&[2, 5, 1]),
        "a page ends in the midst of an urgency"
    );
    assert_eq!(read(PageStart::of(Normal, sequences[1]), ALL).await, ids(&[4]), "one urgency alone");
    parts.assert_account(7, &[]).await;
}

/// A message is found under its user agent and its id alone, whole, from the storing to the end.
pub async fn a_stored_message_is_found_by_its_id_until_it_ends(parts: Parts) {
    let to = subscription(1, 1);
    parts.subscribe(to).await;
    parts.subscribe(subscription(2, 1)).await;
    let logged = parts.accept(message(to, 9, parts.now)).await;
    let find = async |of, id| parts.mailbox.message(user_agent(of), id).await.expect("message answers");
    assert_eq!(find(1, logged.id).await, None, "in the log it is not stored");
    let stored = parts.keep(to, 0..3).await;
    for message in &stored {
        assert_eq!(find(1, message.id).await.as_ref(), Some(&**message));
        assert_eq!(find(2, message.id).await, None, "it is another user agent's");
    }
    let delivered = vec![(stored[1].id, Outcome::Delivered)];
    let ended = parts.mailbox.settle(user_agent(1), delivered).await;
    assert_eq!(ended.expect("settle answers"), [true]);
    assert_eq!(find(1, stored[1].id).await, None, "it has ended");
    assert_eq!(find(1, stored[2].id).await.as_ref(), Some(&*stored[2]));
    assert_eq!(find(3, stored[2].id).await, None, "nobody knows this one");
}
