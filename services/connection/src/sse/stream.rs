//! The body of an event stream: octets from the task of a connection to the task of its HTTP connection.
//!
//! Bounded: the writer waits until the HTTP connection has room. Octets that were taken are on their way to the operating
//! system; `runtime::http` closes a connection whose client does not read them.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hyper::body::{Body, Frame};
use parking_lot::Mutex;

/// Octets to gather before the reader has to take them: a batch of messages goes out in few system calls.
const ROOM: usize = 4096;

/// A new stream.
pub(super) fn new() -> (Writer, Reader) {
    let shared = Arc::new(Shared::default());
    (Writer(Arc::clone(&shared)), Reader(shared))
}

/// The side of the connection; its drop ends the stream.
pub(super) struct Writer(Arc<Shared>);

/// The side of HTTP; its drop tells that nobody reads any more.
pub(crate) struct Reader(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    writer: AtomicWaker,
    reader: AtomicWaker,
}

#[derive(Default)]
struct State {
    untaken: Vec<u8>,
    ended: bool,
    unread: bool,
}

/// Nobody reads any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

impl Writer {
    /// Ready when something more can be written.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<Result<(), Gone>> {
        self.poll(cx, |state| state.untaken.len() < ROOM)
    }

    /// Ready when all has been taken.
    pub(super) fn poll_taken(&self, cx: &Context<'_>) -> Poll<Result<(), Gone>> {
        self.poll(cx, |state| state.untaken.is_empty())
    }

    /// Ready when nobody reads any more.
    pub(super) fn poll_gone(&self, cx: &Context<'_>) -> Poll<Gone> {
        let gone = ready!(self.poll(cx, |_| false));
        if gone.is_err() { Poll::Ready(Gone) } else { Poll::Pending }
    }

    /// Writes, after [`Self::poll_room`].
    pub(super) fn write(&self, text: &str) {
        self.0.state.lock().untaken.extend_from_slice(text.as_bytes());
        self.0.reader.wake();
    }

    fn poll(&self, cx: &Context<'_>, ready: impl FnOnce(&State) -> bool) -> Poll<Result<(), Gone>> {
        // First the waker, then the look: what comes in between wakes.
        self.0.writer.register(cx.waker());
        let state = self.0.state.lock();
        if state.unread {
            Poll::Ready(Err(Gone))
        } else if ready(&state) {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.state.lock().ended = true;
        self.0.reader.wake();
    }
}

impl Body for Reader {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.reader.register(cx.waker());
        let taken = {
            let mut state = self.0.state.lock();
            if state.untaken.is_empty() {
                return if state.ended { Poll::Ready(None) } else { Poll::Pending };
            }
            std::mem::take(&mut state.untaken)
        };
        self.0.writer.wake();
        Poll::Ready(Some(Ok(Frame::data(taken.into()))))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.state.lock().unread = true;
        self.0.writer.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::testing::within;

    async fn read(reader: &mut Reader) -> Option<Bytes> {
        let frame = poll_fn(|cx| Pin::new(&mut *reader).poll_frame(cx)).await;
        frame.map(|Ok(frame)| frame.into_data().unwrap())
    }

    #[tokio::test]
    async fn what_is_written_is_read_and_then_there_is_room_again() {
        let (writer, mut reader) = new();
        poll_fn(|cx| writer.poll_taken(cx)).await.unwrap();
        let part = "x".repeat(ROOM / 2);
        for _ in 0..2 {
            poll_fn(|cx| writer.poll_room(cx)).await.unwrap();
            writer.write(&part);
        }
        assert!(poll_fn(|cx| Poll::Ready(writer.poll_room(cx))).await.is_pending());
        assert_eq!(read(&mut reader).await.unwrap().len(), ROOM);
        poll_fn(|cx| writer.poll_taken(cx)).await.unwrap();
        writer.write("last");
        drop(writer);
        assert_eq!(read(&mut reader).await.unwrap(), "last");
        assert_eq!(read(&mut reader).await, None);
    }

    #[tokio::test]
    async fn a_writer_learns_that_nobody_reads_any_more() {
        let (writer, reader) = new();
        assert!(poll_fn(|cx| Poll::Ready(writer.poll_gone(cx))).await.is_pending());
        let waiting = tokio::spawn(async move { poll_fn(|cx| writer.poll_gone(cx)).await });
        tokio::task::yield_now().await;
        drop(reader);
        assert_eq!(within(waiting).await.unwrap(), Gone);
    }
}
