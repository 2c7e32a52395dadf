//! Keeps how far the partition has been dealt with, where the next owner finds it.

use std::sync::Arc;

use pushgrid_store::{Commit, ErrorKind, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::Stop;
use crate::core::{Core, Counters};

/// Somebody who waits for a commit.
pub(crate) type Waiter = oneshot::Sender<Result<(), StoreError>>;

/// Commits a moment after something has changed, and at once for whoever asks, until the partition is another's.
pub(crate) async fn run(core: Arc<Core>, mut asked: mpsc::Receiver<Waiter>) -> Stop {
    let mut last: Option<Commit> = None;
    let mut pause = core.ground.pause();
    loop {
        let due = async {
            core.commit.notified().await;
            sleep(core.ground.tuning.commit_every).await;
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
        match core.commit_now(&mut last).await {
            Ok(()) => {
                pause = core.ground.pause();
                answer(waiters, &|| Ok(()));
            }
            Err(error) => {
                let kind = error.kind;
                answer(waiters, &|| Err(StoreError::plain(kind)));
                core.commit.notify_one();
                if let Err(halt) = core.ground.after(error, &mut pause, "commit").await {
                    return halt.stop();
                }
            }
        }
    }
}

/// Whoever asked may have gone away.
fn answer(waiters: Vec<Waiter>, result: &dyn Fn() -> Result<(), StoreError>) {
    for waiter in waiters {
        let _ = waiter.send(result());
    }
}

impl Core {
    async fn commit_now(&self, last: &mut Option<Commit>) -> Result<(), StoreError> {
        let (commit, ended) = {
            let tracker = self.tracker();
            (tracker.commit(&self.claims, self.ground.tuning.note), self.ledger.snapshot().ended)
        };
        let Some(commit) = commit else {
            return Err(StoreError::new(
                ErrorKind::Unavailable,
                "too much has been dealt with out of order; the last commit stands until less is",
            ));
        };
        if last.as_ref() != Some(&commit) {
            self.offsets.commit(commit.clone()).await?;
            Counters::add(&self.figures.commits, 1);
            *last = Some(commit);
        }
        *self.committed() = ended;
        Ok(())
    }
}
