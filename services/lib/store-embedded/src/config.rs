use std::path::PathBuf;
use std::time::Duration;

use pushgrid_runtime::metrics::Meter;
use pushgrid_store::EndFeed;

use crate::keys::Keys;

/// Location and bounds of the store.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// Data directory. Created if missing, with access for the owner only.
    pub path: PathBuf,
    /// Connections for reads, and so the number of concurrent reads; further ones wait.
    pub read_connections: usize,
    /// Entries of the subscription cache: subscriptions, and channels known to have none.
    pub cached_subscriptions: u64,
    /// Messages kept in memory for the consumer. A consumer further behind reads from the file.
    pub ring_messages: usize,
    /// Octets kept in memory for the consumer.
    pub ring_octets: usize,
    /// Octets of changes queued for the committer. Beyond them an append is refused as
    /// [`pushgrid_store::ErrorKind::Unavailable`]; other changes wait for room.
    pub queue_octets: usize,
    /// Octets to which the file may grow; `None` for as far as the disk allows. Beyond them changes that add a
    /// message or a subscription are refused as [`pushgrid_store::ErrorKind::Unavailable`]; changes that end one go
    /// on.
    pub file_octets: Option<u64>,
    /// Time without a change after which the write-ahead log is emptied: from then on nothing that was deleted can be
    /// read in the files.
    pub rest: Duration,
    /// Loss accepted by the operator, by the id in [`crate::OpenError`]. A store with any other loss is not opened.
    pub accept_loss: Option<String>,
    /// Endpoint keys of this process. If given, a store with subscriptions under other keys is not opened.
    pub keys: Option<Keys>,
    /// Recorder of the metrics of the store.
    pub meter: Meter,
    /// Subscriber of the ends of messages; `None` without one. Called on the committer's thread.
    pub ends: Option<EndFeed>,
}

impl EmbeddedConfig {
    /// Default bounds, with the data in the directory `path` and a meter of its own.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            read_connections: 4,
            cached_subscriptions: 100_000,
            ring_messages: 8192,
            ring_octets: 32 << 20,
            queue_octets: 32 << 20,
            file_octets: None,
            rest: Duration::from_mins(1),
            accept_loss: None,
            keys: None,
            meter: Meter::new(),
            ends: None,
        }
    }
}
