//! Metrics of the store: the account of the messages as kept on the disk, exact across restarts (promise P2), and the
//! state of the file.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pushgrid_runtime::metrics::{self, Account, Meter, level};
use pushgrid_types::Outcome;

use crate::shared::Shared;

/// Shows the figures of a store in `meter`, at each scrape.
pub(crate) fn show(shared: &Arc<Shared>, meter: &Meter) {
    let commits = meter.counter(&metrics::STORE_COMMITS, &[]);
    let damage = meter.counter(&metrics::STORE_DAMAGE_MET, &[]);
    meter.counter(&metrics::STORE_LOST, &[]).absolute(shared.lost);
    let accepted = meter.counter(&metrics::MESSAGES_ACCEPTED, &[]);
    let ended =
        Outcome::ALL.map(|outcome| meter.counter(&metrics::MESSAGES_ENDED, &[("outcome", outcome.as_str())]));
    let pending = meter.gauge(&metrics::MESSAGES_PENDING, &[]);
    let full = meter.gauge(&metrics::STORE_FULL, &[]);
    let whole = Account::new(meter);
    let shared = Arc::downgrade(shared);
    meter.on_scrape(move || {
        let Some(shared) = shared.upgrade() else { return };
        let account = shared.ledger.snapshot();
        accepted.absolute(account.accepted);
        for (counter, count) in ended.iter().zip(account.ended) {
            counter.absolute(count);
        }
        pending.set(level(account.pending));
        whole.show(account.accepted, account.pending, &account.ended);
        commits.absolute(shared.commits.load(Ordering::Relaxed));
        full.set(if shared.full.load(Ordering::Relaxed) { 1.0 } else { 0.0 });
        damage.absolute(shared.damage.met_so_far());
    });
}
