//! Take-over of a partition: claim, replay, restored account, started tasks. Invariant: nothing is handed out
//! before the view is complete and the account is known. Not here: the replay itself (`replay`) and the
//! meaning of the last commit (`inherit`).

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pushgrid_runtime::{Backoff, spans};
use pushgrid_store::{
    Change, Changelog, EndFeed, Entry, History, Ledger, LedgerSnapshot, LogConsumer, LogReader, Offsets,
    PartitionState, Presence, Share, StoreError, View,
};
use pushgrid_types::{LeaderEpoch, MessageId, Outcome, Partition, Position, Sequence};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{Instrument, Span};

use crate::claims::Claims;
use crate::consumer::Consumer;
use crate::context::{Halt, PartitionContext, ReadResult};
use crate::core::Core;
use crate::inherit::{Inherited, inherited};
use crate::lost::Lost;
use crate::note::Note;
use crate::replay::bring_up;
pub use crate::spare::SpareClaim;
use crate::tracker::{Ahead, Start, Tracker};
use crate::unreadable::UnreadableKeys;
use crate::writer::Writer;
use crate::{
    Health, PartitionGauges, PartitionStore, Receipts, StopReason, Tuning, committer, owing, reader, restore,
};

/// Capacity of the queue of flushes: only the store's own calls use it.
const WAITERS: usize = 16;

/// Dependencies of a take-over.
#[derive(Debug)]
pub struct Deps {
    /// Share of the log assigned to this router.
    pub share: Share,
    /// Changelog, written before the view.
    pub changelog: Arc<dyn Changelog>,
    /// Materialized view, which answers reads.
    pub view: Arc<dyn View>,
    /// Subscriber of the ends of messages; `None` without one.
    pub ends: Option<EndFeed>,
    /// Way of the receipts that senders ask for; without one, none is made.
    pub receipts: Option<Receipts>,
    /// Health, updated from now until the partition has stopped. The receivers are the caller's.
    pub health: watch::Sender<Health>,
    /// Claim of an earlier, failed attempt: the same value for all attempts of one process.
    pub spare: SpareClaim,
    /// Recorder of the metrics of the partitions of this process.
    pub gauges: PartitionGauges,
    /// Bounds.
    pub tuning: Tuning,
}

/// Partition taken over: its state in the changelog, the view and the log.
#[derive(Debug)]
pub struct TakenOver {
    /// Number of the partition.
    pub partition: Partition,
    /// Fencing token of this owner.
    pub leader_epoch: LeaderEpoch,
    /// Messages of the partition's log, neither ended nor stored. Yields an empty batch once the partition
    /// has stopped.
    pub consumer: Box<dyn LogConsumer>,
    /// Mailbox and subscriptions. Dropping the last handle abandons the partition.
    pub store: Arc<PartitionStore>,
    /// Account of the partition's messages.
    pub ledger: Arc<Ledger>,
}

impl TakenOver {
    /// The whole state of the partition, for the router. Claims of sessions are in no changelog: `presence`
    /// keeps them, under this [leader epoch](Self::leader_epoch).
    pub fn into_state(self, presence: Arc<dyn Presence>) -> PartitionState {
        PartitionState {
            leader_epoch: self.leader_epoch,
            consumer: self.consumer,
            mailbox: self.store.clone(),
            subscriptions: self.store.clone(),
            presence,
            lifecycle: self.store,
        }
    }
}

/// Takes a partition over: claims, replays the changelog into the view, and goes on from the last commit.
///
/// To be run in the span of the partition, where the partition's tasks run as well.
///
/// Passing failures are retried with backoff for as long as the future is polled. Dropping the future gives
/// the partition up, and leaves nothing behind but a claim; a failed attempt keeps the claim for the next
/// one.
///
/// Errors: [`Closed`](pushgrid_store::ErrorKind::Closed) once the partition is another router's,
/// [`Corrupt`](pushgrid_store::ErrorKind::Corrupt) when an operator has to look.
pub async fn take_over(deps: Deps) -> Result<TakenOver, StoreError> {
    let health = deps.health.clone();
    let _ = health.send_replace(Health::TakingOver);
    claim_and_begin(deps).await.map_err(|halt| {
        let _ = health.send_replace(Health::Stopped(halt.stop()));
        halt.error()
    })
}

async fn claim_and_begin(deps: Deps) -> Result<TakenOver, Halt> {
    let Deps { share, changelog, view, ends, receipts, health, spare, gauges, tuning } = deps;
    let Share { partition, mut reader, offsets } = share;
    let context = PartitionContext {
        partition,
        leader_epoch: LeaderEpoch(0),
        history: History::default(),
        has_written: AtomicBool::new(false),
        unreadable: UnreadableKeys::default(),
        changelog,
        view,
        ends,
        receipts,
        health,
        tuning,
        span: Span::current(),
    };
    let mut pause = context.pause();
    let leader_epoch = claim(&context, &spare, &mut pause).await?;
    spans::leads(leader_epoch);
    let context = PartitionContext { leader_epoch, ..context };
    match inherit(context, &*offsets, &mut *reader, pause).await {
        Ok(Heir { context, state }) => {
            let CaughtUp { claims, ledger, tracker, visited, inherited_to } = state;
            let core = Core::new(context, claims, offsets, ledger, tracker, visited);
            let state = start(core, reader, inherited_to);
            gauges.add(&state.store);
            Ok(state)
        }
        Err((context, halt)) => {
            if !context.has_written.load(Ordering::Relaxed) {
                spare.keep(context.leader_epoch);
            }
            Err(halt)
        }
    }
}

/// Owner of a caught-up partition, before the tasks start.
struct Heir {
    context: PartitionContext,
    state: CaughtUp,
}

/// State of a partition with a view just caught up.
struct CaughtUp {
    claims: Claims,
    ledger: Arc<Ledger>,
    tracker: Tracker,
    visited: Position,
    /// End of the log after the claim.
    inherited_to: Sequence,
}

/// Goes on from the previous owner's last commit. A failure returns the context, for the claim.
async fn inherit(
    mut context: PartitionContext,
    offsets: &dyn Offsets,
    reader: &mut dyn LogReader,
    mut pause: Backoff,
) -> Result<Heir, (PartitionContext, Halt)> {
    let mut another = context.pause();
    let asked = tokio::try_join!(history(&context, &mut pause), inherited(&context, offsets, &mut another));
    let inherited = match asked {
        Ok((history, inherited)) => {
            context.history = history;
            inherited
        }
        Err(halt) => return Err((context, halt)),
    };
    match catch_up(&context, inherited, reader, &mut pause).await {
        Ok(state) => Ok(Heir { context, state }),
        Err(halt) => Err((context, halt)),
    }
}

/// Replays the changelog into the view, then restores the account and the place in the log.
async fn catch_up(
    context: &PartitionContext,
    Inherited { next, note }: Inherited,
    reader: &mut dyn LogReader,
    pause: &mut Backoff,
) -> Result<CaughtUp, Halt> {
    let mut claims = note.as_ref().map_or_else(Claims::from_the_start, |note| note.claims.clone());
    let mut count = Count::new(next, note.as_ref());
    let mut visited = note.as_ref().map_or(Position(0), |note| note.collect_from);
    let waiting = loop {
        visited = bring_up(context, &mut claims, visited, &mut |entry| count.visit(entry)).await?;
        let books = note.as_ref().map(|note| count.expected(note));
        // Ends of damaged messages are appended, and read back by the next round.
        let answer = context.find_lost(visited, books.unwrap_or_default()).await;
        let ReadResult::Answered(lost) = context.asked(answer, pause, "ask the view").await? else {
            continue;
        };
        if !lost.is_empty() {
            let changes: Vec<_> = lost.iter().map(Lost::change).collect();
            context.append(visited, &changes, || {}).await?;
            context.tell_ends(lost.iter().map(Lost::end));
            continue;
        }
        let answer = restore::waiting(context, context.barrier(visited), books).await;
        if let ReadResult::Answered(waiting) = context.asked(answer, pause, "ask the view").await? {
            break waiting;
        }
    };
    // After the claim: no previous owner has read beyond this end.
    let inherited_to = loop {
        match reader.seek(next).await {
            Ok(end) => break end.max(next),
            Err(error) => context.after(error, pause, "find the place in the log").await?,
        }
    };
    count.ahead.end_at(inherited_to);
    let before = match (&note, &count) {
        (Some(note), _) => note.before,
        // Nothing is known of the account: it begins with the messages at hand.
        (None, count) => (count.ended_total() + waiting).saturating_sub(count.ahead.len()),
    };
    let ledger = Arc::new(Ledger::starting_at(LedgerSnapshot {
        accepted: before + count.ahead.len(),
        ended: count.ended,
        pending: waiting,
    }));
    let tracker = Tracker::new(Start {
        next,
        before,
        ahead: count.ahead,
        ended: count.ended,
        position: visited,
        waiting,
        is_known: note.is_some(),
    });
    tracing::info!(waiting, next = next.0, "the partition is taken over");
    Ok(CaughtUp { claims, ledger, tracker, visited, inherited_to })
}

/// Starts the tasks of a partition: writer, reader, committer, and receipts.
fn start(core: Core, log: Box<dyn LogReader>, inherited_to: Sequence) -> TakenOver {
    let core = Arc::new(core);
    core.serve();
    // A commit spares the next owner counting the same entries.
    core.commit.notify_one();
    let (queue, operations) = mpsc::channel(core.context.tuning.queue.max(1));
    let (flushes, asked) = mpsc::channel(WAITERS);
    // Each entry is of an open message, but for a few flushes.
    let (owing, ended) = mpsc::channel(core.context.tuning.window.saturating_add(WAITERS));
    let writer = Writer::new(Arc::clone(&core), operations);
    let tasks = vec![
        spawn(&core, async move { writer.run().await.stop() }),
        spawn(&core, reader::run(Arc::clone(&core), log)),
        spawn(&core, committer::run(Arc::clone(&core), asked)),
        spawn(&core, owing::run(Arc::clone(&core), ended)),
    ];
    TakenOver {
        partition: core.context.partition,
        leader_epoch: core.context.leader_epoch,
        consumer: Box::new(Consumer::new(Arc::clone(&core), owing.clone(), flushes.clone(), inherited_to)),
        ledger: Arc::clone(&core.ledger),
        store: Arc::new(PartitionStore::new(core, queue, flushes, owing, tasks)),
    }
}

/// Stops the partition as failed when a task panics; a stop with a reason comes first.
struct Guard(Arc<Core>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.stop(StopReason::Failed);
    }
}

/// Starts a task of the partition, in its span.
fn spawn(core: &Arc<Core>, task: impl Future<Output = StopReason> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(until_stopped(Arc::clone(core), task).instrument(core.context.span.clone()))
}

/// Runs a task of the partition. The end of either ends the other.
async fn until_stopped(core: Arc<Core>, task: impl Future<Output = StopReason>) {
    let _guard = Guard(Arc::clone(&core));
    let why = tokio::select! {
        biased;
        why = core.stopped() => why,
        why = task => why,
    };
    core.stop(why);
}

/// Claims the partition, or reuses the claim of an earlier attempt.
async fn claim(
    context: &PartitionContext,
    spare: &SpareClaim,
    pause: &mut Backoff,
) -> Result<LeaderEpoch, Halt> {
    loop {
        let claimed = match spare.still_last(context).await {
            Ok(Some(leader_epoch)) => Ok(leader_epoch),
            Ok(None) => context.changelog.claim(context.partition).await,
            Err(error) => Err(error),
        };
        match claimed {
            Ok(leader_epoch) => return Ok(leader_epoch),
            Err(error) => context.after(error, pause, "claim the partition").await?,
        }
    }
}

/// Identity of the changelog. Read at each take-over, at the cost of one record: the topic may have been made
/// anew while this process ran.
async fn history(context: &PartitionContext, pause: &mut Backoff) -> Result<History, Halt> {
    loop {
        match context.changelog.history(context.partition).await {
            Ok(history) => return Ok(history),
            Err(error) => context.after(error, pause, "read the first claim").await?,
        }
    }
}

/// Counts of ends and sequences, continued from the end of a note.
#[derive(Debug)]
struct Count {
    next: Sequence,
    /// Position before which ends are in the counts.
    position: Position,
    ended: [u64; Outcome::ALL.len()],
    /// Messages whose ends have been counted: an append without an answer may have been written twice.
    /// Damaged ones all share one sequence.
    seen: HashSet<(Sequence, MessageId)>,
    /// Messages above `next` already out of the log: those of the note, and those of the changelog after the
    /// note.
    ahead: Ahead,
}

impl Count {
    fn new(next: Sequence, note: Option<&Note>) -> Self {
        Self {
            next,
            position: note.map_or(Position(0), |note| note.position),
            ended: note.map_or([0; Outcome::ALL.len()], |note| note.ended),
            seen: HashSet::new(),
            ahead: note.map_or_else(Ahead::default, |note| Ahead::new(note.ranges.clone(), note.beyond)),
        }
    }

    fn visit(&mut self, entry: &Entry) {
        match &entry.change {
            Change::Claimed | Change::Subscribed(_) | Change::Unsubscribed(_) => {}
            Change::Stored { message, .. } => self.collect(message.sequence, message.id, entry.position),
            Change::Ended { id, sequence, outcome, .. } => {
                self.collect(*sequence, *id, entry.position);
                if entry.position >= self.position && self.seen.insert((*sequence, *id)) {
                    self.ended[outcome.index()] += 1;
                }
            }
        }
    }

    fn collect(&mut self, sequence: Sequence, id: MessageId, position: Position) {
        if sequence >= self.next {
            self.ahead.collect(sequence, id, position);
        }
    }

    /// Number of stored messages, by the account.
    fn expected(&self, note: &Note) -> u64 {
        (note.before + self.ahead.len()).saturating_sub(self.ended_total())
    }

    fn ended_total(&self) -> u64 {
        self.ended.iter().sum()
    }
}
