//! The drain: the end of all connections of a node, at once or spread over a time.

use std::time::Duration;

use pushgrid_runtime::Shutdown;
use pushgrid_types::Rng;
use pushgrid_types::cast::saturating;
use tokio::time::{Instant, sleep_until, timeout};

use crate::jitter::fraction;
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

/// Moment at which the connection at `index` of `count` is due: evenly over the time, each at a random moment
/// of its share.
fn share(over: Duration, index: usize, count: usize, rng: &dyn Rng) -> Duration {
    if over.is_zero() {
        return Duration::ZERO;
    }
    let share = over.as_secs_f64() / to_f64(count);
    Duration::from_secs_f64(share * (to_f64(index) + fraction(rng)))
}

fn to_f64(count: usize) -> f64 {
    f64::from(saturating::<u32>(count))
}

#[cfg(test)]
mod tests {
    use pushgrid_types::SystemRng;

    use super::*;

    #[test]
    fn the_moments_are_spread_evenly_and_rise() {
        let over = Duration::from_secs(10);
        let due: Vec<_> = (0..100).map(|index| share(over, index, 100, &SystemRng)).collect();
        assert!(due.is_sorted());
        for (index, due) in (0u32..).zip(due) {
            let from = Duration::from_millis(100) * index;
            assert!((from..=from + Duration::from_millis(101)).contains(&due), "{index} at {due:?}");
        }
    }

    #[test]
    fn without_a_time_all_are_due_at_once() {
        assert_eq!(share(Duration::ZERO, 5, 10, &SystemRng), Duration::ZERO);
    }
}
