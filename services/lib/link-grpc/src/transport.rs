//! How connections between services are made and served.

use std::time::Duration;

use pushgrid_runtime::Shutdown;
use pushgrid_runtime::config::Reader;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};

/// How long a connection may be silent before the other side is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(2);

/// How long it has to answer.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(3);

/// Requests that one connection may have under way at a listener; more wait at the client.
const STREAMS: u32 = 1024;

/// Largest message of the protocol, in octets. A frame or batch is far smaller: this keeps a stranger from making us
/// allocate.
pub(crate) const MESSAGE: usize = 16 << 20;

/// A listener ended.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve gRPC")]
pub struct ServeError(#[from] tonic::transport::Error);

/// A server of one connection's many requests.
pub(crate) fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
        .max_concurrent_streams(STREAMS)
}

/// The connections that come in.
pub(crate) fn incoming(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}

/// Drives a server that ends by itself when `shutdown` drains; drops it when `shutdown` stops.
pub(crate) async fn drive(
    serving: impl Future<Output = Result<(), tonic::transport::Error>>,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    tokio::select! {
        served = serving => Ok(served?),
        () = shutdown.stopping() => Ok(()),
    }
}

/// How a member at `address` is connected to. `None`: that is no `host:port`.
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

/// Reads how long making a connection between services may take.
pub(crate) fn read_connect_timeout(reader: &mut Reader) -> Duration {
    reader.duration(
        "grid.connect_timeout",
        "2s",
        Duration::from_millis(10)..=Duration::from_mins(1),
        "How long making a connection to another service of the grid may take.",
    )
}

/// A connection that is made when it is first needed, and again when it broke.
pub(crate) fn lazy(address: &str, connect_timeout: Duration) -> Option<Channel> {
    Some(endpoint(address, connect_timeout)?.connect_lazy())
}
