//! Batches of calls of one kind to one router. Guarantee: every call gets one answer of its own. Retries are the
//! caller's.
//! Invariant: the queue, a batch, and the batches in flight are bounded; a slow batch delays the next by [`PATIENCE`]
//! only, up to [`UNDER_WAY`] batches.

use std::time::Duration;

use ::metrics::Counter;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use pushgrid_proto::wire::router::v1::Failed;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::fault::{self, Failure};

/// Time for which entries gather behind a batch in flight: a slow batch must not hold all others up.
const PATIENCE: Duration = Duration::from_millis(20);

/// Most batches in flight.
const UNDER_WAY: usize = 8;

/// Bounds and counters of batches.
pub(super) struct Limits {
    /// Most entries of one batch.
    pub(super) batch: usize,
    /// Most entries queued for the next batch.
    pub(super) queue: usize,
    pub(super) calls: Counter,
    pub(super) batches: Counter,
}

/// Batches of calls of one kind to one router. While a batch is in flight the next gathers; without one in flight an
/// entry goes at once.
pub(super) struct Batches<T>(mpsc::Sender<Entry<T>>);

struct Entry<T> {
    call: T,
    reply: oneshot::Sender<Result<(), Failure>>,
}

impl<T: Send + 'static> Batches<T> {
    /// Starts the batching task. `send` makes the call for a whole batch and returns the entries that failed. The task
    /// ends after the last answer when `Self` is dropped.
    pub(super) fn new<F>(limits: Limits, send: impl Fn(Vec<T>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Vec<Failed>, Failure>> + Send + 'static,
    {
        let (entries, queue) = mpsc::channel(limits.queue);
        tokio::spawn(run(queue, limits, send));
        Self(entries)
    }

    /// Adds a call, and waits for its answer. [`Failure::Lost`] when the task has ended.
    pub(super) async fn add(&self, call: T) -> Result<(), Failure> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Entry { call, reply }).await.map_err(|_| Failure::Lost)?;
        answer.await.map_err(|_| Failure::Lost)?
    }
}

async fn run<T, F>(mut queue: mpsc::Receiver<Entry<T>>, limits: Limits, send: impl Fn(Vec<T>) -> F)
where
    F: Future<Output = Result<Vec<Failed>, Failure>>,
{
    let mut under_way = FuturesUnordered::new();
    let mut gathered = Vec::new();
    loop {
        // Until there is something to send.
        while gathered.is_empty() {
            tokio::select! {
                count = queue.recv_many(&mut gathered, limits.batch) => if count == 0 {
                    // No sender is left: answer the calls in flight, then end.
                    while under_way.next().await.is_some() {}
                    return;
                },
                Some(()) = under_way.next() => {}
            }
        }
        gather(&mut queue, &mut gathered, &mut under_way, limits.batch).await;
        limits.calls.increment(gathered.len() as u64);
        limits.batches.increment(1);
        let (calls, replies): (Vec<T>, Vec<_>) =
            gathered.drain(..).map(|entry| (entry.call, entry.reply)).unzip();
        let sending = send(calls);
        under_way.push(async move { answer(replies, sending.await) });
    }
}

/// Gathers entries until nothing is in flight, a batch is answered, or [`PATIENCE`] is over and another batch may go.
async fn gather<T>(
    queue: &mut mpsc::Receiver<Entry<T>>,
    gathered: &mut Vec<Entry<T>>,
    under_way: &mut FuturesUnordered<impl Future<Output = ()>>,
    most: usize,
) {
    let patient_until = Instant::now() + PATIENCE;
    while !under_way.is_empty() {
        let (room, full) = (most - gathered.len(), under_way.len() >= UNDER_WAY);
        if room == 0 && !full {
            return;
        }
        tokio::select! {
            Some(()) = under_way.next() => return,
            _ = queue.recv_many(gathered, room), if room > 0 && !queue.is_closed() => {}
            () = sleep_until(patient_until), if !full => return,
        }
    }
}

/// Answers each caller of a batch with the result of its entry.
fn answer(replies: Vec<oneshot::Sender<Result<(), Failure>>>, outcome: Result<Vec<Failed>, Failure>) {
    let mut answers: Vec<Result<(), Failure>> = Vec::with_capacity(replies.len());
    match outcome {
        Ok(failed) => {
            answers.resize_with(replies.len(), || Ok(()));
            for failed in failed {
                if let Some(answer) = answers.get_mut(failed.index as usize) {
                    *answer = Err(fault::from_failed(&failed));
                }
            }
        }
        Err(failure) => answers.resize_with(replies.len(), || Err(failure.again())),
    }
    for (reply, answer) in replies.into_iter().zip(answers) {
        // The caller may have reached its deadline.
        let _ = reply.send(answer);
    }
}

#[cfg(test)]
mod tests;
