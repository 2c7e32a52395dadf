use pushgrid_runtime::metrics::{self, Meter};
use pushgrid_store::LedgerSnapshot;
use pushgrid_types::Outcome;

use super::table::{Owned, Table};

/// Shows the account of promise P2 of the partitions that are owned: the gauges are exact and move with a partition, so
/// their sum over all routers is that of the grid; the counters count what was done here.
#[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 messages are ever accepted")]
pub(super) fn publish(meter: &Meter, table: &Table) {
    let account = metrics::Account::new(meter);
    let counts = Counts::new(meter);
    let pending = meter.gauge(&metrics::MESSAGES_PENDING, &[]);
    let partitions = meter.gauge(&metrics::ROUTER_PARTITIONS, &[]);
    let table = table.clone();
    meter.on_scrape(move || {
        let mut whole = LedgerSnapshot::default();
        let mut owned_here = 0_u32;
        table.for_each(|owned| {
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

/// What was accepted and ended here.
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

    /// Counts what has happened to a partition since it was last counted, and answers how its account stands.
    pub(super) fn catch_up(&self, owned: &mut Owned) -> LedgerSnapshot {
        let now = owned.life.account();
        self.accepted.increment(now.accepted.saturating_sub(owned.counted.accepted));
        for ((counter, now), before) in self.ended.iter().zip(now.ended).zip(owned.counted.ended) {
            counter.increment(now.saturating_sub(before));
        }
        owned.counted = now;
        now
    }
}
