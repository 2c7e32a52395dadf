//! Bringing the view up to the end of the changelog.

use pushgrid_store::{Change, Entry, StoreError};
use pushgrid_types::{Position, Tenure};
use tokio::time::Instant;

use crate::Health;
use crate::claims::Claims;
use crate::ground::{Asked, Ground, Halt};
use crate::pause::Pause;
use crate::reassert::Stale;

/// What a caller wants of each entry that counts.
pub(crate) type Visit<'v> = &'v mut (dyn FnMut(&Entry) + Send);

/// Brings the view up to the end of the changelog, and has it say that it is complete. `visit` sees each entry at or
/// after `visited` that counts, once and in order. Answers where the end is.
///
/// An entry counts if no claim of a higher tenure stands before it. A claim of a higher tenure than ours ends this.
/// Where an entry at or after `visited` does not count, what it could take the place of is written again.
pub(crate) async fn bring_up(
    ground: &Ground,
    claims: &mut Claims,
    mut visited: Position,
    visit: Visit<'_>,
) -> Result<Position, Halt> {
    let mut stale = Stale::default();
    loop {
        visited = tell_all(ground, claims, visited, visit, &mut stale).await?;
        let Some(changes) = stale.reassert(ground, visited).await? else { continue };
        if changes.is_empty() {
            return Ok(visited);
        }
        tracing::info!(
            partition = ground.partition.0,
            changes = changes.len(),
            "another router wrote after its time; what it could undo is written again"
        );
        for batch in changes.chunks(ground.tuning.batch.max(1)) {
            ground.append(visited, batch, || {}).await?;
        }
    }
}

async fn tell_all(
    ground: &Ground,
    claims: &mut Claims,
    visited: Position,
    visit: Visit<'_>,
    stale: &mut Stale,
) -> Result<Position, Halt> {
    let mut replay = Replay {
        ground,
        claims,
        stale,
        visited,
        told: Position(0),
        pause: ground.pause(),
        progress: Progress::new(ground),
    };
    loop {
        replay.told = ground.begin().await?;
        while !replay.pass(visit).await? {}
        let end = replay.visited;
        let answer = ground.view.complete(ground.footing(end)).await;
        if let Asked::Answered(()) = ground.asked(answer, &mut replay.pause, "complete the view").await? {
            replay.progress.end();
            return Ok(end);
        }
    }
}

/// How far a reading of the changelog from a place on has come.
struct Replay<'r> {
    ground: &'r Ground,
    claims: &'r mut Claims,
    stale: &'r mut Stale,
    /// What was visited.
    visited: Position,
    /// What the view has.
    told: Position,
    pause: Pause,
    progress: Progress<'r>,
}

/// What the view is to be told next.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    octets: usize,
}

impl Replay<'_> {
    /// Reads once, as far as it goes. Says whether that was everything.
    async fn pass(&mut self, visit: Visit<'_>) -> Result<bool, Halt> {
        let from = self.visited.min(self.told);
        let (from, mut highest) = match self.claims.before(from) {
            Some(highest) => (from, highest),
            None => (Position(0), Tenure(0)),
        };
        let reading = self.ground.changelog.read(self.ground.partition, from).await;
        let mut reading = match reading {
            Ok(reading) => reading,
            Err(error) => return self.failed(error).await,
        };
        let end = reading.end();
        if self.visited.max(self.told) > end {
            tracing::error!(
                partition = self.ground.partition.0,
                "the view or the commit is ahead of the changelog: they are not of one history"
            );
            return Err(Halt::Corrupt);
        }
        self.progress.begin(from, end);
        let mut batch = Batch::default();
        loop {
            let entries = match reading.next(self.ground.tuning.batch).await {
                Ok(entries) => entries,
                Err(error) => return self.failed(error).await,
            };
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                let after = Position(entry.position.0 + 1);
                self.progress.at(after);
                if self.take(entry, &mut highest, visit, &mut batch)? && !self.tell(&mut batch, after).await?
                {
                    return Ok(false);
                }
            }
        }
        if self.told < end && !self.tell(&mut batch, end).await? {
            return Ok(false);
        }
        self.visited = end;
        Ok(true)
    }

    async fn failed(&mut self, error: StoreError) -> Result<bool, Halt> {
        self.ground.after(error, &mut self.pause, "read the changelog").await?;
        Ok(false)
    }

    /// Takes the next entry in. Says whether the batch is full.
    fn take(
        &mut self,
        entry: Entry,
        highest: &mut Tenure,
        visit: Visit<'_>,
        batch: &mut Batch,
    ) -> Result<bool, Halt> {
        if entry.change == Change::Claimed {
            self.claims.passed(entry.by);
            *highest = entry.by.max(*highest);
            if entry.by > self.ground.tenure {
                return Err(Halt::Fenced);
            }
        }
        let counts = entry.by >= *highest;
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
        let tuning = &self.ground.tuning;
        Ok(batch.changes.len() >= tuning.batch || batch.octets >= tuning.batch_octets)
    }

    /// Tells the view a batch. Says whether it has it; else the view has lost something.
    async fn tell(&mut self, batch: &mut Batch, to: Position) -> Result<bool, Halt> {
        let batch = std::mem::take(batch);
        loop {
            let footing = self.ground.footing(self.told);
            let answer = self.ground.view.apply(footing, &batch.changes, to).await;
            match self.ground.asked(answer, &mut self.pause, "tell the view").await? {
                Asked::Answered(()) => {
                    self.told = to;
                    return Ok(true);
                }
                Asked::Behind => {
                    self.told = self.ground.begin().await?;
                    return Ok(false);
                }
                Asked::Again => {}
            }
        }
    }
}

/// Shows how far a catch-up is, if it takes more than a moment.
struct Progress<'p> {
    ground: &'p Ground,
    from: Position,
    end: Position,
    begun: Option<Instant>,
    next: Instant,
}

impl<'p> Progress<'p> {
    fn new(ground: &'p Ground) -> Self {
        Self { ground, from: Position(0), end: Position(0), begun: None, next: Instant::now() }
    }

    fn begin(&mut self, from: Position, end: Position) {
        (self.from, self.end) = (from, end);
        let entries = end.0 - from.0;
        if entries > u64::try_from(self.ground.tuning.batch).unwrap_or(u64::MAX) && self.begun.is_none() {
            self.begun = Some(Instant::now());
            self.next = Instant::now() + self.ground.tuning.progress_every;
            self.show(from);
            tracing::info!(partition = self.ground.partition.0, entries, "the view is being caught up");
        }
    }

    fn at(&mut self, at: Position) {
        if self.begun.is_some() && at.0.is_multiple_of(100) {
            self.show(at);
            if Instant::now() >= self.next {
                self.next = Instant::now() + self.ground.tuning.progress_every;
                let (done, of) = (at.0 - self.from.0, self.end.0 - self.from.0);
                tracing::info!(partition = self.ground.partition.0, done, of, "catching the view up");
            }
        }
    }

    fn show(&self, at: Position) {
        let end = self.end;
        self.ground.health.send_if_modified(|health| {
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
            tracing::info!(partition = self.ground.partition.0, ?took, "the view is caught up");
        }
    }
}
