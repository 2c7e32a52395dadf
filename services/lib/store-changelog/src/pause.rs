use std::time::Duration;

use pushgrid_store::StoreError;

use crate::Tuning;

/// Growing pauses between tries, up to a bound.
#[derive(Debug)]
pub(crate) struct Pause {
    next: Duration,
    max: Duration,
}

impl Pause {
    pub(crate) fn new(tuning: &Tuning) -> Self {
        Self { next: tuning.first_pause, max: tuning.max_pause }
    }

    /// Waits after a failure that may pass.
    pub(crate) async fn after(&mut self, error: &StoreError, what: &'static str) {
        tracing::warn!(%error, "could not {what}; trying again in {:?}", self.next);
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(self.max);
    }
}
