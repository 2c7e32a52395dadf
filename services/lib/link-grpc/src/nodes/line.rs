use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use ::metrics::{Counter, Gauge};
use pushgrid_proto::wire::node::v1 as wire;
use pushgrid_proto::wire::node::v1::node_client::NodeClient;
use pushgrid_runtime::metrics::{self, Meter};
use pushgrid_store::{Claim, Eviction, Held, Member, NotDelivered, SessionEvents};
use pushgrid_types::{Epoch, Message, NodeId, Partition, SessionId, SessionRef, UserAgentId};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Streaming};

use super::outgoing::Outgoing;
use super::queue::{Next, NotSent, Queue};
use super::{Inner, NodesConfig};
use crate::form;
use crate::transport::{self, MESSAGE};

/// The first pause before a node is connected to again; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// Frames of a node that may wait for the router to hear them. When they are full the node is not read, and the node
/// does not read.
const TOLD: usize = 16;

/// How often in its patience a node is looked at.
const LOOKS: u32 = 8;

/// One node: what waits for it, shared with those who deliver.
pub(super) struct Line {
    node: Member,
    config: NodesConfig,
    queue: Mutex<Queue>,
    meter: Meter,
    streams: Gauge,
    frames: Counter,
}

/// Something to tell the router.
enum Told {
    Refused(Vec<(UserAgentId, SessionRef)>),
    Announced(Vec<Held>),
    Gone,
}

/// Why a stream has ended, or was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It broke, or never stood.
    Broken,
    /// The node left a frame unanswered.
    Silent,
    /// Another node listens there.
    Stranger,
    /// More evictions than there can be sessions.
    Overflow,
}

impl Line {
    pub(super) fn new(node: Member, config: NodesConfig, meter: &Meter) -> Self {
        let (streams, frames) = (meter.gauge(&metrics::STREAMS, &[]), meter.counter(&metrics::FRAMES, &[]));
        Self { node, config, queue: Mutex::default(), meter: meter.clone(), streams, frames }
    }

    pub(super) fn id(&self) -> NodeId {
        self.node.id
    }

    pub(super) fn deliver(&self, to: SessionId, message: &Arc<Message>) -> Result<(), NotDelivered> {
        // A statement of its own: the lock is free before the writer is woken.
        let writer = self.queue().deliver(to, message, &self.config)?;
        wake(writer);
        Ok(())
    }

    pub(super) fn evict(&self, session: SessionId, why: Eviction) {
        let writer = self.queue().evict(session, why);
        wake(writer);
    }

    pub(super) fn announce(&self, partition: Partition) {
        let writer = self.queue().announce(partition);
        wake(writer);
    }

    pub(super) fn announce_no_more(&self, partition: Partition) {
        self.queue().announce_no_more(partition);
    }

    /// Messages that wait or are not answered.
    pub(super) fn queued(&self) -> usize {
        self.queue().len()
    }

    pub(super) fn close(&self) {
        let writer = self.queue().close();
        wake(writer);
    }

    pub(super) fn next(&self, stream: u64, writer: &Waker) -> Next {
        self.queue().next(stream, &self.config, Instant::now(), writer)
    }

    fn taken(&self, number: u64) -> Result<(), NotSent> {
        let writer = self.queue().taken(number, Instant::now())?;
        wake(writer);
        Ok(())
    }

    /// No code panics while it holds the lock, so what a poisoned one guards is whole.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the sessions of the node up.
    async fn give_up(&self, reason: &'static str, told: &mpsc::Sender<Told>) {
        self.close();
        self.meter.counter(&metrics::NODES_GIVEN_UP, &[("reason", reason)]).increment(1);
        tracing::info!(node = self.node.address, reason, "the sessions of a connection node are given up");
        tell(told, Told::Gone).await;
    }
}

fn wake(writer: Option<Waker>) {
    if let Some(writer) = writer {
        writer.wake();
    }
}

/// Keeps a stream to the node until it has `left`, and tells `events` what it says.
pub(super) async fn tend(
    line: &Arc<Line>,
    nodes: &Inner,
    events: Arc<dyn SessionEvents>,
    left: CancellationToken,
) {
    let (told, telling) = mpsc::channel(TOLD);
    let node = line.id();
    let keeping = async {
        // What it says after it has left is not worth waiting for.
        tokio::select! {
            biased;
            () = left.cancelled() => {}
            () = keep(line, nodes, &told) => {}
        }
        line.give_up("left", &told).await;
        drop(told);
    };
    tokio::join!(keeping, pass_on(node, telling, events));
}

/// Tells the router, in order.
async fn pass_on(node: NodeId, mut telling: mpsc::Receiver<Told>, events: Arc<dyn SessionEvents>) {
    while let Some(told) = telling.recv().await {
        match told {
            Told::Refused(sessions) => {
                for (user_agent, session) in sessions {
                    events.refused(user_agent, session).await;
                }
            }
            Told::Announced(held) => events.announced(held).await,
            Told::Gone => events.gone(node).await,
        }
    }
}

async fn tell(told: &mpsc::Sender<Told>, what: Told) {
    // `pass_on` runs for as long as anybody can tell it something.
    let _ = told.send(what).await;
}

/// Makes one stream after the other.
async fn keep(line: &Arc<Line>, nodes: &Inner, told: &mpsc::Sender<Told>) {
    let patience = line.config.node_timeout;
    let mut pause = FIRST_PAUSE;
    // Since when there is no stream though messages are taken.
    let mut lost: Option<Instant> = None;
    loop {
        let begun = Instant::now();
        let give_up_at = lost.map(|lost| lost + patience);
        let mut stood = false;
        let end = stream(line, nodes, told, give_up_at, &mut stood).await;
        let now = Instant::now();
        if stood {
            lost = None;
            if now.duration_since(begun) >= LAST_PAUSE {
                pause = FIRST_PAUSE;
            }
        }
        if line.queue().is_open() {
            let since = *lost.get_or_insert(now);
            let late = now.duration_since(since) >= patience || line.queue().is_overdue(&line.config, now);
            let reason = match end {
                End::Broken if !late => None,
                End::Broken => Some("unreachable"),
                End::Silent => Some("silent"),
                End::Stranger => Some("stranger"),
                End::Overflow => Some("overflow"),
            };
            if let Some(reason) = reason {
                line.give_up(reason, told).await;
                lost = None;
            }
        }
        let most = lost.map_or(pause, |lost| (lost + patience).saturating_duration_since(Instant::now()));
        sleep(pause.min(most)).await;
        pause = LAST_PAUSE.min(pause * 2);
    }
}

/// One stream, from the connection to its end. Sets `stood` when it stands.
async fn stream(
    line: &Arc<Line>,
    nodes: &Inner,
    told: &mpsc::Sender<Told>,
    give_up_at: Option<Instant>,
    stood: &mut bool,
) -> End {
    let patience = give_up_at.map_or(line.config.connect, |at| {
        line.config.connect.min(at.saturating_duration_since(Instant::now()))
    });
    let mut incoming = match timeout(patience, connect(line, nodes)).await {
        Ok(Ok(incoming)) => incoming,
        Ok(Err(end)) => return end,
        Err(_elapsed) => return End::Broken,
    };
    *stood = true;
    line.queue().open();
    let _counted = Counted::new(line.streams.clone());
    let end = read(line, &mut incoming, told).await;
    tracing::debug!(node = line.node.address, ?end, "a stream to a connection node has ended");
    end
}

/// Counts a stream for as long as it stands, however it ends.
struct Counted(Gauge);

impl Counted {
    fn new(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Connects, greets, and waits for the node to answer.
async fn connect(line: &Arc<Line>, nodes: &Inner) -> Result<Streaming<wire::NodeFrame>, End> {
    let endpoint = transport::endpoint(&line.node.address, line.config.connect).ok_or(End::Broken)?;
    let partitions = nodes.roster.partitions().ok_or(End::Broken)?;
    let channel = endpoint.connect().await.map_err(|_| End::Broken)?;
    let (stream, earlier) = {
        let owned = nodes.owned();
        line.queue().begin(owned.clone())
    };
    wake(earlier);
    let outgoing = Outgoing { line: Arc::clone(line), stream, partitions, frames: line.frames.clone() };
    let mut client = NodeClient::new(channel).max_decoding_message_size(MESSAGE);
    Ok(client.deliver(outgoing).await.map_err(|status| end_of(status.code()))?.into_inner())
}

const fn end_of(code: Code) -> End {
    if matches!(code, Code::FailedPrecondition) { End::Stranger } else { End::Broken }
}

/// Hears the node until the stream ends.
async fn read(line: &Line, incoming: &mut Streaming<wire::NodeFrame>, told: &mpsc::Sender<Told>) -> End {
    let mut looks = interval(line.config.node_timeout / LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            frame = incoming.message() => match frame {
                Ok(Some(frame)) => if let Err(end) = hear(line, frame, told).await {
                    return end;
                },
                Ok(None) => return End::Broken,
                Err(status) => return end_of(status.code()),
            },
            _ = looks.tick() => {
                let queue = line.queue();
                if queue.is_overflown() {
                    return End::Overflow;
                }
                if queue.is_overdue(&line.config, Instant::now()) {
                    return End::Silent;
                }
            }
        }
    }
}

async fn hear(line: &Line, frame: wire::NodeFrame, told: &mpsc::Sender<Told>) -> Result<(), End> {
    let node = line.id();
    let session = |session| SessionRef { node, session: SessionId(session) };
    if !frame.refused.is_empty() {
        let refused = frame
            .refused
            .iter()
            .map(|refused| Ok((form::user_agent(&refused.user_agent)?, session(refused.session))));
        let refused: Result<Vec<_>, tonic::Status> = refused.collect();
        tell_in_time(line, told, Told::Refused(refused.map_err(|_| End::Broken)?)).await;
    }
    if !frame.held.is_empty() {
        let held = frame.held.iter().map(|held| {
            let claim = Claim { epoch: Epoch(held.epoch), session: session(held.session) };
            Ok(Held { user_agent: form::user_agent(&held.user_agent)?, claim })
        });
        let held: Result<Vec<_>, tonic::Status> = held.collect();
        tell_in_time(line, told, Told::Announced(held.map_err(|_| End::Broken)?)).await;
    }
    if frame.taken != 0 {
        // A frame that we never sent on this stream: not one of ours.
        line.taken(frame.taken).map_err(|NotSent| End::Broken)?;
    }
    Ok(())
}

/// Tells the router, and counts nothing against the node for as long as the router does not listen.
async fn tell_in_time(line: &Line, told: &mpsc::Sender<Told>, what: Told) {
    let waits = told.capacity() == 0;
    tell(told, what).await;
    if waits {
        line.queue().excuse(Instant::now());
    }
}
