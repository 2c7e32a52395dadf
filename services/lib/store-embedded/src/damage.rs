//! Damage of the file: a call that meets damage fails alone, and the operator is told once of the fault and the
//! remedy. Bound: calls that meet damage cause one log line and one check a minute, at most.

mod pieces;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pushgrid_store::ErrorKind;
use rusqlite::ErrorCode;
use tokio::sync::watch;

use crate::failure::Failure;
use crate::schema;

/// Longest check of the whole file, which keeps the write-ahead log from beginning anew meanwhile. A longer one goes
/// on in pieces.
const CHECK: Duration = Duration::from_secs(10);

/// Most faults named by a check.
const NAMED: usize = 10;

/// Steps of `SQLite` between two looks at the clock.
const STEPS: i32 = 1000;

/// Least time between two log lines about damage, and between two checks.
const PAUSE: Duration = Duration::from_mins(1);

/// Known damage of one file.
#[derive(Debug)]
pub(crate) struct Damage {
    file: PathBuf,
    /// Longest check of the whole file.
    patience: Duration,
    /// Number of calls that met damage.
    met: AtomicU64,
    /// Set once the store ends; a check under way stops.
    closed: AtomicBool,
    checking: AtomicBool,
    told: Mutex<Option<Instant>>,
    /// Text for the operator; `None` while no damage is known.
    known: watch::Sender<Option<String>>,
}

impl Damage {
    pub(crate) fn new(file: &Path) -> Arc<Self> {
        Self::with_patience(file, CHECK)
    }

    /// Builds the state with another bound for a check of the whole file.
    pub(crate) fn with_patience(file: &Path, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            file: file.to_owned(),
            patience,
            met: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            checking: AtomicBool::new(false),
            told: Mutex::new(None),
            known: watch::Sender::new(None),
        })
    }

    /// Number of calls that met damage.
    pub(crate) fn met_so_far(&self) -> u64 {
        self.met.load(Ordering::Relaxed)
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Option<String>> {
        self.known.subscribe()
    }

    /// Takes in the failure of a read or a change. After damage the operator is told, at most once a minute, and the
    /// file is checked.
    pub(crate) fn note(self: &Arc<Self>, failure: &Failure) {
        if failure.kind != ErrorKind::Corrupt {
            return;
        }
        let met = self.met.fetch_add(1, Ordering::Relaxed) + 1;
        let mut told = self.told.lock();
        if told.is_some_and(|last| last.elapsed() < PAUSE) {
            return;
        }
        *told = Some(Instant::now());
        drop(told);
        tracing::error!(
            error = %failure,
            met,
            "the database is damaged; whom it concerns is refused, all others are served. Stop the service, look after \
             the disk, and restore a backup (`pushgrid restore`)"
        );
        self.known.send_if_modified(|known| {
            let first = known.is_none();
            known.get_or_insert_with(|| format!("the database is damaged ({failure}): see the log"));
            first
        });
        self.check();
    }

    /// Checks the file for damaged pages in a separate thread, and logs the pages. One check at a time.
    pub(crate) fn check(self: &Arc<Self>) {
        if self.checking.swap(true, Ordering::Relaxed) {
            return;
        }
        let damage = Arc::clone(self);
        let started = std::thread::Builder::new().name("check".into()).spawn(move || {
            damage.look();
            damage.checking.store(false, Ordering::Relaxed);
        });
        if let Err(error) = started {
            self.checking.store(false, Ordering::Relaxed);
            tracing::warn!(%error, "the database could not be checked");
        }
    }

    /// Stops a check under way: a reader keeps the store from closing in order.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Checks the whole file, or in pieces if the whole takes too long.
    pub(crate) fn look(self: &Arc<Self>) {
        let mut faults = Vec::new();
        let whole = self.check_whole(&mut faults);
        self.tell(&faults);
        match whole {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
                if !self.is_closed() {
                    self.look_in_pieces();
                }
            }
            Err(error) => tracing::warn!(
                %error,
                "the database could not be checked: damage of it is named when it is met. `pushgrid backup` checks its copy"
            ),
            Ok(()) => {}
        }
    }

    /// Checks the file in pieces, after a check of the whole was cut off.
    pub(crate) fn look_in_pieces(&self) {
        tracing::warn!(
            seconds = self.patience.as_secs(),
            "the check of the database did not come to its end in time: it goes on in pieces, which find what cannot be \
             read. To have the whole checked, make a backup: `pushgrid backup` checks its copy"
        );
        let found = schema::open_reader(&self.file).map_err(Failure::from).and_then(|connection| {
            pieces::find_faults(&connection, NAMED, &|| !self.is_closed(), &|fault| self.tell(&[fault]))
        });
        match found {
            Ok(Some(faults)) => {
                tracing::info!(faults, "the check of the database in pieces has come to its end");
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "the check of the database in pieces did not come to its end");
            }
        }
    }

    fn tell(&self, faults: &[String]) {
        for fault in faults {
            tracing::error!(%fault, "the database is damaged");
        }
        if let Some(first) = faults.first() {
            self.known.send_replace(Some(format!("the database is damaged ({first}): see the log")));
        }
    }

    fn check_whole(self: &Arc<Self>, faults: &mut Vec<String>) -> Result<(), rusqlite::Error> {
        let mut connection = schema::open_reader(&self.file)?;
        let (damage, end) = (Arc::clone(self), Instant::now() + self.patience);
        connection.progress_handler(STEPS, Some(move || damage.is_closed() || Instant::now() > end))?;
        schema::find_faults(&connection, NAMED, faults)
    }
}
