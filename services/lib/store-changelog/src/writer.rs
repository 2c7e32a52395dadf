//! The one task that changes a partition. All queued operations go into one cycle: the writer asks the view
//! for the facts, decides, writes one append to the changelog, tells the view, and only then answers.

mod draft;
mod gather;
mod restore;
mod tell;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use pushgrid_mailbox::REPEAT;
use pushgrid_store::{StoreError, ViewError};
use pushgrid_types::{ChannelId, Outcome, Position, Sequence, UserAgentId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::context::{Halt, ReadResult};
use crate::core::{Core, Counters};
use crate::lost::{DAMAGED, Lost};
use crate::operation::Operation;
use crate::replay::bring_up;
use crate::restore::Collected;
use crate::tracker::Entered;
use draft::Draft;
use gather::{Known, Questions};

/// Channels remembered for waiting messages of an earlier life. Beyond this number all are forgotten: such a
/// message then ends as replaced where it would have ended as unsubscribed.
const FORMER: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Writer {
    core: Arc<Core>,
    queue: mpsc::Receiver<Operation>,
    /// Operations taken from the queue, and due before the rest of the queue.
    carried: VecDeque<Operation>,
    /// The last message of the earlier lives of a channel: no waiting message up to there is of a topic of
    /// the present life.
    former: HashMap<(UserAgentId, ChannelId), Sequence>,
    /// Readings of the changelog for user agents set aside.
    restoring: JoinSet<Result<Collected, StoreError>>,
    /// Interval of checks on an idle view.
    checks: Interval,
}

impl Writer {
    pub(crate) fn new(core: Arc<Core>, queue: mpsc::Receiver<Operation>) -> Self {
        let every = core.context.tuning.check_every;
        let mut checks = interval_at(Instant::now() + every, every);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (carried, former, restoring) = (VecDeque::new(), HashMap::new(), JoinSet::new());
        Self { core, queue, carried, former, restoring, checks }
    }

    /// Runs until a halt.
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
                () = core.mend.notified() => {
                    self.catch_up().await?;
                    return self.end_lost().await;
                }
                _ = self.checks.tick() => return self.check().await,
                Some(read) = self.restoring.join_next() => return self.restore(read).await,
                _ = self.queue.recv_many(&mut taken, self.core.context.tuning.cycle) => {}
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
        let mut room = self.core.context.tuning.cycle;
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
        self.core.context.append_receipts(&done.ends).await?;
        let to = if done.changes.is_empty() { from } else { self.make_durable(&done.changes).await? };
        self.enter_cycle(from, to, &done.entered);
        self.core.context.tell_ends(done.ends.into_iter());
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

    /// Asks the view for the facts of the operations, however long the answer takes. `None`: all operations
    /// were refused.
    async fn ask(&mut self, mut operations: Vec<Operation>) -> Result<Option<(Vec<Operation>, Known)>, Halt> {
        let mut pause = self.core.context.pause();
        loop {
            let aside = self.core.aside().now();
            operations = Self::refuse_aside(operations, &aside);
            if operations.is_empty() {
                return Ok(None);
            }
            let questions = Questions::of(&operations, &aside);
            let answer = questions.ask(&*self.core.context.view, self.core.barrier()).await;
            if let Err(ViewError::Unreadable(of)) = &answer
                && self.core.set_aside(of)
            {
                continue;
            }
            match self.core.context.asked(answer, &mut pause, "ask the view").await? {
                ReadResult::Answered(known) => return Ok(Some((operations, Known { aside, ..known }))),
                ReadResult::Behind => self.catch_up().await?,
                ReadResult::Again => {}
            }
        }
    }

    /// Marks the view complete again: an idle view may have lost the mark, or more. The answer names the user
    /// agents set aside.
    async fn check(&mut self) -> Result<(), Halt> {
        match self.core.context.view.complete(self.core.barrier()).await {
            Ok(aside) => {
                self.core.set_aside(&aside);
                self.begin_restoring().await?;
            }
            Err(ViewError::Fenced) => return Err(Halt::Fenced),
            Err(ViewError::Behind(_)) => self.catch_up().await?,
            // Whoever needs the view meanwhile will say so.
            Err(error @ (ViewError::Unreadable(_) | ViewError::Store(_))) => {
                tracing::debug!(%error, "could not look after the view");
                return Ok(());
            }
        }
        self.end_lost().await
    }

    /// Ends messages of which only damaged records are left. Between two cycles, when as many have to be in
    /// the view as are on the books.
    async fn end_lost(&mut self) -> Result<(), Halt> {
        let from = self.core.position();
        let waiting = self.core.tracker().waiting();
        let lost = match self.core.context.find_lost(from, waiting).await {
            Ok(lost) if lost.is_empty() => return Ok(()),
            Ok(lost) => lost,
            Err(ViewError::Fenced) => return Err(Halt::Fenced),
            // The next look comes soon.
            Err(ViewError::Behind(_) | ViewError::Unreadable(_) | ViewError::Store(_)) => return Ok(()),
        };
        let changes: Vec<_> = lost.iter().map(Lost::change).collect();
        let to = self.make_durable(&changes).await?;
        let mut entered = Entered { left: lost.len() as u64, ..Entered::default() };
        entered.ended[DAMAGED.index()] = entered.left;
        self.enter_cycle(from, to, &entered);
        self.core.context.tell_ends(lost.iter().map(Lost::end));
        Ok(())
    }

    /// Tells the view all missing changes, from the changelog.
    async fn catch_up(&mut self) -> Result<(), Halt> {
        let core = &self.core;
        Counters::add(&core.figures.catch_ups, 1);
        let mut claims = core.claims.clone();
        let end = bring_up(&core.context, &mut claims, core.position(), &mut |_| {}).await?;
        core.set_position(end);
        core.serve();
        Ok(())
    }

    /// Enters the durable changes of a cycle: into the tracker and the account at once.
    fn enter_cycle(&self, from: Position, to: Position, entered: &Entered) {
        let core = &self.core;
        let mut tracker = core.tracker();
        let was_full = core.feed.full(&tracker).is_some();
        tracker.enter(from, to, entered);
        for outcome in Outcome::ALL {
            let repeats = if outcome == REPEAT { entered.repeats.len() } else { 0 };
            let ended = entered.ended[outcome.index()] + u64::try_from(repeats).unwrap_or(u64::MAX);
            if ended > 0 {
                core.ledger.end(outcome, ended);
            }
        }
        drop(tracker);
        core.feed.was_full(was_full);
        core.commit.notify_one();
    }
}
