//! The shared connection to Redis: bounded calls, reconnection, circuit breaker, counts. Invariant: every call ends
//! within `redis.timeout`, and fails at once while the breaker is open.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pushgrid_runtime::metrics::Meter;
use pushgrid_runtime::{Admission, Breaker};
use pushgrid_store::StoreError;
use redis::{Cmd, RedisError, Value};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::connect::{Connection, Server};
use crate::failure::{Effect, Failure};
use crate::figures::{Counts, Figures, Shown};
use crate::memory;
use crate::policy::{self, Policy};
use crate::script::{Scripts, Source};
use crate::{Config, ConnectError};

/// Concurrent calls. Further calls wait, within the time-out: one connection carries all, and Redis does one at a
/// time.
const ROOM: usize = 1024;

/// Consecutive failures before the breaker opens, and the time before one call probes the server.
const FAILURES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(250);

/// Backoff between the attempts of a start.
const START_PAUSE: Duration = Duration::from_millis(100);

/// Connection to Redis, remade when lost. Clones share one connection.
///
/// Guarantee: a call ends within the configured time, and fails at once while the server is down.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
}

struct Shared {
    prefix: String,
    timeout: Duration,
    server: Server,
    slot: Mutex<Slot>,
    /// Held while a connection is made, so that calls do not each make one.
    connecting: tokio::sync::Mutex<()>,
    room: Semaphore,
    breaker: Breaker,
    counts: Counts,
    scripts: Scripts,
}

/// The connection, and the number of connections so far.
#[derive(Default)]
struct Slot {
    connection: Option<Connection>,
    number: u64,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("prefix", &self.shared.prefix)
            .field("breaker_open", &self.breaker_open())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

impl Redis {
    /// Connects, and verifies that Redis never evicts keys (`maxmemory-policy` is `noeviction`): a subscription that
    /// is gone without a trace would be refused to its application server. A server with an unknown policy is
    /// accepted with a warning. Retries for as long as `redis.start_timeout`. Calls and the breaker are shown in `meter`.
    ///
    /// Errors: any [`ConnectError`].
    pub async fn connect(config: &Config, meter: &Meter) -> Result<Self, ConnectError> {
        let server = Server::new(config, ROOM).map_err(|error| ConnectError::Settings { source: error })?;
        let redis = Self {
            shared: Arc::new(Shared {
                prefix: config.prefix.clone(),
                timeout: config.timeout,
                server,
                slot: Mutex::default(),
                connecting: tokio::sync::Mutex::default(),
                room: Semaphore::new(ROOM),
                breaker: Breaker::new(FAILURES, PAUSE),
                counts: Counts::default(),
                scripts: Scripts::new(),
            }),
        };
        redis.show(meter);
        redis.admit(Instant::now() + config.start_timeout).await.map(|()| redis)
    }

    fn show(&self, meter: &Meter) {
        let (shown, shared) = (Shown::new(meter), Arc::downgrade(&self.shared));
        meter.on_scrape(move || {
            if let Some(redis) = shared.upgrade().map(|shared| Self { shared }) {
                shown.show(redis.breaker_open(), redis.in_flight(), redis.figures());
            }
        });
    }

    /// Asks for the policy until there is an answer, a final failure, or `patience` is over.
    async fn admit(&self, patience: Instant) -> Result<(), ConnectError> {
        let mut last = None;
        loop {
            match self.policy().await {
                Ok(Policy::Keeps) => return Ok(()),
                Ok(Policy::Untold) => {
                    tracing::warn!(
                        "redis does not say what its maxmemory-policy is: make sure that it is noeviction"
                    );
                    return Ok(());
                }
                Ok(Policy::Evicts(policy)) => return Err(ConnectError::Evicts { policy }),
                Err(failure @ Failure::Rejected(_)) => {
                    return Err(ConnectError::Rejected { source: failure.into() });
                }
                // An open breaker says nothing of the cause of the earlier failures.
                Err(Failure::Paused) => {}
                Err(failure) => last = Some(failure),
            }
            if Instant::now() >= patience {
                return Err(ConnectError::Unreachable { source: last.unwrap_or(Failure::Paused).into() });
            }
            tokio::time::sleep(START_PAUSE).await;
        }
    }

    /// True while Redis has failed repeatedly: calls fail at once until an answer comes.
    pub fn breaker_open(&self) -> bool {
        self.shared.breaker.is_open()
    }

    /// Calls under way now, at most 1024; more wait.
    pub fn in_flight(&self) -> usize {
        ROOM - self.shared.room.available_permits()
    }

    /// Snapshot of the counts.
    pub fn figures(&self) -> Figures {
        self.shared.counts.snapshot(self.slot(|slot| slot.number))
    }

    pub(crate) fn count_discarded(&self) {
        self.shared.counts.discarded();
    }

    /// Octets of memory used by Redis now, summed over a cluster; `None` if Redis does not tell.
    pub async fn used_memory(&self) -> Result<Option<u64>, StoreError> {
        let asked = async {
            let mut call = self.begin().await?;
            let answer = call.send_to_all(&memory::question()).await?;
            call.finish(answer)
        };
        Ok(memory::used(&self.counted(Effect::Reads, asked).await?))
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.shared.prefix
    }

    pub(crate) fn scripts(&self) -> &Scripts {
        &self.shared.scripts
    }

    /// Runs a script by name, or by text when the server does not know the script; then `arguments` is called again.
    pub(crate) async fn run<const KEYS: usize>(
        &self,
        script: &Source,
        effect: Effect,
        keys: [&[u8]; KEYS],
        arguments: impl Fn(&mut Cmd),
    ) -> Result<Value, StoreError> {
        let command = script.by_name(&keys, &arguments);
        self.counted(effect, async {
            let mut call = self.begin().await?;
            match call.send(&command).await? {
                Err(error) if error.code() == Some("NOSCRIPT") => {
                    let answer = call.send(&script.by_text(&keys, &arguments)).await?;
                    call.finish(answer)
                }
                answer => call.finish(answer),
            }
        })
        .await
    }

    pub(crate) async fn send(&self, effect: Effect, command: &Cmd) -> Result<Value, StoreError> {
        let asked = async {
            let mut call = self.begin().await?;
            let answer = call.send(command).await?;
            call.finish(answer)
        };
        self.counted(effect, asked).await
    }

    async fn policy(&self) -> Result<Policy, Failure> {
        let mut call = self.begin().await?;
        match call.send_to_all(&policy::question()).await? {
            Err(error) if policy::is_untold(&error) => call.finish(Ok(Value::Nil)).map(|_| Policy::Untold),
            answer => call.finish(answer).map(|value| policy::of(&value)),
        }
    }

    async fn counted(
        &self,
        effect: Effect,
        call: impl Future<Output = Result<Value, Failure>>,
    ) -> Result<Value, StoreError> {
        let begun = Instant::now();
        let outcome = call.await.map_err(|failure| failure.into_store_error(effect));
        self.shared.counts.called(begun.elapsed(), outcome.as_ref().err());
        outcome
    }

    /// Takes a slot and a connection, within the time of the call.
    async fn begin(&self) -> Result<Call<'_>, Failure> {
        let deadline = Instant::now() + self.shared.timeout;
        let place = timeout_at(deadline, self.shared.room.acquire()).await.map_err(|_| Failure::Full)?;
        let place = place.expect("nobody closes it");
        let admission = self.shared.breaker.admit().ok_or(Failure::Paused)?;
        match timeout_at(deadline, self.connection()).await.unwrap_or(Err(Failure::NoConnection)) {
            Ok((connection, number)) => {
                let admission = Some(admission);
                Ok(Call { redis: self, connection, number, deadline, admission, _place: place })
            }
            Err(failure) => Err(self.failed(failure, Some(admission))),
        }
    }

    /// Returns the connection, making a new one if there is none.
    async fn connection(&self) -> Result<(Connection, u64), Failure> {
        if let Some(connected) = self.connected() {
            return Ok(connected);
        }
        let _alone = self.shared.connecting.lock().await;
        if let Some(connected) = self.connected() {
            return Ok(connected);
        }
        match self.shared.server.connect().await {
            Ok(connection) => Ok(self.slot(|slot| {
                slot.number += 1;
                slot.connection = Some(connection.clone());
                (connection, slot.number)
            })),
            Err(error) => Err(Failure::of_connecting(&error)),
        }
    }

    fn connected(&self) -> Option<(Connection, u64)> {
        self.slot(|slot| slot.connection.clone().map(|connection| (connection, slot.number)))
    }

    fn slot<T>(&self, f: impl FnOnce(&mut Slot) -> T) -> T {
        f(&mut self.shared.slot.lock())
    }

    /// Drops the connection of that number; a later one stays.
    fn drop_connection(&self, number: u64) {
        self.slot(|slot| {
            if slot.number == number {
                slot.connection = None;
            }
        });
    }

    /// Counts an outage. When the breaker opens, the connection is dropped too, even that of a cluster.
    fn failed(&self, failure: Failure, admission: Option<Admission<'_>>) -> Failure {
        if failure.is_outage() && admission.is_some_and(Admission::failed) {
            tracing::warn!(reason = %failure, "redis fails repeatedly: calls fail at once until it answers");
            self.slot(|slot| slot.connection = None);
        }
        failure
    }
}

/// Call under way.
struct Call<'a> {
    redis: &'a Redis,
    connection: Connection,
    number: u64,
    deadline: Instant,
    /// Until it is known how the call went.
    admission: Option<Admission<'a>>,
    _place: SemaphorePermit<'a>,
}

impl Call<'_> {
    /// Sends a command, and waits for the answer until the deadline.
    async fn send(&mut self, command: &Cmd) -> Result<Result<Value, RedisError>, Failure> {
        let answer = timeout_at(self.deadline, self.connection.send(command)).await;
        answer.map_err(|_| self.no_answer())
    }

    /// Sends a command to all masters of a cluster, or to the one server, and waits for the answers.
    async fn send_to_all(&mut self, command: &Cmd) -> Result<Result<Value, RedisError>, Failure> {
        let answer = timeout_at(self.deadline, self.connection.send_to_all(command)).await;
        answer.map_err(|_| self.no_answer())
    }

    /// Handles a missing answer: the server, or the way to it, may be gone silently, so the next call makes another
    /// connection.
    fn no_answer(&mut self) -> Failure {
        if self.connection.is_alone() {
            self.redis.drop_connection(self.number);
        }
        self.redis.failed(Failure::NoAnswer, self.admission.take())
    }

    /// Updates connection and breaker after the last answer.
    fn finish(mut self, answer: Result<Value, RedisError>) -> Result<Value, Failure> {
        let failure = match answer {
            Ok(value) => {
                self.answered();
                return Ok(value);
            }
            Err(error) => {
                if self.connection.is_over(&error) {
                    self.redis.drop_connection(self.number);
                }
                Failure::of_call(&error)
            }
        };
        if failure.is_outage() {
            return Err(self.redis.failed(failure, self.admission.take()));
        }
        self.answered();
        Err(failure)
    }

    fn answered(&mut self) {
        if self.admission.take().is_some_and(Admission::succeeded) {
            tracing::info!("redis answers again");
        }
    }
}
