use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use pushgrid_runtime::http;
use pushgrid_session::autopush::Close;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Sleep, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes, error::ProtocolError};

use crate::outbox::{Ending, Outbox};

/// Octets to read at once. Allocated with every connection, so no more than the frames of an idle user agent take;
/// the buffer grows for a larger frame.
const READ_BUFFER: usize = 512;

/// Octets to gather before they are written: a batch of notifications goes out in few system calls. Nothing is
/// allocated before the first write.
const WRITE_BUFFER: usize = 4096;

/// Above any frame that this service sends. Only a bound: nothing is written into a buffer that has not been emptied.
const WRITE_BUFFER_MAX: usize = 8 << 20;

/// Octets that are read and thrown away after a close.
const DISCARDED_MAX: usize = 1 << 20;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// We close it, and say why.
    Close(Close),
    /// The user agent has closed it.
    ByPeer,
    /// It broke.
    Broken,
    /// The user agent does not read.
    Unread,
    /// The node stops at once.
    Abandoned,
}

impl From<Ending> for End {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Draining => Self::Close(Close::Restarting),
            Ending::Resync => Self::Close(Close::Resync),
            Ending::Superseded => Self::Close(Close::Superseded),
            Ending::Abandoned => Self::Abandoned,
        }
    }
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        match error {
            Error::Capacity(_) => Self::Close(Close::TooLarge),
            Error::Utf8(_) => Self::Close(Close::NotUtf8),
            Error::WriteBufferFull(_) => Self::Close(Close::Internal),
            Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
            | Error::Io(_)
            | Error::Tls(_)
            | Error::Url(_)
            | Error::Http(_)
            | Error::HttpFormat(_) => Self::Broken,
            Error::Protocol(_) | Error::AttackAttempt => Self::Close(Close::BadFrame),
        }
    }
}

/// What a write waits for.
#[derive(Debug, Clone, Copy)]
enum Until {
    /// There is room for one more frame.
    Room,
    /// All is handed to the operating system.
    Flushed,
}

/// A WebSocket in as little memory as it can be: no split, no channel, buffers that begin small.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: WebSocketStream<http::Socket>,
    write_timeout: Duration,
}

impl Socket {
    /// A socket after the upgrade. `read` is what came with it.
    pub(crate) async fn new(
        stream: http::Socket,
        read: Bytes,
        max_frame: usize,
        write_timeout: Duration,
    ) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(WRITE_BUFFER_MAX)
            .max_message_size(Some(max_frame))
            .max_frame_size(Some(max_frame));
        let stream =
            WebSocketStream::from_partially_read(stream, read.into(), Role::Server, Some(config)).await;
        Self { stream, write_timeout }
    }

    /// The next frame, as [`futures_util::Stream::poll_next`].
    pub(crate) fn poll_frame(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<Message, End>> {
        self.stream.poll_next_unpin(cx).map(|frame| match frame {
            Some(Ok(frame)) => Ok(frame),
            Some(Err(error)) => Err(error.into()),
            None => Err(End::Broken),
        })
    }

    /// The next frame, if it is there already.
    pub(crate) async fn frame_at_hand(&mut self) -> Option<Result<Message, End>> {
        poll_fn(|cx| match self.poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Some(frame)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    /// Returns when one more frame can be taken.
    pub(crate) async fn room(&mut self, outbox: &Outbox) -> Result<(), End> {
        self.wait(Until::Room, outbox).await
    }

    /// Takes a frame, after [`Self::room`]; [`Self::flush`] makes it leave.
    pub(crate) fn put(&mut self, frame: Message) -> Result<(), End> {
        self.stream.start_send_unpin(frame).map_err(End::from)
    }

    /// Returns when everything has left.
    pub(crate) async fn flush(&mut self, outbox: &Outbox) -> Result<(), End> {
        self.wait(Until::Flushed, outbox).await
    }

    /// Says why, and waits for the other side to close as well, but not for long. What still comes is thrown away:
    /// a socket that is closed with unread octets is reset, and the reason would be lost with it.
    pub(crate) async fn close(&mut self, why: Close, patience: Duration) {
        let frame =
            CloseFrame { code: CloseCode::from(why.code()), reason: Utf8Bytes::from_static(why.reason()) };
        let farewell = async {
            self.stream.send(Message::Close(Some(frame))).await.ok()?;
            let stream = self.stream.get_mut();
            stream.shutdown().await.ok()?;
            let mut thrown = [0; 512];
            let mut left = DISCARDED_MAX;
            while left > 0 {
                match stream.read(&mut thrown).await.ok()? {
                    0 => break,
                    count => left = left.saturating_sub(count),
                }
            }
            Some(())
        };
        // A box, for it is the largest future of a connection and needed once.
        let _ = Box::pin(timeout(patience, farewell)).await;
    }

    /// The fast way costs nothing; only a socket that is full gets a timer. A connection that is to end does not
    /// wait for it.
    async fn wait(&mut self, until: Until, outbox: &Outbox) -> Result<(), End> {
        let mut deadline: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|cx| {
            let ready = match until {
                Until::Room => self.stream.poll_ready_unpin(cx),
                Until::Flushed => self.stream.poll_flush_unpin(cx),
            };
            if let Poll::Ready(result) = ready {
                return Poll::Ready(result.map_err(End::from));
            }
            if outbox.poll_ending(cx, Ending::Draining).is_ready() {
                return Poll::Ready(Err(outbox.ending().map_or(End::Abandoned, End::from)));
            }
            let deadline = deadline.get_or_insert_with(|| Box::pin(sleep(self.write_timeout)));
            deadline.as_mut().poll(cx).map(|()| Err(End::Unread))
        })
        .await
    }
}
