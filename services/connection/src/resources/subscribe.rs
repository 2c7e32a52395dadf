//! `POST` to the subscribe resource (RFC 8030 section 4), perhaps for one application server alone (RFC 8292 section
//! 4.1).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LINK, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use pushgrid_session::options;
use pushgrid_store::Registered;
use pushgrid_types::{ChannelId, Restriction, UserAgentId};

use super::{Edge, body, empty, sets, unavailable};
use crate::refusal::{self, refuse};

/// Largest body of options, in octets: a key takes about a hundred.
const OPTIONS_MAX: usize = 4096;

/// Makes a subscription of the set that the request names, or of a new one. The body is read only if it is of the media
/// type of options.
pub(super) async fn subscribe(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    if *request.method() != Method::POST {
        return refusal::method("POST", "POST makes a subscription");
    }
    let (head, body) = request.into_parts();
    let restriction = match restriction(&edge, &head.headers, body).await {
        Ok(restriction) => restriction,
        Err(refused) => return refused,
    };
    match register(&edge, &head, restriction).await {
        Ok(registered) => created(&edge, &registered).unwrap_or_else(unavailable),
        Err(refused) => refused,
    }
}

async fn register(edge: &Edge, head: &Parts, restriction: Restriction) -> Result<Registered, Response> {
    let shared = &edge.shared;
    let channel = ChannelId::random(&*shared.rng);
    //= RFC 8030 section 4.1
    //# A push service MUST return a 400 (Bad Request) status code for requests that contain an invalid
    //# subscription set.
    let Some(set) = sets::named(head, &edge.resources.addresses).map_err(|_| invalid_set())? else {
        let user_agent = UserAgentId::random(&*shared.rng);
        return edge.ask("register", shared.router.register(user_agent, channel, restriction)).await;
    };
    let joined = edge.ask("join", edge.resources.link.join(set, channel, restriction)).await?;
    joined.ok_or_else(invalid_set)
}

fn invalid_set() -> Response {
    refuse(
        StatusCode::BAD_REQUEST,
        "Link names no subscription set of this service, or one that has ended: leave it out to begin another one",
    )
}

/// The credential that senders will need.
async fn restriction(edge: &Edge, fields: &HeaderMap, body: Body) -> Result<Restriction, Response> {
    let media = fields.get(CONTENT_TYPE).and_then(|media| media.to_str().ok());
    if !media.is_some_and(options::is_options) {
        return Ok(Restriction::Open);
    }
    let body = body::read(edge, body, OPTIONS_MAX).await?;
    options::restriction(&body).map_err(|fault| refuse(StatusCode::BAD_REQUEST, &fault.to_string()))
}

/// The answer. Each `Link` has the only form that every client of RFC 8030 reads: no comma, one semicolon, and quotes.
fn created(edge: &Edge, registered: &Registered) -> Option<Response> {
    let address = edge.resources.addresses.seal_subscription(&registered.subscription.id);
    let link = format!("<{}>; rel=\"urn:ietf:params:push\"", registered.endpoint);
    let mut response = empty(StatusCode::CREATED);
    let fields = response.headers_mut();
    //= RFC 8030 section 4
    //# A URI for the push message subscription resource that was created in response to the request
    //# MUST be returned in the Location header field.
    fields.insert(LOCATION, HeaderValue::try_from(format!("/s/{address}")).ok()?);
    //= RFC 8030 section 4
    //# The push service MUST provide a URI for the push resource corresponding to the push message
    //# subscription in a link relation of type "urn:ietf:params:push".
    fields.append(LINK, HeaderValue::try_from(link).ok()?);
    let set = edge.resources.addresses.seal_set(registered.subscription.id.user_agent);
    let set = format!("<{}{set}>; rel=\"urn:ietf:params:push:set\"", sets::PATH);
    fields.append(LINK, HeaderValue::try_from(set).ok()?);
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}
