use std::collections::HashSet;
use std::sync::Arc;

use pushgrid_store::{
    Change, Changelog, Commit, Entry, ErrorKind, Ledger, LedgerSnapshot, LogConsumer, LogReader, Offsets,
    Share, StoreError, View,
};
use pushgrid_types::{Outcome, Partition, Position, Sequence, Tenure};
use tokio::sync::{mpsc, watch};

use crate::claims::Claims;
use crate::core::Core;
use crate::feed::{self, Consumer};
use crate::ground::{Asked, Ground, Halt};
use crate::note::Note;
use crate::pause::Pause;
use crate::replay::bring_up;
use crate::tracker::{Ahead, Start, Tracker};
use crate::writer::Writer;
use crate::{Health, PartitionStore, Stop, Tuning, committer};

/// The first sequence that a log gives.
const FIRST: Sequence = Sequence(1);

/// Somebody who waits for a commit: the store's own calls, so there are few.
const WAITERS: usize = 16;

/// What a partition is taken over with.
#[derive(Debug)]
pub struct Deps {
    /// The partition of the log that this router has come by.
    pub share: Share,
    /// Where every change of it is written first.
    pub changelog: Arc<dyn Changelog>,
    /// What answers questions.
    pub view: Arc<dyn View>,
    /// Where it is shown how the partition is doing, from now until it has stopped. Its receivers are the caller's.
    pub health: watch::Sender<Health>,
    /// The bounds.
    pub tuning: Tuning,
}

/// A partition that has been taken over.
#[derive(Debug)]
pub struct Estate {
    /// Which.
    pub partition: Partition,
    /// By what right.
    pub tenure: Tenure,
    /// The messages of its log that have not been dealt with. Ends with an empty batch when the partition has stopped.
    pub consumer: Box<dyn LogConsumer>,
    /// Its mailbox and its subscriptions. The partition is abandoned when the last handle of it is dropped.
    pub store: Arc<PartitionStore>,
    /// Its account.
    pub ledger: Arc<Ledger>,
}

/// Takes a partition over: claims it, brings the view up to the end of the changelog, and goes on where the last owner
/// has committed.
///
/// What fails and may pass is tried again, with growing pauses, for as long as the future is polled: to drop it gives the
/// partition up, and leaves nothing behind but a claim. An error of kind [`ErrorKind::Closed`] means that the
/// partition is another router's by now, one of kind [`ErrorKind::Corrupt`] that a person has to look.
pub async fn take_over(deps: Deps) -> Result<Estate, StoreError> {
    let health = deps.health.clone();
    let _ = health.send_replace(Health::TakingOver);
    claim_and_begin(deps).await.map_err(|halt| {
        let _ = health.send_replace(Health::Stopped(halt.stop()));
        halt.error()
    })
}

async fn claim_and_begin(deps: Deps) -> Result<Estate, Halt> {
    let Deps { share, changelog, view, health, tuning } = deps;
    let Share { partition, mut reader, offsets } = share;
    let ground = Ground { partition, tenure: Tenure(0), changelog, view, health, tuning };
    let mut pause = ground.pause();
    let tenure = claim(&ground, &mut pause).await?;
    let ground = Ground { tenure, ..ground };
    let (next, note) = inherited(&ground, &*offsets, &mut pause).await?;
    let mut claims = note.as_ref().map_or_else(Claims::from_the_start, |note| note.claims.clone());
    let mut count = Count::new(next, note.as_ref());
    let mut visited = note.as_ref().map_or(Position(0), |note| note.collect_from);
    let waiting = loop {
        visited = bring_up(&ground, &mut claims, visited, &mut |entry| count.visit(entry)).await?;
        let answer = ground.view.waiting(ground.footing(visited)).await;
        if let Asked::Answered(waiting) = ground.asked(answer, &mut pause, "ask the view").await? {
            break waiting;
        }
    };
    while let Err(error) = reader.seek(next).await {
        ground.after(error, &mut pause, "find the place in the log").await?;
    }
    let before = match (&note, &count) {
        (Some(note), _) => note.before,
        // Nothing is known of the account: it begins with what is there.
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
    });
    tracing::info!(
        partition = partition.0,
        tenure = tenure.0,
        waiting,
        next = next.0,
        "the partition is taken over"
    );
    let core = Core::new(ground, claims, offsets, ledger, tracker, visited);
    Ok(start(core, reader))
}

/// Begins the tasks of a partition.
fn start(core: Core, reader: Box<dyn LogReader>) -> Estate {
    let core = Arc::new(core);
    core.serve();
    // What was counted anew need not be counted again.
    core.commit.notify_one();
    let (queue, operations) = mpsc::channel(core.ground.tuning.queue.max(1));
    let (flushes, asked) = mpsc::channel(WAITERS);
    let writer = Writer::new(Arc::clone(&core), operations);
    let tasks = vec![
        tokio::spawn(until_stopped(Arc::clone(&core), async move { writer.run().await.stop() })),
        tokio::spawn(until_stopped(Arc::clone(&core), feed::read(Arc::clone(&core), reader))),
        tokio::spawn(until_stopped(Arc::clone(&core), committer::run(Arc::clone(&core), asked))),
    ];
    Estate {
        partition: core.ground.partition,
        tenure: core.ground.tenure,
        consumer: Box::new(Consumer::new(Arc::clone(&core))),
        ledger: Arc::clone(&core.ledger),
        store: Arc::new(PartitionStore::new(core, queue, flushes, tasks)),
    }
}

/// Stops the partition however its task ends.
struct Guard(Arc<Core>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.stop(Stop::Failed);
    }
}

/// Runs a task of the partition. When it ends, so does the partition; when the partition ends, so does the task,
/// wherever it is.
async fn until_stopped(core: Arc<Core>, task: impl Future<Output = Stop>) {
    let _guard = Guard(Arc::clone(&core));
    let why = tokio::select! {
        biased;
        why = core.stopped() => why,
        why = task => why,
    };
    core.stop(why);
}

async fn claim(ground: &Ground, pause: &mut Pause) -> Result<Tenure, Halt> {
    loop {
        match ground.changelog.claim(ground.partition).await {
            Ok(tenure) => return Ok(tenure),
            Err(error) => ground.after(error, pause, "claim the partition").await?,
        }
    }
}

/// Where the last owner has committed, and its note. A commit with an empty note is a person's: from there on the log is
/// dealt with, and the account begins anew.
async fn inherited(
    ground: &Ground,
    offsets: &dyn Offsets,
    pause: &mut Pause,
) -> Result<(Sequence, Option<Note>), Halt> {
    let commit = loop {
        match offsets.committed().await {
            Ok(commit) => break commit,
            Err(error) => ground.after(error, pause, "read the last commit").await?,
        }
    };
    match commit {
        None => Ok((FIRST, None)),
        Some(Commit { next, note }) if note.is_empty() => Ok((next.max(FIRST), None)),
        Some(Commit { next, note }) => match Note::decode(&note, next) {
            Ok(note) => Ok((next, Some(note))),
            Err(error) => {
                ground
                    .after(StoreError::new(ErrorKind::Corrupt, error), pause, "read the last commit")
                    .await?;
                Err(Halt::Corrupt)
            }
        },
    }
}

/// Goes on counting where a note has ended.
#[derive(Debug)]
struct Count {
    next: Sequence,
    /// Ends before it are in the counts.
    position: Position,
    ended: [u64; Outcome::ALL.len()],
    /// Whose ends have been counted: an append that got no answer may have been written twice.
    seen: HashSet<Sequence>,
    /// What has left the log without being committed, or is said to by the note.
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
            Change::Stored { message, .. } => self.collect(message.sequence, entry.position),
            Change::Ended { stored, outcome, .. } => {
                self.collect(stored.sequence, entry.position);
                if entry.position >= self.position && self.seen.insert(stored.sequence) {
                    self.ended[outcome.index()] += 1;
                }
            }
        }
    }

    fn collect(&mut self, sequence: Sequence, position: Position) {
        if sequence >= self.next {
            self.ahead.collect(sequence, position);
        }
    }

    fn ended_total(&self) -> u64 {
        self.ended.iter().sum()
    }
}
