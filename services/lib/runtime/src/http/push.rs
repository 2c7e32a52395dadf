//! Server push of HTTP/2 (RFC 9113 section 8.4): answers to requests that a client has not made, beside the answer to one
//! that it has.
//!
//! Invariant: what waits to be sent is known to the octet's last owner: a pushed body counts until its frame is with the
//! operating system, or dropped.
//! Invariant: a client that has switched server push off, or has too many streams open, is promised nothing.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
use parking_lot::Mutex;

/// Error of `h2` for a promise with fields that HTTP/2 forbids, found only after the client's settings were asked.
const FORBIDDEN: &str = "malformed headers";

/// The way to push on the stream of a request: an extension of every `GET` over HTTP/2, where the listener pushes.
/// Clones share the stream.
#[derive(Clone)]
pub struct Pusher {
    exchange: Exchange,
    pushes: Arc<Pushes>,
    /// Bodies pushed on this stream and not sent yet.
    unsent: Arc<AtomicUsize>,
}

/// The answering side of a stream; `None` once the answer has begun, or the client has gone.
pub(super) type Exchange = Arc<Mutex<Option<SendResponse<Part>>>>;

/// A pushed answer. Cancelled on drop, unless it was sent.
pub struct Pushed {
    stream: SendStream<Part>,
    is_sent: Arc<AtomicBool>,
}

/// All pushes of a connection.
#[derive(Default)]
pub(super) struct Pushes(Mutex<State>);

#[derive(Default)]
struct State {
    unsent: usize,
    /// Pushed streams that the client takes at a time.
    limit: usize,
    /// Those who wait for a push to be sent.
    waiting: Vec<Waker>,
    /// Promises that can never be sent.
    lost: usize,
}

/// Octets of an answer, in the hands of `h2`.
pub(super) struct Part {
    octets: Bytes,
    _unsent: Option<Unsent>,
}

/// A push that is not sent yet; sent, or given up, on drop.
struct Unsent {
    pushes: Arc<Pushes>,
    on_stream: Arc<AtomicUsize>,
    is_sent: Arc<AtomicBool>,
}

impl Pusher {
    pub(super) fn new(exchange: Exchange, pushes: Arc<Pushes>) -> Self {
        Self { exchange, pushes, unsent: Arc::default() }
    }

    /// True if the client takes server push: it has not said `SETTINGS_ENABLE_PUSH=0` (RFC 9113 section 6.5.2).
    pub fn is_wanted(&self) -> bool {
        // The library tells the setting only by refusing a promise. This one is refused in any case, and costs the
        // number of a stream.
        let mut promise = Request::get("http://localhost/").body(()).expect("a request");
        promise.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        let mut exchange = self.exchange.lock();
        let Some(exchange) = exchange.as_mut() else { return false };
        exchange.push_request(promise).is_err_and(|error| error.to_string().contains(FORBIDDEN))
    }

    /// Promises an answer to `promise` (a `GET` with scheme and authority), and sends it beside all else. `None` once
    /// the request is answered, or the client has gone.
    pub fn push(&self, promise: Request<()>, answer: Response<()>, body: Bytes) -> Option<Pushed> {
        let mut exchange = self.exchange.lock();
        let mut stream = exchange.as_mut()?.push_request(promise).ok()?.send_response(answer, false).ok()?;
        let is_sent = Arc::new(AtomicBool::new(false));
        self.pushes.0.lock().unsent += 1;
        self.unsent.fetch_add(1, Ordering::Relaxed);
        let unsent = Unsent {
            pushes: Arc::clone(&self.pushes),
            on_stream: Arc::clone(&self.unsent),
            is_sent: Arc::clone(&is_sent),
        };
        stream.send_data(Part { octets: body, _unsent: Some(unsent) }, true).ok()?;
        Some(Pushed { stream, is_sent })
    }

    /// Polls `is_ready`, which is told whether the client takes one more stream, each time that a push of the
    /// connection was sent or given up.
    pub fn poll(&self, cx: &Context<'_>, is_ready: impl FnOnce(bool) -> bool) -> Poll<()> {
        let mut state = self.pushes.0.lock();
        if is_ready(state.unsent < state.limit) {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Notes that the client has reset the stream: a promise that was not sent is lost with it, and `h2` keeps its stream
    /// until the connection ends.
    pub(super) fn stream_was_reset(&self) {
        self.pushes.0.lock().lost += self.unsent.load(Ordering::Relaxed);
    }
}

impl Pushed {
    /// True once the answer is with the operating system, or was refused by the client.
    pub fn is_sent(&self) -> bool {
        self.is_sent.load(Ordering::Acquire)
    }
}

impl Drop for Pushed {
    fn drop(&mut self) {
        if !self.is_sent() {
            self.stream.send_reset(Reason::CANCEL);
        }
    }
}

impl Pushes {
    /// Notes how many streams the client takes at a time, by its settings.
    pub(super) fn limit(&self, limit: usize) {
        let mut state = self.0.lock();
        if state.limit != limit {
            state.limit = limit;
            state.waiting.drain(..).for_each(Waker::wake);
        }
    }

    /// Promises that were lost with their requests, at most: some may have been sent.
    pub(super) fn lost(&self) -> usize {
        self.0.lock().lost
    }
}

impl Part {
    /// Octets of an ordinary answer.
    pub(super) const fn plain(octets: Bytes) -> Self {
        Self { octets, _unsent: None }
    }
}

impl Buf for Part {
    fn remaining(&self) -> usize {
        self.octets.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.octets
    }

    fn advance(&mut self, count: usize) {
        self.octets.advance(count);
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.is_sent.store(true, Ordering::Release);
        self.on_stream.fetch_sub(1, Ordering::Relaxed);
        let waiting = {
            let mut state = self.pushes.0.lock();
            state.unsent -= 1;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for Pusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pusher").field("unsent", &self.unsent).finish_non_exhaustive()
    }
}

impl fmt::Debug for Pushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pushed").field("is_sent", &self.is_sent).finish_non_exhaustive()
    }
}
