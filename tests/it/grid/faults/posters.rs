//! Application servers that post to whoever is subscribed, by any ingress.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::grid::at;
use crate::history::chance::Chance;
use crate::history::posting::post;
use crate::history::{Answer, History, Subscription};
use crate::wire::party::Application;

/// A poster takes a breath after anything but a 201: an ingress may be down.
const BREATH: Duration = Duration::from_millis(100);

/// The endpoints that application servers know.
#[derive(Debug, Default)]
pub(super) struct Endpoints(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    subscriptions: Subscription,
    /// Those that are posted to.
    live: BTreeMap<Subscription, String>,
}

impl Endpoints {
    /// A new subscription is told to the application servers.
    pub(super) fn tell(&self, endpoint: String) -> Subscription {
        let mut known = self.lock();
        let subscription = known.subscriptions;
        known.subscriptions += 1;
        known.live.insert(subscription, endpoint);
        subscription
    }

    /// The application servers learn that it has ended.
    fn forget(&self, subscription: Subscription) {
        self.lock().live.remove(&subscription);
    }

    /// One of those that are of one poster.
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

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One application server. Each subscription has one only, so its messages are posted one after the other.
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
    /// Posts until all is done.
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
