//! The role that owns messages and subscriptions: of the partitions that it is assigned.

use std::sync::Arc;
use std::time::Duration;

use pushgrid_crypto::EndpointTokens;
use pushgrid_link_grpc::{Nodes, Roster, serve_router};
use pushgrid_log_kafka::{KafkaAssignments, KafkaChangelog, topics};
use pushgrid_router::{Fleet, FleetDeps};
use pushgrid_runtime::{Shutdown, http};
use pushgrid_store::{Member, Role as MemberRole};
use pushgrid_store_redis::{Redis, RedisMembership};
use pushgrid_types::NodeId;
use tokio::time::interval;

use crate::failure::Failure;
use crate::keeper::{GridKeeper, Partitions};
use crate::process::{Addresses, Process};
use crate::settings::{Role, Settings};
use crate::{figures, keys};

/// How often it is shown what the partitions are doing.
const LOOK: Duration = Duration::from_millis(500);

/// Serves until `edges` drains; then its partitions are handed over, and the others go on with them. `ready` is called once
/// it serves and takes part in the assignment; it may own nothing then.
pub async fn run(settings: Settings, edges: Shutdown, ready: impl FnOnce(&Addresses)) -> Result<(), Failure> {
    let process = Process::start(&settings, Role::Router).await?;
    let latch = process.readiness.latch("router");
    let listener = http::bind(settings.grid.router_listen).await?;
    let address = listener.local_addr()?;
    let endpoint_keys = keys::needed(settings.endpoint_keys.as_ref())?;

    latch.not_ready("waiting for Redis");
    let redis = Redis::connect(&settings.grid.redis).await?;
    latch.not_ready("waiting for Kafka");
    let topics = topics::ensure(&settings.grid.kafka).await?;
    let changelog = Arc::new(KafkaChangelog::open(&settings.grid.kafka, &topics, process.rng.clone())?);
    let assignments = KafkaAssignments::join(&settings.grid.kafka, &topics)?;
    let group = assignments.watch();
    figures::of_redis(&process.meter, redis.clone());
    figures::of_changelog(&process.meter, changelog.clone());
    figures::of_group(&process.meter, group.clone());

    let roster = Roster::new(&process.meter);
    let nodes = Nodes::new(settings.grid.nodes.clone(), roster.clone(), &process.meter);
    let partitions = Partitions::default();
    figures::of_partitions(&process.meter, partitions.clone());
    let (fleet, table) = Fleet::new(
        settings.router.clone(),
        FleetDeps {
            assignments: Box::new(assignments),
            keeper: Arc::new(GridKeeper::new(changelog, redis.clone(), partitions.clone())),
            nodes: Arc::new(nodes.clone()),
            tokens: EndpointTokens::new(&endpoint_keys),
            public_url: settings.public_url(),
            clock: process.clock.clone(),
            rng: process.rng.clone(),
            meter: process.meter.clone(),
        },
        {
            let roster = roster.clone();
            move || roster.touch()
        },
    );
    let core = &process.core;
    let (id, owned, leaving) = (NodeId::random(&*process.rng), table.clone(), edges.clone());
    let advertised = settings.grid.router_advertise.clone().unwrap_or_else(|| address.to_string());
    let me = move || {
        Some(Member {
            id,
            role: MemberRole::Router { owns: owned.owns(), of: owned.partitions() },
            address: advertised.clone(),
            draining: leaving.is_draining(),
        })
    };
    let membership = Arc::new(RedisMembership::new(redis));
    let (keeping, lease, ending) = (roster.clone(), settings.grid.lease, core.clone());
    core.spawn("roster", async move { keeping.keep(membership, me, lease, ending).await });
    let (events, ending) = (Arc::new(table.clone()), core.clone());
    core.spawn_essential("nodes", async move { nodes.run(events, ending).await });
    core.spawn_essential("grpc", serve_router(listener, Arc::new(table), core.clone()));
    edges.spawn_essential("fleet", fleet.run(edges.clone()));
    latch.not_ready("joining the other routers");
    tokio::select! {
        _ = group.joined() => {}
        () = process.serve(&edges) => return process.end(&edges, async { roster.leave() }).await,
    }
    latch.ready();
    ready(&Addresses::new(
        Role::Router,
        vec![("router", format!("http://{address}")), ("admin", format!("http://{}", process.admin))],
    ));
    let mut looks = interval(LOOK);
    loop {
        tokio::select! {
            _ = looks.tick() => partitions.show(&latch),
            () = process.serve(&edges) => break,
        }
    }
    latch.not_ready("handing its partitions over");
    roster.touch();
    process.end(&edges, async { roster.leave() }).await
}
