//! Visits of user agents, and the end of those that have not come for too long. Invariant: nobody who has a session is
//! ended, nor anybody whose last visit is not known.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use pushgrid_runtime::metrics;
use pushgrid_store::{LinkError, StoreError, Subscription};
use pushgrid_types::{Timestamp, UserAgentId};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tracing::Instrument;

use crate::handle::{Event, Handle};

/// Time that a noted visit stands for later ones, at most: a user agent that comes often is written once.
const DAY: Duration = Duration::from_hours(24);

/// Pause between the pieces of a sweep.
const PIECES: Duration = Duration::from_millis(100);

/// Time between a visit and the next that is noted, and between two sweeps: fine enough for the limit.
fn grain(limit: Option<Duration>) -> Duration {
    limit.map_or(DAY, |limit| (limit / 16).clamp(Duration::from_millis(100), DAY))
}

impl Handle {
    /// Notes a visit of the holder of these subscriptions, unless one of the same day is noted. In the background: the
    /// answer to the visit does not wait, and one that is not noted is noted with the next.
    pub(crate) fn note_visit(&self, subscriptions: Vec<Subscription>) {
        let (now, grain) = (self.shared().now(), grain(self.shared().context.config.unseen_limit()));
        if !subscriptions.iter().all(|it| it.is_noted && now.since(it.seen_at) < grain) {
            let handle = self.clone();
            let noting = async move {
                if let Err(error) = handle.seen(now, subscriptions).await {
                    tracing::debug!(%error, "a visit could not be noted");
                }
            };
            tokio::spawn(noting.instrument(self.span().clone()));
        }
    }

    async fn seen(&self, now: Timestamp, subscriptions: Vec<Subscription>) -> Result<(), StoreError> {
        for subscription in subscriptions {
            let seen = Subscription { seen_at: now, is_noted: true, ..subscription };
            self.shared().subscriptions.put(Some(subscription.id), seen).await?;
        }
        Ok(())
    }

    /// Ends user agents that have not come for the configured limit, again and again.
    pub(crate) async fn end_unseen(self) -> Infallible {
        let context = self.shared().context.clone();
        let Some(limit) = context.config.unseen_limit() else { return std::future::pending().await };
        let ended = context.meter.counter(&metrics::ROUTER_UNSEEN, &[]);
        loop {
            // Not all partitions at once; and the nodes announce their sessions meanwhile.
            let mut chance = [0; 1];
            context.rng.fill(&mut chance);
            sleep(grain(Some(limit)).mul_f64(0.75 + f64::from(chance[0]) / 512.0)).await;
            match self.sweep_unseen(limit).await {
                Ok(0) => {}
                Ok(count) => {
                    ended.increment(count);
                    tracing::info!(count, "user agents were not seen for too long, and have ended");
                }
                Err(error) => tracing::debug!(%error, "a sweep for user agents not seen was cut short"),
            }
        }
    }

    /// Ends those not seen for `limit`, in one sweep through all. Returns their number.
    pub(crate) async fn sweep_unseen(&self, limit: Duration) -> Result<u64, LinkError> {
        let (mut place, mut ended) = (None, 0);
        loop {
            let (swept, next) = self.shared().subscriptions.sweep(place).await?;
            let mut of_each: BTreeMap<UserAgentId, Vec<Subscription>> = BTreeMap::new();
            for subscription in swept {
                of_each.entry(subscription.id.user_agent).or_default().push(subscription);
            }
            ended += self.end_of_piece(limit, of_each).await?;
            place = next;
            if place.is_none() {
                return Ok(ended);
            }
            sleep(PIECES).await;
        }
    }

    /// Ends those of a piece that are not connected and were not seen for the limit; notes the visits of others.
    async fn end_of_piece(
        &self,
        limit: Duration,
        of_each: BTreeMap<UserAgentId, Vec<Subscription>>,
    ) -> Result<u64, LinkError> {
        let now = self.shared().now();
        let age = |all: &[Subscription]| all.iter().map(|it| now.since(it.seen_at)).min().unwrap_or_default();
        let connected = self.are_connected(of_each.keys().copied().collect()).await?;
        let mut ended = 0;
        for ((user_agent, all), is_connected) in of_each.into_iter().zip(connected) {
            let is_known = all.iter().all(|it| it.is_noted);
            if is_connected || !is_known {
                self.note_visit(all);
            } else if age(&all) >= limit {
                ended += u64::from(self.end_user_agent(user_agent, limit).await?);
            }
        }
        Ok(ended)
    }

    /// Ends a user agent, unless it has come meanwhile. One that comes at the very moment loses its session too, and
    /// learns on the next that it is unknown.
    async fn end_user_agent(&self, user_agent: UserAgentId, limit: Duration) -> Result<bool, LinkError> {
        let now = self.shared().now();
        let all = match self.shared().subscriptions.all(user_agent).await {
            Ok(all) => all,
            // What concerns this user agent alone keeps nobody else.
            Err(error) if error.is_retryable() => return Err(error.into()),
            Err(_) => return Ok(false),
        };
        if all.iter().any(|it| !it.is_noted || now.since(it.seen_at) < limit)
            || self.are_connected(vec![user_agent]).await? != [false]
            || self.shared().subscriptions.count(user_agent).await? != all.len()
        {
            return Ok(false);
        }
        for (index, subscription) in all.iter().enumerate() {
            let channel = subscription.id.channel;
            self.shared().subscriptions.remove(user_agent, channel).await?;
            self.end_in_flight(user_agent, channel, index + 1 == all.len()).await?;
        }
        Ok(!all.is_empty())
    }

    async fn are_connected(&self, user_agents: Vec<UserAgentId>) -> Result<Vec<bool>, LinkError> {
        let (reply, answer) = oneshot::channel();
        self.tell(Event::AreConnected { user_agents, reply }).await?;
        answer.await.map_err(|_| LinkError::Unavailable)
    }
}
