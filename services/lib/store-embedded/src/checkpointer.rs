//! Moves committed pages from the write-ahead log into the file, beside the committer, so that commits do not wait.
//!
//! The write-ahead log begins anew only when all of it has been moved, and under load something has always been
//! added. So once the log is long, the committer itself moves the little that the last pass has left.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

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
    /// Starts the thread for `file`, and has `writer` count the pages of each commit.
    pub(crate) fn start(file: &Path, writer: &mut Connection) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::default());
        let counted = Arc::clone(&shared);
        writer.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            counted.pages.store(saturating::<u32>(pages), Ordering::Relaxed);
            Ok(())
        }))?;
        let connection = schema::open_checkpointer(file)?;
        let passing = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("checkpointer".into())
            .spawn(move || passing.run(&connection))
            .map_err(OpenError::Thread)?;
        Ok(Self { shared, thread: Some(thread), asked_at: 0 })
    }

    /// Requests a pass if enough pages have come, or has `writer` finish a long log; called after every commit. True
    /// if the log has begun anew since the last pass, so that all earlier pages are in the file.
    pub(crate) fn committed(&mut self, writer: &Connection) -> bool {
        let pages = self.shared.pages.load(Ordering::Relaxed);
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
    fn run(&self, connection: &Connection) {
        loop {
            let mut asked = self.lock();
            self.changed.wait_while(&mut asked, |state| !state.busy && !state.stopping);
            if asked.stopping {
                return;
            }
            drop(asked);
            move_pages(connection);
            self.lock().busy = false;
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
