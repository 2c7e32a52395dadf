//! A message at its address: read, or acknowledged (RFC 8030 sections 6.2 and 8.3).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::{Method, StatusCode};
use pushgrid_store::{Cancelled, Resource};
use pushgrid_types::MessageRef;

use super::{Edge, empty, no_message, unavailable};
use crate::push;
use crate::refusal;

pub(super) async fn message(
    State(edge): State<Arc<Edge>>,
    address: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let is_read = *request.method() == Method::GET;
    if !is_read && *request.method() != Method::DELETE {
        return refusal::method("GET, DELETE", "GET reads a message, DELETE acknowledges it");
    }
    let message = address.ok().and_then(|Path(address)| edge.resources.addresses.open_delivery(&address));
    let Some(message) = message else { return no_message() };
    let answered = if is_read { read(&edge, message).await } else { acknowledge(&edge, message).await };
    answered.unwrap_or_else(|refused| refused)
}

/// The message as it is pushed.
async fn read(edge: &Edge, message: MessageRef) -> Result<Response, Response> {
    let Some(message) = edge.ask("read", edge.resources.link.read(message)).await? else {
        return Err(no_message());
    };
    let resource = Resource::Subscription(message.to);
    let standing = edge.ask("look up", edge.resources.link.look_up(resource)).await?;
    let link = standing.endpoint.as_deref().and_then(push::link_to).ok_or_else(no_message)?;
    let answer = push::answer(&message, &link).ok_or_else(unavailable)?;
    Ok(answer.map(|()| Body::from(message.content.body.clone())))
}

async fn acknowledge(edge: &Edge, message: MessageRef) -> Result<Response, Response> {
    match edge.ask("acknowledge", edge.resources.link.acknowledge(message)).await? {
        Cancelled::Ended => Ok(empty(StatusCode::NO_CONTENT)),
        Cancelled::Gone => Err(no_message()),
    }
}
