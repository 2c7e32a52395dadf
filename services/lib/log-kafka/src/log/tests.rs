//! Brokers that go away and come back, by librdkafka's mock cluster. All else is tested against a real Kafka.

use std::task::Poll;
use std::time::Instant;

use pushgrid_runtime::config::{Layers, Reader};
use pushgrid_runtime::metrics::Meter;
use pushgrid_types::{
    ChannelId, Content, Incarnation, MessageId, SubscriptionRef, Timestamp, Ttl, Urgency, UserAgentId,
};
use rdkafka::message::Headers;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;

type Brokers = MockCluster<'static, DefaultProducerContext>;
const TIMEOUT: Duration = Duration::from_millis(500);

fn message() -> Message {
    Message {
        id: MessageId::from_octets([1; 16]),
        to: SubscriptionRef {
            user_agent: UserAgentId::from_octets([1; 16]),
            channel: ChannelId::from_octets([1; 16]),
            incarnation: Incarnation::from_octets([1; 12]),
        },
        sequence: Sequence(0),
        accepted_at: Timestamp::from_secs(1),
        ttl: Ttl::from_secs(60),
        expires_at: Timestamp::from_secs(61),
        urgency: Urgency::Normal,
        topic: None,
        receipt: None,
        content: Content::default(),
    }
}

/// Appends until an append succeeds.
async fn warm_up(log: &KafkaLog) {
    let appended = async {
        while log.append(message()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), appended).await.expect("the brokers are there");
}

/// True when the meter shows an open breaker.
fn is_shown_open(meter: &Meter) -> bool {
    meter.render().contains("pushgrid_breaker_open{dependency=\"kafka\"} 1\n")
}

fn open(timeout: Duration) -> (Brokers, KafkaLog) {
    open_with(timeout, &Meter::new())
}

fn open_with(timeout: Duration, meter: &Meter) -> (Brokers, KafkaLog) {
    let brokers = Brokers::new(1).unwrap();
    brokers.create_topic("pushgrid.accepted", 1, 1).unwrap();
    let overrides = [
        format!("kafka.brokers={}", brokers.bootstrap_servers()),
        format!("kafka.append_timeout={}ms", timeout.as_millis()),
    ];
    let config = Config::read(&mut Reader::new(Layers::load(None, std::iter::empty(), &overrides).unwrap()));
    let topics = Topics { partitions: 1, accepted: config.accepted(), state: config.state() };
    let log = KafkaLog::open(&config, &topics, meter).unwrap();
    (brokers, log)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_brokers_an_append_fails_in_time_then_at_once_and_works_again_when_they_are_back() {
    let meter = Meter::new();
    let (brokers, log) = open_with(TIMEOUT, &meter);
    warm_up(&log).await;
    brokers.broker_down(1).unwrap();
    while !is_shown_open(&meter) {
        let begun = Instant::now();
        let error = log.append(message()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unknown);
        assert!(begun.elapsed() < TIMEOUT * 2, "only after {:?}", begun.elapsed());
    }
    let begun = Instant::now();
    assert_eq!(log.append(message()).await.unwrap_err().kind, ErrorKind::Unavailable);
    assert!(begun.elapsed() < TIMEOUT / 2, "only after {:?}", begun.elapsed());

    brokers.broker_up(1).unwrap();
    warm_up(&log).await;
    assert!(!is_shown_open(&meter));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_queue_holds_is_refused_at_once() {
    let (brokers, log) = open(Duration::from_mins(1));
    brokers.broker_down(1).unwrap();
    let mut under_way = Vec::new();
    let refused = loop {
        let mut append = log.append(message());
        match futures_util::poll!(&mut append) {
            Poll::Pending => under_way.push(append),
            Poll::Ready(answer) => break answer.unwrap_err(),
        }
    };
    assert_eq!(refused.kind, ErrorKind::Unavailable);
    assert_eq!(under_way.len(), 20_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_brokers_refuse_is_unavailable_and_what_they_may_have_kept_is_unknown() {
    for (answer, kind) in [
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ErrorKind::Unavailable),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD, ErrorKind::Corrupt),
    ] {
        let (brokers, log) = open(Duration::from_secs(10));
        brokers.request_errors(RDKafkaApiKey::Produce, &[answer]);
        assert_eq!(log.append(message()).await.unwrap_err().kind, kind, "{answer:?}");
    }
    let (brokers, log) = open(Duration::from_secs(10));
    // Too few replicas have it: it is tried again.
    brokers.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND],
    );
    log.append(message()).await.unwrap();
}

#[test]
fn the_trace_of_a_sender_is_where_tracing_tools_look_for_it() {
    let names =
        |message: &Message| headers_of(message).iter().map(|it| it.key.to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&message()), ["pushgrid-message"]);
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let content = Content { trace_parent: Some(parent.parse().unwrap()), ..Content::default() };
    let traced = Message { content, ..message() };
    assert_eq!(names(&traced), ["traceparent", "pushgrid-message"]);
    assert_eq!(headers_of(&traced).get(0).value, Some(parent.as_bytes()));
}
