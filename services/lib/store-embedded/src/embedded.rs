use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use pushgrid_store::{ErrorKind, Ledger, StoreError};
use pushgrid_types::Sequence;

use crate::cache::SubscriptionCache;
use crate::checkpointer::Checkpointer;
use crate::committer::Committer;
use crate::config::EmbeddedConfig;
use crate::consumer::{ConsumerTaken, EmbeddedConsumer};
use crate::failure::Failure;
use crate::feed::{Feed, RingLimit};
use crate::queue::Queue;
use crate::readers::Readers;
use crate::shared::Shared;
use crate::usage::Usages;
use crate::write::{Flush, Reply, Write, job};
use crate::{account, directory, schema};

/// Why the store could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory cannot be made, read or written.
    #[error("the data directory {} cannot be used", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process has it, or another store of this one.
    #[error("another pushgrid is using the data directory {}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The file was written by a later version of this program.
    #[error("the data is of version {found}, and this program knows version {known}: use a newer pushgrid")]
    Newer {
        /// The version of the file.
        found: i32,
        /// The version of this program.
        known: i32,
    },
    /// The file is a database of something else.
    #[error("the database in the data directory is not one of pushgrid's")]
    Foreign,
    /// The file cannot be opened or read.
    #[error("the database cannot be opened")]
    Database(#[from] rusqlite::Error),
    /// The file holds something that it should not.
    #[error("the database cannot be read")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The committer could not be started.
    #[error("the thread that writes cannot be started")]
    Thread(#[source] io::Error),
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        Self::Unreadable(Box::new(failure))
    }
}

/// Log, mailbox and subscriptions in one file. Cheap to clone; all clones are one store.
///
/// Dropping the last clone (and the consumer) waits until what was asked for is written. [`Self::close`] does the
/// same without keeping a thread of the runtime waiting.
#[derive(Debug, Clone)]
pub struct Embedded {
    owner: Arc<Owner>,
}

/// Ends the committer with the last handle.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) shared: Arc<Shared>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

impl Owner {
    /// Refuses further changes, and returns when those from before are written and the directory is given free.
    fn end(&self) {
        self.shared.queue.close();
        let mut committer = self.committer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = committer.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes has panicked");
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.end();
    }
}

impl Embedded {
    /// Opens the store in `config.path`, makes it when it is not there, and takes the directory for this process.
    /// Reads and writes the disk, and counts what is pending: call it before serving.
    pub fn open(config: &EmbeddedConfig) -> Result<Self, OpenError> {
        let lock = directory::take(&config.path)?;
        let file = config.path.join(directory::DATABASE_FILE);
        let mut connection = schema::open_writer(&file, config.file_octets)?;
        let checkpointer = Checkpointer::start(&file, &mut connection)?;
        let (account, last) = account::load(&connection)?;
        if !account.adds_up() {
            tracing::error!(?account, "the account of the data directory does not add up");
        }
        let ring = RingLimit { messages: config.ring_messages, octets: config.ring_octets };
        let shared = Arc::new(Shared {
            queue: Queue::new(config.queue_octets),
            feed: Feed::new(ring, Sequence(last)),
            readers: Readers::new(file, config.read_connections),
            subscriptions: SubscriptionCache::new(config.cached_subscriptions),
            usages: Usages::load(&connection)?,
            ledger: Arc::new(Ledger::starting_at(account)),
            commits: AtomicU64::new(0),
        });
        let committer = Committer::new(checkpointer, connection, lock, Arc::clone(&shared), last);
        let thread = std::thread::Builder::new()
            .name("committer".into())
            .spawn(move || committer.run())
            .map_err(OpenError::Thread)?;
        Ok(Self { owner: Arc::new(Owner { shared, committer: Mutex::new(Some(thread)) }) })
    }

    /// The router's side of the log: begins with the oldest message that has not ended. One at a time; when it is
    /// dropped there can be another.
    pub fn consumer(&self) -> Result<EmbeddedConsumer, ConsumerTaken> {
        EmbeddedConsumer::attach(&self.owner)
    }

    /// The account of what was accepted, how it ended, and what is pending, of all lives of the data directory.
    pub fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.shared().ledger)
    }

    /// Transactions committed since the store was opened: far fewer than changes, under load.
    pub fn commits(&self) -> u64 {
        self.shared().commits.load(Ordering::Relaxed)
    }

    /// Returns when everything that was asked for before is on disk and in the account, lazy changes too.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.change(Flush, 0).await
    }

    /// Refuses further calls with [`ErrorKind::Closed`]; returns when what was asked for before is written, the
    /// write-ahead log is moved into the file and the directory is given free. May be called again.
    pub async fn close(&self) {
        let owner = Arc::clone(&self.owner);
        if let Err(gone) = tokio::task::spawn_blocking(move || owner.end()).await {
            tracing::error!(error = %gone, "the end of the store was not awaited");
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }

    /// Asks for a change, which takes `octets` of the queue's room, and waits until it is committed.
    pub(crate) async fn change<W: Write>(&self, write: W, octets: usize) -> Result<W::Answer, StoreError> {
        let (work, reply) = job(write);
        self.shared().queue.push(work, octets).await?;
        answer(reply).await
    }

    /// The same, refused at once when the queue has no room.
    pub(crate) async fn offer<W: Write>(&self, write: W, octets: usize) -> Result<W::Answer, StoreError> {
        let (work, reply) = job(write);
        self.shared().queue.offer(work, octets)?;
        answer(reply).await
    }
}

async fn answer<A>(reply: Reply<A>) -> Result<A, StoreError> {
    // Without an answer the committer has died with the change in its hands.
    reply.await.unwrap_or_else(|gone| Err(StoreError::new(ErrorKind::Unknown, gone)))
}
