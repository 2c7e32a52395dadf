//! Application servers that post to the present subscriptions, by any ingress.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::grid::at;
use crate::history::chance::Chance;
use crate::history::posting::post;
use crate::history::{Answer, History, Subscription};
use crate::wire::party::Application;

/// Pause after any answer but 201: an ingress may be down.
const BREATH: Duration = Duration::from_millis(100);

/// Endpoints known to the application servers.
#[derive(Debug, Default)]
pub(super) struct Endpoints(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    subscriptions: Subscription,
    /// Endpoints to post to.
    live: BTreeMap<Subscription, String>,
}

impl Endpoints {
    /// Adds a new subscription.
    pub(super) fn tell(&self, endpoint: String) -> Subscription {
        let mut known = self.lock();
        let subscription = known.subscriptions;
        known.subscriptions += 1;
        known.live.insert(subscription, endpoint);
        subscription
    }

    /// Removes a subscription that has ended.
    fn forget(&self, subscription: Subscription) {
        self.lock().live.remove(&subscription);
    }

    /// Chooses a subscription of one poster.
    fn choose(
        &self,
        of: Subscription,
        posters: Subscription,
        chance: &mut Chance,
    ) -> Option<(Subscription, String)> {
        let known = self.lock();
        let mine = known.live.iter().filter(|(to, _)| **to % posters == of);
        let count = mine.clone().count() as u64;
        let chosen = (count > 0).then(|| chance.below(count))?;
        let (to, endpoint) = mine.into_iter().nth(usize::try_from(chosen).ok()?)?;
        Some((*to, endpoint.clone()))
    }

    /// No code panics while holding the lock.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock()
    }
}

/// One application server. A subscription has only one, so its messages are posted one after the other.
#[derive(Debug)]
pub(super) struct Poster {
    pub(super) history: Arc<History>,
    pub(super) endpoints: Arc<Endpoints>,
    pub(super) ingresses: Vec<String>,
    pub(super) done: watch::Receiver<bool>,
    pub(super) number: usize,
    pub(super) of: usize,
    pub(super) pause: Duration,
    pub(super) chance: Chance,
}

impl Poster {
    /// Posts until the end.
    pub(super) async fn run(mut self) -> Result<()> {
        let app = Application::new();
        while !*self.done.borrow() {
            let Some((to, endpoint)) = self.endpoints.choose(self.number, self.of, &mut self.chance) else {
                sleep(BREATH).await;
                continue;
            };
            let ingress = usize::try_from(self.chance.below(self.ingresses.len() as u64))?;
            let endpoint = at(&self.ingresses[ingress], &endpoint)?;
            let ttl = match self.chance.below(10) {
                0 => 0,
                1 | 2 => 1 + self.chance.below(8),
                _ => 3600,
            };
            let topic =
                self.chance.percent(30).then(|| u8::try_from(self.chance.below(2)).unwrap_or_default());
            match post(&self.history, &app, to, &endpoint, Duration::from_secs(ttl), topic).await {
                Answer::Accepted => sleep(self.pause).await,
                Answer::Gone => self.endpoints.forget(to),
                Answer::Refused | Answer::Unknown => sleep(BREATH).await,
            }
        }
        Ok(())
    }
}
