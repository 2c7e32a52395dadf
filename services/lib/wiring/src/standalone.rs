//! All roles in one process: ingress, router and connection over one `SQLite` file and in-process links.

use std::net::SocketAddr;
use std::sync::Arc;

use pushgrid_connection::{Connections, Node, ReceiptForm, Receipts, Resources};
use pushgrid_crypto::vapid::{Audiences, Verifier};
use pushgrid_crypto::{EndpointKeys, EndpointTokens, MessageAddresses, ReceiptAddresses, ResourceAddresses};
use pushgrid_ingress::Ingress;
use pushgrid_router::{PartitionWorker, RouterContext};
use pushgrid_runtime::clock::{self, LocalTime};
use pushgrid_runtime::metrics::Meter;
use pushgrid_runtime::{Latch, Shutdown, http, spans};
use pushgrid_store::{Broadcasts, Ledger, OwnDirectory};
use pushgrid_store_embedded::{Embedded, EmbeddedConfig, KeyOrigin, Keys};
use pushgrid_types::{Clock, KeptTime, Partition, SystemClock, SystemRng};
use pushgrid_webhook::Webhooks;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::interval;
use tracing::Instrument;

use crate::broadcasts;
use crate::failure::Failure;
use crate::keys;
use crate::process::{Addresses, Process};
use crate::settings::Settings;

/// A standalone process, serving.
#[derive(Debug, Clone)]
pub struct Serving {
    /// Addresses of the listeners: `ingress`, `connection` and `admin`.
    pub addresses: Addresses,
    /// Prefix of endpoints.
    pub public_url: String,
    /// Account of the messages (promise P2).
    pub ledger: Arc<Ledger>,
}

/// Serves until `edges` drains, then stops in order: the edges end and every socket is closed, the router
/// finishes its work, the store closes. `ready` is called once every part serves.
pub async fn run(settings: Settings, edges: Shutdown, ready: impl FnOnce(&Serving)) -> Result<(), Failure> {
    let listeners = Listeners::bind(&settings).await?;
    let urls = listeners.urls()?;
    let public_url = public_url(&settings, listeners.ingress.local_addr()?);
    settings.warn_of_local_endpoints(&public_url);
    let receipts_url = settings.receipts_url(listeners.connection.local_addr()?.port());
    let audiences = Audiences::of(&public_url)?;
    let meter = Meter::new();
    let (embedded, keys) = open(&settings, &meter)?;
    let time = resume(&embedded, &meter).await;

    let more = broadcasts::routes(&settings, Arc::new(embedded.clone()));
    let process = Process::start(&settings, edges, meter, listeners.admin, more)?;
    let latch = process.readiness.latch("store");
    let (addresses, ledger) = (process.addresses(&urls), embedded.ledger());
    let serving = Serving { addresses, public_url: public_url.clone(), ledger };
    let clock: Arc<dyn Clock> = Arc::new(time.clock());
    let (tokens, store) = (EndpointTokens::new(&keys), Arc::new(embedded.clone()));
    let node = Node::new(&*process.rng, settings.connection.queue);
    let webhooks = Webhooks::new(&settings.webhook, &keys, &process.meter)?;
    let context = RouterContext {
        config: settings.router,
        tokens: tokens.clone(),
        public_url: public_url.clone(),
        addresses: MessageAddresses::new(&keys),
        webhooks: webhooks.clone(),
        wall: Arc::new(SystemClock),
        clock: clock.clone(),
        rng: process.rng.clone(),
        meter: process.meter.clone(),
    };
    let form = ReceiptForm { messages: MessageAddresses::new(&keys), public_url: public_url.as_str().into() };
    let state = embedded
        .partition(Arc::clone(&clock))
        .expect("a store that was just opened has given its consumer to nobody");
    let (router, handle) = PartitionWorker::new(&Arc::new(context), state, Arc::new(node.clone()));
    let verifier = Verifier::new(audiences, settings.ingress.vapid_cache);
    let ingress = Ingress::new(
        settings.ingress,
        pushgrid_ingress::Deps {
            listener: listeners.ingress,
            tokens,
            addresses: MessageAddresses::new(&keys),
            receipts: ReceiptAddresses::new(&keys),
            receipts_url,
            verifier,
            public_url,
            directory: Arc::new(OwnDirectory { subscriptions: store.clone(), mailbox: store.clone() }),
            log: store,
            router: Arc::new(handle.clone()),
            clock: clock.clone(),
            wall: Arc::new(SystemClock),
            rng: process.rng.clone(),
            meter: process.meter.clone(),
            latch: process.readiness.latch("ingress"),
        },
    );
    let connections = Connections::new(
        settings.connection,
        pushgrid_connection::Deps {
            listener: listeners.connection,
            resources: Some(Resources {
                link: Arc::new(handle.clone()),
                addresses: ResourceAddresses::new(&keys),
                receipts: Receipts { addresses: ReceiptAddresses::new(&keys), form, webhooks },
            }),
            router: Arc::new(handle),
            node,
            broadcasts: Some(embedded.versions()),
            clock,
            rng: process.rng.clone(),
            meter: process.meter.clone(),
            latch: process.readiness.latch("connection"),
        },
    );

    let partition = spans::partition(Partition(0));
    process.spawn_core("router", |core| router.run(core).instrument(partition));
    process.core.spawn("clock", keep_time(time, embedded.clone(), process.core.clone()));
    latch.ready();
    process.core.spawn("damage", show_damage(embedded.damage(), latch, process.core.clone()));
    process.spawn_edge("ingress", |edges| ingress.run(edges));
    process.spawn_edge("connection", |edges| connections.run(edges));
    broadcasts::bridge(&process, settings.bridge, Arc::new(embedded.clone()), || true);
    ready(&serving);
    process.serve().await;
    let ended = process.end(async {}).await;
    embedded.close().await;
    ended
}

/// Listeners of a standalone process. Bound before the store is opened: an address in use leaves no data
/// directory behind.
#[derive(Debug)]
struct Listeners {
    ingress: TcpListener,
    connection: TcpListener,
    admin: TcpListener,
}

impl Listeners {
    async fn bind(settings: &Settings) -> Result<Self, Failure> {
        Ok(Self {
            ingress: http::bind(settings.ingress.listen).await?,
            admin: http::bind(settings.admin_listen).await?,
            connection: http::bind(settings.connection.listen).await?,
        })
    }

    /// Names and URLs of those for clients.
    fn urls(&self) -> Result<[(&'static str, String); 2], Failure> {
        let ingress = format!("http://{}", self.ingress.local_addr()?);
        let connection = format!("ws://{}", self.connection.local_addr()?);
        Ok([("ingress", ingress), ("connection", connection)])
    }
}

/// Opens the store with the keys of its endpoints, or makes both.
fn open(settings: &Settings, meter: &Meter) -> Result<(Embedded, EndpointKeys), Failure> {
    let data_dir = &settings.data_dir;
    let (keys, origin) = keys::load(settings.endpoint_keys.as_ref(), data_dir, &SystemRng)?;
    let embedded = Embedded::open(&EmbeddedConfig {
        file_octets: Some(settings.max_size as u64),
        accept_loss: settings.accept_loss.clone(),
        keys: Some(Keys { ids: keys.ids(), origin }),
        meter: meter.clone(),
        ..EmbeddedConfig::at(data_dir)
    })?;
    match origin {
        KeyOrigin::Made => keys::keep(&keys, data_dir)?,
        KeyOrigin::Kept if embedded.is_new() => tracing::warn!(
            "the data directory had endpoint-keys and no database: endpoints that were made before are answered 404, and \
             application servers forget them. If there is a backup, stop now and restore it (`pushgrid restore`)"
        ),
        KeyOrigin::Kept | KeyOrigin::Configured => {}
    }
    keys::show(&keys, meter);
    Ok((embedded, keys))
}

/// Goes on with the time of the last life, and stores it before anything is judged by it.
async fn resume(embedded: &Embedded, meter: &Meter) -> LocalTime {
    let time = LocalTime::resume(embedded.kept_time(), meter);
    keep(embedded, time.kept()).await;
    time
}

/// Shows damage of the file as a note of a ready latch.
async fn show_damage(mut damage: watch::Receiver<Option<String>>, latch: Latch, shutdown: Shutdown) {
    loop {
        latch.note(damage.borrow_and_update().clone());
        tokio::select! {
            changed = damage.changed() => if changed.is_err() { return },
            () = shutdown.draining() => return,
        }
    }
}

fn public_url(settings: &Settings, ingress: SocketAddr) -> String {
    settings.ingress.public_url.clone().unwrap_or_else(|| format!("http://localhost:{}", ingress.port()))
}

/// Measures the machine's clock, and stores the state of the clock for the next start.
async fn keep_time(mut time: LocalTime, embedded: Embedded, shutdown: Shutdown) {
    let mut looks = interval(clock::LOOK);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = shutdown.draining() => break,
        }
        if let Some(kept) = time.look() {
            keep(&embedded, kept).await;
        }
    }
    keep(&embedded, time.kept()).await;
}

async fn keep(embedded: &Embedded, time: KeptTime) {
    if let Err(error) = embedded.keep_time(time).await {
        tracing::warn!(%error, "the state of the clock was not stored: a restart goes by the one stored before");
    }
}
