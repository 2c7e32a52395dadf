//! The loop that owns a partition: takes events and messages one turn at a time, and carries out what the turn
//! decided. All I/O of a turn runs beside the loop and comes back as an event of its own.

mod carry_out;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use pushgrid_crypto::EndpointTokens;
use pushgrid_runtime::Shutdown;
use pushgrid_runtime::metrics::{self, Meter};
use pushgrid_store::{LogConsumer, Mailbox, NodeLink, Presence, StoreError, Subscriptions};
use pushgrid_types::{Clock, Rng};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::Config;
use crate::config::INBOX;
use crate::handle::{Event, Handle, Shared};
use crate::partition::{Partition, Turn};
use carry_out::{Done, StoreQueue};

/// Messages on their way into the mailbox, above which nothing more is taken from the log.
const STORE_QUEUE: usize = 8192;
/// Store calls under way, above which no further events are taken.
const CALLS: usize = 4096;
/// The longest pause between two tries of a store that fails.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// What a router works with.
#[derive(Debug)]
pub struct Deps {
    /// Where accepted messages come from.
    pub consumer: Box<dyn LogConsumer>,
    /// Where messages wait.
    pub mailbox: Arc<dyn Mailbox>,
    /// Who may receive.
    pub subscriptions: Arc<dyn Subscriptions>,
    /// Who is connected.
    pub presence: Arc<dyn Presence>,
    /// The way to the sockets.
    pub nodes: Arc<dyn NodeLink>,
    /// Seals endpoints.
    pub tokens: EndpointTokens,
    /// What endpoints begin with: an origin without a slash at its end.
    pub public_url: String,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where new identifiers come from.
    pub rng: Arc<dyn Rng>,
    /// Where its figures go.
    pub meter: Meter,
}

/// Why a router gave up.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The log or the mailbox holds something unreadable, or is closed.
    #[error("the router cannot go on without its store")]
    Store(#[from] StoreError),
}

/// A router, built and not yet running.
#[derive(Debug)]
pub struct Router {
    config: Config,
    consumer: Box<dyn LogConsumer>,
    nodes: Arc<dyn NodeLink>,
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Event>,
    partition: Partition,
    calls: FuturesUnordered<BoxFuture<'static, Done>>,
    storing: StoreQueue,
    /// One batch of the log at a time is being looked up, so that they are routed in their order.
    looking_up: bool,
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

/// What this router adds to a gauge that others of the process add to as well; taken back at its end.
#[derive(Debug)]
struct Part {
    whole: ::metrics::Gauge,
    added: f64,
}

impl Router {
    /// Builds a router, and the way to it.
    pub fn new(config: Config, deps: Deps) -> (Self, Handle) {
        let (sender, inbox) = mpsc::channel(INBOX);
        let shared = Arc::new(Shared {
            subscriptions: deps.subscriptions,
            mailbox: deps.mailbox,
            presence: deps.presence,
            tokens: deps.tokens,
            public_url: deps.public_url,
            max_subscriptions: config.max_subscriptions(),
            clock: deps.clock,
            rng: deps.rng,
        });
        let router = Self {
            partition: Partition::new(config.limits()),
            config,
            consumer: deps.consumer,
            nodes: deps.nodes,
            shared: shared.clone(),
            inbox,
            calls: FuturesUnordered::new(),
            storing: StoreQueue::default(),
            looking_up: false,
            figures: Figures::new(&deps.meter),
        };
        (router, Handle::new(sender, shared))
    }

    /// Runs until `shutdown` drains; by then nobody may hold a session. What is under way is finished first.
    pub async fn run(mut self, shutdown: Shutdown) -> Result<(), Failure> {
        let mut ticks = interval(Duration::from_millis(100));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_sweep = Instant::now();
        let mut log_open = true;
        loop {
            let may_take = self.calls.len() < CALLS;
            // What is not taken any more stays in the log, for the next life or the next owner.
            let may_consume = log_open
                && may_take
                && !self.looking_up
                && self.storing.len() < STORE_QUEUE
                && !shutdown.is_draining();
            tokio::select! {
                Some(done) = self.calls.next(), if !self.calls.is_empty() => self.finish(done)?,
                Some(event) = self.inbox.recv(), if may_take => self.take(event),
                batch = self.consumer.next(self.config.batch()), if may_consume => match batch {
                    Ok(batch) if batch.is_empty() => log_open = false,
                    Ok(batch) => self.look_up(batch),
                    Err(error) if error.is_retryable() => {
                        tracing::warn!(%error, "could not read the log; trying again");
                        sleep_until(Instant::now() + Duration::from_millis(100)).await;
                    }
                    Err(error) => return Err(error.into()),
                },
                _ = ticks.tick() => {
                    self.partition.sweep(Turn { now: self.shared.clock.now(), nodes: &*self.nodes });
                    if Instant::now() >= next_sweep {
                        next_sweep = Instant::now() + self.config.sweep_interval();
                        self.expire();
                        self.figures.population(self.partition.population(), self.storing.len());
                    }
                },
                () = shutdown.draining(), if self.is_idle() => return Ok(()),
            }
            self.carry_out();
        }
    }

    fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.inbox.is_empty() && self.storing.is_empty()
    }

    fn take(&mut self, event: Event) {
        let turn = Turn { now: self.shared.clock.now(), nodes: &*self.nodes };
        match event {
            Event::Open { user_agent, claim } => self.partition.open(turn, user_agent, claim),
            Event::Resume { user_agent, claim } => self.partition.resume(turn, user_agent, claim),
            Event::Gone { node } => self.partition.node_gone(turn, node),
            Event::Settle { user_agent, ended } => self.partition.settle(turn, user_agent, &ended),
            Event::Close { user_agent, session, done } => {
                self.partition.close(turn, user_agent, session, done);
            }
            Event::Cancel { message, reply } => self.partition.cancel(message, reply),
            Event::Unsubscribe { user_agent, channel, done } => {
                self.partition.unsubscribe(user_agent, channel);
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

/// Whoever asked may have gone away meanwhile; the deed is done all the same.
fn answer(done: oneshot::Sender<()>) {
    let _ = done.send(());
}
