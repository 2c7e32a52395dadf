//! Serving HTTP/1.1 and HTTP/2 without TLS (h2c by prior knowledge) from one listener, with bounds on everything
//! under a client's influence.
//!
//! A slow or hostile client meets these bounds: too long a header section is answered with 431; the connection is
//! closed when a request does not come in time, when nothing happens, and when answers are not taken; streams opened
//! and reset in haste end the connection (GOAWAY, `ENHANCE_YOUR_CALM`); beyond the limit of connections, clients wait
//! in the kernel's queue, and shortly before, idle ones have to go sooner. A request with a missing or malformed host
//! is answered 400. The time for a request's *body* is the business of the route.
//!
//! Invariant: an HTTP/1.1 connection is closed by an answer only if the answer says `Connection: close` and the
//! client can still read the answer: the rest of a body that a route left is read here, within bounds.
//! Invariant: a connection is one task, which ends with an upgrade: only the [`Socket`] is left.
//! Invariant: an upgraded connection counts as a connection for as long as the socket lives.

mod accept;
mod activity;
mod answer;
mod bind;
mod connection;
mod fields;
mod framing;
mod host;
mod http2;
mod incoming;
mod limits;
mod preface;
mod push;
mod received;
mod rest;
mod socket;
mod watched;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::Shutdown;

pub use bind::{BindError, bind};
pub use fields::{InvalidLink, linked, preference};
pub use limits::Limits;
pub use push::{Pushed, Pusher};
pub use socket::Socket;
pub use watched::into_socket;

use connection::Server;

/// Serves `app` on `listener` until the process drains. Then: no new connections, requests in flight are finished,
/// idle connections are closed, and a client still sending gets [`Limits::finish_timeout`]. When the process stops,
/// the rest is dropped. Returns once every connection is closed, except for upgraded ones, which belong to the
/// upgrading route.
///
/// A panic of a route closes the connection (HTTP/1.1) or resets the stream (HTTP/2), and nothing else.
pub async fn serve(listener: TcpListener, app: Router, limits: Limits, shutdown: Shutdown) {
    serve_with(listener, app, limits, shutdown, false).await;
}

/// As [`serve`], with a [`Pusher`] in the extensions of each `GET` over HTTP/2: HTTP/2 is then served without hyper, which
/// has no server push.
pub async fn serve_with_push(listener: TcpListener, app: Router, limits: Limits, shutdown: Shutdown) {
    serve_with(listener, app, limits, shutdown, true).await;
}

async fn serve_with(listener: TcpListener, app: Router, limits: Limits, shutdown: Shutdown, pushes: bool) {
    let tasks = TaskTracker::new();
    let server = Arc::new(Server::new(app, &limits, shutdown.clone(), tasks.clone(), pushes));
    let crowd = |crowded| server.crowd(crowded);
    accept::until_drained(listener, limits.max_connections, &shutdown, crowd, |socket| {
        drop(tasks.spawn(Arc::clone(&server).serve(socket)));
    })
    .await;
    tasks.close();
    tasks.wait().await;
}
