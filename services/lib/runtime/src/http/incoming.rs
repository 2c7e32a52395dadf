//! The body of a request as it comes from the connection, whichever stack serves the connection.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use hyper::body::{Body, Frame, SizeHint};

/// The body of a request.
pub(super) enum Incoming {
    /// From hyper.
    Hyper(hyper::body::Incoming),
    /// From a stream of an HTTP/2 connection that can push.
    Stream {
        octets: RecvStream,
        /// Length announced by the client.
        length: Option<u64>,
    },
}

impl Incoming {
    /// The body of a stream with these fields. What comes is held against an announced length by `h2`.
    pub(super) fn of_stream(octets: RecvStream, fields: &HeaderMap) -> Self {
        let length = fields.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Self::Stream { octets, length }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let octets = match &mut *self {
            Self::Hyper(body) => return Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Stream { octets, .. } => octets,
        };
        match ready!(octets.poll_data(context)) {
            Some(Ok(data)) => {
                // The octets are the route's from here on; an error means that the stream is closed already.
                let _ = octets.flow_control().release_capacity(data.len());
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            // The client has what it wanted (RFC 9113 section 8.1).
            Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) => Poll::Ready(None),
            Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            None => match ready!(octets.poll_trailers(context)) {
                Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(None) => Poll::Ready(None),
                Err(error) => Poll::Ready(Some(Err(error.into()))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Hyper(body) => body.is_end_stream(),
            Self::Stream { octets, .. } => octets.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Hyper(body) => body.size_hint(),
            Self::Stream { length, .. } => length.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
