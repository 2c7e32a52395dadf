//! Records that come after their time, and views that go back behind them.

use pushgrid_store::{
    Change, Changelog, Mailbox, ReadBarrier, StoredMessage, Subscription, Subscriptions, View,
};
use pushgrid_store_model::memory::MemoryView;
use pushgrid_types::{ChannelId, LeaderEpoch, Message, Outcome, Position, SubscriptionRef};

use super::bench::{Bench, PARTITION, SUBSCRIPTION, TO, waiting};

#[tokio::test(start_paused = true)]
async fn a_view_that_is_older_than_the_claims_that_are_remembered_is_caught_up_rightly() {
    let bench = Bench::new();
    let owned = bench.subscribed().await;
    let first = owned.leader_epoch;
    drop(owned);
    drop(bench.open().await);
    // It comes after the second claim, so it does not count.
    bench.changelog.append(PARTITION, first, vec![Change::Unsubscribed(TO)]).await.unwrap();
    let second = Subscription {
        id: SubscriptionRef { channel: ChannelId::from_octets([9; 16]), ..TO },
        ..SUBSCRIPTION
    };
    let owned = bench.open().await;
    assert_eq!(owned.store.put(None, second.clone()).await.unwrap(), Some(second.clone()));
    for _ in 0..20 {
        bench.open().await.store.close().await.unwrap();
    }
    // The view goes back to where only the first subscription was known, before the record that does not count.
    let behind = MemoryView::new();
    let barrier = ReadBarrier { partition: PARTITION, leader_epoch: first, position: Position(0) };
    behind.begin(PARTITION, first).await.unwrap();
    let changes = [Change::Claimed, Change::Subscribed(SUBSCRIPTION)];
    behind.apply(barrier, &changes, Position(3)).await.unwrap();
    let bench = Bench { view: behind, ..bench };
    let owned = bench.open().await;
    assert_eq!(owned.store.alive(&[TO, second.id]).await.unwrap(), [true, true]);
}

/// Leader epochs under which `message` was stored, once for each record.
fn stores(bench: &Bench, message: &Message) -> Vec<LeaderEpoch> {
    let history = bench.changelog.history(PARTITION);
    let stores = history.iter().filter_map(|entry| match &entry.change {
        Change::Stored { message: stored, since } if stored.id == message.id => Some(*since),
        _ => None,
    });
    stores.collect()
}

#[tokio::test(start_paused = true)]
async fn a_late_record_of_a_fenced_owner_undoes_nothing_when_it_is_compacted() {
    let bench = Bench::new();
    let mut first = bench.subscribed().await;
    let kept = bench.keep(&mut first, 1).await;
    first.store.close().await.unwrap();
    let second = bench.open().await;
    let ended = StoredMessage::of(&kept, first.leader_epoch).ended(Outcome::Delivered);
    let late = vec![ended, Change::Unsubscribed(TO)];
    bench.changelog.append(PARTITION, first.leader_epoch, late).await.unwrap();
    assert_eq!(second.store.put(Some(TO), SUBSCRIPTION).await.unwrap(), Some(SUBSCRIPTION));
    assert_eq!(
        stores(&bench, &kept),
        [first.leader_epoch, second.leader_epoch],
        "written again, by the right of the owner"
    );
    second.store.close().await.unwrap();
    let end = Position(bench.changelog.history(PARTITION).len() as u64);
    bench.changelog.compact(PARTITION, end, end);
    bench.view.lose_everything();
    let third = bench.open().await;
    assert_eq!(waiting(&third).await, Ok(vec![kept.sequence]));
    assert_eq!(third.store.alive(&[TO]).await.unwrap(), [true]);
    let account = third.ledger.snapshot();
    assert!(account.adds_up() && account.pending == 1, "{account:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_written_again_is_not_written_a_third_time() {
    let bench = Bench::new();
    drop(bench.open().await);
    let mut second = bench.subscribed().await;
    let kept = bench.keep(&mut second, 1).await;
    let ended = StoredMessage::of(&kept, second.leader_epoch).ended(Outcome::Delivered);
    bench.changelog.append(PARTITION, LeaderEpoch(second.leader_epoch.0 - 1), vec![ended]).await.unwrap();
    let id = SubscriptionRef { channel: ChannelId::from_octets([9; 16]), ..TO };
    let another = Subscription { id, ..SUBSCRIPTION };
    assert_eq!(second.store.put(None, another.clone()).await.unwrap(), Some(another));
    second.store.abandon().await;
    // Nothing was committed since, so the next owner reads all of that again.
    let third = bench.open().await;
    assert_eq!(stores(&bench, &kept), [second.leader_epoch, second.leader_epoch]);
    assert_eq!(third.store.settle(TO.user_agent, vec![(kept.id, Outcome::Expired)]).await.unwrap(), [true]);
    third.store.close().await.unwrap();
    let end = Position(bench.changelog.history(PARTITION).len() as u64);
    bench.changelog.compact(PARTITION, end, end);
    bench.view.lose_everything();
    assert_eq!(waiting(&bench.open().await).await, Ok(Vec::new()), "it does not come back");
}
