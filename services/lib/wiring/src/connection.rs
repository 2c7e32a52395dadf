//! The role that serves user agents: their sockets, and nothing else.

use std::sync::Arc;

use pushgrid_connection::{Deps, Node};
use pushgrid_link_grpc::{Roster, Routers, serve_node};
use pushgrid_runtime::{Shutdown, http};
use pushgrid_store::{Member, Role as MemberRole};
use pushgrid_store_redis::{Redis, RedisMembership};

use crate::failure::Failure;
use crate::figures;
use crate::process::{Addresses, Process};
use crate::settings::{Role, Settings};

/// Serves until `edges` drains; then the sockets are closed at the pace that is set, and what they had not acknowledged is
/// back with the routers. `ready` is called once it serves.
pub async fn run(settings: Settings, edges: Shutdown, ready: impl FnOnce(&Addresses)) -> Result<(), Failure> {
    let process = Process::start(&settings, Role::Connection).await?;
    let latch = process.readiness.latch("grid");
    let sockets = process.readiness.latch("connection");
    let listener = http::bind(settings.connection.listen).await?;
    let grpc = http::bind(settings.grid.node_listen).await?;
    let (address, grpc_address) = (listener.local_addr()?, grpc.local_addr()?);

    latch.not_ready("waiting for Redis");
    let redis = Redis::connect(&settings.grid.redis).await?;
    figures::of_redis(&process.meter, redis.clone());
    let node = Node::new(&*process.rng, settings.connection.queue);
    let roster = Roster::new(&process.meter);
    let routers = Routers::new(settings.grid.routers.clone(), roster.clone(), &process.meter);

    let core = &process.core;
    let (id, leaving) = (node.id(), edges.clone());
    let advertised = settings.grid.node_advertise.clone().unwrap_or_else(|| grpc_address.to_string());
    let me = move || {
        Some(Member {
            id,
            role: MemberRole::Connection,
            address: advertised.clone(),
            draining: leaving.is_draining(),
        })
    };
    core.spawn_essential(
        "grpc",
        serve_node(grpc, Arc::new(node.clone()), Arc::new(node.clone()), core.clone()),
    );
    let membership = Arc::new(RedisMembership::new(redis));
    let (keeping, lease, ending) = (roster.clone(), settings.grid.lease, core.clone());
    core.spawn("roster", async move { keeping.keep(membership, me, lease, ending).await });
    let deps = Deps {
        listener,
        router: Arc::new(routers),
        node,
        clock: process.clock.clone(),
        rng: process.rng.clone(),
        meter: process.meter.clone(),
        latch: sockets,
    };
    edges.spawn_essential(
        "connection",
        Box::pin(pushgrid_connection::run(settings.connection.clone(), deps, edges.clone())),
    );
    latch.ready();
    ready(&Addresses::new(
        Role::Connection,
        vec![
            ("connection", format!("ws://{address}")),
            ("grpc", format!("http://{grpc_address}")),
            ("admin", format!("http://{}", process.admin)),
        ],
    ));
    process.serve(&edges).await;
    latch.not_ready("draining");
    roster.touch();
    process.end(&edges, async { roster.leave() }).await
}
