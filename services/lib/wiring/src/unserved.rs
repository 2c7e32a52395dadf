//! Detection of partitions assigned to this router and not served: repeatedly failed take-overs, and rebuilds
//! at a standstill.
//! Invariant: progress, not activity, restarts the time; a rebuild that starts over makes none. Times are
//! passed in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pushgrid_store_changelog::Health;
use pushgrid_types::{Partition, Position, Sequence};
use tokio::time::Instant;

/// Watch over assigned partitions without a working owner: a failed take-over, or a stopped partition in
/// backoff. A partition that moves between routers is not assigned long enough to be noticed.
#[derive(Debug)]
pub(crate) struct Unserved {
    stuck_after: Duration,
    since: BTreeMap<Partition, Since>,
}

/// Last time at which a partition was served, or made progress.
#[derive(Debug)]
struct Since {
    at: Instant,
    /// Furthest position of the rebuilds: starting over is no progress.
    furthest: Option<Position>,
    /// Oldest message that kept the partition from reading on.
    oldest: Option<Sequence>,
    is_said: bool,
}

impl Unserved {
    pub(crate) const fn new(stuck_after: Duration) -> Self {
        Self { stuck_after, since: BTreeMap::new() }
    }

    /// Checks the partitions in `assigned`, and describes the stuck ones. Each is logged once.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        assigned: &BTreeSet<Partition>,
        healths: &BTreeMap<Partition, Health>,
    ) -> Vec<String> {
        self.since.retain(|partition, _| assigned.contains(partition));
        assigned
            .iter()
            .filter_map(|partition| self.look_at(now, *partition, healths.get(partition).copied()))
            .collect()
    }

    fn look_at(&mut self, now: Instant, partition: Partition, health: Option<Health>) -> Option<String> {
        if health == Some(Health::Serving) {
            if self.since.remove(&partition).is_some_and(|since| since.is_said) {
                tracing::info!(partition = partition.0, "the partition is served again");
            }
            return None;
        }
        let since = self.since.entry(partition).or_insert(Since {
            at: now,
            furthest: None,
            oldest: None,
            is_said: false,
        });
        if let Some(Health::CatchingUp { at, .. }) = health
            && since.furthest.is_none_or(|furthest| at > furthest)
        {
            since.furthest = Some(at);
            since.at = now;
        }
        if let Some(Health::Full { at }) = health
            && since.oldest.is_none_or(|oldest| at > oldest)
        {
            since.oldest = Some(at);
            since.at = now;
        }
        let unserved = now.duration_since(since.at);
        if unserved < self.stuck_after {
            return None;
        }
        let health = health.map_or_else(|| "not taken over".to_owned(), |health| health.to_string());
        if !std::mem::replace(&mut since.is_said, true) {
            tracing::error!(partition = partition.0, health, "a partition has no owner that works");
        }
        Some(format!("partition {} is not served for {} s: {health}", partition.0, unserved.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use pushgrid_store_changelog::StopReason;

    use super::*;

    const BOUND: Duration = Duration::from_secs(15);
    const P: Partition = Partition(3);

    /// Checks at each second, and returns the seconds at which the partition was stuck.
    fn stuck_at(seconds: &[(u64, Option<Health>)]) -> Vec<u64> {
        let (start, mut unserved) = (Instant::now(), Unserved::new(BOUND));
        let stuck = |(second, health): &(u64, Option<Health>)| {
            let healths = health.iter().map(|health| (P, *health)).collect();
            let said = unserved.look(start + Duration::from_secs(*second), &BTreeSet::from([P]), &healths);
            (!said.is_empty()).then_some(*second)
        };
        seconds.iter().filter_map(stuck).collect()
    }

    #[test]
    fn a_partition_that_is_tried_again_and_again_is_stuck_after_the_bound() {
        let states = [Health::Stopped(StopReason::Corrupt), Health::TakingOver];
        let seconds: Vec<_> = (0..18).zip(states.iter().copied().map(Some).cycle()).collect();
        assert_eq!(stuck_at(&seconds), [15, 16, 17]);
        assert_eq!(stuck_at(&[(0, None), (14, None), (15, None)]), [15]);
    }

    #[test]
    fn one_that_is_served_now_and_then_is_not() {
        let serving = Some(Health::Serving);
        let stopped = Some(Health::Stopped(StopReason::Failed));
        let seconds =
            [(0, stopped), (14, stopped), (15, serving), (16, stopped), (30, stopped), (31, stopped)];
        assert_eq!(stuck_at(&seconds), [31]);
    }

    #[test]
    fn a_rebuild_is_work_as_long_as_it_moves_on() {
        let at = |at| Some(Health::CatchingUp { at: Position(at), end: Position(100) });
        assert_eq!(
            stuck_at(&[(0, at(1)), (14, at(2)), (28, at(3)), (42, at(4)), (56, at(4)), (57, at(4))]),
            [57]
        );
    }

    #[test]
    fn one_that_begins_again_and_again_does_not_move_on() {
        let at = |at| Some(Health::CatchingUp { at: Position(at), end: Position(100) });
        let states = [at(1), at(2), Some(Health::Stopped(StopReason::Failed)), Some(Health::TakingOver)];
        let seconds: Vec<_> = (0..20).zip(states.into_iter().cycle()).collect();
        assert_eq!(stuck_at(&seconds), [16, 17, 18, 19]);
    }

    #[test]
    fn one_that_reads_no_further_is_stuck_unless_what_it_waits_for_is_dealt_with() {
        let full = |at| Some(Health::Full { at: Sequence(at) });
        assert_eq!(stuck_at(&[(0, full(1)), (14, full(2)), (28, full(2)), (29, full(2))]), [29]);
    }

    #[test]
    fn what_is_another_routers_is_forgotten() {
        let (start, mut unserved) = (Instant::now(), Unserved::new(BOUND));
        let healths = BTreeMap::from([(P, Health::Stopped(StopReason::Lost))]);
        let mut look = |seconds, assigned: &BTreeSet<Partition>| {
            unserved.look(start + Duration::from_secs(seconds), assigned, &healths).len()
        };
        let (ours, nothing) = (BTreeSet::from([P]), BTreeSet::new());
        let stuck = [look(0, &ours), look(14, &nothing), look(16, &ours), look(30, &ours), look(31, &ours)];
        assert_eq!(stuck, [0, 0, 0, 0, 1]);
    }
}
