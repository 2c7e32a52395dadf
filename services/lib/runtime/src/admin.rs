//! The admin listener of a role: liveness, readiness and metrics, for operators and supervisors.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use crate::Readiness;
use crate::metrics::Meter;

mod writers;

pub use writers::{NotAdmitted, Writers};

/// The content type of the Prometheus text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4";

/// The routes of an admin listener. None does I/O beyond `/proc`.
///
/// - `/healthz`: 200 `ok`, for as long as the process can answer.
/// - `/readyz`: 200 `ready`, with a line for each note, or 503 with a JSON list of the latches that are not ready, each
///   with the reason.
/// - `/metrics`: everything in [`crate::metrics`], in the Prometheus text format.
pub fn routes(readiness: Readiness, meter: Meter) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/metrics", get(scrape).with_state(meter))
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let waiting = readiness.waiting_for();
    if waiting.is_empty() {
        let notes = readiness.notes().into_iter().map(|(name, note)| format!("{name}: {note}\n"));
        return format!("ready\n{}", notes.collect::<String>()).into_response();
    }
    let waiting: Vec<_> =
        waiting.into_iter().map(|(name, why)| serde_json::json!({ "name": name, "why": why })).collect();
    let body = serde_json::json!({ "ready": false, "waiting_for": waiting });
    (StatusCode::SERVICE_UNAVAILABLE, [(CONTENT_TYPE, "application/json")], format!("{body}\n"))
        .into_response()
}

async fn scrape(State(meter): State<Meter>) -> Response {
    ([(CONTENT_TYPE, PROMETHEUS)], meter.render()).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(app: &Router, path: &str) -> (StatusCode, String, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        let kind = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_names_what_it_waits_for() {
        let readiness = Readiness::new();
        let app = routes(readiness.clone(), Meter::new());
        let store = readiness.latch("store");
        store.not_ready("it says \"no\"");

        let (status, kind, body) = ask(&app, "/readyz").await;
        assert_eq!((status, kind.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "application/json"));
        let expected = serde_json::json!({
            "ready": false, "waiting_for": [{ "name": "store", "why": "it says \"no\"" }]
        });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap(), expected);

        store.ready();
        let (status, _, body) = ask(&app, "/readyz").await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "ready\n"));
        store.note(Some("catching up, 3 of 9".to_owned()));
        let (status, _, body) = ask(&app, "/readyz").await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "ready\nstore: catching up, 3 of 9\n"));
    }

    #[tokio::test]
    async fn health_does_not_depend_on_readiness() {
        let app = routes(Readiness::new(), Meter::new());
        let (status, _, body) = ask(&app, "/healthz").await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "ok\n"));
    }

    #[tokio::test]
    async fn metrics_come_in_the_prometheus_text_format() {
        let app = routes(Readiness::new(), Meter::new());
        let (status, kind, body) = ask(&app, "/metrics").await;
        assert_eq!((status, kind.as_str()), (StatusCode::OK, PROMETHEUS));
        assert!(body.contains("\n# TYPE pushgrid_messages_accepted_total counter\n"), "{body}");
    }
}
