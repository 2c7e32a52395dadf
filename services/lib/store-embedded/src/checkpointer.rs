//! Moves committed pages from the write-ahead log into the file, beside the committer, so that commits do not wait.
//!
//! The write-ahead log begins anew only when all of it has been moved, and under load something has always been
//! added. So once the log is long, the committer itself moves the little that the last pass has left.
//!
//! Deleted content is overwritten in the file (`schema.rs`), but the log keeps what was written to it until it is written
//! over. So when nothing has been committed for a while, all of the log is moved, and it is cut to nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use pushgrid_types::cast::saturating;
use rusqlite::Connection;

use crate::failure::Failure;
use crate::{OpenError, schema};

/// Pages added to the write-ahead log between two passes: 4 MiB.
const STEP: u32 = 1024;

/// Pages at which the log is long: 32 MiB. Recovery after a crash reads at most about twice that.
const LONG: u32 = 8 * STEP;

/// Handle of the thread, held by the committer.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Pages of the log when the last pass was requested.
    asked_at: u32,
}

#[derive(Debug, Default)]
struct Shared {
    /// Pages in the write-ahead log, as of the last commit.
    pages: AtomicU32,
    commits: AtomicU64,
    /// True while the thread waits for the first commit to a log that is empty.
    sleeps: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Set while a pass is requested or under way.
    busy: bool,
    stopping: bool,
}

impl Checkpointer {
    /// Starts the thread for `file`, and has `writer` count the pages of each commit. The log is emptied after `rest`
    /// without a commit.
    pub(crate) fn start(file: &Path, writer: &mut Connection, rest: Duration) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::default());
        let counted = Arc::clone(&shared);
        writer.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            counted.pages.store(saturating::<u32>(pages), Ordering::Relaxed);
            counted.commits.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }))?;
        let connection = schema::open_checkpointer(file)?;
        let passing = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("checkpointer".into())
            .spawn(move || passing.run(&connection, rest))
            .map_err(OpenError::Thread)?;
        Ok(Self { shared, thread: Some(thread), asked_at: 0 })
    }

    /// Requests a pass if enough pages have come, or has `writer` finish a long log; called after every commit. True
    /// if the log has begun anew since the last pass, so that all earlier pages are in the file.
    pub(crate) fn committed(&mut self, writer: &Connection) -> bool {
        let pages = self.shared.pages.load(Ordering::Relaxed);
        if self.shared.sleeps.load(Ordering::SeqCst) {
            // Under the lock, for the thread may be about to wait.
            let _state = self.shared.lock();
            self.shared.changed.notify_one();
        }
        let begun_anew = pages < self.asked_at;
        if begun_anew {
            self.asked_at = 0;
        }
        if pages >= LONG && !self.shared.lock().busy {
            move_pages(writer);
            self.asked_at = pages;
        } else if pages < LONG && pages - self.asked_at >= STEP {
            self.asked_at = pages;
            self.shared.lock().busy = true;
            self.shared.changed.notify_one();
        }
        begun_anew
    }

    /// Ends the thread, after the pass under way.
    pub(crate) fn stop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that moves the write-ahead log has panicked");
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn run(&self, connection: &Connection, rest: Duration) {
        // What an earlier life has left in the log, too.
        let mut emptied_at = None;
        loop {
            let mut state = self.lock();
            let commits = || self.commits.load(Ordering::SeqCst);
            self.sleeps.store(true, Ordering::SeqCst);
            while Some(commits()) == emptied_at && !state.busy && !state.stopping {
                self.changed.wait(&mut state);
            }
            self.sleeps.store(false, Ordering::SeqCst);
            let before = commits();
            let waits = |state: &mut State| !state.busy && !state.stopping;
            let rested = self.changed.wait_while_for(&mut state, waits, rest).timed_out();
            if state.stopping {
                return;
            }
            let is_asked = state.busy;
            drop(state);
            if is_asked {
                move_pages(connection);
                self.lock().busy = false;
            } else if rested && commits() == before && empty(connection) {
                emptied_at = Some(before);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// Moves as many pages as possible without blocking anybody. The others stay in the log, equally durable, for the
/// next pass. A full disk is reported once, by the committer.
fn move_pages(connection: &Connection) {
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        let failure = Failure::from(error);
        if !failure.full {
            tracing::warn!(error = %failure, "the write-ahead log could not be moved into the file");
        }
    }
}

/// Moves all pages and cuts the log to nothing. False if somebody was reading or writing.
fn empty(connection: &Connection) -> bool {
    let emptied = schema::without_waiting(connection, || {
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
    });
    match emptied {
        Ok(busy) => busy == 0,
        Err(error) => {
            tracing::debug!(%error, "the write-ahead log could not be emptied");
            false
        }
    }
}
