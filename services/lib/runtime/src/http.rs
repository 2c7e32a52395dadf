//! Serving HTTP/1.1 and HTTP/2 without TLS (h2c by prior knowledge) from one listener, with bounds on everything
//! that a client can make grow.
//!
//! What a slow or hostile client meets: too long a header section is answered with 431; a request that does not
//! come in time, and a connection that idles, are closed; streams that are opened and reset in haste end their
//! connection (GOAWAY, `ENHANCE_YOUR_CALM`); beyond the limit of connections, clients wait in the kernel's queue.
//! The time that a request's *body* may take is the business of the route that reads it.
//!
//! Invariant: a connection is one task, and it ends when the connection is upgraded: what is left is the [`Socket`].
//! Invariant: an upgraded connection counts as a connection for as long as its socket lives.

mod accept;
mod bind;
mod connection;
mod limits;
mod socket;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::Shutdown;

pub use bind::{BindError, bind};
pub use limits::Limits;
pub use socket::{Socket, into_socket};

use connection::Server;

/// Serves `app` on `listener` until the process drains. Then: no new connections, requests in flight are finished,
/// idle connections are closed. When it stops, what is left is dropped. Returns when every connection that has not
/// been upgraded is closed; those that have belong to whoever upgraded them.
///
/// A panic of a route closes its connection (HTTP/1.1) or resets its stream (HTTP/2), and nothing else.
pub async fn serve(listener: TcpListener, app: Router, limits: Limits, shutdown: Shutdown) {
    let tasks = TaskTracker::new();
    let server = Arc::new(Server::new(app, &limits, shutdown.clone(), tasks.clone()));
    accept::until_drained(listener, limits.max_connections, &shutdown, |socket| {
        drop(tasks.spawn(Arc::clone(&server).serve(socket)));
    })
    .await;
    tasks.close();
    tasks.wait().await;
}
