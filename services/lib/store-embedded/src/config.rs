use std::path::PathBuf;

/// Where the store is, and its bounds.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// The data directory. Made when it is not there, readable by its owner only.
    pub path: PathBuf,
    /// Connections that read, and so reads at the same time. More of them wait.
    pub read_connections: usize,
    /// Subscriptions (and channels known to have none) that are answered without reading.
    pub cached_subscriptions: u64,
    /// Messages that are kept in memory for the consumer. One that lags further behind reads from the file.
    pub ring_messages: usize,
    /// The same in octets.
    pub ring_octets: usize,
    /// Octets of changes that wait for the committer. An append beyond it is refused as
    /// [`pushgrid_store::ErrorKind::Unavailable`]; other changes wait for room.
    pub queue_octets: usize,
    /// Octets that the file may grow to; no bound but the disk's when it is not set. An append beyond it is refused
    /// as [`pushgrid_store::ErrorKind::Unavailable`].
    pub file_octets: Option<u64>,
}

impl EmbeddedConfig {
    /// The defaults, in the directory `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            read_connections: 4,
            cached_subscriptions: 100_000,
            ring_messages: 8192,
            ring_octets: 32 << 20,
            queue_octets: 32 << 20,
            file_octets: None,
        }
    }
}
