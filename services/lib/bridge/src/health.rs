//! Metrics of the bridge: whether the upstream is connected, and for how long it has said nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pushgrid_runtime::metrics::{BRIDGE_AGE, BRIDGE_UP, Meter};

/// State shown at each scrape. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Last sign of the upstream, or the begin; `None` while this process has no bridge at work.
    heard: Option<Instant>,
    is_up: bool,
}

impl Health {
    /// Shows the state in `meter`.
    pub(crate) fn shown_in(meter: &Meter) -> Self {
        let health = Self::default();
        let (up, age, shown) = (meter.gauge(&BRIDGE_UP, &[]), meter.gauge(&BRIDGE_AGE, &[]), health.clone());
        meter.on_scrape(move || {
            let state = shown.0.lock();
            up.set(if state.is_up { 1.0 } else { 0.0 });
            age.set(state.heard.map_or(0.0, |heard| heard.elapsed().as_secs_f64()));
        });
        health
    }

    /// The bridge goes to work. The age counts from now, until the upstream is heard.
    pub(crate) fn begin(&self) {
        self.0.lock().heard = Some(Instant::now());
    }

    /// The bridge has ceased to work.
    pub(crate) fn end(&self) {
        *self.0.lock() = State::default();
    }

    /// The upstream is connected, and was heard so long ago.
    pub(crate) fn up(&self, ago: Duration) {
        *self.0.lock() = State { heard: Instant::now().checked_sub(ago), is_up: true };
    }

    /// The connection is lost.
    pub(crate) fn down(&self) {
        self.0.lock().is_up = false;
    }
}
