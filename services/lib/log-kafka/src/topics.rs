//! The topics: created when missing, verified when present, and refused with advice when wrong.
//!
//! Invariant: an existing topic is never changed.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::Metadata;
use tokio::time::{Instant, sleep};

use crate::client::Lines;
use crate::{Config, Failure};

mod check;

use check::{Found, Wanted};

/// Deadline of one request to the brokers.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time for a new topic to be known to the broker asked, and the pause between questions.
const SPREAD: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(100);
/// Time allowed for brokers to be out of reach at the start of a process.
const REACH: Duration = Duration::from_secs(30);
/// Time allowed for a topic to seem wrong: metadata of a new topic spreads late.
const SETTLE: Duration = Duration::from_secs(5);
/// Pause between two checks.
const REST: Duration = Duration::from_millis(500);
/// `delete.retention.ms`: tombstones carry outcomes for the account, so a reader from the start must see them
/// this long.
const TOMBSTONES: Duration = Duration::from_hours(7 * 24);
/// `segment.bytes` and `segment.ms`: compaction skips the newest segment, so segments are small and young.
const SEGMENT: &str = "67108864";
const SEGMENT_AGE: &str = "3600000";
/// `min.cleanable.dirty.ratio`: stale share of a partition before compaction.
const DIRTY: &str = "0.2";

/// The topics, created or verified by [`ensure`].
#[derive(Debug, Clone)]
pub struct Topics {
    /// Partitions of each topic.
    pub partitions: u16,
    pub(crate) accepted: String,
    pub(crate) state: String,
}

/// Creates missing topics and verifies existing ones. Safe to run in several processes at once.
///
/// A topic with wrong settings is an error that names the fault, and the command or setting to mend it. With
/// fewer than three brokers, a warning is logged once.
///
/// Unreachable brokers are retried for half a minute, time for a new leader election. A fault of a topic is
/// returned only after some seconds: brokers learn of a new topic late.
pub async fn ensure(config: &Config) -> Result<Topics, Failure> {
    ensure_all(config, |brokers| Wanted::both(config, brokers).into()).await?;
    Ok(Topics { partitions: config.partitions, accepted: config.accepted(), state: config.state() })
}

/// Does the same for the topic of broadcasts, which only connection nodes need.
pub async fn ensure_broadcasts(config: &Config) -> Result<(), Failure> {
    ensure_all(config, |brokers| vec![Wanted::broadcasts(config, brokers)]).await
}

async fn ensure_all(config: &Config, wanted: impl Fn(usize) -> Vec<Wanted>) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let failure = match ensure_now(config, &wanted).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        let patience = match &failure {
            Failure::Client(_) => Duration::ZERO,
            Failure::Unreachable { .. } | Failure::NotMade { .. } => REACH,
            Failure::Wrong { .. } => SETTLE,
        };
        if begun.elapsed() >= patience {
            return Err(failure);
        }
        tracing::warn!(%failure, "the topics are not ready; asking again");
        sleep(REST).await;
    }
}

async fn ensure_now(config: &Config, wanted: impl Fn(usize) -> Vec<Wanted>) -> Result<(), Failure> {
    let client = |error| Failure::client(&error);
    let admin: AdminClient<Lines> = config.client().create_with_context(Lines::default()).map_err(client)?;
    // A consumer: the metadata request of a producer may make the brokers auto-create the topic.
    let asker: BaseConsumer<Lines> = config.client().create_with_context(Lines::default()).map_err(client)?;
    let cluster = Cluster { config, admin, asker: Arc::new(asker) };
    let brokers = cluster.brokers().await?;
    if brokers < 3 {
        tracing::warn!(
            brokers,
            "with fewer than three brokers, the loss of one may lose messages that were accepted, and one that loses \
             power certainly does: brokers do not write to disk before they answer"
        );
    }
    for wanted in wanted(brokers) {
        let found = match cluster.find(&wanted.topic).await? {
            Some(found) => found,
            None => cluster.make(&wanted).await?,
        };
        check::check(config, &wanted, &found)?;
    }
    Ok(())
}

struct Cluster<'a> {
    config: &'a Config,
    admin: AdminClient<Lines>,
    asker: Arc<BaseConsumer<Lines>>,
}

impl Cluster<'_> {
    async fn brokers(&self) -> Result<usize, Failure> {
        self.metadata(&self.config.accepted(), |metadata| metadata.brokers().len()).await
    }

    /// The existing topic; `None` when missing.
    async fn find(&self, topic: &str) -> Result<Option<Found>, Failure> {
        let found = self.metadata(topic, Found::of).await?;
        let found = found.map_err(|what| Failure::Wrong {
            topic: topic.to_owned(),
            what,
            mend: "let the user of this service describe it".to_owned(),
        })?;
        let Some(mut found) = found else { return Ok(None) };
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let answer = self.admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options).await;
        let answers = answer.map_err(|error| self.unreachable(&error.to_string()))?;
        for answer in answers {
            match answer {
                Ok(resource) => found.take(resource),
                Err(RDKafkaErrorCode::UnknownTopicOrPartition) => return Ok(None),
                Err(code) => {
                    return Err(Failure::Wrong {
                        topic: topic.to_owned(),
                        what: format!("its settings cannot be read: {code}"),
                        mend: "let the user of this service describe its settings".to_owned(),
                    });
                }
            }
        }
        Ok(Some(found))
    }

    async fn make(&self, wanted: &Wanted) -> Result<Found, Failure> {
        let replication = TopicReplication::Fixed(i32::from(wanted.replication));
        let mut new = NewTopic::new(&wanted.topic, i32::from(wanted.partitions), replication);
        for (name, value) in &wanted.settings {
            new = new.set(name, value);
        }
        let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
        let answer = self.admin.create_topics([&new], &options).await;
        for answer in answer.map_err(|error| self.unreachable(&error.to_string()))? {
            match answer {
                Ok(topic) => tracing::info!(topic, partitions = wanted.partitions, "topic made"),
                // Another process was faster.
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => {
                    return Err(Failure::NotMade {
                        topic,
                        what: code.to_string(),
                        mend: wanted.how_to_make(self.config),
                    });
                }
            }
        }
        let deadline = Instant::now() + SPREAD;
        loop {
            match self.find(&wanted.topic).await? {
                Some(found) if found.is_complete() => return Ok(found),
                found if Instant::now() >= deadline => {
                    return found.ok_or_else(|| self.unreachable("a topic was made and is not there"));
                }
                Some(_) | None => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    async fn metadata<T: Send + 'static>(
        &self,
        topic: &str,
        of: impl Fn(&Metadata) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (asker, topic) = (Arc::clone(&self.asker), topic.to_owned());
        let ask = move || asker.fetch_metadata(Some(&topic), PATIENCE).map(|metadata| of(&metadata));
        let answer = tokio::task::spawn_blocking(ask).await;
        let answer = answer.map_err(|error| self.unreachable(&error.to_string()))?;
        answer.map_err(|error| self.unreachable(&error.to_string()))
    }

    fn unreachable(&self, what: &str) -> Failure {
        Failure::Unreachable { brokers: self.config.brokers.clone(), what: what.to_owned() }
    }
}
