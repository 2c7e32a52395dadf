//! The connection role: serves the sockets of user agents, and owns nothing else.

use std::sync::Arc;

use pushgrid_connection::{Connections, Deps, Node, ReceiptForm, Receipts, Resources};
use pushgrid_crypto::{MessageAddresses, ReceiptAddresses, ResourceAddresses};
use pushgrid_link_grpc::{RouterStreams, Routers, serve_node};
use pushgrid_runtime::metrics::Meter;
use pushgrid_runtime::{Shutdown, http};
use pushgrid_store::{Broadcasts, Role as MemberRole};
use pushgrid_store_redis::Redis;
use pushgrid_webhook::Webhooks;

use crate::broadcasts;
use crate::failure::Failure;
use crate::grid::GridProcess;
use crate::keys;
use crate::process::Addresses;
use crate::settings::Settings;

/// Serves until `edges` drains, then closes the sockets at the configured pace; unacknowledged messages are
/// back with the routers. User agents are served at once; `ready` is called when every router can reach them.
pub async fn run(settings: Settings, edges: Shutdown, ready: impl FnOnce(&Addresses)) -> Result<(), Failure> {
    let meter = Meter::new();
    let broadcasts = broadcasts::of_grid(&settings, &meter)?;
    let more = broadcasts.clone().map(|kept| broadcasts::routes(&settings, kept)).unwrap_or_default();
    let grid = GridProcess::start_with(&settings, edges, meter, more).await?;
    let process = &grid.process;
    let latch = process.readiness.latch("grid");
    let sockets = process.readiness.latch("connection");
    let listener = http::bind(settings.connection.listen).await?;
    let grpc = http::bind(settings.grid.node_listen).await?;
    let (address, grpc_address) = (listener.local_addr()?, grpc.local_addr()?);
    let sealed = sealed(&settings, &process.meter)?;

    latch.not_ready("waiting for Redis");
    let redis = Redis::connect(&settings.grid.redis, &process.meter).await?;
    let node = Node::new(&*process.rng, settings.connection.queue);
    let id = node.id();
    let routers = Routers::new(settings.grid.routers, grid.membership_view.clone(), &process.meter);
    let (streams, link) = (RouterStreams::new(), Arc::new(node.clone()));
    process.spawn_core("grpc", |core| serve_node(grpc, link.clone(), link, streams.clone(), core));
    let heard_at = settings.grid.node_advertise.unwrap_or_else(|| grpc_address.to_string());
    grid.join(redis, id, heard_at, || MemberRole::Connection);
    if let Some(kept) = broadcasts.clone() {
        process.spawn_core("broadcasts", |core| async move { kept.follow(core).await });
    }
    latch.not_ready("waiting for the time of the grid");
    if !grid.has_time().await || !process.waits_for(broadcasts::known(broadcasts.as_deref())).await {
        return grid.leave().await;
    }

    let connections = Connections::new(
        settings.connection,
        Deps {
            listener,
            resources: sealed.map(|(addresses, receipts)| Resources {
                link: Arc::new(routers.clone()),
                addresses,
                receipts,
            }),
            router: Arc::new(routers),
            node,
            broadcasts: broadcasts.as_ref().map(|kept| kept.versions()),
            clock: Arc::new(grid.time.clock()),
            rng: process.rng.clone(),
            meter: process.meter.clone(),
            latch: sockets,
        },
    );
    process.spawn_edge("connection", |edges| connections.run(edges));
    if let Some(kept) = broadcasts {
        let view = grid.membership_view.clone();
        broadcasts::bridge(process, settings.bridge, kept, move || broadcasts::is_first(&view, id));
    }
    let reached = async {
        let waiting = |why| latch.not_ready(why);
        let missing = streams.of_all(&grid.membership_view, id, settings.grid.lease, waiting).await;
        if !missing.is_empty() {
            let routers = missing.join(", ");
            tracing::warn!(
                routers,
                "routers have opened no stream to this node: can they reach what it advertises?"
            );
        }
    };
    if !process.waits_for(reached).await {
        return grid.leave().await;
    }
    latch.ready();
    let urls = [("connection", format!("ws://{address}")), ("grpc", format!("http://{grpc_address}"))];
    grid.serve(&urls, ready).await;
    latch.not_ready("draining");
    grid.membership_view.touch();
    grid.leave().await
}

/// Seals for user agents over HTTP; without keys there are none, as in the first release.
fn sealed(settings: &Settings, meter: &Meter) -> Result<Option<(ResourceAddresses, Receipts)>, Failure> {
    let keys = settings.endpoint_keys.as_ref();
    if keys.is_none() {
        tracing::info!("endpoint.keys is not set: user agents are served by WebSocket only");
        return Ok(None);
    }
    let keys = keys::needed(keys)?;
    keys::show(&keys, meter);
    let form =
        ReceiptForm { messages: MessageAddresses::new(&keys), public_url: settings.public_url().into() };
    let webhooks = Webhooks::new(&settings.webhook, &keys, meter)?;
    let receipts = Receipts { addresses: ReceiptAddresses::new(&keys), form, webhooks };
    Ok(Some((ResourceAddresses::new(&keys), receipts)))
}
