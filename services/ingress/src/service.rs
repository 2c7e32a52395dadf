use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::{HeaderName, Method, header};
use pushgrid_runtime::metrics;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use crate::config::Config;
use crate::figures::Figures;
use crate::limit::PerUserAgent;
use crate::refusal::Refusal;
use crate::shared::{Deps, Shared};
use crate::{cancel, push};

/// An ingress. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ingress(pub(crate) Arc<Shared>);

impl Ingress {
    /// Builds an ingress.
    pub fn new(config: Config, deps: Deps) -> Self {
        let figures = Figures::new(&deps.meter);
        let ingress = Self(Arc::new(Shared {
            rates: PerUserAgent::new(config.rate),
            in_flight: Semaphore::new(config.max_in_flight.min(Semaphore::MAX_PERMITS)),
            figures,
            config,
            deps,
        }));
        ingress.publish_verifications();
        ingress
    }

    /// What it serves.
    pub fn routes(&self) -> Router {
        let exposed = [header::LOCATION, header::LINK, HeaderName::from_static("ttl"), header::RETRY_AFTER];
        // A wildcard of allowed fields does not cover Authorization, so the fields asked for are mirrored.
        let cors = CorsLayer::new()
            .allow_origin(Any)
            .allow_methods([Method::DELETE, Method::GET, Method::POST, Method::PUT])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(exposed)
            .max_age(Duration::from_hours(1));
        Router::new()
            .route("/push/{token}", any(push_resource))
            .route("/wpush/v1/{token}", any(push_resource))
            .route("/wpush/v2/{token}", any(push_resource))
            .route("/m/{address}", any(message_resource))
            .fallback(nothing_here)
            .with_state(self.clone())
            .layer(cors)
    }

    /// Keeps the house: to be called once a minute.
    pub fn tidy(&self) {
        self.0.rates.tidy();
    }

    /// Shows what the verifier counts.
    fn publish_verifications(&self) {
        let meter = &self.0.deps.meter;
        let verified = |result| meter.counter(&metrics::VAPID_VERIFICATIONS, &[("result", result)]);
        let (cached, fresh) = (verified("cached"), verified("verified"));
        let weak = Arc::downgrade(&self.0);
        meter.on_scrape(move || {
            if let Some(inner) = weak.upgrade() {
                let counts = inner.deps.verifier.counts();
                cached.absolute(counts.hits);
                fresh.absolute(counts.misses);
            }
        });
    }

    /// Turns what a route came to into its response, and counts it.
    fn answer(&self, route: &'static str, answer: Result<impl IntoResponse, Refusal>) -> Response {
        let response = match answer {
            Ok(accepted) => accepted.into_response(),
            Err(refusal) => {
                if let Some(reason) = refusal.reason() {
                    Figures::refused(&self.0.deps.meter, reason, matches!(refusal, Refusal::Vapid(_)));
                }
                refusal.into_response()
            }
        };
        self.0.figures.answered(&self.0.deps.meter, route, response.status());
        response
    }
}

async fn push_resource(
    State(ingress): State<Ingress>,
    token: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let began = Instant::now();
    let answer = match *request.method() {
        Method::POST => push::push(&ingress.0, &segment(token), request).await,
        _ => Err(Refusal::Method { allow: "POST, OPTIONS" }),
    };
    let response = ingress.answer("push", answer);
    ingress.0.figures.seconds.record(began.elapsed().as_secs_f64());
    response
}

async fn message_resource(
    State(ingress): State<Ingress>,
    address: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let answer = match *request.method() {
        Method::DELETE => cancel::cancel(&ingress.0, &segment(address)).await,
        _ => Err(Refusal::Method { allow: "DELETE, OPTIONS" }),
    };
    ingress.answer("message", answer)
}

/// The part of the path that names a resource. Escapes that are no text name nothing, as the empty one does.
fn segment(path: Result<Path<String>, PathRejection>) -> String {
    path.map_or_else(|_not_text| String::new(), |Path(segment)| segment)
}

async fn nothing_here(State(ingress): State<Ingress>) -> Response {
    ingress.answer("other", Err::<(), _>(Refusal::NoRoute))
}
