//! Answers to cancellations that wait until the ends in the log are durable: one flush at a time, with all who have
//! come since the last one began.

use std::time::Duration;

use pushgrid_store::{ErrorKind, StoreError};
use tokio::time::timeout;

use super::PartitionWorker;
use super::carry_out::Done;
use crate::partition::CancelAnswer;

/// Most cancellations waiting for the next flush; further ones are dropped unanswered.
const WAITING: usize = 4096;
/// Deadline of a flush. The ends may still be written after that, but nobody is told.
const DEADLINE: Duration = Duration::from_secs(5);

/// Cancellations that wait for a flush of the log.
#[derive(Debug, Default)]
pub(super) struct Flushes {
    /// Those for the next flush.
    waiting: Vec<CancelAnswer>,
    under_way: bool,
    /// Set while the end of a cancelled message may not be durable, and no flush under way covers the end.
    owed: bool,
}

impl PartitionWorker {
    /// Answers cancellations once all ends handed to the log so far are durable. "Gone" may be told of a message that
    /// an earlier cancellation has ended, so this answer waits as well, unless nothing is owed.
    pub(super) fn answer_once_durable(&mut self, answers: Vec<CancelAnswer>) {
        for answer in answers {
            let flushes = &mut self.flushes;
            flushes.owed |= answer.has_ended();
            if !(flushes.owed || flushes.under_way) {
                answer.send();
            } else if flushes.waiting.len() < WAITING {
                flushes.waiting.push(answer);
            } // Dropped unanswered, it is unavailable: too many wait already.
        }
        self.flush();
    }

    /// Starts the next flush, if somebody waits for one and none is under way.
    fn flush(&mut self) {
        if self.flushes.under_way || self.flushes.waiting.is_empty() {
            return;
        }
        let answers = std::mem::take(&mut self.flushes.waiting);
        self.flushes = Flushes { under_way: true, ..Flushes::default() };
        let flushing = self.consumer.flush();
        self.calls.push(Box::pin(async move {
            let result = timeout(DEADLINE, flushing).await;
            let result = result.unwrap_or_else(|late| Err(StoreError::new(ErrorKind::Unknown, late)));
            Done::Flushed { answers, result }
        }));
    }

    /// Takes in that a flush is over. After a failure its answers are dropped, and the next flush covers their ends.
    pub(super) fn flushed(&mut self, answers: Vec<CancelAnswer>, result: &Result<(), StoreError>) {
        self.flushes.under_way = false;
        match result {
            Ok(()) => answers.into_iter().for_each(CancelAnswer::send),
            Err(error) => {
                tracing::debug!(%error, cancellations = answers.len(), "could not make cancellations durable");
                self.flushes.owed = true;
            }
        }
        self.flush();
    }
}
