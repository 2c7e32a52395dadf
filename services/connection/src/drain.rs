//! The drain: the end of all connections of a node, at once or spread over a time.

use std::time::Duration;

use pushgrid_runtime::Shutdown;
use tokio::time::{Instant, sleep_until, timeout};

use crate::jitter::share;
use crate::send_queue::Ending;
use crate::shared::Shared;

/// Interval at which some of the connections are closed, in a drain spread over time.
const STEP: Duration = Duration::from_millis(100);

/// Time limit for connections told to drop everything.
const DROP: Duration = Duration::from_millis(500);

/// Lets nobody in any more, ends every connection, and returns when all have ended, or have been dropped
/// because the process stops.
pub(crate) async fn all(shared: &Shared, shutdown: &Shutdown) {
    let queues = shared.node.close_doors();
    shared.connections.close();
    tracing::info!(connections = queues.len(), "closing the connections of user agents");
    let spread = async {
        let count = queues.len();
        let (start, over) = (Instant::now(), shared.config.drain);
        for (index, queue) in queues.iter().enumerate() {
            let due = start + share(over, index, count, &*shared.rng);
            if due > Instant::now() + STEP {
                sleep_until(due).await;
            }
            queue.end(Ending::Draining);
        }
        shared.connections.wait().await;
    };
    tokio::select! {
        biased;
        () = spread => return,
        () = shutdown.stopping() => {}
    }
    for queue in &queues {
        queue.end(Ending::Abandoned);
    }
    // Nothing is lost when it takes longer: they go with the process.
    let _ = timeout(DROP, shared.connections.wait()).await;
}
