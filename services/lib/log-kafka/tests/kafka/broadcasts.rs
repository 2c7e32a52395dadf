//! Broadcasts over a real Kafka: the contract, several nodes, records of others, and a topic that is wrong.

use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_log_kafka::{Config, KafkaBroadcasts, records, topics};
use pushgrid_runtime::Shutdown;
use pushgrid_runtime::metrics::Meter;
use pushgrid_store::{BroadcastVersions, Broadcasts, ErrorKind};
use pushgrid_store_model::conformance::broadcasts as conformance;
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::support::{Place, admin, client, config, place, within};

/// A node that follows the broadcasts, until it is dropped.
#[derive(Debug)]
struct Node {
    broadcasts: Arc<KafkaBroadcasts>,
    shutdown: Shutdown,
}

impl Node {
    fn start(config: &Config, meter: &Meter) -> Self {
        let broadcasts = Arc::new(KafkaBroadcasts::open(config, meter).unwrap());
        let (shutdown, following) = (Shutdown::new(), Arc::clone(&broadcasts));
        let until = shutdown.clone();
        drop(shutdown.spawn("broadcasts", async move { following.follow(until).await }));
        Self { broadcasts, shutdown }
    }

    async fn set(&self, id: &str, version: &str) {
        self.broadcasts.set(id.parse().unwrap(), version.parse().unwrap()).await.unwrap();
    }

    /// Waits until these are all versions.
    async fn shows(&self, expected: &[(&str, &str)]) {
        let mut watch = self.broadcasts.versions();
        let is_so = |versions: &Option<Arc<BroadcastVersions>>| {
            let Some(versions) = versions else { return false };
            versions.iter().map(|(id, version)| (id.as_str(), version.as_str())).eq(expected.iter().copied())
        };
        within(watch.wait_for(is_so)).await.unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shutdown.drain();
    }
}

/// The next life of a node over the same topic.
#[derive(Debug)]
struct Life {
    place: Arc<Place>,
    node: Node,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Place")
    }
}

async fn parts(place: Arc<Place>) -> conformance::Parts {
    let node = Node::start(&place.config, &place.meter);
    within(node.broadcasts.versions().wait_for(Option::is_some)).await.unwrap();
    let broadcasts = Arc::clone(&node.broadcasts);
    conformance::Parts { broadcasts, life: Box::new(Life { place, node }) }
}

#[async_trait]
impl conformance::Life for Life {
    async fn reopen(self: Box<Self>) -> conformance::Parts {
        let Self { place, node } = *self;
        drop(node);
        parts(place).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_is_kept() {
    conformance::run(async || parts(Arc::new(place(1).await)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_show_what_any_of_them_sets() {
    let place = place(3).await;
    let (one, other) = (Node::start(&place.config, &place.meter), Node::start(&place.config, &place.meter));
    let before = one.broadcasts.set("a".parse().unwrap(), "1".parse().unwrap()).await;
    assert!(before.is_err(), "it has not been read yet");
    for node in [&one, &other] {
        node.shows(&[]).await;
    }
    one.set("a", "1").await;
    other.shows(&[("a", "1")]).await;
    other.set("a", "2").await;
    other.set("b/c", "1").await;
    one.shows(&[("a", "2"), ("b/c", "1")]).await;
    assert!(one.broadcasts.remove(&"a".parse().unwrap()).await.unwrap());
    other.shows(&[("b/c", "1")]).await;
    Node::start(&place.config, &place.meter).shows(&[("b/c", "1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_cannot_be_read_are_passed_over_and_counted() {
    let place = place(1).await;
    let node = Node::start(&place.config, &place.meter);
    node.shows(&[]).await;
    node.set("a", "1").await;
    let producer: FutureProducer = client(&place.config).create().unwrap();
    let topic = format!("{}.broadcasts", place.config.topic_prefix);
    let newer = OwnedHeaders::new().insert(Header { key: records::VERSION, value: Some(&[9][..]) });
    for (key, value, headers) in
        [("a b", "1", OwnedHeaders::new()), ("a", "", OwnedHeaders::new()), ("a", "2", newer)]
    {
        let record = FutureRecord::to(&topic).partition(0).key(key).payload(value).headers(headers);
        within(producer.send_result(record).unwrap()).await.unwrap().unwrap();
    }
    node.set("b", "1").await;
    node.shows(&[("a", "1"), ("b", "1")]).await;
    assert_eq!(place.passed_over("broadcasts"), [2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_out_of_reach_are_waited_for() {
    let config = Config { brokers: "127.0.0.1:1".to_owned(), ..config(1) };
    let node = Node::start(&config, &Meter::new());
    let refused = node.broadcasts.remove(&"a".parse().unwrap()).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Unavailable);
    assert!(node.broadcasts.versions().borrow().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_several_partitions_is_refused_with_what_to_do() {
    let config = config(3);
    let name = format!("{}.broadcasts", config.topic_prefix);
    let topic = NewTopic::new(&name, 3, TopicReplication::Fixed(1)).set("cleanup.policy", "compact");
    let options = AdminOptions::new();
    admin(&config).create_topics([&topic], &options).await.unwrap()[0].as_ref().unwrap();
    let failure = topics::ensure_broadcasts(&config).await.unwrap_err().to_string();
    admin(&config).delete_topics(&[&name], &options).await.unwrap();
    assert!(failure.contains("it has 3 partitions, and must have one; delete it"), "{failure}");
}
