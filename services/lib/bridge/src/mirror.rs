//! The work of the bridge: one connection, from the hello to its end, again and again.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pushgrid_client::{ClientError, ConnectOptions, Event, UserAgent};
use pushgrid_runtime::metrics::Meter;
use pushgrid_runtime::{Backoff, Shutdown};
use pushgrid_store::{BroadcastNotSet, BroadcastVersions, Broadcasts};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::Config;
use crate::health::Health;

#[cfg(test)]
mod tests;

/// Pauses between connections, and the age from which a connection counts as a success: an upstream that closes every
/// connection after its hello is not asked more often.
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_mins(5);
const LASTING: Duration = Duration::from_mins(1);

/// Interval at which a bridge at work looks at its turn and shows its age, and at which another one looks at its turn.
const LOOK: Duration = Duration::from_secs(1);

/// Longest wait at the start for the versions that are known here.
const KNOWN: Duration = Duration::from_secs(10);

/// Dependencies of [`Bridge`].
pub struct Deps {
    /// The versions of this service.
    pub broadcasts: Arc<dyn Broadcasts>,
    /// True while this process is the one that does the work.
    pub is_its_turn: Box<dyn Fn() -> bool + Send + Sync>,
    /// Shows the age of the mirror.
    pub meter: Meter,
}

impl fmt::Debug for Deps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deps").field("broadcasts", &self.broadcasts).finish_non_exhaustive()
    }
}

/// The bridge to an upstream.
#[derive(Debug)]
pub struct Bridge {
    config: Config,
    deps: Deps,
    health: Health,
}

/// End of a connection.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("a broadcast could not be set")]
    Store(#[from] BroadcastNotSet),
    #[error("another process has the turn")]
    Turn,
}

impl Bridge {
    /// A bridge that has not begun.
    pub fn new(config: Config, deps: Deps) -> Self {
        let health = Health::shown_in(&deps.meter);
        Self { config, deps, health }
    }

    /// Mirrors until `shutdown` drains. Without an upstream there is nothing to do.
    pub async fn run(self, shutdown: Shutdown) {
        let working = async {
            if let Some(upstream) = &self.config.upstream {
                self.work(&ConnectOptions::new(upstream)).await;
            }
        };
        tokio::select! {
            () = working => shutdown.draining().await,
            () = shutdown.draining() => {}
        }
        self.health.end();
    }

    async fn work(&self, upstream: &ConnectOptions) {
        loop {
            while !(self.deps.is_its_turn)() {
                sleep(LOOK).await;
            }
            self.health.begin();
            let mut backoff = Backoff::new(FIRST, LONGEST);
            while (self.deps.is_its_turn)() {
                let begun = Instant::now();
                let Err(lost) = self.mirror(upstream).await;
                self.health.down();
                if matches!(lost, Lost::Turn) {
                    break;
                }
                if begun.elapsed() >= LASTING {
                    backoff.reset();
                }
                backoff.wait_after(&lost, "mirror the broadcasts of the upstream").await;
            }
            self.health.end();
        }
    }

    /// Serves one connection to its end.
    async fn mirror(&self, upstream: &ConnectOptions) -> Result<Infallible, Lost> {
        let known = self.known().await;
        let mut user_agent = UserAgent::connect_with(upstream).await?;
        // Without an id: the upstream makes one that it forgets.
        let hello = user_agent.hello_asking(None, &known).await?;
        self.health.up(Duration::ZERO);
        self.take(&hello.broadcasts).await?;
        // An answer to hello does not say which ids the upstream does not have; the answer to this does.
        user_agent.ask_broadcasts(&self.known().await).await?;
        tracing::info!("the broadcasts of the upstream are mirrored");
        loop {
            match user_agent.next_within(LOOK).await? {
                Some(Event::Broadcast(versions)) => self.take(&versions).await?,
                Some(Event::Closed { code, reason }) => {
                    return Err(ClientError::Closed { code, reason }.into());
                }
                Some(Event::Notification(_) | Event::Pong) | None => {}
            }
            self.health.up(user_agent.quiet_for());
            if !(self.deps.is_its_turn)() {
                // The upstream need not answer for it.
                let _ = user_agent.close().await;
                return Err(Lost::Turn);
            }
        }
    }

    /// The versions of the mirrored broadcasts here, empty for none.
    async fn known(&self) -> BTreeMap<String, String> {
        let mut watch = self.deps.broadcasts.versions();
        let _ = timeout(KNOWN, watch.wait_for(Option::is_some)).await;
        let versions = BroadcastVersions::known(&watch).unwrap_or_default();
        let of = |id: &pushgrid_types::BroadcastId| {
            let known = versions.get(id.as_str()).map(|(_, version)| version.to_string());
            (id.to_string(), known.unwrap_or_default())
        };
        self.config.broadcasts.iter().map(of).collect()
    }

    /// Sets what the upstream says, as far as it was asked for.
    async fn take(&self, versions: &BTreeMap<String, Value>) -> Result<(), BroadcastNotSet> {
        let errors = versions.get("errors").and_then(Value::as_object);
        for id in self
            .config
            .broadcasts
            .iter()
            .filter(|id| errors.is_some_and(|them| them.contains_key(id.as_str())))
        {
            tracing::warn!(broadcast = %id, "the upstream does not have a broadcast of bridge.broadcasts");
        }
        for id in &self.config.broadcasts {
            let Some(version) = versions.get(id.as_str()) else { continue };
            match version.as_str().unwrap_or_default().parse() {
                Ok(version) => self.deps.broadcasts.set(id.clone(), version).await?,
                Err(invalid) => {
                    tracing::warn!(broadcast = %id, error = %invalid, "a version of the upstream is left out");
                }
            }
        }
        Ok(())
    }
}
