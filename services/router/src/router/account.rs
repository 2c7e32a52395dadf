use pushgrid_runtime::metrics::{self, Meter};
use pushgrid_store::LedgerSnapshot;
use pushgrid_types::Outcome;

use super::registry::{Owned, PartitionRegistry};

/// Publishes the account of promise P2 of the owned partitions. Gauges are exact and move with a partition,
/// so the sum over all routers is the grid's; counters count the work of this process.
#[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 messages are ever accepted")]
pub(super) fn publish(meter: &Meter, registry: &PartitionRegistry) {
    let account = metrics::Account::new(meter);
    let counts = Counts::new(meter);
    let pending = meter.gauge(&metrics::MESSAGES_PENDING, &[]);
    let partitions = meter.gauge(&metrics::ROUTER_PARTITIONS, &[]);
    let registry = registry.clone();
    meter.on_scrape(move || {
        let mut whole = LedgerSnapshot::default();
        let mut owned_here = 0_u32;
        registry.for_each(|owned| {
            let now = counts.catch_up(owned);
            whole.accepted += now.accepted;
            whole.pending += now.pending;
            whole.ended.iter_mut().zip(now.ended).for_each(|(sum, count)| *sum += count);
            owned_here += 1;
        });
        account.show(whole.accepted, whole.pending, &whole.ended);
        pending.set(whole.pending as f64);
        partitions.set(f64::from(owned_here));
    });
}

/// Counters of messages accepted and ended by this process.
#[derive(Debug)]
pub(super) struct Counts {
    accepted: ::metrics::Counter,
    ended: [::metrics::Counter; Outcome::ALL.len()],
}

impl Counts {
    pub(super) fn new(meter: &Meter) -> Self {
        Self {
            accepted: meter.counter(&metrics::MESSAGES_ACCEPTED, &[]),
            ended: Outcome::ALL
                .map(|outcome| meter.counter(&metrics::MESSAGES_ENDED, &[("outcome", outcome.as_str())])),
        }
    }

    /// Adds the change since the last count to the counters, and returns the current account.
    pub(super) fn catch_up(&self, owned: &mut Owned) -> LedgerSnapshot {
        let now = owned.lifecycle.account();
        self.accepted.increment(now.accepted.saturating_sub(owned.counted.accepted));
        for ((counter, now), before) in self.ended.iter().zip(now.ended).zip(owned.counted.ended) {
            counter.increment(now.saturating_sub(before));
        }
        owned.counted = now;
        now
    }
}
