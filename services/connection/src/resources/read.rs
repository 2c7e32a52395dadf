//! `GET` of a subscription or a set: its messages, by server push or as Server-Sent Events (RFC 8030 section 6).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, StatusCode};
use pushgrid_runtime::http::Pusher;
use pushgrid_store::{Resource, Standing};
use tokio::sync::oneshot;

use super::{Edge, empty, no_receipts, no_subscription, preferences, unavailable};
use crate::connection;
use crate::monitor::{Form, Head, Target};
use crate::node::Slot;
use crate::protocol::Protocol;
use crate::push::{self, Origin, Push};
use crate::refusal::{self, refuse};
use crate::sse::{Reader, Sse};

/// Field by which nginx is told to hand every part on at once.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Way of the messages to the client.
enum Way {
    Events,
    Push(Pusher, Origin),
}

/// Opens a connection of the resource's user agent, and answers when its router has, or at the end.
pub(super) async fn read(edge: &Edge, resource: Resource, form: Form, request: Request) -> Response {
    let Some(way) = Way::of(&request) else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "messages come by HTTP/2 server push, which this client does not take, or as Server-Sent Events: ask with Accept: text/event-stream",
        );
    };
    let is_brief = preferences::wants_no_wait(request.headers());
    let min_urgency = match preferences::min_urgency(request.headers()) {
        Ok(urgency) => urgency,
        Err(invalid) => return refuse(StatusCode::BAD_REQUEST, &invalid.to_string()),
    };
    let target = Target { resource, form, path: request.uri().path().to_owned(), is_brief, min_urgency };
    drop(request);
    let standing = match edge.ask("look up", edge.resources.link.look_up(resource)).await {
        Ok(standing) if !standing.has(&resource) => return gone(form),
        Ok(standing) if standing.has_webhook => {
            return refuse(
                StatusCode::CONFLICT,
                "these receipts are posted to a webhook, and cannot be read",
            );
        }
        // Its address is a capability for this subscription alone, and the session would have all messages.
        Ok(standing) if standing.members > 1 && matches!(resource, Resource::Subscription(_)) => {
            return refuse(
                StatusCode::CONFLICT,
                "the user agent has more subscriptions, which are read together: GET the set that the answer to its subscribe requests has in Link",
            );
        }
        Ok(standing) => standing,
        Err(unavailable) => return unavailable,
    };
    let Some(slot) = edge.shared.node.enter() else {
        return refusal::unavailable("the server is restarting; connect again");
    };
    match way {
        Way::Events => events(edge, slot, target).await,
        Way::Push(pusher, origin) => pushes(edge, slot, target, &standing, pusher, origin).await,
    }
}

impl Way {
    /// The way that the client takes: events where it asks for them, else server push.
    fn of(request: &Request) -> Option<Self> {
        if preferences::accepts_events(request.headers()) {
            return Some(Self::Events);
        }
        let pusher = request.extensions().get::<Pusher>().filter(|pusher| pusher.is_wanted())?;
        Some(Self::Push(pusher.clone(), Origin::of(request)?))
    }
}

impl Origin {
    fn of(request: &Request) -> Option<Self> {
        let uri = request.uri();
        let host = || Authority::try_from(request.headers().get(HOST)?.as_bytes()).ok();
        let authority = uri.authority().cloned().or_else(host)?;
        Some(Self { scheme: uri.scheme().cloned().unwrap_or(Scheme::HTTP), authority })
    }
}

async fn events(edge: &Edge, slot: Slot, target: Target) -> Response {
    let form = target.form;
    let receipts = edge.resources.receipts.form.clone();
    let (sse, reader, head) = Sse::new(target, edge.resources.addresses.clone(), receipts);
    serve(edge, slot, sse);
    match answer(head, form).await {
        Ok(()) => stream(reader),
        Err(response) => response,
    }
}

async fn pushes(
    edge: &Edge,
    slot: Slot,
    target: Target,
    standing: &Standing,
    pusher: Pusher,
    origin: Origin,
) -> Response {
    let deps = push::Deps {
        link: Arc::clone(&edge.resources.link),
        addresses: edge.resources.addresses.clone(),
        messages: edge.resources.receipts.form.messages.clone(),
        clock: Arc::clone(&edge.shared.clock),
    };
    let form = target.form;
    let (push, head) = Push::new(target, pusher, origin, standing.endpoint.as_deref(), deps);
    serve(edge, slot, push);
    answer(head, form).await.map_or_else(|response| response, |()| unavailable())
}

fn serve<P: Protocol>(edge: &Edge, slot: Slot, protocol: P) {
    drop(edge.shared.connections.spawn(connection::serve(Arc::clone(&edge.shared), slot, protocol)));
}

/// Waits for the head of the answer: fails with the whole answer, unless events follow.
async fn answer(head: oneshot::Receiver<Head>, form: Form) -> Result<(), Response> {
    match head.await {
        Ok(Head::Events) => Ok(()),
        Ok(Head::Pushed) => Err(empty(StatusCode::OK)),
        Ok(Head::Empty) => Err(empty(StatusCode::NO_CONTENT)),
        Ok(Head::Gone) => Err(gone(form)),
        Ok(Head::Unavailable) | Err(_) => Err(unavailable()),
    }
}

fn gone(form: Form) -> Response {
    match form {
        Form::Messages => no_subscription(),
        Form::Receipts => no_receipts(),
    }
}

fn stream(reader: Reader) -> Response {
    let mut response = Response::new(Body::new(reader));
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(BUFFERING, HeaderValue::from_static("no"));
    response
}
