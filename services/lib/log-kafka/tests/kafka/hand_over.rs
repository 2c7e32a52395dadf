//! Two routers, and the partitions that go from one to the other.

use std::time::{Duration, Instant};

use pushgrid_store::{Assignments, Commit, ErrorKind};
use pushgrid_types::{Partition, Sequence};

use crate::support::{append, event, gained, lost, place, read, subscription, within};

fn commit(next: u64, note: &str) -> Commit {
    Commit { next: Sequence(next), note: note.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_gets_its_share_when_the_owner_is_done_and_finds_its_last_commit() {
    let place = place(2).await;
    let log = place.log();
    let mut old = place.join();
    let mut shares = gained(&mut old, 2).await;
    for share in &mut shares {
        share.reader.seek(Sequence(1)).await.unwrap();
    }
    let mut new = place.join();
    let (partition, done) = lost(&mut old).await;
    let given = shares.iter().position(|share| share.partition == partition).unwrap();
    let mut given = shares.remove(given);
    // It waits for as long as the owner wants, within its bound, and the owner's commits count.
    assert!(tokio::time::timeout(Duration::from_secs(1), new.next()).await.is_err(), "it did not wait");
    assert_eq!(within(given.reader.next(1)).await.unwrap(), []);
    within(given.offsets.commit(commit(1, "at the last moment"))).await.unwrap();
    done.send(()).unwrap();
    let got = gained(&mut new, 1).await.remove(0);
    assert_eq!(got.partition, partition);
    assert_eq!(got.offsets.committed().await.unwrap(), Some(commit(1, "at the last moment")));
    assert_eq!(within(given.offsets.commit(commit(1, ""))).await.unwrap_err().kind, ErrorKind::Closed);

    // What stayed goes on as if nothing had happened.
    let of = |label| Partition::of(subscription(label).user_agent, 2);
    let label = (0..=u8::MAX).find(|label| of(*label) == shares[0].partition);
    let sent = append(&log, label.unwrap()).await;
    assert_eq!(read(&mut shares[0], 1).await, [sent]);
    within(shares[0].offsets.commit(commit(1, "here too"))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_leaves_hands_everything_over_without_a_time_out() {
    let place = place(3).await;
    let mut old = place.join();
    let shares = gained(&mut old, 3).await;
    let mut new = place.join();
    assert!(within(new.watch().joined()).await);
    let (_, done) = lost(&mut old).await;
    drop(done);
    let mut had = gained(&mut new, 1).await;
    let begun = Instant::now();
    old.leave();
    for _ in 0..2 {
        let (partition, done) = lost(&mut old).await;
        let share = shares.iter().find(|share| share.partition == partition).unwrap();
        within(share.offsets.commit(commit(1, "goodbye"))).await.unwrap();
        drop(done);
    }
    assert!(event(&mut old).await.is_none());
    had.extend(gained(&mut new, 2).await);
    assert!(begun.elapsed() < place.config.session_timeout, "only after {:?}", begun.elapsed());
    let notes = futures_util::future::join_all(had.iter().map(|share| share.offsets.committed())).await;
    assert_eq!(notes.iter().filter(|note| note.as_ref().unwrap().is_some()).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_never_answers_loses_the_partition_all_the_same() {
    let place = place(1).await;
    let mut old = place.join();
    let mut share = gained(&mut old, 1).await.remove(0);
    share.reader.seek(Sequence(1)).await.unwrap();
    old.leave();
    let (_, _never) = lost(&mut old).await;
    let begun = Instant::now();
    let mut new = place.join();
    let got = gained(&mut new, 1).await.remove(0);
    assert!(begun.elapsed() > Duration::from_secs(4), "already after {:?}", begun.elapsed());
    assert_eq!(within(share.offsets.commit(commit(1, ""))).await.unwrap_err().kind, ErrorKind::Closed);
    within(got.offsets.commit(commit(1, "mine"))).await.unwrap();
    assert!(event(&mut old).await.is_none());
}
