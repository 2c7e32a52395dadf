//! A log that has forgotten messages before they were read.

use pushgrid_store::{End, Ledger, LedgerSnapshot};
use pushgrid_types::{DropReason, Outcome, Sequence};

use super::bench::Bench;

const LOST: Outcome = Outcome::Dropped(DropReason::LostFromLog);

fn account(ledger: &Ledger) -> LedgerSnapshot {
    let account = ledger.snapshot();
    assert!(account.adds_up(), "{account:?}");
    account
}

#[tokio::test(start_paused = true)]
async fn messages_that_the_log_has_lost_are_dropped_once_through_every_take_over() {
    let bench = Bench::new();
    let mut owned = bench.subscribed().await;
    bench.keep(&mut owned, 1).await;
    let open = bench.accept(2).await;
    assert_eq!(owned.consumer.next(1).await.unwrap(), [open]);
    owned.store.close().await.unwrap();

    // While nobody owns it, a message that was read and three that were not are lost.
    for label in 3..=6 {
        bench.accept(label).await;
    }
    bench.log.forget(Sequence(6));
    for round in 0..3 {
        let mut owned = bench.open().await;
        let next = owned.consumer.next(1).await.unwrap();
        assert_eq!(next.iter().map(|it| it.sequence).collect::<Vec<_>>(), [Sequence(6)], "round {round}");
        let account = account(&owned.ledger);
        assert_eq!(
            (account.accepted, account.pending, account.ended[LOST.index()]),
            (6, 2, 4),
            "round {round}"
        );
        if round < 2 {
            owned.store.close().await.unwrap();
        } else {
            owned.consumer.settle(vec![End::of(&next[0], Outcome::Delivered)]);
            owned.store.close().await.unwrap();
        }
    }
    let owned = bench.open().await;
    let account = account(&owned.ledger);
    assert_eq!((account.accepted, account.pending, account.ended[LOST.index()]), (6, 1, 4));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_fails_before_it_commits_counts_nothing_twice() {
    let bench = Bench::new();
    let owned = bench.subscribed().await;
    owned.store.close().await.unwrap();
    for label in 1..=5 {
        bench.accept(label).await;
    }
    bench.log.forget(Sequence(4));
    for _ in 0..3 {
        // Dropped: it commits nothing.
        let mut owned = bench.open().await;
        owned.consumer.next(1).await.unwrap();
        let account = account(&owned.ledger);
        assert_eq!((account.accepted, account.ended[LOST.index()]), (5, 3));
    }
}
