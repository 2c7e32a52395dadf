//! Every role in one process: ingress, router and connection over one `SQLite` file and in-process links.

mod keys;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pushgrid_connection::Node;
use pushgrid_crypto::vapid::{Audiences, InvalidPublicUrl, Verifier};
use pushgrid_crypto::{EndpointTokens, MessageAddresses};
use pushgrid_ingress::Ingress;
use pushgrid_router::Router;
use pushgrid_runtime::config::{Reader, Secret};
use pushgrid_runtime::http::{self, BindError};
use pushgrid_runtime::metrics::{self, Meter};
use pushgrid_runtime::{Readiness, Shutdown, admin};
use pushgrid_store::{Ledger, OwnDirectory};
use pushgrid_store::memory::MemoryPresence;
use pushgrid_store_embedded::{Embedded, EmbeddedConfig, OpenError};
use pushgrid_types::{Clock, Outcome, Rng, SystemClock, SystemRng};
use tokio::net::TcpListener;

/// How long stopping may take after the edges have closed: the last batches of the store.
const CORE_DEADLINE: Duration = Duration::from_secs(10);

/// What an operator may choose of a process with all roles.
#[derive(Debug, Clone)]
pub struct Config {
    data_dir: PathBuf,
    max_size: usize,
    endpoint_keys: Option<Secret>,
    admin_listen: SocketAddr,
    stop_timeout: Duration,
    ingress: pushgrid_ingress::Config,
    ingress_http: http::Limits,
    router: pushgrid_router::Config,
    connection: pushgrid_connection::Config,
    admin_http: http::Limits,
}

/// Where a running process can be reached.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// Application servers post here.
    pub ingress: SocketAddr,
    /// User agents connect here.
    pub connection: SocketAddr,
    /// Health and metrics.
    pub admin: SocketAddr,
    /// What endpoints begin with.
    pub public_url: String,
}

/// Why a process did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A listener could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The store could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The endpoint keys cannot be used.
    #[error(transparent)]
    Keys(#[from] keys::KeysError),
    /// The public address cannot be an audience of VAPID tokens.
    #[error(transparent)]
    PublicUrl(#[from] InvalidPublicUrl),
    /// An address of a bound listener could not be read.
    #[error("cannot read the address of a listener")]
    Address(#[from] io::Error),
    /// A part ended that should not have.
    #[error("a part failed: {0}")]
    Part(String),
    /// Not everything had ended at the deadline; nothing accepted is lost.
    #[error(transparent)]
    Unfinished(#[from] pushgrid_runtime::Unfinished),
}

impl Failure {
    /// Whether a setting has to change before a start can succeed.
    pub fn is_bad_configuration(&self) -> bool {
        match self {
            Self::Keys(keys::KeysError::Configured(_)) | Self::PublicUrl(_) => true,
            Self::Keys(keys::KeysError::Kept { .. } | keys::KeysError::File { .. })
            | Self::Bind(_)
            | Self::Open(_)
            | Self::Address(_)
            | Self::Part(_)
            | Self::Unfinished(_) => false,
        }
    }
}

impl Config {
    /// Reads all the settings of a process with all roles.
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            data_dir: reader.path(
                "standalone.data_dir",
                "./pushgrid-data",
                "Where standalone keeps messages, subscriptions and the keys it made for itself.",
            ),
            max_size: reader.octets(
                "standalone.max_size",
                "64GiB",
                1 << 20..=1 << 44,
                "How large the database may become. Beyond it messages are answered 503 until others have ended.",
            ),
            endpoint_keys: reader.secret(
                "endpoint.keys",
                "Keys that endpoints are sealed with, newest first: made by `pushgrid keys endpoint`. Standalone makes \
                 its own on first start and keeps them in the data directory.",
            ),
            admin_listen: reader.address(
                "admin.listen",
                "127.0.0.1:9090",
                "Health and metrics: /healthz, /readyz, /metrics. Not for the public.",
            ),
            stop_timeout: reader.duration(
                "standalone.stop_timeout",
                "25s",
                Duration::from_millis(100)..=Duration::from_mins(10),
                "How long a stop may take before it is forced. Messages are safe either way.",
            ),
            ingress: pushgrid_ingress::Config::read(reader),
            ingress_http: http::Limits::read(reader, "ingress"),
            router: pushgrid_router::Config::read(reader),
            connection: pushgrid_connection::Config::read(reader),
            admin_http: http::Limits::default(),
        }
    }

    /// How long a stop may take in all.
    pub fn stop_timeout(&self) -> Duration {
        self.stop_timeout
    }
}

/// A process with all roles, built and listening, not yet serving.
#[derive(Debug)]
pub struct Standalone {
    config: Config,
    addresses: Addresses,
    listeners: Listeners,
    embedded: Embedded,
    router: Router,
    ingress: Ingress,
    connection: pushgrid_connection::Deps,
    meter: Meter,
    readiness: Readiness,
}

#[derive(Debug)]
struct Listeners {
    ingress: TcpListener,
    admin: TcpListener,
}

impl Standalone {
    /// Binds every listener, opens the store and builds every part.
    pub async fn build(config: Config) -> Result<Self, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let rng: Arc<dyn Rng> = Arc::new(SystemRng);
        let (meter, readiness) = (Meter::new(), Readiness::new());

        let listeners = Listeners {
            ingress: http::bind(config.ingress.listen).await?,
            admin: http::bind(config.admin_listen).await?,
        };
        let connection_listener = http::bind(config.connection.listen).await?;
        let ingress_address = listeners.ingress.local_addr()?;
        let addresses = Addresses {
            ingress: ingress_address,
            connection: connection_listener.local_addr()?,
            admin: listeners.admin.local_addr()?,
            public_url: public_url(&config, ingress_address),
        };
        let audiences = Audiences::of(&addresses.public_url)?;

        let embedded = Embedded::open(&EmbeddedConfig {
            file_octets: Some(config.max_size as u64),
            ..EmbeddedConfig::at(&config.data_dir)
        })?;
        let keys = keys::load_or_make(config.endpoint_keys.as_ref(), &config.data_dir, &*rng)?;
        let (tokens, names) = (EndpointTokens::new(&keys), MessageAddresses::new(&keys));
        publish(&meter, &embedded);

        let store = Arc::new(embedded.clone());
        let node = Node::new(&*rng, config.connection.queue);
        let (router, handle) = Router::new(
            config.router.clone(),
            pushgrid_router::Deps {
                consumer: Box::new(
                    embedded
                        .consumer()
                        .expect("a store that was just opened has given its consumer to nobody"),
                ),
                mailbox: store.clone(),
                subscriptions: store.clone(),
                presence: Arc::new(MemoryPresence::new()),
                nodes: Arc::new(node.clone()),
                tokens: tokens.clone(),
                public_url: addresses.public_url.clone(),
                clock: clock.clone(),
                rng: rng.clone(),
                meter: meter.clone(),
            },
        );
        let ingress = Ingress::new(
            config.ingress.clone(),
            pushgrid_ingress::Deps {
                tokens,
                addresses: names,
                verifier: Verifier::new(audiences, config.ingress.vapid_cache),
                public_url: addresses.public_url.clone(),
                directory: Arc::new(OwnDirectory { subscriptions: store.clone(), mailbox: store.clone() }),
                log: store,
                router: Arc::new(handle.clone()),
                clock: clock.clone(),
                rng: rng.clone(),
                meter: meter.clone(),
            },
        );
        let connection = pushgrid_connection::Deps {
            listener: connection_listener,
            router: Arc::new(handle),
            node,
            clock,
            rng,
            meter: meter.clone(),
            latch: readiness.latch("connection"),
        };
        Ok(Self { config, addresses, listeners, embedded, router, ingress, connection, meter, readiness })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The account of its messages.
    pub fn ledger(&self) -> Arc<Ledger> {
        self.embedded.ledger()
    }

    /// Serves until `edges` drains, then stops in order: first nothing new comes in and every socket is closed, then
    /// the router finishes what is under way, then the store closes. `ready` is called once everything serves.
    pub async fn run(self, edges: Shutdown, ready: impl FnOnce(&Addresses)) -> Result<(), Failure> {
        let Self { config, addresses, listeners, embedded, router, ingress, connection, meter, readiness } =
            self;
        let core = Shutdown::new();
        let routed = core.clone();
        core.spawn_essential("router", async move { router.run(routed).await });
        let upkeep = meter.clone();
        let admin_routes = admin::routes(readiness.clone(), meter);
        core.spawn_essential(
            "admin",
            http::serve(listeners.admin, admin_routes, config.admin_http, core.clone()),
        );
        let serving = readiness.latch("ingress");
        edges.spawn_essential(
            "ingress",
            http::serve(listeners.ingress, ingress.routes(), config.ingress_http, edges.clone()),
        );
        core.spawn("upkeep", upkeep.upkeep(core.clone()));
        edges.spawn("tidy", tidy(ingress, edges.clone()));
        edges.spawn_essential(
            "connection",
            Box::pin(pushgrid_connection::run(config.connection, connection, edges.clone())),
        );
        serving.ready();
        ready(&addresses);

        tokio::select! {
            () = edges.draining() => {}
            // Without its core there is nothing to serve.
            () = core.draining() => edges.drain(),
        }
        serving.not_ready("stopping");
        let edges_ended = edges.finished(config.stop_timeout).await;
        core.drain();
        let core_ended = core.finished(CORE_DEADLINE).await;
        embedded.close().await;
        if let Some(why) = edges.failure().or_else(|| core.failure()) {
            return Err(Failure::Part(why));
        }
        Ok(edges_ended.and(core_ended)?)
    }
}

fn public_url(config: &Config, ingress: SocketAddr) -> String {
    config.ingress.public_url.clone().unwrap_or_else(|| format!("http://localhost:{}", ingress.port()))
}

/// Buckets of user agents that were sent nothing for a while are forgotten once a minute.
async fn tidy(ingress: Ingress, shutdown: Shutdown) {
    let mut minutes = tokio::time::interval(Duration::from_mins(1));
    loop {
        tokio::select! {
            _ = minutes.tick() => ingress.tidy(),
            () = shutdown.draining() => return,
        }
    }
}

/// Shows the account of promise P2, as the store keeps it, across restarts.
#[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 messages are ever pending")]
fn publish(meter: &Meter, embedded: &Embedded) {
    let (ledger, embedded) = (embedded.ledger(), embedded.clone());
    let commits = meter.counter(&metrics::STORE_COMMITS, &[]);
    let accepted = meter.counter(&metrics::MESSAGES_ACCEPTED, &[]);
    let ended =
        Outcome::ALL.map(|outcome| meter.counter(&metrics::MESSAGES_ENDED, &[("outcome", outcome.as_str())]));
    let pending = meter.gauge(&metrics::MESSAGES_PENDING, &[]);
    let whole = metrics::Account::new(meter);
    meter.on_scrape(move || {
        let account = ledger.snapshot();
        accepted.absolute(account.accepted);
        for (counter, count) in ended.iter().zip(account.ended) {
            counter.absolute(count);
        }
        pending.set(account.pending as f64);
        whole.show(account.accepted, account.pending, &account.ended);
        commits.absolute(embedded.commits());
    });
}
