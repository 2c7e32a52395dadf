//! The requests of an operator: `PUT` and `DELETE` of a broadcast, and `GET` of all, for the admin listener.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use pushgrid_runtime::admin::Writers;
use pushgrid_store::{BroadcastNotSet, BroadcastVersions, Broadcasts, StoreError};
use pushgrid_types::{BroadcastId, BroadcastVersion};

/// Octets of a body that are read: more than a version may have.
const BODY_MAX: usize = 4096;

#[derive(Debug, Clone)]
struct Admin {
    broadcasts: Arc<dyn Broadcasts>,
    writers: Writers,
}

/// Routes for an admin listener.
///
/// - `GET /broadcasts`: 200 with a JSON object, `{"broadcasts":{"id":"version"}}`.
/// - `PUT /broadcasts/{id}`, the version as body: 204 once it is durable.
/// - `DELETE /broadcasts/{id}`: 204 once it is removed, 404 without such a broadcast.
///
/// 400 for what is no id or no version, 403 for who is not among `writers`, 409 when there are as many as there may be,
/// and 503 when the store fails; each with a text that says what to do.
pub fn broadcast_routes(broadcasts: Arc<dyn Broadcasts>, writers: Writers) -> Router {
    Router::new()
        .route("/broadcasts", get(list))
        .route("/broadcasts/{*id}", put(set).delete(remove))
        .with_state(Admin { broadcasts, writers })
}

async fn list(State(admin): State<Admin>) -> Response {
    match BroadcastVersions::known(&admin.broadcasts.versions()) {
        Ok(versions) => {
            let all = versions.iter().map(|(id, version)| (id.to_string(), version.as_str().into()));
            let all: serde_json::Map<_, serde_json::Value> = all.collect();
            let body = format!("{}\n", serde_json::json!({ "broadcasts": all }));
            ([(CONTENT_TYPE, "application/json")], body).into_response()
        }
        Err(error) => failed(&error),
    }
}

async fn set(State(admin): State<Admin>, Path(id): Path<String>, fields: HeaderMap, body: Body) -> Response {
    let id = match admitted(&admin, &id, &fields) {
        Ok(id) => id,
        Err(refusal) => return *refusal,
    };
    let body = to_bytes(body, BODY_MAX).await.unwrap_or_default();
    let version = str::from_utf8(&body).unwrap_or_default().parse::<BroadcastVersion>();
    let version = match version {
        Ok(version) => version,
        Err(invalid) => return answer(StatusCode::BAD_REQUEST, &invalid.to_string()),
    };
    match admin.broadcasts.set(id.clone(), version).await {
        Ok(()) => {
            tracing::info!(broadcast = %id, "an operator has set a broadcast");
            StatusCode::NO_CONTENT.into_response()
        }
        Err(full @ BroadcastNotSet::Full) => answer(StatusCode::CONFLICT, &full.to_string()),
        Err(BroadcastNotSet::Store(error)) => failed(&error),
    }
}

async fn remove(State(admin): State<Admin>, Path(id): Path<String>, fields: HeaderMap) -> Response {
    let id = match admitted(&admin, &id, &fields) {
        Ok(id) => id,
        Err(refusal) => return *refusal,
    };
    match admin.broadcasts.remove(&id).await {
        Ok(true) => {
            tracing::info!(broadcast = %id, "an operator has removed a broadcast");
            StatusCode::NO_CONTENT.into_response()
        }
        Ok(false) => answer(StatusCode::NOT_FOUND, "there is no such broadcast; GET /broadcasts lists them"),
        Err(error) => failed(&error),
    }
}

fn admitted(admin: &Admin, id: &str, fields: &HeaderMap) -> Result<BroadcastId, Box<Response>> {
    admin
        .writers
        .admit(fields)
        .map_err(|refused| Box::new(answer(StatusCode::FORBIDDEN, &refused.to_string())))?;
    id.parse().map_err(|invalid: pushgrid_types::InvalidBroadcastId| {
        Box::new(answer(StatusCode::BAD_REQUEST, &invalid.to_string()))
    })
}

fn failed(error: &StoreError) -> Response {
    let cause = error.source.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
    answer(StatusCode::SERVICE_UNAVAILABLE, &format!("{error}{cause}"))
}

fn answer(status: StatusCode, text: &str) -> Response {
    (status, format!("{text}\n")).into_response()
}
