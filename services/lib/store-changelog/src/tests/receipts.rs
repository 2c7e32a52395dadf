//! Receipts come first: no end is durable, or counted, before its receipt is.

use std::sync::Arc;
use std::time::Duration;

use pushgrid_store::{End, EventLog, Mailbox};
use pushgrid_store_model::memory::MemoryPartitionLog;
use pushgrid_types::{ManualClock, Message, Outcome, Receipt, ReceiptRequest, Sequence, Ttl};
use tokio::time::timeout;

use super::bench::{Bench, NOW, PARTITION, TO, id, waiting};
use crate::{Deps, Receipts, TakenOver, take_over};

/// A partition whose receipts go to `log`.
async fn open(bench: &Bench, log: &MemoryPartitionLog) -> TakenOver {
    let receipts = Receipts { log: Arc::new(log.clone()), clock: Arc::new(ManualClock::at(NOW)) };
    take_over(Deps { receipts: Some(receipts), ..bench.deps().0 }).await.unwrap()
}

/// Two messages whose sender wants receipts, the first in the mailbox, the second in the log.
async fn two(bench: &Bench, owned: &mut TakenOver) -> [Arc<Message>; 2] {
    let asked = ReceiptRequest { to: TO, ttl: Ttl::from_secs(60) };
    let mut all = Vec::new();
    for label in [1, 2] {
        let plain = bench.accept(label).await;
        owned.consumer.next(1).await.unwrap();
        // One that asks, with another id.
        let asking = Message { id: id(label + 10), receipt: Some(Box::new(asked)), ..Message::clone(&plain) };
        let sequence = bench.log.append(asking.clone()).await.unwrap();
        owned.consumer.next(1).await.unwrap();
        all.push(Arc::new(Message { sequence, ..asking }));
        owned.consumer.settle(vec![End::of(&plain, Outcome::Delivered)]);
    }
    owned.store.store(vec![all[0].clone()]).await.unwrap();
    all.try_into().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_end_without_its_receipt_is_none_for_the_next_owner() {
    let (bench, log) = (Bench::new(), MemoryPartitionLog::new(PARTITION));
    drop(bench.subscribed().await);
    let mut owned = open(&bench, &log).await;
    let [stored, logged] = two(&bench, &mut owned).await;
    owned.store.flush().await.unwrap();
    log.set_down(true);
    owned.consumer.settle(vec![End::of(&logged, Outcome::Delivered)]);
    let store = owned.store.clone();
    let (of, ended) = (TO.user_agent, vec![(stored.id, Outcome::Delivered)]);
    let settling = tokio::spawn(async move { store.settle(of, ended).await });
    assert!(timeout(Duration::from_mins(10), owned.consumer.flush()).await.is_err(), "it waits for the log");
    assert!(!settling.is_finished());
    assert_eq!(owned.ledger.snapshot().ended_total(), 2, "the plain ones alone have ended");
    // The owner dies, and the log is back.
    drop(owned);
    log.set_down(false);
    let mut next = open(&bench, &log).await;
    assert_eq!(waiting(&next).await, Ok(vec![stored.sequence]), "it is stored");
    assert_eq!(next.consumer.next(5).await.unwrap(), std::slice::from_ref(&logged), "it comes again");
    assert_eq!(log.last(), Sequence(0), "no receipt was made");
    next.consumer.settle(vec![End::of(&logged, Outcome::Delivered), End::of(&logged, Outcome::Delivered)]);
    next.consumer.flush().await.unwrap();
    next.store.settle(of, vec![(stored.id, Outcome::Delivered)]).await.unwrap();
    assert_eq!((log.last(), waiting(&next).await), (Sequence(2), Ok(Vec::new())), "each has one receipt");
    assert_eq!(next.ledger.snapshot().ended_total(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_was_not_followed_by_its_end_is_made_again_with_the_same_id() {
    let (bench, log) = (Bench::new(), MemoryPartitionLog::new(PARTITION));
    drop(bench.subscribed().await);
    let mut owned = open(&bench, &log).await;
    let [stored, _] = two(&bench, &mut owned).await;
    bench.changelog.set_down(true);
    let store = owned.store.clone();
    let (of, ended) = (TO.user_agent, vec![(stored.id, Outcome::Delivered)]);
    let settling = tokio::spawn(async move { store.settle(of, ended).await });
    while log.last() < Sequence(1) {
        tokio::task::yield_now().await;
    }
    assert!(!settling.is_finished(), "the end is not in the changelog");
    drop(owned);
    bench.changelog.set_down(false);
    let next = open(&bench, &log).await;
    next.store.settle(of, vec![(stored.id, Outcome::Delivered)]).await.unwrap();
    let mut share = log.share();
    share.reader.seek(Sequence(1)).await.unwrap();
    let mut receipts = Vec::new();
    while receipts.len() < 2 {
        receipts.extend(share.reader.next(5).await.unwrap());
    }
    let ids: Vec<_> = receipts.iter().map(|receipt| receipt.id).collect();
    assert_eq!(ids, [ids[0]; 2], "the second is a repeat");
    assert!(receipts.iter().all(|it| Receipt::of(it).unwrap().message.id == stored.id));
}
