use std::time::Duration;

use pushgrid_runtime::Shutdown;
use pushgrid_types::Rng;
use tokio::time::{Instant, sleep_until, timeout};

use crate::outbox::Ending;
use crate::run::Shared;

/// How often some of the connections are closed, when they are not closed at once.
const STEP: Duration = Duration::from_millis(100);

/// How long connections that were told to drop everything may take for it.
const DROP: Duration = Duration::from_millis(500);

/// Lets nobody in any more, ends every connection, and returns when they have ended, or been dropped because the
/// process stops.
pub(crate) async fn all(shared: &Shared, shutdown: &Shutdown) {
    let outboxes = shared.node.close_doors();
    shared.connections.close();
    tracing::info!(connections = outboxes.len(), "closing the connections of user agents");
    let spread = async {
        let count = outboxes.len();
        let (start, over) = (Instant::now(), shared.config.drain);
        for (index, outbox) in outboxes.iter().enumerate() {
            let due = start + share(over, index, count, &*shared.rng);
            if due > Instant::now() + STEP {
                sleep_until(due).await;
            }
            outbox.end(Ending::Draining);
        }
        shared.connections.wait().await;
    };
    tokio::select! {
        biased;
        () = spread => return,
        () = shutdown.stopping() => {}
    }
    for outbox in &outboxes {
        outbox.end(Ending::Abandoned);
    }
    // Nothing is lost when it takes longer: they go with the process.
    let _ = timeout(DROP, shared.connections.wait()).await;
}

/// When the connection at `index` of `count` is due: evenly over the time, each at a random moment of its share.
fn share(over: Duration, index: usize, count: usize, rng: &dyn Rng) -> Duration {
    if over.is_zero() {
        return Duration::ZERO;
    }
    let share = over.as_secs_f64() / to_f64(count);
    Duration::from_secs_f64(share * (to_f64(index) + fraction(rng)))
}

/// A random number from 0 to 1.
pub(crate) fn fraction(rng: &dyn Rng) -> f64 {
    let mut octets = [0; 4];
    rng.fill(&mut octets);
    f64::from(u32::from_le_bytes(octets)) / f64::from(u32::MAX)
}

fn to_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
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
