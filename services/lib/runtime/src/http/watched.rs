//! The socket between HTTP and TCP: reports the client's activity, and closes without losing the last answer.
//!
//! Invariant: a lingering socket is bounded in time and octets.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::Socket;
use super::activity::Activity;

/// Time of a socket after the end of the connection, for the client to read the last answer.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// Largest number of octets discarded meanwhile.
const LINGER_MAX: usize = 1 << 20;

/// The socket of a connection: reports to [`Activity`] when the client sends, and closes so that the client can still
/// read the last answer (RFC 9112 section 9.6).
pub(super) struct Watched {
    socket: Socket,
    activity: Arc<Activity>,
    /// Octets read, and given back to be read again.
    ahead: Bytes,
    linger: Option<Linger>,
}

struct Linger {
    timer: Pin<Box<Sleep>>,
    left: usize,
}

impl Watched {
    pub(super) const fn new(socket: Socket, activity: Arc<Activity>) -> Self {
        Self { socket, activity, ahead: Bytes::new(), linger: None }
    }

    /// Gives octets back, to be read again before all others.
    pub(super) fn put_back(&mut self, octets: &[u8]) {
        self.ahead = Bytes::copy_from_slice(octets);
    }

    pub(super) fn into_socket(self) -> Socket {
        self.socket
    }
}

/// The socket of an upgraded connection, without the buffers and boxes that served HTTP, and the octets already read
/// beyond the request. Fails, giving the connection back, unless the connection comes from [`serve`](super::serve)
/// over HTTP/1.1.
pub fn into_socket(upgraded: Upgraded) -> Result<(Socket, Bytes), Upgraded> {
    let parts = downcast::<TokioIo<Watched>>(upgraded)?;
    // A copy, for the octets may share the large buffer into which they were read.
    Ok((parts.io.into_inner().into_socket(), Bytes::copy_from_slice(&parts.read_buf)))
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(into.remaining());
            into.put_slice(&self.ahead.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let before = into.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, into);
        if let Some(octets) = into.filled().get(before..).filter(|octets| !octets.is_empty()) {
            self.activity.heard(octets);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, octets);
        self.activity.socket_takes(written.is_ready());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, octets);
        self.activity.socket_takes(written.is_ready());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    /// Ends the writing side, then waits, within bounds, until the client ends its own, discarding its octets.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, activity, linger, .. } = &mut *self;
        if linger.is_none() {
            ready!(Pin::new(&mut *socket).poll_shutdown(context))?;
            if !activity.lingers() {
                return Poll::Ready(Ok(()));
            }
        }
        let linger =
            linger.get_or_insert_with(|| Linger { timer: Box::pin(sleep(LINGER_TIME)), left: LINGER_MAX });
        while linger.left > 0 && linger.timer.as_mut().poll(context).is_pending() {
            let mut thrown = [0; 4096];
            let mut thrown = ReadBuf::new(&mut thrown);
            let read = ready!(Pin::new(&mut *socket).poll_read(context, &mut thrown));
            let count = thrown.filled().len();
            if read.is_err() || count == 0 {
                break;
            }
            linger.left = linger.left.saturating_sub(count);
        }
        Poll::Ready(Ok(()))
    }
}
