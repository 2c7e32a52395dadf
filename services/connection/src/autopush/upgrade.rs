//! The handshake from HTTP to WebSocket (RFC 6455 section 4.2), and the answer to every other request.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use http::header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use pushgrid_runtime::http::into_socket;
use pushgrid_runtime::spans;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use super::socket::Socket;
use super::{Autopush, Edge};
use crate::connection;
use crate::node::Slot;
use crate::protocol::Protocol;
use crate::refusal::{self, refuse};

/// Subprotocol asked for by Firefox. Strict clients fail without an echo of the name, and Firefox fails at
/// any other name.
const SUBPROTOCOL: &str = "push-notification";

/// Time limit for sending the answer to the upgrade.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// User agents connect at `/`, with any query.
pub(crate) fn routes(edge: Arc<Edge>) -> Router {
    Router::new().route("/", any(enter)).fallback(not_found).with_state(edge)
}

/// Answers the handshake of RFC 6455 section 4.2. Extensions are declined by silence; compression would cost
/// every idle connection a pair of windows, and push messages are encrypted anyway.
async fn enter(State(edge): State<Arc<Edge>>, mut request: Request) -> Response {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return refusal::method("GET, HEAD", "only GET, with an upgrade to WebSocket");
    }
    if !names(request.headers(), &UPGRADE, "websocket") {
        return upgrade_required(
            request.version(),
            "this is the WebSocket address of a push service: give it to a user agent, as dom.push.serverURL in Firefox",
        );
    }
    // The listener upgrades no request with a body.
    if !request.body().is_end_stream() {
        return refuse(StatusCode::BAD_REQUEST, "a WebSocket handshake has no body");
    }
    for field in [SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION] {
        if request.headers().get_all(&field).iter().count() > 1 {
            return refuse(StatusCode::BAD_REQUEST, &format!("{field} must come once"));
        }
    }
    let mut response = match create_response_with_body(plain(&mut request), Body::empty) {
        Ok(response) => response,
        Err(_) if request.headers().get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") => {
            return upgrade_required(
                request.version(),
                "WebSocket version 13 is the one that is spoken here",
            );
        }
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let Some(slot) = edge.shared.node.enter() else {
        return refusal::unavailable("the server is restarting; connect again");
    };
    if names(request.headers(), &SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    let upgrade = hyper::upgrade::on(&mut request);
    // A task of its own, so that what the handshake needed is gone when the connection is served.
    drop(edge.shared.connections.spawn(upgraded(Arc::clone(&edge), slot, upgrade)));
    response
}

async fn upgraded(edge: Arc<Edge>, slot: Slot, upgrade: OnUpgrade) {
    // A client that goes away before it has the answer is nobody's business.
    let Ok(Ok(upgraded)) = timeout(UPGRADE_TIMEOUT, upgrade).await else { return };
    let Ok((socket, read)) = into_socket(upgraded) else {
        let context = spans::Session { protocol: Autopush::NAME, session: slot.session(), user_agent: None };
        context
            .span()
            .in_scope(|| tracing::error!("an upgraded connection is not a socket of this listener"));
        return;
    };
    let shared = Arc::clone(&edge.shared);
    let socket = Socket::new(socket, read, shared.config.max_frame).await;
    let connection = connection::serve(Arc::clone(&shared), slot, Autopush::new(edge, socket));
    drop(shared.connections.spawn(connection));
}

async fn not_found() -> Response {
    refuse(StatusCode::NOT_FOUND, "there is nothing here: user agents connect at /")
}

fn upgrade_required(version: Version, message: &str) -> Response {
    let mut response = refuse(StatusCode::UPGRADE_REQUIRED, message);
    // HTTP/2 knows neither this field nor upgrades.
    if version <= Version::HTTP_11 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}

/// The request with one-member lists, wherever the received lists contain the member needed for an upgrade:
/// the check looks at one line of each, and at nothing but the member.
fn plain(request: &mut Request) -> &Request {
    for (list, word) in [(CONNECTION, "upgrade"), (UPGRADE, "websocket")] {
        let value = if names(request.headers(), &list, word) { word } else { "" };
        request.headers_mut().insert(list, HeaderValue::from_static(value));
    }
    request
}

/// Tells whether a list over any number of lines contains `word`.
fn names(headers: &HeaderMap, list: &HeaderName, word: &str) -> bool {
    let lines = headers.get_all(list).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|name| name.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests;
