//! From the log to the feed: a task reads ahead, within bounds, to have all accepted messages in the account.
//! Invariant: a message is accounted and queued in one step.

use std::iter::Peekable;
use std::ops::Range;
use std::sync::Arc;
use std::vec::IntoIter;

use pushgrid_store::LogReader;
use pushgrid_types::{DropReason, Message, Outcome, Sequence};
use tokio::time::timeout;

use crate::StopReason;
use crate::core::Core;
use crate::tracker::{Read, Tracker};

/// Reads the log until the partition goes to another router or a read fails, then waits for the partition's
/// stop.
pub(crate) async fn run(core: Arc<Core>, mut reader: Box<dyn LogReader>) -> StopReason {
    let mut pause = core.context.pause();
    loop {
        let full = core.feed.full(&core.tracker());
        core.show_full(full);
        if full.is_some() {
            // Shown again from time to time, because a replay ends as serving.
            let _ = timeout(core.context.tuning.progress_every, core.feed.room_made()).await;
            continue;
        }
        let room = core.feed.room();
        if room == 0 {
            core.feed.room_made().await;
            continue;
        }
        let batch = match reader.next(room.min(core.context.tuning.batch)).await {
            Ok(batch) => batch,
            Err(error) => match core.context.after(error, &mut pause, "read the log").await {
                Ok(()) => continue,
                Err(halt) => return halt.stop(),
            },
        };
        let newer = reader.newer();
        if batch.is_empty() && newer.is_empty() {
            // Whoever closes the partition finishes and commits the messages at hand; too late, and the commit or the
            // view refuses.
            return core.stopped().await;
        }
        pause = core.context.pause();
        enter(&core, batch, reader.take_lost(), newer);
    }
}

/// Enters a batch with its gaps into the account, and queues the new messages, in one step for every
/// observer. A message readable only by a newer release is accepted and stays pending: the committed offset
/// does not pass it.
fn enter(core: &Core, mut batch: Vec<Arc<Message>>, lost: Vec<Range<Sequence>>, newer: Vec<Sequence>) {
    let read = batch.len();
    let mut passed = Passed::new(lost, newer);
    let mut dropped = 0;
    let mut queue = core.feed.lock();
    let mut tracker = core.tracker();
    let mut pass = |tracker: &mut Tracker, gap| match gap {
        Gap::Lost(lost) => dropped += tracker.lose(lost),
        Gap::Newer(sequence) if tracker.read(sequence, None) == Read::New => core.ledger.accept(1),
        Gap::Newer(_) => {}
    };
    batch.retain(|message| {
        while let Some(gap) = passed.next_before(message.sequence) {
            pass(&mut tracker, gap);
        }
        match tracker.read(message.sequence, Some(message.id)) {
            Read::New => {
                core.ledger.accept(1);
                true
            }
            Read::DealtWith | Read::Again => false,
        }
    });
    while let Some(gap) = passed.next_before(Sequence(u64::MAX)) {
        pass(&mut tracker, gap);
    }
    if dropped > 0 {
        core.ledger.accept(dropped);
        core.ledger.end(Outcome::Dropped(DropReason::LostFromLog), dropped);
    }
    drop(tracker);
    if batch.len() < read || dropped > 0 {
        // Passing over messages may advance the low watermark.
        core.commit.notify_one();
    }
    queue.extend(batch);
    drop(queue);
    core.feed.wake();
}

/// Sequences without a message for this router.
enum Gap {
    /// Lost from the log.
    Lost(Range<Sequence>),
    /// Accepted by a newer release, and unreadable here.
    Newer(Sequence),
}

/// Gaps between the messages of a batch, rising.
struct Passed {
    lost: Peekable<IntoIter<Range<Sequence>>>,
    newer: Peekable<IntoIter<Sequence>>,
}

impl Passed {
    fn new(lost: Vec<Range<Sequence>>, newer: Vec<Sequence>) -> Self {
        Self { lost: lost.into_iter().peekable(), newer: newer.into_iter().peekable() }
    }

    fn next_before(&mut self, end: Sequence) -> Option<Gap> {
        let newer = self.newer.peek().copied().unwrap_or(end);
        if let Some(lost) = self.lost.next_if(|lost| lost.start < newer.min(end)) {
            return Some(Gap::Lost(lost));
        }
        self.newer.next_if(|newer| *newer < end).map(Gap::Newer)
    }
}
