//! The ingress role: serves application servers. Stateless: any number of ingresses serve the same endpoints.

use std::sync::Arc;
use std::time::Duration;

use pushgrid_crypto::vapid::{Audiences, Verifier};
use pushgrid_crypto::{EndpointTokens, MessageAddresses, ReceiptAddresses};
use pushgrid_ingress::{Deps, Ingress};
use pushgrid_link_grpc::Routers;
use pushgrid_log_kafka::{KafkaLog, topics};
use pushgrid_runtime::{Shutdown, http};
use pushgrid_store_redis::{Redis, RedisDirectory};

use crate::failure::Failure;
use crate::grid::GridProcess;
use crate::keys;
use crate::process::Addresses;
use crate::settings::Settings;

/// Time at a stop for messages in flight to the brokers to become durable.
const FLUSH: Duration = Duration::from_secs(5);

/// Serves until `edges` drains. `ready` is called once the ingress serves.
pub async fn run(settings: Settings, edges: Shutdown, ready: impl FnOnce(&Addresses)) -> Result<(), Failure> {
    let grid = GridProcess::start(&settings, edges).await?;
    let process = &grid.process;
    let latch = process.readiness.latch("ingress");
    let listener = http::bind(settings.ingress.listen).await?;
    let address = listener.local_addr()?;
    let public_url = settings.public_url();
    let receipts_url = settings.receipts_url(settings.connection.listen.port());
    settings.warn_of_local_endpoints(&public_url);
    let audiences = Audiences::of(&public_url)?;
    let endpoint_keys = keys::needed(settings.endpoint_keys.as_ref())?;
    keys::show(&endpoint_keys, &process.meter);

    latch.not_ready("waiting for Redis");
    let redis = Redis::connect(&settings.grid.redis, &process.meter).await?;
    latch.not_ready("waiting for Kafka");
    let topics = topics::ensure(&settings.grid.kafka).await?;
    let log = Arc::new(KafkaLog::open(&settings.grid.kafka, &topics, &process.meter)?);
    let routers = Routers::new(settings.grid.routers, grid.membership_view.clone(), &process.meter);
    grid.watch_members(redis.clone());
    latch.not_ready("waiting for the time of the grid");
    if !grid.has_time().await {
        return grid.leave().await;
    }

    let verifier = Verifier::new(audiences, settings.ingress.vapid_cache);
    let ingress = Ingress::new(
        settings.ingress,
        Deps {
            listener,
            tokens: EndpointTokens::new(&endpoint_keys),
            addresses: MessageAddresses::new(&endpoint_keys),
            receipts: ReceiptAddresses::new(&endpoint_keys),
            receipts_url,
            verifier,
            public_url,
            directory: Arc::new(RedisDirectory::new(redis, topics.partitions)),
            log: log.clone(),
            router: Arc::new(routers),
            clock: Arc::new(grid.time.clock()),
            wall: Arc::new(grid.time.wall()),
            rng: process.rng.clone(),
            meter: process.meter.clone(),
            latch,
        },
    );
    process.spawn_edge("ingress", |edges| ingress.run(edges));
    grid.serve(&[("ingress", format!("http://{address}"))], ready).await;
    grid.end(async {
        if let Err(error) = log.flush(FLUSH).await {
            tracing::warn!(%error, "some appends under way are not known to be durable; they were answered 503");
        }
    })
    .await
}
