//! The router role: owner of the messages and subscriptions of its assigned partitions. Built and run here;
//! the decisions are the `router` crate's.

use std::sync::Arc;
use std::time::Duration;

use pushgrid_crypto::{EndpointTokens, MessageAddresses};
use pushgrid_link_grpc::{Nodes, serve_router};
use pushgrid_log_kafka::{GroupWatch, KafkaAssignments, KafkaChangelog, KafkaLog, topics};
use pushgrid_router::{Router, RouterContext, RouterDeps};
use pushgrid_runtime::metrics::{self, Meter};
use pushgrid_runtime::{Latch, Shutdown, http};
use pushgrid_store::Role as MemberRole;
use pushgrid_store_changelog::Receipts;
use pushgrid_store_redis::Redis;
use pushgrid_types::cast::saturating;
use pushgrid_types::{Clock, NodeId};
use pushgrid_webhook::Webhooks;
use tokio::time::interval;

use crate::failure::Failure;
use crate::grid::GridProcess;
use crate::keys;
use crate::loader::{GridLoader, Partitions};
use crate::process::{Addresses, Process};
use crate::settings::Settings;
use crate::unserved::Unserved;

/// Interval at which the health of partitions is shown.
const LOOK: Duration = Duration::from_millis(500);

/// Serves until `edges` drains, then hands the partitions over to other routers. `ready` is called once the
/// router serves and takes part in the assignment; it may own no partition then.
pub async fn run(settings: Settings, edges: Shutdown, ready: impl FnOnce(&Addresses)) -> Result<(), Failure> {
    let grid = GridProcess::start(&settings, edges).await?;
    let process = &grid.process;
    let latch = process.readiness.latch("router");
    let listener = http::bind(settings.grid.router_listen).await?;
    let address = listener.local_addr()?;
    let public_url = settings.public_url();
    settings.warn_of_local_endpoints(&public_url);
    let endpoint_keys = keys::needed(settings.endpoint_keys.as_ref())?;
    keys::show(&endpoint_keys, &process.meter);

    latch.not_ready("waiting for Redis");
    let redis = Redis::connect(&settings.grid.redis, &process.meter).await?;
    latch.not_ready("waiting for Kafka");
    let topics = topics::ensure(&settings.grid.kafka).await?;
    let changelog =
        Arc::new(KafkaChangelog::open(&settings.grid.kafka, &topics, process.rng.clone(), &process.meter)?);
    let log = Arc::new(KafkaLog::open(&settings.grid.kafka, &topics, &process.meter)?);
    let assignments = KafkaAssignments::join(&settings.grid.kafka, &topics, &process.meter)?;
    let group = assignments.watch();
    let partitions = Partitions::new(&process.meter);
    let unserved = Unserved::new(settings.router.stuck_after());
    let watch = PartitionWatch::new(process, unserved, group.clone(), partitions.clone());
    process.core.spawn("partitions", watch.run(process.edges.clone()));

    let id = NodeId::random(&*process.rng);
    let nodes = Nodes::new(settings.grid.nodes, id, grid.membership_view.clone(), &process.meter);
    let clock: Arc<dyn Clock> = Arc::new(grid.time.clock());
    let receipts = Receipts { log, clock: clock.clone() };
    let context = RouterContext {
        config: settings.router,
        tokens: EndpointTokens::new(&endpoint_keys),
        public_url,
        addresses: MessageAddresses::new(&endpoint_keys),
        webhooks: Webhooks::new(&settings.webhook, &endpoint_keys, &process.meter)?,
        wall: Arc::new(grid.time.wall()),
        clock: clock.clone(),
        rng: process.rng.clone(),
        meter: process.meter.clone(),
    };
    let membership_view = grid.membership_view.clone();
    let (router, registry) = Router::new(
        Arc::new(context),
        RouterDeps {
            assignments: Box::new(assignments),
            loader: Arc::new(GridLoader::new(changelog, redis.clone(), receipts, partitions, &process.meter)),
            nodes: Arc::new(nodes.clone()),
            changed: Box::new(move || membership_view.touch()),
        },
    );
    let owned = registry.clone();
    let role = move || MemberRole::Router { owns: owned.owns(), of: owned.partitions() };
    let heard_at = settings.grid.router_advertise.unwrap_or_else(|| address.to_string());
    grid.join(redis, id, heard_at, role);
    let registry = Arc::new(registry);
    process.spawn_core("grpc", |core| serve_router(listener, registry.clone(), core));
    process.spawn_core("nodes", |core| async move { nodes.run(registry, core).await });
    latch.not_ready("waiting for the time of the grid");
    if !grid.has_time().await {
        return grid.leave().await;
    }

    process.spawn_edge("router", |edges| router.run(edges));
    latch.not_ready("joining the other routers");
    let joined = async {
        group.joined().await;
    };
    if !process.waits_for(joined).await {
        return grid.leave().await;
    }
    latch.ready();
    grid.serve(&[("router", format!("http://{address}"))], ready).await;
    latch.not_ready("handing its partitions over");
    grid.membership_view.touch();
    grid.leave().await
}

/// Readiness of the partitions of a router. A partition counts as unserved from its assignment on, whatever
/// else the process waits for.
#[derive(Debug)]
struct PartitionWatch {
    latch: Latch,
    meter: Meter,
    unserved: Unserved,
    group: GroupWatch,
    partitions: Partitions,
}

impl PartitionWatch {
    fn new(process: &Process, unserved: Unserved, group: GroupWatch, partitions: Partitions) -> Self {
        let latch = process.readiness.latch("partitions");
        Self { latch, meter: process.meter.clone(), unserved, group, partitions }
    }

    /// Shows the health of the partitions until the edges drain.
    async fn run(mut self, edges: Shutdown) {
        let stuck = self.meter.gauge(&metrics::ROUTER_STUCK, &[]);
        let mut looks = interval(LOOK);
        loop {
            let now = tokio::select! {
                now = looks.tick() => now,
                () = edges.draining() => break,
            };
            let all = self.unserved.look(now, &self.group.assigned(), &self.partitions.healths());
            stuck.set(f64::from(saturating::<u32>(all.len())));
            if all.is_empty() {
                self.latch.ready();
            } else {
                self.latch.not_ready(all.join("; "));
            }
            self.partitions.show(&self.latch);
        }
    }
}
