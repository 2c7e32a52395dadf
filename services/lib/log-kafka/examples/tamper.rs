//! Damages the topics of a grid as operators and their tools do by mistake: `tamper PREFIX WHAT`, with the brokers in
//! `PUSHGRID_KAFKA__BROKERS`.
//!
//! | what | does |
//! |---|---|
//! | `damage` | writes a foreign record to each partition of both topics, and one without a readable value under each key of `PREFIX.state` that has a value |
//! | `newer` | writes records to each partition of both topics as only a newer release would |
//! | `delete` | deletes both topics |
//! | `claims` | prints how many claims each partition of `PREFIX.state` has |

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use pushgrid_log_kafka::records;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

type Fault = Box<dyn Error + Send + Sync>;

const PATIENCE: Duration = Duration::from_secs(20);
/// A version that no release writes yet.
const NEWER: &[u8] = &[200];

struct Topics {
    client: ClientConfig,
    accepted: String,
    state: String,
    partitions: Vec<i32>,
}

/// Keys of a partition, in the order of their last records, each with a flag for a value.
#[derive(Default)]
struct Keys {
    claims: usize,
    live: BTreeMap<Vec<u8>, bool>,
}

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let mut arguments = std::env::args().skip(1);
    let (Some(prefix), Some(what)) = (arguments.next(), arguments.next()) else {
        return Err("say the prefix of the topics, and what to do".into());
    };
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", std::env::var("PUSHGRID_KAFKA__BROKERS")?);
    client.set("group.id", "tamper").set("enable.auto.commit", "false");
    let (accepted, state) = (format!("{prefix}.accepted"), format!("{prefix}.state"));
    let consumer: BaseConsumer = client.create()?;
    let metadata = consumer.fetch_metadata(Some(&state), PATIENCE)?;
    let found = metadata.topics().first().ok_or("there is no such topic")?;
    let partitions = found.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect();
    let topics = Topics { client, accepted, state, partitions };
    match what.as_str() {
        "damage" => topics.damage().await,
        "newer" => topics.newer().await,
        "delete" => topics.delete().await,
        "claims" => topics.claims(),
        other => Err(format!("there is no {other}").into()),
    }
}

impl Topics {
    async fn damage(&self) -> Result<(), Fault> {
        let producer: FutureProducer = self.client.create()?;
        for &partition in &self.partitions {
            let keys = self.keys(partition)?;
            write(&producer, &self.accepted, partition, b"foreign", None).await?;
            write(&producer, &self.state, partition, b"mine", None).await?;
            for (key, _) in keys.live.iter().filter(|(_, is_live)| **is_live) {
                write(&producer, &self.state, partition, key, None).await?;
            }
        }
        Ok(())
    }

    async fn newer(&self) -> Result<(), Fault> {
        let producer: FutureProducer = self.client.create()?;
        for &partition in &self.partitions {
            let accepted = Header { key: records::ACCEPTED_VERSION, value: Some(NEWER) };
            write(&producer, &self.accepted, partition, b"newer", Some(accepted)).await?;
            let version = Header { key: records::VERSION, value: Some(NEWER) };
            write(&producer, &self.state, partition, &[b's'; 45], Some(version)).await?;
            write(&producer, &self.state, partition, b"receipt", None).await?;
        }
        Ok(())
    }

    async fn delete(&self) -> Result<(), Fault> {
        let admin: AdminClient<DefaultClientContext> = self.client.create()?;
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        for result in admin.delete_topics(&[&self.accepted, &self.state], &options).await? {
            result.map_err(|(topic, code)| format!("{topic} is not deleted: {code}"))?;
        }
        Ok(())
    }

    fn claims(&self) -> Result<(), Fault> {
        for &partition in &self.partitions {
            println!("{partition} {}", self.keys(partition)?.claims);
        }
        Ok(())
    }

    fn keys(&self, partition: i32) -> Result<Keys, Fault> {
        let mut keys = Keys::default();
        let consumer: BaseConsumer = self.client.create()?;
        let (_, end) = consumer.fetch_watermarks(&self.state, partition, PATIENCE)?;
        let mut at = TopicPartitionList::new();
        at.add_partition_offset(&self.state, partition, Offset::Beginning)?;
        consumer.assign(&at)?;
        let mut next = 0;
        while next < end {
            let record = consumer.poll(PATIENCE).ok_or("the brokers say nothing")??;
            next = record.offset() + 1;
            let key = record.key().unwrap_or_default();
            if records::claim_of(key).is_some() {
                keys.claims += 1;
            } else {
                keys.live.insert(key.to_vec(), record.payload().is_some());
            }
        }
        Ok(keys)
    }
}

async fn write(
    producer: &FutureProducer,
    topic: &str,
    partition: i32,
    key: &[u8],
    header: Option<Header<'_, &[u8]>>,
) -> Result<(), Fault> {
    let headers = header.into_iter().fold(OwnedHeaders::new(), |headers, header| headers.insert(header));
    let record = FutureRecord::to(topic).partition(partition).key(key).payload("tampered").headers(headers);
    producer.send(record, PATIENCE).await.map_err(|(error, _)| error)?;
    Ok(())
}
