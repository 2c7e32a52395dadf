//! Receipt subscriptions of application servers (RFC 8030 sections 5.1 and 6.3): made, read and ended. Receipts go by the
//! same connections as the messages of user agents, and wait in a mailbox like these.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Method, StatusCode};
use pushgrid_crypto::ReceiptAddresses;
use pushgrid_store::{Cancelled, Resource, Settlement};
use pushgrid_types::{ChannelId, MessageId, Outcome, SubscriptionRef, UserAgentId, WebhookUrl};
use pushgrid_webhook::Webhooks;
use serde::Deserialize;

use super::{Edge, body, empty, no_receipts, read, unavailable};
use crate::monitor::Form;
use crate::receipt_form::ReceiptForm;
use crate::refusal::{self, refuse};

/// Largest description of a receipt subscription, in octets.
const DESCRIPTION_MAX: usize = 4096;

/// Most receipts that one request acknowledges.
const ACKNOWLEDGED_MAX: usize = 256;

/// Dependencies of receipts.
#[derive(Debug)]
pub struct Receipts {
    /// Seals the addresses of receipt subscriptions.
    pub addresses: ReceiptAddresses,
    /// Names the messages of receipts.
    pub form: ReceiptForm,
    /// Checks the URLs of webhooks, and has their secrets.
    pub webhooks: Webhooks,
}

/// Description of a receipt subscription to make.
#[derive(Deserialize)]
struct Description {
    webhook: Option<String>,
}

/// Makes a receipt subscription, with a webhook if the body names one.
pub(super) async fn open(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    if *request.method() != Method::POST {
        return refusal::method("POST", "POST makes a receipt subscription");
    }
    make(&edge, request.into_body()).await.unwrap_or_else(|refused| refused)
}

async fn make(edge: &Edge, body: Body) -> Result<Response, Response> {
    let webhook = webhook(edge, body).await?;
    let rng = &*edge.shared.rng;
    let (of, on) = (UserAgentId::random(rng), ChannelId::random(rng));
    let opening = edge.resources.link.open_receipts(of, on, webhook.clone());
    let id = edge.ask("open receipts", opening).await?;
    created(edge, &id, webhook.is_some()).ok_or_else(unavailable)
}

async fn webhook(edge: &Edge, body: Body) -> Result<Option<WebhookUrl>, Response> {
    let octets = body::read(edge, body, DESCRIPTION_MAX).await?;
    if octets.is_empty() {
        return Ok(None);
    }
    let description: Description = serde_json::from_slice(&octets).map_err(|_| {
        refuse(
            StatusCode::BAD_REQUEST,
            "the body is a JSON object such as {\"webhook\":\"https://...\"}, or empty",
        )
    })?;
    let checked = description.webhook.map(|url| edge.resources.receipts.webhooks.check(&url));
    checked.transpose().map_err(|invalid| refuse(StatusCode::BAD_REQUEST, &invalid.to_string()))
}

fn created(edge: &Edge, id: &SubscriptionRef, has_webhook: bool) -> Option<Response> {
    let receipts = &edge.resources.receipts;
    let mut response = empty(StatusCode::CREATED);
    if has_webhook {
        let secret = serde_json::json!({ "secret": receipts.webhooks.secret(id) });
        *response.body_mut() = Body::from(secret.to_string());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let fields = response.headers_mut();
    let location = format!("/receipts/{}", receipts.addresses.seal(id));
    fields.insert(LOCATION, HeaderValue::try_from(location).ok()?);
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

/// Reads or ends a receipt subscription.
pub(super) async fn subscription(
    State(edge): State<Arc<Edge>>,
    address: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    if *request.method() != Method::GET && *request.method() != Method::DELETE {
        return refusal::method("GET, DELETE", "GET reads receipts, DELETE ends the receipt subscription");
    }
    let id = address.ok().and_then(|Path(address)| edge.resources.receipts.addresses.open(&address));
    let Some(id) = id else { return no_receipts() };
    if *request.method() == Method::GET {
        return read::read(&edge, Resource::Subscription(id), Form::Receipts, request).await;
    }
    match edge.ask("end receipts", edge.resources.link.unsubscribe(id)).await {
        Ok(Cancelled::Ended) => empty(StatusCode::NO_CONTENT),
        Ok(Cancelled::Gone) => no_receipts(),
        Err(unavailable) => unavailable,
    }
}

/// Acknowledges receipts: one, or several with commas between them. Those that do not wait (any more) are passed over.
pub(super) async fn receipts(
    State(edge): State<Arc<Edge>>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Response {
    if *request.method() != Method::DELETE {
        return refusal::method("DELETE", "DELETE acknowledges receipts");
    }
    let Ok(Path((address, ids))) = path else { return no_receipts() };
    let Some(id) = edge.resources.receipts.addresses.open(&address) else { return no_receipts() };
    let ids: Result<Vec<MessageId>, _> = ids.split(',').map(str::parse).collect();
    let Some(ids) = ids.ok().filter(|ids| ids.len() <= ACKNOWLEDGED_MAX) else {
        let text =
            format!("receipts are named by the id of their events, at most {ACKNOWLEDGED_MAX} with commas");
        return refuse(StatusCode::BAD_REQUEST, &text);
    };
    let ended = ids.into_iter().map(|id| Settlement { id, outcome: Outcome::Delivered }).collect();
    match edge.ask("acknowledge receipts", edge.shared.router.settle(id.user_agent, ended)).await {
        Ok(()) => empty(StatusCode::NO_CONTENT),
        Err(unavailable) => unavailable,
    }
}
