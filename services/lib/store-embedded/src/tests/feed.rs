//! Handing out to a consumer that keeps up, and to one that does not.

use pushgrid_store::{End, EventLog, LogConsumer, Mailbox};
use pushgrid_types::{Outcome, Sequence};

use super::{Home, message, subscription};
use crate::{ConsumerTaken, EmbeddedConfig};

fn small_ring() -> Home {
    Home::with(|config| EmbeddedConfig { ring_messages: 8, ..config })
}

#[tokio::test]
async fn a_consumer_that_lags_beyond_the_ring_misses_nothing() {
    let home = small_ring();
    let mut consumer = home.store.consumer().unwrap();
    let mut handed_out = Vec::new();
    for label in 0..300 {
        home.append(message(subscription(1), label)).await;
        // It takes one for three that come, now from memory and now from the file.
        if label % 3 == 0 {
            handed_out.extend(consumer.next(1).await.unwrap());
        }
    }
    while handed_out.len() < 300 {
        handed_out.extend(consumer.next(7).await.unwrap());
    }
    let sequences: Vec<_> = handed_out.iter().map(|message| message.sequence).collect();
    assert_eq!(sequences, (1..=300).map(Sequence).collect::<Vec<_>>());
    assert!(handed_out.iter().all(|message| message.content.body.len() == 1024));
}

#[tokio::test]
async fn a_ring_is_bounded_in_octets_too() {
    let home = Home::with(|config| EmbeddedConfig { ring_octets: 3000, ..config });
    let mut consumer = home.store.consumer().unwrap();
    for label in 0..20 {
        home.append(message(subscription(1), label)).await;
    }
    let mut count = 0;
    while count < 20 {
        count += consumer.next(100).await.unwrap().len();
    }
    assert_eq!(count, 20);
}

#[tokio::test]
async fn what_was_stored_while_the_consumer_lagged_is_not_handed_out() {
    let home = small_ring();
    home.subscribe(subscription(1)).await;
    let mut accepted = Vec::new();
    for label in 0..30 {
        accepted.push(home.append(message(subscription(1), label)).await);
    }
    home.store.store(accepted[..10].to_vec()).await.unwrap();
    let mut consumer = home.store.consumer().unwrap();
    let mut handed_out = Vec::new();
    while handed_out.len() < 20 {
        handed_out.extend(consumer.next(6).await.unwrap());
    }
    assert_eq!(handed_out, accepted[10..]);
}

#[tokio::test]
async fn there_is_one_consumer_and_the_next_one_begins_anew() {
    let home = small_ring();
    let mut consumer = home.store.consumer().unwrap();
    assert_eq!(home.store.consumer().unwrap_err(), ConsumerTaken);
    let accepted = home.append(message(subscription(1), 1)).await;
    let ended = home.append(message(subscription(1), 2)).await;
    assert_eq!(consumer.next(5).await.unwrap().len(), 2);
    consumer.settle(vec![End::of(&ended, Outcome::Delivered)]);
    home.store.flush().await.unwrap();
    drop(consumer);
    let mut consumer = home.store.consumer().unwrap();
    assert_eq!(consumer.next(5).await.unwrap(), [accepted], "what was not settled comes again");
}

#[tokio::test]
async fn a_closed_log_hands_out_all_it_has_and_then_says_so() {
    let home = small_ring();
    let mut consumer = home.store.consumer().unwrap();
    for label in 0..30 {
        home.append(message(subscription(1), label)).await;
    }
    home.store.close().await;
    let mut count = 0;
    loop {
        let batch = consumer.next(7).await.unwrap();
        if batch.is_empty() {
            break;
        }
        count += batch.len();
    }
    assert_eq!(count, 30, "from the file and from memory");
}

#[tokio::test]
async fn closing_wakes_a_consumer_that_waits() {
    let home = small_ring();
    let mut consumer = home.store.consumer().unwrap();
    let waiting = tokio::spawn(async move { consumer.next(5).await });
    tokio::task::yield_now().await;
    home.store.close().await;
    assert!(waiting.await.unwrap().unwrap().is_empty());
    assert!(home.store.append(message(subscription(1), 1)).await.is_err());
}
