//! The changelog over a real Kafka: order, the end of a reading, holes, unreadable records, identity.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pushgrid_log_kafka::{KafkaChangelog, records, topics};
use pushgrid_store::{
    Change, Changelog, ChangelogRecord, Entry, ErrorKind, History, Reading, RecordKey, StoreError,
    StoredMessage, Subscription, Unreadable, UnreadableCause,
};
use pushgrid_types::{LeaderEpoch, Outcome, Partition, Position, Restriction, SystemRng, Timestamp};
use rdkafka::admin::AdminOptions;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer};

use crate::support::{Place, admin, client, message, place, subscription, within};

const P: Partition = Partition(0);

fn open(place: &Place) -> KafkaChangelog {
    KafkaChangelog::open(&place.config, &place.topics, Arc::new(SystemRng), &place.meter).unwrap()
}

async fn all(changelog: &KafkaChangelog, partition: Partition, from: u64) -> Result<Vec<Entry>, StoreError> {
    rest(&mut *changelog.read(partition, Position(from)).await?).await
}

async fn rest(reading: &mut dyn Reading) -> Result<Vec<Entry>, StoreError> {
    let entries = whole(reading).await?.into_iter().map(|record| match record {
        ChangelogRecord::Entry(entry) => entry,
        ChangelogRecord::Unreadable(unreadable) => panic!("{unreadable:?} was read"),
    });
    Ok(entries.collect())
}

async fn whole(reading: &mut dyn Reading) -> Result<Vec<ChangelogRecord>, StoreError> {
    let mut records = Vec::new();
    loop {
        let page = within(reading.next(7)).await?;
        assert!(page.len() <= 7);
        if page.is_empty() {
            return Ok(records);
        }
        records.extend(page);
    }
}

fn subscribed(label: u8) -> Change {
    let seen_at = Timestamp::from_secs(1_700_000_000);
    Change::Subscribed(Subscription {
        id: subscription(label),
        restriction: Restriction::Open,
        seen_at,
        is_noted: true,
        webhook: None,
    })
}

/// One of each kind.
fn changes() -> Vec<Change> {
    let message = message(4);
    let ended = StoredMessage::of(&message, LeaderEpoch(1)).ended(Outcome::Replaced);
    vec![
        subscribed(4),
        Change::Stored { message: Arc::new(message), since: LeaderEpoch(1) },
        ended,
        Change::Unsubscribed(subscription(4)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_read_in_its_order_with_its_leader_epochs() {
    let place = place(2).await;
    let changelog = open(&place);
    let first = changelog.claim(P).await.unwrap();
    assert_eq!(first, LeaderEpoch(1));
    let written = changes();
    assert_eq!(changelog.append(P, first, written.clone()).await.unwrap(), Position(5));
    let second = changelog.claim(P).await.unwrap();
    assert_eq!(second, LeaderEpoch(6));
    // The first one has been fenced, and does not know it yet.
    changelog.append(P, first, vec![subscribed(5)]).await.unwrap();
    changelog.append(P, second, vec![subscribed(6)]).await.unwrap();

    let entries = all(&changelog, P, 0).await.unwrap();
    let positions: Vec<u64> = entries.iter().map(|entry| entry.position.0).collect();
    assert_eq!(positions, (0..8).collect::<Vec<_>>());
    let by: Vec<u64> = entries.iter().map(|entry| entry.by.0).collect();
    assert_eq!(by, [1, 1, 1, 1, 1, 6, 1, 6]);
    let read: Vec<Change> = entries[1..5].iter().map(|entry| entry.change.clone()).collect();
    assert_eq!(read, written);
    assert_eq!((&entries[0].change, &entries[5].change), (&Change::Claimed, &Change::Claimed));
    assert_eq!(all(&changelog, P, 6).await.unwrap(), entries[6..]);
    assert_eq!(all(&changelog, Partition(1), 0).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_ends_where_the_changelog_ended_when_it_began() {
    let place = place(1).await;
    let changelog = open(&place);
    let leader_epoch = changelog.claim(P).await.unwrap();
    let end = changelog.append(P, leader_epoch, (0..20).map(subscribed).collect()).await.unwrap();
    assert_eq!(changelog.append(P, leader_epoch, Vec::new()).await.unwrap(), end);
    let mut reading = changelog.read(P, Position(0)).await.unwrap();
    changelog.append(P, leader_epoch, (20..40).map(subscribed).collect()).await.unwrap();
    assert_eq!(reading.end(), end);
    let count = rest(&mut *reading).await.unwrap().len();
    assert_eq!(count, 21);
    let mut beyond = changelog.read(P, Position(1000)).await.unwrap();
    assert_eq!(beyond.next(6).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn holes_in_the_changelog_are_passed_over_also_at_its_end() {
    let place = place(1).await;
    let changelog = open(&place);
    let topic = place.state();
    let config = place.config.clone();
    let leader_epoch = changelog.claim(P).await.unwrap();
    // Whoever ends a transaction leaves a mark that takes a place, and is never seen.
    let leave_a_hole = move || {
        let mut client = client(&config);
        client.set("transactional.id", &config.topic_prefix);
        let patience = Duration::from_secs(30);
        let begin = || {
            let producer: BaseProducer = client.create().unwrap();
            producer.init_transactions(patience).unwrap();
            producer
        };
        let producer = begin();
        producer.begin_transaction().unwrap();
        let claim = [b"c".as_slice(), &[7; 16]].concat();
        let record = BaseRecord::to(&topic).partition(0).key(&claim).payload(&[1_u8]);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.commit_transaction(patience).unwrap();
        // The mark is written a moment later; whoever begins after that has waited for it.
        begin();
    };
    tokio::task::spawn_blocking(leave_a_hole).await.unwrap();
    let positions = |entries: &[Entry]| entries.iter().map(|entry| entry.position.0).collect::<Vec<_>>();
    assert_eq!(positions(&all(&changelog, P, 0).await.unwrap()), [0, 1]);
    // What is written after a reading began, behind such a hole, is no part of it.
    let mut reading = changelog.read(P, Position(0)).await.unwrap();
    assert_eq!(reading.end(), Position(3));
    changelog.append(P, leader_epoch, vec![subscribed(1)]).await.unwrap();
    assert_eq!(positions(&rest(&mut *reading).await.unwrap()), [0, 1]);
    assert_eq!(positions(&all(&changelog, P, 2).await.unwrap()), [3]);
}

/// Writes raw records, each with a version if given.
async fn write(place: &Place, foreign: &[(&[u8], Option<&[u8]>)]) {
    let producer: FutureProducer = client(&place.config).create().unwrap();
    let topic = place.state();
    for (key, version) in foreign {
        let mut headers = OwnedHeaders::new();
        if let Some(version) = version {
            headers = headers.insert(Header { key: records::VERSION, value: Some(*version) });
        }
        let record = FutureRecord::to(&topic).partition(0).key(*key).payload("y").headers(headers);
        producer.send(record, Duration::from_secs(10)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_cannot_be_read_are_handed_out_as_such_and_counted_once() {
    use UnreadableCause::{Damaged, Newer};

    let place = place(1).await;
    let changelog = open(&place);
    let [subscription, message] =
        [subscribed(4), Change::Stored { message: Arc::new(message(4)), since: LeaderEpoch(1) }];
    let octets = |change| records::encode(change, LeaderEpoch(1), &SystemRng).key;
    let (subscription_key, message_key) = (octets(&subscription), octets(&message));
    write(&place, &[(b"x", None), (b"s and so on", None)]).await;
    let leader_epoch = changelog.claim(P).await.unwrap();
    assert_eq!(leader_epoch, LeaderEpoch(3));
    changelog.append(P, leader_epoch, vec![subscription.clone()]).await.unwrap();
    write(&place, &[(&subscription_key, None), (&message_key, Some(&[3])), (&message_key, Some(&[1]))]).await;
    changelog.append(P, leader_epoch, vec![subscription.clone()]).await.unwrap();

    let keys = [&subscription, &message].map(RecordKey::of);
    let unreadable = |position, key, cause| {
        let position = Position(position);
        ChangelogRecord::Unreadable(Unreadable { position, key, cause, is_tombstone: false })
    };
    let entry = |position, change: &Change| {
        let change = change.clone();
        ChangelogRecord::Entry(Entry { position: Position(position), by: leader_epoch, change })
    };
    for _ in 0..2 {
        let mut reading = changelog.read(P, Position(0)).await.unwrap();
        let all = [
            unreadable(0, None, Newer),
            unreadable(1, None, Damaged),
            entry(2, &Change::Claimed),
            entry(3, &subscription),
            unreadable(4, keys[0], Damaged),
            unreadable(5, keys[1], Newer),
            unreadable(6, keys[1], Damaged),
            entry(7, &subscription),
        ];
        assert_eq!(whole(&mut *reading).await.unwrap(), all);
        assert_eq!(place.passed_over("state"), [3, 2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changelog_keeps_its_identity_until_its_topic_is_made_anew() {
    let place = place(2).await;
    let changelog = open(&place);
    assert_eq!(changelog.history(P).await.unwrap_err().kind, ErrorKind::Unavailable, "nobody has claimed it");
    write(&place, &[(b"x", None)]).await;
    changelog.claim(P).await.unwrap();
    let history = changelog.history(P).await.unwrap();
    assert_ne!(history, History::default());
    let leader_epoch = changelog.claim(P).await.unwrap();
    changelog.append(P, leader_epoch, (0..20).map(subscribed).collect()).await.unwrap();
    assert_eq!(open(&place).history(P).await.unwrap(), history);
    changelog.claim(Partition(1)).await.unwrap();
    assert_ne!(changelog.history(Partition(1)).await.unwrap(), history);

    // Deleting takes the brokers a moment.
    let names = [place.accepted(), place.state()];
    let names = names.each_ref().map(String::as_str);
    admin(&place.config).delete_topics(&names, &AdminOptions::new()).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = topics::ensure(&place.config).await {
        assert!(Instant::now() < deadline, "{error}");
    }
    let anew = open(&place);
    within(async { while anew.claim(P).await.is_err() {} }).await;
    assert_ne!(anew.history(P).await.unwrap(), history);
}
