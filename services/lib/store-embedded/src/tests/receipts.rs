//! Receipts that the store makes with the ends that they tell of, for a store without a subscriber of ends.

use pushgrid_store::{End, LogConsumer, Mailbox};
use pushgrid_types::{Message, Outcome, Receipt, ReceiptRequest, Ttl};

use super::{Home, message, subscription};
use crate::write::{SettleLogged, Work};
use crate::{Embedded, EmbeddedConfig};

fn asking(label: u64) -> Message {
    let asked = ReceiptRequest { to: subscription(9), ttl: Ttl::from_secs(60) };
    Message { receipt: Some(Box::new(asked)), ..message(subscription(1), label) }
}

async fn take(home: &Home, count: usize) -> Vec<Receipt> {
    let mut consumer = home.store.consumer().unwrap();
    let mut found = Vec::new();
    while found.len() < count {
        found.extend(consumer.next(100).await.unwrap().iter().filter_map(|it| Receipt::of(it)));
    }
    found
}

/// The wish is found again in the file, and nothing else asks for it.
#[tokio::test]
async fn a_stored_message_gives_its_receipt_in_a_later_life() {
    let home = Home::new();
    let to = subscription(1);
    home.subscribe(to).await;
    let (plain, asking) = (home.append(message(to, 1)).await, home.append(asking(2)).await);
    home.store.store(vec![plain.clone(), asking.clone()]).await.unwrap();
    let directory = home.directory;
    home.store.close().await;
    let store = Embedded::open(&EmbeddedConfig::at(directory.path())).unwrap();
    let home = Home { directory, store };
    let ended = vec![(plain.id, Outcome::Delivered), (asking.id, Outcome::Delivered)];
    assert_eq!(home.store.settle(to.user_agent, ended).await.unwrap(), [true, true]);
    let receipts = take(&home, 1).await;
    assert_eq!(receipts.iter().map(|it| it.message.id).collect::<Vec<_>>(), [asking.id]);
    let account = home.store.ledger().snapshot();
    assert_eq!((account.accepted, account.pending), (3, 1), "a receipt is on the books like any message");
}

/// An acknowledgement alone may wait for the disk; one that gives a receipt may not. A damaged log is told from a torn one
/// by that: commits that have accepted something are synced.
#[test]
fn an_acknowledgement_with_a_receipt_is_durable() {
    let end = |asks: bool, outcome| {
        let message = if asks { asking(1) } else { message(subscription(1), 1) };
        SettleLogged(vec![End::of(&message, outcome)])
    };
    assert!(end(true, Outcome::Delivered).is_durable());
    assert!(!end(true, Outcome::Cancelled).is_durable(), "without a receipt");
    assert!(!end(false, Outcome::Delivered).is_durable());
    assert!(end(true, Outcome::Delivered).is_lazy(), "others may go with it, all the same");
}
