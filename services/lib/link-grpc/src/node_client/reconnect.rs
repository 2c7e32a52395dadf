//! Life of a connection: waits until the node is a member, reconnects with exponential backoff, and gives the node's
//! sessions up when the node stays out of reach.
//! Invariant: [`SessionEvents::gone`] is called after the queue was closed, so no message taken before is still in it.
//! One stream is the module `stream`.

use std::sync::Arc;
use std::time::Duration;

use pushgrid_runtime::Backoff;
use pushgrid_store::SessionEvents;
use pushgrid_types::NodeId;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::Inner;
use super::connection::{NodeConnection, NodeEvent};
use super::stream::{End, stream};
use crate::membership::MemberList;

/// First backoff before a reconnect.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Longest backoff, and the age from which a stream counts as working.
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// Events that may wait for the router. When full, the node is not read, and by back-pressure the node stops reading.
const EVENTS: usize = 16;

/// Interval of renewals of the member list while a node is awaited.
const ASK: Duration = Duration::from_millis(250);

/// Waits until the node is a member, keeps a stream to it until it has left, and reports to `events`.
pub(super) async fn run(connection: &Arc<NodeConnection>, nodes: &Inner, events: Arc<dyn SessionEvents>) {
    let (told, telling) = mpsc::channel(EVENTS);
    let node = connection.id();
    let keeping = async {
        let mut changes = nodes.membership_view.changes();
        let reason = if join(connection, nodes, &mut changes).await {
            // A node that has left is not read from any more.
            tokio::select! {
                biased;
                // The sender lives in the membership view.
                _ = changes.wait_for(|member_list| member_list.connection(node).is_none()) => {}
                () = keep(connection, nodes, &told) => {}
            }
            "left"
        } else {
            "absent"
        };
        connection.end();
        connection.give_up(reason, &told).await;
        drop(told);
    };
    tokio::join!(keeping, pass_on(node, telling, events));
}

/// Waits until the member list shows the node; `false` after [`NodesConfig::node_timeout`].
async fn join(
    connection: &NodeConnection,
    nodes: &Inner,
    changes: &mut watch::Receiver<Arc<MemberList>>,
) -> bool {
    let deadline = connection.met_at + connection.config.node_timeout;
    loop {
        let address =
            changes.borrow_and_update().connection(connection.id()).map(|node| node.address.clone());
        if let Some(address) = address {
            // Set once: only here, and one task runs a connection.
            let _ = connection.address.set(address);
            return true;
        }
        let now = Instant::now();
        if now >= deadline {
            return false;
        }
        nodes.membership_view.touch();
        // An error would mean that the membership view is gone, which `nodes` holds.
        let _ = timeout_at(deadline.min(now + ASK), changes.changed()).await;
    }
}

/// Passes events to the router, in order.
async fn pass_on(node: NodeId, mut telling: mpsc::Receiver<NodeEvent>, events: Arc<dyn SessionEvents>) {
    while let Some(told) = telling.recv().await {
        match told {
            NodeEvent::Refused(sessions) => {
                for (user_agent, session) in sessions {
                    events.refused(user_agent, session).await;
                }
            }
            NodeEvent::Announced(held) => events.announced(held).await,
            NodeEvent::Gone => events.gone(node).await,
        }
    }
}

/// Connects again and again, with exponential backoff, and gives the node up after [`NodesConfig::node_timeout`]
/// without a stream.
async fn keep(connection: &Arc<NodeConnection>, nodes: &Inner, told: &mpsc::Sender<NodeEvent>) {
    let patience = connection.config.node_timeout;
    let mut backoff = Backoff::new(FIRST_PAUSE, LAST_PAUSE);
    // Time since which messages are taken without a stream.
    let mut lost: Option<Instant> = None;
    loop {
        let begun = Instant::now();
        let waits = connection.queue().is_open();
        let give_up_at = waits.then(|| *lost.get_or_insert(begun) + patience);
        let mut stood = false;
        let end = stream(connection, nodes, told, give_up_at, &mut stood).await;
        let now = Instant::now();
        if stood {
            lost = None;
            // A stream that breaks at once must not reset the backoff.
            if now.duration_since(begun) >= LAST_PAUSE {
                backoff.reset();
            }
        }
        if connection.queue().is_open() {
            let since = *lost.get_or_insert(now);
            let late = now.duration_since(since) >= patience
                || connection.queue().is_overdue(&connection.config, now);
            let reason = match end {
                End::Broken if !late => None,
                End::Broken => Some("unreachable"),
                End::Silent => Some("silent"),
                End::Stranger => Some("stranger"),
                End::Overflow => Some("overflow"),
            };
            if let Some(reason) = reason {
                connection.close();
                connection.give_up(reason, told).await;
                lost = None;
            }
        }
        let pause = backoff.fail();
        // Not beyond the deadline, so that giving up is on time.
        let most = lost.map_or(pause, |lost| (lost + patience).saturating_duration_since(Instant::now()));
        tokio::select! {
            () = sleep(pause.min(most)) => {}
            () = connection.expected.notified() => backoff.reset(),
        }
    }
}
