//! The consumer group over a real Kafka: committed offsets, lag, and members and shares that are dropped.

use pushgrid_store::{Assignment, Assignments, Commit, ErrorKind};
use pushgrid_types::Sequence;

use crate::support::{append, event, gained, lost, place, read, within};

fn commit(next: u64, note: &str) -> Commit {
    Commit { next: Sequence(next), note: note.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_owner_finds_what_was_committed_and_gets_the_rest_again() {
    let place = place(1).await;
    let log = place.log();
    let mut sent = Vec::new();
    for _ in 0..10 {
        sent.push(append(&log, 1).await);
    }
    let mut first = place.join();
    let mut share = gained(&mut first, 1).await.remove(0);
    assert_eq!(share.offsets.committed().await.unwrap(), None);
    share.reader.seek(Sequence(1)).await.unwrap();
    assert_eq!(read(&mut share, 10).await, sent);
    let longest = "x".repeat(Commit::MAX_NOTE);
    within(share.offsets.commit(commit(3, &longest))).await.unwrap();
    assert_eq!(share.offsets.committed().await.unwrap(), Some(commit(3, &longest)));
    within(share.offsets.commit(commit(6, "five are done"))).await.unwrap();
    first.leave();
    let (_, done) = lost(&mut first).await;
    drop(done);
    assert!(event(&mut first).await.is_none());

    let mut second = place.join();
    let mut share = gained(&mut second, 1).await.remove(0);
    assert_eq!(share.offsets.committed().await.unwrap(), Some(commit(6, "five are done")));
    share.reader.seek(Sequence(6)).await.unwrap();
    assert_eq!(read(&mut share, 5).await, sent[5..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_that_is_too_long_is_refused() {
    let place = place(1).await;
    let mut member = place.join();
    let share = gained(&mut member, 1).await.remove(0);
    let note = "x".repeat(Commit::MAX_NOTE + 1);
    assert_eq!(share.offsets.commit(commit(1, &note)).await.unwrap_err().kind, ErrorKind::Corrupt);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_dropped_leaves_its_partitions_to_the_others_at_once() {
    let place = place(2).await;
    let mut first = place.join();
    let shares = gained(&mut first, 2).await;
    let begun = std::time::Instant::now();
    drop(first);
    let mut second = place.join();
    assert_eq!(gained(&mut second, 2).await.len(), 2);
    assert!(begun.elapsed() < place.config.session_timeout, "only after {:?}", begun.elapsed());
    for share in shares {
        assert_eq!(within(share.offsets.commit(commit(1, ""))).await.unwrap_err().kind, ErrorKind::Closed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_its_owner_drops_is_handed_out_again() {
    let place = place(1).await;
    let log = place.log();
    let sent = append(&log, 1).await;
    let mut member = place.join();
    let mut share = gained(&mut member, 1).await.remove(0);
    share.reader.seek(Sequence(1)).await.unwrap();
    assert_eq!(read(&mut share, 1).await, std::slice::from_ref(&sent));
    within(share.offsets.commit(commit(1, "nothing is done"))).await.unwrap();
    let offsets = share.offsets;
    drop(share.reader);
    let (_, done) = lost(&mut member).await;
    drop(done);
    let mut again = gained(&mut member, 1).await.remove(0);
    assert_eq!(offsets.commit(commit(2, "")).await.unwrap_err().kind, ErrorKind::Closed);
    assert_eq!(again.offsets.committed().await.unwrap(), Some(commit(1, "nothing is done")));
    again.reader.seek(Sequence(1)).await.unwrap();
    assert_eq!(read(&mut again, 1).await, [sent]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_a_partition_has_joined_all_the_same() {
    let place = place(1).await;
    let mut first = place.join();
    let _share = gained(&mut first, 1).await;
    let mut second = place.join();
    assert!(within(second.watch().joined()).await);
    second.leave();
    assert!(event(&mut second).await.is_none());
    assert_eq!(first.partitions(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_behind_a_partition_is_can_be_seen() {
    let place = place(1).await;
    let log = place.log();
    for _ in 0..9 {
        append(&log, 1).await;
    }
    let mut member = place.join();
    let watch = member.watch();
    let mut share = gained(&mut member, 1).await.remove(0);
    assert_eq!(watch.lags(), []);
    share.reader.seek(Sequence(1)).await.unwrap();
    read(&mut share, 2).await;
    let seen = within(async {
        loop {
            match watch.lags().first() {
                Some(lag) if lag.end > Sequence(1) => break *lag,
                _ => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    });
    let lag = seen.await;
    assert_eq!((lag.end, lag.messages), (Sequence(10), 7));
    drop(member);
    assert!(matches!(share.reader.next(100).await, Ok(rest) if rest.len() <= 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_read_is_not_fetched_without_end() {
    let place = place(1).await;
    let log = place.log();
    let appends = (0..6000).map(|_| append(&log, 1));
    let sent = within(futures_util::future::join_all(appends)).await;
    let mut member = place.join();
    let mut share = gained(&mut member, 1).await.remove(0);
    share.reader.seek(Sequence(1)).await.unwrap();
    // More than is fetched ahead: whoever stops when it is full has to begin again when it is not.
    let got = read(&mut share, 6000).await;
    assert!(got == sent, "not what was sent");
    match tokio::time::timeout(std::time::Duration::from_millis(100), member.next()).await {
        Err(_) => {}
        Ok(Ok(Some(Assignment::Gained(_) | Assignment::Lost { .. }) | None) | Err(_)) => {
            panic!("it should have stayed")
        }
    }
}
