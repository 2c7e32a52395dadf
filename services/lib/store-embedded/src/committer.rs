//! The one thread that writes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pushgrid_store::ErrorKind;
use rusqlite::Connection;

use crate::checkpointer::Checkpointer;
use crate::directory::DirectoryLock;
use crate::failure::Failure;
use crate::queue::Entry;
use crate::shared::Shared;
use crate::write::{Effects, Transaction, Work};

/// Fields are dropped in this order: the directory is given free when the file is closed.
#[derive(Debug)]
pub(crate) struct Committer {
    checkpointer: Checkpointer,
    connection: Connection,
    _lock: DirectoryLock,
    shared: Arc<Shared>,
    /// The highest sequence that is committed.
    last: u64,
    /// Whether the connection is set to wait for the disk.
    synchronous: bool,
    /// Whether the last transaction failed: a failure is logged when it begins and when it ends.
    failing: bool,
}

/// Where a transaction failed.
enum Failed {
    /// Before its commit: one of the changes may be at fault.
    Change(Failure),
    /// At its commit or before any change: it would fail with fewer of them too.
    Whole(Failure),
}

impl Failed {
    fn into_failure(self) -> Failure {
        match self {
            Self::Change(failure) | Self::Whole(failure) => failure,
        }
    }
}

/// However the thread ends, nobody waits for it any more.
struct End<'s>(&'s Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.queue.close();
        self.0.queue.abandon();
        self.0.feed.close();
    }
}

impl Committer {
    /// Over the connection that writes, the threads and locks that go with it, and the highest sequence ever given.
    pub(crate) fn new(
        checkpointer: Checkpointer,
        connection: Connection,
        lock: DirectoryLock,
        shared: Arc<Shared>,
        last: u64,
    ) -> Self {
        Self { checkpointer, connection, _lock: lock, shared, last, synchronous: true, failing: false }
    }

    /// Commits what comes until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _end = End(&shared);
        loop {
            let batch = shared.queue.take();
            if batch.is_empty() {
                break;
            }
            shared.queue.finished(&batch);
            self.commit(batch);
            self.checkpointer.committed(&self.connection);
        }
        self.checkpointer.stop();
        shared.readers.close_idle();
        // The next start finds nothing to recover. When it fails, that start recovers.
        if let Err(error) = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::warn!(%error, "the write-ahead log was not moved into the file at the end");
        }
    }

    fn commit(&mut self, batch: Vec<Entry>) {
        let mut works: Vec<_> = batch.into_iter().map(|entry| entry.work).collect();
        match self.transact(&mut works) {
            Ok(()) => works.into_iter().for_each(Work::succeed),
            Err(Failed::Change(_)) if works.len() > 1 => {
                for work in works {
                    self.commit_alone(work);
                }
            }
            Err(failed) => self.fail(works, &failed.into_failure()),
        }
    }

    /// A change whose company failed has a transaction of its own, so that one does not fail for another.
    fn commit_alone(&mut self, work: Box<dyn Work>) {
        let mut works = vec![work];
        match self.transact(&mut works) {
            Ok(()) => works.into_iter().for_each(Work::succeed),
            Err(failed) => self.fail(works, &failed.into_failure()),
        }
    }

    fn fail(&mut self, works: Vec<Box<dyn Work>>, failure: &Failure) {
        self.note(Some(failure));
        let again: Vec<_> = works.into_iter().filter_map(|work| work.fail(failure)).collect();
        self.shared.queue.put_back(again);
    }

    /// Applies `works`, commits them, and makes known what has changed; or changes nothing.
    fn transact(&mut self, works: &mut [Box<dyn Work>]) -> Result<(), Failed> {
        let durable = works.iter().any(|work| !work.is_lazy());
        self.begin(durable).map_err(Failed::Whole)?;
        let mut transaction = Transaction::new(&self.connection, &self.shared.usages, self.last);
        let applied = works.iter_mut().try_for_each(|work| work.apply(&mut transaction));
        let finished = applied.and_then(|()| transaction.finish()).map_err(Failed::Change);
        let committed = finished.and_then(|done| match self.execute("COMMIT") {
            Ok(()) => Ok(done),
            Err(error) => Err(Failed::Whole(Failure::of_commit(&error))),
        });
        match committed {
            Ok((effects, last)) => {
                self.last = last;
                self.note(None);
                self.publish(effects);
                Ok(())
            }
            Err(failed) => {
                self.roll_back();
                Err(failed)
            }
        }
    }

    /// Lazy changes are not worth an fsync: the next durable commit brings them to the disk with itself, for the
    /// write-ahead log is one file.
    fn begin(&mut self, durable: bool) -> Result<(), Failure> {
        self.roll_back();
        if durable != self.synchronous {
            let pragma = if durable { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" };
            self.connection.execute_batch(pragma)?;
            self.synchronous = durable;
        }
        self.execute("BEGIN IMMEDIATE")?;
        Ok(())
    }

    /// Ends a transaction that failed, if the failure has not ended it.
    fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
    }

    fn execute(&self, statement: &str) -> Result<(), rusqlite::Error> {
        self.connection.prepare_cached(statement)?.execute([]).map(drop)
    }

    /// Makes known what is committed: first to those who count, then to those who act on it.
    fn publish(&self, effects: Effects) {
        let shared = &self.shared;
        shared.commits.fetch_add(1, Ordering::Relaxed);
        effects.entries.publish(&shared.ledger);
        shared.usages.publish(&effects.usage);
        shared.subscriptions.publish(&effects.subscriptions);
        shared.feed.publish(&effects.left_log, effects.accepted);
    }

    /// A store that cannot write is logged when that begins and when it ends, not for every change in between.
    fn note(&mut self, failure: Option<&Failure>) {
        match failure {
            Some(failure) if failure.kind == ErrorKind::Corrupt => {
                tracing::error!(error = %failure, "the store refuses a change: a person has to look");
            }
            Some(failure) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(error = %failure, "the store cannot write");
                }
            }
            None => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the store can write again");
                }
            }
        }
    }
}
