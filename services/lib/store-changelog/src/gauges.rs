//! Metrics of the partitions of a process, summed at each scrape: queues, windows, stored messages, and user
//! agents set aside.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use pushgrid_runtime::metrics::{self, Meter, level};

use crate::PartitionStore;

/// Recorder of the metrics of all partitions owned by a process. Clones record into the same sums; the
/// default records nothing.
#[derive(Debug, Clone, Default)]
pub struct PartitionGauges(Arc<Mutex<Vec<Shown>>>);

#[derive(Debug)]
struct Shown {
    store: Weak<PartitionStore>,
    /// Restorations counted so far, of user agents.
    restored: u64,
}

impl PartitionGauges {
    /// A recorder without partitions yet, shown in `meter`.
    pub fn new(meter: &Meter) -> Self {
        let gauges = Self::default();
        let all = gauges.clone();
        let gauge = |which| meter.gauge(which, &[]);
        let (queue, window) = (gauge(&metrics::PARTITION_QUEUE), gauge(&metrics::PARTITION_WINDOW));
        let (waiting, aside) = (gauge(&metrics::PARTITION_WAITING), gauge(&metrics::PARTITION_ASIDE));
        let restored = meter.counter(&metrics::PARTITION_RESTORED, &[]);
        meter.on_scrape(move || {
            let mut shown = all.0.lock();
            shown.retain(|partition| partition.store.strong_count() > 0);
            let (mut sums, mut waits) = ([0; 3], 0);
            for partition in &mut *shown {
                let Some(store) = partition.store.upgrade() else { continue };
                let figures = store.figures();
                for (sum, figure) in sums.iter_mut().zip([figures.queue, figures.window, figures.aside]) {
                    *sum += figure;
                }
                waits += figures.waiting;
                restored.increment(figures.restored - partition.restored);
                partition.restored = figures.restored;
            }
            for (gauge, sum) in [&queue, &window, &aside].into_iter().zip(sums) {
                gauge.set(level(sum));
            }
            waiting.set(level(waits));
        });
        gauges
    }

    pub(crate) fn add(&self, store: &Arc<PartitionStore>) {
        self.0.lock().push(Shown { store: Arc::downgrade(store), restored: 0 });
    }
}
