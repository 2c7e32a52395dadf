//! Saves and loads the records of a grid as a text: `records save` prints the text, and `records load < TEXT` writes it
//! to empty topics. Brokers, prefix and the number of partitions are taken from the environment (`PUSHGRID_KAFKA__*`).
//!
//! A line is `record TOPIC PARTITION KEY VALUE [HEADER=VALUE ...]`, in the order of the offsets, or
//! `commit PARTITION OFFSET NOTE`, of the group of routers. Octets are in hexadecimal; `-` is no value.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Read as _;
use std::time::Duration;

use pushgrid_log_kafka::{Config, topics};
use pushgrid_runtime::config::{Layers, Reader};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

type Fault = Box<dyn Error + Send + Sync>;

const PATIENCE: Duration = Duration::from_secs(20);

struct Place {
    client: ClientConfig,
    accepted: String,
    state: String,
    partitions: i32,
}

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let mut reader = Reader::new(Layers::load(None, std::env::vars(), &[])?);
    let config = Config::read(&mut reader);
    config.require(&mut reader);
    let topics = topics::ensure(&config).await?;
    let prefix = std::env::var("PUSHGRID_KAFKA__TOPIC_PREFIX")?;
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", std::env::var("PUSHGRID_KAFKA__BROKERS")?);
    client.set("group.id", format!("{prefix}.router")).set("enable.auto.commit", "false");
    let place = Place {
        client,
        accepted: format!("{prefix}.accepted"),
        state: format!("{prefix}.state"),
        partitions: topics.partitions.into(),
    };
    match std::env::args().nth(1).as_deref() {
        Some("save") => print!("{}", place.save()?),
        Some("load") => place.load().await?,
        _ => return Err("say `save` or `load`".into()),
    }
    Ok(())
}

impl Place {
    fn save(&self) -> Result<String, Fault> {
        let mut text = String::new();
        let consumer: BaseConsumer = self.client.create()?;
        for (name, topic) in [("accepted", &self.accepted), ("state", &self.state)] {
            for partition in 0..self.partitions {
                let (start, end) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
                let mut at = TopicPartitionList::new();
                at.add_partition_offset(topic, partition, Offset::Offset(start))?;
                consumer.assign(&at)?;
                for expected in start..end {
                    let record = consumer.poll(PATIENCE).ok_or("the brokers say nothing")??;
                    if record.offset() != expected {
                        return Err("some records are gone: their offsets could not be made again".into());
                    }
                    write!(text, "record {name} {partition} ")?;
                    show(&record, &mut text)?;
                }
            }
        }
        let mut asked = TopicPartitionList::new();
        for partition in 0..self.partitions {
            asked.add_partition(&self.accepted, partition);
        }
        for element in consumer.committed_offsets(asked, PATIENCE)?.elements() {
            if let Offset::Offset(offset) = element.offset() {
                writeln!(text, "commit {} {offset} {}", element.partition(), element.metadata())?;
            }
        }
        Ok(text)
    }

    async fn load(&self) -> Result<(), Fault> {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        let producer: FutureProducer = self.client.create()?;
        let mut commits = TopicPartitionList::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["record", topic, partition, key, value, ref headers @ ..] => {
                    let topic = if topic == "state" { &self.state } else { &self.accepted };
                    let (key, value) = (octets(key)?, if value == "-" { None } else { Some(octets(value)?) });
                    let mut all = OwnedHeaders::new();
                    for header in headers {
                        let (key, value) = header.split_once('=').ok_or("a header has a value")?;
                        all = all.insert(Header { key, value: Some(&octets(value)?) });
                    }
                    let mut record =
                        FutureRecord::to(topic).partition(partition.parse()?).key(&key).headers(all);
                    record.payload = value.as_ref();
                    producer.send(record, PATIENCE).await.map_err(|(error, _)| error)?;
                }
                ["commit", partition, offset, note] => {
                    let mut element = commits.add_partition(&self.accepted, partition.parse()?);
                    element.set_offset(Offset::Offset(offset.parse()?))?;
                    element.set_metadata(note);
                }
                _ => return Err(format!("not a line of a saved text: {line}").into()),
            }
        }
        let consumer: BaseConsumer = self.client.create()?;
        consumer.commit(&commits, CommitMode::Sync)?;
        Ok(())
    }
}

fn show(record: &BorrowedMessage<'_>, text: &mut String) -> Result<(), Fault> {
    let value = record.payload().map_or_else(|| "-".to_owned(), hexadecimal);
    write!(text, "{} {value}", hexadecimal(record.key().unwrap_or_default()))?;
    for header in record.headers().into_iter().flat_map(|headers| headers.iter()) {
        write!(text, " {}={}", header.key, hexadecimal(header.value.unwrap_or_default()))?;
    }
    text.push('\n');
    Ok(())
}

fn hexadecimal(octets: &[u8]) -> String {
    let digit = |digit: u8| char::from_digit(digit.into(), 16).expect("four bits are one digit");
    octets.iter().flat_map(|octet| [digit(octet >> 4), digit(octet & 15)]).collect()
}

fn octets(text: &str) -> Result<Vec<u8>, Fault> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?)).collect()
}
