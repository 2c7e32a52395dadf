//! Application servers that post as fast as answered.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::history::chance::Chance;
use crate::history::posting::post;
use crate::history::{Answer, History, Subscription};
use crate::wire::party::Application;

/// Pause after a refusal, so that a limit of the service does not fill the history.
const BREATH: Duration = Duration::from_millis(50);

/// Most messages of each subscription: more would only slow the checker.
const MOST: usize = 3000;

/// State of the process, as known to the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Up,
    Down,
    /// Posting has ended.
    Done,
}

/// Sender to one subscription.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) history: Arc<History>,
    pub(super) service: watch::Receiver<Service>,
    pub(super) to: Subscription,
    pub(super) endpoint: String,
    /// Pause between two messages; zero for full speed.
    pub(super) pause: Duration,
    pub(super) chance: Chance,
}

impl Sender {
    /// Posts until told to stop.
    pub(super) async fn run(mut self) {
        let app = Application::with_one_connection();
        for _ in 0..MOST {
            let up = self.service.wait_for(|service| *service != Service::Down).await;
            if up.is_ok_and(|service| *service == Service::Done) {
                return;
            }
            let ttl = match self.chance.below(10) {
                0 => 0,
                1 | 2 => 1 + self.chance.below(2),
                _ => 3600,
            };
            let topic =
                self.chance.percent(30).then(|| u8::try_from(self.chance.below(3)).unwrap_or_default());
            match post(&self.history, &app, self.to, &self.endpoint, Duration::from_secs(ttl), topic).await {
                Answer::Accepted => sleep(self.pause).await,
                Answer::Refused | Answer::Gone | Answer::Unknown => sleep(BREATH).await,
            }
        }
    }
}
