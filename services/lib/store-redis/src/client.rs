use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pushgrid_runtime::Breaker;
use pushgrid_store::{ErrorKind, StoreError};
use redis::{Cmd, RedisError, Value};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::connect::{Connection, Server};
use crate::failure::{Effect, Failure};
use crate::memory;
use crate::policy::{self, Policy};
use crate::script::{Scripts, Source};
use crate::{Config, ConnectError};

/// How many calls may be under way at once. More wait, within their time: one connection carries them all, and Redis
/// does one at a time.
pub(crate) const ROOM: usize = 1024;

/// Failures in a row after which the server is left alone, and for how long before one call tries again.
const FAILURES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(250);

/// How long a start waits before it tries again.
const START_PAUSE: Duration = Duration::from_millis(100);

/// A connection to Redis that makes itself anew. Clones share it.
///
/// Guarantee: a call ends within the time that is configured. It fails at once while the server is down.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
}

struct Shared {
    prefix: String,
    timeout: Duration,
    server: Server,
    slot: Mutex<Slot>,
    /// Held by whoever makes a connection.
    connecting: tokio::sync::Mutex<()>,
    room: Semaphore,
    breaker: Breaker,
    counts: Counts,
    scripts: Scripts,
}

/// The connection, and how many there have been.
#[derive(Default)]
struct Slot {
    connection: Option<Connection>,
    number: u64,
}

#[derive(Default)]
struct Counts {
    calls: AtomicU64,
    unavailable: AtomicU64,
    unknown: AtomicU64,
    corrupt: AtomicU64,
    micros: AtomicU64,
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Calls that have ended, failed ones included.
    pub calls: u64,
    /// Calls that failed and changed nothing.
    pub unavailable: u64,
    /// Calls that may have changed something and have no answer.
    pub unknown: u64,
    /// Calls that Redis could not make sense of, or the other way round.
    pub corrupt: u64,
    /// The time that all these calls took together.
    pub spent: Duration,
    /// Connections that were made.
    pub connections: u64,
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
    /// Connects, and makes sure that Redis never drops anything by itself to make room (`maxmemory-policy` is
    /// `noeviction`): a subscription that is gone without a trace would be refused to its application server. Where
    /// that cannot be asked, a warning says so. Waits for a server that is not there yet, as long as is configured.
    pub async fn connect(config: &Config) -> Result<Self, ConnectError> {
        let server = Server::new(config).map_err(|error| ConnectError::Settings { source: error })?;
        let redis = Self {
            shared: Arc::new(Shared {
                prefix: config.prefix.clone(),
                timeout: config.timeout,
                server,
                slot: Mutex::default(),
                connecting: tokio::sync::Mutex::default(),
                room: Semaphore::new(ROOM),
                breaker: Breaker::new(FAILURES, PAUSE, config.timeout),
                counts: Counts::default(),
                scripts: Scripts::new(),
            }),
        };
        redis.admit(Instant::now() + config.start_timeout).await.map(|()| redis)
    }

    /// Asks for the policy until there is an answer, or none any more.
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
                // It says nothing of why the calls before it failed.
                Err(Failure::Paused) => {}
                Err(failure) => last = Some(failure),
            }
            if Instant::now() >= patience {
                return Err(ConnectError::Unreachable { source: last.unwrap_or(Failure::Paused).into() });
            }
            tokio::time::sleep(START_PAUSE).await;
        }
    }

    /// Whether Redis has failed repeatedly, so that calls fail at once until it answers again.
    pub fn breaker_open(&self) -> bool {
        self.shared.breaker.is_open()
    }

    /// Calls under way now, at most 1024; more wait.
    pub fn in_flight(&self) -> usize {
        ROOM - self.shared.room.available_permits()
    }

    /// What has happened so far.
    pub fn figures(&self) -> Figures {
        let counts = &self.shared.counts;
        Figures {
            calls: counts.calls.load(Ordering::Relaxed),
            unavailable: counts.unavailable.load(Ordering::Relaxed),
            unknown: counts.unknown.load(Ordering::Relaxed),
            corrupt: counts.corrupt.load(Ordering::Relaxed),
            spent: Duration::from_micros(counts.micros.load(Ordering::Relaxed)),
            connections: self.slot(|slot| slot.number),
        }
    }

    /// Octets of memory that Redis uses now, all servers of a cluster together; `None` when it does not say.
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

    /// Runs a script. `arguments` is asked again when the server does not know the script yet.
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

    /// Sends a command.
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
        let counts = &self.shared.counts;
        counts.calls.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        counts.micros.fetch_add(micros, Ordering::Relaxed);
        if let Err(error) = &outcome {
            let count = match error.kind {
                ErrorKind::Unavailable | ErrorKind::Closed => &counts.unavailable,
                ErrorKind::Unknown => &counts.unknown,
                ErrorKind::Corrupt => &counts.corrupt,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// Takes a place, and gets a connection.
    async fn begin(&self) -> Result<Call<'_>, Failure> {
        let deadline = Instant::now() + self.shared.timeout;
        let place = timeout_at(deadline, self.shared.room.acquire()).await.map_err(|_| Failure::Full)?;
        let place = place.expect("nobody closes it");
        let (connection, number) = match timeout_at(deadline, self.connection()).await {
            Ok(connected) => connected,
            Err(_) => Err(self.failed(Failure::NoConnection)),
        }?;
        Ok(Call { redis: self, connection, number, deadline, _place: place })
    }

    /// The connection, or a new one.
    async fn connection(&self) -> Result<(Connection, u64), Failure> {
        if !self.shared.breaker.admits() {
            return Err(Failure::Paused);
        }
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
            Err(error) => Err(self.failed(Failure::of_connecting(&error))),
        }
    }

    fn connected(&self) -> Option<(Connection, u64)> {
        self.slot(|slot| slot.connection.clone().map(|connection| (connection, slot.number)))
    }

    fn slot<T>(&self, f: impl FnOnce(&mut Slot) -> T) -> T {
        f(&mut self.shared.slot.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives up the connection of that number; a later one stays.
    fn drop_connection(&self, number: u64) {
        self.slot(|slot| {
            if slot.number == number {
                slot.connection = None;
            }
        });
    }

    /// Enters an outage. When it has lasted for a few calls, the connection itself is doubted, also that of a cluster.
    fn failed(&self, failure: Failure) -> Failure {
        if failure.is_outage() && self.shared.breaker.failed() {
            tracing::warn!(reason = %failure, "redis fails repeatedly: calls fail at once until it answers");
            self.slot(|slot| slot.connection = None);
        }
        failure
    }
}

/// A call under way.
struct Call<'a> {
    redis: &'a Redis,
    connection: Connection,
    number: u64,
    deadline: Instant,
    _place: SemaphorePermit<'a>,
}

impl Call<'_> {
    /// The answer, if there is one in time.
    async fn send(&mut self, command: &Cmd) -> Result<Result<Value, RedisError>, Failure> {
        let answer = timeout_at(self.deadline, self.connection.send(command)).await;
        answer.map_err(|_| self.no_answer())
    }

    /// The answers of all masters of a cluster, or of the one server.
    async fn send_to_all(&mut self, command: &Cmd) -> Result<Result<Value, RedisError>, Failure> {
        let answer = timeout_at(self.deadline, self.connection.send_to_all(command)).await;
        answer.map_err(|_| self.no_answer())
    }

    /// The server, or the way to it, may be gone without a word: the next call tries another connection.
    fn no_answer(&self) -> Failure {
        if self.connection.is_alone() {
            self.redis.drop_connection(self.number);
        }
        self.redis.failed(Failure::NoAnswer)
    }

    /// Draws conclusions from the last answer.
    fn finish(self, answer: Result<Value, RedisError>) -> Result<Value, Failure> {
        let outcome = answer.map_err(|error| {
            if self.connection.is_over(&error) {
                self.redis.drop_connection(self.number);
            }
            self.redis.failed(Failure::of_call(&error))
        });
        let answered = !outcome.as_ref().is_err_and(Failure::is_outage);
        if answered && self.redis.shared.breaker.succeeded() {
            tracing::info!("redis answers again");
        }
        outcome
    }
}
