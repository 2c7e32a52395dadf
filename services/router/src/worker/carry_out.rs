//! Store calls of a partition's turn: starts each, retries with backoff, and feeds the results back into the
//! partition. Invariant: one store batch at a time, so that messages enter the mailbox in order.

use std::collections::VecDeque;
use std::sync::Arc;

use pushgrid_runtime::Backoff;
use pushgrid_store::{Claim, ErrorKind, Page, StoreError, Stored};
use pushgrid_types::{Message, MessageId, Outcome, Sequence, SessionRef, UserAgentId};
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, sleep_until};

use super::{CALLS, PartitionWorker, WorkerFailure, answer};
use crate::partition::{CancelAnswer, Cancelling, EndAsker, PageRequest, Routable, SettleStored, Turn};

/// Messages in one call of `Mailbox::store`.
const STORE_BATCH: usize = 512;
/// Backoff between attempts of a failed store call.
pub(super) const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
/// Backoff before the mailbox is retried for a user agent whose part is being restored.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(1);
/// Deadline of the end of a message meanwhile. The backoff of the restoration doubles, so a longer wait would
/// hardly help; the message is redelivered with its id.
const UNREADABLE_PATIENCE: Duration = Duration::from_mins(2);
/// Messages in one call of `Mailbox::expire`.
const EXPIRE_BATCH: usize = 1000;

/// Result of a store call.
#[derive(Debug)]
pub(super) enum Done {
    LookedUp {
        batch: Vec<Arc<Message>>,
        alive: Vec<bool>,
        located: Vec<(UserAgentId, Claim)>,
        read_to: Sequence,
    },
    Stored {
        batch: Vec<Arc<Message>>,
        answers: Result<Vec<Stored>, StoreError>,
    },
    Page {
        user_agent: UserAgentId,
        session: SessionRef,
        page: Option<Page>,
    },
    /// The user agent's part of the mailbox is unreadable.
    NoPage {
        user_agent: UserAgentId,
        session: SessionRef,
    },
    Settled {
        user_agent: UserAgentId,
        ended: Vec<(MessageId, Outcome)>,
        met: Vec<bool>,
    },
    Cancelled {
        cancelling: Cancelling,
        was_there: bool,
    },
    CancelFailed {
        cancelling: Cancelling,
    },
    /// `None`: it could not be asked for.
    LogEnd {
        end: Option<Sequence>,
        askers: Vec<EndAsker>,
    },
    /// A flush of the ends in the log, with the cancellations that wait for it.
    Flushed {
        answers: Vec<CancelAnswer>,
        result: Result<(), StoreError>,
    },
    Nothing,
}

/// Messages on the way into the mailbox: one call at a time, in order, each with all messages queued since
/// the last.
#[derive(Debug, Default)]
pub(super) struct StoreQueue {
    under_way: usize,
    waiting: VecDeque<Arc<Message>>,
    /// Callers to answer, each with the number of messages still ahead.
    waiters: VecDeque<(usize, oneshot::Sender<()>)>,
}

impl StoreQueue {
    pub(super) fn len(&self) -> usize {
        self.under_way + self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn add(&mut self, messages: Vec<Arc<Message>>, waiters: Vec<oneshot::Sender<()>>) {
        self.waiting.extend(messages);
        let ahead = self.len();
        self.waiters.extend(waiters.into_iter().map(|waiter| (ahead, waiter)));
        self.arrived(0);
    }

    /// Next batch to store. `None` while a call is under way or nothing waits.
    fn next_batch(&mut self) -> Option<Vec<Arc<Message>>> {
        if self.under_way > 0 || self.waiting.is_empty() {
            return None;
        }
        let batch: Vec<_> = self.waiting.drain(..self.waiting.len().min(STORE_BATCH)).collect();
        self.under_way = batch.len();
        Some(batch)
    }

    /// Counts `count` messages as stored, and answers the callers waiting for the last of these.
    fn arrived(&mut self, count: usize) {
        self.under_way -= count;
        for (ahead, _) in &mut self.waiters {
            *ahead -= (*ahead).min(count);
        }
        while self.waiters.front().is_some_and(|(ahead, _)| *ahead == 0) {
            let (_, waiter) = self.waiters.pop_front().expect("the front was just looked at");
            answer(waiter);
        }
    }
}

impl PartitionWorker {
    /// Starts the work decided on by the partition. While draining no page is read: messages sent from a page
    /// would keep the drain from ending.
    pub(super) fn carry_out(&mut self, draining: bool) {
        self.count();
        self.start(draining);
        while self.ask_log_end(draining) {
            self.start(draining);
        }
    }

    fn start(&mut self, draining: bool) {
        let mut work = self.partition.take_work();
        if draining {
            work.pages.clear();
            work.ask_end.clear();
        }
        if work.is_empty() && self.storing.waiting.is_empty() {
            return;
        }
        self.askers.append(&mut work.ask_end);
        if !work.settle_log.is_empty() {
            self.consumer.settle(work.settle_log);
        }
        self.answer_once_durable(work.answers);
        self.storing.add(work.store, work.after_store);
        if let Some(batch) = self.storing.next_batch() {
            self.store(batch);
        }
        for settle in work.settle_mailbox {
            self.settle(settle);
        }
        for request in work.pages {
            self.read(request);
        }
        for (user_agent, epoch) in work.releases {
            let presence = self.shared.presence.clone();
            self.calls.push(Box::pin(async move {
                if let Err(error) = presence.release(user_agent, epoch).await {
                    // The node corrects a stale claim: it refuses messages for a socket that is gone.
                    tracing::debug!(%error, "could not release a claim");
                }
                Done::Nothing
            }));
        }
    }

    /// Feeds the result of a call back into the partition.
    pub(super) fn finish(&mut self, done: Done) -> Result<(), WorkerFailure> {
        let log_end = match &done {
            Done::LookedUp { located, .. } if !located.is_empty() => self.consumer.end().known(),
            _ => None,
        };
        let turn = Turn { now: self.shared.now(), nodes: &*self.nodes, log_end };
        match done {
            Done::LookedUp { batch, alive, located, read_to } => {
                self.looking_up = false;
                for (user_agent, claim) in located {
                    self.partition.resume(turn, user_agent, claim, None);
                }
                for (message, alive) in batch.into_iter().zip(alive) {
                    self.partition.route(turn, Routable { message, alive });
                }
                self.partition.log_read_to(read_to);
            }
            Done::Stored { batch, answers } => {
                self.partition.stored(&batch, &answers?);
                self.shared.hooked.stored(&batch);
                self.storing.arrived(batch.len());
            }
            Done::Page { user_agent, session, page } => self.partition.page(turn, user_agent, session, page),
            Done::NoPage { user_agent, session } => self.partition.no_page(turn, user_agent, session),
            Done::Settled { user_agent, ended, met } => self.partition.settled(user_agent, &ended, &met),
            Done::Cancelled { cancelling, was_there } => {
                self.partition.cancel_met(turn, was_there, cancelling);
            }
            Done::CancelFailed { cancelling } => self.partition.cancel_failed(&cancelling),
            Done::LogEnd { end, askers } => {
                self.asking = false;
                match end {
                    Some(end) => self.partition.log_ends_at(turn, end, askers),
                    None => self.ask_again(askers),
                }
            }
            Done::Flushed { answers, result } => self.flushed(answers, &result),
            Done::Nothing => {}
        }
        Ok(())
    }

    /// Stores messages, retrying without a deadline: the log keeps them until then.
    fn store(&mut self, batch: Vec<Arc<Message>>) {
        let mailbox = self.shared.mailbox.clone();
        self.calls.push(Box::pin(async move {
            let mut backoff = BACKOFF;
            loop {
                match mailbox.store(batch.clone()).await {
                    // An unreadable record does not end the partition: the next owner would find the same.
                    Err(error) if error.kind != ErrorKind::Closed => {
                        backoff.wait_after(&error, "store messages").await;
                    }
                    answers => return Done::Stored { batch, answers },
                }
            }
        }));
    }

    fn settle(&mut self, SettleStored { user_agent, ended, cancel }: SettleStored) {
        let mailbox = self.shared.mailbox.clone();
        // Calls for unreadable user agents may take at most half of the slots, and a cancellation must not wait.
        let may_wait = cancel.is_none() && self.calls.len() < CALLS / 2;
        let give_up = Instant::now() + UNREADABLE_PATIENCE;
        self.calls.push(Box::pin(async move {
            let mut backoff = BACKOFF;
            let met = loop {
                match mailbox.settle(user_agent, ended.clone()).await {
                    Ok(met) => break met,
                    Err(error) if error.is_retryable() => backoff.wait_after(&error, "end messages").await,
                    Err(error)
                        if error.kind == ErrorKind::Corrupt && may_wait && Instant::now() < give_up =>
                    {
                        // The user agent is being restored, and already has the messages.
                        sleep_until(Instant::now() + UNREADABLE_PAUSE).await;
                    }
                    Err(error) => {
                        // The messages stay, and are redelivered with the same ids. A cancellation is dropped
                        // unanswered: its outcome is unknown.
                        tracing::debug!(%error, ?user_agent, "could not end messages");
                        if let Some(cancelling) = cancel {
                            return Done::CancelFailed { cancelling };
                        }
                        break Vec::new();
                    }
                }
            };
            match cancel {
                Some(cancelling) => Done::Cancelled { cancelling, was_there: met.contains(&true) },
                None => Done::Settled { user_agent, ended, met },
            }
        }));
    }

    fn read(&mut self, request: PageRequest) {
        let shared = self.shared.clone();
        let PageRequest { user_agent, session, start, limit } = request;
        // Reads for unreadable user agents may take at most half of the slots.
        let may_wait = self.calls.len() < CALLS / 2;
        self.calls.push(Box::pin(async move {
            let page = match shared.mailbox.page(user_agent, start, shared.now(), limit).await {
                Ok(page) => Some(page),
                Err(error) if error.kind == ErrorKind::Corrupt => {
                    if !may_wait {
                        return Done::NoPage { user_agent, session };
                    }
                    sleep_until(Instant::now() + UNREADABLE_PAUSE).await;
                    None
                }
                Err(error) => {
                    let mut backoff = BACKOFF;
                    backoff.wait_after(&error, "read waiting messages").await;
                    None
                }
            };
            Done::Page { user_agent, session, page }
        }));
    }

    /// Ends expired messages of the mailbox, in batches, until none is left.
    pub(super) fn expire(&mut self) {
        let shared = self.shared.clone();
        self.calls.push(Box::pin(async move {
            loop {
                match shared.mailbox.expire(shared.now(), EXPIRE_BATCH).await {
                    Ok(EXPIRE_BATCH..) => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::warn!(%error, "could not look for expired messages; trying again later");
                        break;
                    }
                }
            }
            Done::Nothing
        }));
    }

    fn count(&mut self) {
        let tally = self.partition.take_tally();
        let count = |counter: &::metrics::Counter, by: u64| {
            if by > 0 {
                counter.increment(by);
            }
        };
        count(&self.figures.direct, tally.direct);
        count(&self.figures.stored, tally.stored);
        count(&self.figures.ended, tally.ended);
        count(&self.figures.not_here, tally.not_here);
        count(&self.figures.busy, tally.busy);
        for latency in tally.delivered {
            self.figures.delivery.record(latency.as_secs_f64());
        }
    }
}
