//! Binding of listeners, with errors that tell an operator the remedy.
//!
//! Accepting is bounded elsewhere; here only the kernel's queue of connections is.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait in the kernel to be accepted. A burst of reconnecting user agents fits; Linux cuts it to
/// `net.core.somaxconn`, which is 4096 by default.
const BACKLOG: u32 = 4096;

/// Failure to listen on an address.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", advice(.source))]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// Error of the operating system.
    pub source: io::Error,
}

/// The fault and the remedy, in words.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there; stop it, or choose another port",
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address; choose one that it has",
        io::ErrorKind::PermissionDenied => "this user may not; choose a port from 1024 on",
        _ => "the operating system refused; see the cause",
    }
}

/// Listens on `address`; port 0 takes any free one. The port can be taken again right after the process ended
/// (`SO_REUSEADDR`).
// Asynchronous only so that it is called within the runtime that it needs.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    listen(address).map_err(|source| BindError { address, source })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_in_use_is_named_with_what_to_do() {
        let first = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(address).await.unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        let message = error.to_string();
        assert!(message.contains(&address.to_string()) && message.contains("another port"), "{message}");
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused_with_what_to_do() {
        // TEST-NET-1 (RFC 5737): no machine has it.
        let error = bind("192.0.2.1:0".parse().unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("choose one that it has"), "{error}");
    }
}
