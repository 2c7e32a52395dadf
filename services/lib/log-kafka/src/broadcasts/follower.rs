//! A reader of all records of the topic, from the first one on, without end. Nothing is committed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pushgrid_store::{ErrorKind, StoreError, UnreadableCause};
use pushgrid_types::cast::saturating;
use pushgrid_types::{BroadcastId, BroadcastVersion};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::PARTITION;
use crate::client::Lines;
use crate::failure::{of_question, of_thread};
use crate::feed::Feed;
use crate::passed::Passed;
use crate::{Config, records};

/// Interval at which librdkafka's own events are served while no record comes.
const EVENTS: Duration = Duration::from_secs(1);

/// One step of the reading.
#[derive(Debug)]
pub(super) enum Read {
    /// A record; `None` for one that was passed over.
    Record { offset: u64, change: Option<(BroadcastId, Option<BroadcastVersion>)> },
    /// All records have been read, for now.
    End,
}

/// Reader of the topic.
pub(super) struct Follower {
    source: Option<Source>,
    arrived: Arc<Notify>,
}

struct Source {
    // Declared before the consumer, so dropped first: the queue is part of the consumer.
    feed: Feed<Lines>,
    consumer: Arc<BaseConsumer<Lines>>,
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Follower")
    }
}

impl Follower {
    /// Begins with the first record.
    pub(super) async fn open(config: &Config, topic: &str) -> Result<Self, StoreError> {
        let (config, topic) = (config.following(), topic.to_owned());
        let open = move || {
            let consumer: BaseConsumer<Lines> =
                config.create_with_context(Lines::default()).map_err(of_question)?;
            let (consumer, arrived) = (Arc::new(consumer), Arc::new(Notify::new()));
            let feed = Feed::open(&consumer, &topic, PARTITION, Arc::clone(&arrived))
                .ok_or_else(|| StoreError::plain(ErrorKind::Unavailable))?;
            let mut at = TopicPartitionList::new();
            at.add_partition_offset(&topic, PARTITION, Offset::Beginning).map_err(of_question)?;
            consumer.assign(&at).map_err(of_question)?;
            Ok(Self { source: Some(Source { feed, consumer }), arrived })
        };
        tokio::task::spawn_blocking(open).await.map_err(of_thread)?
    }

    /// The next step. Waits for a record for as long as it takes.
    pub(super) async fn next(&mut self, passed: &Passed) -> Result<Read, StoreError> {
        loop {
            if let Some(read) = self.take(passed)? {
                return Ok(read);
            }
            let _ = timeout(EVENTS, self.arrived.notified()).await;
        }
    }

    fn take(&self, passed: &Passed) -> Result<Option<Read>, StoreError> {
        let Some(source) = &self.source else { return Err(StoreError::plain(ErrorKind::Closed)) };
        while source.consumer.poll(Duration::ZERO).is_some() {}
        match source.feed.take() {
            None => Ok(None),
            Some(Ok(message)) => {
                let offset = saturating::<u64>(message.offset());
                let change = decode(&message)
                    .map_err(|(cause, reason)| passed.add(PARTITION, offset, cause, reason))
                    .ok();
                Ok(Some(Read::Record { offset, change }))
            }
            Some(Err(KafkaError::PartitionEOF(_))) => Ok(Some(Read::End)),
            Some(Err(error)) if is_passing(&error) => Ok(None),
            Some(Err(error)) => Err(of_question(error)),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(source) = self.source.take() {
            // Dropping closes the connections and joins librdkafka's threads, so a thread of its own waits for that.
            std::thread::spawn(move || drop(source));
        }
    }
}

/// True for failures of the connection, after which librdkafka goes on by itself.
fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
        )
    )
}

type Decoded = Result<(BroadcastId, Option<BroadcastVersion>), (UnreadableCause, &'static str)>;

fn decode(message: &BorrowedMessage<'_>) -> Decoded {
    let has_version = message.headers().is_some_and(|them| them.iter().any(|it| it.key == records::VERSION));
    of_record(message.key(), message.payload(), has_version)
}

/// Change that a record stands for. Records of this release have no header `version`.
fn of_record(key: Option<&[u8]>, value: Option<&[u8]>, has_version: bool) -> Decoded {
    if has_version {
        return Err((UnreadableCause::Newer, "a version of broadcasts that this release does not know"));
    }
    let damaged = |reason| (UnreadableCause::Damaged, reason);
    let text = |octets| std::str::from_utf8(octets).ok();
    let id = key.and_then(text).and_then(|key| key.parse().ok());
    let id = id.ok_or_else(|| damaged("the key is no id of a broadcast"))?;
    let Some(value) = value else { return Ok((id, None)) };
    let version = text(value).and_then(|value| value.parse().ok());
    Ok((id, Some(version.ok_or_else(|| damaged("the value is no version of a broadcast"))?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_a_version_or_a_removal_and_anything_else_is_passed_over() {
        let (id, version) = ("a/b".parse().unwrap(), "\"1\"".parse().unwrap());
        let read = |key: &[u8], value: Option<&[u8]>, newer| of_record(Some(key), value, newer);
        assert_eq!(read(b"a/b", Some(b"\"1\""), false), Ok((BroadcastId::clone(&id), Some(version))));
        assert_eq!(read(b"a/b", None, false), Ok((id, None)));
        let cause = |read: Decoded| read.unwrap_err().0;
        assert_eq!(cause(read(b"a/b", Some(b"1"), true)), UnreadableCause::Newer);
        for (key, value) in
            [(&b"a b"[..], &b"1"[..]), (b"\xff", b"1"), (b"a", b""), (b"a", b"\xff"), (b"a", b"1\n")]
        {
            assert_eq!(cause(read(key, Some(value), false)), UnreadableCause::Damaged, "{key:?} {value:?}");
        }
        assert_eq!(cause(of_record(None, Some(b"1"), false)), UnreadableCause::Damaged);
    }
}
