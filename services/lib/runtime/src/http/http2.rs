//! An HTTP/2 connection that can push: served by `h2` directly, for hyper has no server push. For the routes it is like
//! any other connection.

mod stream;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use h2::server::{Builder, Connection, Handshake};
use h2::{Ping, PingPong, Reason};
use pushgrid_types::cast::saturating;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::task::TaskTracker;

use super::Limits;
use super::activity::Activity;
use super::limits::{CONNECTION_WINDOW, STREAM_SEND_BUFFER, STREAM_WINDOW};
use super::push::{Part, Pushes};
use super::watched::Watched;

/// State shared by the connections of a listener.
pub(super) struct Http2 {
    builder: Builder,
    app: Router,
    tasks: TaskTracker,
    /// Promises that a client may lose by resetting requests in haste, each of which costs memory to the end.
    max_lost: usize,
    ping_interval: Duration,
    ping_timeout: Duration,
}

/// One connection. Ends when the client has gone, or all is answered after [`Self::graceful_shutdown`].
pub(super) struct Http2Connection {
    server: Arc<Http2>,
    activity: Arc<Activity>,
    state: State,
    is_closing: bool,
}

enum State {
    /// The client's settings are still to come.
    Greeting(Box<Handshake<Watched, Part>>),
    Serving(Box<Serving>),
}

struct Serving {
    connection: Connection<Watched, Part>,
    pings: Option<Pings>,
    pushes: Arc<Pushes>,
}

impl Http2 {
    pub(super) fn new(app: Router, limits: &Limits, tasks: TaskTracker) -> Self {
        let mut builder = Builder::new();
        builder
            .max_concurrent_streams(limits.h2_max_streams)
            .max_pending_accept_reset_streams(limits.h2_max_resets)
            .max_local_error_reset_streams(Some(limits.h2_max_resets))
            .max_header_list_size(saturating::<u32>(limits.header_octets))
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(STREAM_SEND_BUFFER);
        Self {
            builder,
            app,
            tasks,
            max_lost: limits.h2_max_resets,
            ping_interval: limits.h2_ping_interval,
            ping_timeout: limits.h2_ping_timeout,
        }
    }

    /// Serves a connection on which the preface was seen, and not taken.
    pub(super) fn serve(self: Arc<Self>, io: Watched, activity: Arc<Activity>) -> Http2Connection {
        let state = State::Greeting(Box::new(self.builder.handshake(io)));
        Http2Connection { server: self, activity, state, is_closing: false }
    }
}

impl Http2Connection {
    /// Announces the end (GOAWAY): what was asked by then is answered.
    pub(super) fn graceful_shutdown(&mut self) {
        if let State::Serving(serving) = &mut self.state
            && !self.is_closing
        {
            serving.connection.graceful_shutdown();
        }
        self.is_closing = true;
    }

    /// Accepts streams, until the client has gone.
    fn poll_streams(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let State::Serving(serving) = &mut self.state else { return Poll::Pending };
        let Serving { connection, pings, pushes } = &mut **serving;
        loop {
            if pings.as_mut().is_some_and(|pings| pings.poll(cx, pushes).is_ready()) {
                connection.abrupt_shutdown(Reason::NO_ERROR);
                // Who does not answer need not read this.
                let _ = connection.poll_closed(cx);
                return Poll::Ready(());
            }
            let accepted = connection.poll_accept(cx);
            pushes.limit(connection.max_concurrent_send_streams());
            let Some(Ok((request, respond))) = ready!(accepted) else { return Poll::Ready(()) };
            let lost = pushes.lost();
            if lost > self.server.max_lost {
                connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            } else if lost > 0 && !self.is_closing {
                self.is_closing = true;
                connection.graceful_shutdown();
            }
            let stream = stream::serve(
                self.server.app.clone(),
                Arc::clone(&self.activity),
                Arc::clone(pushes),
                request,
                respond,
            );
            drop(self.server.tasks.spawn(stream));
        }
    }
}

impl Future for Http2Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let me = &mut *self;
        if let State::Greeting(handshake) = &mut me.state {
            let Ok(mut connection) = ready!(Pin::new(&mut **handshake).poll(cx)) else {
                return Poll::Ready(());
            };
            if me.is_closing {
                connection.graceful_shutdown();
            }
            let (interval, timeout) = (me.server.ping_interval, me.server.ping_timeout);
            let pings = connection.ping_pong().map(|pings| Pings::new(pings, interval, timeout));
            me.state = State::Serving(Box::new(Serving { connection, pings, pushes: Arc::default() }));
        }
        me.poll_streams(cx)
    }
}

/// Pings that show whether the client is there, and what it has taken.
struct Pings {
    sender: PingPong,
    interval: Duration,
    timeout: Duration,
    /// The next ping, or the end of the time for the answer to the last.
    timer: Pin<Box<Sleep>>,
    is_asked: bool,
    /// The last push before the ping: its answer says that the client has taken it.
    after: u64,
}

impl Pings {
    fn new(sender: PingPong, interval: Duration, timeout: Duration) -> Self {
        Self { sender, interval, timeout, timer: Box::pin(sleep(interval)), is_asked: false, after: 0 }
    }

    /// Ready when the client has not answered in time.
    fn poll(&mut self, cx: &mut Context<'_>, pushes: &Pushes) -> Poll<()> {
        loop {
            if self.is_asked && self.sender.poll_pong(cx).is_ready() {
                self.is_asked = false;
                self.timer.as_mut().reset(Instant::now() + self.interval);
                pushes.taken(self.after);
            }
            let untaken = pushes.untaken(cx).filter(|_| !self.is_asked);
            if untaken.is_none() {
                ready!(self.timer.as_mut().poll(cx));
                if self.is_asked {
                    return Poll::Ready(());
                }
            }
            self.after = untaken.unwrap_or_default();
            // An error means that the connection is at its end, which tells by itself.
            self.is_asked = self.sender.send_ping(Ping::opaque()).is_ok();
            let wait = if self.is_asked { self.timeout } else { self.interval };
            self.timer.as_mut().reset(Instant::now() + wait);
            if !self.is_asked {
                ready!(self.timer.as_mut().poll(cx));
            }
        }
    }
}
