use std::collections::VecDeque;
use std::sync::Arc;

use pushgrid_store::{Claim, ErrorKind, Presence, StoreError, Stored, Subscriptions};
use pushgrid_types::{Message, MessageId, Outcome, SessionRef, SubscriptionRef, UserAgentId};
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, sleep_until};

use super::{Failure, MAX_PAUSE, Router, answer};
use crate::partition::{Cancelling, PageRequest, Routable, SettleStored, Turn};

/// Messages moved to the mailbox in one call.
const STORE_BATCH: usize = 512;
/// Expired messages ended in one call.
const EXPIRE_BATCH: usize = 1000;

/// What a store call came to.
#[derive(Debug)]
pub(super) enum Done {
    LookedUp { batch: Vec<Arc<Message>>, alive: Vec<bool>, located: Vec<(UserAgentId, Claim)> },
    Stored { batch: Vec<Arc<Message>>, answers: Result<Vec<Stored>, StoreError> },
    Page { user_agent: UserAgentId, session: SessionRef, page: Option<Vec<Message>> },
    Settled { user_agent: UserAgentId, ended: Vec<(MessageId, Outcome)>, met: Vec<bool> },
    Cancelled { cancelling: Cancelling, was_there: bool },
    Nothing,
}

/// Messages on their way into the mailbox: one call at a time, in order, each with all that has come up since.
#[derive(Debug, Default)]
pub(super) struct StoreQueue {
    under_way: usize,
    waiting: VecDeque<Arc<Message>>,
    /// Who waits for how many more messages to arrive.
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

    /// The next call, unless one is under way.
    fn next_batch(&mut self) -> Option<Vec<Arc<Message>>> {
        if self.under_way > 0 || self.waiting.is_empty() {
            return None;
        }
        let batch: Vec<_> = self.waiting.drain(..self.waiting.len().min(STORE_BATCH)).collect();
        self.under_way = batch.len();
        Some(batch)
    }

    /// `count` messages have arrived: whoever waited for the last of them is told.
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

impl Router {
    /// Starts what the partition has decided.
    pub(super) fn carry_out(&mut self) {
        self.count();
        let work = self.partition.take_work();
        if work.is_empty() && self.storing.waiting.is_empty() {
            return;
        }
        if !work.settle_log.is_empty() {
            self.consumer.settle(work.settle_log);
        }
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
                    // A claim that stays is corrected by the node, which says that the socket is not there.
                    tracing::debug!(%error, "could not release a claim");
                }
                Done::Nothing
            }));
        }
    }

    /// Takes in what a call came to.
    pub(super) fn finish(&mut self, done: Done) -> Result<(), Failure> {
        let turn = Turn { now: self.shared.clock.now(), nodes: &*self.nodes };
        match done {
            Done::LookedUp { batch, alive, located } => {
                self.looking_up = false;
                for (user_agent, claim) in located {
                    self.partition.resume(turn, user_agent, claim);
                }
                for (message, alive) in batch.into_iter().zip(alive) {
                    self.partition.route(turn, Routable { message, alive });
                }
            }
            Done::Stored { batch, answers } => {
                self.partition.stored(&batch, &answers?);
                self.storing.arrived(batch.len());
            }
            Done::Page { user_agent, session, page } => self.partition.page(turn, user_agent, session, page),
            Done::Settled { user_agent, ended, met } => self.partition.settled(user_agent, &ended, &met),
            Done::Cancelled { cancelling, was_there } => {
                self.partition.cancel_met(turn, was_there, cancelling);
            }
            Done::Nothing => {}
        }
        Ok(())
    }

    /// One batch from the log: one question for all of it, then one decision each. Where a user agent has no socket here
    /// it may have one all the same, which an earlier owner of the partition knew; a claim that is out of date is
    /// corrected by the node, which says that the socket is not there.
    pub(super) fn look_up(&mut self, batch: Vec<Arc<Message>>) {
        self.looking_up = true;
        let ids: Vec<_> = batch.iter().map(|message| message.to).collect();
        let mut unknown: Vec<_> = ids.iter().map(|id| id.user_agent).collect();
        unknown.retain(|user_agent| !self.partition.is_connected(*user_agent));
        unknown.sort_unstable();
        unknown.dedup();
        let shared = self.shared.clone();
        self.calls.push(Box::pin(async move {
            let (alive, located) =
                tokio::join!(alive(&*shared.subscriptions, &ids), locate(&*shared.presence, unknown));
            Done::LookedUp { batch, alive, located }
        }));
    }

    /// Moves messages to the mailbox, however long that takes: until then the log keeps them.
    fn store(&mut self, batch: Vec<Arc<Message>>) {
        let mailbox = self.shared.mailbox.clone();
        self.calls.push(Box::pin(async move {
            let mut pause = Pause::default();
            loop {
                match mailbox.store(batch.clone()).await {
                    Err(error) if error.is_retryable() => pause.after(&error, "store messages").await,
                    answers => return Done::Stored { batch, answers },
                }
            }
        }));
    }

    fn settle(&mut self, SettleStored { user_agent, ended, cancel }: SettleStored) {
        let mailbox = self.shared.mailbox.clone();
        self.calls.push(Box::pin(async move {
            let mut pause = Pause::default();
            let met = loop {
                match mailbox.settle(user_agent, ended.clone()).await {
                    Ok(met) => break met,
                    Err(error) if error.is_retryable() => pause.after(&error, "end messages").await,
                    Err(error) => {
                        // The messages stay, and come again with the same ids.
                        tracing::error!(%error, "could not end messages");
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
        let (mailbox, clock) = (self.shared.mailbox.clone(), self.shared.clock.clone());
        let PageRequest { user_agent, session, after, limit } = request;
        self.calls.push(Box::pin(async move {
            let page = match mailbox.page(user_agent, after, clock.now(), limit).await {
                Ok(page) => Some(page),
                Err(error) => {
                    Pause::default().after(&error, "read waiting messages").await;
                    None
                }
            };
            Done::Page { user_agent, session, page }
        }));
    }

    /// Ends stored messages whose time is over.
    pub(super) fn expire(&mut self) {
        let (mailbox, clock) = (self.shared.mailbox.clone(), self.shared.clock.clone());
        self.calls.push(Box::pin(async move {
            loop {
                match mailbox.expire(clock.now(), EXPIRE_BATCH).await {
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

async fn alive(subscriptions: &dyn Subscriptions, ids: &[SubscriptionRef]) -> Vec<bool> {
    let mut pause = Pause::default();
    loop {
        match subscriptions.alive(ids).await {
            Ok(alive) => return alive,
            // The mailbox checks again when it stores, so a message for a dead subscription can only reach the socket of
            // its own user agent, which refuses it.
            Err(error) if error.kind == ErrorKind::Closed => return vec![true; ids.len()],
            Err(error) => pause.after(&error, "look up subscriptions").await,
        }
    }
}

async fn locate(presence: &dyn Presence, user_agents: Vec<UserAgentId>) -> Vec<(UserAgentId, Claim)> {
    if user_agents.is_empty() {
        return Vec::new();
    }
    match presence.locate(&user_agents).await {
        Ok(found) => user_agents
            .into_iter()
            .zip(found)
            .filter_map(|(user_agent, claim)| Some((user_agent, claim?)))
            .collect(),
        Err(error) => {
            // The messages are stored, and come when the node announces the socket, or on the next one.
            tracing::debug!(%error, "could not look up sockets");
            Vec::new()
        }
    }
}

/// Growing pauses between tries.
#[derive(Debug)]
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(Duration::from_millis(50))
    }
}

impl Pause {
    async fn after(&mut self, error: &StoreError, what: &'static str) {
        tracing::warn!(%error, "could not {what}; trying again in {:?}", self.0);
        sleep_until(Instant::now() + self.0).await;
        self.0 = (self.0 * 2).min(MAX_PAUSE);
    }
}
