//! Broadcasts of a process: where they are kept, the requests of operators, and the bridge.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use pushgrid_bridge::{Bridge, Config, Deps};
use pushgrid_connection::broadcast_routes;
use pushgrid_link_grpc::MembershipView;
use pushgrid_log_kafka::KafkaBroadcasts;
use pushgrid_runtime::admin::Writers;
use pushgrid_runtime::metrics::Meter;
use pushgrid_store::Broadcasts;
use pushgrid_types::NodeId;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::process::Process;
use crate::settings::Settings;

/// Longest wait of a node for the versions, before it serves user agents without them.
const KNOWN: Duration = Duration::from_secs(5);

/// Broadcasts of a grid; `None` without Kafka, which connection nodes of the first release did not need.
pub(crate) fn of_grid(settings: &Settings, meter: &Meter) -> Result<Option<Arc<KafkaBroadcasts>>, Failure> {
    let kafka = &settings.grid.kafka;
    if kafka.brokers.is_empty() {
        tracing::info!("kafka.brokers is not set: this node has no broadcasts");
        return Ok(None);
    }
    Ok(Some(Arc::new(KafkaBroadcasts::open(kafka, meter)?)))
}

/// Waits for the versions, but not for long: user agents that say hello before get those that they ask for later.
pub(crate) async fn known(broadcasts: Option<&KafkaBroadcasts>) {
    let Some(broadcasts) = broadcasts else { return };
    if timeout(KNOWN, broadcasts.versions().wait_for(Option::is_some)).await.is_err() {
        tracing::warn!("the broadcasts could not be read yet: user agents are served without them");
    }
}

/// Routes of the admin listener.
pub(crate) fn routes(settings: &Settings, broadcasts: Arc<dyn Broadcasts>) -> Router {
    broadcast_routes(broadcasts, Writers::of(settings.admin_listen, settings.admin_token.clone()))
}

/// Mirrors the upstream, if one is configured, while `is_its_turn`.
pub(crate) fn bridge(
    process: &Process,
    config: Config,
    broadcasts: Arc<dyn Broadcasts>,
    is_its_turn: impl Fn() -> bool + Send + Sync + 'static,
) {
    if config.upstream.is_some() {
        let meter = process.meter.clone();
        let bridge = Bridge::new(config, Deps { broadcasts, is_its_turn: Box::new(is_its_turn), meter });
        process.spawn_edge("bridge", |edges| bridge.run(edges));
    }
}

/// True for the first connection node that is not about to leave, as this process sees the members: for a moment two
/// processes may be it, or none.
pub(crate) fn is_first(view: &MembershipView, id: NodeId) -> bool {
    let members = view.member_list();
    let mut staying = members.connections().filter(|member| !member.draining);
    staying.next().is_some_and(|member| member.id == id)
}
