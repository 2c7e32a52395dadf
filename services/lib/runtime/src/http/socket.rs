use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

/// An accepted TCP connection. It counts as one of its listener's connections until it is dropped.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    _room: OwnedSemaphorePermit,
}

impl Socket {
    pub(super) const fn new(stream: TcpStream, room: OwnedSemaphorePermit) -> Self {
        Self { stream, _room: room }
    }

    /// The address of the client, or of the proxy before it.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

/// The socket of an upgraded connection, without the buffers and boxes that served HTTP on it, and the octets that
/// had been read beyond the request. Fails, giving the connection back, when it does not come from
/// [`serve`](super::serve) over HTTP/1.1.
pub fn into_socket(upgraded: Upgraded) -> Result<(Socket, Bytes), Upgraded> {
    let parts = downcast::<TokioIo<Socket>>(upgraded)?;
    // A copy, for the octets may share the large buffer that they were read into.
    Ok((parts.io.into_inner(), Bytes::copy_from_slice(&parts.read_buf)))
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, octets)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
