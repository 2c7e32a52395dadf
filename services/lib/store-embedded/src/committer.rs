//! The one thread that writes: takes batches from the queue, commits each in one transaction, answers, and publishes
//! the effects. Invariant: a change is answered once, and only after the commit or failure.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pushgrid_store::ErrorKind;
use rusqlite::Connection;

use crate::checkpointer::Checkpointer;
use crate::directory::DirectoryLock;
use crate::failure::Failure;
use crate::queue::Entry;
use crate::room::Room;
use crate::shared::Shared;
use crate::write::{Effects, Transaction, Work, any_receipt};

/// Longest wait of the end for connections with a read under way.
const END: Duration = Duration::from_millis(500);

/// Owner of the connection that writes. Fields are dropped in this order: the directory is released once the file is
/// closed.
#[derive(Debug)]
pub(crate) struct Committer {
    checkpointer: Checkpointer,
    connection: Connection,
    room: Room,
    lock: DirectoryLock,
    shared: Arc<Shared>,
    /// Highest sequence committed.
    last: u64,
    /// Set while the connection waits for the disk at each commit.
    synchronous: bool,
    /// Set after a failed transaction: the begin and the end of a failure are logged.
    failing: bool,
}

/// Stage at which a transaction failed.
enum Failed {
    /// Before the commit: one of the changes may be at fault.
    Change(Failure),
    /// At the commit or before any change: fewer changes would fail too.
    Whole(Failure),
}

impl Failed {
    fn failure(&self) -> &Failure {
        match self {
            Self::Change(failure) | Self::Whole(failure) => failure,
        }
    }

    fn into_failure(self) -> Failure {
        match self {
            Self::Change(failure) | Self::Whole(failure) => failure,
        }
    }
}

/// Releases all waiters, however the thread ends.
struct End<'s>(&'s Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.queue.close();
        self.0.queue.abandon();
        self.0.feed.close();
    }
}

impl Committer {
    /// Builds the committer over the connection that writes. `last` is the highest sequence ever given.
    pub(crate) fn new(
        checkpointer: Checkpointer,
        connection: Connection,
        room: Room,
        lock: DirectoryLock,
        shared: Arc<Shared>,
        last: u64,
    ) -> Self {
        Self { checkpointer, connection, room, lock, shared, last, synchronous: true, failing: false }
    }

    /// Commits batches until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _end = End(&shared);
        loop {
            let batch = shared.queue.take();
            if batch.is_empty() {
                break;
            }
            // Before the commit: new changes may queue up while this batch is written.
            shared.queue.finished(&batch);
            self.commit(batch);
            if self.checkpointer.committed(&self.connection) {
                self.room.log_begins_anew(&self.connection);
            }
            self.room.look_after(&self.connection);
        }
        self.checkpointer.stop();
        shared.damage.close();
        shared.readers.close_idle();
        self.end();
    }

    /// Moves all of the write-ahead log, so the next start has nothing to recover. On failure, or while somebody
    /// reads, the next start recovers.
    fn end(&mut self) {
        let moved = self.connection.busy_timeout(END).and_then(|()| {
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
        });
        match moved {
            Ok(0) => self.lock.closed(),
            Ok(_) => tracing::info!(
                "somebody reads the database: the next start moves the write-ahead log into it"
            ),
            Err(error) => {
                tracing::warn!(%error, "the write-ahead log was not moved into the file at the end");
            }
        }
    }

    fn commit(&mut self, batch: Vec<Entry>) {
        let mut works: Vec<_> = batch.into_iter().map(|entry| entry.work).collect();
        if !self.room.admits(&self.connection) {
            works = self.refuse(works);
        }
        match self.transact(&mut works) {
            Err(failed) if failed.failure().full => self.commit_without_room(works, failed.into_failure()),
            done => self.finish(works, done),
        }
    }

    /// Moves the write-ahead log, or lets the file grow, and retries; then with fewer changes, then without
    /// additions, then at the cost of the reserve.
    fn commit_without_room(&mut self, mut works: Vec<Box<dyn Work>>, mut failure: Failure) {
        // The cheapest first: the last one waits for readers.
        for make_room in [Room::move_log, Room::raise_bound, Room::move_log_soon] {
            if make_room(&mut self.room, &self.connection) {
                match self.transact(&mut works) {
                    Err(failed) if failed.failure().full => failure = failed.into_failure(),
                    done => return self.finish(works, done),
                }
            }
        }
        let works = self.commit_what_fits(works);
        if works.is_empty() {
            return;
        }
        self.room.run_out(&self.connection, &failure);
        let mut works = self.refuse(works);
        let done = match self.transact(&mut works) {
            Err(failed) if failed.failure().full && self.room.give_up_reserve(&self.connection) => {
                self.transact(&mut works)
            }
            done => done,
        };
        self.finish(works, done);
    }

    /// Commits the first of `works` in ever smaller parts. Returns the rest, from the first change without room even
    /// alone.
    fn commit_what_fits(&mut self, mut works: Vec<Box<dyn Work>>) -> Vec<Box<dyn Work>> {
        let mut part = works.len() / 2;
        while part > 0 && works.iter().any(|work| work.adds()) {
            let rest = works.split_off(part.min(works.len()));
            match self.transact(&mut works) {
                Err(failed) if failed.failure().full => {
                    part = works.len() / 2;
                    works.extend(rest);
                }
                done => {
                    self.finish(works, done);
                    works = rest;
                }
            }
        }
        works
    }

    /// Refuses changes that add something; returns the rest.
    fn refuse(&mut self, works: Vec<Box<dyn Work>>) -> Vec<Box<dyn Work>> {
        let (refused, rest): (Vec<_>, Vec<_>) = works.into_iter().partition(|work| work.adds());
        self.room.refused(refused.len());
        for work in refused {
            drop(work.fail(&Failure::no_room()));
        }
        rest
    }

    /// Answers the changes. If a change of several was at fault, each is retried alone first.
    fn finish(&mut self, works: Vec<Box<dyn Work>>, done: Result<(), Failed>) {
        match done {
            Ok(()) => works.into_iter().for_each(Work::succeed),
            Err(Failed::Change(_)) if works.len() > 1 => {
                for work in works {
                    self.commit_alone(work);
                }
            }
            Err(failed) => self.fail(works, &failed.into_failure()),
        }
    }

    /// Commits a change in a transaction of its own, so no change fails for another.
    fn commit_alone(&mut self, work: Box<dyn Work>) {
        let mut works = vec![work];
        match self.transact(&mut works) {
            Ok(()) => works.into_iter().for_each(Work::succeed),
            Err(failed) => self.fail(works, &failed.into_failure()),
        }
    }

    fn fail(&mut self, works: Vec<Box<dyn Work>>, failure: &Failure) {
        self.note(Some(failure));
        let has_lazy = works.iter().any(|work| work.is_lazy());
        let again: Vec<_> = works.into_iter().filter_map(|work| work.fail(failure)).collect();
        self.shared.queue.put_back(again);
        if has_lazy {
            // Last: a flush that begins after this count stands behind the changes in the queue.
            self.shared.unwritten.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Applies and commits `works`, and publishes the effects; or changes nothing.
    fn transact(&mut self, works: &mut [Box<dyn Work>]) -> Result<(), Failed> {
        if works.is_empty() {
            return Ok(());
        }
        let receipts = any_receipt(&self.connection).map_err(|error| Failed::Whole(error.into()))?;
        // A receipt is accepted with the end that it tells of, and what is accepted is durable.
        let durable = receipts || works.iter().any(|work| work.is_durable());
        self.begin(durable).map_err(Failed::Whole)?;
        let (tells, now) = (self.shared.ends.is_some(), self.shared.now());
        let mut transaction =
            Transaction::new(&self.connection, &self.shared.usages, self.last, tells, now, receipts);
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

    /// Begins a transaction. Lazy changes are not worth an fsync: the next durable commit brings these to the disk
    /// too, for the write-ahead log is one file.
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

    /// Ends a failed transaction, if the failure has not.
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

    /// Publishes committed effects: first to the counts, then to the readers of the effects.
    fn publish(&self, effects: Effects) {
        let shared = &self.shared;
        shared.commits.fetch_add(1, Ordering::Relaxed);
        effects.entries.publish(&shared.ledger);
        shared.usages.publish(&effects.usage);
        shared.subscriptions.publish(&effects.subscriptions);
        shared.broadcasts.publish(effects.broadcasts);
        shared.feed.publish(&effects.left_log, effects.accepted);
        if let Some(ends) = &shared.ends {
            ends.tell(&effects.ends);
        }
    }

    /// Logs when the store begins and ceases to fail, not each failed change.
    fn note(&mut self, failure: Option<&Failure>) {
        match failure {
            Some(failure) if failure.kind == ErrorKind::Corrupt => self.shared.damage.note(failure),
            // `room` reports want of room.
            Some(failure) if failure.full => {}
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
