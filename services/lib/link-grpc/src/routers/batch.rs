use std::time::Duration;

use ::metrics::Counter;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use pushgrid_proto::wire::router::v1::Failed;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::fault::{self, Failure};

/// How long entries gather behind a batch that is under way before they go as well: one that is slow must not hold up
/// all others.
const PATIENCE: Duration = Duration::from_millis(20);

/// Batches under way at once.
const UNDER_WAY: usize = 8;

/// What bounds and counts batches.
pub(super) struct Limits {
    /// Entries of one batch.
    pub(super) batch: usize,
    /// Entries that may wait for the next.
    pub(super) queue: usize,
    pub(super) calls: Counter,
    pub(super) batches: Counter,
}

/// Calls of one kind to one router, which go together: while one batch is under way the next gathers. An entry that
/// comes when nothing is under way goes at once.
pub(super) struct Batches<T>(mpsc::Sender<Entry<T>>);

struct Entry<T> {
    call: T,
    reply: oneshot::Sender<Result<(), Failure>>,
}

impl<T: Send + 'static> Batches<T> {
    /// `send` makes the call for a whole batch and answers the entries that failed. Ends when it is dropped.
    pub(super) fn new<F>(limits: Limits, send: impl Fn(Vec<T>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Vec<Failed>, Failure>> + Send + 'static,
    {
        let (entries, queue) = mpsc::channel(limits.queue);
        tokio::spawn(run(queue, limits, send));
        Self(entries)
    }

    /// Adds a call, and waits for its answer.
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
        // Something to send.
        while gathered.is_empty() {
            tokio::select! {
                count = queue.recv_many(&mut gathered, limits.batch) => if count == 0 {
                    // Nobody adds any more. Those who wait for an answer get it.
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

/// Waits for a chance to send: nothing is under way, or patience is over and there is still room.
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

/// Tells each caller of a batch what became of its entry.
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
        // A caller that has lost patience does not wait for it.
        let _ = reply.send(answer);
    }
}

#[cfg(test)]
mod tests;
