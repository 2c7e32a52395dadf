//! The event log over a real Kafka: order and sequences, waiting for messages, unreadable records.

use std::time::Duration;

use pushgrid_store::EventLog;
use pushgrid_types::{Message, Partition, Sequence};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::support::{Place, append, client, gained, message, place, read, within};

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_in_comes_out_in_its_order_with_rising_sequences() {
    let place = place(2).await;
    let log = place.log();
    let mut sent: [Vec<Message>; 2] = [Vec::new(), Vec::new()];
    for label in 0..60 {
        let message = append(&log, label % 7).await;
        sent[usize::from(Partition::of(message.to.user_agent, 2).0)].push(message);
    }
    let mut member = place.join();
    for (mut share, sent) in gained(&mut member, 2).await.into_iter().zip(sent) {
        assert!(!sent.is_empty() && sent.is_sorted_by(|one, next| one.sequence < next.sequence));
        share.reader.seek(Sequence(1)).await.unwrap();
        assert_eq!(read(&mut share, sent.len()).await, sent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_keep_the_order_in_which_they_were_begun() {
    let place = place(1).await;
    let log = place.log();
    let messages: Vec<Message> = (0..500).map(|_| message(1)).collect();
    let appends = messages.iter().map(|message| log.append(message.clone()));
    let sequences = within(futures_util::future::join_all(appends)).await;
    let sequences: Vec<u64> = sequences.into_iter().map(|sequence| sequence.unwrap().0).collect();
    assert_eq!(sequences, (1..=500).collect::<Vec<_>>());
    log.flush(Duration::from_secs(5)).await.unwrap();
    assert_eq!(place.shown("pushgrid_log_in_flight{topic=\"accepted\"}"), 0);
    assert!(place.shown("pushgrid_log_octets_total{topic=\"accepted\"}") > 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_waits_for_what_is_yet_to_come_and_begins_where_it_is_told() {
    let place = place(1).await;
    let log = place.log();
    for _ in 0..5 {
        append(&log, 1).await;
    }
    let mut member = place.join();
    let mut share = gained(&mut member, 1).await.remove(0);
    assert_eq!(share.reader.seek(Sequence(6)).await.unwrap(), Sequence(6), "the end of the log");
    let (read, sent) = tokio::join!(read(&mut share, 1), append(&log, 1));
    assert_eq!(read, [sent]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_handed_out_twice_or_lost_when_waiting_is_given_up() {
    let place = place(1).await;
    let log = place.log();
    let mut member = place.join();
    let mut share = gained(&mut member, 1).await.remove(0);
    share.reader.seek(Sequence(1)).await.unwrap();
    let mut got = Vec::new();
    let mut sent = Vec::new();
    for _ in 0..50 {
        sent.push(append(&log, 1).await);
        // Dropped in most rounds before anything has come.
        if let Ok(batch) = tokio::time::timeout(Duration::from_micros(200), share.reader.next(10)).await {
            got.extend(batch.unwrap().iter().map(|message| Message::clone(message)));
        }
    }
    let rest = sent.len() - got.len();
    got.extend(read(&mut share, rest).await);
    assert_eq!(got, sent);
}

/// Writes records as a newer release or a foreign program might.
async fn write(place: &Place, version: Option<&[u8]>, count: usize) {
    let foreign: FutureProducer = client(&place.config).create().unwrap();
    let topic = place.accepted();
    for _ in 0..count {
        let headers = OwnedHeaders::new().insert(Header { key: "traceparent", value: Some("what is this") });
        let headers = match version {
            Some(version) => headers.insert(Header { key: "pushgrid-version", value: Some(version) }),
            None => headers,
        };
        let record = FutureRecord::to(&topic).partition(0).key("k").payload("what is this").headers(headers);
        foreign.send(record, Duration::from_secs(5)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_no_message_is_passed_over_and_counted() {
    let place = place(1).await;
    let log = place.log();
    let first = append(&log, 1).await;
    write(&place, None, 1).await;
    let third = append(&log, 1).await;
    assert_eq!(third.sequence, Sequence(3));
    let mut member = place.join();
    let mut share = gained(&mut member, 1).await.remove(0);
    share.reader.seek(Sequence(1)).await.unwrap();
    assert_eq!(read(&mut share, 2).await, [first, third]);
    assert_eq!(share.reader.newer(), [], "it is nobody's");
    assert_eq!(place.passed_over("accepted"), [1, 0]);
    assert_eq!(share.offsets.end().await.unwrap(), Sequence(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_a_newer_release_is_passed_over_and_its_place_is_told() {
    let place = place(1).await;
    let log = place.log();
    let first = append(&log, 1).await;
    write(&place, Some(&[3]), 2).await;
    let fourth = append(&log, 1).await;
    write(&place, Some(&[]), 1).await;
    write(&place, Some(&[1]), 1).await;
    let seventh = append(&log, 1).await;
    let mut member = place.join();
    let mut share = gained(&mut member, 1).await.remove(0);
    share.reader.seek(Sequence(1)).await.unwrap();
    let (mut messages, mut newer) = (Vec::new(), Vec::new());
    while messages.len() < 3 {
        let batch = within(share.reader.next(3)).await.unwrap();
        messages.extend(batch.iter().map(|message| Message::clone(message)));
        newer.extend(share.reader.newer());
    }
    assert_eq!(messages, [first, fourth, seventh]);
    assert_eq!(newer, [2, 3, 5].map(Sequence));
    assert_eq!(share.reader.newer(), [], "it is told once");
    assert_eq!(place.passed_over("accepted"), [1, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_a_newer_release_are_told_though_no_message_follows() {
    let place = place(1).await;
    append(&place.log(), 1).await;
    write(&place, Some(&[3]), 5).await;
    let mut member = place.join();
    let mut share = gained(&mut member, 1).await.remove(0);
    share.reader.seek(Sequence(1)).await.unwrap();
    assert_eq!(read(&mut share, 1).await.len(), 1);
    let mut newer = share.reader.newer();
    while newer.len() < 5 {
        assert_eq!(within(share.reader.next(10)).await.unwrap(), []);
        newer.extend(share.reader.newer());
    }
    assert_eq!(newer, [2, 3, 4, 5, 6].map(Sequence));
}
