//! The resources of user agents over HTTP (RFC 8030 sections 4, 6 and 7.3): subscriptions are made, read and ended, and
//! messages acknowledged, each by an address of its own that its user agent alone knows.
//!
//! | resource | method | answer |
//! |---|---|---|
//! | `/subscribe` | `POST` | 201: `Location` is the subscription, `Link` the push resource for the application server |
//! | `/s/...`, a subscription | `GET` | its messages, by server push, or as a stream for those who accept `text/event-stream` |
//! | | `DELETE` | 204: the subscription has ended with all that waits |
//! | `/set/...`, all of a user agent | `GET` | the messages of all its subscriptions, later ones too, as above |
//! | | `DELETE` | 204: all have ended |
//! | `/r/...`, a message | `GET` | 200: the message, which is not acknowledged by that |
//! | | `DELETE` | 204: the message is acknowledged, and does not come again |
//! | `/receipts` | `POST` | 201: `Location` is a receipt subscription, for an application server |
//! | `/receipts/...`, a receipt subscription | `GET` | its receipts, as messages above |
//! | | `DELETE` | 204: it has ended with all that waits |
//! | `/receipts/.../...`, receipts | `DELETE` | 204: they are acknowledged, and do not come again |
//!
//! A user agent here is like any other: a subscription is one of its channels. Nothing shows that two subscriptions are
//! of one device, unless the device says so by naming its set when it subscribes. Reading a subscription is the matter of a protocol: `push`, as RFC 8030 has it, or `sse`.

mod body;
mod message;
mod preferences;
mod read;
mod receipts;
mod sets;
mod subscribe;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::any;
use http::{Method, StatusCode};
use pushgrid_crypto::ResourceAddresses;
use pushgrid_store::{Cancelled, LinkError, Resource, ResourceLink};
use tokio::time::timeout;

pub use receipts::Receipts;

use crate::monitor::Form;
use crate::refusal::{self, refuse};
use crate::shared::Shared;

/// Dependencies of user agents over HTTP.
#[derive(Debug)]
pub struct Resources {
    /// Ends messages and subscriptions at their router.
    pub link: Arc<dyn ResourceLink>,
    /// Seals the addresses of subscriptions and messages.
    pub addresses: ResourceAddresses,
    /// Receipts for application servers.
    pub receipts: Receipts,
}

/// State shared by all requests.
pub(crate) struct Edge {
    shared: Arc<Shared>,
    resources: Resources,
}

impl Edge {
    pub(crate) const fn new(shared: Arc<Shared>, resources: Resources) -> Self {
        Self { shared, resources }
    }

    /// Waits for a router, but not longer than it may take. Fails with the answer for the client.
    async fn ask<T>(
        &self,
        call: &'static str,
        asked: impl Future<Output = Result<T, LinkError>>,
    ) -> Result<T, Response> {
        let answer = timeout(self.shared.config.router_timeout, asked).await;
        answer.unwrap_or(Err(LinkError::Unavailable)).map_err(|error| {
            tracing::debug!(call, %error, "the router did not do what it was asked");
            match error {
                LinkError::TooManySubscriptions { .. } => {
                    let text =
                        format!("{error}: end one of the set, or begin another set by leaving Link out");
                    refuse(StatusCode::TOO_MANY_REQUESTS, &text)
                }
                LinkError::Unavailable | LinkError::Store(_) => unavailable(),
            }
        })
    }
}

/// The routes of user agents over HTTP.
pub(crate) fn routes(edge: Arc<Edge>) -> Router {
    Router::new()
        .route("/subscribe", any(subscribe::subscribe))
        .route("/s/{address}", any(subscription))
        .route("/set/{address}", any(set))
        .route("/r/{address}", any(message::message))
        .route("/receipts", any(receipts::open))
        .route("/receipts/{address}", any(receipts::subscription))
        .route("/receipts/{address}/{ids}", any(receipts::receipts))
        .with_state(edge)
}

async fn subscription(
    State(edge): State<Arc<Edge>>,
    address: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    if *request.method() != Method::GET && *request.method() != Method::DELETE {
        return refusal::method("GET, DELETE", "GET reads the messages of a subscription, DELETE ends it");
    }
    let id = address.ok().and_then(|Path(address)| edge.resources.addresses.open_subscription(&address));
    let Some(id) = id else { return no_subscription() };
    if *request.method() == Method::GET {
        return read::read(&edge, Resource::Subscription(id), Form::Messages, request).await;
    }
    //= RFC 8030 section 7.3.1
    //# If a specific push message subscription that is a member of a subscription set is expired or
    //# removed, then it MUST also be removed from its subscription set.
    match edge.ask("unsubscribe", edge.resources.link.unsubscribe(id)).await {
        Ok(Cancelled::Ended) => empty(StatusCode::NO_CONTENT),
        Ok(Cancelled::Gone) => no_subscription(),
        Err(unavailable) => unavailable,
    }
}

async fn set(
    State(edge): State<Arc<Edge>>,
    address: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    if *request.method() != Method::GET && *request.method() != Method::DELETE {
        return refusal::method(
            "GET, DELETE",
            "GET reads the messages of all subscriptions, DELETE ends all",
        );
    }
    let of = address.ok().and_then(|Path(address)| edge.resources.addresses.open_set(&address));
    let Some(of) = of else { return no_subscription() };
    if *request.method() == Method::GET {
        return read::read(&edge, Resource::Set(of), Form::Messages, request).await;
    }
    //= RFC 8030 section 7.3.1
    //# This MUST also remove all push message subscriptions in the set.
    match edge.ask("end set", edge.resources.link.end_set(of)).await {
        Ok(Cancelled::Ended) => empty(StatusCode::NO_CONTENT),
        Ok(Cancelled::Gone) => no_subscription(),
        Err(unavailable) => unavailable,
    }
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

fn no_subscription() -> Response {
    refuse(StatusCode::NOT_FOUND, "there is no such subscription (any more): subscribe again at /subscribe")
}

fn no_message() -> Response {
    refuse(StatusCode::NOT_FOUND, "there is no such message (any more): it was acknowledged, or has ended")
}

fn unavailable() -> Response {
    refusal::unavailable("the service cannot do this just now; try again")
}

fn no_receipts() -> Response {
    refuse(
        StatusCode::NOT_FOUND,
        "there is no such receipt subscription (any more): the next message without one in Link gets a new one",
    )
}
