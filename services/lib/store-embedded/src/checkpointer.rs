//! Moves committed pages from the write-ahead log into the file, beside the committer, so that commits do not wait
//! for it.
//!
//! The write-ahead log begins anew only when all of it has been moved, and under load something has always been
//! added. So when it has become long, the committer itself moves what the last pass has left: little.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;

use crate::{OpenError, schema};

/// Pages that are added to the write-ahead log before a pass: 4 MiB.
const STEP: u32 = 1024;

/// Pages at which the log is long: 32 MiB. Recovery after a crash reads at most about twice that.
const LONG: u32 = 8 * STEP;

/// The thread, and what the committer knows of its work.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// How many pages the log had when the last pass was asked for.
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
    /// Whether a pass is asked for, or going on.
    busy: bool,
    stopping: bool,
}

impl Checkpointer {
    /// Starts the thread for `file`, and has `writer` count the pages that it commits.
    pub(crate) fn start(file: &Path, writer: &mut Connection) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::default());
        let counted = Arc::clone(&shared);
        writer.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            counted.pages.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
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

    /// To be called after every commit: asks for a pass when there is enough for one, or has `writer` finish a long
    /// log.
    pub(crate) fn committed(&mut self, writer: &Connection) {
        let pages = self.shared.pages.load(Ordering::Relaxed);
        if pages < self.asked_at {
            // The log has begun anew.
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
    }

    /// Ends the thread, after the pass that it is in.
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
            let asked = self.changed.wait_while(self.lock(), |state| !state.busy && !state.stopping);
            let asked = asked.unwrap_or_else(PoisonError::into_inner);
            if asked.stopping {
                return;
            }
            drop(asked);
            move_pages(connection);
            self.lock().busy = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves what it can without keeping anybody waiting. What it cannot move now stays in the log, where it is as
/// durable: the next pass tries again.
fn move_pages(connection: &Connection) {
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        tracing::warn!(%error, "the write-ahead log could not be moved into the file");
    }
}
