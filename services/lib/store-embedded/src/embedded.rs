//! Opening, sharing and closing the embedded store. Not here: the errors of an open (`open_error`), the seams (`log`,
//! `mailbox`, `subscriptions`) and the writing (`committer`).

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use pushgrid_store::{BroadcastVersions, Ledger, LedgerSnapshot, StoreError};
use pushgrid_types::{Clock, KeptTime, Sequence};
use rusqlite::Connection;
use tokio::sync::watch;

use crate::cache::SubscriptionCache;
use crate::checkpointer::Checkpointer;
use crate::committer::Committer;
use crate::config::EmbeddedConfig;
use crate::consumer::{ConsumerTaken, EmbeddedConsumer};
use crate::damage::Damage;
use crate::directory::{DirectoryLock, Left};
use crate::failure::Failure;
use crate::feed::{Feed, RingLimit};
use crate::loss::Losses;
use crate::owner::Owner;
use crate::queue::Queue;
use crate::readers::Readers;
use crate::reserve::Reserve;
use crate::room::Room;
use crate::shared::Shared;
use crate::shown::Shown;
use crate::usage::Usages;
use crate::write::{self, Flush, KeepTime, Write, answer, job};
use crate::{OpenError, account, backup, directory, figures, recovery, schema, seals, wal};

/// State read from the file at the open.
struct Loaded {
    account: LedgerSnapshot,
    newest: u64,
    usages: Usages,
    broadcasts: BroadcastVersions,
    lost: u64,
    kept_time: Option<KeptTime>,
}

/// Books accepted losses, checks the keys, and reads the state kept in memory.
fn load(connection: &Connection, config: &EmbeddedConfig, given_up: &Losses) -> Result<Loaded, OpenError> {
    let lost = given_up.book(connection, &config.path.join(directory::DATABASE_FILE))?;
    if let Some(keys) = &config.keys {
        seals::check(connection, keys, config.accept_loss.as_deref())?;
    }
    let (account, newest) = account::load(connection)?;
    if !account.adds_up() {
        tracing::error!(?account, "the account of the data directory does not add up");
    }
    let kept_time = write::kept_time(connection)?.filter(|_| account.pending > 0);
    let (usages, broadcasts) = (Usages::load(connection)?, write::broadcasts(connection)?);
    Ok(Loaded { account, newest, usages, broadcasts, lost, kept_time })
}

/// Closes an unusable file; names the damage if that is the reason.
fn refuse(error: OpenError, connection: Connection, file: &Path, lock: &mut DirectoryLock) -> OpenError {
    let faults = match &error {
        OpenError::Database(_) | OpenError::Unreadable(_) => {
            schema::faults(&connection, 3).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    drop(connection);
    // `SQLite` deletes the log once all of it is in the file.
    if !wal::path_of(file).exists() {
        lock.closed();
    }
    if faults.is_empty() { error } else { OpenError::Damaged { path: file.to_owned(), faults } }
}

/// Log, mailbox and subscriptions in one file. Cheap to clone; all clones are one store.
///
/// Dropping the last clone (and the consumer) blocks until queued changes are written. [`Self::close`] does the same
/// without blocking a thread of the runtime.
#[derive(Debug, Clone)]
pub struct Embedded {
    owner: Arc<Owner>,
}

impl Embedded {
    /// Opens the store in `config.path`, created if missing, and locks the directory for this process. Blocks on the
    /// disk, and counts the pending messages: to be called before serving.
    pub fn open(config: &EmbeddedConfig) -> Result<Self, OpenError> {
        let mut lock = directory::take(&config.path)?;
        if let Some(copy) = backup::interrupted(&config.path) {
            return Err(OpenError::Unrestored { copy });
        }
        let file = config.path.join(directory::DATABASE_FILE);
        let left = lock.left();
        let is_new = directory::has_no_database(&config.path);
        let given_up = recovery::prepare(&file, &mut lock, config.accept_loss.as_deref())?;
        directory::make_database(&config.path)?;
        let mut connection = open_writer(&config.path, &file)?;
        let loaded = match load(&connection, config, &given_up) {
            Ok(loaded) => loaded,
            Err(error) => return Err(refuse(error, connection, &file, &mut lock)),
        };
        lock.opened();
        let checkpointer = Checkpointer::start(&file, &mut connection, config.rest)?;
        let full = Arc::new(AtomicBool::new(false));
        let room = Room::open(&config.path, &connection, config.file_octets, Arc::clone(&full))?;
        let Loaded { account, newest, usages, broadcasts, lost, kept_time } = loaded;
        let ring = RingLimit { messages: config.ring_messages, octets: config.ring_octets };
        let damage = Damage::new(&file);
        let shared = Arc::new(Shared {
            queue: Queue::new(config.queue_octets),
            feed: Feed::new(ring, Sequence(newest)),
            readers: Readers::new(file, config.read_connections, Arc::clone(&damage)),
            subscriptions: SubscriptionCache::new(config.cached_subscriptions),
            broadcasts: Shown::new(broadcasts),
            usages,
            ledger: Arc::new(Ledger::starting_at(account)),
            ends: config.ends.clone(),
            clock: OnceLock::new(),
            commits: AtomicU64::new(0),
            unwritten: AtomicU64::new(0),
            full,
            kept_time,
            damage,
            lost,
            is_new,
        });
        figures::show(&shared, &config.meter);
        if left != Left::InOrder {
            shared.damage.check();
        }
        let committer = Committer::new(checkpointer, connection, room, lock, Arc::clone(&shared), newest);
        let thread = std::thread::Builder::new()
            .name("committer".into())
            .spawn(move || committer.run())
            .map_err(OpenError::Thread)?;
        Ok(Self { owner: Arc::new(Owner { shared, committer: Mutex::new(Some(thread)) }) })
    }

    /// Sets the clock that dates receipts. Before, no message has ended; a second call changes nothing.
    pub fn date_by(&self, clock: Arc<dyn Clock>) {
        let _ = self.shared().clock.set(clock);
    }

    /// Attaches the consumer of the log, from the oldest message without an end. One at a time; after a drop there
    /// can be another.
    ///
    /// Errors: [`ConsumerTaken`] while another consumer is attached.
    pub fn consumer(&self) -> Result<EmbeddedConsumer, ConsumerTaken> {
        EmbeddedConsumer::attach(&self.owner)
    }

    /// Account of all lives of the data directory: accepted, ended by outcome, pending.
    pub fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.shared().ledger)
    }

    /// Transactions committed since the open: far fewer than changes, under load.
    pub fn commits(&self) -> u64 {
        self.shared().commits.load(Ordering::Relaxed)
    }

    /// True while messages and subscriptions are refused for want of room.
    pub fn is_full(&self) -> bool {
        self.shared().full.load(Ordering::Relaxed)
    }

    /// Clock of the previous life, as last kept. `None` if no message judged by this clock waits.
    pub fn kept_time(&self) -> Option<&KeptTime> {
        self.shared().kept_time.as_ref()
    }

    /// Keeps the clock for the next life.
    pub async fn keep_time(&self, time: KeptTime) -> Result<(), StoreError> {
        self.change(KeepTime(time), 0).await
    }

    /// True if the database was made by this open.
    pub fn is_new(&self) -> bool {
        self.shared().is_new
    }

    /// Number of times that damage was met since the open.
    pub fn damage_met(&self) -> u64 {
        self.shared().damage.met_so_far()
    }

    /// Watches the known damage of the file, in words for the operator; `None` while the file is sound.
    pub fn damage(&self) -> watch::Receiver<Option<String>> {
        self.shared().damage.watch()
    }

    /// Messages of this data directory that an operator has accepted to lose ([`EmbeddedConfig::accept_loss`]), as
    /// far as they could be counted.
    pub fn lost(&self) -> u64 {
        self.shared().lost
    }

    /// Returns once all earlier changes are on disk and in the account, lazy ones included.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.change(Flush, 0).await
    }

    /// Refuses further calls with [`ErrorKind::Closed`](pushgrid_store::ErrorKind::Closed). Returns once queued changes
    /// are written, the write-ahead log is moved into the file and the directory is released. May be called again.
    pub async fn close(&self) {
        let owner = Arc::clone(&self.owner);
        if let Err(gone) = tokio::task::spawn_blocking(move || owner.end()).await {
            tracing::error!(error = %gone, "the end of the store was not awaited");
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }

    /// Queues a change of `octets`, and waits for the commit.
    pub(crate) async fn change<W: Write>(&self, write: W, octets: usize) -> Result<W::Answer, StoreError> {
        let (work, reply) = job(write);
        self.shared().queue.push(work, octets).await?;
        answer(reply).await
    }

    /// Queues a change, or refuses it at once when the queue is full; then waits for the commit.
    pub(crate) async fn offer<W: Write>(&self, write: W, octets: usize) -> Result<W::Answer, StoreError> {
        let (work, reply) = job(write);
        self.shared().queue.offer(work, octets)?;
        answer(reply).await
    }
}

/// Opens the connection that writes. On a full disk the reserve of the previous life makes room.
fn open_writer(directory: &Path, file: &Path) -> Result<Connection, OpenError> {
    match schema::open_writer(file) {
        Err(OpenError::Database(ref error)) if Failure::from_driver(error).full => {
            Reserve::new(directory, 0).give_up();
            schema::open_writer(file)
        }
        opened => opened,
    }
}
