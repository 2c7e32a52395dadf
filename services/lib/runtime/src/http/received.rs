//! The body of a request for a route, and the disposal of the unread rest.
//!
//! Invariant: an unfinished HTTP/1.1 body is handed back to the connection, which discards the rest within bounds or
//! closes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Version, header};
use hyper::body::{Frame, SizeHint};

use super::activity::Activity;
use super::incoming::Incoming;
use super::rest::Rest;

/// The body of a request. Over HTTP/1.1, the unread part goes back to the connection.
pub(super) struct Received {
    /// `None` after the end.
    body: Option<Incoming>,
    activity: Arc<Activity>,
    /// True while the client waits for 100 (Continue), which the first poll of the body sends.
    asks_first: bool,
    comes_back: bool,
}

impl Received {
    pub(super) fn new(
        body: Incoming,
        version: Version,
        fields: &HeaderMap,
        activity: &Arc<Activity>,
    ) -> Self {
        activity.unsettle();
        let asks_first = fields
            .get_all(header::EXPECT)
            .iter()
            .any(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        Self {
            body: Some(body),
            activity: Arc::clone(activity),
            asks_first,
            comes_back: version <= Version::HTTP_11,
        }
    }

    fn end(&mut self) {
        self.body = None;
        self.activity.settle();
    }
}

impl hyper::body::Body for Received {
    type Data = Bytes;
    type Error = <Incoming as hyper::body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        // This poll makes hyper send 100 (Continue): from here on the client sends.
        self.asks_first = false;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = Pin::new(&mut *body).poll_frame(context);
        let at_end = body.is_end_stream();
        let ended = match &frame {
            Poll::Pending => false,
            Poll::Ready(Some(Ok(_))) => at_end,
            Poll::Ready(None) => true,
            Poll::Ready(Some(Err(_broken))) => {
                if self.comes_back {
                    self.activity.give_up_reading();
                }
                true
            }
        };
        if ended {
            self.end();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        match self.body.take() {
            Some(body) if self.comes_back => {
                self.activity.leave(Rest { body, asks_first: self.asks_first });
            }
            Some(_) => self.activity.settle(),
            None => {}
        }
    }
}
