//! Commits the log's offset and the note, from which the next owner goes on. Invariant: offset and note are
//! of one moment, taken under the tracker's lock. Not here: the form of the note (`note`).

use std::sync::Arc;

use pushgrid_store::{Commit, ErrorKind, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::StopReason;
use crate::core::{Core, Counters, closed};
use crate::tracker::Snapshot;

/// Caller of a flush, waiting for the commit.
pub(crate) type Waiter = oneshot::Sender<Result<Committed, StoreError>>;

/// A commit that has been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Committed {
    /// Messages that ended in the log and have no room in the note: a crash redelivers them.
    pub(crate) ends_left_out: u64,
}

/// Asks for a commit, and waits for it.
pub(crate) async fn committed(flushes: &mpsc::Sender<Waiter>) -> Result<Committed, StoreError> {
    let (waiter, committed) = oneshot::channel();
    flushes.send(waiter).await.map_err(|_| closed())?;
    committed.await.map_err(|_| closed())?
}

/// Commits `commit_every` after a change, and at once for each flush, until the partition has stopped. A
/// failed commit is retried with backoff; its callers get the error.
pub(crate) async fn run(core: Arc<Core>, mut asked: mpsc::Receiver<Waiter>) -> StopReason {
    let mut last: Option<Commit> = None;
    let mut pause = core.context.pause();
    loop {
        let due = async {
            core.commit.notified().await;
            sleep(core.context.tuning.commit_every).await;
        };
        let mut waiters: Vec<Waiter> = Vec::new();
        tokio::select! {
            biased;
            Some(waiter) = asked.recv() => waiters.push(waiter),
            () = due => {}
        }
        while let Ok(waiter) = asked.try_recv() {
            waiters.push(waiter);
        }
        match commit(&core, &mut last).await {
            Ok(committed) => {
                pause = core.context.pause();
                answer(waiters, &|| Ok(committed));
            }
            Err(error) => {
                let kind = error.kind;
                answer(waiters, &|| Err(StoreError::plain(kind)));
                core.commit.notify_one();
                if let Err(halt) = core.context.after(error, &mut pause, "commit").await {
                    return halt.stop();
                }
            }
        }
    }
}

/// A caller may have gone away, which undoes nothing.
fn answer(waiters: Vec<Waiter>, result: &dyn Fn() -> Result<Committed, StoreError>) {
    for waiter in waiters {
        let _ = waiter.send(result());
    }
}

/// Commits, unless the last commit says the same.
async fn commit(core: &Core, last: &mut Option<Commit>) -> Result<Committed, StoreError> {
    // The view lacks records that were passed over, so the next owner has to read them again.
    let newer = core.context.unreadable.first_newer();
    let (commit, ended, ends_left_out) = {
        let mut tracker = core.tracker();
        let Snapshot { commit, left_out, ends_left_out } =
            tracker.snapshot(&core.claims, newer, core.context.tuning.note);
        let was_full = core.feed.full(&tracker).is_some();
        // Room for acknowledged messages in the note may reopen the reader of the log.
        tracker.leave_out(left_out);
        core.feed.was_full(was_full);
        (commit, core.ledger.snapshot().ended, ends_left_out)
    };
    let Some(commit) = commit else {
        return Err(StoreError::new(
            ErrorKind::Unavailable,
            "too much has been dealt with out of order; the last commit stands until less is",
        ));
    };
    // The same commit would change nothing.
    if last.as_ref() != Some(&commit) {
        core.offsets.commit(commit.clone()).await?;
        Counters::add(&core.figures.commits, 1);
        *last = Some(commit);
    }
    *core.committed() = ended;
    Ok(Committed { ends_left_out })
}
