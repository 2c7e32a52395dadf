//! `GET` of a subscription: its messages, as Server-Sent Events (RFC 8030 section 6).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, StatusCode};
use pushgrid_types::SubscriptionRef;

use super::{Edge, empty, no_subscription, preferences, unavailable};
use crate::connection;
use crate::refusal::{self, refuse};
use crate::sse::{Head, Reader, Sse, Target};

/// Field by which nginx is told to hand every part on at once.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Opens a connection of the subscription's user agent, and answers when its router has.
pub(super) async fn read(edge: &Edge, id: SubscriptionRef, request: Request) -> Response {
    if !preferences::accepts_events(request.headers()) {
        return refuse(
            StatusCode::BAD_REQUEST,
            "messages come as Server-Sent Events: ask with Accept: text/event-stream (HTTP/2 server push is not offered)",
        );
    }
    let is_brief = preferences::wants_no_wait(request.headers());
    let min_urgency = match preferences::min_urgency(request.headers()) {
        Ok(urgency) => urgency,
        Err(invalid) => return refuse(StatusCode::BAD_REQUEST, &invalid.to_string()),
    };
    let Some(slot) = edge.shared.node.enter() else {
        return refusal::unavailable("the server is restarting; connect again");
    };
    let target = Target { id, path: request.uri().path().to_owned(), is_brief, min_urgency };
    let (sse, reader, head) = Sse::new(target, edge.resources.addresses.clone());
    let shared = Arc::clone(&edge.shared);
    drop(edge.shared.connections.spawn(connection::serve(shared, slot, sse)));
    match head.await {
        Ok(Head::Events) => events(reader),
        Ok(Head::Empty) => empty(StatusCode::NO_CONTENT),
        Ok(Head::Gone) => no_subscription(),
        Ok(Head::Unavailable) | Err(_) => unavailable(),
    }
}

fn events(reader: Reader) -> Response {
    let mut response = Response::new(Body::new(reader));
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(BUFFERING, HeaderValue::from_static("no"));
    response
}
