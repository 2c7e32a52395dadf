use std::sync::Arc;

use pushgrid_runtime::metrics::Meter;
use pushgrid_runtime::{Latch, Shutdown, http};
use pushgrid_store::RouterLink;
use pushgrid_types::{Clock, Rng};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::counts::Counts;
use crate::{Config, Node, drain, upgrade};

/// What a connection node is given.
#[derive(Debug)]
pub struct Deps {
    /// Where user agents connect.
    pub listener: TcpListener,
    /// Who owns their messages and subscriptions.
    pub router: Arc<dyn RouterLink>,
    /// This node: the same that the router hands messages to.
    pub node: Node,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where new user agent ids come from.
    pub rng: Arc<dyn Rng>,
    /// Where it counts.
    pub meter: Meter,
    /// Ready from when it serves until it drains.
    pub latch: Latch,
}

/// What all connections of a node share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) router: Arc<dyn RouterLink>,
    pub(crate) node: Node,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) counts: Counts,
    pub(crate) connections: TaskTracker,
}

/// Serves user agents until the process drains; then closes every connection, at once or spread over
/// [`Config::drain`], and returns when all have ended. What they had not settled is then with the router, durably.
/// When the process stops, what is left is dropped.
pub async fn run(config: Config, deps: Deps, shutdown: Shutdown) {
    let shared = Arc::new(Shared {
        counts: Counts::new(&deps.meter, &deps.node),
        router: deps.router,
        node: deps.node,
        clock: deps.clock,
        rng: deps.rng,
        connections: TaskTracker::new(),
        config,
    });
    let routes = upgrade::routes(Arc::clone(&shared));
    let serving = http::serve(deps.listener, routes, shared.config.http.clone(), shutdown.clone());
    deps.latch.ready();
    let draining = async {
        shutdown.draining().await;
        deps.latch.not_ready("draining");
        drain::all(&shared, &shutdown).await;
    };
    tokio::join!(serving, draining);
}
