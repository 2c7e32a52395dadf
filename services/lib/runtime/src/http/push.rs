//! Server push of HTTP/2 (RFC 9113 section 8.4): answers to requests that a client has not made, beside the answer to one
//! that it has.
//!
//! Invariant: what waits to be sent is known to the octet's last owner: a pushed body counts until its frame is with the
//! operating system, or dropped.
//! Invariant: what counts as taken was answered for by the client: it has answered a ping that was sent after it.
//! Invariant: a client that has switched server push off, or has too many streams open, is promised nothing.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
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
    pushes: Arc<Pushes>,
    sent_as: Arc<AtomicU64>,
}

/// All pushes of a connection.
#[derive(Default)]
pub(super) struct Pushes {
    state: Mutex<State>,
    /// Pushes that the client has taken, of those that were sent.
    taken: AtomicU64,
}

#[derive(Default)]
struct State {
    unsent: usize,
    /// Pushed streams that the client takes at a time.
    limit: usize,
    /// Those who wait for a push to be sent.
    waiting: Vec<Waker>,
    /// Promises that can never be sent.
    lost: usize,
    /// Pushes that were sent, or given up.
    sent: u64,
    /// The last of them that somebody wants to know as taken.
    wanted: u64,
    /// Sends the pings.
    pinger: Option<Waker>,
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
    /// Its place among the pushes that were sent, from 1 on; 0 before.
    sent_as: Arc<AtomicU64>,
    /// True if somebody wants to know when the client has taken it.
    is_watched: bool,
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
        self.send(promise, answer, body, false)
    }

    /// As [`Self::push`], for an answer without a body of which [`Pushed::is_taken`] is wanted.
    pub fn push_watched(&self, promise: Request<()>, answer: Response<()>) -> Option<Pushed> {
        self.send(promise, answer, Bytes::new(), true)
    }

    fn send(
        &self,
        promise: Request<()>,
        answer: Response<()>,
        body: Bytes,
        is_watched: bool,
    ) -> Option<Pushed> {
        let mut exchange = self.exchange.lock();
        let mut stream = exchange.as_mut()?.push_request(promise).ok()?.send_response(answer, false).ok()?;
        let (pushes, sent_as) = (Arc::clone(&self.pushes), Arc::new(AtomicU64::new(0)));
        pushes.state.lock().unsent += 1;
        self.unsent.fetch_add(1, Ordering::Relaxed);
        let unsent = Unsent {
            pushes: Arc::clone(&pushes),
            on_stream: Arc::clone(&self.unsent),
            sent_as: Arc::clone(&sent_as),
            is_watched,
        };
        // The library tells of the end of a frame with data alone, so an answer without a body has an empty one.
        stream.send_data(Part { octets: body, _unsent: Some(unsent) }, true).ok()?;
        Some(Pushed { stream, pushes, sent_as })
    }

    /// Polls `is_ready`, which is told whether the client takes one more stream, each time that a push of the
    /// connection was sent, given up or taken.
    pub fn poll(&self, cx: &Context<'_>, is_ready: impl FnOnce(bool) -> bool) -> Poll<()> {
        let mut state = self.pushes.state.lock();
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
        self.pushes.state.lock().lost += self.unsent.load(Ordering::Relaxed);
    }
}

impl Pushed {
    /// True once the answer is with the operating system, or was refused by the client.
    pub fn is_sent(&self) -> bool {
        self.sent_as.load(Ordering::Acquire) > 0
    }

    /// True once the client is known to have taken the answer, one of [`Pusher::push_watched`]: its HTTP/2 has answered a
    /// later frame.
    pub fn is_taken(&self) -> bool {
        let sent_as = self.sent_as.load(Ordering::Acquire);
        sent_as > 0 && sent_as <= self.pushes.taken.load(Ordering::Acquire)
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
        let mut state = self.state.lock();
        if state.limit != limit {
            state.limit = limit;
            state.waiting.drain(..).for_each(Waker::wake);
        }
    }

    /// Promises that were lost with their requests, at most: some may have been sent.
    pub(super) fn lost(&self) -> usize {
        self.state.lock().lost
    }

    /// Number of the last push that is wanted to be known as taken and is not, if there is one. A ping that is sent now
    /// comes after it. Wakes the caller when there is another one.
    pub(super) fn untaken(&self, cx: &Context<'_>) -> Option<u64> {
        let mut state = self.state.lock();
        if !state.pinger.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.pinger = Some(cx.waker().clone());
        }
        (state.wanted > self.taken.load(Ordering::Acquire)).then_some(state.wanted)
    }

    /// Notes that the client has taken all pushes up to this one.
    pub(super) fn taken(&self, up_to: u64) {
        self.taken.fetch_max(up_to, Ordering::AcqRel);
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        waiting.into_iter().for_each(Waker::wake);
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
        self.on_stream.fetch_sub(1, Ordering::Relaxed);
        let (waiting, pinger) = {
            let mut state = self.pushes.state.lock();
            state.unsent -= 1;
            state.sent += 1;
            self.sent_as.store(state.sent, Ordering::Release);
            if self.is_watched {
                state.wanted = state.sent;
            }
            let pinger = if self.is_watched { state.pinger.take() } else { None };
            (std::mem::take(&mut state.waiting), pinger)
        };
        waiting.into_iter().chain(pinger).for_each(Waker::wake);
    }
}

impl fmt::Debug for Pusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pusher").field("unsent", &self.unsent).finish_non_exhaustive()
    }
}

impl fmt::Debug for Pushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pushed").field("is_sent", &self.is_sent()).finish_non_exhaustive()
    }
}
