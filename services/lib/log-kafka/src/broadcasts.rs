//! Broadcasts over the compacted topic `<prefix>.broadcasts`, of one partition: the key of a record is the id, the value
//! the version, and a record without a value removes. Every node reads all of it from the beginning and follows it, so
//! the order of the records is the same for everybody. Invariant: a record that cannot be read is passed over.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pushgrid_runtime::metrics::Meter;
use pushgrid_runtime::{Backoff, Shutdown};
use pushgrid_store::{BroadcastNotSet, BroadcastVersions, Broadcasts, StoreError, VersionsWatch};
use pushgrid_types::{BroadcastId, BroadcastVersion};
use rdkafka::producer::FutureRecord;
use tokio::sync::{Mutex, watch};

use crate::passed::Passed;
use crate::producer::DurableProducer;
use crate::{Config, Failure, topics};

mod follower;

use follower::{Follower, Read};

/// The only partition.
const PARTITION: i32 = 0;

/// Pauses between attempts to read the topic.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// Broadcasts of a grid, as one node knows them.
#[derive(Debug)]
pub struct KafkaBroadcasts {
    config: Config,
    producer: Arc<DurableProducer>,
    passed: Passed,
    topic: String,
    versions: watch::Sender<Option<Arc<BroadcastVersions>>>,
    /// Offset up to which the topic has been read.
    read_to: watch::Sender<u64>,
    /// Held while this node writes, so that no limit is passed by calls at the same time.
    writing: Mutex<()>,
}

impl KafkaBroadcasts {
    /// Opens the broadcasts, unknown until [`Self::follow`] has read them. Does not wait for the brokers.
    pub fn open(config: &Config, meter: &Meter) -> Result<Self, Failure> {
        let topic = config.broadcasts();
        Ok(Self {
            producer: DurableProducer::new(config.producer(), config.append_timeout, meter, "broadcasts")?,
            passed: Passed::new(&topic, meter, "broadcasts"),
            config: config.clone(),
            topic,
            versions: watch::Sender::new(None),
            read_to: watch::Sender::new(0),
            writing: Mutex::default(),
        })
    }

    /// Makes the topic if it is missing, reads it, and follows it until `shutdown` drains. What fails is logged and
    /// tried again: a node serves its user agents also without broadcasts.
    pub async fn follow(&self, shutdown: Shutdown) {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        let following = async {
            loop {
                let failure = self.read(&mut backoff).await;
                backoff.wait_after(&*failure, "read the broadcasts").await;
            }
        };
        tokio::select! {
            () = following => {}
            () = shutdown.draining() => {}
        }
    }

    /// Reads from the beginning, until something fails.
    async fn read(&self, backoff: &mut Backoff) -> Box<dyn std::error::Error + Send + Sync> {
        if let Err(failure) = topics::ensure_broadcasts(&self.config).await {
            return failure.into();
        }
        let mut follower = match Follower::open(&self.config, &self.topic).await {
            Ok(follower) => follower,
            Err(error) => return error.into(),
        };
        let (mut versions, mut is_whole) = (BroadcastVersions::default(), false);
        loop {
            match follower.next(&self.passed).await {
                Ok(Read::Record { offset, change }) => {
                    if let Some((id, version)) = change {
                        versions.change(id, version);
                    }
                    if is_whole {
                        self.show(&versions);
                    }
                    self.read_to.send_replace(offset + 1);
                }
                Ok(Read::End) => {
                    is_whole = true;
                    backoff.reset();
                    self.show(&versions);
                }
                Err(error) => return error.into(),
            }
        }
    }

    fn show(&self, versions: &BroadcastVersions) {
        self.versions.send_if_modified(|shown| {
            let differs = shown.as_deref() != Some(versions);
            if differs {
                *shown = Some(Arc::new(versions.clone()));
            }
            differs
        });
    }

    /// Writes a record, and waits until this node has read it, if it reads in time.
    async fn write(&self, id: &BroadcastId, version: Option<&BroadcastVersion>) -> Result<(), StoreError> {
        let record = FutureRecord {
            topic: &self.topic,
            partition: Some(PARTITION),
            payload: version.map(|version| version.as_str().as_bytes()),
            key: Some(id.as_str().as_bytes()),
            timestamp: None,
            headers: None,
        };
        let sent = self.producer.send(record)?;
        let offset = self.producer.delivered(sent).await?;
        let mut read_to = self.read_to.subscribe();
        let read = read_to.wait_for(|read_to| *read_to > offset);
        // It is durable; a node that cannot read just now shows it later.
        let _ = tokio::time::timeout(self.config.append_timeout, read).await;
        Ok(())
    }
}

#[async_trait]
impl Broadcasts for KafkaBroadcasts {
    /// [`pushgrid_store::ErrorKind::Unavailable`] before the topic has been read.
    async fn set(&self, id: BroadcastId, version: BroadcastVersion) -> Result<(), BroadcastNotSet> {
        let _writing = self.writing.lock().await;
        let versions = BroadcastVersions::known(&self.versions.subscribe())?;
        if !versions.fits(&id) {
            return Err(BroadcastNotSet::Full);
        }
        if versions.get(id.as_str()).is_some_and(|(_, present)| *present == version) {
            return Ok(());
        }
        Ok(self.write(&id, Some(&version)).await?)
    }

    /// [`pushgrid_store::ErrorKind::Unavailable`] before the topic has been read.
    async fn remove(&self, id: &BroadcastId) -> Result<bool, StoreError> {
        let _writing = self.writing.lock().await;
        let versions = BroadcastVersions::known(&self.versions.subscribe())?;
        if versions.get(id.as_str()).is_none() {
            return Ok(false);
        }
        self.write(id, None).await.map(|()| true)
    }

    fn versions(&self) -> VersionsWatch {
        self.versions.subscribe()
    }
}
