//! The WebSocket: frames in and out, errors as ends of the connection, and the closing handshake.

use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use pushgrid_runtime::http;
use pushgrid_session::autopush::Close;
use pushgrid_types::CloseReason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes, error::ProtocolError};

use crate::end::End;

/// Octets to read at once. Allocated with every connection, so no more than the frames of an idle user agent
/// take; the buffer grows for a larger frame.
const READ_BUFFER: usize = 512;

/// Octets to gather before they are written: a batch of notifications goes out in few system calls. Nothing
/// is allocated before the first write.
const WRITE_BUFFER: usize = 4096;

/// Bound above any frame of this service. Never allocated ahead: nothing is written into a buffer before the
/// last write has emptied it.
const WRITE_BUFFER_MAX: usize = 8 << 20;

/// Octets read and thrown away after a close.
const DISCARDED_MAX: usize = 1 << 20;

impl From<Error> for End<Close> {
    fn from(error: Error) -> Self {
        match error {
            Error::Capacity(_) => Self::Fault(Close::TooLarge),
            Error::Utf8(_) => Self::Fault(Close::NotUtf8),
            Error::WriteBufferFull(_) => Self::Fault(Close::Internal),
            Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
            | Error::Io(_)
            | Error::Tls(_)
            | Error::Url(_)
            | Error::Http(_)
            | Error::HttpFormat(_) => Self::For(CloseReason::Io),
            Error::Protocol(_) | Error::AttackAttempt => Self::Fault(Close::BadFrame),
        }
    }
}

/// A WebSocket in as little memory as possible: no split, no channel, buffers of small initial size.
#[derive(Debug)]
pub(super) struct Socket {
    stream: WebSocketStream<http::Socket>,
}

impl Socket {
    /// A socket after the upgrade. `read` holds the octets received together with the upgrade.
    pub(super) async fn new(stream: http::Socket, read: Bytes, max_frame: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(WRITE_BUFFER_MAX)
            .max_message_size(Some(max_frame))
            .max_frame_size(Some(max_frame));
        let stream =
            WebSocketStream::from_partially_read(stream, read.into(), Role::Server, Some(config)).await;
        Self { stream }
    }

    /// The next frame, as [`futures_util::Stream::poll_next`].
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, End<Close>>> {
        self.stream.poll_next_unpin(cx).map(|frame| match frame {
            Some(Ok(frame)) => Ok(frame),
            Some(Err(error)) => Err(error.into()),
            None => Err(End::For(CloseReason::Io)),
        })
    }

    /// Ready when one more frame can be taken.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End<Close>>> {
        self.stream.poll_ready_unpin(cx).map_err(End::from)
    }

    /// Takes a frame, after [`Self::poll_room`]; [`Self::poll_flush`] makes it leave.
    pub(super) fn put(&mut self, frame: Message) -> Result<(), End<Close>> {
        self.stream.start_send_unpin(frame).map_err(End::from)
    }

    /// Ready when everything has left.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End<Close>>> {
        self.stream.poll_flush_unpin(cx).map_err(End::from)
    }

    /// Says why, and waits for the other side to close as well. Input is thrown away meanwhile: closing a
    /// socket with unread octets resets the connection, and the reason would be lost.
    pub(super) async fn close(&mut self, why: Close) {
        // An error here is the end that was wanted.
        let _ = self.try_close(why).await;
    }

    async fn try_close(&mut self, why: Close) -> Result<(), Error> {
        let frame =
            CloseFrame { code: CloseCode::from(why.code()), reason: Utf8Bytes::from_static(why.reason()) };
        self.stream.send(Message::Close(Some(frame))).await?;
        let stream = self.stream.get_mut();
        stream.shutdown().await?;
        let mut thrown = [0; 512];
        let mut left = DISCARDED_MAX;
        while left > 0 {
            match stream.read(&mut thrown).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        Ok(())
    }
}
