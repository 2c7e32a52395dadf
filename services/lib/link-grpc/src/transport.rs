//! Making and serving of connections between services, with their keep-alive and bounds. The calls themselves are not
//! here.

use std::time::Duration;

use pushgrid_runtime::Shutdown;
use pushgrid_runtime::config::Reader;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};

/// Silence on a connection before a keep-alive ping (HTTP/2 PING).
const KEEPALIVE: Duration = Duration::from_secs(2);

/// Deadline for the answer to a ping.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(3);

/// Most concurrent requests of one connection at a listener; more wait at the client.
const STREAMS: u32 = 1024;

/// Largest message of the protocol, in octets. Frames and batches are far smaller: the bound keeps a foreign client
/// from making this process allocate.
pub(crate) const MESSAGE: usize = 16 << 20;

/// Failure of a listener.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve gRPC")]
pub struct ServeError(#[from] tonic::transport::Error);

/// Makes a server.
pub(crate) fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
        .max_concurrent_streams(STREAMS)
}

/// Incoming connections, without Nagle's delay.
pub(crate) fn incoming(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}

/// Drives a server that ends by itself when `shutdown` drains and the other sides have closed. Drops the server after
/// `finish`, or when `shutdown` stops.
pub(crate) async fn drive(
    serving: impl Future<Output = Result<(), tonic::transport::Error>>,
    shutdown: Shutdown,
    finish: Duration,
) -> Result<(), ServeError> {
    let overdue = async {
        shutdown.draining().await;
        tokio::time::sleep(finish).await;
    };
    tokio::select! {
        served = serving => Ok(served?),
        () = shutdown.stopping() => Ok(()),
        () = overdue => Ok(()),
    }
}

/// Endpoint of the member at `address`; `None` unless `address` is `host:port`.
pub(crate) fn endpoint(address: &str, connect_timeout: Duration) -> Option<Endpoint> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
    Some(
        endpoint
            .connect_timeout(connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_ANSWER)
            .keep_alive_while_idle(true),
    )
}

/// Reads the deadline for connecting to another service.
pub(crate) fn read_connect_timeout(reader: &mut Reader) -> Duration {
    reader.duration(
        "grid.connect_timeout",
        "2s",
        Duration::from_millis(10)..=Duration::from_mins(1),
        "Longest time for making a connection to another service of the grid.",
    )
}

/// Connection made on first use, and again after a break.
pub(crate) fn lazy(address: &str, connect_timeout: Duration) -> Option<Channel> {
    Some(endpoint(address, connect_timeout)?.connect_lazy())
}
