//! Every role in one process: ingress, router and connection over one `SQLite` file and in-process links.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pushgrid_connection::Node;
use pushgrid_crypto::vapid::{Audiences, Verifier};
use pushgrid_crypto::{EndpointTokens, MessageAddresses};
use pushgrid_ingress::Ingress;
use pushgrid_router::Router;
use pushgrid_runtime::http;
use pushgrid_runtime::metrics::{self, Meter};
use pushgrid_runtime::{Readiness, Shutdown, admin};
use pushgrid_store::memory::MemoryPresence;
use pushgrid_store::{Ledger, OwnDirectory};
use pushgrid_store_embedded::{Embedded, EmbeddedConfig};
use pushgrid_types::{Clock, Outcome, Rng, SystemClock, SystemRng};
use tokio::net::TcpListener;

use crate::failure::Failure;
use crate::keys;
use crate::settings::{Role, Settings};

/// How long stopping may take after the edges have closed: the last batches of the store.
const CORE_DEADLINE: Duration = Duration::from_secs(10);

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

/// A process with all roles, built and listening, not yet serving.
#[derive(Debug)]
pub struct Standalone {
    settings: Settings,
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
    pub async fn build(settings: Settings) -> Result<Self, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let rng: Arc<dyn Rng> = Arc::new(SystemRng);
        let (meter, readiness) = (Meter::new(), Readiness::new());

        let listeners = Listeners {
            ingress: http::bind(settings.ingress.listen).await?,
            admin: http::bind(settings.admin_listen).await?,
        };
        let connection_listener = http::bind(settings.connection.listen).await?;
        let ingress_address = listeners.ingress.local_addr()?;
        let addresses = Addresses {
            ingress: ingress_address,
            connection: connection_listener.local_addr()?,
            admin: listeners.admin.local_addr()?,
            public_url: public_url(&settings, ingress_address),
        };
        let audiences = Audiences::of(&addresses.public_url)?;

        let embedded = Embedded::open(&EmbeddedConfig {
            file_octets: Some(settings.max_size as u64),
            ..EmbeddedConfig::at(&settings.data_dir)
        })?;
        let keys = keys::load_or_make(settings.endpoint_keys.as_ref(), &settings.data_dir, &*rng)?;
        let (tokens, names) = (EndpointTokens::new(&keys), MessageAddresses::new(&keys));
        publish(&meter, &embedded);
        meter.gauge(&metrics::ROLE_INFO, &[("role", Role::Standalone.as_str())]).set(1.0);

        let store = Arc::new(embedded.clone());
        let node = Node::new(&*rng, settings.connection.queue);
        let (router, handle) = Router::new(
            settings.router.clone(),
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
            settings.ingress.clone(),
            pushgrid_ingress::Deps {
                tokens,
                addresses: names,
                verifier: Verifier::new(audiences, settings.ingress.vapid_cache),
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
        Ok(Self { settings, addresses, listeners, embedded, router, ingress, connection, meter, readiness })
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
        let Self { settings, addresses, listeners, embedded, router, ingress, connection, meter, readiness } =
            self;
        let stop_timeout = settings.stop_timeout();
        let core = Shutdown::new();
        let routed = core.clone();
        core.spawn_essential("router", async move { router.run(routed).await });
        let upkeep = meter.clone();
        let admin_routes = admin::routes(readiness.clone(), meter);
        core.spawn_essential(
            "admin",
            http::serve(listeners.admin, admin_routes, settings.admin_http, core.clone()),
        );
        let serving = readiness.latch("ingress");
        edges.spawn_essential(
            "ingress",
            http::serve(listeners.ingress, ingress.routes(), settings.ingress_http, edges.clone()),
        );
        core.spawn("upkeep", upkeep.upkeep(core.clone()));
        edges.spawn("tidy", tidy(ingress, edges.clone()));
        edges.spawn_essential(
            "connection",
            Box::pin(pushgrid_connection::run(settings.connection, connection, edges.clone())),
        );
        serving.ready();
        ready(&addresses);

        tokio::select! {
            () = edges.draining() => {}
            // Without its core there is nothing to serve.
            () = core.draining() => edges.drain(),
        }
        serving.not_ready("stopping");
        let edges_ended = edges.finished(stop_timeout).await;
        core.drain();
        let core_ended = core.finished(CORE_DEADLINE).await;
        embedded.close().await;
        if let Some(why) = edges.failure().or_else(|| core.failure()) {
            return Err(Failure::Part(why));
        }
        Ok(edges_ended.and(core_ended)?)
    }
}

fn public_url(settings: &Settings, ingress: SocketAddr) -> String {
    settings.ingress.public_url.clone().unwrap_or_else(|| format!("http://localhost:{}", ingress.port()))
}

/// Buckets of user agents that were sent nothing for a while are forgotten once a minute.
pub(crate) async fn tidy(ingress: Ingress, shutdown: Shutdown) {
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
