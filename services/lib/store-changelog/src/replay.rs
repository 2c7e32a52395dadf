//! Replay of the changelog into the view, up to the end. Invariant: the view gets exactly the entries that
//! count, in order, and is marked complete only at the end of the changelog. Not here: the restoration of
//! user agents set aside (`restore`).

use pushgrid_runtime::Backoff;
use pushgrid_store::{Change, ChangelogRecord, Entry, ErrorKind, StoreError, Unreadable};
use pushgrid_types::cast::saturating;
use pushgrid_types::{LeaderEpoch, Position};
use tokio::time::Instant;

use crate::Health;
use crate::claims::Claims;
use crate::context::{Halt, PartitionContext, ReadResult};
use crate::reassert::Stale;

/// Callback for each entry that counts.
pub(crate) type Visit<'v> = &'v mut (dyn FnMut(&Entry) + Send);

/// Replays the changelog into the view, marks the view complete, and returns the end. `visit` sees each entry
/// at or after `visited` that counts, once and in order.
///
/// An entry counts if no claim of a higher leader epoch stands before. A claim higher than ours fails as
/// [`Halt::Fenced`]. Where an entry at or after `visited` does not count, or a record is damaged, the change
/// possibly replaced is written again. Unreadable records are passed over.
pub(crate) async fn bring_up(
    context: &PartitionContext,
    claims: &mut Claims,
    mut visited: Position,
    visit: Visit<'_>,
) -> Result<Position, Halt> {
    let mut stale = Stale::default();
    loop {
        visited = tell_all(context, claims, visited, visit, &mut stale).await?;
        // A view that is behind cannot tell which records to repair: replay once more. Repairs are read back the same
        // way.
        let Some(changes) = stale.reassert(context, visited).await? else { continue };
        if changes.is_empty() {
            return Ok(visited);
        }
        tracing::info!(
            changes = changes.len(),
            "records that do not count would take the place of some that do; these are written again"
        );
        for batch in changes.chunks(context.tuning.batch.max(1)) {
            context.append(visited, batch, || {}).await?;
        }
    }
}

async fn tell_all(
    context: &PartitionContext,
    claims: &mut Claims,
    visited: Position,
    visit: Visit<'_>,
    stale: &mut Stale,
) -> Result<Position, Halt> {
    let mut replay = Replay {
        context,
        claims,
        stale,
        visited,
        told: Position(0),
        pause: context.pause(),
        progress: Progress::new(context),
    };
    loop {
        replay.told = context.begin().await?;
        while !replay.pass(visit).await? {}
        let end = replay.visited;
        let answer = context.view.complete(context.barrier(end)).await;
        if let ReadResult::Answered(_) = context.asked(answer, &mut replay.pause, "complete the view").await?
        {
            replay.progress.end();
            return Ok(end);
        }
    }
}

/// Progress of a replay through the changelog.
struct Replay<'r> {
    context: &'r PartitionContext,
    claims: &'r mut Claims,
    stale: &'r mut Stale,
    /// Position up to which entries were visited.
    visited: Position,
    /// Applied offset of the view.
    told: Position,
    pause: Backoff,
    progress: Progress<'r>,
}

/// Changes for the next call to the view.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    octets: usize,
}

impl Replay<'_> {
    /// Reads once, as far as possible. True if the end was reached and applied.
    async fn pass(&mut self, visit: Visit<'_>) -> Result<bool, Halt> {
        let from = self.visited.min(self.told);
        // Without the leader epoch in force at `from`, fenced entries could not be told: read from the start.
        let (from, mut highest) = match self.claims.before(from) {
            Some(highest) => (from, highest),
            None => (Position(0), LeaderEpoch(0)),
        };
        let reading = self.context.changelog.read(self.context.partition, from).await;
        let mut reading = match reading {
            Ok(reading) => reading,
            Err(error) => return self.failed(error).await,
        };
        let end = reading.end();
        if self.visited > end {
            tracing::error!(
                visited = self.visited.0,
                end = end.0,
                "the changelog is shorter than it was: its topic was made anew; the partition is taken over again"
            );
            return Err(Halt::Corrupt);
        }
        if self.told > end {
            // The view was compared with the changelog when it began, so one of the two has changed since.
            let error = StoreError::new(ErrorKind::Unavailable, "the view is ahead of the changelog");
            self.context.after(error, &mut self.pause, "read the changelog").await?;
            self.told = self.context.begin().await?;
            return Ok(false);
        }
        self.progress.begin(from, end);
        let mut batch = Batch::default();
        loop {
            let records = match reading.next(self.context.tuning.batch).await {
                Ok(records) => records,
                Err(error) => return self.failed(error).await,
            };
            if records.is_empty() {
                break;
            }
            for record in records {
                let after = Position(record.position().0 + 1);
                self.progress.at(after);
                let entry = match record {
                    ChangelogRecord::Entry(entry) => entry,
                    ChangelogRecord::Unreadable(unreadable) => {
                        self.pass_over(&unreadable);
                        continue;
                    }
                };
                if self.take(entry, &mut highest, visit, &mut batch)? && !self.tell(&mut batch, after).await?
                {
                    return Ok(false);
                }
            }
        }
        // The tail may hold no change for the view, but its position must reach the end.
        if self.told < end && !self.tell(&mut batch, end).await? {
            return Ok(false);
        }
        self.visited = end;
        Ok(true)
    }

    async fn failed(&mut self, error: StoreError) -> Result<bool, Halt> {
        self.context.after(error, &mut self.pause, "read the changelog").await?;
        Ok(false)
    }

    /// Moves past an unreadable record.
    fn pass_over(&mut self, unreadable: &Unreadable) {
        self.context.unreadable.pass_over(unreadable);
        if unreadable.position >= self.visited {
            self.stale.pass_over(unreadable);
            self.visited = Position(unreadable.position.0 + 1);
        }
    }

    /// Takes the next entry in. True if the batch is full.
    fn take(
        &mut self,
        entry: Entry,
        highest: &mut LeaderEpoch,
        visit: Visit<'_>,
        batch: &mut Batch,
    ) -> Result<bool, Halt> {
        if entry.change == Change::Claimed {
            self.claims.passed(entry.by);
            *highest = entry.by.max(*highest);
            if entry.by > self.context.leader_epoch {
                return Err(Halt::Fenced);
            }
        }
        let counts = entry.by >= *highest;
        if counts {
            self.context.unreadable.supersede(std::slice::from_ref(&entry.change));
        }
        if entry.position >= self.visited {
            if counts {
                self.stale.remove(&entry.change);
                visit(&entry);
            } else {
                self.stale.add(&entry.change);
            }
            self.visited = Position(entry.position.0 + 1);
        }
        if counts && entry.position >= self.told && entry.change != Change::Claimed {
            batch.octets += match &entry.change {
                Change::Stored { message, .. } => message.weight(),
                Change::Claimed | Change::Subscribed(_) | Change::Unsubscribed(_) | Change::Ended { .. } => 0,
            };
            batch.changes.push(entry.change);
        }
        let tuning = &self.context.tuning;
        Ok(batch.changes.len() >= tuning.batch || batch.octets >= tuning.batch_octets)
    }

    /// Applies a batch to the view. False if the view is behind, and begun again.
    async fn tell(&mut self, batch: &mut Batch, to: Position) -> Result<bool, Halt> {
        let batch = std::mem::take(batch);
        loop {
            let barrier = self.context.barrier(self.told);
            let answer = self.context.view.apply(barrier, &batch.changes, to).await;
            match self.context.asked(answer, &mut self.pause, "tell the view").await? {
                ReadResult::Answered(()) => {
                    self.told = to;
                    return Ok(true);
                }
                ReadResult::Behind => {
                    self.told = self.context.begin().await?;
                    return Ok(false);
                }
                ReadResult::Again => {}
            }
        }
    }
}

/// Reports the progress of a replay longer than one batch.
struct Progress<'p> {
    context: &'p PartitionContext,
    from: Position,
    end: Position,
    begun: Option<Instant>,
    next: Instant,
}

impl<'p> Progress<'p> {
    fn new(context: &'p PartitionContext) -> Self {
        Self { context, from: Position(0), end: Position(0), begun: None, next: Instant::now() }
    }

    fn begin(&mut self, from: Position, end: Position) {
        (self.from, self.end) = (from, end);
        let entries = end.0 - from.0;
        if entries > saturating::<u64>(self.context.tuning.batch) && self.begun.is_none() {
            self.begun = Some(Instant::now());
            self.next = Instant::now() + self.context.tuning.progress_every;
            self.show(from);
            tracing::info!(entries, "the view is being caught up");
        }
    }

    fn at(&mut self, at: Position) {
        if self.begun.is_some() && at.0.is_multiple_of(100) {
            self.show(at);
            if Instant::now() >= self.next {
                self.next = Instant::now() + self.context.tuning.progress_every;
                let (done, of) = (at.0 - self.from.0, self.end.0 - self.from.0);
                tracing::info!(done, of, "catching the view up");
            }
        }
    }

    fn show(&self, at: Position) {
        let end = self.end;
        self.context.health.send_if_modified(|health| {
            if matches!(health, Health::Stopped(_)) {
                return false;
            }
            *health = Health::CatchingUp { at, end };
            true
        });
    }

    fn end(&self) {
        if let Some(begun) = self.begun {
            let took = begun.elapsed();
            tracing::info!(?took, "the view is caught up");
        }
    }
}
