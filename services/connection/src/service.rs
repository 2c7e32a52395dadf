//! The connection node as a service: all protocols on one listener, and the drain.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use pushgrid_runtime::metrics::Meter;
use pushgrid_runtime::{Latch, Shutdown, http};
use pushgrid_store::{RouterLink, VersionsWatch};
use pushgrid_types::{Clock, Rng};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::broadcasts::Broadcasts;
use crate::counts::Counts;
use crate::shared::Shared;
use crate::{Config, Node, Resources, autopush, drain, resources, spread};

/// Dependencies of [`Connections`].
#[derive(Debug)]
pub struct Deps {
    /// Listener for user agents.
    pub listener: TcpListener,
    /// Owner of the user agents' messages and subscriptions.
    pub router: Arc<dyn RouterLink>,
    /// User agents over HTTP; `None` serves those with a WebSocket alone.
    pub resources: Option<Resources>,
    /// This node: the same one to which the router hands messages.
    pub node: Node,
    /// Versions of broadcasts; `None` has none.
    pub broadcasts: Option<VersionsWatch>,
    /// Judges for the last time whether a message has expired.
    pub clock: Arc<dyn Clock>,
    /// Source of new user agent ids.
    pub rng: Arc<dyn Rng>,
    /// Meter for all counters of the service.
    pub meter: Meter,
    /// Ready from the start of serving until the drain.
    pub latch: Latch,
}

/// The connections of a node, built and not yet accepted.
pub struct Connections {
    shared: Arc<Shared>,
    routes: Router,
    listener: TcpListener,
    latch: Latch,
}

impl Connections {
    /// Builds the service on the listener of `deps`.
    pub fn new(config: Config, deps: Deps) -> Self {
        let shared = Arc::new(Shared {
            counts: Counts::new(&deps.meter, &deps.node),
            router: deps.router,
            node: deps.node,
            broadcasts: Broadcasts::new(deps.broadcasts, &deps.meter),
            clock: deps.clock,
            rng: deps.rng,
            connections: TaskTracker::new(),
            config,
        });
        let edge = Arc::new(autopush::Edge::new(Arc::clone(&shared), &deps.meter));
        let mut routes = autopush::routes(edge);
        if let Some(resources) = deps.resources {
            let edge = resources::Edge::new(Arc::clone(&shared), resources);
            routes = routes.merge(resources::routes(Arc::new(edge)));
        }
        Self { shared, routes, listener: deps.listener, latch: deps.latch }
    }

    /// Serves user agents until `shutdown` drains; then closes every connection, at once or spread over
    /// [`Config::drain`], and returns when all have ended. Messages not settled are then with the router,
    /// durably. When `shutdown` stops, the remaining connections are dropped.
    ///
    /// Ready as soon as this is called: the listener is bound, and a client waits in the kernel's queue at
    /// most.
    pub fn run(self, shutdown: Shutdown) -> impl Future<Output = ()> + Send {
        let Self { shared, routes, listener, latch } = self;
        latch.ready();
        async move {
            let serving =
                http::serve_with_push(listener, routes, shared.config.http.clone(), shutdown.clone());
            let draining = async {
                shutdown.draining().await;
                latch.not_ready("draining");
                drain::all(&shared, &shutdown).await;
            };
            let spreading = spread::changes(&shared, &shutdown);
            tokio::join!(serving, spreading, draining);
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("listener", &self.listener).finish_non_exhaustive()
    }
}
