use std::collections::BTreeSet;
use std::sync::Arc;

use pushgrid_store::{End, ErrorKind, StoreError, StoredMessage, ViewError};
use pushgrid_types::{Outcome, Position, UserAgentId};
use tokio::task::JoinError;
use tokio::time::Instant;

use super::Writer;
use crate::context::Halt;
use crate::operation::Operation;
use crate::restore::{self, Collected};
use crate::tracker::Entered;

impl Writer {
    /// Refuses the operations on user agents set aside, and answers the others.
    pub(super) fn refuse_aside(operations: Vec<Operation>, aside: &BTreeSet<UserAgentId>) -> Vec<Operation> {
        if aside.is_empty() {
            return operations;
        }
        let is_aside = |operation: &Operation| operation.user_agent().is_some_and(|of| aside.contains(&of));
        let (refused, others): (Vec<_>, Vec<_>) = operations.into_iter().partition(is_aside);
        for operation in refused {
            operation.fail(ErrorKind::Corrupt);
        }
        others
    }

    /// Begins to read the changelog for the user agents due to be restored, if any. The writer goes on
    /// meanwhile.
    pub(super) async fn begin_restoring(&mut self) -> Result<(), Halt> {
        if !self.restoring.is_empty() {
            return Ok(());
        }
        let due = self.core.aside().begin(Instant::now());
        if due.is_empty() {
            return Ok(());
        }
        let context = &self.core.context;
        match context.view.set_aside(self.core.barrier(), &due).await {
            Ok(()) => {
                let (changelog, partition) = (Arc::clone(&context.changelog), context.partition);
                let batch = context.tuning.batch;
                self.restoring.spawn(async move {
                    let mut collected = Collected::new(due);
                    let to = Position(u64::MAX);
                    collected.read(&*changelog, partition, to, batch).await.map(|()| collected)
                });
                Ok(())
            }
            Err(error) => self.put_off(error).await,
        }
    }

    /// Tells the view the state read, and the changes since.
    pub(super) async fn restore(
        &mut self,
        read: Result<Result<Collected, StoreError>, JoinError>,
    ) -> Result<(), Halt> {
        let mut collected = match read {
            Ok(Ok(collected)) => collected,
            Ok(Err(error)) => return self.put_off(error.into()).await,
            Err(error) => {
                tracing::error!(%error, "the reading of the changelog for a user agent failed");
                return Ok(());
            }
        };
        if collected.at > self.core.position() {
            self.catch_up().await?;
        }
        let core = Arc::clone(&self.core);
        let context = &core.context;
        if let Err(error) = self.read_on(&mut collected).await {
            return self.put_off(error.into()).await;
        }
        let has_newer = |id: &_| context.unreadable.has_newer(id);
        let ends = collected.of.values().flat_map(|kept| kept.judge(has_newer));
        self.end_all(&ends.collect::<Vec<_>>()).await?;
        if let Err(error) = self.read_on(&mut collected).await {
            return self.put_off(error.into()).await;
        }
        let mut failed = None;
        for (user_agent, kept) in &collected.of {
            match restore::tell(context, core.barrier(), *user_agent, kept).await {
                Ok(()) => core.aside().restored(*user_agent),
                // The others can be restored all the same.
                Err(ViewError::Unreadable(_)) => {}
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        // Those who are restored will not come again, so what is left to do for them is done now.
        if let Some(error) = failed {
            self.put_off(error).await?;
        }
        self.reassert(collected).await
    }

    /// Reads on to where the view is.
    async fn read_on(&self, collected: &mut Collected) -> Result<(), StoreError> {
        let (context, position) = (&self.core.context, self.core.position());
        if collected.at < position {
            let (changelog, partition) = (&*context.changelog, context.partition);
            collected.read(changelog, partition, position, context.tuning.batch).await?;
        }
        Ok(())
    }

    async fn end_all(&mut self, ends: &[(StoredMessage, Outcome)]) -> Result<(), Halt> {
        if ends.is_empty() {
            return Ok(());
        }
        let from = self.core.position();
        let changes: Vec<_> = ends.iter().map(|(stored, outcome)| stored.ended(*outcome)).collect();
        let told: Vec<_> = ends.iter().map(|(stored, outcome)| End::of_stored(*stored, *outcome)).collect();
        self.core.context.append_receipts(&told).await?;
        let to = self.make_durable(&changes).await?;
        let left = u64::try_from(ends.len()).expect("a length fits 64 bits");
        let mut entered = Entered { left, ..Entered::default() };
        for (_, outcome) in ends {
            entered.ended[outcome.index()] += 1;
        }
        self.enter_cycle(from, to, &entered);
        self.core.context.tell_ends(told.into_iter());
        Ok(())
    }

    /// Writes again the changes possibly replaced by late records. Replays passed these keys over while the
    /// view could not be asked about the user agent.
    async fn reassert(&mut self, mut collected: Collected) -> Result<(), Halt> {
        let core = Arc::clone(&self.core);
        let changes = loop {
            match collected.stale.reassert(&core.context, core.position()).await? {
                Some(changes) => break changes,
                None => self.catch_up().await?,
            }
        };
        if changes.is_empty() { Ok(()) } else { self.make_durable(&changes).await.map(drop) }
    }

    /// Leaves a failed restoration to the next attempt, after the backoff. [`ViewError::Fenced`] halts the
    /// writer; [`ViewError::Behind`] catches up first.
    async fn put_off(&mut self, error: ViewError) -> Result<(), Halt> {
        match error {
            ViewError::Fenced => Err(Halt::Fenced),
            ViewError::Behind(_) => self.catch_up().await,
            ViewError::Unreadable(_) => Ok(()),
            ViewError::Store(error) => {
                tracing::warn!(%error, "could not restore a user agent now");
                Ok(())
            }
        }
    }
}
