//! The role that serves application servers. It has no state of its own: any number of them serve the same endpoints.

use std::sync::Arc;
use std::time::Duration;

use pushgrid_crypto::vapid::{Audiences, Verifier};
use pushgrid_crypto::{EndpointTokens, MessageAddresses};
use pushgrid_ingress::{Deps, Ingress};
use pushgrid_link_grpc::{Roster, Routers};
use pushgrid_log_kafka::{KafkaLog, topics};
use pushgrid_runtime::{Shutdown, http};
use pushgrid_store_redis::{Redis, RedisDirectory, RedisMembership};

use crate::failure::Failure;
use crate::process::{Addresses, Process};
use crate::settings::{Role, Settings};
use crate::standalone::tidy;
use crate::{figures, keys};

/// How long messages that were handed to the producer may take to be durable when the process stops.
const FLUSH: Duration = Duration::from_secs(5);

/// Serves until `edges` drains. `ready` is called once it serves.
pub async fn run(settings: Settings, edges: Shutdown, ready: impl FnOnce(&Addresses)) -> Result<(), Failure> {
    let process = Process::start(&settings, Role::Ingress).await?;
    let latch = process.readiness.latch("ingress");
    let listener = http::bind(settings.ingress.listen).await?;
    let address = listener.local_addr()?;
    let public_url = settings.public_url();
    let audiences = Audiences::of(&public_url)?;
    let endpoint_keys = keys::needed(settings.endpoint_keys.as_ref())?;

    latch.not_ready("waiting for Redis");
    let redis = Redis::connect(&settings.grid.redis).await?;
    latch.not_ready("waiting for Kafka");
    let topics = topics::ensure(&settings.grid.kafka).await?;
    let log = Arc::new(KafkaLog::open(&settings.grid.kafka, &topics)?);
    let roster = Roster::new(&process.meter);
    let routers = Routers::new(settings.grid.routers.clone(), roster.clone(), &process.meter);
    let membership = Arc::new(RedisMembership::new(redis.clone()));
    figures::of_redis(&process.meter, redis.clone());
    figures::of_log(&process.meter, log.clone());
    let (keeping, lease, core) = (roster.clone(), settings.grid.lease, process.core.clone());
    process.core.spawn("roster", async move { keeping.keep(membership, || None, lease, core).await });

    let ingress = Ingress::new(
        settings.ingress.clone(),
        Deps {
            tokens: EndpointTokens::new(&endpoint_keys),
            addresses: MessageAddresses::new(&endpoint_keys),
            verifier: Verifier::new(audiences, settings.ingress.vapid_cache),
            public_url,
            directory: Arc::new(RedisDirectory::new(redis, topics.partitions)),
            log: log.clone(),
            router: Arc::new(routers),
            clock: process.clock.clone(),
            rng: process.rng.clone(),
            meter: process.meter.clone(),
        },
    );
    edges.spawn_essential(
        "ingress",
        http::serve(listener, ingress.routes(), settings.ingress_http.clone(), edges.clone()),
    );
    edges.spawn("tidy", tidy(ingress, edges.clone()));
    latch.ready();
    ready(&Addresses::new(
        Role::Ingress,
        vec![("ingress", format!("http://{address}")), ("admin", format!("http://{}", process.admin))],
    ));
    process.serve(&edges).await;
    latch.not_ready("stopping");
    let flushed = async {
        if let Err(error) = log.flush(FLUSH).await {
            tracing::warn!(%error, "not all that was being written is known to be durable; it was answered 503");
        }
        roster.leave();
    };
    process.end(&edges, flushed).await
}
