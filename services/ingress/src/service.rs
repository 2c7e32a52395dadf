//! The ingress as a service: the routes of all dialects under one CORS policy, the count of answers, and the
//! upkeep of the rate limits.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::{HeaderName, Method, StatusCode, header};
use pushgrid_runtime::{Latch, Shutdown, http as serving, metrics};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::interval;
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use crate::config::Config;
use crate::figures::Figures;
use crate::limit::PerUserAgent;
use crate::shared::{Deps, Outages, Shared};

/// Interval at which idle buckets of the rate limit are removed.
const TIDY: Duration = Duration::from_mins(1);

/// The routes of a dialect.
pub(crate) type Dialect = fn() -> Router<Edge>;

/// An ingress, built and not yet serving.
#[derive(Debug)]
pub struct Ingress {
    edge: Edge,
    listener: TcpListener,
    latch: Latch,
}

/// State of the routes. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Edge(pub(crate) Arc<Shared>);

impl Ingress {
    /// Builds an ingress on the listener of `deps`.
    pub fn new(config: Config, deps: Deps) -> Self {
        let edge = Edge(Arc::new(Shared {
            rates: PerUserAgent::new(config.rate),
            in_flight: Semaphore::new(config.max_in_flight.min(Semaphore::MAX_PERMITS)),
            figures: Figures::new(&deps.meter),
            outages: Outages::new(),
            config,
            tokens: deps.tokens,
            addresses: deps.addresses,
            receipts: deps.receipts,
            receipts_url: deps.receipts_url,
            verifier: deps.verifier,
            public_url: deps.public_url,
            directory: deps.directory,
            log: deps.log,
            router: deps.router,
            clock: deps.clock,
            wall: deps.wall,
            rng: deps.rng,
            meter: deps.meter,
        }));
        edge.publish_verifications();
        Self { edge, listener: deps.listener, latch: deps.latch }
    }

    /// Serves application servers until `shutdown` drains; then finishes the requests in flight, by the rules
    /// of [`pushgrid_runtime::http::serve`], and returns when every connection is closed.
    ///
    /// Ready as soon as this is called: the listener is bound, and a client waits in the kernel's queue at
    /// most.
    pub fn run(self, shutdown: Shutdown) -> impl Future<Output = ()> + Send {
        let Self { edge, listener, latch } = self;
        latch.ready();
        async move {
            let limits = edge.0.config.http.clone();
            let serving = serving::serve(listener, edge.routes_of(crate::DIALECTS), limits, shutdown.clone());
            let upkeep = async {
                edge.tidy(&shutdown).await;
                latch.not_ready("stopping");
            };
            tokio::join!(serving, upkeep);
        }
    }

    #[cfg(test)]
    pub(crate) fn routes_of(&self, dialects: &[Dialect]) -> Router {
        self.edge.routes_of(dialects)
    }
}

impl Edge {
    /// The routes of some dialects. One dialect may have a fallback.
    fn routes_of(&self, dialects: &[Dialect]) -> Router {
        let exposed = [header::LOCATION, header::LINK, HeaderName::from_static("ttl"), header::RETRY_AFTER];
        // A wildcard of allowed fields does not cover Authorization, so the fields asked for are mirrored.
        let cors = CorsLayer::new()
            .allow_origin(Any)
            .allow_methods([Method::DELETE, Method::GET, Method::POST, Method::PUT])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(exposed)
            .max_age(Duration::from_hours(1));
        let routes = dialects.iter().fold(Router::new(), |all, dialect| all.merge(dialect()));
        routes.with_state(self.clone()).layer(cors)
    }

    /// Removes idle buckets of the rate limit at intervals, until `shutdown` drains.
    async fn tidy(&self, shutdown: &Shutdown) {
        let mut ticks = interval(TIDY);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.0.rates.tidy(),
                () = shutdown.draining() => return,
            }
        }
    }

    /// Publishes the verifier's counts.
    fn publish_verifications(&self) {
        let meter = &self.0.meter;
        let verified = |result| meter.counter(&metrics::VAPID_VERIFICATIONS, &[("result", result)]);
        let (cached, fresh) = (verified("cached"), verified("verified"));
        let weak = Arc::downgrade(&self.0);
        meter.on_scrape(move || {
            if let Some(shared) = weak.upgrade() {
                let counts = shared.verifier.counts();
                cached.absolute(counts.hits);
                fresh.absolute(counts.misses);
            }
        });
    }

    /// Counts an answer; `refused` is the word for why a message was refused.
    pub(crate) fn count(&self, route: &'static str, status: StatusCode, refused: Option<&'static str>) {
        let meter = &self.0.meter;
        if let Some(label) = refused {
            Figures::refused(meter, label);
        }
        self.0.figures.answered(meter, route, status);
    }
}
