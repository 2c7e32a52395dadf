use pushgrid_types::Outcome;

use super::{ACCOUNT, Meter};

/// The gauges of the account of promise P2.
pub struct Account {
    accepted: ::metrics::Gauge,
    pending: ::metrics::Gauge,
    ended: [::metrics::Gauge; Outcome::ALL.len()],
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").finish_non_exhaustive()
    }
}

impl Account {
    /// The gauges, all at zero.
    pub fn new(meter: &Meter) -> Self {
        let entry = |entry| meter.gauge(&ACCOUNT, &[("entry", entry)]);
        Self {
            accepted: entry("accepted"),
            pending: entry("pending"),
            ended: Outcome::ALL.map(|outcome| entry(outcome.as_str())),
        }
    }

    /// Shows the numbers of accepted and pending messages, and of ended ones by [`Outcome::index`].
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 messages are ever accepted")]
    pub fn show(&self, accepted: u64, pending: u64, ended: &[u64; Outcome::ALL.len()]) {
        self.accepted.set(accepted as f64);
        self.pending.set(pending as f64);
        for (gauge, count) in self.ended.iter().zip(ended) {
            gauge.set(*count as f64);
        }
    }
}
