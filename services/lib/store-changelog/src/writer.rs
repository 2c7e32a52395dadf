//! The one task that changes a partition. It takes what has gathered and does it in one cycle: asks the view what it
//! has to know, decides, writes one append to the changelog, tells the view, and only then answers.

mod draft;
mod gather;
mod tell;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use pushgrid_store::{ErrorKind, ViewError};
use pushgrid_types::{ChannelId, Outcome, Position, Sequence, UserAgentId};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::core::{Core, Counters};
use crate::ground::{Asked, Halt};
use crate::operation::Operation;
use crate::replay::bring_up;
use crate::tracker::{Entered, REPEAT};
use draft::Draft;
use gather::{Known, Questions};

/// Channels of which it is remembered that messages of an earlier life wait. Beyond it all are forgotten: such a message
/// then ends as replaced where it would have ended as unsubscribed.
const FORMER: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Writer {
    core: Arc<Core>,
    queue: mpsc::Receiver<Operation>,
    /// Taken from the queue, and to come before it.
    carried: VecDeque<Operation>,
    /// The last message of the earlier lives of a channel: what waits up to there is of no topic of the present life.
    former: HashMap<(UserAgentId, ChannelId), Sequence>,
    /// When to look after the view though nothing happens.
    checks: Interval,
}

impl Writer {
    pub(crate) fn new(core: Arc<Core>, queue: mpsc::Receiver<Operation>) -> Self {
        let every = core.ground.tuning.check_every;
        let mut checks = interval_at(Instant::now() + every, every);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { core, queue, carried: VecDeque::new(), former: HashMap::new(), checks }
    }

    /// Runs until it cannot go on.
    pub(crate) async fn run(mut self) -> Halt {
        loop {
            if let Err(halt) = self.turn().await {
                return halt;
            }
        }
    }

    async fn turn(&mut self) -> Result<(), Halt> {
        if self.carried.is_empty() {
            let mut taken = Vec::new();
            let core = Arc::clone(&self.core);
            tokio::select! {
                biased;
                () = core.mend.notified() => return self.catch_up().await,
                _ = self.checks.tick() => return self.check().await,
                _ = self.queue.recv_many(&mut taken, self.core.ground.tuning.cycle) => {}
            }
            self.carried.extend(taken);
        }
        let operations = self.next_operations();
        if operations.is_empty() {
            // The queue lives as long as the handles; without them the partition has stopped.
            return std::future::pending().await;
        }
        self.cycle(operations).await
    }

    /// As many operations as fit a cycle, at least one if there is one.
    fn next_operations(&mut self) -> Vec<Operation> {
        let mut room = self.core.ground.tuning.cycle;
        let mut taken = Vec::new();
        while let Some(next) = self.carried.front() {
            let weight = next.weight();
            if weight > room && !taken.is_empty() {
                break;
            }
            room = room.saturating_sub(weight);
            taken.extend(self.carried.pop_front());
        }
        taken
    }

    async fn cycle(&mut self, operations: Vec<Operation>) -> Result<(), Halt> {
        let figures = &self.core.figures;
        Counters::add(&figures.cycles, 1);
        Counters::add(&figures.operations, operations.len());
        let Some((operations, known)) = self.ask(operations).await? else { return Ok(()) };
        let from = self.core.position();
        let mut draft = Draft::new(&self.core, known, &mut self.former);
        let mut deferred = Vec::new();
        for operation in operations {
            deferred.extend(draft.decide(operation));
        }
        let done = draft.finish();
        let to = if done.changes.is_empty() { from } else { self.make_durable(&done.changes).await? };
        self.core.enter_cycle(from, to, &done.entered);
        for answer in done.answers {
            answer();
        }
        for operation in deferred.into_iter().rev() {
            self.carried.push_front(operation);
        }
        if self.former.len() > FORMER {
            self.former.clear();
        }
        Ok(())
    }

    /// Asks the view what the operations need, however long that takes. `None`: it refused, and they were told.
    async fn ask(&mut self, operations: Vec<Operation>) -> Result<Option<(Vec<Operation>, Known)>, Halt> {
        let questions = Questions::of(&operations);
        let mut pause = self.core.ground.pause();
        loop {
            let answer = questions.ask(&*self.core.ground.view, self.core.footing()).await;
            if let Err(ViewError::Store(error)) = &answer
                && error.kind == ErrorKind::Corrupt
            {
                tracing::error!(%error, partition = self.core.ground.partition.0, "the view refuses to answer");
                for operation in operations {
                    operation.fail(error.kind);
                }
                return Ok(None);
            }
            match self.core.ground.asked(answer, &mut pause, "ask the view").await? {
                Asked::Answered(known) => return Ok(Some((operations, known))),
                Asked::Behind => self.catch_up().await?,
                Asked::Again => {}
            }
        }
    }

    /// Says again that the view is complete: it may have lost that, or more, while nobody asked it anything.
    async fn check(&mut self) -> Result<(), Halt> {
        match self.core.ground.view.complete(self.core.footing()).await {
            Ok(()) => Ok(()),
            Err(ViewError::Fenced) => Err(Halt::Fenced),
            Err(ViewError::Behind(_)) => self.catch_up().await,
            // Whoever needs the view meanwhile will say so.
            Err(ViewError::Store(error)) => {
                tracing::debug!(%error, "could not look after the view");
                Ok(())
            }
        }
    }

    /// Tells the view everything that it has not, as the changelog has it.
    async fn catch_up(&mut self) -> Result<(), Halt> {
        let core = &self.core;
        Counters::add(&core.figures.catch_ups, 1);
        let mut claims = core.claims.clone();
        let end = bring_up(&core.ground, &mut claims, core.position(), &mut |_| {}).await?;
        core.set_position(end);
        core.serve();
        Ok(())
    }
}

impl Core {
    /// Enters what a cycle has made durable: into the tracker and the account at once.
    fn enter_cycle(&self, from: Position, to: Position, entered: &Entered) {
        let mut tracker = self.tracker();
        let window = tracker.len();
        tracker.enter(from, to, entered);
        for outcome in Outcome::ALL {
            let repeats = if outcome == REPEAT { entered.repeats.len() } else { 0 };
            let ended = entered.ended[outcome.index()] + u64::try_from(repeats).unwrap_or(u64::MAX);
            if ended > 0 {
                self.ledger.end(outcome, ended);
            }
        }
        drop(tracker);
        self.feed.window_was(window);
        self.commit.notify_one();
    }
}
