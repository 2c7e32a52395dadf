//! The loop that owns a partition: takes events and messages one turn at a time, and carries out the
//! decisions of the turn. All I/O of a turn runs beside the loop and comes back as an event of its own.

mod carry_out;
mod flush;
mod log_end;
mod look_up;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use pushgrid_runtime::Shutdown;
use pushgrid_runtime::metrics::{self, Meter};
use pushgrid_store::{LogConsumer, NodeLink, PartitionState, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::Span;

use crate::RouterContext;
use crate::config::INBOX;
use crate::handle::{Event, Handle, Shared};
use crate::hooked::Hooked;
use crate::partition::{EndAsker, Partition, Turn};
use carry_out::{Done, StoreQueue};
use flush::Flushes;

/// Length of the queue into the mailbox above which no batch is taken from the log.
const STORE_QUEUE: usize = 8192;
/// Store calls under way above which no event is taken.
const CALLS: usize = 4096;

/// Failures that end a worker.
#[derive(Debug, thiserror::Error)]
pub enum WorkerFailure {
    /// The log is unreadable, or the log or the mailbox is closed.
    #[error("the router cannot go on without its store")]
    Store(#[from] StoreError),
}

/// Worker of a partition, built and not yet running.
#[derive(Debug)]
pub struct PartitionWorker {
    consumer: Box<dyn LogConsumer>,
    nodes: Arc<dyn NodeLink>,
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Event>,
    handle: Handle,
    partition: Partition,
    calls: FuturesUnordered<BoxFuture<'static, Done>>,
    storing: StoreQueue,
    /// Set while a batch is looked up: one at a time keeps the order of the log.
    looking_up: bool,
    /// Those who are told the end of the log next.
    askers: Vec<EndAsker>,
    /// Set while the end of the log is asked for.
    asking: bool,
    flushes: Flushes,
    figures: Figures,
}

#[derive(Debug)]
struct Figures {
    direct: ::metrics::Counter,
    stored: ::metrics::Counter,
    ended: ::metrics::Counter,
    not_here: ::metrics::Counter,
    busy: ::metrics::Counter,
    delivery: ::metrics::Histogram,
    sessions: Part,
    in_flight: Part,
    queue: Part,
}

/// Share of one worker in a gauge of the process; withdrawn on drop.
#[derive(Debug)]
struct Part {
    whole: ::metrics::Gauge,
    added: f64,
}

impl PartitionWorker {
    /// Builds a worker of `state` that hands messages to `nodes`, and the handle to its events. The account
    /// and the end of the state stay with the caller. Log lines of the handle are in the current span.
    pub fn new(
        context: &Arc<RouterContext>,
        state: PartitionState,
        nodes: Arc<dyn NodeLink>,
    ) -> (Self, Handle) {
        let PartitionState { consumer, mailbox, subscriptions, presence, leader_epoch: _, lifecycle: _ } =
            state;
        let (sender, inbox) = mpsc::channel(INBOX);
        let shared = Arc::new(Shared {
            context: context.clone(),
            subscriptions,
            mailbox,
            presence,
            hooked: Hooked::default(),
            span: Span::current(),
        });
        let limits = context.config.limits();
        let handle = Handle::new(sender, shared.clone());
        let worker = Self {
            partition: Partition::new(limits, consumer.read_to(), consumer.inherited_to()),
            consumer,
            nodes,
            shared,
            inbox,
            calls: FuturesUnordered::new(),
            storing: StoreQueue::default(),
            looking_up: false,
            askers: Vec::new(),
            asking: false,
            flushes: Flushes::default(),
            figures: Figures::new(&context.meter),
            handle: handle.clone(),
        };
        (worker, handle)
    }

    /// Runs until `shutdown` drains and all calls under way are finished; by then no session may be open.
    ///
    /// Errors: [`WorkerFailure::Store`] once the log is unreadable, or the log or the mailbox is closed.
    pub async fn run(mut self, shutdown: Shutdown) -> Result<(), WorkerFailure> {
        let context = self.shared.context.clone();
        let config = &context.config;
        let mut ticks = interval(Duration::from_millis(100));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_sweep = Instant::now();
        let mut log_open = true;
        let mut ending = pin!(self.handle.clone().end_unseen());
        let mut posting = pin!(self.handle.clone().post_receipts());
        loop {
            let may_take = self.calls.len() < CALLS;
            // Messages left in the log are redelivered by the next owner.
            let may_consume = log_open
                && may_take
                && !self.looking_up
                && self.storing.len() < STORE_QUEUE
                && !shutdown.is_draining();
            tokio::select! {
                Some(done) = self.calls.next(), if !self.calls.is_empty() => self.finish(done)?,
                Some(event) = self.inbox.recv(), if may_take => self.take(event),
                batch = self.consumer.next(config.batch()), if may_consume => match batch {
                    Ok(batch) if batch.is_empty() => log_open = false,
                    Ok(batch) => self.look_up(batch),
                    Err(error) if error.is_retryable() => {
                        tracing::warn!(%error, "could not read the log; trying again");
                        sleep_until(Instant::now() + Duration::from_millis(100)).await;
                    }
                    Err(error) => return Err(error.into()),
                },
                _ = ticks.tick() => {
                    if !self.looking_up {
                        // Messages that ended under an earlier owner never come out of the log, yet advance its read
                        // position.
                        self.partition.log_read_to(self.consumer.read_to());
                    }
                    self.partition.sweep(Turn { now: self.shared.now(), nodes: &*self.nodes, log_end: None });
                    if Instant::now() >= next_sweep {
                        next_sweep = Instant::now() + config.sweep_interval();
                        self.expire();
                        self.figures.population(self.partition.population(), self.storing.len());
                    }
                },
                never = &mut ending => match never {},
                never = &mut posting => match never {},
                () = shutdown.draining(), if self.is_idle() => return Ok(()),
            }
            self.carry_out(shutdown.is_draining());
        }
    }

    fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.inbox.is_empty() && self.storing.is_empty()
    }

    fn take(&mut self, event: Event) {
        let opens = matches!(event, Event::Open { .. } | Event::Resume { .. });
        let log_end = if opens { self.consumer.end().known() } else { None };
        let turn = Turn { now: self.shared.now(), nodes: &*self.nodes, log_end };
        match event {
            Event::Open { user_agent, claim, min_urgency } => {
                self.partition.open(turn, user_agent, claim, min_urgency);
            }
            Event::Resume { user_agent, claim, min_urgency } => {
                self.partition.resume(turn, user_agent, claim, Some(min_urgency));
            }
            Event::SetUrgency { user_agent, session, min_urgency } => {
                self.partition.set_min_urgency(user_agent, session, min_urgency);
            }
            Event::AreConnected { user_agents, reply } => {
                let connected = user_agents.iter().map(|it| self.partition.is_connected(*it)).collect();
                // The one who asks may have gone.
                let _ = reply.send(connected);
            }
            Event::Gone { node } => self.partition.node_gone(turn, node),
            Event::Settle { user_agent, ended } => self.partition.settle(turn, user_agent, &ended),
            Event::Close { user_agent, session, done } => {
                self.partition.close(turn, user_agent, session, done);
            }
            Event::Cancel { message, reply } if reply.is_acknowledgement() => {
                self.partition.cancel(message, reply);
            }
            Event::Cancel { message, reply } => self.askers.push(EndAsker::Cancel(message, reply)),
            Event::Find { message, reply } => {
                // The caller may have gone away.
                let _ = reply.send(self.partition.find(turn, &message));
            }
            Event::Unsubscribe { user_agent, channel, dismiss, done } => {
                self.partition.unsubscribe(user_agent, channel);
                if dismiss {
                    self.partition.dismiss(turn, user_agent);
                }
                answer(done);
            }
        }
    }
}

impl Figures {
    fn new(meter: &Meter) -> Self {
        let routed = |way| meter.counter(&metrics::ROUTER_ROUTED, &[("way", way)]);
        let refused = |reason| meter.counter(&metrics::NODE_REFUSALS, &[("reason", reason)]);
        Self {
            direct: routed("direct"),
            stored: routed("stored"),
            ended: routed("ended"),
            not_here: refused("not_here"),
            busy: refused("busy"),
            delivery: meter.histogram(&metrics::DELIVERY_SECONDS, &[]),
            sessions: Part::of(meter.gauge(&metrics::ROUTER_SESSIONS, &[])),
            in_flight: Part::of(meter.gauge(&metrics::ROUTER_IN_FLIGHT, &[])),
            queue: Part::of(meter.gauge(&metrics::ROUTER_QUEUE, &[])),
        }
    }

    fn population(&mut self, (sessions, in_flight): (usize, usize), queue: usize) {
        self.sessions.set(sessions);
        self.in_flight.set(in_flight);
        self.queue.set(queue);
    }
}

impl Part {
    fn of(whole: ::metrics::Gauge) -> Self {
        Self { whole, added: 0.0 }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of things in memory are far below 2^52")]
    fn set(&mut self, count: usize) {
        self.whole.increment(count as f64 - self.added);
        self.added = count as f64;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The caller may have gone away, which undoes nothing.
fn answer(done: oneshot::Sender<()>) {
    let _ = done.send(());
}
