use std::sync::Arc;
use std::time::Duration;

use pushgrid_log_kafka::KafkaChangelog;
use pushgrid_store::{Change, Changelog, Entry, ErrorKind, Reading, StoreError, StoredMessage, Subscription};
use pushgrid_types::{Outcome, Partition, Position, SystemRng, Tenure, Timestamp};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::{Place, client, message, place, subscription, within};

const P: Partition = Partition(0);

fn open(place: &Place) -> KafkaChangelog {
    KafkaChangelog::open(&place.config, &place.topics, Arc::new(SystemRng)).unwrap()
}

async fn all(changelog: &KafkaChangelog, partition: Partition, from: u64) -> Result<Vec<Entry>, StoreError> {
    rest(&mut *changelog.read(partition, Position(from)).await?).await
}

async fn rest(reading: &mut dyn Reading) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    loop {
        let page = within(reading.next(7)).await?;
        assert!(page.len() <= 7);
        if page.is_empty() {
            return Ok(entries);
        }
        entries.extend(page);
    }
}

fn subscribed(label: u8) -> Change {
    let created_at = Timestamp::from_secs(1_700_000_000);
    Change::Subscribed(Subscription { id: subscription(label), vapid: None, created_at })
}

/// One of each kind.
fn changes() -> Vec<Change> {
    let message = message(4);
    let stored = StoredMessage { id: message.id, sequence: message.sequence, since: Tenure(1) };
    let user_agent = message.to.user_agent;
    vec![
        subscribed(4),
        Change::Stored { message: Arc::new(message), since: Tenure(1) },
        Change::Ended { user_agent, stored, outcome: Outcome::Replaced },
        Change::Unsubscribed(subscription(4)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_read_in_its_order_with_its_tenures() {
    let place = place(2).await;
    let changelog = open(&place);
    let first = changelog.claim(P).await.unwrap();
    assert_eq!(first, Tenure(1));
    let written = changes();
    assert_eq!(changelog.append(P, first, written.clone()).await.unwrap(), Position(5));
    let second = changelog.claim(P).await.unwrap();
    assert_eq!(second, Tenure(6));
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
    let tenure = changelog.claim(P).await.unwrap();
    let end = changelog.append(P, tenure, (0..20).map(subscribed).collect()).await.unwrap();
    assert_eq!(changelog.append(P, tenure, Vec::new()).await.unwrap(), end);
    let mut reading = changelog.read(P, Position(0)).await.unwrap();
    changelog.append(P, tenure, (20..40).map(subscribed).collect()).await.unwrap();
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
    let tenure = changelog.claim(P).await.unwrap();
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
    changelog.append(P, tenure, vec![subscribed(1)]).await.unwrap();
    assert_eq!(positions(&rest(&mut *reading).await.unwrap()), [0, 1]);
    assert_eq!(positions(&all(&changelog, P, 2).await.unwrap()), [3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_no_change_is_corruption() {
    let place = place(1).await;
    let changelog = open(&place);
    changelog.claim(P).await.unwrap();
    let topic = place.state();
    let foreign: BaseProducer = client(&place.config).create().unwrap();
    foreign
        .send(BaseRecord::to(&topic).partition(0).key("x").payload("y"))
        .map_err(|(error, _)| error)
        .unwrap();
    tokio::task::spawn_blocking(move || foreign.flush(Duration::from_secs(10))).await.unwrap().unwrap();
    let mut reading = changelog.read(P, Position(0)).await.unwrap();
    assert_eq!(within(reading.next(10)).await.unwrap().len(), 1);
    assert_eq!(within(reading.next(10)).await.unwrap_err().kind, ErrorKind::Corrupt);
}
